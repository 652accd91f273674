"""What a round is made of, each a process of its own that can be killed and started again.

A killed service gets no chance to tidy up: SIGKILL to its whole group. Knows nothing of faults and verdicts.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self
from uuid import UUID

import psutil
import psycopg
import requests

from fatoura.database.embedded import EmbeddedPostgres
from fatoura.settings import PROJECT_ROOT
from fatoura.stack import processes
from fatoura.stack.ports import is_free
from tests.integration.kannel import stack as kannel
from tests.processes import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_TEMPLATE = "chaos_template"

# Eleven digits of our invented numbers in international form, not in the middle of an id.
_PERSONAL = re.compile(rb"(?<![0-9a-f-])(?:\+|00)?2162\d{7}(?![0-9a-f-])|Montant|Un second avis")


def memory_folder(prefix: str) -> Path:
    """Make a folder on a tmpfs where there is one; other OS users may walk into it."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=memory if os.access(memory, os.W_OK) else None))
    folder.chmod(0o755)
    return folder


_ports = itertools.count(random.SystemRandom().randrange(18_000, 28_000))


def own_port() -> int:
    """Return a free loopback port that the system gives to no outgoing connection.

    What is killed must find its port free when it comes back.
    """
    return next(port for port in _ports if is_free(port))


class Database:
    """A PostgreSQL server with a migrated template, for one round after the other.

    Without waiting for the disk: what a killed process had committed is in the system's memory all the same.
    """

    def __init__(self, folder: Path) -> None:
        options = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB", "wal_buffers": "16MB"}
        self.server = EmbeddedPostgres(folder, tuple(options.items()))

    def __enter__(self) -> Self:
        self.server.start()
        self.server.create_database(_TEMPLATE)
        import sqlalchemy
        from alembic import command

        from fatoura.database.migrate import configuration

        engine = sqlalchemy.create_engine(self.server.url(_TEMPLATE))
        with engine.begin() as connection:
            command.upgrade(configuration(connection), "head")
        engine.dispose()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self.server.stop("immediate")
        self.kill()
        if self.server.socket.parent != self.server.data.parent:
            shutil.rmtree(self.server.socket, ignore_errors=True)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.server.socket), user="postgres", dbname=database, autocommit=True
        )

    def make(self, name: str) -> None:
        """Make an empty, migrated database."""
        with self.connect("postgres") as db:
            db.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY file_copy".encode())

    def drop(self, name: str) -> None:
        with self.connect("postgres") as db:
            db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())

    def kill(self) -> None:
        """Kill the postmaster and all its children at once."""
        killed = processes.working_in(self.server.data)
        for process in killed:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(killed, timeout=10)

    def start(self) -> None:
        """Start the server again; it recovers first."""
        self.server.start()


class Receiver:
    """The receipt receiver."""

    def __init__(self, port: int, environment: Mapping[str, str], log: Path) -> None:
        self._port, self._environment, self._log = port, environment, log
        self._child: Child | None = None

    def start(self) -> None:
        self._child = _python(["-m", "fatoura", "receiver"], self._environment, self._log)
        self._child.wait_for_port(self._port, 60)

    def kill(self) -> None:
        if self._child is not None:
            self._child.stop(signal.SIGKILL)


class SenderProcess:
    """One send task: started again whenever it ends before its cycle is done, as the scheduler does.

    :param rest: seconds until it is started again.
    """

    def __init__(
        self, cycle: int, worker: str, environment: Mapping[str, str], log: Path, *, rest: float = 0.3
    ) -> None:
        self._arguments = ["-m", "tests.chaos.sender", str(cycle), worker]
        self._environment, self._log, self._rest = environment, log, rest
        self._child: Child | None = None
        self._asked_to_stop = False
        self.starts = 0

    async def run(self) -> None:
        """Return when it says that its cycle is done."""
        try:
            while True:
                self._asked_to_stop = False
                self._child = _python(self._arguments, self._environment, self._log)
                self.starts += 1
                code = await asyncio.to_thread(self._child.process.wait)
                if code == 0 and not self._asked_to_stop:
                    return
                await asyncio.sleep(self._rest)
        finally:
            if self._child is not None:
                self._child.stop(signal.SIGKILL)

    @property
    def runs(self) -> bool:
        return self._child is not None and self._child.runs

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def ask_to_stop(self) -> None:
        """Do what clearing a running task does; it is started again."""
        if self.runs:
            self._asked_to_stop = True
            self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Let no instruction of it run: a suspended machine, a pause of minutes."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send(number)


class GatewayService(Protocol):
    """A gateway that can be killed, in parts."""

    adapter: str
    name: str

    @property
    def port(self) -> int: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def connection(self, port: int) -> dict[str, Any]:
        """Return how the sender reaches it through a port."""

    def kill(self, part: str) -> None: ...

    def restart(self, part: str) -> None: ...

    def drained(self) -> bool:
        """Tell whether it holds nothing for the network any more."""

    def reached_network(self, notice_of: Callable[[str], UUID | None]) -> Counter[UUID]:
        """Count by notice what it passed on."""


class Kannel:
    """Real Kannel with an SMS centre behind it."""

    adapter = "kannel"
    PARTS = ("smsbox", "bearerbox", "SMSC link")

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        smsc, admin, smsbox, port = (own_port() for _ in range(4))
        self._stack = kannel.KannelStack(
            folder, receipt_delay=30, smsc_port=smsc, admin_port=admin, smsbox_port=smsbox, port=port
        )

    @property
    def port(self) -> int:
        return self._stack.port

    def start(self) -> None:
        self._stack.start()

    def stop(self) -> None:
        for name in ("smsbox", "bearerbox", "smsc"):
            if name in self._stack.children:
                self._stack.children.pop(name).stop(signal.SIGKILL)

    def connection(self, port: int) -> dict[str, Any]:
        return {
            "adapter": self.adapter,
            "name": self.name,
            "base_url": f"http://127.0.0.1:{port}",
            "username": kannel.USERNAME,
            "password": kannel.PASSWORD,
            "extra": {"longest_segments": 4},
        }

    def kill(self, part: str) -> None:
        match part:
            case "SMSC link":
                self._stack.children["smsc"].send(signal.SIGUSR2)
            case "smsbox":
                self._stack.children["smsbox"].stop(signal.SIGKILL)
            case "bearerbox":
                self._stack.children["bearerbox"].stop(signal.SIGKILL)
            case "all":
                self.kill("bearerbox")
                self.kill("smsbox")

    def restart(self, part: str) -> None:
        if part in ("bearerbox", "all"):
            # smsbox does not outlive its bearerbox for long; started again with it, as its watchdog does.
            self.kill("smsbox")
            self._stack.start_bearerbox()
        if part != "SMSC link":
            self._stack.start_smsbox()

    def drained(self) -> bool:
        try:
            told = requests.get(
                f"http://127.0.0.1:{self._stack.admin_port}/status.txt", params={"password": "s"}, timeout=2
            ).text
        except requests.RequestException:
            return False
        return "store size 0" in told and "(online" in told

    def reached_network(self, notice_of: Callable[[str], UUID | None]) -> Counter[UUID]:
        reached: Counter[UUID] = Counter()
        for event in self._stack.events("submit"):
            # Of a long message the first part counts; what was throttled comes again.
            octets = bytes.fromhex(event["octets"])
            first = not event["esm_class"] & 0x40 or octets[5] == 1
            notice = notice_of(event["to"].lstrip("+"))
            if notice is not None and first and event["status"] in (0, 0x0B):
                reached[notice] += 1
        return reached


class SandboxGateway:
    """The project's own sandbox, which speaks as Kannel does."""

    adapter = "kannel"
    PARTS = ("sandbox",)

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._port = own_port()
        self._folder, self._environment = folder, environment
        self._child: Child | None = None

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        self._child = _python(
            [
                *("-m", "fatoura", "gateway", "sandbox", "--port", str(self._port), "--by-last-digit"),
                *(
                    "--receipt-delay",
                    "0.05",
                    "--reject",
                    "0.01",
                    "--log",
                    str(self._folder / "requests.jsonl"),
                ),
            ],
            self._environment,
            self._folder / "sandbox.log",
        )
        self._child.wait_for_port(self._port, 60)

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop(signal.SIGKILL)

    def connection(self, port: int) -> dict[str, Any]:
        return {
            "adapter": self.adapter,
            "name": self.name,
            "base_url": f"http://127.0.0.1:{port}",
            "username": "fatoura",
            "password": "sandbox",
            "extra": {"longest_segments": 4},
        }

    def kill(self, part: str) -> None:
        self.stop()

    def restart(self, part: str) -> None:
        self.start()

    def drained(self) -> bool:
        return sandbox_drained(self._port)

    def reached_network(self, notice_of: Callable[[str], UUID | None]) -> Counter[UUID]:
        return accepted_by_sandbox(self._folder / "requests.jsonl")


def sandbox_drained(port: int) -> bool:
    """Tell whether a sandbox holds no receipts any more."""
    try:
        stats = requests.get(f"http://127.0.0.1:{port}/sandbox/stats", timeout=2).json()
    except requests.RequestException:
        return False
    return not stats["receipts"]["pending"]


def accepted_by_sandbox(log: Path) -> Counter[UUID]:
    """Count by notice what a sandbox accepted, from its own log."""
    # A killed process may leave half a line at the end, and go on behind it.
    lines = [line for line in log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
    told = [json.loads(line) for line in lines]
    return Counter(UUID(line["id"]) for line in told if line["accepted"] and line["id"])


def leaks(logs: Iterable[Path]) -> list[str]:
    """Return the names of logs in which a number or a text of ours stands."""
    return [path.name for path in sorted(logs) if path.is_file() and _PERSONAL.search(path.read_bytes())]


def _python(arguments: list[str], environment: Mapping[str, str], log: Path) -> Child:
    return Child([sys.executable, *arguments], log=log, env=environment, cwd=PROJECT_ROOT)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Tell whether something came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
