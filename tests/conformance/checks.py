"""What every adapter must do, whoever the provider is. Each check is a sentence of the table of results.

A check that needs what a provider does not offer is left out for it: see `applies`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from fatoura.errors import BadInput
from fatoura.gateways import MessageUnfit, create_gateway
from fatoura.gateways.session import ProviderSilent
from fatoura.notices.states import State
from tests.conformance.ground import SENDER, Ground
from tests.conformance.relay import AFTER_IT_WAS_TAKEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fatoura.gateways import Capabilities
    from tests.conformance.provider import Provider

ARABIC = "الستاغ: المبلغ المطلوب 123,456 د. الرجاء الدفع قبل 25/06/2026"
SPECIAL = "é è à ù ì ò Ç @ £ § Ñ ¿ € [ ] { } \\ ^ ~ | & = + % # ? ; : / \" ' < > ! $ * ( ) , . - _\n2"
OUTSIDE_GSM7 = "« L’échéance est fixée : forêt, œuvre, 10 °C »"

_ALL: dict[str, tuple[Callable[[Ground], Awaitable[None]], Callable[[Need], bool]]] = {}


@dataclass(frozen=True)
class Need:
    """What decides whether a check applies: what the provider offers, and what its adapter declares."""

    provider: type[Provider]
    can: Capabilities


def check(
    sentence: str, applies: Callable[[Need], bool] = lambda need: True
) -> Callable[[Callable[[Ground], Awaitable[None]]], Callable[[Ground], Awaitable[None]]]:
    """Add a check to the table."""

    def add(function: Callable[[Ground], Awaitable[None]]) -> Callable[[Ground], Awaitable[None]]:
        _ALL[sentence] = (function, applies)
        return function

    return add


def sentences() -> list[str]:
    """Return all checks, in the order of the table."""
    return list(_ALL)


def applies(sentence: str, provider: Provider) -> bool:
    """Tell whether a check is for this provider."""
    gateway = create_gateway(provider.adapter, provider.config("fatoura_sms", "http://127.0.0.1:9"))
    return _ALL[sentence][1](Need(type(provider), gateway.capabilities))


async def run(sentence: str, provider: Provider) -> None:
    """Run a check; raises what is wrong."""
    timeout = 1.5 if "no answer" in sentence else 10
    async with Ground(provider, timeout=timeout) as ground:
        await _ALL[sentence][0](ground)


# --- What a message goes through


@check("a message arrives once, with its number, text and sender")
async def submits(ground: Ground) -> None:
    message = ground.message()
    outcome = await ground.submit(message)
    assert outcome.kind == "accepted", outcome
    (arrived,) = await ground.arrived(1)
    assert (arrived.phone, arrived.text, arrived.sender) == (message.phone, message.text, SENDER)
    can = ground.gateway.capabilities
    if not can.client_reference or can.receipts == "poll":
        assert outcome.provider_id, "without an id of the provider no receipt ever finds its notice"


async def _arrives(ground: Ground, text: str) -> None:
    outcome = await ground.submit(ground.message(text))
    assert outcome.kind == "accepted", outcome
    (arrived,) = await ground.arrived(1)
    assert arrived.text == text


@check("Arabic arrives unchanged")
async def arabic(ground: Ground) -> None:
    await _arrives(ground, ARABIC)


@check("special characters of GSM-7 arrive unchanged")
async def special(ground: Ground) -> None:
    await _arrives(ground, SPECIAL)


@check("letters outside GSM-7 arrive unchanged")
async def outside_gsm7(ground: Ground) -> None:
    await _arrives(ground, OUTSIDE_GSM7)


@check("a message of as many segments as declared arrives whole")
async def long(ground: Ground) -> None:
    longest = ground.gateway.capabilities.longest_segments
    await _arrives(ground, "x" * (160 if longest == 1 else 153 * longest - 1) + "é")


@check("the same in Arabic")
async def long_arabic(ground: Ground) -> None:
    longest = ground.gateway.capabilities.longest_segments
    await _arrives(ground, "ع" * (70 if longest == 1 else 67 * longest))


@check("a message of more segments is not handed over")
async def too_long(ground: Ground) -> None:
    longest = ground.gateway.capabilities.longest_segments
    message = ground.message("x" * (153 * longest + 8))
    with pytest.raises(MessageUnfit) as unfit:
        await ground.submit(message)
    ground.shown.append(str(unfit.value))
    assert ground.provider.arrived() == []


_SPOILED = {
    "a number without its country": {"phone": "20000000"},
    "a number with blanks": {"phone": "+216 20 000 000"},
    "no text": {"text": ""},
    "a character that no phone shows": {"text": "STEG\x00"},
    "a sender that is too long": {"sender": "TOO-LONG-NAME"},
    "more segments than were planned": {"text": "ê" * 71},
}


@check("what the provider would take and spoil is not handed over")
async def spoiled(ground: Ground) -> None:
    for what, change in _SPOILED.items():
        message = replace(ground.message(), **change)  # type: ignore[arg-type]
        try:
            await ground.submit(message)
        except MessageUnfit as unfit:
            ground.shown.append(str(unfit))
            continue
        raise AssertionError(f"handed over: {what}")
    assert ground.provider.arrived() == []


@check("a validity period arrives", lambda need: need.can.validity)
async def validity(ground: Ground) -> None:
    await ground.submit(ground.message(validity_minutes=135))
    (arrived,) = await ground.arrived(1)
    assert arrived.minutes is not None
    assert abs(arrived.minutes - 135) <= 1


@check("of many at once each arrives once, and each answer is its own")
async def many(ground: Ground) -> None:
    messages = [ground.message(f"STEG: facture {number:05d}") for number in range(60)]
    outcomes = await asyncio.gather(*map(ground.submit, messages))
    assert Counter(one.kind for one in outcomes) == {"accepted": 60}
    arrived = await ground.arrived(60)
    assert {one.phone: one.text for one in arrived} == {one.phone: one.text for one in messages}
    ids = [one.provider_id for one in outcomes if one.provider_id is not None]
    assert len(set(ids)) == len(ids)


@check("a repeat is recognised", lambda need: need.can.idempotency)
async def repeat(ground: Ground) -> None:
    message = ground.message()
    await ground.submit(message)
    assert (await ground.submit(replace(message, attempt=2))).kind == "accepted"
    await ground.arrived(1)


# --- What a provider says instead


@check("each of its own answers is what its documents say", lambda need: bool(need.provider.answers))
async def answers(ground: Ground) -> None:
    expected = ground.provider.answers
    assert {"refused", "rejected", "stop"} <= set(expected.values()), "the provider's fake says too little"
    told = {}
    for how, kind in expected.items():
        ground.provider.answer(how)
        before = len(ground.provider.arrived())
        told[how] = (await ground.submit(ground.message())).kind
        taken = len(ground.provider.arrived()) - before
        assert kind == "in_doubt" or taken == (kind == "accepted"), how
    assert told == dict(expected)
    ground.provider.answer(None)
    assert (await ground.submit(ground.message())).kind == "accepted"


@check("wrong credentials stop the gateway")
async def wrong_credentials(ground: Ground) -> None:
    wrong = replace(ground.config(), password="not-the-password-at-all")
    _, session = ground.connect(wrong)
    outcome = await ground.submit(ground.message(), session)
    assert outcome.kind == "stop", outcome
    assert ground.provider.arrived() == []
    assert "not-the-password" not in "".join(ground.shown)


@check(
    "a token that is no longer good is renewed, and the message goes out once",
    lambda need: need.provider.gives_tokens,
)
async def renewed(ground: Ground) -> None:
    assert (await ground.submit(ground.message())).kind == "accepted"
    ground.provider.forget_tokens()
    assert (await ground.submit(ground.message())).kind == "accepted"
    await ground.arrived(2)


async def _through(ground: Ground, fault: str) -> str:
    """Submit through a fault, once everything that comes before a submit is there."""
    assert (await ground.submit(ground.message())).kind == "accepted"
    await ground.arrived(1)
    ground.relay.fault = fault
    return (await ground.submit(ground.message())).kind


@check("429 is a refusal, nothing is taken")
async def throttled(ground: Ground) -> None:
    assert await _through(ground, "429") == "refused"
    await ground.arrived(1)


@check("503 is a refusal, nothing is taken")
async def unavailable(ground: Ground) -> None:
    assert await _through(ground, "503") == "refused"
    await ground.arrived(1)


@check("a page instead of an answer leaves it open")
async def page(ground: Ground) -> None:
    assert await _through(ground, "a page instead of an answer") == "in_doubt"


@check("nobody listens: a refusal")
async def gone(ground: Ground) -> None:
    assert (await ground.submit(ground.message())).kind == "accepted"
    await ground.relay.go()
    assert (await ground.submit(ground.message())).kind == "refused"


def _left_open(fault: str) -> None:
    @check(f"taken, but {fault}: in doubt, and not tried again")
    async def left_open(ground: Ground) -> None:
        assert await _through(ground, fault) == "in_doubt"
        await ground.arrived(2)


for _fault in AFTER_IT_WAS_TAKEN:
    _left_open(_fault)


# --- What becomes of it


@check("a receipt of each word is read as the state that it means")
async def words(ground: Ground) -> None:
    told = {}
    for word, state in ground.provider.words.items():
        message = ground.message(phone=ground.provider.phone(word), attempt=3)
        outcome = await ground.submit(message)
        assert outcome.kind == "accepted", outcome
        await ground.provider.report(message.phone, word)
        told[word] = await _state_of(ground, message, outcome, state)
    assert told == dict(ground.provider.words)


async def _state_of(ground: Ground, message, outcome, expected: State) -> State | None:  # type: ignore[no-untyped-def]
    """Return the state that is known in the end; an intermediate one only when there is no other."""
    found: list[State] = []

    async def look() -> bool:
        nonlocal found
        found = [one.status for one in await ground.receipts(message, outcome)]
        return expected in found

    for _ in range(500):
        if await look():
            break
        await asyncio.sleep(0.02)
    finals = [state for state in found if state is not State.ACCEPTED]
    assert len(set(finals)) <= 1, finals
    return finals[0] if finals else (State.ACCEPTED if found else None)


@check("many are asked for in groups no larger than declared", lambda need: need.can.status_query)
async def groups(ground: Ground) -> None:
    at_once = ground.gateway.capabilities.statuses_at_once
    word = next(word for word, state in ground.provider.words.items() if state is State.DELIVERED)
    messages = [ground.message(phone=ground.provider.phone(word)) for _ in range(2 * at_once + 1)]
    outcomes = await asyncio.gather(*map(ground.submit, messages))
    for message in messages:
        await ground.provider.report(message.phone, word)
    ids = [one.provider_id for one in outcomes if one.provider_id]
    found = await ground.session.statuses(ids)
    assert sorted(one.provider_id or "" for one in found) == sorted(ids)
    assert {one.status for one in found} == {State.DELIVERED}
    assert max(map(len, ground.provider.asked)) <= at_once


@check("an id that it does not know settles nothing", lambda need: need.can.status_query)
async def unknown_id(ground: Ground) -> None:
    try:
        found = await ground.session.statuses(["999999999"])
    except BadInput as problem:
        ground.shown.append(str(problem))
        return
    assert all(one.status is State.ACCEPTED for one in found), found


@check("a provider that cannot be asked is silent, and nothing else", lambda need: need.can.status_query)
async def silent(ground: Ground) -> None:
    ground.relay.fault = "503"
    with pytest.raises(ProviderSilent) as problem:
        await ground.session.statuses(["1"])
    ground.shown.append(str(problem.value))


@check("the balance is read", lambda need: need.can.balance)
async def balance(ground: Ground) -> None:
    assert str((await ground.session.balance()).amount) == ground.provider.balance


# --- What shows of all that


@check("no number, no text and no secret shows anywhere")
async def nothing_shows(ground: Ground) -> None:
    """Every check looks for this at its end; this one makes as much show as possible."""
    messages = [ground.message(), ground.message(ARABIC), ground.message(SPECIAL)]
    for how in [*ground.provider.answers, None]:
        if how or ground.provider.answers:
            ground.provider.answer(how)
        for message in messages:
            await ground.submit(replace(message, phone=ground.message().phone))
    for fault in ("429", "503", "a page instead of an answer", "a reset", "half an answer", "502"):
        ground.relay.fault = fault
        await ground.submit(ground.message())
        if ground.gateway.capabilities.status_query:
            with pytest.raises(BadInput) as problem:
                await ground.session.statuses(["1"])
            ground.shown.append(str(problem.value))
    ground.relay.fault = None
