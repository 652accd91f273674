"""A sender, a provider that knows only its own ids, and the receiver, on a real database: once, or in doubt.

The provider is a fake that speaks the Orange SMS API over HTTP: no id of ours goes to it, so that a receipt
finds its notice only by the id in the answer to the submit.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import uvicorn
from sqlalchemy import text

from fatoura.database import connect
from fatoura.gateways import create_gateway
from fatoura.gateways.interface import receipt_path
from fatoura.notices.states import State
from fatoura.receipts.receiver import create_app
from fatoura.receipts.secret import receipt_secret
from fatoura.sending import claims
from fatoura.sending.outlook import Wait
from fatoura.sending.sender import GatewayStopped, Sender
from tests.conformance.orange import Orange
from tests.notices import notices, plan_notices, run_sql, states
from tests.processes import free_port

NAME = "orange_sms"
NO_WAIT = timedelta(0)


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(now="2026-05-20T10:00:00+01:00", segments_per_second=500, request_timeout=2, connections=20)


@asynccontextmanager
async def orange(**options):
    """Run the provider, and a receiver that it reports to."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_app(), host="127.0.0.1", port=port, log_level="error", access_log=False)
    )
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    async with Orange(**options) as provider:
        provider.receipts_to = f"http://127.0.0.1:{port}{receipt_path(NAME, receipt_secret())}"
        yield provider
    server.should_exit = True
    await task


async def send(cycle: int, provider: Orange):
    gateway = create_gateway("orange", provider.config(NAME, f"http://127.0.0.1:{provider.port}"))
    sender = Sender(cycle, [gateway], receiver=("http://127.0.0.1:9", receipt_secret()), worker="test")
    return await sender.run(patience=NO_WAIT)


async def until(condition, seconds: float = 20) -> float:
    """Wait until something holds; return the seconds that it took."""
    began = time.monotonic()
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < began + seconds, "waited too long"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


def numbers(provider: Orange) -> list[int]:
    """Return how many messages each number got."""
    return [len(resources) for resources in provider.resources.values()]


def matches() -> dict[str, int]:
    with connect() as connection:
        return dict(connection.execute(text("SELECT match, count(*) FROM receipt GROUP BY match")).all())


async def test_every_word_settles_its_notice_twice_reordered_and_of_both_nestings():
    cycle = plan_notices(250)
    async with orange() as provider:
        result = await send(cycle, provider)
        assert (result.counts["accepted"], result.outlook.wait) == (250, Wait.DONE)
        assert numbers(provider) == [1] * 250
        assert all(notice.provider_id.startswith("0000") for notice in notices(cycle))
        words = list(provider.words)
        told = []
        for position, (phone, (resource,)) in enumerate(provider.resources.items()):
            final = words[position % len(words)]
            told += [
                (resource, phone, word) for word in ("MessageWaiting", "DeliveredToNetwork", final, final)
            ]
        random.Random(7).shuffle(told)
        for first in range(0, len(told), 50):
            await asyncio.gather(*(provider.tell(*receipt) for receipt in told[first : first + 50]))
        expected = {"delivered": 50, "undeliverable": 50, "accepted": 150}
        await until(lambda: states(cycle) == expected and sum(matches().values()) == 1000)
        await until(lambda: "new" not in matches())
    assert matches() == {"moved": 100, "repeated": 100, "noted": 800}
    reasons = {notice.reason for notice in notices(cycle) if notice.state == State.UNDELIVERABLE}
    assert reasons == {"DeliveryImpossible"}


async def test_receipts_that_come_before_the_answer_settle_their_notices_once_it_is_written():
    cycle = plan_notices(100)
    async with orange() as provider:
        provider.faults = dict.fromkeys((notice.phone for notice in notices(cycle)), "early receipt")
        await send(cycle, provider)
        assert await until(lambda: states(cycle) == {"delivered": 100}) < 3
    assert numbers(provider) == [1] * 100
    assert matches() == {"moved": 100}
    assert all(notice.attempts == 1 for notice in notices(cycle))


async def test_an_answer_that_is_written_long_after_the_receipts_finds_them_within_two_seconds(monkeypatch):
    cycle = plan_notices(20)
    write, written = claims.write_outcomes, []

    def write_late(*arguments, **more):
        time.sleep(4)
        written.append(time.monotonic())
        return write(*arguments, **more)

    monkeypatch.setattr(claims, "write_outcomes", write_late)
    async with orange() as provider:
        sending = asyncio.create_task(send(cycle, provider))
        await until(lambda: len(provider.arrived()) == 20)
        for phone in list(provider.resources):
            await provider.report(phone, "DeliveredToTerminal")
        await until(lambda: matches() == {"parked": 20})
        await sending
        await until(lambda: states(cycle) == {"delivered": 20})
        assert time.monotonic() - written[-1] < 2.5
    assert matches() == {"moved": 20}


async def test_a_token_that_ends_in_the_middle_costs_no_message_and_no_doubt(configure):
    configure(now="2026-05-20T10:00:00+01:00", segments_per_second=100, request_timeout=2, connections=20)
    cycle = plan_notices(400)
    async with orange(token_seconds=1) as provider:
        sending = asyncio.create_task(send(cycle, provider))
        await until(lambda: len(provider.arrived()) > 150)
        provider.forget_tokens()  # before their time, and unannounced
        result = await sending
    assert result.counts["accepted"] == 400
    assert states(cycle) == {"accepted": 400}
    assert numbers(provider) == [1] * 400
    assert 4 <= provider.tokens_given <= 10


async def test_a_sender_keeps_its_token_while_it_waits_for_more_to_send():
    cycle = plan_notices(5)
    async with orange() as provider:
        gateway = create_gateway("orange", provider.config(NAME, f"http://127.0.0.1:{provider.port}"))
        sender = Sender(cycle, [gateway], receiver=("http://127.0.0.1:9", receipt_secret()), worker="test")
        await sender.run(patience=NO_WAIT)
        plan_notices(5, first=100)
        await sender.run(patience=NO_WAIT)
    assert states(cycle) == {"accepted": 10}
    assert provider.tokens_given == 1


async def test_a_message_without_an_answer_stays_in_doubt_until_its_horizon_whatever_is_reported():
    cycle = plan_notices(10)
    warned = plan_notices(10, kind="cutoff_warning", cycle="2026-05-T2", first=100)
    async with orange() as provider:
        for one in (cycle, warned):
            provider.faults |= dict.fromkeys((notice.phone for notice in notices(one)), "no answer")
            await send(one, provider)
        assert states(cycle) == states(warned) == {"in_doubt": 10}
        for phone in list(provider.resources):
            await provider.report(phone, "DeliveredToTerminal")
        await until(lambda: matches() == {"parked": 20})
        await asyncio.sleep(2.5)  # they are looked at again, and are still nobody's
        assert states(cycle) == states(warned) == {"in_doubt": 10}
        assert (await send(cycle, provider)).outlook.wait is Wait.DOUBT
        assert numbers(provider) == [1] * 20

        provider.faults = {}
        run_sql("UPDATE notice SET submitted_at = submitted_at - interval '6 hours'")
        for one in (cycle, warned):
            await send(one, provider)
        # A bill goes out once more, for its kind says so; a warning counts as not given.
        assert (states(cycle), states(warned)) == ({"accepted": 10}, {"in_doubt": 10})
        assert sorted(numbers(provider)) == [1] * 10 + [2] * 10
        for phone, resources in provider.resources.items():
            if len(resources) == 2:
                await provider.tell(resources[1], phone, "DeliveredToTerminal")
        await until(lambda: states(cycle) == {"delivered": 10})
    assert matches() == {"moved": 10, "parked": 20}


async def test_an_empty_balance_stops_the_sender_and_loses_nothing():
    cycle = plan_notices(50)
    async with orange() as provider:
        provider.answer("no balance")
        with pytest.raises(GatewayStopped, match="POL0001"):
            await send(cycle, provider)
        assert states(cycle) == {"planned": 50}
        provider.answer(None)
        await send(cycle, provider)
    assert states(cycle) == {"accepted": 50}
    assert numbers(provider) == [1] * 50


async def test_while_no_token_can_be_had_nothing_is_submitted_and_nothing_is_in_doubt():
    cycle = plan_notices(100)
    async with orange() as provider:
        provider.gives_no_token = True
        began = time.monotonic()
        result = await send(cycle, provider)
        assert time.monotonic() - began < 10  # one time-out for all that wait, and then it rests
        assert states(cycle) == {"planned": 100}
        assert (result.counts["in_doubt"], result.outlook.wait) == (0, Wait.BACK_OFF)
        provider.gives_no_token = False
        run_sql("UPDATE notice SET retry_at = NULL")
        await send(cycle, provider)
    assert states(cycle) == {"accepted": 100}
    assert numbers(provider) == [1] * 100
