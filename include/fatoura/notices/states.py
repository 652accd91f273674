"""The one state machine of a notice. The database refuses what this module forbids.

SMPP's names where one exists. States only move forward; the two ways back to `planned` are a refusal
that proves that nothing was accepted, and a declared policy for a notice in doubt.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a notice stands."""

    PLANNED = "planned"
    SENDING = "sending"  # claimed: a request may be under way
    IN_DOUBT = "in_doubt"  # the request may or may not have been accepted
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    UNDELIVERABLE = "undeliverable"
    EXPIRED = "expired"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


FINAL = frozenset({State.DELIVERED, State.UNDELIVERABLE, State.EXPIRED, State.REJECTED, State.CANCELLED})

# A receipt can outrun our own write of the answer, so it may move a notice from `sending` at once.
_AFTER_A_RECEIPT = frozenset({State.DELIVERED, State.UNDELIVERABLE, State.EXPIRED, State.REJECTED})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.PLANNED: frozenset({State.SENDING, State.CANCELLED}),
    State.SENDING: frozenset({State.PLANNED, State.IN_DOUBT, State.ACCEPTED}) | _AFTER_A_RECEIPT,
    State.IN_DOUBT: frozenset({State.PLANNED, State.ACCEPTED}) | _AFTER_A_RECEIPT,
    State.ACCEPTED: _AFTER_A_RECEIPT,
    **{state: frozenset() for state in FINAL},
}


def may_move(old: State, new: State) -> bool:
    """Tell whether a notice in `old` may become `new`."""
    return new in TRANSITIONS[old]
