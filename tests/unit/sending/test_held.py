"""Claims that wait to be sent: none is handed out when its lease may be over, and none is forgotten."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest

from fatoura.gateways.interface import Message
from fatoura.sending.claims import Claim
from fatoura.sending.held import Held, Look

LATER = datetime(2026, 5, 20, 19, tzinfo=UTC)
LEASE = timedelta(seconds=10)


def claim_of(number: int) -> Claim:
    message = Message(UUID(int=number), 1, "+21620000000", "text", "gsm7", 1, 60, "STEG", "")  # invented
    return Claim(message, LATER, 50)


class Queue:
    """Twenty notices to claim; remembers what came back."""

    def __init__(self) -> None:
        self.left = [claim_of(number) for number in range(20)]
        self.back: list[Message] = []
        self.takes_seconds = 0.0

    def claim(self, most: int, more_urgent_than: int | None) -> Look:
        claimed, self.left = self.left[:most], self.left[most:]
        clock.forward(self.takes_seconds)
        self.takes_seconds = 0.0
        return Look(claimed, LATER)

    async def give_back(self, messages: list[Message]) -> None:
        self.back += messages

    def held(self) -> Held:
        return Held(self.claim, self.give_back, first=20, most=20, lease=LEASE)


class Clock:
    """The machine's monotonic clock, moved on by the test."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def forward(self, seconds: float) -> None:
        self.ahead += seconds

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


clock = Clock()


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    clock.ahead = 0.0
    monkeypatch.setattr("fatoura.sending.held.time", SimpleNamespace(monotonic=clock))


async def test_what_is_claimed_is_handed_out_in_its_order_and_the_rest_given_back():
    queue = Queue()
    held = queue.held()
    for number in range(3):
        assert (await held.first()) == claim_of(number)
        assert held.take() == claim_of(number)
    await held.close()
    assert [message.id.int for message in queue.back] == list(range(19, 2, -1))


async def test_a_claim_that_waited_too_long_is_given_back_and_not_handed_out():
    queue = Queue()
    held = queue.held()
    await held.first()
    assert not held.is_stale()
    clock.forward(LEASE.total_seconds())
    assert held.is_stale()
    assert await held.first() is None
    await held.close()
    assert len(queue.back) == 20


async def test_the_lease_runs_while_the_claim_is_being_made():
    """The process may stand still between the claim and the look at it, as on a suspended machine."""
    queue = Queue()
    queue.takes_seconds = LEASE.total_seconds()
    held = queue.held()
    assert await held.first() is None
    await held.close()
    assert len(queue.back) == 20
