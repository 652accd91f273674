"""Days as the judge counts them: from a list written by hand, never from the product's calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

FIRST = date(2026, 7, 6)
"""The Monday on which each life begins."""

TUNIS = timezone(timedelta(hours=1))  # no daylight saving since 2009

# Of the months that lives pass through. The Prophet's birthday is announced with two possible days.
HOLIDAYS = frozenset(
    {date(2026, 7, 25), date(2026, 8, 13), date(2026, 8, 25), date(2026, 8, 26), date(2026, 10, 15)}
)
LAST = date(2026, 12, 1)
"""Where the list above ends; no life gets there."""

_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6
ONE_DAY = timedelta(days=1)


def at(day: date, hour: int, minute: int = 0) -> datetime:
    """Return an instant by the local clock."""
    return datetime.combine(day, time(hour, minute), TUNIS).astimezone(UTC)


def day_of(instant: datetime) -> date:
    """Return the local day of an instant."""
    return instant.astimezone(TUNIS).date()


def may_send_on(day: date) -> bool:
    return day.weekday() != _SUNDAY and day not in HOLIDAYS


def may_send_at(instant: datetime) -> bool:
    return may_send_on(day_of(instant)) and 9 <= instant.astimezone(TUNIS).hour < 20


def is_working_day(day: date) -> bool:
    return day.weekday() not in (_SATURDAY, _SUNDAY) and day not in HOLIDAYS


def may_cut_on(day: date) -> bool:
    """No cut on Fridays and at weekends, on holidays, nor on the day before one."""
    return (
        day.weekday() not in (_FRIDAY, _SATURDAY, _SUNDAY)
        and day not in HOLIDAYS
        and day + ONE_DAY not in HOLIDAYS
    )


def overdue_from(due: date) -> date:
    """Three working days for a payment on the last day to show; then the next day that is open."""
    day, left = due, 3
    while left:
        day += ONE_DAY
        left -= is_working_day(day)
    while not may_send_on(day):
        day += ONE_DAY
    return day


def next_cut_day(day: date) -> date:
    while not may_cut_on(day):
        day += ONE_DAY
    return day
