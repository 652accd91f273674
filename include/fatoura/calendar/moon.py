"""Public holidays and Ramadan, from the package `holidays`: the one place that asks it. Imported late: 0.5 s.

Days that the moon decides come with the word whether they are estimates. What the utility makes of an
estimate is a rule, and not known here.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from fatoura.calendar.rules import CalendarError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ESTIMATED = " (estimated)"


class Holiday(NamedTuple):
    """A public holiday's name in English, and whether its day is an estimate."""

    name: str
    estimated: bool

    @classmethod
    def of(cls, label: str) -> Holiday:
        """Read the package's label."""
        return cls(label.removesuffix(_ESTIMATED), label.endswith(_ESTIMATED))


class Ramadan(NamedTuple):
    """The first and last day of one Ramadan, and whether they are estimates."""

    first: date
    last: date
    estimated: bool


@cache
def public_holidays(country: str, year: int) -> Mapping[date, tuple[Holiday, ...]]:
    """Return the public holidays of a country (ISO 3166 code) in a year.

    :raises CalendarError: for a country that the package does not know.
    """
    import holidays

    try:
        listed = holidays.country_holidays(country, years=year, language="en_US", expand=False)
    except NotImplementedError:
        raise CalendarError(f"holidays.country: no holidays of {country!r} are known") from None
    return {day: tuple(map(Holiday.of, listed.get_list(day))) for day in sorted(listed)}


@cache
def ramadans_from(year: int) -> tuple[Ramadan, ...]:
    """Return each Ramadan that begins in a year: one, or two (2030)."""
    first_days = [(day, estimated) for day, beginning, estimated in _lunar_days(year) if beginning]
    # Ramadan ends on the eve of Eid al-Fitr, which may lie in the next year.
    feasts = [day for y in (year, year + 1) for day, beginning, _ in _lunar_days(y) if not beginning]
    return tuple(
        Ramadan(first, min(feast for feast in feasts if feast > first) - timedelta(days=1), estimated)
        for first, estimated in first_days
        if any(feast > first for feast in feasts)
    )


@cache
def _lunar_days(year: int) -> tuple[tuple[date, bool, bool], ...]:
    """Return (day, whether Ramadan begins on it, estimated) for each first of Ramadan and Eid al-Fitr."""
    from holidays.groups import IslamicHolidays
    from holidays.holiday_base import HolidayBase

    class RamadanBounds(HolidayBase, IslamicHolidays):  # type: ignore[misc]
        country = "TN"
        default_language = "en_US"
        estimated_label = f"%s{_ESTIMATED}"

        def __init__(self) -> None:
            IslamicHolidays.__init__(self)
            super().__init__(years=year, expand=False)

        def _populate_public_holidays(self) -> None:
            self._add_ramadan_beginning_day("first day")
            self._add_eid_al_fitr_day("feast")

    return tuple(
        (day, holiday.name == "first day", holiday.estimated)
        for day, label in sorted(RamadanBounds().items())
        for holiday in (Holiday.of(label),)
    )
