"""A night and a Sunday, lived through in real Airflow by a cycle that does not fit into one day.

The clock of all processes is moved while they run: to just before the window closes on a Saturday, into the
night, to Sunday, and to the Monday on which an operator has sending open earlier than usual.
"""

from __future__ import annotations

import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from fatoura.stack.local import POOL
from tests.e2e.running import DAG, Clock, RunningStack, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

LARGE, TINY = "2026-05-T1", "2026-05-T2"
BEFORE_SENDING = ("extract", "validate", "match", "render", "release")
SLOTS = 2


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def running(clock: Clock) -> Iterator[RunningStack]:
    """Run a stack with as few workers as there are senders: one that held its worker would hold up others."""
    with tempfile.TemporaryDirectory(prefix="fatoura-night-") as folder:
        Path(folder).chmod(0o755)
        clock.set("2026-05-23T10:00:00")
        stack = RunningStack(
            Path(folder),
            {
                "FATOURA_NOW": str(clock.file),
                "FATOURA_SEGMENTS_PER_SECOND": "10",
                "FATOURA_SEND_LANES": str(SLOTS),
                "FATOURA_SEND_SLOTS": str(SLOTS),
                "FATOURA_PARALLELISM": str(SLOTS),
                "FATOURA_SETTLE_HORIZON": "PT72H",
            },
        )
        stack.command("stack", "up")
        try:
            yield stack
        finally:
            stack.command("stack", "down")


def test_a_cycle_that_does_not_fit_into_the_day_waits_for_the_next_without_a_worker(running, clock):
    account = [f"real time   {'clock':<17} what"]
    began = time.monotonic()

    def tell(what: str) -> None:
        account.append(f"{time.monotonic() - began:7.1f} s   {clock.read():%a %d %H:%M:%S}   {what}")

    def waits(run_id: str) -> bool:
        tasks = running.stack.api.tasks(DAG, run_id)
        return [task["state"] for task in tasks if task["task_id"] == "send"] == ["deferred"] * SLOTS

    large = running.sample(LARGE, "--invoices", "600", "--subscribed", "0.5", "--seed", "31")["noticed"]
    tiny = running.sample(TINY, "--invoices", "20", "--subscribed", "0.5", "--seed", "32")["noticed"]

    # A Saturday on which there is not time enough.
    running.land(LARGE)
    run_id = running.run_of(LARGE)
    eventually(lambda: len(running.accepted()) >= 20)
    tell(f"{len(running.accepted())} of {large} messages sent, at 10 segments a second")
    clock.set("2026-05-23T19:53:48")
    tell("the clock was moved: the window closes at 20:00, the last message goes out at 19:54")
    eventually(lambda: waits(run_id))
    in_the_evening = len(running.accepted())
    assert 20 < in_the_evening < large
    assert "waiting for window, until 2026-05-25 09:00:00+01:00" in running.log(run_id, "send")
    tell(f"{in_the_evening} sent; both send tasks are deferred until Monday at 09:00")

    # The night: nobody works, and there is room for others.
    clock.set("2026-05-23T23:30:00")
    running.land(TINY)
    other_id = running.run_of(TINY)
    eventually(lambda: waits(other_id))
    done = running.states(other_id)
    assert {done[task] for task in BEFORE_SENDING} == {"success"}
    assert waits(run_id)
    assert len(running.accepted()) == in_the_evening
    pool = running.stack.api._request("GET", f"/pools/{POOL}")
    slots = {name: pool[f"{name}_slots"] for name in ("running", "queued", "open", "deferred")}
    assert slots == {"running": 0, "queued": 0, "open": SLOTS, "deferred": 2 * SLOTS}
    assert running_tasks(running) == []
    tell(f"{tiny} messages of another cycle were planned by the same {SLOTS} workers; its senders wait too")
    tell(f"slots of the pool: {', '.join(f'{number} {name}' for name, number in slots.items())}; 0 sent")

    # Sunday at the usual hour, when an operator has Monday open earlier.
    clock.set("2026-05-24T09:00:05")
    time.sleep(4)
    assert waits(run_id)
    assert waits(other_id)
    assert len(running.accepted()) == in_the_evening
    decided = ("--reason", "a cycle waits", "--by", "the operator")
    running.command("calendar", "set", "2026-05-25", "--open", "07:30-20:00", *decided)
    running.command("gateway", "set", "fatoura_sms", "--rate", "100")
    tell("Sunday: 0 sent. The operator has Monday open from 07:30, and the limit at 100")

    # Monday, before the hour that the tasks were told when they began to wait.
    clock.set("2026-05-25T07:29:56")
    assert running.finished(run_id, 90) == "success", running.states(run_id)
    assert running.finished(other_id, 90) == "success", running.states(other_id)
    assert [running.task(one, "send")["try_number"] for one in (run_id, other_id)] == [1, 1]
    tell(f"both cycles are {running.stack.api.run('billing_cycle', run_id)['state']}")

    # Every message once, at an hour that is allowed, with a validity that ends before the night.
    assert running.ledger(LARGE)["states"]["delivered"] == large
    assert running.ledger(TINY)["states"]["delivered"] == tiny
    notices = {str(row[0]) for row in running.query("SELECT id FROM notice")}
    assert set(running.accepted()) == notices
    assert set(running.accepted().values()) == {1}
    requests = running.requests()
    assert len(requests) == large + tiny
    ends = valid_until(requests, clock)
    saturday = [clock.read(one["at"]) for one in requests[:in_the_evening]]
    monday = [clock.read(one["at"]) for one in requests[in_the_evening:]]
    assert max(saturday) < datetime.fromisoformat("2026-05-23T19:54:01+01:00")
    assert min(monday) >= datetime.fromisoformat("2026-05-25T07:30:00+01:00")
    assert max(monday) < datetime.fromisoformat("2026-05-25T09:00:00+01:00")
    account += [
        f"Saturday: {len(saturday)} messages, the last at {max(saturday):%H:%M:%S}",
        f"Monday: {len(monday)} messages, from {min(monday):%H:%M:%S} to {max(monday):%H:%M:%S}",
        f"the longest validity ends at {max(end.time() for end in ends):%H:%M:%S}; "
        f"each of {len(notices)} messages was accepted once",
    ]
    click.echo("\n" + "\n".join(account))


def running_tasks(running: RunningStack) -> list[Any]:
    """Return the tasks of billing cycles that hold a worker, or are about to."""
    answer = running.stack.api._request(
        "GET",
        f"/dags/{DAG}/dagRuns/~/taskInstances",
        params={"state": ["running", "queued", "scheduled"]},
    )
    found: list[Any] = answer["task_instances"]
    return found


def valid_until(requests: list[dict[str, Any]], clock: Clock) -> list[datetime]:
    """Return until when each message may be delivered; none reaches into the night."""
    ends = []
    for request in requests:
        if not clock.just_moved(request["at"]):
            came = clock.read(request["at"])
            end = came + timedelta(minutes=request["validity"])
            assert end <= came.replace(hour=20, minute=0, second=0), (came, end)
            ends.append(end)
    assert len(ends) > len(requests) - 10
    return ends
