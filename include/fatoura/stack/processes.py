"""Processes of the local stack: started in sessions of their own, found again, and ended.

What belongs to a stack is known by the mark in its environment, which children inherit, so that what a
killed parent left behind is found too. No process without the mark is ever signalled, but for those of
the embedded PostgreSQL, which overwrites its environment and is known by its working directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import psutil

from fatoura.stack.environment import MARK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

PART = "FATOURA_STACK_PART"
"""Names the part of the stack that a process belongs to."""

# Two readings of a process's start differ by the clock's corrections.
_SAME_START = 5.0


@dataclass(frozen=True)
class Record:
    """What is written down of a part when it is started."""

    name: str
    pid: int
    started: float
    """Seconds since the epoch."""
    port: int | None = None

    def process(self, mark: str) -> psutil.Process | None:
        """Return its process when it still runs, and not another one with its number."""
        try:
            process = psutil.Process(self.pid)
            if (
                process.status() == psutil.STATUS_ZOMBIE
                or abs(process.create_time() - self.started) > _SAME_START
            ):
                return None
            return process if process.environ().get(MARK) == mark else None
        except psutil.Error:
            return None


class Records:
    """The records of a stack: one JSON file a part."""

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, record: Record) -> None:
        """Write a record down."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{record.name}.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(record)) + "\n")
        draft.replace(path)

    def read(self, name: str) -> Record | None:
        """Return the record of a part; none when there is none, or nothing readable."""
        try:
            return Record(**json.loads((self._folder / f"{name}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def forget(self, name: str) -> None:
        """Remove the record of a part."""
        (self._folder / f"{name}.json").unlink(missing_ok=True)


def spawn(
    command: Sequence[str], *, name: str, environment: Mapping[str, str], log: Path, cwd: Path
) -> subprocess.Popen[bytes]:
    """Start a part in a session of its own, with its output in a fresh log; keep the last log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, PART: name},
            cwd=cwd,
            start_new_session=True,
        )


def marked(mark: str, parts: Collection[str] | None = None) -> list[psutil.Process]:
    """Return the living processes that carry a mark, all or those of some parts."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if (
                environment.get(MARK) == mark
                and (parts is None or environment.get(PART) in parts)
                and process.pid != os.getpid()
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def working_in(folder: Path) -> list[psutil.Process]:
    """Return the PostgreSQL processes whose working directory is a data directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.cwd() == str(folder) and process.name().startswith("postgres"):
                found.append(process)
    return found


def end(processes: Iterable[psutil.Process], patience: float) -> list[psutil.Process]:
    """Ask processes to end, wait, and kill the rest.

    :param patience: seconds that they get to end by themselves.
    :returns: those that had to be killed.
    """
    asked = list(processes)
    for process in asked:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGTERM)
    _, stubborn = psutil.wait_procs(asked, timeout=patience)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)
    return stubborn


def tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.rstrip().splitlines()[-lines:]) or "(the log is empty)"


def seconds_since(moment: float) -> float:
    """Return the seconds since a moment of the monotonic clock."""
    return time.monotonic() - moment
