"""A real stack in which tests land extracts, follow runs, clear tasks, and look at what the gateway saw."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg

from fatoura.settings import Settings
from fatoura.stack.local import LocalStack
from fatoura.stack.ports import find_free

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

DAG = "billing_cycle"
TASKS = ("extract", "validate", "match", "render", "release", "send", "settle", "schedule_cutoff", "report")
MORNING = "2026-05-20T10:00:00+01:00"


def eventually(check: Callable[[], Any], seconds: float = 120) -> Any:
    """Return the first true answer; fail when there is none in time."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, "in vain"
        time.sleep(0.5)
    return found


# A message that is on its way while the clock jumps was given its validity by the time before.
_JUMP_SECONDS = 0.5


class Clock:
    """The clock of a running stack: a file that its processes look at."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._moves: list[tuple[float, float]] = []  # when, and by how much

    def set(self, local: str) -> None:
        """Put the clock to a local time of Tunis; it goes on from there."""
        now = time.time()
        offset = datetime.fromisoformat(f"{local}+01:00").timestamp() - now
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset:+.3f}")
        new.replace(self.file)
        self._moves.append((now, offset))

    def read(self, machine: float | None = None) -> datetime:
        """Return the local time at an instant of the machine's clock; now, if none is given."""
        machine = time.time() if machine is None else machine
        offset = next(by for when, by in reversed(self._moves) if when <= machine)
        zone = datetime.fromisoformat("2026-05-23T00:00:00+01:00").tzinfo
        return datetime.fromtimestamp(machine + offset, zone)

    def just_moved(self, machine: float) -> bool:
        """Tell whether the clock jumped right before an instant of the machine's clock."""
        return any(0 <= machine - when < _JUMP_SECONDS for when, _ in self._moves[1:])


@dataclass(frozen=True)
class RunningStack:
    """The stack whose files lie below a folder, seen from outside: by commands, the API, and files.

    :param chosen: settings that differ from those of the other tests, by their variables.
    """

    folder: Path
    chosen: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def variables(self) -> dict[str, str]:
        """The settings of the stack. Its clock stands at ten in the morning of the extracts' issue date."""
        ui, gateway, receiver, site = find_free(4)
        moved = datetime.fromisoformat(MORNING).timestamp() - time.time()
        return {
            "FATOURA_VAR": str(self.folder / "var"),
            "FATOURA_AIRFLOW_PORT": str(ui),
            "FATOURA_GATEWAY_PORT": str(gateway),
            "FATOURA_RECEIVER_PORT": str(receiver),
            "FATOURA_SITE_PORT": str(site),
            "FATOURA_NOW": f"{moved:+.0f}",
            "FATOURA_LANDING_POLL": "3",
            "FATOURA_SETTLE_POLL": "1",
            "FATOURA_SETTLE_HORIZON": "60",
            "FATOURA_DOUBT_HORIZON": "10",
            "FATOURA_SEGMENTS_PER_SECOND": "200",
            # What runs by Airflow's own clock, which nobody moves: as seldom as can be, on a 29 February.
            "FATOURA_FEED_POLL": "P1D",
            "FATOURA_ENROLMENT_POLL": "P1D",
            "FATOURA_CUTOFF_WARNINGS_AT": "0 0 29 2 *",
            "FATOURA_CUTOFF_HANDOVER_AT": "0 0 29 2 *",
            "FATOURA_FEE_RENEWALS_AT": "0 0 29 2 *",
            "FATOURA_RETENTION_AT": "0 0 29 2 *",
            **self.chosen,
        }

    @cached_property
    def stack(self) -> LocalStack:
        """The stack itself, with the API of its Airflow."""
        settings = {name.removeprefix("FATOURA_").lower(): value for name, value in self.variables.items()}
        return LocalStack(Settings(**settings))  # type: ignore[arg-type]

    def command(self, *arguments: str, fails: bool = False) -> str:
        """Run a `fatoura` command; return its standard output, or its standard error where it must fail."""
        done = subprocess.run(
            (sys.executable, "-m", "fatoura", *arguments),
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert bool(done.returncode) is fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def sample(self, cycle: str, *options: str) -> dict[str, Any]:
        """Write a sample, import its subscribers; return what must become of it."""
        folder = self.folder / "samples" / cycle
        self.command("sample", str(folder), "--cycle", cycle, "--issue-date", "2026-05-20", *options)
        self.command("subscribers", "import", str(folder / "subscribers.csv"))
        expected: dict[str, Any] = json.loads((folder / "expected.json").read_text())
        return expected

    def land(self, cycle: str, folder: Path | None = None) -> None:
        """Put a sample into the landing folder, its manifest last."""
        source = folder or self.folder / "samples" / cycle
        target = self.folder / "var" / "landing" / "billing" / cycle
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(source.glob("invoices*")):
            (target / file.name).write_bytes(file.read_bytes())
        (target / "manifest.json").write_bytes((source / "manifest.json").read_bytes())

    @contextmanager
    def nothing_starts_by_itself(self) -> Iterator[None]:
        """Pause the look at the landing folder: runs by hand find an extract where it lies."""
        self.stack.api._request("PATCH", "/dags/extract_landing", json={"is_paused": True})
        # A look that had begun before the pause goes on, and would still see what lands now. So does one
        # that the scheduler queues in a round for which it had read that nothing is paused.
        for _ in range(5):
            time.sleep(1)
            eventually(self._nobody_looks)
        try:
            yield
        finally:
            self.stack.api._request("PATCH", "/dags/extract_landing", json={"is_paused": False})

    def _nobody_looks(self) -> bool:
        looks = self.stack.api.runs("extract_landing")[:3]
        tasks = [task for run in looks for task in self.stack.api.tasks("extract_landing", run["dag_run_id"])]
        return all(task["state"] not in ("queued", "running") for task in tasks)

    def runs_of(self, cycle: str) -> list[dict[str, Any]]:
        """Return the runs of a cycle that its landing started, the newest first."""
        return [run for run in self.stack.api.runs(DAG) if run.get("partition_key") == cycle]

    def run_of(self, cycle: str) -> str:
        """Wait for the run that a landing starts; return its id."""
        (run,) = eventually(lambda: self.runs_of(cycle))
        return str(run["dag_run_id"])

    def finished(self, run_id: str, seconds: float = 240, *, dag_id: str = DAG) -> str:
        """Wait for a run's end; return its state."""

        def state() -> str | None:
            found = self.stack.api.run(dag_id, run_id)["state"]
            return found if found in ("success", "failed") else None

        return str(eventually(state, seconds))

    def task(self, run_id: str, task_id: str, *, dag_id: str = DAG) -> dict[str, Any]:
        """Return a task instance; of a mapped task, the first."""
        return min(
            (task for task in self.stack.api.tasks(dag_id, run_id) if task["task_id"] == task_id),
            key=lambda task: task["map_index"],
        )

    def states(self, run_id: str, *, dag_id: str = DAG) -> dict[str, str]:
        """Return the states of a run's tasks."""
        return {task["task_id"]: task["state"] for task in self.stack.api.tasks(dag_id, run_id)}

    def clear(self, run_id: str, task_id: str, *, dag_id: str = DAG) -> None:
        """Clear one task as an operator does, and wait until the run is over again."""
        self.begin_again(run_id, task_id, dag_id=dag_id, and_after=False)
        state = self.finished(run_id, dag_id=dag_id)
        assert state == "success", self.log(run_id, task_id, dag_id=dag_id)

    def begin_again(self, run_id: str, task_id: str, *, dag_id: str = DAG, and_after: bool = True) -> None:
        """Clear a task, and wait until it has begun again.

        :param and_after: clear what follows it as well.
        """
        body = {
            "dry_run": False,
            "only_failed": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "include_downstream": and_after,
        }
        tries = self.task(run_id, task_id, dag_id=dag_id)["try_number"]
        self.stack.api._request("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)
        eventually(lambda: self.task(run_id, task_id, dag_id=dag_id)["try_number"] > tries)

    def respond(self, run_id: str, choice: str) -> None:
        """Answer the form of `release`, as a person does in the UI."""
        self.stack.api._request(
            "PATCH",
            f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/release/-1/hitlDetails",
            json={"chosen_options": [choice], "params_input": {}},
        )

    def asked(self, run_id: str) -> dict[str, Any]:
        """Wait until `release` asks a person; return its form."""
        eventually(lambda: self.states(run_id)["release"] == "awaiting_input")
        # Airflow tries a task again that is answered before its scheduler has heard that the process which
        # asked has ended well.
        instance = f"task_id='release', run_id='{re.escape(run_id)}'"
        heard = re.compile(f"event with state success for task instance .*{instance}")
        eventually(lambda: heard.search((self.folder / "var" / "logs" / "scheduler.log").read_text()))
        return self.stack.api._request(
            "GET", f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/release/-1/hitlDetails"
        )

    def log(self, run_id: str, task_id: str, *, dag_id: str = DAG) -> str:
        """Return a task's log."""
        return "\n".join(self.stack.api.log_lines(self.task(run_id, task_id, dag_id=dag_id)))

    def ledger(self, cycle: str) -> dict[str, Any]:
        """Return a cycle's ledger."""
        document: dict[str, Any] = json.loads(self.command("ledger", cycle, "--json"))
        return document

    def accepted(self) -> Counter[str]:
        """Count what the gateway accepted, by our notices' ids."""
        return Counter(request["id"] for request in self.requests())

    def requests(self) -> list[dict[str, Any]]:
        """Return what the gateway noted of each request that it accepted, in their order."""
        log = self.folder / "var" / "sandbox" / "requests.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        return [request for line in lines if (request := json.loads(line))["accepted"]]

    def query(self, statement: str, database: str = "fatoura", *values: Any) -> list[Any]:
        """Ask the application's or Airflow's database."""
        socket = str(self.stack.environment.postgres.socket)
        with psycopg.connect(host=socket, user="postgres", dbname=database) as connection:
            return connection.execute(statement, values).fetchall()
