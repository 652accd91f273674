"""The one state machine of a charge, and the accounts of the journal. The database refuses what it forbids.

A charge is what one subscription costs in one year. It goes forward only, whatever the order in which the
billing system's answers arrive: each state has a rank, and of two answers the one that ranks higher stands.
"""

from __future__ import annotations

from enum import StrEnum


class ChargeState(StrEnum):
    """Where a charge stands, in the order of rank."""

    ANNOUNCED = "announced"  # the customer is told of it; nothing is owed yet
    DUE = "due"  # owed, and the billing system is to be told
    FILED = "filed"  # it stands in a file for the billing system
    REJECTED = "rejected"  # the billing system cannot charge it
    ACCEPTED = "accepted"  # the billing system has put it on the customer's account
    REFUSED = "refused"  # the customer does not pay it
    PAID = "paid"
    REFUNDED = "refunded"  # paid, and given back on our order
    TAKEN_BACK = "taken_back"  # paid, and the payment was taken back
    WAIVED = "waived"  # nobody pays it, and the year counts as paid
    WITHDRAWN = "withdrawn"  # nobody pays it, and the year does not count


TRANSITIONS: dict[ChargeState, frozenset[ChargeState]] = {
    ChargeState.ANNOUNCED: frozenset({ChargeState.DUE, ChargeState.WAIVED, ChargeState.WITHDRAWN}),
    ChargeState.DUE: frozenset({ChargeState.FILED, ChargeState.WAIVED, ChargeState.WITHDRAWN}),
    ChargeState.FILED: frozenset(
        {
            ChargeState.REJECTED,
            ChargeState.ACCEPTED,
            ChargeState.REFUSED,
            ChargeState.PAID,
            ChargeState.WAIVED,
            ChargeState.WITHDRAWN,
        }
    ),
    ChargeState.REJECTED: frozenset(
        {
            ChargeState.ACCEPTED,
            ChargeState.REFUSED,
            ChargeState.PAID,
            ChargeState.WAIVED,
            ChargeState.WITHDRAWN,
        }
    ),
    ChargeState.ACCEPTED: frozenset(
        {ChargeState.REFUSED, ChargeState.PAID, ChargeState.WAIVED, ChargeState.WITHDRAWN}
    ),
    ChargeState.REFUSED: frozenset({ChargeState.PAID, ChargeState.WAIVED, ChargeState.WITHDRAWN}),
    ChargeState.PAID: frozenset({ChargeState.REFUNDED, ChargeState.TAKEN_BACK}),
    ChargeState.REFUNDED: frozenset(),
    # Owed again: by the same rules as before it was paid, but nobody asks for it any more.
    ChargeState.TAKEN_BACK: frozenset({ChargeState.WAIVED, ChargeState.WITHDRAWN}),
    ChargeState.WAIVED: frozenset(),
    ChargeState.WITHDRAWN: frozenset(),
}

FIRST = frozenset({ChargeState.ANNOUNCED, ChargeState.WAIVED})
"""What a charge begins as: a year that is free is announced to nobody."""

OWED = frozenset(
    {
        ChargeState.DUE,
        ChargeState.FILED,
        ChargeState.REJECTED,
        ChargeState.ACCEPTED,
        ChargeState.REFUSED,
        ChargeState.TAKEN_BACK,
    }
)
"""Something of it is owed."""

OPEN = (OWED | {ChargeState.ANNOUNCED}) - {ChargeState.REJECTED}
"""No further year of its subscription is announced meanwhile."""

LAPSES = frozenset({ChargeState.ACCEPTED, ChargeState.REFUSED, ChargeState.TAKEN_BACK})
"""For want of such a charge a subscription lapses, once its grace is over. Not for one that was rejected or
has no answer: its customer was never asked."""


def may_move(old: ChargeState, new: ChargeState) -> bool:
    """Tell whether a charge in `old` may become `new`."""
    return new in TRANSITIONS[old]


def listed(states: frozenset[ChargeState]) -> str:
    """Return states as SQL lists them."""
    return ", ".join(f"'{state}'" for state in ChargeState if state in states)


class Account(StrEnum):
    """An account of the journal. What is put on one is taken from another."""

    RECEIVABLE = "receivable"  # what customers owe
    INCOME = "income"  # fees charged
    COLLECTED = "collected"  # what the billing system holds for the service
    WAIVED = "waived"  # forgone: exemptions, the trial
    GIVEN_UP = "given_up"  # forgone: the subscription has ended, or begun anew
    CREDITED = "credited"  # taken off charges, before or after they were paid
    PAYABLE = "payable"  # to be given back to customers
