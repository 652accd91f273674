"""A sink and sender processes on one database: started, killed, stopped, and what the sink saw read back."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from click.testing import CliRunner
from sqlalchemy import text

from fatoura.cli import main
from fatoura.database import connect
from tests.chaos.sender import GATEWAYS
from tests.pace.arrivals import read_arrivals
from tests.processes import Child, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pace.arrivals import Arrival

GATEWAY = "fatoura_sms"


@dataclass
class Ground:
    """Use as a context manager. The settings of this process are those of the senders too.

    :param folder: for logs and for what the sink writes.
    """

    folder: Path
    senders: dict[str, Child] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._port = free_port()
        self._file = self.folder / f"arrivals-{self._port}.jsonl"
        command = [sys.executable, "-m", "tests.pace.sink", str(self._port), str(self._file)]
        self._sink = Child(command, log=self.folder / "sink.log")
        try:
            self._sink.wait_for_port(self._port)
        except BaseException:
            self._sink.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for sender in self.senders.values():
            sender.stop(signal.SIGKILL)
        self._sink.stop()

    def send(self, cycle: int, *names: str) -> None:
        """Start senders of a cycle, each a process; a sender ends when its cycle is done."""
        gateway = {
            "adapter": "kannel",
            "name": GATEWAY,
            "base_url": f"http://127.0.0.1:{self._port}",
            "username": "invented",
            "password": "invented",
            "extra": {"longest_segments": 4},
        }
        for name in names:
            self.senders[name] = Child(
                [sys.executable, "-m", "tests.chaos.sender", str(cycle), name],
                log=self.folder / f"{name}.log",
                env={**os.environ, GATEWAYS: json.dumps([gateway])},
            )

    def stop(self, *names: str, kill: bool = False) -> None:
        """End senders, as Airflow does or as a crash does."""
        for name in names:
            self.senders.pop(name).stop(signal.SIGKILL if kill else signal.SIGTERM)

    def limit(self, rate: float) -> None:
        """Change the limit, in segments a second, as an operator does."""
        done = CliRunner().invoke(main, ["gateway", "set", GATEWAY, "--rate", f"{rate:g}"])
        assert done.exit_code == 0, done.output

    def wait_for(self, cycle: int, accepted: int, seconds: float = 60) -> float:
        """Wait until so many notices of a cycle are accepted; return when, in seconds since the epoch."""
        end = time.monotonic() + seconds
        while _accepted(cycle) < accepted:
            if time.monotonic() > end:
                raise AssertionError(
                    f"{_accepted(cycle)} of {accepted} notices accepted after {seconds:g} s: "
                    + "".join(file.read_text()[-600:] for file in self.folder.glob("*.log"))
                )
            time.sleep(0.05)
        return time.time()

    def finish(self) -> list[Arrival]:
        """End senders and sink; return what has come."""
        for sender in self.senders.values():
            sender.send(signal.SIGTERM)
        for sender in self.senders.values():
            with suppress(Exception):
                sender.process.wait(10)
            sender.stop(signal.SIGKILL)
        self.senders.clear()
        self._sink.stop()
        return read_arrivals(self._file)


def _accepted(cycle: int) -> int:
    with connect() as connection:
        return (
            connection.scalar(
                text("SELECT count(*) FROM notice WHERE cycle_id = :cycle AND state = 'accepted'"),
                {"cycle": cycle},
            )
            or 0
        )
