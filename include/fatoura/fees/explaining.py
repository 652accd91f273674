"""The fees of a subscription in sentences: what happened, in the order of time, and what comes next.

Behind `fatoura fees show`. It changes nothing; the customer's reference is masked unless it is asked for, and
no phone number is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect
from fatoura.dates import say_day
from fatoura.errors import BadInput
from fatoura.fees import words
from fatoura.fees.books import MARK, charge_id, charge_number, is_charge_id
from fatoura.fees.charging import ANNOUNCEMENT
from fatoura.fees.findings import FINDINGS
from fatoura.fees.lapsing import known_day
from fatoura.fees.rules import fee_rules_on
from fatoura.fees.states import LAPSES, ChargeState
from fatoura.references import format_reference, is_reference, mask_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Row

_ONE_DAY = timedelta(days=1)


class Event(NamedTuple):
    """Something that happened; `at` where more than the day is known."""

    day: date
    at: datetime | None
    sentence: str


@dataclass(frozen=True)
class FeeHistory:
    """The fees of one subscription. Money in millimes.

    :param summary: how it stands, in a sentence.
    :param events: in the order of time.
    :param coming: what comes next, in sentences.
    :param accounts: what its charges have on each account.
    """

    subscription: int
    customer_reference: str
    state: str
    paid_until: date | None
    summary: str
    events: tuple[Event, ...]
    coming: tuple[str, ...]
    accounts: Mapping[str, int]


def fee_histories(subject: str, *, unmasked: bool = False) -> list[FeeHistory]:
    """Tell the fees of a subscription, or of all that a customer has had, the present one first.

    :param subject: the number of a subscription, the 9 digits of a reference, or the id of a charge.
    :raises BadInput: when there is none.
    """
    wanted = "".join(subject.split())
    value: str | int
    if is_reference(wanted):
        where, value = "s.customer_reference = :value", wanted
    elif is_charge_id(wanted.upper()):
        where, value = (
            "s.id = (SELECT subscription_id FROM fee_charge WHERE id = :value)",
            charge_number(wanted),
        )
    elif wanted.isascii() and wanted.isdigit() and len(wanted) < 19:
        where, value = "s.id = :value", int(wanted)
    else:
        raise BadInput(
            "give the number of a subscription, the 9 digits of a customer's reference, or a charge such as "
            f"{MARK}1"
        )
    with connect() as connection:
        rows = connection.execute(
            text(
                "SELECT s.*, k.district FROM subscription s LEFT JOIN customer k USING (customer_reference) "
                f"WHERE {where} ORDER BY s.id DESC"
            ),
            {"value": value},
        ).all()
        if not rows:
            raise BadInput("there is no such subscription")
        return [_Told(connection, row, unmasked).history() for row in rows]


_CHARGES = f"""
SELECT c.*, f.name AS file, f.made_at AS told_at, (
    SELECT min(n.planned_at) FROM notice n WHERE n.kind = '{ANNOUNCEMENT}' AND n.subject = {charge_id()}
) AS announced_at
FROM fee_charge c LEFT JOIN fee_file f ON f.id = c.file_id
WHERE c.subscription_id = :id ORDER BY c.period_start, c.id
"""


@dataclass(frozen=True)
class _Told:
    """One subscription, and all that tells of its fees."""

    connection: Connection
    subscription: Row[Any]
    unmasked: bool

    def history(self) -> FeeHistory:
        charges = self._rows(_CHARGES)
        events = sorted(self._events(charges), key=lambda one: (one.day, one.at or _midnight(one.day)))
        printed = format_reference(self.subscription.customer_reference, "fr")
        return FeeHistory(
            self.subscription.id,
            printed if self.unmasked else mask_reference(printed),
            self.subscription.state,
            self.subscription.paid_until,
            self._summary(charges),
            tuple(events),
            tuple(self._coming(charges)),
            self._accounts(),
        )

    def _rows(self, statement: str) -> Sequence[Row[Any]]:
        values = {"id": self.subscription.id, "reference": self.subscription.customer_reference}
        return self.connection.execute(text(statement), values).all()

    def _accounts(self) -> dict[str, int]:
        rows = self._rows(
            "SELECT account, sum(millimes) AS millimes FROM fee_entry e, "
            "LATERAL (VALUES (debit, amount_millimes), (credit, -amount_millimes)) line (account, millimes) "
            "WHERE e.charge_id IN (SELECT id FROM fee_charge WHERE subscription_id = :id) "
            "GROUP BY account ORDER BY account"
        )
        return {row.account: int(row.millimes) for row in rows}

    # --- How it stands

    def _summary(self, charges: Sequence[Row[Any]]) -> str:
        one = self.subscription
        if one.began_on is None:
            return "Fees have not taken this subscription up yet: the next monthly run does."
        owed = sum(charge.owed_millimes for charge in charges)
        owes = f" {words.amount(owed)} is owed." if owed else " Nothing is owed."
        if one.state == "ended":
            return f"Ended, because {words.because(one.state_reason)}.{owes}"
        paid = (
            f"paid until {say_day(one.paid_until)}"
            if one.paid_until >= one.began_on
            else "nothing has been paid yet"
        )
        free = f", free because {words.because(one.free_because)}" if one.free_because else ""
        return f"{one.state.title()}, its years counted from {say_day(one.began_on)}; {paid}{free}.{owes}"

    # --- What happened

    def _events(self, charges: Sequence[Row[Any]]) -> Iterator[Event]:
        one = self.subscription
        yield _at(one.created_at, f"Subscribed ({one.channel}).")
        for charge in charges:
            yield from _of_charge(charge)
        yield from self._entries()
        yield from self._credits()
        yield from self._answers()
        yield from self._messages()
        for row in self._rows("SELECT * FROM fee_waiver WHERE customer_reference = :reference ORDER BY id"):
            until = f" until {say_day(row.valid_until)}" if row.valid_until else ", until further notice"
            yield _at(
                row.recorded_at,
                f"Exempted as “{row.because}” for years that begin from {say_day(row.valid_from)} on{until}, "
                f"says {row.set_by}.",
            )
        if one.ended_at is not None:
            yield _at(one.ended_at, f"The subscription ended, because {words.because(one.state_reason)}.")

    def _entries(self) -> Iterator[Event]:
        rows = self._rows(
            "SELECT * FROM fee_entry WHERE charge_id IN "
            "(SELECT id FROM fee_charge WHERE subscription_id = :id) ORDER BY id"
        )
        for row in rows:
            told = f"{words.amount(row.amount_millimes)}"
            match row.debit, row.credit:
                case "receivable", "income":
                    said = f"{told} was charged"
                case "collected", "receivable":
                    said = f"{told} was paid, as the billing system told"
                case "collected", "payable":
                    said = f"{told} more was paid than is owed, and is to be given back"
                case "payable", "collected":
                    said = f"{told} was given back, as the billing system told"
                case "receivable", "collected":
                    said = (
                        f"the payment of {told} was taken back, as the billing system told: it is owed again"
                    )
                case "credited", "payable":
                    said = f"{told} is to be given back, because {words.because(row.because)}"
                case "credited", "receivable":
                    said = f"{told} was taken off, because {words.because(row.because)}"
                case "waived", _:
                    said = f"{told} was waived, because {words.because(row.because)}"
                case _:
                    said = f"{told} was given up, because {words.because(row.because)}"
            yield _at(row.booked_at, f"Charge {MARK}{row.charge_id}: {said} (by {row.booked_by}).")

    def _credits(self) -> Iterator[Event]:
        rows = self._rows(
            "SELECT t.charge_id, t.amount_millimes, f.name, f.made_at FROM fee_credit t "
            "JOIN fee_file f ON f.id = t.file_id JOIN fee_charge c ON c.id = t.charge_id "
            "WHERE c.subscription_id = :id ORDER BY t.id"
        )
        for row in rows:
            yield _at(
                row.made_at,
                f"Charge {MARK}{row.charge_id}: the billing system is told to take "
                f"{words.amount(row.amount_millimes)} off, in file {row.name}.",
            )

    def _answers(self) -> Iterator[Event]:
        rows = self._rows(
            "SELECT r.*, f.loaded_at FROM fee_result r JOIN feed f ON f.id = r.feed_id WHERE r.charge_id IN "
            f"(SELECT '{MARK}' || id FROM fee_charge WHERE subscription_id = :id)"
        )
        for row in rows:
            reason = f" (“{row.reason}”)" if row.reason else ""
            said = f"The billing system {words.ANSWERS[row.result]}"
            if row.result in ("paid", "refunded"):
                said += f" {words.amount(row.amount_millimes)}"
            local = row.at.astimezone(clock.zone())
            said += f"{reason}, on {say_day(local.date())} at {local:%H:%M}: feed {row.told_in}."
            if row.finding:
                settled = f" {row.settled_by} has seen to it: {row.settlement}." if row.settled_at else ""
                said += f" That does not count, because {FINDINGS[row.finding]}.{settled}"
            elif row.result in ("paid", "refunded"):
                continue  # the journal has told it
            yield _at(row.loaded_at, f"Charge {row.charge_id}: {said}")

    def _messages(self) -> Iterator[Event]:
        rows = self._rows(
            "SELECT id, kind, state, reason, coalesce(final_at, submitted_at, planned_at) AS at FROM notice "
            "WHERE kind IN ('fee_announced', 'subscription_renewed', 'subscription_lapsed') AND subject IN "
            f"(SELECT '{MARK}' || id FROM fee_charge WHERE subscription_id = :id) ORDER BY id"
        )
        names = {
            "fee_announced": "The announcement",
            "subscription_renewed": "The message that the fee was paid",
            "subscription_lapsed": "The message that the subscription has lapsed",
        }
        for row in rows:
            reason = f" ({row.reason})" if row.state == "cancelled" and row.reason else ""
            state = row.state.replace("_", " ")
            yield _at(row.at, f"{names[row.kind]} is {state}{reason} (message {row.id}).")

    # --- What comes next

    def _coming(self, charges: Sequence[Row[Any]]) -> Iterator[str]:
        one = self.subscription
        rules = fee_rules_on(clock.today())
        if one.state == "ended":
            if one.fees_closed_on is None and one.began_on is not None:
                yield "Its charges are closed at the next look for feeds."
            yield from self._to_give_back(charges)
            return
        yield from self._to_give_back(charges)
        waiting = next((charge for charge in charges if charge.state not in _DONE), None)
        if one.state == "lapsed":
            yield "It comes back when the fee is paid, or when the customer subscribes again."
        elif one.state == "suspended":
            yield "Nothing is announced or charged while the subscription is suspended."
        elif one.began_on is None:
            yield "The next monthly run takes it up and announces its first year."
        elif waiting is None:
            first = one.paid_until + _ONE_DAY
            begins = max(first - rules.announce_days_ahead * _ONE_DAY, clock.today())
            yield (
                f"The year from {say_day(first)} on is announced by the first monthly run from "
                f"{say_day(begins)} on, unless it is free."
            )
        else:
            yield from self._of_waiting(waiting, rules)

    def _to_give_back(self, charges: Sequence[Row[Any]]) -> Iterator[str]:
        back = sum(charge.owed_back_millimes for charge in charges)
        if back:
            yield f"The billing system has to give {words.amount(back)} back, and to tell so."

    def _of_waiting(self, charge: Row[Any], rules: Any) -> Iterator[str]:
        name = f"charge {MARK}{charge.id}"
        if charge.state == ChargeState.ANNOUNCED:
            first = max(
                charge.announced_on + rules.announced_for_days * _ONE_DAY,
                charge.period_start - rules.charge_days_ahead * _ONE_DAY,
            )
            yield (
                f"The first monthly run from {say_day(first)} on raises {name}, once its announcement has "
                "left."
            )
        elif charge.state == ChargeState.DUE:
            yield f"The next file for the billing system tells of {name}."
        elif charge.state == ChargeState.FILED:
            yield f"The billing system has to accept {name}: the subscription does not lapse before."
        elif charge.state in LAPSES and charge.lapsed_on is None:
            known = known_day(self.connection)
            until = f"known up to {say_day(known)}" if known else "not known, so nobody lapses"
            yield (
                f"If {name} is unpaid after {say_day(charge.grace_until)}, the subscription lapses; the "
                f"billing system's answers are {until}."
            )


_DONE = {
    *(
        ChargeState.PAID,
        ChargeState.REFUNDED,
        ChargeState.WAIVED,
        ChargeState.WITHDRAWN,
        ChargeState.REJECTED,
    ),
}


def _of_charge(charge: Row[Any]) -> Iterator[Event]:
    year = f"the year from {say_day(charge.period_start)} to {say_day(charge.period_end)}"
    name = f"Charge {MARK}{charge.id}"
    if charge.announced_on:
        said = (
            f"{name}: {year} is announced at {words.amount(charge.amount_millimes)} (rules "
            f"{charge.rules_version})."
        )
        yield (
            _at(charge.announced_at, said) if charge.announced_at else Event(charge.announced_on, None, said)
        )
    elif charge.state == ChargeState.WAIVED:
        yield Event(
            charge.charged_on, None, f"{name}: {year} is free, because {words.because(charge.because)}."
        )
    if charge.state == ChargeState.WITHDRAWN and not charge.charged_on:
        yield _at(charge.state_since, f"{name}: withdrawn, because {words.because(charge.because)}.")
    if charge.told_on:
        yield _at(
            charge.told_at,
            f"{name}: the billing system is told to charge {words.amount(charge.told_millimes)}, in file "
            f"{charge.file}.",
        )
    if charge.lapsed_on:
        yield Event(charge.lapsed_on, None, f"{name} is unpaid: the subscription lapses.")
    if charge.covered_from and charge.covered_from > charge.period_start and charge.state != "taken_back":
        yield Event(
            charge.covered_from,
            None,
            f"{name}: the subscription is back, and paid until {say_day(charge.covered_until)}.",
        )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), clock.zone())


def _at(instant: datetime, sentence: str) -> Event:
    return Event(instant.astimezone(clock.zone()).date(), instant, sentence)
