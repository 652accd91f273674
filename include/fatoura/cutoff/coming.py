"""Says what comes next for a case, and when: what it waits for, and what would stop it. For explanations.

It weighs the case as the daily run would, in the caller's transaction, which is not committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.cutoff import words
from fatoura.cutoff.freshness import Freshness, freshness, freshness_of_morning, refused_facts
from fatoura.cutoff.reasons import LETTERS, Reason
from fatoura.cutoff.rules import Fact
from fatoura.cutoff.standing import weigh
from fatoura.cutoff.states import CaseState
from fatoura.dates import say_day
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Row

    from fatoura.calendar import Calendar
    from fatoura.cutoff.lives import Life
    from fatoura.cutoff.rules import Step, Version

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Coming:
    """What is owed now (null without a case), and what comes next, in sentences."""

    balance_millimes: int | None
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class DailyRun:
    """What the daily run has decided on a day.

    :param decided_at: when it did so last.
    :param closed: why it decided nothing, where the day had no window.
    :param waiting: cases that it left for another day.
    """

    day: date
    decided_at: datetime
    closed: str | None
    waiting: int


def last_daily_run(connection: Connection) -> DailyRun | None:
    """Return what the daily run decided last."""
    row = connection.execute(
        text(
            "SELECT c.issue_date AS day, s.finished_at, s.counts "
            "FROM stage s JOIN cycle c ON c.id = s.cycle_id "
            "WHERE s.name = 'decide' AND c.purpose = 'cutoff' ORDER BY s.id DESC LIMIT 1"
        )
    ).one_or_none()
    if row is None:
        return None
    return DailyRun(row.day, row.finished_at, row.counts.get("closed"), row.counts.get("waiting", 0))


def what_comes(connection: Connection, life: Life, calendar: Calendar, rules: Version) -> Coming:
    """Say what comes next for a bill."""
    case = life.last_case
    if case is None:
        return Coming(None, tuple(_without_case(life)))
    weigh(
        connection,
        "c.invoice_number = :number AND c.sequence = :sequence",
        day=clock.today(),
        rules=rules,
        number=life.number,
        sequence=case.sequence,
    )
    standing = connection.execute(text("SELECT * FROM standing")).one()
    asked = _Asked(connection, life, case, calendar, rules, standing)
    return Coming(int(standing.balance_millimes), tuple(asked.sentences()))


def _without_case(life: Life) -> Iterator[str]:
    invoice = life.invoice
    if invoice.bucket != "noticed" or invoice.amount_due_millimes <= 0:
        yield "Nothing: a bill that no message told of is not warned about by message either."
        return
    notices = [one for one in life.notices if one.kind in ("bill", "bill_correction")]
    if not notices:
        yield "Its message has not been planned yet; a case is opened once it is."
    elif notices[-1].state == "cancelled":
        yield "Its message never left, so there will be no warning, unless a correction of the bill is told."
    else:
        yield "Its case is opened at the end of the billing cycle's run."


@dataclass(frozen=True)
class _Asked:
    """One case, and all that tells what comes next for it."""

    connection: Connection
    life: Life
    case: Row[Any]
    calendar: Calendar
    rules: Version
    standing: Row[Any]

    def sentences(self) -> Iterator[str]:
        match CaseState(self.case.state):
            case CaseState.SCHEDULED | CaseState.WARNED if self.case.under_way:
                yield from self._under_way()
            case CaseState.SCHEDULED:
                yield from self._to_be_warned()
            case CaseState.WARNED if self.rules.second_warning:
                yield from self._to_be_warned_again(self.rules.second_warning)
            case CaseState.WARNED | CaseState.WARNED_AGAIN:
                yield from self._to_be_handed_over()
            case CaseState.HANDED_OVER:
                yield from self._stopped() or (
                    "The field team may cut supply. Is the bill paid, or left out by a rule, before it has, "
                    "the team is called back.",
                )
            case CaseState.NOT_WARNED:
                yield from self._to_be_written_to()
            case _:
                yield from self._closed()

    # --- Before the warning

    def _to_be_warned(self) -> Iterator[str]:
        today, first = clock.today(), self.case.warn_from
        if stopped := self._stopped():
            yield from stopped
            return
        if first > today:
            yield from self._reminders()
            yield (
                f"Nobody is warned before {say_day(first, weekday=True)}. If the bill is still unpaid then, "
                f"the warning is due{self._by_letter()}."
            )
            return
        yield f"The warning is due since {say_day(first, weekday=True)}{self._by_letter()}."
        yield from self._not_yet(self.rules.warning)

    def _reminders(self) -> Iterator[str]:
        for step in self.rules.steps_in_force:
            if step.days_before_due is None:
                continue
            sent = any(one.kind == step.notice and one.state != "cancelled" for one in self.life.notices)
            first = self.case.due_date - step.days_before_due * _ONE_DAY
            if not sent and clock.today() < self.case.due_date and self.standing.letter_reason is None:
                since = f"from {say_day(first)} on" if first > clock.today() else "now"
                name = words.message(step.notice)
                yield f"{name[:1].upper()}{name[1:]} is due {since}, unless the bill is paid."

    def _by_letter(self) -> str:
        reason = self.standing.letter_reason
        return f", by letter: {words.reason(reason)}" if reason else ""

    def _to_be_warned_again(self, step: Step) -> Iterator[str]:
        if stopped := self._stopped():
            yield from stopped
            return
        first = self.case.cut_from - (step.days_before_cut or 0) * _ONE_DAY
        if first > clock.today():
            yield (
                f"The second warning is due from {say_day(first, weekday=True)} on, and supply may be cut "
                f"from {say_day(self.case.cut_from, weekday=True)} on, if the bill is still unpaid then."
            )
            return
        yield f"The second warning is due since {say_day(first, weekday=True)}{self._by_letter()}."
        yield from self._not_yet(step)

    def _not_yet(self, step: Step) -> Iterator[str]:
        """Say why a message that is due has not been decided on."""
        today = clock.today()
        run = last_daily_run(self.connection)
        decided = [
            one
            for one in self.life.decisions
            if one.verdict == "notify" and one.notice_kind == step.notice and one.day == today
        ]
        if decided and decided[-1].notice_id is None:
            yield "It was decided on today, and its message has not been planned yet."
        elif decided:
            yield "Its message of today never left: it is decided on anew on the next day."
        elif refused := refused_facts(self.connection):
            yield (
                "Nobody is warned while feeds of account facts are refused, for one may protect a customer: "
                f"{', '.join(refused)}."
            )
        elif stale := [one for one in freshness(self.connection, self.rules) if one.is_stale]:
            yield f"Nobody is warned while it is not known who has paid: {_stale(stale)}."
        elif run is None or run.day < today:
            window = self.calendar.window(today)
            since = f"since {say_day(run.day)}" if run else "yet"
            if window is None:
                opens = say_day(self.calendar.next_sending_day(today), weekday=True)
                yield f"Customers are not written to today; the next day is {opens}."
            else:
                yield f"Nothing has been decided yet, because the daily run has not run {since}."
        elif run.closed:
            yield f"Today's run decided nothing: {run.closed}."
        elif run.waiting:
            most = words.count(self.rules.most_warnings_a_day)
            yield (
                f"It waits for another day: the most warnings of one day ({most}) were reached, and the "
                "oldest debts go first."
            )
        else:
            yield "The next daily run decides on it."

    def _under_way(self) -> Iterator[str]:
        notice = self.life.notice(self.case.under_way)
        if notice is None:
            yield "Its message is not known any more."
            return
        settings = get_settings()
        if notice.state == "planned":
            yield (
                f"Its message may leave until {_hour(notice.send_until)}, and is checked once more then. "
                "What has not left by that time is decided on anew on the next day."
            )
            if self.standing.reason:
                yield f"As things stand it will not leave, because {words.reason(self.standing.reason)}."
        elif notice.state in ("accepted", "in_doubt"):
            horizon = settings.settle_horizon if notice.state == "accepted" else settings.doubt_horizon
            yield (
                f"Its receipt is waited for until {_hour(notice.submitted_at + horizon)}. Without one the "
                "customer counts as not warned, and a letter has to warn."
            )
        elif notice.state == "sending":
            yield "Its message is being handed to the provider."
        else:
            yield "Its message has its last word: the case takes it up at the next look for feeds."

    # --- After it

    def _to_be_handed_over(self) -> Iterator[str]:
        if stopped := self._stopped():
            yield from stopped
            return
        today = clock.today()
        first = max(today, self.case.cut_from)
        while not self.calendar.may_cut(first, self.rules.no_cut_on):
            first += _ONE_DAY
        if first > today:
            yield (
                f"Supply may be cut from {say_day(first, weekday=True)} on: on that morning the field team "
                "gets the case, if the bill is still unpaid then."
            )
        elif stale := [one for one in freshness_of_morning(self.connection, self.rules) if one.is_stale]:
            yield (
                "Nothing is handed over today while it is not known who has paid up to this morning: "
                f"{_stale(stale)}."
            )
        else:
            yield "It goes on the field team's list of today, which has not taken it up yet."

    def _to_be_written_to(self) -> Iterator[str]:
        if stopped := self._stopped():
            yield from stopped
            return
        day = next(
            (line.day for line in self.life.lists if line.kind == "letters" and self._is_of(line)), None
        )
        if day is None:
            yield "It goes on the next list of letters."
        else:
            yield f"A letter is to be written; it is on the list of letters of {say_day(day)}."
        yield "No message warns the customer any more, and nobody is sent to cut supply on its ground."

    def _closed(self) -> Iterator[str]:
        if self.standing.reason is None:
            yield (
                "Nothing stands against a warning any more: the next look for feeds opens the case again, "
                "with a notice period anew."
            )
        elif self.case.left_out_until:
            last = say_day(self.case.left_out_until, weekday=True)
            yield f"It is looked at again after {last}, the last day of what leaves it out."
        elif self.case.state == CaseState.PAID:
            yield "Nothing more, unless a payment is taken back: the bill would then get another case."
        elif self.case.reason == Reason.CORRECTED:
            yield "The corrected bill gets a case of its own once its customer has been told of it."
        elif self.case.reason == Reason.PAYMENT_PENDING:
            yield "Once a person or a good row has settled that, the bill gets another case."
        elif self.case.reason in set(Fact):
            yield "Nothing more, as long as that holds: if its end is told, the bill gets another case."
        else:
            yield "Nothing more, as long as that holds."
        handed = any(line.kind == "hand_over" and self._is_of(line) for line in self.life.lists)
        called = any(line.kind == "call_back" and self._is_of(line) for line in self.life.lists)
        if handed and not called:
            yield "The field team still has it on its list: the next list of those to call back names it."

    def _is_of(self, line: Row[Any]) -> bool:
        return bool(line.sequence == self.case.sequence)

    def _stopped(self) -> tuple[str, ...]:
        """Say what is known by now and will close the case at the next look; nothing otherwise."""
        reason = self.standing.reason
        if reason is None or reason in LETTERS:
            return ()
        return (f"The next look for feeds takes it out, because {words.reason(reason)}.",)


def _stale(channels: list[Freshness]) -> str:
    """Say up to when channels are known, and up to when they have to be; those alike in one clause."""
    alike: dict[tuple[datetime | None, datetime], list[str]] = {}
    for one in channels:
        alike.setdefault((one.complete_until, one.needed), []).append(words.CHANNELS[one.channel])
    return "; ".join(
        f"payments {words.listed(where)} are known up to {_hour(known)} only, and needed up to "
        f"{_hour(needed)}"
        if known
        else f"no feed has ever told of payments {words.listed(where)}"
        for (known, needed), where in alike.items()
    )


def _hour(instant: datetime) -> str:
    local = instant.astimezone(clock.zone())
    return f"{say_day(local.date())}, {local:%H:%M}"
