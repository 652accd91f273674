"""Why a case is not warned: the codes that decisions and cases hold, and what each leads to.

The one list. Reports and explanations have words for each; a test sees to it.
"""

from __future__ import annotations

from enum import StrEnum

from fatoura.cutoff.states import CaseState


class Reason(StrEnum):
    """Why a bill's customer is not, or not by message, warned."""

    PAID = "paid"
    # Left out by a rule.
    CORRECTED = "corrected"  # a later revision of the bill stands
    CANCELLED = "cancelled"
    CONTRACT_ENDED = "contract_ended"
    DISPUTE = "dispute"
    PROTECTED = "protected"
    PAYMENT_PLAN = "payment_plan"
    ESTIMATE_REVIEW = "estimate_review"
    DIRECT_DEBIT = "direct_debit"
    UNDER_MINIMUM = "under_minimum"
    PAYMENT_PENDING = "payment_pending"  # a row about it was set aside, and nobody has settled it yet
    PAID_BY_LATER_BILL = "paid_by_later_bill"  # which carries what this one left over
    CREDIT_BALANCE = "credit_balance"  # paid too much elsewhere, as much as is owed here
    # No message reaches the customer, or none did: a letter has to.
    NO_CONSENT = "no_consent"
    NO_PHONE = "no_phone"
    NUMBER_CHANGED = "number_changed"
    UNDELIVERED = "undelivered"
    NO_FINAL_RECEIPT = "no_final_receipt"  # nobody can say whether it arrived, and the horizon has passed


LETTERS = frozenset(
    {
        Reason.NO_CONSENT,
        Reason.NO_PHONE,
        Reason.NUMBER_CHANGED,
        Reason.UNDELIVERED,
        Reason.NO_FINAL_RECEIPT,
    }
)
"""Reasons for a letter: the debt stands, but no message tells of it."""

SETTLED = frozenset({Reason.PAID, Reason.UNDER_MINIMUM, Reason.PAID_BY_LATER_BILL, Reason.CREDIT_BALANCE})
"""Reasons that a payment brought about: who was warned before is told that it has arrived."""


def state_of(reason: Reason) -> CaseState:
    """Return the state that a case takes for a reason."""
    if reason is Reason.PAID:
        return CaseState.PAID
    return CaseState.NOT_WARNED if reason in LETTERS else CaseState.EXCLUDED
