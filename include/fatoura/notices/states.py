"""The one state machine of a notice. The database refuses what this module forbids.

SMPP's names where one exists. States only move forward; the one way back to `planned` is the proof that
nothing was accepted: a refusal, or a person's word on a doubt. A notice in doubt goes out again only where
its kind's policy says so, and then straight to `sending`: a receipt that comes meanwhile still finds it.
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


class Decision(StrEnum):
    """What a person found out of a notice in doubt, or decided to take it for."""

    ACCEPTED = "accepted"  # the provider confirms that it has it; its receipt still counts
    NOT_ACCEPTED = "not_accepted"  # proven not taken: it may go out again
    UNDELIVERABLE = "undeliverable"  # taken as not received, for good: a warning counts as not warned


DECIDED: dict[Decision, State] = {
    Decision.ACCEPTED: State.ACCEPTED,
    Decision.NOT_ACCEPTED: State.PLANNED,
    Decision.UNDELIVERABLE: State.UNDELIVERABLE,
}
"""Where a decision moves a notice that is in doubt."""

FINAL = frozenset({State.DELIVERED, State.UNDELIVERABLE, State.EXPIRED, State.REJECTED, State.CANCELLED})

# A receipt can outrun our own write of the answer, so it may move a notice from `sending` at once.
_BY_RECEIPT = frozenset({State.DELIVERED, State.UNDELIVERABLE, State.EXPIRED, State.REJECTED})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.PLANNED: frozenset({State.SENDING, State.CANCELLED}),
    State.SENDING: frozenset({State.PLANNED, State.IN_DOUBT, State.ACCEPTED}) | _BY_RECEIPT,
    State.IN_DOUBT: frozenset({State.PLANNED, State.SENDING, State.ACCEPTED}) | _BY_RECEIPT,
    State.ACCEPTED: _BY_RECEIPT,
    **{state: frozenset() for state in FINAL},
}

# After a first attempt even a planned notice may be settled: the provider's receipt is a stronger word than
# our own inference that it had refused.
TRANSITIONS_AFTER_AN_ATTEMPT: dict[State, frozenset[State]] = {
    **TRANSITIONS,
    State.PLANNED: TRANSITIONS[State.PLANNED] | _BY_RECEIPT,
}


def may_move(old: State, new: State, *, attempts: int) -> bool:
    """Tell whether a notice in `old`, after so many attempts, may become `new`."""
    return new in (TRANSITIONS_AFTER_AN_ATTEMPT if attempts else TRANSITIONS)[old]
