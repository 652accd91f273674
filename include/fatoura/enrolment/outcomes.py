"""What becomes of coupons, and why a clerk has to look at one. Codes; the words are in `words.yaml`."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What became of a coupon."""

    ENROLLED = "enrolled"  # it began a subscription, or took up one that had lapsed
    CHANGED = "changed"  # its number or language is the subscription's now
    UNCHANGED = "unchanged"  # it says what stands; a newer signature becomes the consent that stands
    SUPERSEDED = "superseded"  # an older signature than the consent that stands, or a clerk chose another
    CROSSED_OUT = "crossed_out"  # void; whatever it had brought about is taken back
    WAITS = "waits"  # its customer is not known yet; looked at again at each intake
    REFUSED = "refused"  # a clerk has to look at it, or has refused it


COUNTED = (Outcome.ENROLLED, Outcome.CHANGED, Outcome.UNCHANGED)
"""Outcomes of coupons whose consent was taken."""


class Reason(StrEnum):
    """Why a coupon is refused."""

    REFERENCE_UNKNOWN = "reference_unknown"
    CONTRACT_CLOSED = "contract_closed"
    LEFT_SINCE = "left_since"
    LEFT_SAME_DAY = "left_same_day"
    CONFLICTING_COUPONS = "conflicting_coupons"
    OTHER_CHANNEL_SAME_DAY = "other_channel_same_day"
    MANY_CONTRACTS = "many_contracts"
    REFUSED_BY_CLERK = "refused_by_clerk"


ACCEPTABLE = (
    Reason.LEFT_SAME_DAY,
    Reason.CONFLICTING_COUPONS,
    Reason.OTHER_CHANNEL_SAME_DAY,
    Reason.MANY_CONTRACTS,
    Reason.REFUSED_BY_CLERK,
)
"""Reasons over which a clerk may accept a coupon. Over the others nobody may: a new signature is needed."""
