"""Receipts by asking: a sender, an aggregator that never reports by itself, and polls, on a real database."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.gateways import create_gateway
from fatoura.gateways.interface import Outcome
from fatoura.notices.states import State
from fatoura.receipts import polling
from fatoura.receipts.matching import match_receipts
from fatoura.receipts.polling import Poll, poll_receipts, seconds_to_poll
from fatoura.sending import claims, routing
from fatoura.sending.outlook import Wait
from fatoura.sending.sender import Sender
from tests.conformance.query_string import KEY, L2TFake, TunisieSmsFake, WinSmsFake
from tests.notices import TEXT, notices, plan_notices, run_sql, states

NAME = "l2t_sms"
NOW = "2026-05-20T10:00:00+01:00"


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(now=NOW, segments_per_second=2000, request_timeout=2, connections=20, receipt_poll=60)


@pytest.fixture
async def l2t():
    async with L2TFake() as running:
        yield running


def gateway(provider, name: str = NAME, **extra):
    config = provider.config(name, f"http://127.0.0.1:{provider.port}")
    return create_gateway("query_string", replace(config, extra={**config.extra, **extra}))


async def send(cycle: int, provider, **extra) -> None:
    sender = Sender(cycle, [gateway(provider, **extra)], receiver=("http://127.0.0.1:9", "s"), worker="test")
    result = await sender.run(patience=timedelta(0))
    assert result.outlook.wait is Wait.DONE


async def poll(provider, *, cycle: int | None = None, soon: bool = True, **extra) -> list[Poll]:
    """Poll as a task does; `soon` lets the time since the last poll pass."""
    if soon:
        run_sql("UPDATE gateway SET polled_at = polled_at - interval '1 hour'")
    polls = await asyncio.to_thread(poll_receipts, lambda name: gateway(provider, name, **extra), cycle)
    match_receipts()
    return polls


async def report(provider, cycle: int, words) -> dict[str, str]:
    """Have the provider say a word of each message; returns the words by the notices' numbers."""
    said = {}
    for number, notice in enumerate(notices(cycle, "id, phone")):
        word = words[number % len(words)]
        await provider.report(notice.phone, word)
        said[notice.phone] = word
    return said


def receipts() -> list:
    with connect() as connection:
        return list(connection.execute(text("SELECT * FROM receipt ORDER BY id")))


@pytest.mark.parametrize("fake", [L2TFake, TunisieSmsFake], ids=lambda fake: fake.form)
async def test_a_cycle_is_settled_by_asking(fake):
    cycle = plan_notices(60)
    async with fake() as provider:
        await send(cycle, provider)
        assert states(cycle) == {"accepted": 60}
        said = await report(provider, cycle, list(provider.words))
        assert await poll(provider, cycle=cycle) == [Poll(NAME, asked=60, stored=60)]
    for notice in notices(cycle):
        expected = provider.words[said[notice.phone]]
        assert notice.state == expected
        assert (notice.final_at is None) == (expected is State.ACCEPTED)
        assert notice.reason == (
            None if expected in (State.ACCEPTED, State.DELIVERED) else said[notice.phone]
        )
    assert {(one.gateway, one.match) for one in receipts()} == {(NAME, "moved"), (NAME, "noted")}


async def test_what_is_known_is_neither_asked_for_nor_stored_again(l2t):
    cycle = plan_notices(10)
    await send(cycle, l2t)
    for _ in range(3):
        await poll(l2t)
    assert len(receipts()) == 10  # one UNKNOWN of each, however often it is heard
    await report(l2t, cycle, ["DELIVERED", "UNKNOWN"])
    assert await poll(l2t) == [Poll(NAME, asked=10, stored=5)]
    assert await poll(l2t) == [Poll(NAME, asked=5, stored=0)]
    await report(l2t, cycle, ["EXPIRED"])
    await poll(l2t)
    assert states(cycle) == {"delivered": 5, "expired": 5}
    before = len(l2t.asked)
    assert await poll(l2t) == []
    assert len(l2t.asked) == before


async def test_before_its_time_nobody_is_asked(l2t):
    cycle = plan_notices(3)
    await send(cycle, l2t)
    assert len(await poll(l2t, soon=False)) == 1
    assert await poll(l2t, soon=False) == []
    with connect() as connection:
        (left,) = seconds_to_poll(connection, cycle).values()
    assert 50 < left <= 60
    assert len(l2t.asked) == 1


async def test_of_two_tasks_that_ask_at_once_one_asks(l2t):
    first = plan_notices(5)
    second = plan_notices(5, cycle="2026-05-T2", first=5)
    await send(first, l2t)
    await send(second, l2t)
    polls = await asyncio.gather(*(poll(l2t, cycle=one, soon=False) for one in (first, second)))
    assert sorted(map(len, polls)) == [0, 1]
    assert [sorted(one) for one in l2t.asked] == [sorted(l2t.ids.values())]  # one asks for both


async def test_more_than_fit_one_question_are_asked_for_in_groups_and_each_once(l2t, monkeypatch):
    monkeypatch.setattr(polling, "_PAGE", 12)
    cycle = plan_notices(47)
    few = {"statuses": {"at_once": 5}}
    await send(cycle, l2t, **few)
    assert await poll(l2t, **few) == [Poll(NAME, asked=47, stored=47)]
    assert max(map(len, l2t.asked)) == 5
    asked = Counter(one for group in l2t.asked for one in group)
    assert asked == Counter(l2t.ids.values())


async def test_when_the_time_is_over_the_next_poll_goes_on_and_nobody_is_forgotten(l2t, configure):
    configure(now=NOW, receipt_poll=0)
    cycle = plan_notices(23)
    few = {"statuses": {"at_once": 5}}
    await send(cycle, l2t, **few)
    for _ in range(5):
        (told,) = await poll(l2t, **few)
        assert told.asked <= 5
    asked = Counter(one for group in l2t.asked for one in group)
    assert asked == Counter(l2t.ids.values())
    await poll(l2t, **few)  # finds the end
    await poll(l2t, **few)
    assert l2t.asked[-1] == l2t.asked[0]


async def test_a_provider_that_wants_long_pauses_is_asked_one_question_a_poll():
    cycle = plan_notices(4)
    async with WinSmsFake() as winsms:
        await send(cycle, winsms)
        await report(winsms, cycle, ["DELIVERED"])
        for done in range(1, 5):
            await poll(winsms)
            assert states(cycle).get("delivered") == done
            assert len(winsms.asked) == done


async def test_a_pause_that_is_longer_than_the_setting_is_kept(configure):
    configure(now=NOW, receipt_poll=5)
    cycle = plan_notices(2)
    async with WinSmsFake() as winsms:
        await send(cycle, winsms)
        await poll(winsms)
        with connect() as connection:
            (left,) = seconds_to_poll(connection).values()
    assert 20 < left <= 30


@pytest.mark.parametrize("fault", ["gone", "unreadable"])
async def test_a_provider_in_trouble_fails_nothing_and_is_asked_again(l2t, fault, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    cycle = plan_notices(5)
    await send(cycle, l2t)
    await report(l2t, cycle, ["DELIVERED"])
    ask = l2t.ask
    l2t.ask = lambda path, query: (200, "text/html", f"<h1>{KEY}</h1>") if fault == "unreadable" else None
    (told,) = await poll(l2t)
    assert (told.asked, told.stored) == (0, 0)
    assert told.problem
    assert states(cycle) == {"accepted": 5}
    assert "the next poll tries again" in caplog.text
    assert KEY not in caplog.text
    l2t.ask = ask
    for _ in range(2):  # a group of which nothing was learnt is passed over once
        await poll(l2t)
    assert states(cycle) == {"delivered": 5}


async def test_a_group_that_nobody_can_read_does_not_hold_up_the_others(l2t):
    cycle = plan_notices(30)
    few = {"statuses": {"at_once": 10}}
    await send(cycle, l2t, **few)
    await report(l2t, cycle, ["DELIVERED"])
    ask, poison = l2t.ask, next(iter(l2t.ids.values()))
    l2t.ask = lambda path, query: (
        (500, "text/html", "") if poison in query.get("msg_id", "").split(";") else ask(path, query)
    )
    for _ in range(4):
        await poll(l2t, **few)
    assert states(cycle) == {"delivered": 20, "accepted": 10}


async def test_a_connection_that_cannot_be_opened_is_told_without_its_words(l2t, caplog):
    cycle = plan_notices(2)
    await send(cycle, l2t)

    def gone(name: str):
        raise RuntimeError(f"no connection, but the password was {KEY}")

    (told,) = await asyncio.to_thread(poll_receipts, gone)
    assert told.problem == "RuntimeError on opening the connection"
    assert KEY not in caplog.text

    def refused(name: str):
        raise BadInput("the connection 'l2t_sms' has no host")

    run_sql("UPDATE gateway SET polled_at = NULL")
    (told,) = await asyncio.to_thread(poll_receipts, refused)
    assert told.problem == "the connection 'l2t_sms' has no host"


async def test_a_provider_that_reports_by_itself_is_never_asked_nor_opened(l2t):
    plan_notices(3)
    run_sql(
        "INSERT INTO gateway (name, adapter, capabilities, position, in_use, weight) "
        """VALUES ('fatoura_sms', 'kannel', '{"receipts": "push"}', 0, true, 100)"""
    )
    run_sql(
        "UPDATE notice SET state = 'sending', attempts = 1, gateway = 'fatoura_sms', submitted_at = :now",
        now=clock.now(),
    )
    run_sql("UPDATE notice SET state = 'accepted'")
    run_sql(
        "INSERT INTO attempt (notice_id, number, gateway, worker, provider_id) "
        "SELECT id, 1, 'fatoura_sms', 'x', id::text FROM notice"
    )
    assert await asyncio.to_thread(poll_receipts, None) == []
    with connect() as connection:
        assert seconds_to_poll(connection) == {}


async def test_one_that_takes_no_new_messages_any_more_is_asked_all_the_same(l2t):
    cycle = plan_notices(4)
    await send(cycle, l2t)
    with begin() as connection:
        routing.register(connection, [gateway(l2t, "the_next_one")])
    await report(l2t, cycle, ["DELIVERED"])
    assert await poll(l2t) == [Poll(NAME, asked=4, stored=4)]
    assert states(cycle) == {"delivered": 4}


async def test_an_aggregator_that_was_changed_under_the_same_name_is_not_asked_about_the_other_s_ids(l2t):
    cycle = plan_notices(4)
    await send(cycle, l2t)
    async with WinSmsFake() as winsms:
        (told,) = await poll(winsms)
        assert winsms.asked == []
    assert told.problem is not None
    assert "query_string l2t, and now it says query_string winsms" in told.problem
    assert states(cycle) == {"accepted": 4}


async def test_a_doubt_is_settled_by_asking_where_the_provider_had_told_its_id(l2t):
    cycle = plan_notices(3)
    # As when the answer contradicted itself: taken, it said, and an error in the status line.
    with begin() as connection:
        routing.register(connection, [gateway(l2t)])
        held = claims.claim(
            connection, cycle, gateway=NAME, stretch=routing.WHOLE, in_use=[NAME], worker="w", most=9,
            lease=timedelta(minutes=5), doubt_horizon=timedelta(hours=6), sender_id="STEG",
        )  # fmt: skip
        claims.write_outcomes(
            connection,
            [
                (claim.message, Outcome("in_doubt", known, "status 500, 200"))
                for claim, known in zip(held, ("1200000", "1200001", None), strict=True)
            ],
            retry_after=timedelta(0),
        )
    assert states(cycle) == {"in_doubt": 3}
    l2t.said["1200000"] = "DELIVERED"
    assert await poll(l2t) == [Poll(NAME, asked=2, stored=2)]
    # Of the second it is known only that it was taken; the third has no id to ask for.
    assert states(cycle) == {"delivered": 1, "accepted": 1, "in_doubt": 1}


async def test_after_a_week_nobody_is_asked_any_more(l2t, configure):
    cycle = plan_notices(2)
    await send(cycle, l2t)
    configure(now="2026-05-26T10:00:00+01:00")
    assert len(await poll(l2t)) == 1
    configure(now="2026-05-28T10:00:00+01:00")
    assert await poll(l2t) == []


async def test_what_is_stored_holds_what_was_said_and_no_key(l2t):
    cycle = plan_notices(1)
    await send(cycle, l2t)
    await report(l2t, cycle, ["DELIVERED"])
    says = l2t.says
    l2t.says = lambda *told: says(*told[:3], [{**one, "asked_with": KEY} for one in told[3]])
    await poll(l2t)
    (stored,) = receipts()
    (notice,) = notices(cycle)
    assert stored.raw["answer"]["dlr"] == "DELIVERED"
    assert (stored.notice_id, stored.attempt, stored.provider_id) == (notice.id, 1, notice.provider_id)
    assert KEY not in json.dumps(stored.raw)


async def test_nothing_personal_and_no_key_is_logged(l2t, caplog):
    caplog.set_level(logging.DEBUG)
    cycle = plan_notices(5)
    await send(cycle, l2t)
    await report(l2t, cycle, ["DELIVERED", "UNKNOWN"])
    await poll(l2t)
    assert "asked for 5 messages" in caplog.text
    for hidden in (KEY, "kBSas5", "+216", "2000000", TEXT):
        assert hidden not in caplog.text
