"""A sender, the sandbox gateway and the receipt receiver together, on a real database: once, or in doubt."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest
import uvicorn
from sqlalchemy import text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.gateways import GatewayConfig, create_gateway
from fatoura.gateways.sandbox import Sandbox, SandboxOptions
from fatoura.notices.kinds import Check
from fatoura.receipts.receiver import create_app
from fatoura.receipts.secret import receipt_secret
from fatoura.sending import checks
from fatoura.sending.outlook import Wait
from fatoura.sending.sender import GatewayStopped, Sender
from tests.notices import ids, notices, plan_notices, run_sql, states
from tests.processes import free_port

NO_WAIT = timedelta(0)


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(
        now="2026-05-20T10:00:00+01:00",
        segments_per_second=2000,
        request_timeout=2,
        connections=20,
        receiver_port=free_port(),
    )


@asynccontextmanager
async def receiver(port: int):
    """Run the receiver in this loop."""
    server = uvicorn.Server(
        uvicorn.Config(create_app(), host="127.0.0.1", port=port, log_level="error", access_log=False)
    )
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield
    server.should_exit = True
    await task


def sender(cycle: int, port: int, *, password: str = "sandbox", receipts_to: int = 9) -> Sender:
    config = GatewayConfig("fatoura_sms", f"http://127.0.0.1:{port}", "fatoura", password)
    gateway = create_gateway("kannel", config)
    return Sender(
        cycle, [gateway], receiver=(f"http://127.0.0.1:{receipts_to}", receipt_secret()), worker="test"
    )


async def send(cycle: int, options: SandboxOptions, **more):
    async with Sandbox(options) as sandbox:
        result = await sender(cycle, sandbox.port, **more).run(patience=NO_WAIT)
        return result, dict(sandbox.accepted)


async def until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "waited too long"
        await asyncio.sleep(0.1)


async def test_every_notice_is_submitted_once_and_its_receipt_settles_it(configure):
    port = free_port()
    cycle = plan_notices(300)
    options = SandboxOptions(port=0, outcomes={"undeliverable": 0.1, "expired": 0.05}, seed=3)
    async with receiver(port), Sandbox(options) as sandbox:
        result = await sender(cycle, sandbox.port, receipts_to=port).run(patience=NO_WAIT)
        assert (result.counts["accepted"], result.outlook.wait) == (300, Wait.DONE)
        assert result.counts["segments"] == 300
        assert sorted(sandbox.accepted.values()) == [1] * 300
        await until(lambda: set(states(cycle)) <= {"delivered", "undeliverable", "expired"})
    told = states(cycle)
    assert sum(told.values()) == 300
    assert told["undeliverable"] > 10
    with connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM receipt WHERE match = 'moved'")) >= 300


@pytest.mark.parametrize("fault", ["timeout", "reset-after", "half-answer"])
async def test_what_may_have_been_accepted_is_in_doubt_and_not_sent_again(fault):
    cycle = plan_notices(20)
    result, accepted = await send(cycle, SandboxOptions(port=0, faults={fault: 1.0}))
    assert states(cycle) == {"in_doubt": 20}
    assert sorted(accepted.values()) == [1] * 20
    assert result.outlook.wait is Wait.DOUBT


async def test_a_doubt_is_settled_by_a_receipt_that_carries_our_id():
    port = free_port()
    cycle = plan_notices(20)
    async with receiver(port):
        await send(cycle, SandboxOptions(port=0, faults={"reset-after": 1.0}), receipts_to=port)
        await until(lambda: states(cycle) == {"delivered": 20})


async def test_receipts_before_the_answer_are_not_overwritten_by_it():
    port = free_port()
    cycle = plan_notices(50)
    options = SandboxOptions(port=0, delay=0.3, faults={"early-receipts": 1.0})
    async with receiver(port):
        _, accepted = await send(cycle, options, receipts_to=port)
        await until(lambda: states(cycle) == {"delivered": 50})
    assert sorted(accepted.values()) == [1] * 50
    assert all(n.attempts == 1 for n in notices(cycle))


@pytest.mark.parametrize("fault", ["503", "429"])
async def test_a_proven_refusal_goes_back_to_planned_with_back_off(fault):
    cycle = plan_notices(60)
    result, accepted = await send(cycle, SandboxOptions(port=0, faults={fault: 1.0}))
    assert states(cycle) == {"planned": 60}
    assert accepted == {}
    assert result.outlook.wait is Wait.BACK_OFF
    assert result.counts["refused"] < 60  # it stops trying when the provider refuses again and again


async def test_a_gateway_that_is_down_costs_no_notice_and_no_doubt():
    cycle = plan_notices(40)
    result = await sender(cycle, free_port()).run(patience=NO_WAIT)
    assert states(cycle) == {"planned": 40}
    assert result.outlook.wait is Wait.BACK_OFF
    run_sql("UPDATE notice SET retry_at = NULL")
    _, accepted = await send(cycle, SandboxOptions(port=0))
    assert states(cycle) == {"accepted": 40}
    assert sorted(accepted.values()) == [1] * 40


async def test_wrong_credentials_stop_the_sender_at_once_and_lose_nothing():
    cycle = plan_notices(200)
    with pytest.raises(GatewayStopped, match="fatoura_sms"):
        await send(cycle, SandboxOptions(port=0), password="wrong")
    assert states(cycle) == {"planned": 200}
    _, accepted = await send(cycle, SandboxOptions(port=0))
    assert sorted(accepted.values()) == [1] * 200


async def test_a_rejected_number_is_final_and_says_why():
    cycle = plan_notices(5)
    await send(cycle, SandboxOptions(port=0, reject=1.0))
    assert states(cycle) == {"rejected": 5}
    assert all(n.reason for n in notices(cycle))


async def test_a_message_that_the_provider_would_spoil_is_never_handed_over():
    cycle = plan_notices(1)
    run_sql("UPDATE notice SET text = 'فاتورة'")  # planned as GSM-7: Kannel would send question marks
    _, accepted = await send(cycle, SandboxOptions(port=0))
    assert states(cycle) == {"rejected": 1}
    assert accepted == {}


async def test_two_senders_share_a_cycle_and_keep_the_limit_together(configure):
    configure(now="2026-05-20T10:00:00+01:00", segments_per_second=100, connections=20, claim_size=50)
    cycle = plan_notices(400)
    async with Sandbox(SandboxOptions(port=0)) as sandbox:
        began = time.monotonic()
        await asyncio.gather(*(sender(cycle, sandbox.port).run() for _ in range(2)))
        seconds = time.monotonic() - began
        assert sorted(sandbox.accepted.values()) == [1] * 400
    assert states(cycle) == {"accepted": 400}
    assert 3.8 <= seconds < 8  # 400 segments at 100 a second; the upper bound is generous, for slow machines


async def test_nothing_leaves_while_the_window_is_closed(configure):
    configure(now="2026-05-20T21:00:00+01:00")
    cycle = plan_notices(10)
    result, accepted = await send(cycle, SandboxOptions(port=0))
    assert accepted == {}
    assert result.outlook.wait is Wait.WINDOW
    with connect() as connection:
        assert result.outlook.until == load_calendar(connection).next_opening(clock.now())


async def test_the_validity_ends_with_the_window(configure):
    configure(now="2026-05-20T19:00:00+01:00")
    cycle = plan_notices(3)
    seen = []
    async with Sandbox(SandboxOptions(port=0)) as sandbox:
        at_work = sender(cycle, sandbox.port)
        gateway = at_work._lines[0].gateway
        submit = gateway.submit_request
        gateway.submit_request = lambda m, token="": seen.append(m.validity_minutes) or submit(m, token)
        await at_work.run(patience=NO_WAIT)
    assert len(seen) == 3
    assert all(50 <= minutes <= 60 for minutes in seen)


async def test_a_sender_that_is_stopped_finishes_what_it_began_and_gives_back_the_rest(configure):
    configure(now="2026-05-20T10:00:00+01:00", segments_per_second=50)
    cycle = plan_notices(200)
    async with Sandbox(SandboxOptions(port=0)) as sandbox:
        at_work = sender(cycle, sandbox.port)
        task = asyncio.create_task(at_work.run())
        await asyncio.sleep(1)
        at_work.stop()
        await task
        accepted = dict(sandbox.accepted)
    told = states(cycle)
    assert set(told) == {"planned", "accepted"}
    assert told["accepted"] == len(accepted)


async def test_a_database_that_restarts_in_the_middle_loses_and_repeats_nothing(configure, postgres):
    configure(now="2026-05-20T10:00:00+01:00", segments_per_second=100, lease=3, doubt_horizon=3600)
    cycle = plan_notices(300)
    async with Sandbox(SandboxOptions(port=0)) as sandbox:
        task = asyncio.create_task(sender(cycle, sandbox.port).run())
        await asyncio.sleep(1)
        await asyncio.to_thread(postgres.stop, "immediate")
        await asyncio.sleep(1)
        await asyncio.to_thread(postgres.start)
        await asyncio.gather(task, return_exceptions=True)  # the task fails, or it got over it
        await asyncio.sleep(3)  # what it held comes into doubt when its lease ends
        await sender(cycle, sandbox.port).run(patience=NO_WAIT)
        accepted = dict(sandbox.accepted)
    assert set(accepted.values()) == {1}
    told = states(cycle)
    assert set(told) <= {"accepted", "in_doubt"}
    assert sum(told.values()) == 300
    assert told["accepted"] <= len(accepted) <= 300


async def test_the_limit_can_be_changed_while_a_sender_works(configure):
    configure(now="2026-05-20T10:00:00+01:00", segments_per_second=20)
    cycle = plan_notices(300)
    async with Sandbox(SandboxOptions(port=0)) as sandbox:
        task = asyncio.create_task(sender(cycle, sandbox.port).run())
        await asyncio.sleep(1)
        run_sql("UPDATE gateway SET segments_per_second = 1000")
        began = time.monotonic()
        await task
    assert states(cycle) == {"accepted": 300}
    assert time.monotonic() - began < 10  # at the first limit it would take 14 seconds


async def test_of_warnings_only_those_leave_that_still_hold_when_they_are_claimed(configure, monkeypatch):
    """Two senders, batches of which nothing holds any more, and customers who pay while it goes on."""
    configure(segments_per_second=2000, request_timeout=2, claim_size=20, connections=5)
    cycle = plan_notices(300, cycle="cutoff-2026-05-20", purpose="cutoff", kind="cutoff_warning", priority=20)
    in_order = ids(cycle)
    paid = set(in_order[:100]) | set(in_order[100::7])

    def still_owed(connection, asked):
        if asked[-1] > in_order[150]:
            paid.add(in_order[290])  # a payment comes in while warnings go out
        return {one: "paid" for one in asked if one in paid}

    monkeypatch.setattr(checks, "CHECKS", {Check.STILL_OWED: still_owed})
    async with Sandbox(SandboxOptions(port=0, seed=3)) as sandbox:
        results = await asyncio.gather(
            *(sender(cycle, sandbox.port).run(patience=timedelta(seconds=1)) for _ in range(2))
        )
        assert sorted(sandbox.accepted.values()) == [1] * (300 - len(paid))
        assert {UUID(one) for one in sandbox.accepted} == set(in_order) - paid
    assert states(cycle) == {"accepted": 300 - len(paid), "cancelled": len(paid)}
    assert sum(result.counts["withdrawn"] for result in results) == len(paid)
    assert {result.outlook.wait for result in results} == {Wait.DONE}


async def test_a_cycle_of_which_nothing_holds_any_more_is_done_at_once(configure, monkeypatch):
    configure(segments_per_second=2000, claim_size=10)
    monkeypatch.setattr(
        checks, "CHECKS", {Check.STILL_SETTLED: lambda _, asked: dict.fromkeys(asked, "owed")}
    )
    cycle = plan_notices(
        45, cycle="payment-received-2026-05-20", purpose="payment_received", kind="payment_received"
    )
    result, accepted = await send(cycle, SandboxOptions(port=0))
    assert (accepted, result.outlook.wait, states(cycle)) == ({}, Wait.DONE, {"cancelled": 45})


async def test_bills_are_claimed_without_a_look_at_them(monkeypatch):
    monkeypatch.setattr(checks, "unfounded", None)
    cycle = plan_notices(20)
    await send(cycle, SandboxOptions(port=0))
    assert states(cycle) == {"accepted": 20}


async def test_a_connection_that_allows_shorter_messages_than_a_day_has_stops_before_any_is_lost():
    cycle = plan_notices(3, cycle="cutoff-2026-06-30", purpose="cutoff", kind="cutoff_warning")
    run_sql("UPDATE notice SET segments = 2 WHERE subject = (SELECT min(subject) FROM notice)")
    with pytest.raises(BadInput, match="take 2 segments, and the connection fatoura_sms allows 1: set long"):
        await send(cycle, SandboxOptions(port=0))
    assert states(cycle) == {"planned": 3}
