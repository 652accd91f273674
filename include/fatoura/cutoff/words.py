"""The codes of cut-off cases in plain English: states, reasons, verdicts, facts, channels, kinds of message.

Read by explanations, by the command and by the generated page of the docs. It knows no case; reports have
words of their own, in their two languages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.cutoff.reasons import Reason
from fatoura.cutoff.rules import Channel, Fact
from fatoura.cutoff.states import CaseState
from fatoura.dates import say_day
from fatoura.money import format_amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fatoura.cutoff.rules import Step, Version

STATES: Mapping[CaseState, str] = {
    CaseState.SCHEDULED: "no message that counts as a warning has reached the customer",
    CaseState.WARNED: "the warning was delivered",
    CaseState.WARNED_AGAIN: "the second warning was delivered too",
    CaseState.HANDED_OVER: "the field team has it on its list",
    CaseState.NOT_WARNED: "no message can warn this customer: a letter or a visit has to",
    CaseState.PAID: "the bill is paid",
    CaseState.EXCLUDED: "left out by a rule, whose reason is recorded",
}
"""What each state of a case means."""

REASONS: Mapping[Reason, str] = {
    Reason.PAID: "the bill is paid",
    Reason.CORRECTED: "the bill was corrected since",
    Reason.CANCELLED: "the bill was cancelled",
    Reason.CONTRACT_ENDED: "the contract has ended",
    Reason.DISPUTE: "the customer disputes the bill",
    Reason.PROTECTED: "the customer is protected from cuts",
    Reason.PAYMENT_PLAN: "a payment plan was agreed",
    Reason.ESTIMATE_REVIEW: "the estimate that the bill rests on is being reviewed",
    Reason.DIRECT_DEBIT: "the customer pays by direct debit",
    Reason.UNDER_MINIMUM: "what is left to pay is under the minimum",
    Reason.PAYMENT_PENDING: "a row about it was set aside from a feed, and nobody has settled it yet",
    Reason.PAID_BY_LATER_BILL: "a later bill, which holds what this one left over, is settled",
    Reason.CREDIT_BALANCE: "the customer has paid as much too much on other bills",
    Reason.NO_CONSENT: "the customer has no subscription in force",
    Reason.NO_PHONE: "no phone number of the customer is known",
    Reason.NUMBER_CHANGED: "the customer's number has changed",
    Reason.UNDELIVERED: "the message was not delivered",
    Reason.NO_FINAL_RECEIPT: "nobody can say whether the message arrived",
}
"""Why a customer is not, or not by message, warned: what follows "because"."""

VERDICTS: Mapping[str, str] = {
    "notify": "a message is to go out",
    "leave_out": "left out before any message had gone out",
    "letter": "not warned by message: a letter has to warn",
    "warned": "the warning counts as given",
    "hand_over": "handed over to the field team",
    "withdraw": "withdrawn after a message had gone out",
    "reopen": "opened again, with a notice period of its own",
}
"""What a decision says."""

MOMENTS: Mapping[str, str] = {
    "due": "when it was due",
    "claim": "when its message was about to be sent",
    "settled": "when its message had its last word",
    "feed": "when feeds were taken up",
    "hand_over": "on the morning of the cut",
    "corrected": "when the bill was corrected",
}
"""When on a case's way a decision was taken."""

OPENED: Mapping[str, str] = {
    "billed": "its customer was told of the bill",
    "reversal": "what had settled it was taken back",
    "left_out_no_more": "what had left it out has ended",
    "corrected": "the bill was corrected, and its customer told",
}
"""Why a case was opened: what follows "because"."""

FACTS: Mapping[Fact, str] = {
    Fact.PAYMENT_PLAN: "a payment plan",
    Fact.DISPUTE: "a dispute",
    Fact.DIRECT_DEBIT: "payment by direct debit",
    Fact.PROTECTED: "protection from cuts",
    Fact.ESTIMATE_REVIEW: "a review of the estimate",
    Fact.CANCELLED: "the bill's cancellation",
    Fact.NUMBER_CHANGED: "a changed phone number",
    Fact.CONTRACT_ENDED: "the end of the contract",
}
"""What is known of an account."""

CHANNELS: Mapping[Channel, str] = {
    Channel.COUNTER: "at a counter",
    Channel.POST: "at the post office",
    Channel.BANK: "at a bank",
    Channel.WEB: "on the web site",
    Channel.APP: "in the app",
    Channel.DEBIT: "by direct debit",
}
"""Where a payment was made: what follows "paid"."""

MESSAGES: Mapping[str, str] = {
    "bill": "the bill's message",
    "bill_correction": "the corrected bill's message",
    "due_reminder": "the reminder",
    "cutoff_warning": "the warning",
    "cutoff_second_warning": "the second warning",
    "payment_received": 'the message "payment received"',
    "fee_announced": "the announcement of the yearly fee",
    "subscription_renewed": 'the message "subscription paid"',
    "subscription_lapsed": 'the message "subscription lapsed"',
    "welcome": "the welcome",
    "one_time_code": "the code of the web site",
}
"""The kinds of message."""

CANCELLED: Mapping[str, str] = {
    "too_late": "it could not leave in time",
    "replaced": "a corrected bill replaced it",
    "refused_by_person": "a person refused to send it",
    "no_case": "no case was waiting for it any more",
    "feed_stale": "it was not known any more who had paid by then",
    "opted_out": "the customer had left by then",
    "former_number": "it was to go to a number that the customer has given up",
    "reversed": "what had settled the bill was taken back",
    **{reason.value: words for reason, words in REASONS.items()},
    **{
        state.value: f"by then, {words}"
        for state, words in STATES.items()
        if state.value not in {reason.value for reason in Reason}
    },
}
"""Why a message was cancelled before it left."""

NOT_TOLD: Mapping[str, str] = {
    "not_subscribed": "its customer is not subscribed to the service",
    "subscription_suspended": "its customer's subscription is suspended",
    "subscription_lapsed": "its customer's subscription has lapsed: the yearly fee was not paid",
    "credit_balance": "it asks for nothing: the customer has a credit",
    "zero_balance": "it asks for nothing: the amount is zero",
    "deadline_passed": "its last day to pay had passed when it was loaded",
    "study_control": "its customer is in the control group of a study, which gets no messages",
    "superseded": "a correction replaced it before its message was planned",
}
"""Why no message told a customer of a bill: codes of invoices."""


def message(kind: str) -> str:
    """Name a kind of message; one without words by its own name."""
    return MESSAGES.get(kind, f"the message {kind}")


def reason(code: str) -> str:
    """Say a reason as what follows "because"; a code without words stands for itself."""
    return REASONS[Reason(code)] if code in set(Reason) else code


def amount(millimes: int) -> str:
    """Write an amount: ``85,352 DT``."""
    return f"{format_amount(millimes, 'fr')} DT"


def count(number: int) -> str:
    """Write a whole number: ``20 000``."""
    return f"{number:,}".replace(",", " ")


def listed(several: list[str]) -> str:
    """Write several things in a row: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(several[:-1]), *several[-1:]))) or "nothing"


def say_rules(rules: Version) -> list[str]:
    """Say a version of the rules, a sentence each."""
    left_out, by_letter = (
        listed([FACTS[fact] for fact in Fact if rules.facts[fact] == effect])
        for effect in ("leave_out", "letter")
    )
    return [
        f"Version {rules.version}, in force from {say_day(rules.valid_from)} on.",
        *(_step(step) for step in rules.steps),
        f"What is left to pay has to be {amount(rules.minimum_debt_millimes)} at least; nobody is warned for "
        "less.",
        f"No more than {count(rules.most_warnings_a_day)} warnings are decided on in a day, the oldest debts "
        "first; reminders have no limit.",
        f"Nobody is warned unless it is known who has paid: {_hours(rules)}.",
        "The field teams get their list of a morning only when payments of all channels are known up to "
        f"{rules.hand_over_complete_from:%H:%M} of that morning.",
        f"Supply is not cut on {listed([f'{day.title()}s' for day in rules.no_cut_on])}, on public holidays "
        "and on the day before one.",
        f"Left out, as long as it holds: {left_out}.",
        f"Warned by letter, as long as it holds: {by_letter}.",
    ]


def _step(step: Step) -> str:
    name = message(step.notice)
    name = f"{name[:1].upper()}{name[1:]}"
    if step.switched_off:
        return f"{name} is switched off."
    if step.days_before_due is not None:
        return f"{name} goes out up to {step.days_before_due} days before the last day to pay."
    if step.overdue:
        return (
            f"{name} goes out once payments have had the days of the calendar's posting grace after the last "
            f"day to pay; it names a day of the cut at least {step.notice_days} days away."
        )
    return (
        f"{name} goes out {step.days_before_cut} days before the cut, and never names a day that is nearer "
        f"than {step.notice_days} days."
    )


def _hours(rules: Version) -> str:
    by_hours: dict[int, list[str]] = {}
    for channel in Channel:
        by_hours.setdefault(rules.fresh_within_hours[channel], []).append(CHANNELS[channel])
    return "; ".join(
        f"all payments {listed(channels)} up to {hours} hours ago" for hours, channels in by_hours.items()
    )
