"""Dated decisions that override the calendar's rules: the table `calendar_day`.

Read whenever a calendar is loaded; written by `fatoura calendar`. Knows nothing of the rules.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

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
    if not reason.strip() or not by.strip():
        raise CalendarError("a decision about a day needs a reason and the name of who decided")
    opens, closes = hours or (None, None)
    values = {"closed": hours is None, "opens": opens, "closes": closes, "reason": reason, "set_by": by}
    with begin() as connection:
        connection.execute(
            insert(calendar_day)
            .values(day=day, **values)
            .on_conflict_do_update(index_elements=["day"], set_=values)
        )
    log.info("calendar: %s is %s by decision", day, hours or "closed")


def undo_decision(day: date) -> bool:
    """Give a day back to the rules; tell whether there was a decision."""
    with begin() as connection:
        undone = connection.execute(delete(calendar_day).where(calendar_day.c.day == day)).rowcount > 0
    if undone:
        log.info("calendar: %s follows the rules again", day)
    return undone
