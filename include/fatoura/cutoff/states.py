"""The one state machine of a cut-off case. The database refuses what this module forbids.

A case is one claim on one bill: it goes forward only. When a cheque bounces, or what left a customer out
ends, the bill gets a case with the next sequence, which has its warnings and its notice period anew.
"""

from __future__ import annotations

from enum import StrEnum


class CaseState(StrEnum):
    """Where a case stands."""

    SCHEDULED = "scheduled"  # nothing that counts as a notice has reached the customer
    WARNED = "warned"  # the warning was delivered
    WARNED_AGAIN = "warned_again"  # the second one too
    HANDED_OVER = "handed_over"  # to the field team
    NOT_WARNED = "not_warned"  # no message can tell this customer: a letter or a visit has to
    PAID = "paid"
    EXCLUDED = "excluded"  # left out by a rule; the reason says which


TRANSITIONS: dict[CaseState, frozenset[CaseState]] = {
    CaseState.SCHEDULED: frozenset(
        {CaseState.WARNED, CaseState.NOT_WARNED, CaseState.PAID, CaseState.EXCLUDED}
    ),
    CaseState.WARNED: frozenset(
        {
            CaseState.WARNED_AGAIN,
            CaseState.HANDED_OVER,
            CaseState.NOT_WARNED,
            CaseState.PAID,
            CaseState.EXCLUDED,
        }
    ),
    CaseState.WARNED_AGAIN: frozenset({CaseState.HANDED_OVER, CaseState.PAID, CaseState.EXCLUDED}),
    # Who pays late is taken off the letters and off the teams' lists.
    CaseState.HANDED_OVER: frozenset({CaseState.PAID, CaseState.EXCLUDED}),
    CaseState.NOT_WARNED: frozenset({CaseState.PAID, CaseState.EXCLUDED}),
    CaseState.PAID: frozenset(),
    CaseState.EXCLUDED: frozenset(),
}

CLOSED = frozenset({CaseState.PAID, CaseState.EXCLUDED})
"""Nothing more happens to such a case; its bill may get another."""

OPEN = frozenset(CaseState) - CLOSED


def may_move(old: CaseState, new: CaseState) -> bool:
    """Tell whether a case in `old` may become `new`."""
    return new in TRANSITIONS[old]
