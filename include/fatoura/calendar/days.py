"""The calendar: on which days and in which hours customers are written to, and which days are working days.

The one module that knows. Everybody who plans, sends or counts days asks a `Calendar`; it is a value:
rules from the file, decisions for single days from the database, a time zone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from fatoura import clock
from fatoura.calendar.decisions import Decision, read_decisions
from fatoura.calendar.moon import public_holidays, ramadans_from
from fatoura.calendar.rules import WEEKDAYS, CalendarError, Hours, Rules, read_rules
from fatoura.database import connect
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import time
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection

_ONE_DAY = timedelta(days=1)
# No rule closes for longer than this; a search that goes further would only hide a wrong file.
_SEARCHED_DAYS = 400


class Day(NamedTuple):
    """One day, explained: for people who ask why."""

    day: date
    hours: Hours | None
    working: bool
    ramadan: bool
    holidays: tuple[str, ...]
    decision: Decision | None


@dataclass(frozen=True)
class Calendar:
    """Days and hours of the utility.

    Days are local days; instants are aware datetimes in any zone, and those returned are in `zone`. Subtract
    and compare those in UTC only: two datetimes of one zone are compared by their clock faces. A window
    holds its first instant and not its last.
    """

    rules: Rules
    zone: ZoneInfo
    decisions: Mapping[date, Decision] = field(default_factory=dict)

    # --- Sending windows

    def window(self, day: date) -> tuple[datetime, datetime] | None:
        """Return when sending opens and closes on a day, or None when it is closed all day."""
        hours = self._hours(day)
        if hours is None:
            return None
        # Where the clocks change inside the day, both readings of an hour must lie in the window.
        opens = max(self._readings(day, hours.opens))
        closes = min(self._readings(day, hours.closes))
        return (opens.astimezone(self.zone), closes.astimezone(self.zone)) if opens < closes else None

    def is_open(self, instant: datetime) -> bool:
        """Tell whether customers may be written to at an instant."""
        return self._window_around(_utc(instant)) is not None

    def next_opening(self, instant: datetime) -> datetime:
        """Return the first instant from `instant` on that is open: itself, when it is.

        :raises CalendarError: when no day of the following year is open.
        """
        asked = _utc(instant)
        windows = self._windows(asked.astimezone(self.zone).date(), _ONE_DAY)
        opens = next(opens for _, (opens, closes) in windows if _utc(closes) > asked)
        return instant if _utc(opens) <= asked else opens

    def closing(self, instant: datetime) -> datetime:
        """Return when the window around an instant closes.

        :raises ValueError: when the instant is in no window: ask `is_open` first.
        """
        window = self._window_around(_utc(instant))
        if window is None:
            raise ValueError(f"{instant.isoformat()} is outside the sending hours")
        return window[1]

    def remaining(self, instant: datetime) -> timedelta:
        """Return how long the window around an instant stays open; nothing when it is closed."""
        asked = _utc(instant)
        window = self._window_around(asked)
        return _utc(window[1]) - asked if window else timedelta()

    def last_closing_on_or_before(self, day: date) -> datetime:
        """Return the last instant at which sending closes up to the end of a day.

        :raises CalendarError: when no day of the year before is open.
        """
        _, (_, closes) = next(self._windows(day, -_ONE_DAY))
        return closes

    def next_sending_day(self, day: date) -> date:
        """Return the first day from `day` on with a window.

        :raises CalendarError: when no day of the following year is open.
        """
        return next(self._windows(day, _ONE_DAY))[0]

    # --- Working days

    def is_working_day(self, day: date) -> bool:
        """Tell whether payments are posted on a day: not at the weekend, nor on a holiday or a closed day."""
        return WEEKDAYS[day.weekday()] not in self.rules.on(day).weekend and not self._is_closed(day)

    def add_working_days(self, day: date, number: int) -> date:
        """Return the `number`-th working day after `day`; for 0, `day` itself, working or not.

        :raises CalendarError: when a whole year holds no working day.
        """
        if number < 0:
            raise ValueError("working days are counted forwards")
        for _ in range(number):
            day = next(self._working_days_after(day))
        return day

    def warn_from(self, due_date: date) -> date:
        """Return the first day on which an unpaid bill may be warned about.

        The posting grace after its due date, in working days, and a day on which sending is open.
        """
        grace = self.rules.on(due_date).posting_grace_working_days
        # The grace counts from the deadline itself: on the deadline the bill is not late yet.
        return self.next_sending_day(self.add_working_days(due_date, grace) if grace else due_date + _ONE_DAY)

    # --- Cutting supply

    def may_cut(self, day: date, no_cut_on: Collection[str]) -> bool:
        """Tell whether supply may be cut on a day: no such weekday, no holiday, nor the eve of one.

        :param no_cut_on: weekdays by their names, such as ``friday``.
        """
        return (
            WEEKDAYS[day.weekday()] not in no_cut_on
            and not self._is_closed(day)
            and not self._is_closed(day + _ONE_DAY)
        )

    def earliest_cut(self, day: date, notice_days: int, no_cut_on: Collection[str]) -> date:
        """Return the first day, at least `notice_days` after `day`, on which supply may be cut.

        :raises CalendarError: when a whole year holds none.
        """
        for number in range(notice_days, notice_days + _SEARCHED_DAYS):
            if self.may_cut(day + number * _ONE_DAY, no_cut_on):
                return day + number * _ONE_DAY
        raise CalendarError("by the calendar and the rules, supply may be cut on no day of a whole year")

    # --- What a day is

    def holidays(self, day: date) -> tuple[str, ...]:
        """Return the names of the public holidays that a day is, or may be."""
        rules = self.rules.holidays
        names = [
            added.name
            for added in rules.add
            if (added.month, added.day) == (day.month, day.day) and added.valid_from <= day <= added.until
        ]
        # A day that may be the holiday of a neighbouring day is treated as one.
        for distance in range(-rules.provisional.after, rules.provisional.before + 1):
            listed = day + timedelta(days=distance)
            for holiday in public_holidays(rules.country, listed.year).get(listed, ()):
                dropped = any(holiday.name == d.name and d.valid_from <= listed for d in rules.drop)
                if not dropped and (distance == 0 or holiday.estimated):
                    names.append(f"{holiday.name} (provisional)" if holiday.estimated else holiday.name)
        return tuple(dict.fromkeys(names))

    def is_ramadan(self, day: date) -> bool:
        """Tell whether a day is, or may be, in Ramadan."""
        spread, announced = self.rules.ramadan.provisional, self.rules.ramadan.announced
        if any(known.first <= day <= known.last for known in announced):
            return True
        for year in (day.year - 1, day.year, day.year + 1):
            for first, last, estimated in ramadans_from(year):
                if any(known.first <= last and first <= known.last for known in announced):
                    continue  # what was reckoned of it counts no more
                before, after = (spread.before, spread.after) if estimated else (0, 0)
                if first - before * _ONE_DAY <= day <= last + after * _ONE_DAY:
                    return True
        return False

    def explain(self, day: date) -> Day:
        """Return what is known about a day."""
        window = self.window(day)
        return Day(
            day=day,
            hours=self._hours(day) if window else None,
            working=self.is_working_day(day),
            ramadan=self.is_ramadan(day),
            holidays=self.holidays(day),
            decision=self.decisions.get(day),
        )

    def _is_closed(self, day: date) -> bool:
        decision = self.decisions.get(day)
        return decision.closed if decision else bool(self.holidays(day))

    def _hours(self, day: date) -> Hours | None:
        decision, rules = self.decisions.get(day), self.rules.on(day)
        if decision is not None:
            if decision.closed:
                return None
        elif WEEKDAYS[day.weekday()] in rules.no_sending_on or self.holidays(day):
            return None
        usual = rules.sending_in_ramadan if self.is_ramadan(day) else rules.sending
        if decision is None:
            return usual
        return Hours(decision.opens or usual.opens, decision.closes or usual.closes)

    def _readings(self, day: date, hour: time) -> Iterator[datetime]:
        """Yield the instants, in UTC, that a clock face of a day can mean: two where the clocks change."""
        for fold in (0, 1):
            yield datetime.combine(day, hour, self.zone).replace(fold=fold).astimezone(UTC)

    def _window_around(self, instant: datetime) -> tuple[datetime, datetime] | None:
        window = self.window(instant.astimezone(self.zone).date())
        if window is not None and _utc(window[0]) <= instant < _utc(window[1]):
            return window
        return None

    def _windows(self, day: date, step: timedelta) -> Iterator[tuple[date, tuple[datetime, datetime]]]:
        """Yield the days from `day` on that have a window, with it; raises when a year has none."""
        for _ in range(_SEARCHED_DAYS):
            window = self.window(day)
            if window is not None:
                yield day, window
            day += step
        raise CalendarError("by the calendar, no day of a whole year is open")

    def _working_days_after(self, day: date) -> Iterator[date]:
        for number in range(1, _SEARCHED_DAYS):
            if self.is_working_day(day + number * _ONE_DAY):
                yield day + number * _ONE_DAY
        raise CalendarError("by the calendar, no day of a whole year is a working day")


def load_calendar(connection: Connection | None = None) -> Calendar:
    """Return the calendar in force: the file's rules, and the database's decisions for single days.

    :param connection: where to read the decisions; without one, a connection of its own is opened.
    :raises CalendarError: when the file is wrong.
    """
    rules = read_rules(get_settings().calendar_file)
    if connection is None:
        with connect() as own:
            return Calendar(rules, clock.zone(), read_decisions(own))
    return Calendar(rules, clock.zone(), read_decisions(connection))


def closing_time(day: date) -> datetime:
    """Return the last instant at which sending closes up to the end of a day, by the calendar in force."""
    return load_calendar().last_closing_on_or_before(day)


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(UTC)
