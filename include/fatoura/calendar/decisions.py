"""Dated decisions that override the calendar's rules: the table `calendar_day`.

Read whenever a calendar is loaded, so that what is decided while cycles wait is taken up; written by
`fatoura calendar`. Knows nothing of the rules.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, Self

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from fatoura.calendar.rules import CalendarError, Hours
from fatoura.database import begin
from fatoura.database.schema import calendar_day

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, time

log = logging.getLogger(__name__)


class Decision(NamedTuple):
    """What somebody decided about a day. No hours: the usual ones."""

    closed: bool
    opens: time | None
    closes: time | None
    reason: str
    by: str

    @classmethod
    def of(cls, hours: Hours | None, *, reason: str, by: str) -> Self:
        """Make a decision: local hours, or none to close the day.

        :raises CalendarError: without a reason or a name.
        """
        if not reason.strip() or not by.strip():
            raise CalendarError("a decision about a day needs a reason and the name of who decided")
        opens, closes = hours or (None, None)
        return cls(hours is None, opens, closes, reason.strip(), by.strip())

    @property
    def hours(self) -> Hours | None:
        """The hours that were decided; none when it is closed, or when the usual ones hold."""
        return Hours(self.opens, self.closes) if self.opens and self.closes else None

    def __str__(self) -> str:
        """Tell the hours."""
        return "closed" if self.closed else f"open {self.hours or 'as usual'}"


def read_decisions(connection: Connection) -> Mapping[date, Decision]:
    """Return all decisions, by their day."""
    columns = calendar_day.c
    rows = connection.execute(
        select(
            columns.day, columns.closed, columns.opens, columns.closes, columns.reason, columns.set_by
        ).order_by(columns.day)
    )
    return {day: Decision(*decision) for day, *decision in rows}


def decide_day(day: date, hours: Hours | None, *, reason: str, by: str) -> None:
    """Decide a day's sending hours, or close it; replaces an earlier decision.

    :param hours: local hours, or None to close the day.
    :param by: who decided.
    :raises CalendarError: without a reason or a name.
    """
    decide_days({day: Decision.of(hours, reason=reason, by=by)})


def undo_decision(day: date) -> bool:
    """Give a day back to the rules; tell whether there was a decision."""
    return decide_days({day: None}) > 0


def decide_days(decisions: Mapping[date, Decision | None]) -> int:
    """Take decisions, all or none; each replaces an earlier one about its day.

    :param decisions: by their days; without one, the day is given back to the rules.
    :returns: how many days were decided, or given back that had been.
    """
    taken = [
        {
            "day": day,
            "closed": decision.closed,
            "opens": decision.opens,
            "closes": decision.closes,
            "reason": decision.reason,
            "set_by": decision.by,
        }
        for day, decision in decisions.items()
        if decision is not None
    ]
    given_back = [day for day, decision in decisions.items() if decision is None]
    with begin() as connection:
        changed = connection.execute(delete(calendar_day).where(calendar_day.c.day.in_(given_back))).rowcount
        if taken:
            statement = insert(calendar_day)
            columns = [name for name in taken[0] if name != "day"]
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["day"], set_={name: statement.excluded[name] for name in columns}
                ),
                taken,
            )
    for day, decision in sorted(decisions.items()):
        log.info("calendar: %s %s", day, f"is {decision} by decision" if decision else "follows the rules")
    return changed + len(taken)
