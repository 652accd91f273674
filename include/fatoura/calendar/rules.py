"""The rules of the calendar: what `calendar.yaml` says, checked. Read by `fatoura.calendar.days` alone.

Knows the form of the file, and nothing of the decisions for single days in the database.
"""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fatoura.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")


class CalendarError(BadInput):
    """The calendar's file is wrong, or its rules leave no open day."""


class Hours(NamedTuple):
    """Local hours of one day: from `opens` on, up to but not at `closes`."""

    opens: time
    closes: time

    @classmethod
    def parse(cls, text: Any) -> Self:
        """Read ``09:00-20:00``.

        :raises ValueError: for anything else, and when the day would end before it begins.
        """
        match = _HOURS.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError("hours are written like 09:00-20:00, in quotes")
        from_hour, from_minute, to_hour, to_minute = map(int, match.groups())
        hours = cls(time(from_hour, from_minute), time(to_hour, to_minute))
        if hours.opens >= hours.closes:
            raise ValueError("the second hour must come after the first")
        return hours

    def __str__(self) -> str:
        """Return the hours as they are written."""
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, arbitrary_types_allowed=True
    )


Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_WrittenHours = Annotated[Hours, BeforeValidator(Hours.parse)]


class Version(_Part):
    """The rules in force from one day on."""

    valid_from: date = Field(alias="from")
    sending: _WrittenHours
    sending_in_ramadan: _WrittenHours
    no_sending_on: tuple[Weekday, ...]
    weekend: tuple[Weekday, ...]
    posting_grace_working_days: int = Field(ge=0, le=60)


class Spread(_Part):
    """How many days around an estimated one may be it."""

    before: int = Field(default=0, ge=0, le=3)
    after: int = Field(default=0, ge=0, le=3)


class AddedHoliday(_Part):
    """A holiday of every year that the package does not list."""

    month: int = Field(ge=1, le=12)
    day: int = Field(ge=1, le=31)
    name: str
    valid_from: date = Field(date.min, alias="from")
    until: date = date.max

    @model_validator(mode="after")
    def _is_a_day(self) -> Self:
        try:
            date(2024, self.month, self.day)  # a leap year
        except ValueError:
            raise ValueError(f"no month {self.month} has a day {self.day}") from None
        if self.until < self.valid_from:
            raise ValueError("it ends before it begins")
        return self


class DroppedHoliday(_Part):
    """A holiday that the package lists and that is none, from a day on."""

    name: str
    valid_from: date = Field(date.min, alias="from")


class Holidays(_Part):
    """Where the public holidays come from, and what is put right."""

    country: str
    add: tuple[AddedHoliday, ...] = ()
    drop: tuple[DroppedHoliday, ...] = Field((), alias="except")
    provisional: Spread = Spread()


class AnnouncedRamadan(_Part):
    """One Ramadan as it was announced: its first and its last day."""

    first: date
    last: date

    @model_validator(mode="after")
    def _is_a_lunar_month(self) -> Self:
        if self.last - self.first not in (timedelta(days=28), timedelta(days=29)):
            raise ValueError("from its first to its last day a Ramadan has 29 or 30 days")
        return self


class Ramadan(_Part):
    """How sure the reckoned first and last day of Ramadan are, and those that are known."""

    provisional: Spread = Spread()
    announced: tuple[AnnouncedRamadan, ...] = ()

    @model_validator(mode="after")
    def _follow_each_other(self) -> Self:
        if any(after.first <= before.last for before, after in pairwise(self.announced)):
            raise ValueError("those announced must be in the order of their days, each one once")
        return self


class Rules(_Part):
    """The calendar's file."""

    versions: tuple[Version, ...] = Field(min_length=1)
    holidays: Holidays
    ramadan: Ramadan = Ramadan()

    @model_validator(mode="after")
    def _versions_follow_each_other(self) -> Self:
        days = [version.valid_from for version in self.versions]
        if days != sorted(set(days)):
            raise ValueError("the versions must be in the order of their days, one a day")
        return self

    def on(self, day: date) -> Version:
        """Return the version in force on a day."""
        in_force = self.versions[0]
        for version in self.versions[1:]:
            if version.valid_from <= day:
                in_force = version
        return in_force


def read_rules(path: Path) -> Rules:
    """Read and check the calendar's file. A file that has not changed is read once a process.

    :raises CalendarError: when it is missing or wrong; names each entry and field.
    """
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as error:
        raise CalendarError(f"the calendar {path} cannot be read: {error.strerror}") from None
    return _read(path, stamp)


@cache
def _read(path: Path, _stamp: int) -> Rules:
    try:
        rules = Rules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CalendarError(f"the calendar {path} is not readable YAML: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise CalendarError(f"the calendar {path} is wrong. {wrong}") from None
    try:
        _check_names(rules.holidays)
    except CalendarError as error:
        raise CalendarError(f"the calendar {path} is wrong. {error}") from None
    return rules


def _check_names(holidays: Holidays) -> None:
    """Refuse a holiday to be dropped that was never listed: it would stay one, and nobody would know why."""
    from fatoura.calendar.moon import public_holidays  # it imports this module, and costs half a second

    this_year = date.today().year
    for number, dropped in enumerate(holidays.drop):
        first = min(max(dropped.valid_from.year - 5, 1990), this_year)
        listed = {
            holiday.name
            for year in range(first, this_year + 2)
            for named in public_holidays(holidays.country, year).values()
            for holiday in named
        }
        if dropped.name not in listed:
            raise CalendarError(
                f"holidays.except.{number}.name: {dropped.name!r} is none of the holidays of "
                f"{holidays.country}: {', '.join(sorted(listed))}"
            )
