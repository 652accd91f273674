"""Says in plain sentences, in the order of time, why a customer was or was not warned. Called by the command.

It reads what was written down when it happened, and weighs the case once more for what comes next; it changes
nothing. No phone number and no message's text is in it, and a customer's reference only when asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.cutoff import words
from fatoura.cutoff.coming import what_comes
from fatoura.cutoff.lives import Life, Shown, read_life
from fatoura.cutoff.rules import read_rules
from fatoura.cutoff.states import CaseState
from fatoura.cutoff.telling import Event, Teller, on_day
from fatoura.database import connect
from fatoura.dates import say_day
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Row


@dataclass(frozen=True)
class Explanation:
    """Why a customer was or was not warned about a bill. Instants are aware, days local, money in millimes.

    :param state: of the last case; null when there is none.
    :param balance_millimes: what is owed now; null without a case.
    :param summary: the answer in a sentence or two.
    :param events: what happened, in the order of time.
    :param coming: what comes next and when, in sentences.
    """

    invoice: str
    cycle: str | None
    customer_reference: str
    district: str
    amount_due_millimes: int
    due_date: date
    state: str | None
    reason: str | None
    sequence: int | None
    balance_millimes: int | None
    rules_version: str
    summary: str
    events: tuple[Event, ...]
    coming: tuple[str, ...]


def explain(invoice_number: str, *, unmasked: bool = False) -> Explanation:
    """Explain the cut-off case of an invoice, or why it has none.

    :param unmasked: show the customer's reference in full, and what others wrote as they wrote it.
    :raises InvoiceUnknown: when no such invoice was loaded and accepted.
    :raises RulesError: when the rules cannot be read.
    """
    today = clock.today()
    rules = read_rules(get_settings().cutoff_rules)
    with connect() as connection:
        # One snapshot: feeds and receipts go on meanwhile. What weighing leaves behind is rolled back.
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        life = read_life(connection, invoice_number)
        calendar = load_calendar(connection)
        shown = Shown(life.reference, unmasked)
        coming = what_comes(connection, life, calendar, rules.on(today))
        connection.rollback()
    steps = {step.notice: step for version in rules.versions for step in version.steps}
    told = [*Teller(life, shown, calendar, steps).events()]
    past = sorted((one for one in told if one[1].day <= today), key=lambda one: one[0])
    case = life.last_case
    return Explanation(
        invoice=life.number,
        cycle=life.invoice.cycle,
        customer_reference=shown.reference,
        district=(case or life.invoice).district,
        amount_due_millimes=life.invoice.amount_due_millimes,
        due_date=life.invoice.due_date,
        state=case and case.state,
        reason=case and case.reason,
        sequence=case and case.sequence,
        balance_millimes=coming.balance_millimes,
        rules_version=rules.on(today).version,
        summary=summary_of(life),
        events=tuple(event for _, event in past),
        coming=coming.sentences,
    )


# --- The answer in a sentence ----------------------------------------------------------------------------


def summary_of(life: Life) -> str:
    """Return the answer in a sentence or two."""
    case = life.last_case
    if case is None:
        return _without_case(life)
    warned = _days_of_warnings(case)
    match CaseState(case.state):
        case CaseState.SCHEDULED if case.under_way:
            return "Not warned yet: a warning is on its way."
        case CaseState.SCHEDULED:
            return "Not warned yet."
        case CaseState.WARNED | CaseState.WARNED_AGAIN:
            return f"Warned {warned}; supply may be cut from {say_day(case.cut_from, weekday=True)} on."
        case CaseState.HANDED_OVER:
            return f"Warned {warned}, and handed over to the field team {on_day(case.state_since)}."
        case CaseState.NOT_WARNED if warned:
            why = words.reason(case.reason)
            return f"Warned {warned}, but not a second time, because {why}: a letter has to warn."
        case CaseState.NOT_WARNED:
            return f"Not warned by message, because {words.reason(case.reason)}: a letter has to warn."
        case CaseState.PAID:
            return f"Warned {warned}, and paid since." if warned else "Not warned, because the bill is paid."
        case CaseState.EXCLUDED:
            why = words.reason(case.reason)
            return (
                f"Warned {warned}, and left out since, because {why}."
                if warned
                else f"Not warned, because {why}."
            )


def _without_case(life: Life) -> str:
    invoice = life.invoice
    match invoice.bucket:
        case "noticed" if invoice.amount_due_millimes <= 0:
            return "Not warned: the bill asks for nothing."
        case "noticed":
            return "Not warned: there is no cut-off case of this bill."
        case _:
            why = words.NOT_TOLD.get(invoice.reason, invoice.reason)
            return f"Never warned by message, because no message told of this bill: {why}."


def _days_of_warnings(case: Row[Any]) -> str:
    told = [on_day(instant) for instant in (case.warned_at, case.warned_again_at) if instant]
    return f"twice, {told[0]} and {told[1]}" if len(told) > 1 else told[0] if told else ""
