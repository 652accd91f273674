"""Two providers at once, and one after the other: shares, fall-back, doubts, receipts of one that is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text

from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.gateways import GatewayConfig, create_gateway
from fatoura.gateways.sandbox import Sandbox, SandboxOptions
from fatoura.receipts.matching import match_receipts
from fatoura.receipts.polling import poll_receipts
from fatoura.receipts.secret import receipt_secret
from fatoura.sending import line, routing
from fatoura.sending.outlook import Wait
from fatoura.sending.sender import GatewayStopped, Sender
from tests.conformance.query_string import L2TFake
from tests.integration.test_sending import receiver, until
from tests.notices import ids, notices, plan_notices, run_sql, states
from tests.processes import free_port

NOW, LATER = "2026-05-20T10:00:00+01:00", "2026-05-20T17:00:00+01:00"
NO_WAIT = timedelta(0)
NORTH, SOUTH = "north_sms", "south_sms"


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(now=NOW, segments_per_second=2000, request_timeout=2, connections=20)


@pytest.fixture
def _quick_health(monkeypatch):
    """Health moves ten times as fast as it does in earnest, and a gateway that refuses rests as much less."""
    monkeypatch.setattr(line, "_FIRST_BACK_OFF", timedelta(seconds=0.5))
    monkeypatch.setattr(line, "_LONGEST_BACK_OFF", timedelta(seconds=2))
    monkeypatch.setattr(routing, "_TROUBLE_SECONDS", 0.5)
    monkeypatch.setattr(routing, "_RECOVERY_SECONDS", 1)


@asynccontextmanager
async def gateways(north: SandboxOptions | None = None, south: SandboxOptions | None = None):
    async with (
        Sandbox(north or SandboxOptions(port=0)) as one,
        Sandbox(south or SandboxOptions(port=0)) as other,
    ):
        yield one, other


def behave(sandbox: Sandbox, **how) -> None:
    sandbox.options = SandboxOptions(port=0, **how)


def connection_to(name: str, sandbox: Sandbox, password: str = "sandbox"):
    return create_gateway("kannel", GatewayConfig(name, sandbox.base_url, "fatoura", password))


def sender(cycle: int, *those, receipts_to: int = 9) -> Sender:
    url = f"http://127.0.0.1:{receipts_to}"
    return Sender(cycle, those, receiver=(url, receipt_secret()), worker="test")


def both(cycle: int, north: Sandbox, south: Sandbox, **more) -> Sender:
    return sender(cycle, connection_to(NORTH, north), connection_to(SOUTH, south), **more)


def set_weights(**weights: float) -> None:
    with begin() as connection:
        for name, weight in weights.items():
            routing.adjust(connection, f"{name}_sms", weight=weight)


def registered(north: Sandbox, south: Sandbox) -> None:
    with begin() as connection:
        routing.register(connection, [connection_to(NORTH, north), connection_to(SOUTH, south)])


def health(name: str) -> float:
    with connect() as connection:
        return float(connection.scalar(text("SELECT health FROM gateway WHERE name = :n"), {"n": name}) or 0)


def each_once(count: int, *sandboxes: Sandbox) -> bool:
    """Whether every notice was accepted by one gateway, and once."""
    accepted = [one for sandbox in sandboxes for one in sandbox.accepted.elements()]
    return len(accepted) == len(set(accepted)) == count


async def test_each_gets_the_share_that_was_declared():
    cycle = plan_notices(2000)
    async with gateways() as (north, south):
        registered(north, south)
        set_weights(north=70, south=30)
        result = await both(cycle, north, south).run(patience=NO_WAIT)
        assert each_once(2000, north, south)
    assert result.counts["accepted"] == 2000
    assert 1300 <= len(north.accepted) <= 1500  # 1,400 give or take five standard deviations
    told = {notice.id: notice.gateway for notice in notices(cycle, "id, gateway")}
    assert {str(one) for one, gateway in told.items() if gateway == SOUTH} == set(south.accepted)


async def test_several_senders_keep_the_shares_together():
    cycle = plan_notices(1500)
    async with gateways() as (north, south):
        registered(north, south)
        set_weights(north=50, south=50)
        await asyncio.gather(*(both(cycle, north, south).run() for _ in range(3)))
        assert each_once(1500, north, south)
    assert 650 <= len(north.accepted) <= 850


async def test_a_share_can_be_changed_while_they_send(configure):
    configure(now=NOW, segments_per_second=200, connections=20)
    cycle = plan_notices(700)
    async with gateways() as (north, south):
        registered(north, south)
        task = asyncio.create_task(both(cycle, north, south).run())
        await until(lambda: len(north.accepted) > 100)
        assert len(south.accepted) == 0
        set_weights(north=0, south=100)
        await task
        assert each_once(700, north, south)
    assert len(north.accepted) < 500
    assert len(south.accepted) > 200


async def test_both_keep_their_own_limit_and_neither_waits_for_the_other():
    cycle = plan_notices(300)
    async with gateways() as (north, south):
        registered(north, south)
        set_weights(north=50, south=50)
        with begin() as connection:
            routing.adjust(connection, NORTH, rate=40)
            routing.adjust(connection, SOUTH, rate=200)
        began = time.monotonic()
        task = asyncio.create_task(both(cycle, north, south).run())
        await until(lambda: len(south.accepted) > 100)
        assert time.monotonic() - began < 3  # about 150 messages at 200 a second
        assert len(north.accepted) < 125
        await task
        assert each_once(300, north, south)
    assert time.monotonic() - began > 3


# --- Fall-back


@pytest.mark.usefixtures("_quick_health")
async def test_a_share_moves_step_by_step_from_one_that_refuses_everything_and_comes_back(configure):
    configure(now=NOW, segments_per_second=200, connections=10)
    cycle = plan_notices(2200)
    async with gateways(SandboxOptions(port=0, faults={"503": 1.0})) as (north, south):
        registered(north, south)
        task = asyncio.create_task(both(cycle, north, south).run())
        seen: list[float] = []
        while not seen or seen[-1] > 0.02:
            seen.append(await asyncio.to_thread(health, NORTH))
            assert len(seen) < 400, seen
            await asyncio.sleep(0.05)
        steps = list(dict.fromkeys(seen))
        assert steps == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0.02][-len(steps) :])
        assert len(steps) >= 4  # and not at once
        assert len(north.accepted) == 0
        assert len(south.accepted) > 0
        behave(north)
        await until(lambda: health(NORTH) > 0.3, 30)
        assert 0 < len(north.accepted) < len(south.accepted)
        await task
        assert each_once(2200, north, south)
    assert states(cycle) == {"accepted": 2200}


async def test_one_that_has_stopped_for_good_leaves_everything_to_the_other(caplog, monkeypatch):
    monkeypatch.setattr(routing, "_TROUBLE_SECONDS", 0.2)
    caplog.set_level(logging.INFO)
    cycle = plan_notices(300)
    async with gateways() as (north, south):
        wrong = connection_to(NORTH, north, password="wrong")
        result = await sender(cycle, wrong, connection_to(SOUTH, south)).run()
        assert each_once(300, south)
    assert north.accepted == {}
    assert states(cycle) == {"accepted": 300}
    assert result.outlook.wait is Wait.DONE
    assert list(result.stopped) == [NORTH]
    assert "north_sms refuses everything until somebody mends its connection" in caplog.text
    assert health(NORTH) == 0


async def test_one_that_is_mended_gets_its_share_back_with_the_next_task(monkeypatch):
    monkeypatch.setattr(routing, "_TROUBLE_SECONDS", 0.2)
    monkeypatch.setattr(routing, "_RECOVERY_SECONDS", 0.2)
    first, second = plan_notices(50), plan_notices(900, cycle="2026-05-T2", first=1000)
    async with gateways() as (north, south):
        await sender(first, connection_to(NORTH, north, "wrong"), connection_to(SOUTH, south)).run()
        assert health(NORTH) == 0
        with begin() as connection:
            routing.adjust(connection, SOUTH, rate=300)
        await both(second, north, south).run()
        assert each_once(950, north, south)
    assert health(NORTH) > 0.2
    assert 50 < len(north.accepted) < 700


async def test_when_both_have_stopped_the_task_fails_and_nothing_is_lost(monkeypatch):
    monkeypatch.setattr(routing, "_TROUBLE_SECONDS", 0.2)
    cycle = plan_notices(50)
    async with gateways() as (north, south):
        wrong = [connection_to(NORTH, north, "wrong"), connection_to(SOUTH, south, "wrong")]
        with pytest.raises(GatewayStopped, match=r"north_sms: .*; south_sms: .*mend the connection"):
            await sender(cycle, *wrong).run()
    assert states(cycle) == {"planned": 50}


async def test_one_that_takes_no_validity_leaves_the_evening_to_the_other(configure):
    configure(now="2026-05-20T18:30:00+01:00", segments_per_second=500)
    cycle = plan_notices(60)
    async with L2TFake() as l2t, Sandbox(SandboxOptions(port=0)) as south:
        without = create_gateway("query_string", l2t.config("l2t_sms", f"http://127.0.0.1:{l2t.port}"))
        result = await sender(cycle, without, connection_to(SOUTH, south)).run()
        assert each_once(60, south)
        assert l2t.arrived() == []
    assert result.outlook.wait is Wait.DONE


# --- In doubt


async def test_a_notice_in_doubt_with_one_is_never_handed_to_the_other(configure):
    cycle = plan_notices(200)
    async with gateways(SandboxOptions(port=0, faults={"reset-after": 1.0})) as (north, south):
        registered(north, south)
        set_weights(north=50, south=50)
        await both(cycle, north, south).run(patience=NO_WAIT)
        doubtful = set(north.accepted)
        assert 50 < len(doubtful) < 150
        assert states(cycle) == {"in_doubt": len(doubtful), "accepted": 200 - len(doubtful)}
        # Other tasks, another order, and weights under which all new messages go the other way.
        set_weights(north=0, south=100)
        for those in ((NORTH, north, SOUTH, south), (SOUTH, south, NORTH, north)):
            name, one, other_name, other = those
            again = sender(cycle, connection_to(name, one), connection_to(other_name, other))
            await again.run(patience=NO_WAIT)
        assert set(north.accepted.values()) == {1}
        # The horizon has passed: a bill goes out once more, and only through the one that may know of it.
        configure(now=LATER, segments_per_second=2000, connections=20)
        behave(north)
        await both(cycle, north, south).run(patience=NO_WAIT)
        assert {one: north.accepted[one] for one in doubtful} == dict.fromkeys(doubtful, 2)
        assert not doubtful & set(south.accepted)
    assert states(cycle) == {"accepted": 200}


async def test_a_warning_in_doubt_goes_to_nobody_ever(configure):
    cycle = plan_notices(40, kind="cutoff_warning")
    async with gateways(SandboxOptions(port=0, faults={"reset-after": 1.0})) as (north, south):
        await both(cycle, north, south).run(patience=NO_WAIT)
        configure(now=LATER, segments_per_second=2000)
        behave(north)
        await both(cycle, north, south).run(patience=NO_WAIT)
        await sender(cycle, connection_to(SOUTH, south)).run(patience=NO_WAIT)
        assert each_once(40, north)
        assert south.accepted == {}
    assert states(cycle) == {"in_doubt": 40}


async def test_what_one_refused_may_go_to_the_other_for_nothing_was_accepted():
    cycle = plan_notices(40)
    async with gateways(SandboxOptions(port=0, faults={"429": 1.0})) as (north, south):
        await both(cycle, north, south).run(patience=NO_WAIT)
        assert south.accepted == {}
        run_sql("UPDATE gateway SET health = 0.02 WHERE name = 'north_sms'")
        run_sql("UPDATE notice SET retry_at = NULL")
        behave(north)
        await both(cycle, north, south).run(patience=NO_WAIT)
        assert each_once(40, north, south)
    assert len(south.accepted) > 30


# --- Another provider, while messages of the one before are unsettled


async def test_the_provider_is_changed_in_the_middle_of_a_cycle(configure):
    port = free_port()
    cycle = plan_notices(300)
    slow = SandboxOptions(port=0, receipt_delay=4, acknowledgements=0)
    async with receiver(port), gateways(slow) as (north, south):
        old = connection_to(NORTH, north)
        configure(now=NOW, segments_per_second=100, connections=10)
        first = sender(cycle, old, receipts_to=port)
        task = asyncio.create_task(first.run())
        await until(lambda: len(north.accepted) > 60)
        behave(north, receipt_delay=4, acknowledgements=0, faults={"reset-after": 1.0})
        await until(lambda: states(cycle).get("in_doubt", 0) > 20)
        first.stop()
        await task
        through_the_old = set(north.accepted)
        doubtful = {str(notice.id) for notice in notices(cycle) if notice.state == "in_doubt"}
        assert 60 < len(through_the_old) < 250
        assert doubtful
        # The setting now names the new one alone.
        configure(now=NOW, segments_per_second=2000, connections=10)
        await sender(cycle, connection_to(SOUTH, south), receipts_to=port).run(patience=NO_WAIT)
        # All of the old one's receipts come, also of those in doubt.
        await until(lambda: states(cycle) == {"delivered": 300})
        assert each_once(300, north, south)
        assert set(south.accepted) == {str(one) for one in ids(cycle)} - through_the_old
    with connect() as connection:
        used = connection.execute(text("SELECT name, in_use FROM gateway ORDER BY name")).all()
    assert [tuple(row) for row in used] == [(NORTH, False), (SOUTH, True)]


async def test_a_doubt_with_a_provider_that_is_gone_follows_the_kind_s_policy_through_the_new_one(configure):
    bills = plan_notices(20)
    warnings = plan_notices(20, cycle="2026-05-T2", kind="cutoff_warning", first=20)
    async with gateways(SandboxOptions(port=0, receipts=0, faults={"reset-after": 1.0})) as (north, south):
        for cycle in (bills, warnings):
            await sender(cycle, connection_to(NORTH, north)).run(patience=NO_WAIT)
        new = connection_to(SOUTH, south)
        for cycle in (bills, warnings):
            result = await sender(cycle, new).run(patience=NO_WAIT)
            assert states(cycle) == {"in_doubt": 20}
        assert south.accepted == {}  # before the horizon nobody touches them
        assert result.outlook.wait is Wait.DONE  # nothing will come of a warning
        configure(now=LATER, segments_per_second=2000)
        for cycle in (bills, warnings):
            await sender(cycle, new).run(patience=NO_WAIT)
        assert set(south.accepted) == {str(one) for one in ids(bills)}
    assert (states(bills), states(warnings)) == ({"accepted": 20}, {"in_doubt": 20})


async def test_a_provider_that_is_asked_is_asked_after_it_was_changed(configure):
    port = free_port()
    cycle = plan_notices(80)
    async with L2TFake() as l2t, Sandbox(SandboxOptions(port=0)) as south, receiver(port):
        old = create_gateway("query_string", l2t.config("l2t_sms", f"http://127.0.0.1:{l2t.port}"))
        configure(now=NOW, segments_per_second=40)
        first = sender(cycle, old)
        task = asyncio.create_task(first.run())
        await until(lambda: len(l2t.arrived()) > 20)
        first.stop()
        await task
        configure(now=NOW, segments_per_second=2000)
        await sender(cycle, connection_to(SOUTH, south), receipts_to=port).run(patience=NO_WAIT)
        sent = len(l2t.arrived())
        assert sent + len(south.accepted) == 80
        for phone in l2t.ids:
            await l2t.report(phone, "DELIVERED")
        (poll,) = await asyncio.to_thread(poll_receipts, {"l2t_sms": old}.__getitem__)
        assert (poll.gateway, poll.asked, poll.stored) == ("l2t_sms", sent, sent)
        await asyncio.to_thread(match_receipts)
        await until(lambda: states(cycle) == {"delivered": 80})


async def test_another_provider_under_the_same_name_is_refused_in_words():
    cycle = plan_notices(10)
    async with Sandbox(SandboxOptions(port=0)) as north, L2TFake() as l2t:
        await sender(cycle, connection_to(NORTH, north)).run(patience=NO_WAIT)
        changed = create_gateway("query_string", l2t.config(NORTH, f"http://127.0.0.1:{l2t.port}"))
        with pytest.raises(BadInput, match="make a new connection for the new provider"):
            await sender(cycle, changed).run(patience=NO_WAIT)
