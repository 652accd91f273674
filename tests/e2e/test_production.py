"""The production shape, natively: each service's own command and health check, and a worker that dies.

The services are those of docker-compose.yaml, with CeleryExecutor on a real Redis and two workers.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from fatoura.settings import Settings
from fatoura.stack import processes
from tests.e2e.production import Production
from tests.e2e.running import MORNING, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CYCLE = "2026-05-T1"
RATE = 60


@pytest.fixture(scope="module")
def production() -> Iterator[Production]:
    """Run the services for all tests of this file: their start is most of a minute."""
    if not shutil.which("redis-server"):
        pytest.skip("the Debian package redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="fatoura-production-") as folder:
        Path(folder).chmod(0o755)
        moved = datetime.fromisoformat(MORNING).timestamp() - time.time()
        production = Production(
            Path(folder),
            settings={
                # A clock that stands in the sending window is refused in production.
                "FATOURA_PROFILE": "local",
                "FATOURA_NOW": f"{moved:+.0f}",
                "FATOURA_LANDING_POLL": "3",
                "FATOURA_SETTLE_POLL": "1",
                "FATOURA_SEGMENTS_PER_SECOND": str(RATE),
                "FATOURA_CLAIM_SIZE": str(RATE),
                # Each worker takes one task: the two that send are on different ones.
                "FATOURA_WORKER_CONCURRENCY": "1",
                # What takes minutes and hours in production.
                "FATOURA_LEASE": "15",
                "FATOURA_DOUBT_HORIZON": "10",
                "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            },
            scale={"worker": 2},
        )
        try:
            production.up()
            production.wait_until_ready()
            yield production
        finally:
            production.down()


@dataclass(frozen=True)
class Killed:
    """A cycle in the middle of whose sending a worker was killed."""

    run_id: str
    expected: dict[str, Any]
    accepted: int
    """Messages that the gateway had accepted by then."""


@pytest.fixture(scope="module")
def killed(production: Production) -> Killed:
    """Let two workers send one cycle, and kill one of them with all its processes."""
    expected = production.sample(CYCLE, "--invoices", "2500", "--subscribed", "0.5", "--seed", "21")
    run_id = both_send(production, CYCLE, expected["noticed"] // 4)
    assert production.kill("worker-1") >= 3
    return Killed(run_id, expected, len(production.accepted()))


def both_send(production: Production, cycle: str, most: int) -> str:
    """Land a cycle, and return its run once both workers send it and so much has been accepted."""
    before = len(production.accepted())
    production.land(cycle)
    run_id = production.run_of(cycle)

    def workers() -> bool:
        if len(production.accepted()) - before < most:
            return False
        tasks = production.stack.api.tasks("billing_cycle", run_id)
        sending = [task["pid"] for task in tasks if task["task_id"] == "send" and task["state"] == "running"]
        names = [psutil.Process(pid).environ()[processes.PART] for pid in sending if pid]
        lanes = production.query(
            "SELECT DISTINCT worker FROM attempt WHERE worker LIKE %s AND outcome = 'accepted'",
            "fatoura",
            f"{run_id}%",
        )
        return sorted(names) == ["worker-1", "worker-2"] and len(lanes) == 2

    eventually(workers)
    return run_id


def why(production: Production, run_id: str) -> str:
    """Return the states of a run's tasks, and what those that did not succeed wrote at last."""
    api = production.stack.api
    lines = []
    for task in api.tasks("billing_cycle", run_id):
        lines.append(f"{task['task_id']} {task['map_index']}: {task['state']}, try {task['try_number']}")
        if task["state"] in ("failed", "up_for_retry"):
            lines += api.log_lines(task)[-15:]
    return "\n".join(lines)


def test_each_service_comes_up_by_its_own_command_and_its_own_health_check_tells(
    production: Production, killed: Killed
) -> None:
    watched = [
        (service, instance)
        for service in production.services.values()
        if service.health_check
        for instance in production.instances(service.name)
    ]
    with ThreadPoolExecutor(3) as pool:
        checks = list(pool.map(lambda one: production.health(*one), watched))
    failed = {
        instance: check.stdout + check.stderr
        for (_, instance), check in zip(watched, checks, strict=True)
        if check.returncode
    }
    assert list(failed) == ["worker-1"], failed
    assert "No nodes replied" in failed["worker-1"]


def test_settings_and_secrets_are_taken_as_production_has_them(production: Production) -> None:
    service = production.services["receiver"]
    environment = production.environment(service, "trial") | {
        "FATOURA_PROFILE": "production",
        "FATOURA_NOW": "",
    }
    shown = subprocess.run(
        ("entrypoint", "fatoura", "db", "status", "--json"),
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(shown.stdout)["up_to_date"] is True


def test_a_run_counts_as_late_from_when_it_was_queued(production: Production, killed: Killed) -> None:
    late = production.query(
        "SELECT deadline_time - queued_at FROM deadline JOIN dag_run ON dag_run.id = dagrun_id"
        " WHERE run_id = %s",
        "airflow",
        killed.run_id,
    )
    assert late == [(Settings.model_fields["late_after"].default,)]


@pytest.mark.parametrize(
    ("pool", "setting"), [("sms_gateway", "send_slots"), ("sms_gateway_urgent", "urgent_slots")]
)
def test_each_pool_has_as_many_slots_as_its_setting_says(
    production: Production, pool: str, setting: str
) -> None:
    found = production.stack.api._request("GET", f"/pools/{pool}")
    assert found["slots"] == Settings.model_fields[setting].default


def test_a_worker_that_dies_while_it_sends_loses_nothing_and_sends_nothing_twice(
    production: Production, killed: Killed
) -> None:
    noticed = killed.expected["noticed"]
    assert killed.accepted < noticed * 0.9
    # Nobody clears anything: Airflow tries the dead worker's task again, the other worker does the rest.
    assert production.finished(killed.run_id) == "success", why(production, killed.run_id)

    ledger = production.ledger(CYCLE)
    buckets = ("extracted", "rejected", "unsubscribed", "suppressed", "held_out", "noticed")
    assert {name: ledger[name] for name in buckets} == {name: killed.expected[name] for name in buckets}
    assert ledger["identity_holds"] is True
    assert ledger["states"]["delivered"] == ledger["segments"] == noticed
    # What the gateway saw: each notice, once.
    assert set(production.accepted()) == {str(row[0]) for row in production.query("SELECT id FROM notice")}
    assert Counter(production.accepted().values()) == {1: noticed}
    # What the dead worker held was in doubt; a receipt, or the kind's policy, has ended each doubt.
    ((doubts,),) = production.query("SELECT count(*) FROM attempt WHERE outcome = 'in_doubt'")
    assert doubts > 0
    assert ledger["states"]["in_doubt"] == ledger["states"]["sending"] == 0


def test_a_worker_that_is_stopped_in_order_leaves_nothing_in_doubt(
    production: Production, killed: Killed
) -> None:
    worker = production.services["worker"]
    production.start(worker, "worker-1")  # as Docker does with a container that ended
    cycle = "2026-05-T2"
    expected = production.sample(cycle, "--invoices", "2000", "--subscribed", "0.5", "--seed", "22")
    run_id = both_send(production, cycle, RATE)
    began = time.monotonic()
    assert production.stop(worker, "worker-1") == 0
    assert time.monotonic() - began < 30
    states = Counter(
        task["state"]
        for task in production.stack.api.tasks("billing_cycle", run_id)
        if task["task_id"] == "send"
    )
    assert states == {"up_for_retry": 1, "running": 1}
    # The attempts of the stopped one are all accounted for.
    outcomes = production.query(
        "SELECT worker, count(*) FILTER (WHERE outcome IS NULL), count(*) FILTER (WHERE outcome = 'in_doubt')"
        " FROM attempt WHERE worker LIKE %s GROUP BY worker",
        "fatoura",
        f"{run_id}%",
    )
    assert 0 in {unknown for _, unknown, _ in outcomes}
    assert {doubts for *_, doubts in outcomes} == {0}
    # Airflow tries the task again by itself, and an operator who clears it need not wait.
    stopped = next(
        task["map_index"]
        for task in production.stack.api.tasks("billing_cycle", run_id)
        if task["task_id"] == "send" and task["state"] == "up_for_retry"
    )
    asked = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": [["send", stopped]]}
    production.stack.api._request("POST", "/dags/billing_cycle/clearTaskInstances", json=asked)
    assert production.finished(run_id) == "success", why(production, run_id)
    assert production.ledger(cycle)["states"]["delivered"] == expected["noticed"]
    assert set(production.accepted().values()) == {1}
