"""Turns what was written down about a bill into events, each with a sentence. Called by the explanation.

It reads nothing: the rows are a `Life`. What it says of persons and other systems is masked by `Shown`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from fatoura import clock
from fatoura.cutoff import words
from fatoura.cutoff.reasons import Reason
from fatoura.cutoff.rules import Channel, Fact
from fatoura.dates import say_day
from fatoura.feeds.names import OF_A_PERSON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Row

    from fatoura.calendar import Calendar
    from fatoura.cutoff.lives import Life, Shown
    from fatoura.cutoff.rules import Step

_LATE = timedelta(hours=1)
"""Between the provider's instant and ours: a receipt that takes longer is worth a word."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    :param at: when; null for what is of a whole day.
    :param what: ``bill``, ``due``, ``payment``, ``fact``, ``set_aside``, ``decision``, ``case``, ``message``,
        ``receipt``, ``list`` or ``other_bill``.
    :param details: the same in codes, for programs.
    """

    day: date
    at: datetime | None
    what: str
    sentence: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Teller:
    """Turns the rows about a bill into events, each with the instant that it is sorted by."""

    life: Life
    shown: Shown
    calendar: Calendar
    steps: dict[str, Step]

    def events(self) -> Iterator[tuple[datetime, Event]]:
        """Yield all events, kind by kind."""
        yield from self._revisions()
        yield from self._deadlines()
        yield from self._payments()
        yield from self._facts()
        yield from self._set_aside()
        yield from self._cases()
        yield from self._decisions()
        yield from self._messages()
        yield from self._late_receipts()
        yield from self._lists()
        yield from self._other_bills()

    def _revisions(self) -> Iterator[tuple[datetime, Event]]:
        for bill in self.life.revisions:
            asked = (
                f"{words.amount(bill.amount_due_millimes)}, to pay by {say_day(bill.due_date, weekday=True)}"
            )
            source = f"cycle {bill.cycle}"
            if bill.revision:
                said = f"The bill was corrected with supplement {bill.supplement} of {source}: {asked}."
            else:
                said = f"The bill was loaded with {source}: {asked}."
            if bill.bucket != "noticed":
                said += f" No message told of it: {words.NOT_TOLD.get(bill.reason, bill.reason)}."
            details = {
                "revision": bill.revision,
                "amount_due_millimes": bill.amount_due_millimes,
                "due_date": bill.due_date,
                "bucket": bill.bucket,
                "reason": bill.reason,
            }
            if bill.loaded_at:
                yield _then(bill.loaded_at, "bill", said, details)
            else:
                yield _that_day(bill.issue_date, "bill", said, details)

    def _deadlines(self) -> Iterator[tuple[datetime, Event]]:
        """Tell the last day to pay and the first day to warn; a case that was reopened has them behind it."""
        told: set[date] = set()
        for case in self.life.cases:
            if case.opened_because not in ("billed", "corrected") or case.due_date in told:
                continue
            told.add(case.due_date)
            yield _that_day(case.due_date, "due", "Last day to pay.", {"due_date": case.due_date})
            grace = self.calendar.rules.on(case.due_date).posting_grace_working_days
            yield _that_day(
                case.warn_from,
                "due",
                f"First day to warn: payments were given {grace} working days to be posted.",
                {"warn_from": case.warn_from},
            )

    def _payments(self) -> Iterator[tuple[datetime, Event]]:
        otherwise = [one for one in self.life.told_otherwise if one.content == "payments"]
        for one in self.life.payments:
            versions = [version for version in otherwise if version.subject == one.payment_id]
            known_before = any(_known(version) < _known(one) for version in versions)
            name = self.shown.words(one.payment_id)
            money, where = words.amount(one.amount_millimes), _where(one.channel)
            if one.kind == "payment":
                said = f"{money}, paid {where} {_at(one.paid_at)}"
                said = (
                    f"Payment {name} was corrected: it is {said}."
                    if known_before
                    else f"A payment became known: {said} (payment {name})."
                )
            else:
                said = (
                    f"{'It was corrected that p' if known_before else 'P'}ayment "
                    f"{self.shown.words(one.reverses)} was taken back {_at(one.paid_at)}: {money} ({name})."
                )
            yield _then(_known(one), "payment", said + _counted(one), self._of_payment(one, standing=True))
            for version in versions:
                yield _then(
                    _known(version),
                    "payment",
                    self._told_otherwise(version, _known(version) > _known(one)),
                    {"feed": version.feed, "stands": version.stands, "was": self._was(version)},
                )

    def _of_payment(self, one: Row[Any], *, standing: bool) -> dict[str, Any]:
        return {
            "payment_id": self.shown.words(one.payment_id),
            "kind": one.kind,
            "reverses": one.reverses and self.shown.words(one.reverses),
            "amount_millimes": one.amount_millimes,
            "counts_millimes": one.counts_millimes,
            "outcome": one.outcome,
            "channel": one.channel,
            "paid_at": one.paid_at,
            "feed": one.feed,
        }

    def _told_otherwise(self, version: Row[Any], too_late: bool) -> str:
        name, amount = self.shown.words(version.subject), version.was.get("amount_millimes")
        money = words.amount(int(amount)) if amount is not None else "another amount"
        if too_late:
            return (
                f"{_capital(_source(version.feed))} told of payment {name} in another way, {money}: what "
                f"{_source(version.stands)} says stands, for it is known up to a later hour."
            )
        return f"A payment became known: {money} (payment {name}); it was corrected later."

    def _was(self, version: Row[Any]) -> dict[str, Any]:
        told = ("amount_millimes", "paid_at", "channel", "kind", "fact", "valid_from", "valid_until")
        return {name: version.was[name] for name in told if name in version.was}

    def _facts(self) -> Iterator[tuple[datetime, Event]]:
        otherwise = [one for one in self.life.told_otherwise if one.content == "facts"]
        for fact in self.life.facts:
            versions = [version for version in otherwise if version.subject == fact.fact_id]
            for version in versions:
                if _known(version) < _known(fact):
                    said = f"Noted: {self._fact(version.was, fact.fact_id)}; it was changed later."
                else:
                    name = self.shown.words(fact.fact_id)
                    said = (
                        f"{_capital(_source(version.feed))} told of fact {name} in another way: what "
                        f"{_source(version.stands)} says stands."
                    )
                yield _then(_known(version), "fact", said, {"feed": version.feed, "was": self._was(version)})
            taken_back = fact.valid_until is not None and fact.valid_until < fact.valid_from
            name, by = words.FACTS[Fact(fact.fact)], self.shown.words(fact.set_by)
            if taken_back:
                said = f"Taken back: {name}, by {by} (fact {self.shown.words(fact.fact_id)})."
            else:
                changed = (
                    "Changed" if any(_known(version) < _known(fact) for version in versions) else "Noted"
                )
                said = f"{changed}: {self._fact(fact._mapping, fact.fact_id)}."
            yield _then(
                _known(fact),
                "fact",
                said,
                {
                    "fact_id": self.shown.words(fact.fact_id),
                    "fact": fact.fact,
                    "valid_from": fact.valid_from,
                    "valid_until": fact.valid_until,
                    "set_by": by,
                    "of_this_bill_only": fact.invoice_number is not None,
                    "feed": fact.feed,
                },
            )

    def _fact(self, fact: Any, fact_id: str) -> str:
        """Say a fact: ``a dispute, of this bill, from 1 June 2026 until further notice, set by …``."""
        until = fact.get("valid_until")
        of = "this bill" if fact.get("invoice_number") else "all bills"
        ends = f"to {_day(until)}" if until else "until further notice"
        return (
            f"{words.FACTS[Fact(fact['fact'])]}, about {of}, from {_day(fact['valid_from'])} {ends}, "
            f"set by {self.shown.words(fact['set_by'])} (fact {self.shown.words(fact_id)})"
        )

    def _set_aside(self) -> Iterator[tuple[datetime, Event]]:
        for row in self.life.set_aside:
            details = {"feed": row.feed, "row": row.row_number, "reasons": row.reasons}
            of = "a payment" if row.content == "payments" else "a fact"
            yield _then(
                row.loaded_at,
                "set_aside",
                f"A row about {of} was set aside, row {row.row_number} of feed {row.feed} "
                f"({', '.join(row.reasons)}): until that is settled, the customer is not warned.",
                details,
            )
            if row.settled_at:
                yield _then(
                    row.settled_at,
                    "set_aside",
                    f"Row {row.row_number} of feed {row.feed} was settled by "
                    f"{self.shown.words(row.settled_by or 'somebody')}: "
                    f"{self.shown.words(row.settlement or 'nothing was noted')}.",
                    details,
                )

    def _cases(self) -> Iterator[tuple[datetime, Event]]:
        for case in self.life.cases:
            if case.opened_because == "corrected":
                yield _then(
                    case.created_at,
                    "case",
                    f"The bill has another case, case {case.sequence}, because "
                    f"{words.OPENED[case.opened_because]}: {words.amount(case.amount_due_millimes)}.",
                    {"sequence": case.sequence, "opened_because": case.opened_because},
                )

    def _decisions(self) -> Iterator[tuple[datetime, Event]]:
        for one in self.life.decisions:
            said = f"{self._decided(one)} (rules {one.rules_version})."
            yield _then(
                one.decided_at,
                "decision",
                said,
                {
                    "sequence": one.sequence,
                    "moment": one.moment,
                    "verdict": one.verdict,
                    "reason": one.reason,
                    "notice_kind": one.notice_kind,
                    "notice_id": one.notice_id,
                    "balance_millimes": one.balance_millimes,
                    "cut_from": one.cut_from,
                    "rules_version": one.rules_version,
                    "evidence": one.evidence,
                    "run_id": one.run_id,
                },
            )

    def _decided(self, one: Row[Any]) -> str:
        """Say a decision, without its full stop."""
        owed, why = _owed(one.balance_millimes), self._why(one)
        match one.verdict:
            case "notify":
                return self._notified(one)
            case "warned":
                return f"The customer counts as warned: {_cut(one.cut_from)}"
            case "letter" if one.reason == Reason.NO_FINAL_RECEIPT:
                return (
                    "No last word about the message came in time, and nobody can say whether it arrived: the "
                    "customer counts as not warned, and a letter has to warn"
                )
            case "letter" if one.moment == "settled":
                return f"The customer counts as not warned, because {why}: a letter has to warn"
            case "letter":
                return f"No message can warn the customer, because {why}: a letter has to; {owed}"
            case "hand_over":
                return f"Handed over to the field team: {owed} that morning, and nothing spoke against a cut"
            case "reopen":
                return (
                    f"Opened again as case {one.sequence}, because {words.OPENED[one.reason]}: {owed}, and "
                    "the notice period begins anew"
                )
            case "withdraw":
                return f"Withdrawn {words.MOMENTS[one.moment]}, because {why}: {owed}"
            case _:
                return f"Left out {words.MOMENTS[one.moment]}, because {why}: {owed}"

    def _notified(self, one: Row[Any]) -> str:
        owed, step = _owed(one.balance_millimes), self.steps.get(one.notice_kind)
        if step is None or step.days_before_due is not None:
            return f"Decided to send {words.message(one.notice_kind)}: {owed}"
        again = "a second time" if step.days_before_cut is not None else "the customer"
        return f"Decided to warn {again}: {owed}, and nothing spoke against it; {_cut(one.cut_from)}"

    def _why(self, one: Row[Any]) -> str:
        if one.reason is None or one.verdict == "reopen":
            return ""
        ids = (one.evidence or {}).get("facts", [])
        facts = f" (fact {', '.join(map(self.shown.words, ids))})" if ids and one.reason in set(Fact) else ""
        return words.reason(one.reason) + facts

    def _messages(self) -> Iterator[tuple[datetime, Event]]:
        late = {notice.id for notice, _, _ in self._received_late()}
        for notice in self.life.notices:
            name = words.message(notice.kind)
            details = {
                "notice_id": notice.id,
                "kind": notice.kind,
                "sequence": notice.sequence,
                "state": notice.state,
                "reason": notice.reason if notice.state == "cancelled" else None,
                "attempts": notice.attempts,
                "submitted_at": notice.submitted_at,
                "final_at": notice.final_at,
            }
            at, said = _became(notice, came_late=notice.id in late)
            yield _then(at, "message", f"{_capital(name)} {said} (message {notice.id}).", details)

    def _received_late(self) -> Iterator[tuple[Row[Any], datetime, datetime]]:
        """Give the messages of which "delivered" was received after a letter: which, known when, of when."""
        for one in self.life.decisions:
            notice = self.life.notice(one.notice_id) if one.verdict == "letter" else None
            for known_at, happened_at in (notice.receipts or ()) if notice else ():
                if notice is not None and known_at > one.decided_at:
                    yield notice, known_at, happened_at
                    break

    def _late_receipts(self) -> Iterator[tuple[datetime, Event]]:
        for notice, known_at, happened_at in self._received_late():
            yield _then(
                known_at,
                "receipt",
                f"A receipt says that {words.message(notice.kind)} was delivered {_at(happened_at)}. It came "
                "after a letter had been decided on, and the letter is the last word of this case: it "
                "changes nothing.",
                {"notice_id": notice.id, "happened_at": happened_at},
            )

    def _lists(self) -> Iterator[tuple[datetime, Event]]:
        verdicts = {"letters": "letter", "hand_over": "hand_over", "call_back": "withdraw"}
        for line in self.life.lists:
            # A list that is made again takes up what has come since: its first hour says little.
            decided = [
                one.decided_at
                for one in self.life.decisions
                if one.sequence == line.sequence
                and one.verdict == verdicts[line.kind]
                and one.day <= line.day
            ]
            _, event = _that_day(
                line.day,
                "list",
                self._listed(line),
                {
                    "list": line.kind,
                    "balance_millimes": line.balance_millimes,
                    "notice_id": line.notice_id,
                    "delivered_at": line.delivered_at,
                    "receipt_id": line.receipt_id,
                },
            )
            yield max([line.made_at, *decided]), event

    def _listed(self, line: Row[Any]) -> str:
        money = words.amount(line.balance_millimes)
        if line.kind == "letters":
            return f"Put on the list of letters of this day: {money}."
        if line.kind == "call_back":
            return "Put on this day's list of those to call back: the field team goes there no more."
        proof = f"message {line.notice_id}"
        if line.delivered_at:
            proof += f", delivered {_at(line.delivered_at)}"
        if line.receipt_id:
            proof += f", receipt {line.receipt_id}"
        return f"Put on the field team's list of this day: {money}; the proof of notice is {proof}."

    def _other_bills(self) -> Iterator[tuple[datetime, Event]]:
        """Tell the other bills of the customer, where they are why this one is not warned about."""
        reasons = {one.reason for one in self.life.decisions}
        for bill in self.life.others:
            rest = words.amount(max(bill.amount_due_millimes - bill.paid_millimes, 0))
            later = bill.issue_date > self.life.invoice.issue_date
            if later and Reason.PAID_BY_LATER_BILL in reasons:
                said = (
                    f"A later bill, {bill.invoice_number}, was issued, which holds what this one left over: "
                    f"{words.amount(bill.amount_due_millimes)}, of which {rest} is owed today."
                )
            elif bill.paid_millimes > max(bill.amount_due_millimes, 0) and Reason.CREDIT_BALANCE in reasons:
                said = (
                    f"Another bill, {bill.invoice_number}, was issued over "
                    f"{words.amount(bill.amount_due_millimes)}; {words.amount(bill.paid_millimes)} has been "
                    "paid for it."
                )
            else:
                continue
            yield _that_day(
                bill.issue_date,
                "other_bill",
                said,
                {
                    "invoice": bill.invoice_number,
                    "amount_due_millimes": bill.amount_due_millimes,
                    "paid_millimes": bill.paid_millimes,
                },
            )


def _became(notice: Row[Any], *, came_late: bool) -> tuple[datetime, str]:
    """Return what became of a message, and the instant to tell it at.

    :param came_late: "delivered" was received when it counted no more.
    """
    sent = notice.submitted_at or notice.planned_at
    if came_late:
        return sent, "was handed to the provider, and no word came of it for long"
    match notice.state:
        case "planned":
            return notice.planned_at, f"is planned; it may leave until {_at(notice.send_until)[3:]}"
        case "sending":
            return sent, "is being handed to the provider"
        case "accepted":
            return sent, "was handed to the provider, which has not said yet whether it arrived"
        case "in_doubt":
            return sent, "was sent, and nobody knows whether the provider took it"
        case "cancelled":
            why = words.CANCELLED.get(notice.reason, notice.reason or "no reason is recorded")
            return notice.final_at or notice.planned_at, f"never left: {why}"
        case "delivered":
            at = notice.final_at or sent
            known = notice.receipts[0][0] if notice.receipts else at
            late = f", as became known {_at(known)}" if known - at > _LATE else ""
            return at, f"was delivered{late}"
        case _:
            how = {
                "undeliverable": "the network could not deliver it",
                "expired": "it could not be delivered in time",
                "rejected": "the provider refused it",
            }[notice.state]
            return notice.final_at or sent, f"was not delivered: {how}"


def _counted(payment: Row[Any]) -> str:
    """Say where a payment does not count as it was told."""
    if payment.outcome == "waits_for_payment":
        return " It counts for nothing until that payment is known."
    if payment.outcome == "exceeds_payment":
        return f" Only {words.amount(abs(payment.counts_millimes))} of it counts: that payment was no larger."
    return ""


def _source(feed: str) -> str:
    """Name a feed; one that a person typed has none that says anything."""
    return "a command" if feed.startswith(OF_A_PERSON) else f"feed {feed}"


def _capital(said: str) -> str:
    return f"{said[:1].upper()}{said[1:]}"


def _where(channel: str) -> str:
    return words.CHANNELS[Channel(channel)]


def _cut(day: date | None) -> str:
    return f"supply may be cut from {say_day(day, weekday=True)} on" if day else "no day of a cut is recorded"


def _day(day: Any) -> str:
    """Say a day, also one that comes from a JSON document."""
    return say_day(day if isinstance(day, date) else date.fromisoformat(day))


def _known(row: Row[Any]) -> datetime:
    """When a row became known here: when its feed was loaded."""
    found: datetime = row.loaded_at or datetime.combine(clock.today(), time(), clock.zone())
    return found


def _then(at: datetime, what: str, sentence: str, details: dict[str, Any]) -> tuple[datetime, Event]:
    return at, Event(at.astimezone(clock.zone()).date(), at, what, sentence, details)


def _that_day(day: date, what: str, sentence: str, details: dict[str, Any]) -> tuple[datetime, Event]:
    return datetime.combine(day, time(), clock.zone()), Event(day, None, what, sentence, details)


def on_day(instant: datetime) -> str:
    """Say the local day of an instant: ``on 30 June 2026``."""
    return f"on {say_day(instant.astimezone(clock.zone()).date())}"


def _at(instant: datetime) -> str:
    local = instant.astimezone(clock.zone())
    return f"on {say_day(local.date())} at {local:%H:%M}"


def _owed(millimes: int | None) -> str:
    if millimes is None:
        return "what was owed is not recorded"
    if millimes > 0:
        return f"{words.amount(millimes)} was owed"
    return f"{words.amount(-millimes)} had been paid too much" if millimes else "nothing was owed"
