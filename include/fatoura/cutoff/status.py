"""How cut-off cases stand as a whole: by state, what is due today and tomorrow, and how fresh the feeds are.

Asked by the command. It counts and weighs nothing: whom a rule leaves out is found when it is decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.cutoff.coming import DailyRun, last_daily_run
from fatoura.cutoff.freshness import Freshness, freshness, freshness_of_morning
from fatoura.cutoff.rules import Version, rules_on
from fatoura.cutoff.states import CaseState
from fatoura.database import connect

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.calendar import Calendar

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Due:
    """What is due on a day, in cases, before anybody has looked who has paid.

    :param notices: by kind of message; none of them where nobody is written to on this day.
    :param to_hand_over: none where supply is not cut on this day.
    """

    day: date
    may_write: bool
    may_cut: bool
    notices: dict[str, int]
    to_hand_over: int


@dataclass(frozen=True)
class Status:
    """How things stand.

    :param states: cases by state; a bill may have several, of which all but the last are closed.
    :param under_way: cases whose warning has no last word yet.
    :param for_warnings: how fresh each channel is, for warnings.
    :param for_hand_over: the same for this morning's list of the field teams.
    :param last_run: what the daily run decided last; null when it has never run.
    """

    day: date
    as_of: datetime
    rules_version: str
    states: dict[str, int]
    under_way: int
    due: tuple[Due, ...]
    for_warnings: tuple[Freshness, ...]
    for_hand_over: tuple[Freshness, ...]
    last_run: DailyRun | None


def cutoff_status() -> Status:
    """Return how things stand now, with what is due today and tomorrow.

    :raises RulesError: when the rules cannot be read.
    """
    today = clock.today()
    rules = rules_on(today)
    with connect() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        calendar = load_calendar(connection)
        counted: dict[str, int] = dict(
            connection.execute(text("SELECT state, count(*) FROM cutoff_case GROUP BY state")).all()
        )
        return Status(
            day=today,
            as_of=clock.now(),
            rules_version=rules.version,
            states={state.value: counted.get(state.value, 0) for state in CaseState},
            under_way=connection.scalar(text("SELECT count(*) FROM cutoff_case WHERE under_way IS NOT NULL"))
            or 0,
            due=tuple(_due(connection, calendar, rules_on(day), day) for day in (today, today + _ONE_DAY)),
            for_warnings=tuple(freshness(connection, rules)),
            for_hand_over=tuple(freshness_of_morning(connection, rules)),
            last_run=last_daily_run(connection),
        )


# By the conditions of the daily run and of the hand-over, without weighing anything.
_OVERDUE = "state = 'scheduled' AND warn_from <= :day AND under_way IS NULL"
_SECOND = "state = 'warned' AND under_way IS NULL AND cut_from - CAST(:days AS int) <= CAST(:day AS date)"
_REMINDED = """state = 'scheduled' AND due_date > :day AND due_date <= CAST(:day AS date) + CAST(:days AS int)
    AND NOT EXISTS (
        SELECT FROM notice n
        WHERE n.kind = :kind AND n.subject = cutoff_case.invoice_number AND n.state <> 'cancelled'
    )"""
_TO_CUT = """state = ANY(:states) AND under_way IS NULL AND cut_from <= :day"""


def _due(connection: Connection, calendar: Calendar, rules: Version, day: date) -> Due:
    may_write = calendar.window(day) is not None
    may_cut = calendar.may_cut(day, rules.no_cut_on)

    def count(which: str, **values: object) -> int:
        found = connection.scalar(
            text(f"SELECT count(*) FROM cutoff_case WHERE {which}"), {"day": day, **values}
        )
        return int(found or 0)

    notices = {}
    for step in rules.steps_in_force if may_write else ():
        if step.overdue:
            notices[step.notice] = count(_OVERDUE)
        elif step.days_before_cut is not None:
            notices[step.notice] = count(_SECOND, days=step.days_before_cut)
        else:
            notices[step.notice] = count(_REMINDED, days=step.days_before_due, kind=step.notice)
    last = ["warned_again"] if rules.second_warning else ["warned", "warned_again"]
    return Due(day, may_write, may_cut, notices, count(_TO_CUT, states=last) if may_cut else 0)
