"""The rules of the calendar: what `calendar.yaml` says, checked. Read by `fatoura.calendar.days` alone.

Knows the form of the file, and nothing of the decisions for single days in the database.
"""

from __future__ import annotations

import re
from datetime import date, time
from functools import cache
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


class Ramadan(_Part):
    """How sure the first and last day of Ramadan are."""

    provisional: Spread = Spread()


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

    :raises CalendarError: when it is missing or wrong; names each field.
    """
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as error:
        raise CalendarError(f"the calendar {path} cannot be read: {error.strerror}") from None
    return _read(path, stamp)


@cache
def _read(path: Path, _stamp: int) -> Rules:
    try:
        return Rules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CalendarError(f"the calendar {path} is not readable YAML: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise CalendarError(f"the calendar {path} is wrong. {wrong}") from None
