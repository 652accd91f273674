"""The demonstration: from captured coupons to the report of a billing cycle, in a stack of its own.

Called by the command `demo`. It does what an outsider would: writes files into the landing folder, watches
Airflow through its API, and asks the project's own commands; it touches no table but to read stage times.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rich.table import Table

from fatoura.errors import BadInput
from fatoura.settings import Settings
from fatoura.stack.keys import ADMIN
from fatoura.stack.local import LocalStack, StackError
from fatoura.stack.ports import find_free

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

CYCLE = "2026-05-T1"
_LANDING, _CYCLE = "extract_landing", "billing_cycle"
_INTAKE, _WELCOMES = "enrolment_intake", "welcome_messages"
_SUBSCRIBED = "0.6"

_DEFECTS = {
    **dict.fromkeys(("bad_reference", "unreadable_amount", "unreadable_date", "unknown_district"), 0.004),
    **dict.fromkeys(("missing_value", "period_reversed", "ragged", "not_utf8"), 0.002),
    **dict.fromkeys(("duplicate", "conflicting_duplicate"), 0.003),
    **{"zero_balance": 0.02, "credit_balance": 0.01, "unknown_column": 0.01},
}

_COUPON_DEFECTS = {
    **dict.fromkeys(("unsigned", "bad_phone", "short_reference", "conflicting_copies"), 0.004),
    **dict.fromkeys(("repeated_coupon", "unknown_customer", "closed_contract", "many_contracts"), 0.004),
    **dict.fromkeys(("conflicting_coupons", "crossed_out", "older_signature"), 0.004),
}

# What the sandbox does with messages, so that the report has something to tell.
_GATEWAY = (
    *("--receipt-delay", "1.5"),
    *("--outcome", "undeliverable=0.03", "--outcome", "expired=0.01", "--outcome", "refused=0.005"),
    *("--fault", "duplicate-receipts=0.02"),
)

_BUCKETS = ("extracted", "rejected", "unsubscribed", "suppressed", "held_out", "noticed")

_FAILED_LANDINGS = 3
"""The landing folder is looked at every few seconds; that many failures are no accident."""

_START_OF_RUN = 120.0
"""Seconds within which what landed must have led to a run."""


@dataclass
class Demonstration:
    """One demonstration: customers enrol, are welcomed, and get their bills.

    Everything of it lies below `var/demo`; it has free ports, and a clock of its own.

    :param base: the caller's settings: where `var` is, how fast to send.
    :param invoices: rows of the sample extract.
    :param seed: of the sample.
    :param console: where progress and the summary go.
    """

    base: Settings
    invoices: int
    seed: int
    console: Console
    began: float = field(default_factory=time.monotonic)

    @property
    def var(self) -> Path:
        """The folder below which everything of the demonstration lies."""
        return self.base.var / "demo"

    def run(self, *, keep: bool = False) -> None:
        """Show it, and stop everything.

        :param keep: wait for Ctrl-C before stopping, so that one can look around.
        :raises FatouraError: with the reason when a step fails; everything is stopped then, too.
        """
        with self._alone():
            self._clear()
            sample = self._write_sample()
            manifest = json.loads((sample / "manifest.json").read_text())
            settings = self._settings(date.fromisoformat(manifest["issue_date"]))
            stack = LocalStack(
                settings, isolated=True, gateway_options=_GATEWAY, say=lambda line: self.say(f"  {line}")
            )
            with self._stopping(stack), stack.guarded():
                self.say("starting the stack")
                stack.up()
                self._wait_for_dags(stack)
                self._enrol(stack, sample)
                landed = self._land(sample, settings.landing)
                run_id = self._started(stack, _CYCLE, lambda: self._demand_landing(stack))
                run = self._follow(stack, _CYCLE, run_id)
                self._summarise(stack, run, landed)
                if keep:
                    self._stay(stack)

    def say(self, line: str) -> None:
        """Print a line of progress with the seconds since the start."""
        self.console.print(f"[dim]{time.monotonic() - self.began:6.1f} s[/]  {line}", soft_wrap=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.base.var.mkdir(parents=True, exist_ok=True)
        with (self.base.var / "demo.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(
                    f"another demonstration runs in {self.var}: wait for its end, or stop it"
                ) from None
            yield

    @contextmanager
    def _stopping(self, stack: LocalStack) -> Iterator[None]:
        try:
            yield
        finally:
            if not stack.leftovers():
                self.say("everything is stopped, no process is left")

    def _clear(self) -> None:
        if self.var.exists():
            LocalStack(self.base.model_copy(update={"var": self.var})).down()
            shutil.rmtree(self.var)
        self.var.mkdir(parents=True)

    def _settings(self, issued: date) -> Settings:
        zone = ZoneInfo(self.base.timezone)
        morning = datetime.combine(issued, clock_time(10), zone)
        ui, gateway, receiver, site = find_free(4)
        return Settings(  # type: ignore[call-arg]
            profile="local",
            home=self.base.home,
            var=self.var,
            database_url="",
            landing=str(self.var / "landing"),
            reports=self.var / "reports",
            receipt_secret_file=self.var / "secrets" / "receipt_secret",
            receiver_host="127.0.0.1",
            receiver_url="",
            airflow_port=ui,
            gateway_port=gateway,
            receiver_port=receiver,
            site_host="127.0.0.1",
            site_port=site,
            site_url="",
            site_key_file=self.var / "secrets" / "site_key",
            sms_connections_file=None,
            sms_conn_ids="fatoura_sms",
            now=f"{(morning - datetime.now(zone)).total_seconds():+.0f}",
            landing_poll=timedelta(seconds=5),
            enrolment_poll=timedelta(seconds=5),
            segments_per_second=max(200, self.base.segments_per_second),
            doubt_horizon=timedelta(seconds=15),
            settle_horizon=timedelta(seconds=60),
            settle_poll=timedelta(seconds=1),
        )

    def _write_sample(self) -> Path:
        self.say(f"writing a sample: coupons, and an extract of {self.invoices:,} invoices, some of each bad")
        folder = self.var / "sample"
        defects = [
            word
            for option, kinds in (("--defect", _DEFECTS), ("--coupon-defect", _COUPON_DEFECTS))
            for kind, share in kinds.items()
            for word in (option, f"{kind}={share}")
        ]
        _command(
            ("sample", str(folder), "--cycle", CYCLE, "--invoices", str(self.invoices), *defects),
            ("--subscribed", _SUBSCRIBED, "--seed", str(self.seed)),
            # A sample is refused in production, and this one never gets there.
            environment={**os.environ, "FATOURA_PROFILE": "local"},
        )
        return folder

    def _wait_for_dags(self, stack: LocalStack) -> None:
        end = time.monotonic() + 90
        needed = (_INTAKE, _WELCOMES, _LANDING, _CYCLE)
        while not all(stack.api.knows_dag(dag_id) for dag_id in needed):
            for file, trace in stack.api.import_errors().items():
                raise StackError(f"Airflow cannot import {file}: {trace.strip().splitlines()[-1]}\n{trace}")
            if time.monotonic() > end:
                raise StackError(
                    f"Airflow does not know {', '.join(needed)} after 90 s; see {stack.environment.logs}"
                )
            time.sleep(0.5)
        self.say("Airflow knows the workflows")

    def _enrol(self, stack: LocalStack, sample: Path) -> None:
        """Let customers and coupons land, and wait until it is known of each number whether it works."""
        from fatoura.enrolment.sample import deliver_enrolment

        *_, target = deliver_enrolment(sample, CYCLE, stack.settings.landing)
        self.say(f"customers and coupons have landed, in {_short(Path(str(target)))}; the intake looks there")
        over: set[str] = set()
        told: set[str] = set()

        def tell_intake() -> None:
            for run in reversed(stack.api.runs(_INTAKE)):
                if run["dag_run_id"] in over:
                    continue
                tasks = stack.api.tasks(_INTAKE, run["dag_run_id"])
                for task in sorted(tasks, key=lambda task: task["start_date"] or "9"):
                    # A look that finds nothing is of no interest.
                    if task["state"] in ("success", "failed") and task["id"] not in told:
                        told.add(task["id"])
                        self._tell(stack, task)
                if run["state"] == "failed":
                    self._report_failure(stack, tasks)
                if run["state"] == "success":
                    over.add(run["dag_run_id"])

        run_id = self._started(stack, _WELCOMES, tell_intake)
        self._follow(stack, _WELCOMES, run_id)
        tell_intake()

    def _land(self, sample: Path, landing: str) -> float:
        from fatoura.extracts.sample import deliver

        target = deliver(sample, landing)
        self.say(f"the extract has landed in {_short(Path(str(target)))}; its cycle starts by itself")
        return time.time()

    def _started(self, stack: LocalStack, dag_id: str, meanwhile: Callable[[], None]) -> str:
        """Wait until a run has started by itself; return its id."""
        began = time.monotonic()
        while not (runs := stack.api.runs(dag_id)):
            meanwhile()
            if time.monotonic() - began > _START_OF_RUN:
                raise StackError(f"no run of {dag_id} started within {_START_OF_RUN:.0f} s of the landing")
            time.sleep(0.5)
        run_id = str(runs[0]["dag_run_id"])
        self.say(f"Airflow runs {dag_id} for {runs[0].get('partition_key') or run_id}")
        return run_id

    def _follow(self, stack: LocalStack, dag_id: str, run_id: str) -> dict[str, Any]:
        began = time.monotonic()
        shown: dict[tuple[str, int], str] = {}
        while True:
            run = stack.api.run(dag_id, run_id)
            tasks = stack.api.tasks(dag_id, run_id)
            for task in sorted(tasks, key=lambda task: task["start_date"] or "9"):
                key, state = (task["task_id"], task["map_index"]), task["state"] or ""
                if state and shown.get(key) != state and state not in ("scheduled", "queued"):
                    shown[key] = state
                    self._tell(stack, task)
            if run["state"] == "failed":
                self._report_failure(stack, tasks)
            if run["state"] == "success":
                return run
            took = time.monotonic() - began
            if took > 600 + self.invoices / 50:
                raise StackError(f"the run of {dag_id} is not over after {took:.0f} s")
            time.sleep(0.5)

    def _tell(self, stack: LocalStack, task: dict[str, Any]) -> None:
        colour = {"success": "green", "failed": "red", "up_for_retry": "yellow", "upstream_failed": "red"}
        state = task["state"]
        name = task["task_id"] + (f" {task['map_index'] + 1}" if task["map_index"] >= 0 else "")
        seconds = f"  {task['duration']:.1f} s" if state == "success" and task.get("duration") else ""
        self.say(f"{name:<16}[{colour.get(state, 'default')}]{state.replace('_', ' ')}[/]{seconds}")
        if state in ("up_for_retry", "failed"):
            self.say(f"  {_reason(stack.api.log_lines(task))}")

    def _demand_landing(self, stack: LocalStack) -> None:
        failed = [run for run in stack.api.runs(_LANDING) if run["state"] == "failed"]
        if len(failed) >= _FAILED_LANDINGS:
            self._report_failure(stack, stack.api.tasks(_LANDING, failed[0]["dag_run_id"]))

    def _report_failure(self, stack: LocalStack, tasks: list[dict[str, Any]]) -> None:
        failed = next((task for task in tasks if task["state"] == "failed"), None)
        if failed is None:
            states = ", ".join(f"{task['task_id']} {task['state']}" for task in tasks)
            raise StackError(f"the run failed without a failed task: {states}")
        lines = stack.api.log_lines(failed)
        raise StackError(
            f"task {failed['task_id']} of {failed['dag_id']} failed: {_reason(lines)}\n"
            + "\n".join(["the end of its log:", *lines[-25:]])
        )

    def _summarise(self, stack: LocalStack, run: dict[str, Any], landed: float) -> None:
        environment = stack.environment.complete()
        stages = _stage_table(stack)
        enrolment = _Enrolment.read(environment)
        report = _command(("report", CYCLE), environment=environment).strip().splitlines()[-1]
        ledger = json.loads(_command(("ledger", CYCLE, "--json"), environment=environment))
        planned = next(
            task["end_date"]
            for task in stack.api.tasks(_CYCLE, run["dag_run_id"])
            if task["task_id"] == "render"
        )
        self.console.print()
        self.console.print(enrolment.table())
        self.console.print(_ledger_table(ledger, stack.settings.segment_price_millimes))
        self.console.print(stages)
        took = datetime.fromisoformat(planned).timestamp() - landed
        self.console.print(f"From the landing to the last planned notice: {took:.1f} s")
        self.console.print(f"Coupons for the clerks to correct: {enrolment.corrections}", soft_wrap=True)
        self.console.print(f"Report: {report}", soft_wrap=True)
        self.console.print()
        if not ledger["identity_holds"]:
            raise StackError("the ledger does not balance: rows are missing; see the report")
        expected = json.loads((self.var / "sample" / "expected.json").read_text())
        enrolment.compare(expected["coupons"])
        # Who could not be welcomed gets no bill.
        unreached = _noticed(self.var / "sample", expected, enrolment.unreachable)
        expected["noticed"] -= unreached
        expected["suppressed"] += unreached
        wrong = [name for name in _BUCKETS if ledger[name] != expected[name]]
        if wrong:
            told = ", ".join(f"{name} {ledger[name]} instead of {expected[name]}" for name in wrong)
            raise StackError(f"the ledger is not what the sample's defects must give: {told}")

    def _stay(self, stack: LocalStack) -> None:
        keys = stack.environment.keys
        self.console.print(
            f"Airflow: {stack.environment.ui}   user: {ADMIN}   password: {keys.admin_password}"
        )
        self.console.print("Ctrl-C stops everything.")
        try:
            stack.watch()
        except KeyboardInterrupt:
            return


@dataclass(frozen=True)
class _Enrolment:
    """What became of the coupons, as the commands tell it.

    :param outcomes: coupons by outcome, and by reason where they are refused.
    :param set_aside: how many rows break a rule.
    :param to_correct: how many coupons and rows are in the file of corrections.
    :param unreachable: the references of those whose number did not work.
    """

    outcomes: dict[str, int]
    set_aside: int
    to_correct: int
    corrections: str
    unreachable: frozenset[str]

    @classmethod
    def read(cls, environment: dict[str, str]) -> _Enrolment:
        """Ask the commands."""

        def answer(*words: str) -> dict[str, Any]:
            told: dict[str, Any] = json.loads(
                _command(("coupons", *words, "--json"), environment=environment)
            )
            return told

        corrections = answer("corrections")
        resting = answer("unreachable", "--unmasked")["subscriptions"]
        return cls(
            answer("list", "--limit", "1")["counts"],
            answer("pending", "--limit", "1")["pending"],
            corrections["rows"],
            corrections["file"],
            frozenset("".join(one["customer_reference"].split()) for one in resting),
        )

    def table(self) -> Table:
        """Return it as a table."""
        enrolled = self.outcomes.get("enrolled", 0)
        refused = sum(count for end, count in self.outcomes.items() if end.startswith("refused"))
        told = {
            "enrolled": enrolled,
            "refused": refused,
            "set aside": self.set_aside,
            **{
                end.replace("_", " "): count
                for end, count in self.outcomes.items()
                if end != "enrolled" and not end.startswith("refused")
            },
            "to be corrected": self.to_correct,
            "welcomed": enrolled - len(self.unreachable),
            "number does not work": len(self.unreachable),
        }
        table = Table(title="Coupons", title_justify="left")
        table.add_column("end")
        table.add_column("coupons", justify="right")
        for end, count in told.items():
            table.add_row(end, _number(count))
        return table

    def compare(self, expected: dict[str, Any]) -> None:
        """Compare it with what the sample's defects must give.

        :raises StackError: where it differs.
        """
        found = {**self.outcomes, "set aside": self.set_aside}
        wanted = {**expected["outcomes"], "set aside": sum(expected["set_aside"].values())}
        if found != wanted:
            raise StackError(f"the coupons did not become what the sample's defects must give: {found}")


def _noticed(sample: Path, expected: dict[str, Any], references: frozenset[str]) -> int:
    """Count the invoices of some customers for which the sample expects a message."""
    rows = {row for end in expected["rows"] if end["bucket"] == "noticed" for row in end["row_numbers"]}
    with (sample / "invoices.csv").open(encoding="utf-8", errors="replace", newline="") as file:
        return sum(
            invoice["customer_reference"] in references
            for row, invoice in enumerate(csv.DictReader(file), start=1)
            if row in rows
        )


def _command(*arguments: tuple[str, ...], environment: dict[str, str] | None = None) -> str:
    """Call a command of the project; return what it printed.

    :raises StackError: when it refuses, with what it said.
    """
    words = [word for group in arguments for word in group]
    done = subprocess.run(
        (sys.executable, "-m", "fatoura", *words),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise StackError(f"`fatoura {' '.join(words)}` failed: {said.removeprefix('fatoura: ')}")
    return done.stdout


def _reason(log: list[str]) -> str:
    """Find the line of a task's log that says why it failed."""
    errors = [
        line for line in log if line.startswith(("ERROR ", "CRITICAL ")) and not line.startswith("ERROR   ")
    ]
    return errors[-1].partition(" ")[2] if errors else "its log does not say why"


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def _ledger_table(ledger: dict[str, Any], price: int) -> Table:
    from fatoura.money import format_amount

    table = Table(title=f"Ledger of {ledger['cycle']}", title_justify="left")
    table.add_column("bucket")
    table.add_column("rows", justify="right")
    table.add_column("message state")
    table.add_column("messages", justify="right")
    buckets = [(name.replace("_", " "), _number(ledger[name])) for name in _BUCKETS]
    buckets.append(("identity", "holds" if ledger["identity_holds"] else "BROKEN"))
    states = [(name.replace("_", " "), _number(count)) for name, count in ledger["states"].items() if count]
    states.append(("segments", _number(ledger["segments"])))
    states.append(("cost, dinars", format_amount(ledger["segments"] * price, "fr")))
    for row in range(max(len(buckets), len(states))):
        left = buckets[row] if row < len(buckets) else ("", "")
        right = states[row] if row < len(states) else ("", "")
        table.add_row(*left, *right)
    return table


def _stage_table(stack: LocalStack) -> Table:
    import psycopg

    table = Table(title="Stages", title_justify="left")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("what it did")
    with psycopg.connect(
        host=str(stack.environment.postgres.socket), user="postgres", dbname="fatoura", autocommit=True
    ) as db:
        for name, seconds, counts in db.execute("SELECT name, seconds, counts FROM stage ORDER BY id"):
            told = {key: value for key, value in counts.items() if value and not isinstance(value, list)}
            did = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in told.items())
            table.add_row(name.replace("_", " "), f"{seconds:.1f}", did)
    return table
