"""The figures of the pages about subscriptions: of a month, and of the whole service over time.

Called by the writer, in one snapshot. It puts together what the fees' and the enrolment's figures count, and
says what does not agree. Counts and sums only: nothing that names a person, and no free words.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.fees import figures as counts
from fatoura.fees.rules import all_fee_rules
from fatoura.fees.states import ChargeState
from fatoura.reports.subscriptions import enrolment
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from fatoura.fees.balance import Books
    from fatoura.fees.figures import (
        ChargesInState,
        Churn,
        CostClass,
        MessageCost,
        MonthOfFees,
        Outstanding,
    )
    from fatoura.reports.subscriptions.enrolment import Came, Enrolment, Left, MonthOfEnrolment

STATES = ("active", "suspended", "lapsed")
"""The states of current subscriptions, in the order in which they are drawn."""

MOST_MONTHS = 36
"""So many months are drawn on the page of the service; the tables of the workbook hold them too."""

COST_MONTHS = 12
"""Over so many months costs are set beside fees: a year of the one and of the other."""

BY_HAND = "by_hand"
"""Stands for a reason in a person's own words, which no report repeats."""

# What the fees themselves give as a reason; exemptions are named by their rules.
_REASONS = (
    *(
        "first_year",
        "left",
        "contract_ended",
        "crossed_out",
        "erased",
        "ended",
        "subscribed_again",
        "outdated",
    ),
    *("charged", "paid", "refunded", "taken_back"),
)


class MonthPhase(StrEnum):
    """Whether a month goes on."""

    RUNNING = "running"
    OVER = "over"


class Standing(NamedTuple):
    """How many subscriptions were in a group before a stretch of time and at its end.

    :param before: none where nothing was written down before it.
    """

    code: str
    before: int | None
    now: int


class DayCount(NamedTuple):
    """How many subscriptions there were in each group, as written down on a day."""

    day: date
    groups: dict[str, int]

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(self.groups.values())


class District(NamedTuple):
    """The subscriptions of a district over time.

    :param over_time: how many, a number for each point of time that is drawn; none: not counted.
    """

    code: str
    name_fr: str | None
    name_ar: str | None
    before: int | None
    now: int
    states: dict[str, int]
    over_time: list[int | None]


class Forgone(NamedTuple):
    """What was not charged, or taken off, by account and reason."""

    account: str
    reason: str
    charges: int
    millimes: int


class Answers(NamedTuple):
    """Answers of the billing system of one kind; `unclear` of them do not count, or not yet."""

    result: str
    answers: int
    millimes: int
    unclear: int


@dataclass(frozen=True)
class MonthFigures:
    """All that the page of a month says.

    :param last: the last day that it tells of: of a month that goes on, today.
    :param counted_before: the last day before the month on which subscribers were counted; and
    :param counted_on: the last one in it.
    :param years: charges of the years that begin in this month, as they stand now.
    :param missing: what does not agree, a sentence each.
    """

    month: date
    last: date
    as_of: datetime
    phase: MonthPhase
    counted_before: date | None
    counted_on: date | None
    days: list[DayCount]
    standings: dict[str, list[Standing]]
    districts: list[District]
    churn: Churn
    came: list[Came]
    left: list[Left]
    enrolment: Enrolment
    fees: MonthOfFees
    opening: Outstanding
    closing: Outstanding
    forgone: list[Forgone]
    years: list[ChargesInState]
    answers: list[Answers]
    costs: list[MessageCost]
    segment_price_millimes: int
    annual_fee_millimes: int
    books: Books
    missing: tuple[str, ...] = ()

    @property
    def subscribers(self) -> int:
        """How many subscriptions had not ended at the end, lapsed ones among them."""
        return self.churn.at_end

    @property
    def segments(self) -> int:
        """Segments that the provider accepted."""
        return sum(one.segments for one in self.costs)

    @property
    def cost_millimes(self) -> int:
        """What they cost."""
        return self.segments * self.segment_price_millimes


@dataclass(frozen=True)
class ServiceFigures:
    """All that the page of the whole service says. Lists by month have one entry for each of `months`.

    :param counted: the counts that are drawn, by dimension: the last one of each month.
    :param outstanding: what was outstanding at the end of each month.
    :param costs: of the last twelve months, the present one among them, from `costs_from` on.
    :param missing: what does not agree, a sentence each.
    """

    as_of: datetime
    today: date
    months: list[date]
    began: date | None
    counted_on: date | None
    counted: dict[str, list[DayCount | None]]
    districts: list[District]
    churn: list[Churn]
    enrolment: list[MonthOfEnrolment]
    fees: list[MonthOfFees]
    outstanding: list[Outstanding]
    forgone: list[Forgone]
    charges: list[ChargesInState]
    left: list[Left]
    costs_from: date
    costs: list[MessageCost]
    classes: list[CostClass]
    segment_price_millimes: int
    annual_fee_millimes: int
    books: Books
    missing: tuple[str, ...] = ()

    @property
    def subscribers(self) -> int:
        """How many subscriptions have not ended, lapsed ones among them."""
        return self.churn[-1].at_end if self.churn else 0


# --- Months ----------------------------------------------------------------------------------------------


def first_of(day: date) -> date:
    """Return the first day of a day's month."""
    return day.replace(day=1)


def next_month(month: date) -> date:
    """Return the first day of the month that follows."""
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)


def months_back(month: date, months: int) -> date:
    """Return the first day of the month so many months before."""
    number = month.year * 12 + month.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


def _months(first: date, last: date) -> list[date]:
    months = [first_of(first)]
    while months[-1] < first_of(last):
        months.append(next_month(months[-1]))
    return months


# --- A month ---------------------------------------------------------------------------------------------


def month_figures(
    connection: Connection, month: date, as_of: datetime, today: date, books: Books
) -> MonthFigures:
    """Count everything that the page of a month says.

    :param connection: in a transaction of one snapshot, or the figures may not agree with each other.
    :param month: its first day.
    :param books: how all books stand.
    """
    after = next_month(month)
    last = min(after - timedelta(days=1), today)
    counted_before = _counted_last(connection, date.min, month - timedelta(days=1))
    counted_on = _counted_last(connection, month, last)
    (churn,) = counts.churn(connection, month, month)
    (fees,) = counts.fees_by_month(connection, month, month)
    settings = get_settings()
    found = MonthFigures(
        month=month,
        last=last,
        as_of=as_of,
        phase=MonthPhase.RUNNING if today < after else MonthPhase.OVER,
        counted_before=counted_before,
        counted_on=counted_on,
        days=_by_day(counts.subscribers_by(connection, "state", month, last)),
        standings={
            name: _standings(connection, name, counted_before, counted_on)
            for name in counts.DIMENSIONS
            if name != "district"
        },
        districts=_districts(connection, [counted_before, counted_on]),
        churn=churn,
        came=enrolment.came(connection, month, after),
        left=enrolment.left(connection, month, after),
        enrolment=enrolment.enrolment(connection, month, after),
        fees=fees,
        opening=counts.outstanding_before(connection, month),
        closing=counts.outstanding_before(connection, after),
        forgone=_forgone(connection, month, after),
        years=_in_order(counts.charges_by_state(connection, month, after)),
        answers=_answers(connection, month, after),
        costs=counts.message_costs(connection, month, after),
        segment_price_millimes=settings.segment_price_millimes,
        annual_fee_millimes=settings.annual_fee_millimes,
        books=books,
    )
    return replace(found, missing=tuple(_month_differences(found)))


def _month_differences(f: MonthFigures) -> list[str]:
    """Say what does not agree."""
    said = [*f.books.differences]
    said += _fees_differ(f.fees, f.opening, f.closing)
    for what, whole, parts in (
        ("began", f.churn.joined, sum(one.first + one.anew for one in f.came)),
        ("ended", f.churn.left, sum(one.subscriptions for one in f.left)),
    ):
        if whole != parts:
            said.append(f"{whole} subscriptions {what} in {f.month:%Y-%m}, {parts} of them by why and how")
    return said


def _fees_differ(fees: MonthOfFees, opening: Outstanding, closing: Outstanding) -> list[str]:
    if opening.balance + fees.change == closing.balance:
        return []
    return [
        f"in {fees.month:%Y-%m} the journal moves what is outstanding from {opening.balance} to "
        f"{closing.balance} millimes, and what it tells of is {fees.change}"
    ]


# --- The whole service -----------------------------------------------------------------------------------


def service_figures(connection: Connection, as_of: datetime, today: date, books: Books) -> ServiceFigures:
    """Count everything that the page of the service says.

    :param connection: in a transaction of one snapshot, or the figures may not agree with each other.
    """
    began = began_on(connection)
    months = _months(max(began, months_back(today, MOST_MONTHS - 1)) if began else today, today)
    first, last, after = months[0], months[-1], next_month(months[-1])
    ends = [_counted_last(connection, month, next_month(month) - timedelta(days=1)) for month in months]
    fees = counts.fees_by_month(connection, first, last)
    costs_from = max(first, months_back(last, COST_MONTHS - 1))
    settings = get_settings()
    found = ServiceFigures(
        as_of=as_of,
        today=today,
        months=months,
        began=began,
        counted_on=next((day for day in reversed(ends) if day), None),
        counted={name: _at_days(connection, name, ends) for name in counts.DIMENSIONS if name != "district"},
        districts=_districts(connection, ends),
        churn=counts.churn(connection, first, last),
        enrolment=enrolment.enrolment_by_month(connection, first, last),
        fees=fees,
        outstanding=_outstanding(counts.outstanding_before(connection, first), connection, months),
        forgone=_forgone(connection, first, after),
        charges=_in_order(counts.charges_by_state(connection)),
        left=enrolment.left(connection, first, after),
        costs_from=costs_from,
        costs=counts.message_costs(connection, costs_from, after),
        classes=counts.costs_against_fees(connection, costs_from, after),
        segment_price_millimes=settings.segment_price_millimes,
        annual_fee_millimes=settings.annual_fee_millimes,
        books=books,
    )
    return replace(found, missing=tuple(_service_differences(connection, found)))


def began_on(connection: Connection) -> date | None:
    """Return the first day of the month in which the first subscription began; none where there is none."""
    first: datetime | None = connection.scalar(text("SELECT min(created_at) FROM subscription"))
    return first_of(first.astimezone(clock.zone()).date()) if first else None


def _service_differences(connection: Connection, f: ServiceFigures) -> list[str]:
    """Say what does not agree."""
    said = [*f.books.differences]
    opening = counts.outstanding_before(connection, f.months[0])
    for fees, closing in zip(f.fees, f.outstanding, strict=True):
        said += _fees_differ(fees, opening, closing)
        opening = closing
    current, owed, owed_back = connection.execute(text(_NOW)).one()
    if current != f.subscribers:
        said.append(
            f"{current} subscriptions have not ended, and {f.subscribers} have by what began and ended"
        )
    now = counts.outstanding_before(connection, next_month(f.months[-1]))
    if (owed, owed_back) != now:
        said.append(
            f"charges ask for {owed} and owe back {owed_back} millimes, the journal has {now.owed} and "
            f"{now.owed_back}"
        )
    return said


_NOW = """
SELECT (SELECT count(*) FROM subscription WHERE state <> 'ended'),
    (SELECT coalesce(sum(owed_millimes), 0) FROM fee_charge),
    (SELECT coalesce(sum(owed_back_millimes), 0) FROM fee_charge)
"""


def _outstanding(opening: Outstanding, connection: Connection, months: Sequence[date]) -> list[Outstanding]:
    """Return what was outstanding at the end of each month, from one look at the journal."""
    rows = connection.execute(text(_MOVED), {"first": months[0], "after": next_month(months[-1])})
    moved = {month: (int(owed), int(owed_back)) for month, owed, owed_back in rows}
    found = []
    for month in months:
        owed, owed_back = moved.get(month, (0, 0))
        opening = type(opening)(opening.owed + owed, opening.owed_back + owed_back)
        found.append(opening)
    return found


_MOVED = """
SELECT first, coalesce(sum(CASE 'receivable' WHEN debit THEN millimes WHEN credit THEN -millimes END), 0),
    coalesce(sum(CASE 'payable' WHEN credit THEN millimes WHEN debit THEN -millimes END), 0)
FROM (
    SELECT CAST(date_trunc('month', day) AS date) AS first, debit, credit, sum(amount_millimes) AS millimes
    FROM fee_entry WHERE day >= :first AND day < :after GROUP BY 1, 2, 3
) e GROUP BY first
"""


# --- Counts of subscribers -------------------------------------------------------------------------------


def _counted_last(connection: Connection, first: date, last: date) -> date | None:
    """Return the last day of a stretch of time on which subscribers were counted."""
    day: date | None = connection.scalar(
        text("SELECT max(day) FROM subscriber_count WHERE day BETWEEN :first AND :last"),
        {"first": first, "last": last},
    )
    return day


def _by_day(rows: Sequence[counts.SubscriberGroup]) -> list[DayCount]:
    days: dict[date, dict[str, int]] = {}
    for day, group, subscribers in rows:
        days.setdefault(day, {})[group] = subscribers
    return [DayCount(day, groups) for day, groups in days.items()]


def _at_days(connection: Connection, dimension: str, days: Sequence[date | None]) -> list[DayCount | None]:
    """Return the counts of these days, by one dimension."""
    rows = connection.execute(
        text(
            f"SELECT day, {dimension}, sum(subscribers) FROM subscriber_count WHERE day = ANY(:days) "
            "GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        {"days": [day for day in days if day]},
    )
    told = [counts.SubscriberGroup(day, group, int(subscribers)) for day, group, subscribers in rows]
    found = {one.day: one for one in _by_day(told)}
    return [found.get(day) if day else None for day in days]


def _standings(
    connection: Connection, dimension: str, before: date | None, now: date | None
) -> list[Standing]:
    first, last = _at_days(connection, dimension, [before, now])
    codes = {**(first.groups if first else {}), **(last.groups if last else {})}
    if dimension == "state":
        codes = dict.fromkeys((*STATES, *codes), 0) if codes else {}
    found = [
        Standing(code, first.groups.get(code, 0) if first else None, last.groups.get(code, 0) if last else 0)
        for code in codes
    ]
    return found if dimension == "state" else sorted(found, key=lambda one: (-one.now, one.code))


def _districts(connection: Connection, days: Sequence[date | None]) -> list[District]:
    """Return how districts stood on each of these days; the last one that was counted tells their states."""
    rows = connection.execute(
        text(
            "SELECT c.district, d.name_fr, d.name_ar, c.day, c.state, sum(c.subscribers) "
            "FROM subscriber_count c LEFT JOIN district d ON d.code = c.district "
            "WHERE c.day = ANY(:days) GROUP BY 1, 2, 3, 4, 5"
        ),
        {"days": [day for day in days if day]},
    )
    found: dict[tuple[str, str | None, str | None], dict[date, Counter[str]]] = {}
    for code, name_fr, name_ar, day, state, subscribers in rows:
        found.setdefault((code, name_fr, name_ar), {}).setdefault(day, Counter())[state] = int(subscribers)
    latest = next((day for day in reversed(days) if day), None)
    earliest = days[0]
    listed = []
    for names, counted in found.items():
        states = counted.get(latest, Counter()) if latest else Counter()
        listed.append(
            District(
                *names,
                before=counted.get(earliest, Counter()).total() if earliest else None,
                now=states.total(),
                states=dict(states),
                over_time=[counted.get(day, Counter()).total() if day else None for day in days],
            )
        )
    return sorted(listed, key=lambda one: (-one.now, one.code))


# --- Fees ------------------------------------------------------------------------------------------------

_FORGONE = """
SELECT debit, CASE WHEN because = ANY(:known) THEN because ELSE :by_hand END, count(DISTINCT charge_id),
    sum(amount_millimes)
FROM fee_entry
WHERE day >= :first AND day < :after AND debit IN ('waived', 'given_up', 'credited')
GROUP BY 1, 2
"""
_FORGONE_ON = ("waived", "given_up", "credited")
_ANSWERS = """
SELECT result, count(*), sum(amount_millimes), count(*) FILTER (WHERE finding IS NOT NULL)
FROM fee_result
WHERE at >= CAST(CAST(:first AS date) AS timestamp) AT TIME ZONE :zone
    AND at < CAST(CAST(:after AS date) AS timestamp) AT TIME ZONE :zone
GROUP BY 1
"""


def _known_reasons() -> list[str]:
    exemptions = {code for version in all_fee_rules().versions for code in version.exemptions}
    return sorted(exemptions | set(_REASONS))


def _forgone(connection: Connection, first: date, after: date) -> list[Forgone]:
    values: dict[str, Any] = {"first": first, "after": after, "known": _known_reasons(), "by_hand": BY_HAND}
    rows = connection.execute(text(_FORGONE), values)
    found = [Forgone(account, reason, charges, int(millimes)) for account, reason, charges, millimes in rows]
    return sorted(found, key=lambda one: (_FORGONE_ON.index(one.account), -one.millimes, one.reason))


def _answers(connection: Connection, first: date, after: date) -> list[Answers]:
    values = {"first": first, "after": after, "zone": clock.zone().key}
    rows = connection.execute(text(_ANSWERS), values)
    found = {
        result: Answers(result, answers, int(millimes), unclear)
        for result, answers, millimes, unclear in rows
    }
    order = ("accepted", "rejected", "paid", "refused", "refunded")
    return [found.get(result, Answers(result, 0, 0, 0)) for result in order]


def _in_order(charges: Sequence[ChargesInState]) -> list[ChargesInState]:
    order = list(ChargeState)
    return sorted(charges, key=lambda one: order.index(ChargeState(one.state)))
