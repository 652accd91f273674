"""Where it is measured: a folder and an embedded server of their own, removed at the end.

The server is started as `make up` starts it: the same settings, every commit waits for the disk. Programs
that are measured run as processes of their own, in an environment that points at this ground only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
import psycopg

from fatoura.database.embedded import EmbeddedPostgres
from fatoura.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


NOW = "2026-05-20T10:00:00+01:00"
"""The instant at which everything begins: the sample's issue date, inside the sending window."""

_MEGABYTE = 1_000_000
_EVERY_SECONDS = 0.05


class BenchError(Exception):
    """What should have been measured did not work; holds the end of its log."""


@dataclass(frozen=True)
class Ended:
    """A program that has ended well. Seconds of a clock on the wall; memory in megabytes.

    :param answer: the JSON document that it printed, if it printed one.
    :param seconds: from before its start until after its end.
    :param server_cpu: processor seconds that the database server took meanwhile.
    :param backend: the most memory that one of its database sessions had for itself alone.
    :param backend_shared: the same with the pages of the shared buffers that it touched.
    """

    answer: Any
    seconds: float
    server_cpu: float
    backend: float
    backend_shared: float


class Ground:
    """Use as a context: the folder is made and the server started, and both go at the end.

    :param say: takes lines of progress.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        base = PROJECT_ROOT / "var" / "bench"
        base.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(dir=base))
        self.folder.chmod(0o755)  # the server may run as another OS user
        self.server = EmbeddedPostgres(self.folder)
        self.say = say

    def __enter__(self) -> Self:
        """Start the server."""
        try:
            self.server.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server and remove everything."""
        self.server.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.server.socket.parent != self.server.data.parent:
            shutil.rmtree(self.server.socket, ignore_errors=True)

    @property
    def server_pid(self) -> int:
        """The server's process, whose children its sessions are."""
        return int((self.server.data / "postmaster.pid").read_text().split()[0])

    # --- Databases

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Open a session of the measurement's own."""
        return psycopg.connect(
            host=str(self.server.socket), user="postgres", dbname=database, autocommit=True
        )

    def make_database(self, name: str, template: str = "template1") -> None:
        """Make a database, and let the disk come to rest."""
        with self.connect() as db:
            # Read from the files, not through the log: what is measured next finds no such work under way.
            db.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy".encode())
            db.execute("CHECKPOINT")

    def make_seeded(self, name: str, seed: Path, **values: object) -> None:
        """Make a database of this version, with statistics as autovacuum leaves them.

        :param seed: the file of statements that fill it.
        :param values: for the places in them.
        """
        began = time.monotonic()
        self.make_database(name)
        self.run(["fatoura", "db", "upgrade"], self.environment(name))
        with self.connect(name) as db:
            with db.transaction():
                # Many statements take no values on the server.
                psycopg.ClientCursor(db).execute(seed.read_bytes(), values)
            db.execute("VACUUM (ANALYZE)")
        self.say(f"seeded {name} in {time.monotonic() - began:.0f} s")

    def drop_database(self, name: str) -> None:
        """Drop a database."""
        with self.connect() as db:
            db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    # --- Programs

    def environment(self, database: str, **settings: object) -> dict[str, str]:
        """Return the environment of a program: nobody's own settings, Airflow's home on this ground."""
        return {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("FATOURA_", "AIRFLOW"))
            },
            "FATOURA_VAR": str(self.folder),
            "FATOURA_DATABASE_URL": self.server.url(database),
            "FATOURA_NOW": NOW,
            **{f"FATOURA_{name.upper()}": str(value) for name, value in settings.items()},
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "PYTHONPATH": os.pathsep.join(str(PROJECT_ROOT / name) for name in ("", "plugins", "dags")),
            "GX_ANALYTICS_ENABLED": "false",
        }

    def run(self, arguments: Sequence[object], environment: dict[str, str]) -> Ended:
        """Run ``python -m …`` to its end, and read the JSON document that it prints, if it does.

        :raises BenchError: when it fails.
        """
        with _watched(self.server_pid) as server, tempfile.TemporaryFile("w+") as log:
            began = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", *map(str, arguments)],
                env=environment,
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                check=False,
            )
            seconds = time.monotonic() - began
            if done.returncode:
                log.seek(0)
                told = (log.read() + done.stdout)[-3000:]
                raise BenchError(f"{' '.join(map(str, arguments))} ended with {done.returncode}:\n{told}")
        # Airflow may have said something before.
        last = done.stdout.rstrip().rpartition("\n")[2]
        answer = json.loads(last) if last.startswith("{") else None
        return Ended(answer, seconds, server.cpu, server.backend, server.backend_shared)


class _watched:
    """Watches the server's processes while a program runs: a session's memory is gone when it ends."""

    def __init__(self, pid: int) -> None:
        self.cpu = self.backend = self.backend_shared = 0.0
        self._postmaster = psutil.Process(pid)
        self._others = {process.pid for process in self._postmaster.children()}
        self._cpu: dict[int, float] = {}
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._before = sum(self._cpu.values())
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()
        self._look()
        self.cpu = sum(self._cpu.values()) - self._before

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            self._look()

    def _look(self) -> None:
        for process in self._postmaster.children():
            try:
                times, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:
                continue
            self._cpu[process.pid] = times.user + times.system
            if process.pid not in self._others:
                self.backend = max(self.backend, (memory.rss - memory.shared) / _MEGABYTE)
                self.backend_shared = max(self.backend_shared, memory.rss / _MEGABYTE)
