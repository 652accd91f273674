"""What waits in the operators' stead: in an event loop, as long as it takes, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import timedelta

import psycopg
import pytest
from airflow.sdk.module_loading import import_string
from sqlalchemy import make_url

from fatoura import clock
from fatoura.calendar import Hours, decide_day
from fatoura.sending.outlook import Outlook, Wait
from sms_gateway import triggers
from sms_gateway.triggers import ReceiptsSettledTrigger, SendingTrigger
from tests.notices import plan_notices, run_sql

CLOSED = "2026-05-20T21:00:00+01:00"
OPEN = "2026-05-20T10:00:00+01:00"


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(now=OPEN)


def sending(cycle: int, not_before: str | None = None) -> SendingTrigger:
    return SendingTrigger(cycle_id=cycle, not_before=not_before, poll_seconds=0.1)


def settling(cycle: int) -> ReceiptsSettledTrigger:
    return ReceiptsSettledTrigger(cycle_id=cycle, poll_seconds=0.1)


async def events(trigger) -> list[object]:
    return [event.payload async for event in trigger.run()]


async def waits(trigger, seconds: float = 1.2) -> asyncio.Task[list[object]]:
    """Run a trigger, and insist that it does not fire for a while."""
    task = asyncio.create_task(events(trigger))
    done, _ = await asyncio.wait([task], timeout=seconds)
    assert not done, task.result()
    return task


async def fires(task: asyncio.Task[list[object]], seconds: float = 5) -> object:
    async with asyncio.timeout(seconds):
        [payload] = await task  # one event, and the trigger ends
    return payload


def sent(state: str = "accepted") -> None:
    run_sql(
        "UPDATE notice SET state = 'sending', attempts = 1, gateway = 'fatoura_sms', submitted_at = :now",
        now=clock.now(),
    )
    run_sql("UPDATE notice SET state = :state", state=state)


@pytest.mark.parametrize(
    "trigger",
    [
        SendingTrigger(cycle_id=7, not_before="2026-05-20T09:00:00+00:00", poll_seconds=30.0),
        SendingTrigger(cycle_id=7, not_before=None, poll_seconds=0.5),
        ReceiptsSettledTrigger(cycle_id=7, poll_seconds=30.0),
    ],
)
def test_the_triggerer_makes_the_same_trigger_again_from_what_is_stored(trigger):
    path, arguments = json.loads(json.dumps(trigger.serialize()))
    again = import_string(path)(**arguments)
    assert type(again) is type(trigger)
    assert again.serialize() == trigger.serialize()


async def test_sending_that_can_go_on_at_once_is_not_waited_for():
    cycle = plan_notices(1)
    assert await events(sending(cycle)) == [{"wait": "nothing"}]


async def test_it_fires_when_everything_is_done():
    cycle = plan_notices(2)
    sent("in_doubt")
    task = await waits(sending(cycle))  # a doubt holds the cycle open until its horizon
    sent_on = "UPDATE notice SET state = 'delivered', final_at = now()"
    run_sql(sent_on)
    assert await fires(task) == {"wait": "done"}


async def test_it_fires_when_refused_work_comes_back():
    cycle = plan_notices(2)
    sent("planned")
    run_sql("UPDATE notice SET retry_at = :later", later=clock.now() + timedelta(hours=1))
    task = await waits(sending(cycle))
    run_sql("UPDATE notice SET retry_at = NULL WHERE subject = '2026-05-T1-0'")
    assert await fires(task) == {"wait": "nothing"}


async def test_it_fires_at_the_end_of_a_back_off_without_being_told():
    cycle = plan_notices(2)
    sent("planned")
    run_sql("UPDATE notice SET retry_at = :soon", soon=clock.now() + timedelta(seconds=2))
    task = await waits(sending(cycle), 1)
    assert await fires(task) == {"wait": "nothing"}


async def test_it_fires_when_a_sender_died_and_its_lease_is_over():
    cycle = plan_notices(1)
    sent("sending")
    run_sql("UPDATE notice SET lease_until = clock_timestamp() + interval '1 hour'")
    task = await waits(sending(cycle))
    run_sql("UPDATE notice SET lease_until = clock_timestamp() - interval '1 second'")
    assert await fires(task) == {"wait": "nothing"}


async def test_it_fires_when_a_person_opens_the_window(configure):
    configure(now=CLOSED)
    cycle = plan_notices(1)
    task = await waits(sending(cycle))
    decide_day(clock.today(), Hours.parse("09:00-23:30"), reason="a trial", by="the tests")
    assert await fires(task) == {"wait": "nothing"}


async def test_it_fires_when_the_window_opens_by_itself(configure):
    configure(now="2026-05-20T08:59:58+01:00")
    cycle = plan_notices(1, send_from=clock.now() - timedelta(hours=12))
    task = asyncio.create_task(events(SendingTrigger(cycle, None, poll_seconds=3600)))
    assert await fires(task, 10) == {"wait": "nothing"}


async def test_a_provider_that_refused_is_left_alone_until_its_time():
    cycle = plan_notices(1)
    soon = clock.now() + timedelta(seconds=1.5)
    task = await waits(sending(cycle, soon.isoformat()), 1)
    assert await fires(task) == {"wait": "nothing"}
    past = (clock.now() - timedelta(hours=1)).isoformat()
    assert await events(sending(cycle, past)) == [{"wait": "nothing"}]


async def test_settling_fires_when_the_last_receipt_is_in():
    cycle = plan_notices(3)
    sent()
    task = await waits(settling(cycle), 0.5)
    run_sql("UPDATE notice SET state = 'delivered' WHERE subject <> '2026-05-T1-0'")
    await asyncio.sleep(0.5)
    assert not task.done()
    run_sql("UPDATE notice SET state = 'expired' WHERE state = 'accepted'")
    assert await fires(task) == {"open": 0}


async def test_settling_fires_at_the_horizon_with_what_is_open(configure):
    configure(now=OPEN, settle_horizon=3)
    cycle = plan_notices(3)
    sent()
    task = await waits(settling(cycle), 1)
    assert await fires(task) == {"open": 3}


async def test_settling_of_what_was_never_sent_is_over():
    assert await events(settling(plan_notices(2))) == [{"open": 2}]
    assert await events(settling(4711)) == [{"open": 0}]


@pytest.mark.parametrize("make", [sending, settling])
async def test_a_database_that_is_away_for_a_while_fails_no_run(postgres, database, make):
    cycle = plan_notices(1)
    sent("in_doubt")
    name = make_url(database).database

    def administer(*statements: str) -> None:
        with psycopg.connect(
            host=str(postgres.socket), user="postgres", dbname="postgres", autocommit=True
        ) as db:
            for statement in statements:
                db.execute(statement)

    task = await waits(make(cycle), 0.5)
    # Nobody gets in, and who is in is thrown out, as when the server restarts.
    administer(
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    await asyncio.sleep(1)
    assert not task.done()
    administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    run_sql("UPDATE notice SET state = 'delivered'")
    assert await fires(task) in ({"wait": "done"}, {"open": 0})


async def test_waiting_never_holds_up_the_loop_that_serves_others(monkeypatch):
    cycle = plan_notices(1)
    looked_in = []

    def slow(connection, cycle_id):
        looked_in.append(threading.get_ident())
        time.sleep(0.6)
        return Outlook(Wait.DONE)

    monkeypatch.setattr(triggers, "sending_outlook", slow)
    tasks = [asyncio.create_task(events(sending(cycle))) for _ in range(3)]
    longest, before = 0.0, time.monotonic()
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0.02)
        longest, before = max(longest, time.monotonic() - before), time.monotonic()
    assert longest < 0.5
    assert threading.get_ident() not in looked_in


async def test_a_trigger_that_is_cancelled_ends_at_once(configure):
    configure(now=CLOSED)
    task = await waits(SendingTrigger(plan_notices(1), None, poll_seconds=3600), 0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)


async def test_an_error_that_waiting_cannot_mend_fails_the_run():
    run_sql("DROP TABLE attempt CASCADE")
    with pytest.raises(Exception, match="attempt"):
        await events(sending(1))


async def test_settling_fires_when_a_provider_is_to_be_asked(configure):
    configure(now=OPEN, receipt_poll=3)
    cycle = plan_notices(2)
    sent()
    run_sql(
        "INSERT INTO gateway (name, adapter, capabilities, position, in_use, weight, polled_at) "
        """VALUES ('l2t_sms', 'query_string', '{"receipts": "poll"}', 0, false, 100, clock_timestamp())"""
    )
    run_sql(
        "INSERT INTO attempt (notice_id, number, gateway, worker, provider_id) "
        "SELECT id, 1, 'l2t_sms', 'x', subject FROM notice"
    )
    task = asyncio.create_task(events(ReceiptsSettledTrigger(cycle, poll_seconds=3600)))
    await asyncio.sleep(1)
    assert not task.done()
    assert await fires(task, 10) == {"open": 2}
