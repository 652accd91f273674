"""The environment in which every process of the local stack runs: Airflow's configuration and ours.

One function builds it, for the stack, the demonstration, the tests and `fatoura stack env`. It starts
nothing; it only makes the secrets that are missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

from fatoura.database.embedded import EmbeddedPostgres
from fatoura.stack.keys import ADMIN, GATEWAY_USER, Keys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fatoura.settings import Settings

# Found again in /proc/<pid>/environ: by it, and by nothing else, the stack knows its own processes.
MARK = "FATOURA_STACK"

_SIMPLE_LOGIN = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"

HOST = "127.0.0.1"
"""The stack listens nowhere else."""


@dataclass(frozen=True)
class StackEnvironment:
    """The places, keys and variables of one local stack.

    :param settings: its ports, and the folder below which all its files lie.
    :param dags: Airflow's DAG folder; the project's own by default.
    :param isolated: whether to leave the caller's own settings of Airflow and of the project out, so that
        nothing of a demonstration reaches a real provider or database.
    """

    settings: Settings
    dags: Path | None = None
    isolated: bool = False

    @cached_property
    def var(self) -> Path:
        """The folder below which all files of this stack lie, resolved."""
        return self.settings.var.resolve()

    @cached_property
    def mark(self) -> str:
        """What `MARK` holds in this stack's processes: another value for each `var`."""
        return hashlib.sha256(str(self.var).encode()).hexdigest()[:16]

    @cached_property
    def keys(self) -> Keys:
        """The secrets of this stack."""
        return Keys(self.var / "secrets")

    @cached_property
    def postgres(self) -> EmbeddedPostgres:
        """The database server of this stack."""
        return EmbeddedPostgres(self.var)

    @property
    def logs(self) -> Path:
        """Where each process writes its log."""
        return self.var / "logs"

    @property
    def ui(self) -> str:
        """Address of Airflow's UI."""
        return f"http://{HOST}:{self.settings.airflow_port}"

    def variables(self) -> dict[str, str]:
        """Return the variables to add to a process's environment."""
        # A person's own Airflow settings win where nothing depends on ours.
        own = self._inherited()
        chosen = {name: own.get(name, value) for name, value in self._preferred().items()}
        return {**chosen, **self._ours(), **self._airflow()}

    def complete(self) -> dict[str, str]:
        """Return the whole environment of a process of the stack."""
        path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**self._inherited(), "PATH": path, **self.variables()}

    def _inherited(self) -> dict[str, str]:
        left_out = ["PYTHONDONTWRITEBYTECODE"]  # each task is a process: without bytecode each compiles anew
        if self.isolated:
            left_out += ["AIRFLOW", "FATOURA_"]
        return {name: value for name, value in os.environ.items() if not name.startswith(tuple(left_out))}

    def as_shell(self) -> str:
        """Return the variables as lines for a shell; secrets are read from their files when it runs them."""
        in_files = {
            "AIRFLOW__CORE__FERNET_KEY": "airflow_fernet_key",
            "AIRFLOW__API__SECRET_KEY": "airflow_secret_key",
            "AIRFLOW__API_AUTH__JWT_SECRET": "airflow_jwt_secret",
            self._connection_name: "gateway_password",
            "FATOURA_SANDBOX_PASSWORD": "gateway_password",
        }
        lines = []
        for name, value in sorted(self.variables().items()):
            if name == MARK or os.environ.get(name) == value:
                continue  # a person's shell is not the stack's to end, and knows what is its own
            pieces, reading = [value], ""
            if name in in_files:
                path = self.keys.folder / in_files[name]
                pieces = value.split(path.read_text().strip())
                reading = f'"$(cat {shlex.quote(str(path))})"'
            lines.append(f"export {name}={reading.join(shlex.quote(piece) for piece in pieces)}")
        return "\n".join(lines)

    def _ours(self) -> dict[str, str]:
        settings = self.settings
        named = settings.model_dump(mode="json", include=settings.model_fields_set | {"home", "var"})
        return {
            **{f"FATOURA_{name.upper()}": str(value) for name, value in named.items() if value is not None},
            "FATOURA_SANDBOX_PASSWORD": self.keys.gateway_password,
            MARK: self.mark,
            "PYTHONUNBUFFERED": "1",
            # setproctitle otherwise overwrites the environment that the mark is looked for in.
            "SPT_NOENV": "1",
            "GX_ANALYTICS_ENABLED": "false",
        }

    @property
    def _connection_name(self) -> str:
        return f"AIRFLOW_CONN_{self.settings.gateways[0].upper()}"

    def _sandbox_connection(self, password: str) -> str:
        return json.dumps(
            {
                "conn_type": "http",
                "host": HOST,
                "port": self.settings.gateway_port,
                "login": GATEWAY_USER,
                "password": password,
                "extra": {"provider": "kannel", "longest_segments": 10},
            }
        )

    def _preferred(self) -> Mapping[str, str]:
        return {
            self._connection_name: self._sandbox_connection(self.keys.gateway_password),
            "AIRFLOW__API__INSTANCE_NAME": "Fatoura",
            # What keeps a chain of short tasks short: half of a task's overhead is the scheduler's sleep.
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            # A task whose process was killed is noticed within a minute.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
            # So are those of a scheduler that died: a new one looks at once, when the old one still counts
            # as living, and would look again after five minutes.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
            # A fresh server takes seconds for its first answers on a busy machine: no reason to fail a task.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
            # A new DAG file is noticed within this many seconds; a changed one at once.
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
            "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": "600",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "3",
        }

    def _airflow(self) -> dict[str, str]:
        settings, var, keys = self.settings, self.var, self.keys
        socket = quote(str(self.postgres.socket))
        home = settings.home
        sections: dict[str, dict[str, object]] = {
            "CORE": {
                "DAGS_FOLDER": self.dags or home / "dags",
                "PLUGINS_FOLDER": home / "plugins",
                "EXECUTOR": "LocalExecutor",
                "PARALLELISM": settings.parallelism,
                "LOAD_EXAMPLES": False,
                "DAGS_ARE_PAUSED_AT_CREATION": False,
                "AUTH_MANAGER": _SIMPLE_LOGIN,
                "SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
                "SIMPLE_AUTH_MANAGER_ALL_ADMINS": False,
                "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": keys.passwords_file,
                "FERNET_KEY": keys.fernet_key,
                "EXECUTION_API_SERVER_URL": f"{self.ui}/execution/",
                # The default asks the name service, which a machine without a network has not.
                "HOSTNAME_CALLABLE": "socket.gethostname",
            },
            "DATABASE": {
                "SQL_ALCHEMY_CONN": f"postgresql+psycopg2://postgres@/airflow?host={socket}",
                "SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://postgres@/airflow?host={socket}",
            },
            "API": {
                "HOST": HOST,
                "PORT": settings.airflow_port,
                "BASE_URL": self.ui,
                "WORKERS": 1,
                "SECRET_KEY": keys.secret_key,
            },
            "API_AUTH": {"JWT_SECRET": keys.jwt_secret},
            "SCHEDULER": {"ENABLE_HEALTH_CHECK": False},
            "LOGGING": {
                "BASE_LOG_FOLDER": self.logs / "airflow",
                "DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": self.logs / "dag_processor",
                "COLORED_CONSOLE_LOG": False,
            },
        }
        return {
            "AIRFLOW_HOME": str(var / "airflow"),
            **{
                f"AIRFLOW__{section}__{option}": str(value)
                for section, options in sections.items()
                for option, value in options.items()
            },
        }
