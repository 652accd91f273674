"""The codes of fees in plain English: states of charges, accounts, reasons, answers; the rules in sentences.

Read by the history of a subscription, by the command and by generated parts of the docs. It knows no charge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.dates import say_day
from fatoura.fees.rules import GivenBack
from fatoura.fees.states import Account, ChargeState
from fatoura.money import format_amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fatoura.fees.rules import FeeRules

STATES: Mapping[ChargeState, str] = {
    ChargeState.ANNOUNCED: "the customer is told of it, and nothing is owed yet",
    ChargeState.DUE: "owed; it goes into the next file for the billing system",
    ChargeState.FILED: "the billing system was told to charge it, and has not answered",
    ChargeState.REJECTED: "the billing system cannot charge it: somebody has to look at it",
    ChargeState.ACCEPTED: "it stands on the customer's account",
    ChargeState.REFUSED: "the customer does not pay it",
    ChargeState.PAID: "paid",
    ChargeState.REFUNDED: "paid, and given back on our order; its year stays paid",
    ChargeState.TAKEN_BACK: "paid, and the payment was taken back: owed again",
    ChargeState.WAIVED: "nobody pays it, and its year counts as paid",
    ChargeState.WITHDRAWN: "nobody pays it, and its year does not count",
}
"""What each state of a charge means."""

ACCOUNTS: Mapping[Account, str] = {
    Account.RECEIVABLE: "what customers owe",
    Account.INCOME: "fees charged, also of years that are waived",
    Account.COLLECTED: "what the billing system has collected and kept",
    Account.WAIVED: "forgone for exemptions and the trial",
    Account.GIVEN_UP: "forgone because a subscription has ended or begun anew",
    Account.CREDITED: "taken off charges by corrections and refunds",
    Account.PAYABLE: "what is to be given back to customers",
}
"""What is on each account."""

_BECAUSE: Mapping[str, str] = {
    "trial": "the trial was running when the year began",
    "first_year": "the first year is free",
    "left": "the customer has left",
    "contract_ended": "the contract has ended",
    "crossed_out": "the coupon was crossed out",
    "erased": "the customer's data were erased",
    "ended": "the subscription has ended",
    "subscribed_again": "the customer has subscribed again after the lapse",
    "held_after_all": "the billing system charges after all what it had rejected",
    "outdated": "the year went by while the subscription was suspended",
}

ANSWERS: Mapping[str, str] = {
    "accepted": "has put the charge on the customer's account",
    "rejected": "cannot charge it",
    "paid": "was paid",
    "refused": "says that the customer does not pay it",
    "refunded": "has given back",
}
"""What the billing system can answer: what follows "the billing system"."""

_GIVEN_BACK = {
    GivenBack.NOTHING: "nothing is given back",
    GivenBack.UNUSED_MONTHS: "whole unused months are given back",
    GivenBack.EVERYTHING: "everything is given back",
}
_ENDS = {
    "contract_ended": "the contract has ended",
    "left": "the customer leaves",
    "erased": "the customer's data are erased",
    "crossed_out": "the coupon is crossed out",
}


def amount(millimes: int) -> str:
    """Write an amount: ``1,000 DT``."""
    return f"{format_amount(millimes, 'fr')} DT"


def because(code: str | None) -> str:
    """Say a reason as what follows "because"; an exemption's code and a person's words stand as they are."""
    return _BECAUSE.get(code or "", f"of “{code}”" if code else "of a decision")


def say_rules(rules: FeeRules) -> list[str]:
    """Say a version of the rules, a sentence each."""
    trial = {
        "study": "Those drawn for the study pay",
        "all": "Everybody pays",
        "nobody": None,
    }[rules.trial.of]
    first = "charged as any other" if rules.first_year == "charged" else "free"
    silent = [
        name
        for name, is_said in (("that the fee was paid", rules.say.renewed), ("of a lapse", rules.say.lapsed))
        if not is_said
    ]
    return [
        f"Version {rules.version}, in force from {say_day(rules.valid_from)} on.",
        f"A year costs {amount(rules.price_millimes)}; the first one is {first}.",
        f"A year is announced up to {rules.announce_days_ahead} days before its first day, and charged up to "
        f"{rules.charge_days_ahead} days before it, once its announcement has left and "
        f"{rules.announced_for_days} days have passed.",
        f"A year that began more than {rules.back_dated_days} days ago is not charged: it counts from today "
        "on instead.",
        f"The billing system has {rules.answered_within_days} days to answer for a charge.",
        f"A subscription lapses when its fee is unpaid {rules.grace_days} days after the year's first day, "
        "after the billing system was told, and after it accepted the charge if it did so late; not before "
        "its answers are known up to then, and never for a charge that it has not accepted.",
        *([f"{trial} nothing for years that begin up to {say_day(rules.trial.until)}."] if trial else []),
        f"Exemptions: {', '.join(rules.exemptions) or 'none'}; a year that begins while one holds is free.",
        *(
            f"When {_ENDS[end]}, {_GIVEN_BACK[given_back]} of a paid year."
            for end, given_back in rules.at_the_end.items()
        ),
        *([f"Customers are not told {' nor '.join(silent)}."] if silent else []),
    ]
