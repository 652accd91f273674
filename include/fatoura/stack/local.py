"""Start, watch and stop the local stack. The commands `stack` and `demo` call it; so do tests.

Everything that it starts listens on loopback only, lives in a session of its own, and can be found and
ended again after any crash.
"""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import psycopg
import requests

from fatoura.errors import BadInput, FatouraError
from fatoura.stack import ports, processes
from fatoura.stack.airflow_api import AirflowApi
from fatoura.stack.environment import HOST, StackEnvironment
from fatoura.stack.keys import ADMIN, GATEWAY_USER
from fatoura.stack.processes import Record, Records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    import psutil

    from fatoura.database.embedded import EmbeddedPostgres
    from fatoura.settings import Settings

POOL, URGENT_POOL = "sms_gateway", "sms_gateway_urgent"
"""Airflow's pools for tasks that send: bills, and what must not wait until bills are through."""

_START_PATIENCE = 180.0
_MIGRATIONS = ("fatoura-migrations", "airflow-migrations")

# Stopped in this order, with this patience: who works first, then who they report to, then what a crash left.
# A running task may end its batch; Airflow's API server only tidies its memory at the end, for seconds.
_STOPS: tuple[tuple[tuple[str, ...] | None, float], ...] = (
    (("scheduler", "dag-processor", "triggerer", *_MIGRATIONS), 10.0),
    (("api-server", "receiver", "site", "gateway"), 4.0),
    (None, 4.0),
)


class StackError(FatouraError):
    """A part of the stack could not be started; holds the end of its log."""


@dataclass(frozen=True)
class Part:
    """One process of the stack.

    :param ready: tells whether it does its work, given when it was started (seconds since the epoch).
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[float], bool]
    port: int | None = None
    host: str = HOST
    setting: str = ""


@dataclass(frozen=True)
class PartStatus:
    """How a part of the stack does."""

    name: str
    running: bool
    ready: bool
    pid: int | None = None
    port: int | None = None
    started: float | None = None


class LocalStack:
    """The stack whose files lie below one folder.

    :param settings: ports, and the folder (`var`).
    :param dags: Airflow's DAG folder; the project's own by default.
    :param isolated: leave the caller's own settings out; see `StackEnvironment`.
    :param gateway_options: further arguments of the sandbox gateway.
    :param say: takes lines of progress.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        dags: Path | None = None,
        isolated: bool = False,
        gateway_options: tuple[str, ...] = (),
        say: Callable[[str], None] = lambda line: None,
    ):
        self.settings = settings
        self.environment = StackEnvironment(settings, dags, isolated)
        self._gateway_options = gateway_options
        self._say = say
        self._records = Records(self.environment.var / "run")

    @cached_property
    def api(self) -> AirflowApi:
        """Airflow's API, logged in as the stack's user."""
        return AirflowApi(self.environment.ui, ADMIN, self.environment.keys.admin_password)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The stack's processes, but for PostgreSQL and what runs once."""
        settings, python = self.settings, sys.executable
        ours = (python, "-m", "fatoura")
        airflow = (python, "-m", "airflow")
        return (
            Part(
                "gateway",
                (
                    *ours,
                    *("gateway", "sandbox", "--port", str(settings.gateway_port), "--username", GATEWAY_USER),
                    *self._gateway_options,
                ),
                lambda started: _answers(f"http://{HOST}:{settings.gateway_port}/sandbox/stats"),
                settings.gateway_port,
                setting="FATOURA_GATEWAY_PORT",
            ),
            Part(
                "receiver",
                (*ours, "receiver"),
                lambda started: _answers(
                    f"http://{_reachable(settings.receiver_host)}:{settings.receiver_port}/health"
                ),
                settings.receiver_port,
                settings.receiver_host,
                "FATOURA_RECEIVER_PORT",
            ),
            Part(
                "site",
                (*ours, "site"),
                lambda started: _answers(
                    f"http://{_reachable(settings.site_host)}:{settings.site_port}/health"
                ),
                settings.site_port,
                settings.site_host,
                "FATOURA_SITE_PORT",
            ),
            Part(
                "api-server",
                (
                    *airflow,
                    "api-server",
                    "--host",
                    HOST,
                    "--port",
                    str(settings.airflow_port),
                    "--workers",
                    "1",
                ),
                # Asked for by tasks: built at its first call, for which the first task need not wait.
                lambda started: _answers(f"{self.environment.ui}/execution/health", 30),
                settings.airflow_port,
                setting="FATOURA_AIRFLOW_PORT",
            ),
            Part("scheduler", (*airflow, "scheduler", "--skip-serve-logs"), self._beats("scheduler")),
            Part("dag-processor", (*airflow, "dag-processor"), self._beats("dag_processor")),
            Part("triggerer", (*airflow, "triggerer", "--skip-serve-logs"), self._beats("triggerer")),
        )

    def up(self) -> None:
        """Start what does not run yet, and wait until all of it is healthy.

        :raises PortTaken: when somebody else holds a port; nothing has been started then.
        :raises StackError: when a part does not start; what this call started has been stopped then.
        """
        with self._turn():
            missing = [part for part in self.parts if self._process(part.name) is None]
            self._demand_same_ports()
            # A killed parent leaves children that hold its port.
            self._end([part.name for part in missing])
            for part in missing:
                if part.port:
                    ports.demand_free(part.port, part.host, part.setting, f"the {part.name}")
            had_postgres = self.environment.postgres.is_running()
            if not missing and had_postgres:
                self._say("everything runs already")
                self._wait_until_ready({}, time.monotonic())
                return
            try:
                self._start(missing)
            except BaseException:
                with _uninterrupted():
                    self._end([part.name for part in missing] + list(_MIGRATIONS))
                    if not had_postgres:
                        self.environment.postgres.stop()
                raise

    def down(self) -> bool:
        """Stop everything that belongs to this stack, also what a crash left behind.

        :returns: whether anything was left to stop.
        :raises StackError: when a process cannot be ended.
        """
        environment = self.environment
        if not environment.var.exists():
            return False
        with self._turn():
            found = bool(self.leftovers())
            for parts, patience in _STOPS:
                self._end(parts, patience)
            environment.postgres.stop()
            processes.end(processes.working_in(environment.postgres.data), 4)
            for part in self.parts:
                self._records.forget(part.name)
            if environment.var not in environment.postgres.socket.parents:
                with suppress(OSError):
                    environment.postgres.socket.rmdir()
            if left := self.leftovers():
                numbers = ", ".join(str(process.pid) for process in left)
                raise StackError(f"these processes of the stack could not be ended: {numbers}")
            return found

    def leftovers(self) -> list[psutil.Process]:
        """Return all living processes of this stack, PostgreSQL's included."""
        environment = self.environment
        return [*processes.marked(environment.mark), *processes.working_in(environment.postgres.data)]

    def status(self) -> list[PartStatus]:
        """Return how each part does, PostgreSQL first."""
        postgres = self.environment.postgres.is_running()
        found = [PartStatus("postgresql", postgres, postgres)]
        for part in self.parts:
            record, process = self._records.read(part.name), self._process(part.name)
            if record is None or process is None:
                found.append(PartStatus(part.name, False, False, port=part.port))
            else:
                found.append(
                    PartStatus(
                        part.name, True, part.ready(record.started), record.pid, record.port, record.started
                    )
                )
        return found

    def watch(self) -> None:
        """Wait until a part of the stack ends by itself.

        :raises StackError: then; names it, with the end of its log.
        """
        while True:
            for part in self.parts:
                if self._process(part.name) is None:
                    raise StackError(self._obituary(part.name, "has ended"))
            time.sleep(1)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Keep the stack no longer than the block: stop it at the end, also when this process is killed."""
        folder = self.environment.logs
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "warden.log").open("ab") as log:
            warden = subprocess.Popen(
                (sys.executable, "-m", "fatoura.stack.warden", str(self.environment.var)),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield
        finally:
            with _uninterrupted():
                self.down()
                with suppress(BrokenPipeError):
                    warden.communicate(b"stopped")

    def _start(self, missing: list[Part]) -> None:
        environment = self.environment
        began = time.monotonic()
        if not environment.postgres.is_running():
            self._say("starting PostgreSQL")
            environment.postgres.start()
        for database in ("fatoura", "airflow"):
            environment.postgres.create_database(database)
        waiting = {part.name: part for part in missing}
        started: dict[str, subprocess.Popen[bytes]] = {}

        def start(*names: str) -> None:
            for name in names:
                if part := waiting.get(name):
                    started[name] = self._spawn(name, part.command, part.port)

        start("gateway")
        self._migrate(lambda: start("receiver", "site"))
        start("api-server", "scheduler", "dag-processor", "triggerer")
        self._wait_until_ready(started, began)
        self.api.ensure_pool(POOL, self.settings.send_slots, "Tasks that hand messages to the SMS provider.")
        self.api.ensure_pool(
            URGENT_POOL, self.settings.urgent_slots, "The same, of warnings: they do not wait behind bills."
        )

    def _migrate(self, after_ours: Callable[[], None]) -> None:
        postgres = self.environment.postgres
        runs: dict[str, subprocess.Popen[bytes]] = {
            _MIGRATIONS[0]: self._spawn(_MIGRATIONS[0], (sys.executable, "-m", "fatoura", "db", "upgrade"))
        }
        airflow = f"Airflow {version('apache-airflow-core')}"
        # Airflow's own check takes seconds at each start; the database remembers who migrated it.
        if _migrated_by(postgres) != airflow:
            self._say("migrating the databases")
            runs[_MIGRATIONS[1]] = self._spawn(
                _MIGRATIONS[1], (sys.executable, "-m", "airflow", "db", "migrate")
            )
        for name, run in runs.items():
            if run.wait():
                raise StackError(self._obituary(name, f"failed with exit code {run.returncode}"))
            if name == _MIGRATIONS[0]:
                after_ours()
        _note_migrated_by(postgres, airflow)

    def _wait_until_ready(self, started: dict[str, subprocess.Popen[bytes]], began: float) -> None:
        waiting = list(self.parts)
        while waiting:
            for part in list(waiting):
                child = started.get(part.name)
                if child is not None and child.poll() is not None:
                    raise StackError(self._obituary(part.name, f"ended with exit code {child.returncode}"))
                record = self._records.read(part.name)
                if record is None or self._process(part.name) is None:
                    raise StackError(self._obituary(part.name, "has ended"))
                if part.ready(record.started):
                    waiting.remove(part)
                    if child is not None:
                        self._say(f"{part.name} is ready after {processes.seconds_since(began):.0f} s")
                elif processes.seconds_since(began) > _START_PATIENCE:
                    raise StackError(self._obituary(part.name, f"is not ready after {_START_PATIENCE:.0f} s"))
            time.sleep(0.2)

    def _spawn(self, name: str, command: tuple[str, ...], port: int | None = None) -> subprocess.Popen[bytes]:
        child = processes.spawn(
            command,
            name=name,
            environment=self.environment.complete(),
            log=self._log(name),
            cwd=self.settings.home,
        )
        if name not in _MIGRATIONS:
            self._records.write(Record(name, child.pid, time.time(), port))
        return child

    def _end(self, parts: Collection[str] | None, patience: float = 4) -> None:
        # Looked for again and again: a process may have forked while it was being asked to end.
        for _ in range(5):
            living = processes.marked(self.environment.mark, parts)
            if not living:
                return
            processes.end(living, patience)

    def _process(self, name: str) -> psutil.Process | None:
        record = self._records.read(name)
        return record.process(self.environment.mark) if record else None

    def _demand_same_ports(self) -> None:
        for part in self.parts:
            record = self._records.read(part.name)
            if record and record.port != part.port and record.process(self.environment.mark):
                raise BadInput(
                    f"the stack runs already, with the {part.name} on port {record.port}, not {part.port}: "
                    f"run `make down` first, or leave {part.setting} as it was"
                )

    def _beats(self, name: str) -> Callable[[float], bool]:
        def ready(started: float) -> bool:
            beat = (self.api.heartbeats() or {}).get(name)
            return beat is not None and beat >= datetime.fromtimestamp(started, UTC)

        return ready

    def _log(self, name: str) -> Path:
        return self.environment.logs / f"{name}.log"

    def _obituary(self, name: str, what: str) -> str:
        log = self._log(name)
        return f"{name} {what}; the end of {log}:\n{processes.tail(log)}"

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let one start or stop of this stack run at a time."""
        folder = self.environment.var / "run"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say("waiting for another start or stop of this stack")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the signals that end a command end it in order, as Ctrl-C does; `nohup` keeps its meaning."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]  # a shell starts background jobs with SIGINT ignored
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _migrated_by(postgres: EmbeddedPostgres) -> str | None:
    with _airflow_database(postgres) as db:
        row = db.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'airflow'"
        ).fetchone()
    return row[0] if row else None


def _note_migrated_by(postgres: EmbeddedPostgres, airflow: str) -> None:
    with _airflow_database(postgres) as db:
        db.execute(psycopg.sql.SQL("COMMENT ON DATABASE airflow IS {}").format(psycopg.sql.Literal(airflow)))


def _airflow_database(postgres: EmbeddedPostgres) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(host=str(postgres.socket), user="postgres", dbname="airflow", autocommit=True)


def _answers(url: str, seconds: float = 2) -> bool:
    try:
        return requests.get(url, timeout=seconds, proxies={"http": ""}).ok
    except requests.RequestException:
        return False


def _reachable(host: str) -> str:
    return HOST if host in ("0.0.0.0", "::") else host
