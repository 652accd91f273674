"""What the parts on sending and receipts run: databases of planned notices, servers, clients and `wrk`.

Each is a process of its own, with settings for speed: many connections, and no contract's rate.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from tests.bench.cores import on
from tests.bench.ground import BenchError, Ground
from tests.integration.kannel import stack
from tests.processes import Child, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECTIONS = 50
WRK_SECONDS = 5
NOWHERE = "http://127.0.0.1:9"
_QUIET_SECONDS = 3

_HERE = Path(__file__).parent


def why_no_wrk() -> str:
    """Return why `wrk` cannot run here; empty when it can."""
    return "" if shutil.which("wrk") else "wrk is not installed (Debian package wrk)"


def settings(ground: Ground, database: str, **others: object) -> dict[str, str]:
    """Return the environment of what sends and receives."""
    return ground.environment(database, connections=CONNECTIONS, segments_per_second=1_000_000, **others)


# --- Databases


def plan(ground: Ground, database: str, count: int, *options: str) -> None:
    """Make a database with so many planned notices; their ids are then in the file of its name."""
    ground.make_database(database)
    environment = ground.environment(database)
    ground.run(["fatoura", "db", "upgrade"], environment)
    ground.run(["tests.bench.planned", count, ids_file(ground, database), *options], environment)


def ids_file(ground: Ground, database: str) -> Path:
    """Return the file with the ids of a database's notices."""
    return ground.folder / f"{database}.ids"


@contextmanager
def copied(ground: Ground, template: str) -> Iterator[str]:
    """Copy a database for one use; return its name."""
    name = template + "_now"
    ground.make_database(name, template)
    try:
        yield name
    finally:
        ground.drop_database(name)


# --- Servers


@contextmanager
def bare_server(ground: Ground) -> Iterator[str]:
    """Run the server that takes all and does nothing; return its address."""
    port = free_port()
    with started(ground, "sink", port, ["-m", "tests.bench.sink", str(port)], dict(os.environ)):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def kannel(cores: set[int] | None = None) -> Iterator[stack.KannelStack]:
    """Run Kannel with its spool in memory; on these cores only, or on all."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="kannel-", dir=memory if os.access(memory, os.W_OK) else None))
    running = stack.KannelStack(folder)
    try:
        with on(cores) if cores else nullcontext():
            running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def started(
    ground: Ground, name: str, port: int, command: list[str], environment: Mapping[str, str]
) -> Iterator[Child]:
    """Run a server for as long as the context lasts."""
    child = Child([sys.executable, *command], log=ground.folder / f"{name}.log", env=environment)
    try:
        child.wait_for_port(port, 60)
        time.sleep(0.2)
        yield child
    finally:
        child.stop()


def wait_until_quiet(server: str) -> None:
    """Wait until Kannel has given a bare server all receipts that it owes: none for some seconds."""
    before, since = None, time.monotonic()
    while time.monotonic() < since + _QUIET_SECONDS:
        if (now := requests.get(server + "/counts", timeout=10).json()) != before:
            before, since = now, time.monotonic()
        time.sleep(0.2)


# --- Clients


def client(
    ground: Ground, environment: dict[str, str], who: str, count: int, where: list[str]
) -> dict[str, Any]:
    """Send so many messages; see `tests.bench.client`.

    :raises BenchError: when not all of them were accepted.
    """
    answer: dict[str, Any] = ground.run(["tests.bench.client", who, count, *where], environment).answer
    if answer["accepted"] != count:
        raise BenchError(f"{answer['accepted']} of {count} messages were accepted")
    return answer


def wrk_sends(ground: Ground, environment: dict[str, str], where: list[str]) -> float:
    """Let `wrk` make the sender's requests; return the accepted ones a second."""
    file = ground.folder / "request"
    file.write_bytes(_shown(ground, environment, where)["request"].encode())
    return _wrk("messages.lua", WRK_SECONDS, where[0], file)


def wrk_reports(
    ground: Ground, environment: dict[str, str], receiver: str, ids: Path, seconds: int = WRK_SECONDS
) -> float:
    """Let `wrk` give receipts for notices; return how many a second."""
    path = _shown(ground, environment, [NOWHERE, "steg", "secret", NOWHERE, "accepted"])["receipts"]
    return _wrk("receipts.lua", seconds, receiver, path, ids)


def _shown(ground: Ground, environment: dict[str, str], where: list[str]) -> dict[str, str]:
    shown: dict[str, str] = ground.run(["tests.bench.client", "request", 0, *where], environment).answer
    return shown


def _wrk(script: str, seconds: int, address: str, *arguments: object) -> float:
    """Return the good answers a second."""
    done = subprocess.run(
        [
            *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", _HERE / script, address, "--"),
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    if answer["errors"]:
        raise BenchError(f"wrk got {answer['errors']} errors of {answer['requests']}: {done.stdout}")
    return float(answer["requests"] / answer["seconds"])
