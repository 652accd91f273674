"""Tokens: got in time, once for all, renewed once; and nothing is in doubt for the lack of one."""

from __future__ import annotations

import asyncio
import json
import time
from uuid import UUID

import pytest

from fatoura.gateways import Answer, GatewayConfig, Message, TransportFailure, create_gateway
from fatoura.gateways.session import ProviderSilent, Session
from fatoura.notices.encoding import measure

CONFIG = GatewayConfig(
    "orange_sms", "https://api.orange.com", "client-id", "s3cr3t-word", {"sender_address": "+21650000000"}
)
TEXT = "STEG: facture 42580 496 0"
MADE = {"outboundSMSMessageRequest": {"resourceURL": "https://api.orange.com/x/requests/0077"}}
EXPIRED = {"code": 42, "message": "Expired credentials"}


def answer(status: int, said: object) -> Answer:
    return Answer(status, {}, json.dumps(said).encode())


class Wire:
    """In the transport's place: gives tokens, and takes messages that come with one that is good."""

    def __init__(self, seconds: float = 3600) -> None:
        self.seconds = seconds
        self.delay = 0.0
        self.good: set[str] = set()
        self.tokens = 0
        self.token_answer: Answer | TransportFailure | None = None
        self.takes_tokens = True
        self.shown: list[str] = []
        self.submits: list[Answer | TransportFailure] = []

    async def submit(self, request) -> Answer | TransportFailure:
        await asyncio.sleep(self.delay)
        if request.url.endswith("/oauth/v3/token"):
            self.tokens += 1
            if self.token_answer is not None:
                return self.token_answer
            self.good = {f"token-{self.tokens}"}
            return answer(200, {"access_token": f"token-{self.tokens}", "expires_in": self.seconds})
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.shown.append(token)
        if token not in self.good or not self.takes_tokens:
            return answer(401, EXPIRED)
        if request.method == "GET":
            return answer(200, [])
        return self.submits.pop(0) if self.submits else answer(201, MADE)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def session(wire: Wire) -> Session:
    return Session(create_gateway("orange", CONFIG), wire)


def message() -> Message:
    measured = measure(TEXT)
    return Message(
        UUID(int=1), 1, "+21620000000", TEXT, measured.encoding, measured.segments, 60, "STEG", "https://r/x"
    )


async def submit_many(session: Session, count: int) -> list[str]:
    return [one.kind for one in await asyncio.gather(*(session.submit(message()) for _ in range(count)))]


async def test_one_token_serves_all_messages(session, wire):
    wire.delay = 0.01
    assert await submit_many(session, 50) == ["accepted"] * 50
    assert await submit_many(session, 50) == ["accepted"] * 50
    assert wire.tokens == 1


@pytest.mark.parametrize(("seconds", "before", "after"), [(3600, 3539, 3541), (100, 89, 91)])
async def test_a_token_is_renewed_ahead_of_its_end(session, wire, monkeypatch, seconds, before, after):
    wire.seconds = seconds
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    await session.submit(message())
    monkeypatch.setattr(time, "monotonic", lambda: now + before)
    await session.submit(message())
    assert wire.tokens == 1
    monkeypatch.setattr(time, "monotonic", lambda: now + after)
    await session.submit(message())
    assert wire.shown == ["token-1", "token-1", "token-2"]


async def test_a_token_that_is_no_longer_good_is_renewed_once_for_all_messages(session, wire):
    await session.submit(message())
    wire.delay = 0.01
    wire.good = set()
    assert await submit_many(session, 50) == ["accepted"] * 50
    assert wire.tokens == 2
    assert wire.shown.count("token-1") == 51  # each was refused with it, which proves that none was taken


async def test_a_late_refusal_of_the_old_token_does_not_cost_the_new_one(session, wire):
    await session.submit(message())
    wire.good = set()
    wire.delay = 0.05
    late = asyncio.create_task(session.submit(message()))
    await asyncio.sleep(0.02)
    assert (await session.submit(message())).kind == "accepted"
    assert (await late).kind == "accepted"
    assert wire.tokens == 2


async def test_a_second_refusal_stops_for_it_is_not_the_tokens_age(session, wire):
    wire.takes_tokens = False
    outcome = await session.submit(message())
    assert outcome.kind == "stop"
    assert "a new token is refused too" in outcome.answer
    assert "token-" not in outcome.answer
    assert (wire.tokens, len(wire.shown)) == (2, 2)


async def test_a_message_is_never_submitted_again_for_another_reason(session, wire):
    for said in (TransportFailure("in_doubt", "no answer"), answer(500, {}), answer(503, {})):
        wire.submits = [said]
        await session.submit(message())
    assert len(wire.shown) == 3


@pytest.mark.parametrize("kind", ["in_doubt", "not_sent"])
async def test_without_an_answer_about_the_token_no_message_is_in_doubt(session, wire, kind):
    wire.token_answer = TransportFailure(kind, "no complete answer within 30 s")
    outcome = await session.submit(message())
    assert outcome.kind == "refused"
    assert outcome.answer == "no token: no complete answer within 30 s"
    assert wire.shown == []


async def test_all_who_wait_for_a_token_share_the_failure(session, wire):
    wire.token_answer = TransportFailure("in_doubt", "no complete answer within 30 s")
    wire.delay = 0.2
    began = time.monotonic()
    assert await submit_many(session, 50) == ["refused"] * 50
    assert time.monotonic() - began < 2  # one after the other: 10 s, and at 30 s each beyond their leases
    assert wire.tokens == 1
    wire.token_answer = None
    assert (await session.submit(message())).kind == "accepted"


async def test_refused_credentials_stop(session, wire):
    wire.token_answer = answer(401, {"error": "invalid_client"})
    assert await submit_many(session, 5) == ["stop"] * 5
    assert (wire.tokens, wire.shown) == (1, [])


async def test_who_gives_up_waiting_leaves_the_others_their_token(session, wire):
    wire.delay = 0.1
    first = asyncio.create_task(session.submit(message()))
    await asyncio.sleep(0.02)
    second = asyncio.create_task(session.submit(message()))
    await asyncio.sleep(0.02)
    first.cancel()
    assert (await second).kind == "accepted"
    assert wire.tokens == 1


async def test_a_question_renews_the_token_once_too(session, wire):
    await session.submit(message())
    wire.good = set()
    assert (await session.balance()).amount == 0
    wire.takes_tokens = False
    with pytest.raises(ProviderSilent, match="401"):
        await session.balance()
    wire.token_answer = answer(401, {"error": "invalid_client"})
    with pytest.raises(ProviderSilent, match="no token: status 401, invalid_client"):
        await session.balance()
    assert wire.tokens == 4
