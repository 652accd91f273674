"""The services of docker-compose.yaml, run natively: the same commands, health checks, secrets and order.

Only what containers would have of their own differs, and by variables alone: addresses, ports and folders.
PostgreSQL is the embedded one with the file's settings and a password, Redis the one of Debian.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from fatoura.database.embedded import EmbeddedPostgres, _binaries
from fatoura.stack import processes
from fatoura.stack.airflow_api import AirflowApi
from fatoura.stack.environment import MARK
from fatoura.stack.ports import find_free
from tests.composition import ROOT, Composition
from tests.e2e.running import RunningStack, eventually

if TYPE_CHECKING:
    from tests.composition import Service

_SECRETS = "/run/secrets"


@dataclass(frozen=True)
class Production(RunningStack):
    """The production shape on this machine, below one folder, seen as a `RunningStack`.

    :param settings: the project's and Airflow's settings that differ, for all services.
    :param scale: how many of a service to run, where it is not one.
    """

    settings: dict[str, str] = field(default_factory=dict)
    scale: dict[str, int] = field(default_factory=dict)
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @cached_property
    def ports(self) -> dict[str, int]:
        """A port for whatever listens."""
        names = ["postgres", "redis", "api-server", "receiver", "site", "gateway", "triggerer-logs"]
        names += [f"{instance}-logs" for instance in self.instances("worker")]
        return dict(zip(names, find_free(len(names)), strict=True))

    @cached_property
    def composition(self) -> Composition:
        """The file, with the variables that an operator would put into `.env`."""
        return Composition(
            {
                "FATOURA_POSTGRES": f"127.0.0.1:{self.ports['postgres']}",
                "FATOURA_REDIS": f"127.0.0.1:{self.ports['redis']}",
                "FATOURA_RECEIVER_URL": f"http://127.0.0.1:{self.ports['receiver']}",
                "FATOURA_SITE_URL": f"http://127.0.0.1:{self.ports['site']}",
                "FATOURA_UI_URL": f"http://127.0.0.1:{self.ports['api-server']}",
                **self.settings,
            }
        )

    @cached_property
    def services(self) -> dict[str, Service]:
        """The services that `docker compose up` would start."""
        return {name: one for name, one in self.composition.services.items() if not one.profiles}

    @cached_property
    def secrets(self) -> dict[str, str]:
        """The secrets, made as the file's header says."""
        made = {name: secrets.token_hex(32) for name in self.composition.document["secrets"]}
        made["airflow_fernet_key"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        made["airflow_passwords"] = json.dumps({"admin": secrets.token_hex(12)})
        provider = {
            "conn_type": "http",
            "host": "127.0.0.1",
            "port": self.ports["gateway"],
            "login": "steg",
            "password": secrets.token_hex(12),
            "extra": {"provider": "kannel"},
        }
        made["connections.json"] = made["site_connections.json"] = json.dumps({"fatoura_sms": provider})
        return made

    @cached_property
    def mark(self) -> str:
        """By which the processes of this stack are found again."""
        return secrets.token_hex(8)

    @cached_property
    def postgres(self) -> EmbeddedPostgres:
        """The server in the place of the service `postgres`: its settings, over TCP; it awaits no disk."""
        options = dict(re.findall(r"-c (\w+)=(\S+)", " ".join(self.services["postgres"].command)))
        options |= {"listen_addresses": "127.0.0.1", "port": str(self.ports["postgres"]), "fsync": "off"}
        return EmbeddedPostgres(self.folder / "postgres", tuple(options.items()))

    @cached_property
    def variables(self) -> dict[str, str]:
        """The environment of a `fatoura` command in a container of this stack."""
        given = self.environment(self.services["scheduler"], "command")
        database = f"fatoura:{self.secrets['postgres_password']}@127.0.0.1:{self.ports['postgres']}/fatoura"
        return given | {"FATOURA_DATABASE_URL": f"postgresql+psycopg://{database}"}

    @cached_property
    def stack(self) -> Any:
        """What `RunningStack` asks: Airflow's API."""
        password = json.loads(self.secrets["airflow_passwords"])["admin"]
        url = f"http://127.0.0.1:{self.ports['api-server']}"
        return SimpleNamespace(api=AirflowApi(url, "admin", password))

    def instances(self, name: str) -> list[str]:
        """Return the names of a service's containers."""
        count = self.scale.get(name, 1)
        return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]

    def environment(self, service: Service, instance: str) -> dict[str, str]:
        """Return a container's whole environment, with addresses, ports and folders of this machine."""
        own = self.folder / "containers" / instance
        own.mkdir(parents=True, exist_ok=True)
        folders = {
            _SECRETS: self.folder / "secrets",
            "/srv/fatoura": self.folder / "var",
            "/opt/fatoura": ROOT,
            "/home/fatoura": own,
            "/tmp/": f"{own}/",
        }
        image = re.findall(r"(\w+)=(\S+)", re.search(r"^ENV (.*)", _dockerfile(), re.M)[1])  # type: ignore[index]
        given = {**dict(image), **service.environment} if service.ours else service.environment
        there = re.compile("|".join(folders))
        given = {
            name: there.sub(lambda found: str(folders[found[0]]), value) for name, value in given.items()
        }
        if service.ours:
            given |= {
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(self.ports["api-server"]),
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": (
                    f"http://127.0.0.1:{self.ports['api-server']}/execution/"
                ),
                "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.ports["triggerer-logs"]),
                "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self.ports.get(f"{instance}-logs", 0)),
                "FATOURA_RECEIVER_HOST": "127.0.0.1",
                "FATOURA_RECEIVER_PORT": str(self.ports["receiver"]),
                "FATOURA_SITE_HOST": "127.0.0.1",
                "FATOURA_SITE_PORT": str(self.ports["site"]),
                **self.settings,
            }
        own_tools = (str(ROOT / "docker"), os.path.dirname(sys.executable), str(_binaries()))
        return {
            **{
                name: os.environ[name]
                for name in ("LANG", "PYTHONPATH", "TMPDIR", "TZ")
                if name in os.environ
            },
            "HOME": str(own),
            "HOSTNAME": instance,
            "PATH": os.pathsep.join((*own_tools, os.environ.get("PATH", os.defpath))),
            "PGPORT": str(self.ports["postgres"]),
            **given,
            MARK: self.mark,
            processes.PART: instance,
            "SPT_NOENV": "1",  # setproctitle otherwise overwrites the mark
        }

    def words(self, service: Service, words: list[str]) -> list[str]:
        """Return a command's words; those of Redis with a port and folder of this machine."""
        if service.ours:
            return words
        port = str(self.ports["redis"])
        mine = {
            _SECRETS: str(self.folder / "secrets"),
            "redis-server -": f"redis-server --bind 127.0.0.1 --port {port} --dir {self.folder} -",
            "redis-cli": f"redis-cli -p {port}",
        }
        for there, here in mine.items():
            words = [word.replace(there, here) for word in words]
        return words

    def up(self) -> None:
        """Start what `docker compose up` would, each when what it depends on is as far as it demands."""
        for name in ("secrets", "var", "var/landing", "var/logs"):
            (self.folder / name).mkdir(exist_ok=True)
        for name, value in self.secrets.items():
            (self.folder / "secrets" / name).write_text(value)
        self.start_gateway()
        waiting = dict(self.services)
        healthy: set[str] = set()
        end = time.monotonic() + 120
        while waiting:
            assert time.monotonic() < end, f"not started: {', '.join(waiting)}"
            for name, service in list(waiting.items()):
                if all(
                    self._is(condition["condition"], other, healthy)
                    for other, condition in service.definition.get("depends_on", {}).items()
                ):
                    for instance in self.instances(name):
                        self.start(service, instance)
                    del waiting[name]
            time.sleep(0.1)

    def _is(self, condition: str, name: str, healthy: set[str]) -> bool:
        if condition == "service_completed_successfully":
            code = self._children[name].poll() if name in self._children else None
            assert not code, f"{name} ended with {code}:\n{self.tail(name)}"
            return code == 0
        assert condition == "service_healthy"
        started = name == "postgres" or name in self._children
        if started and name not in healthy and self.health(self.services[name], name).returncode == 0:
            healthy.add(name)
        return name in healthy

    def start(self, service: Service, instance: str) -> None:
        """Start one container's command."""
        if service.name == "postgres":
            self._start_postgres(service)
            return
        if service.ours:
            entrypoint = json.loads(re.search(r"^ENTRYPOINT (.*)", _dockerfile(), re.M)[1])  # type: ignore[index]
            words = [*entrypoint, *service.command]
        else:
            words = self.words(service, service.command)
        self._spawn(words, instance, self.environment(service, instance))

    def start_gateway(self, *options: str) -> None:
        """Start the provider: the sandbox, which belongs to no service."""
        provider = json.loads(self.secrets["connections.json"])["fatoura_sms"]
        words = ["gateway", "sandbox", "--port", str(provider["port"]), "--username", provider["login"]]
        log = self.folder / "var" / "sandbox" / "requests.jsonl"
        environment = self.environment(self.services["receiver"], "gateway")
        environment["FATOURA_SANDBOX_PASSWORD"] = provider["password"]
        command = [sys.executable, "-m", "fatoura", *words, "--log", str(log), "--delay", "30", *options]
        self._spawn(command, "gateway", environment)

    def health(self, service: Service, instance: str) -> subprocess.CompletedProcess[str]:
        """Run a container's health check once."""
        return subprocess.run(
            self.words(service, service.health_check),
            env=self.environment(service, instance),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    def wait_until_ready(self) -> None:
        """Wait until Airflow's parts give signs of life and the workers take tasks."""
        began = time.time()

        def ready() -> bool:
            for name, child in self._children.items():
                assert child.poll() in (None, 0), f"{name} ended with {child.returncode}:\n{self.tail(name)}"
            beats = self.stack.api.heartbeats() or {}
            return len(beats) == 3 and all(beat is not None for beat in beats.values())

        eventually(ready)
        for instance in self.instances("worker"):
            eventually(lambda instance=instance: f"celery@{instance} ready" in self.tail(instance, 400))
        assert time.time() - began < 120

    def stop(self, service: Service, instance: str) -> int:
        """Stop a container as `docker compose stop` does; return its exit code."""
        for hook in service.definition.get("pre_stop", ()):
            words = shlex.split(hook["command"])
            environment = self.environment(service, instance)
            subprocess.run(words, env=environment, cwd=ROOT, check=True, capture_output=True)
        self._children[instance].terminate()
        return self._children[instance].wait(60)

    def kill(self, instance: str) -> int:
        """Kill a container's processes, all at once, as when its machine fails; return how many."""
        killed = 0
        while living := processes.marked(self.mark, [instance]):
            for process in living:
                process.kill()
            killed += len(living)
            psutil.wait_procs(living, timeout=5)
        self._children[instance].wait(10)
        return killed

    def down(self) -> None:
        """Stop everything."""
        processes.end(processes.marked(self.mark), 5)
        for child in self._children.values():
            child.kill()  # Redis overwrites the mark
            child.wait(10)
        self.postgres.stop("immediate")
        assert processes.marked(self.mark) == []

    def tail(self, instance: str, lines: int = 40) -> str:
        """Return the end of a container's output."""
        return processes.tail(self.folder / "output" / f"{instance}.log", lines)

    def query(self, statement: str, database: str = "fatoura", *values: Any) -> list[Any]:
        """Ask the application's or Airflow's database."""
        with psycopg.connect(
            host="127.0.0.1",
            port=self.ports["postgres"],
            user="fatoura",
            password=self.secrets["postgres_password"],
            dbname=database,
        ) as connection:
            return connection.execute(statement, values).fetchall()

    def _spawn(self, words: list[str], instance: str, environment: dict[str, str]) -> None:
        log = self.folder / "output" / f"{instance}.log"
        program = shutil.which(words[0], path=environment["PATH"])
        assert program, f"{words[0]} is not installed"
        self._children[instance] = processes.spawn(
            [program, *words[1:]], name=instance, environment=environment, log=log, cwd=ROOT
        )

    def _start_postgres(self, service: Service) -> None:
        """Do what the image does at its first start: a user with a password, its database, the scripts."""
        self.postgres.start()
        user, database = service.environment["POSTGRES_USER"], service.environment["POSTGRES_DB"]
        configs = self.composition.document["configs"]
        with psycopg.connect(
            host="127.0.0.1",
            port=self.ports["postgres"],
            user="postgres",
            dbname="postgres",
            autocommit=True,
        ) as db:
            password = psycopg.sql.Literal(self.secrets["postgres_password"])
            role = psycopg.sql.Identifier(user)
            db.execute(psycopg.sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(role, password))
            name = psycopg.sql.Identifier(database)
            db.execute(psycopg.sql.SQL("CREATE DATABASE {} OWNER {}").format(name, role))
            for script in service.definition["configs"]:
                db.execute(configs[script["source"]]["content"])
            (self.postgres.data / "pg_hba.conf").write_text(
                "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            )
            db.execute("SELECT pg_reload_conf()")


def _dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
