"""The rules of warning: what `rules.yaml` says, checked. Read by whoever decides about a case.

Knows the form of the file and which version is in force; how a rule is applied is known where it is applied.
"""

from __future__ import annotations

import re
from datetime import date, time
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fatoura.calendar.rules import Weekday  # noqa: TC001 - pydantic reads it
from fatoura.errors import BadInput
from fatoura.notices.kinds import all_kinds
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path


class RulesError(BadInput):
    """The file of rules is wrong."""


class Channel(StrEnum):
    """Where customers pay."""

    COUNTER = "counter"
    POST = "post"
    BANK = "bank"
    WEB = "web"
    APP = "app"
    DEBIT = "debit"


class Fact(StrEnum):
    """What can be known of an account."""

    PAYMENT_PLAN = "payment_plan"
    DISPUTE = "dispute"
    DIRECT_DEBIT = "direct_debit"
    PROTECTED = "protected"
    ESTIMATE_REVIEW = "estimate_review"
    CANCELLED = "cancelled"
    NUMBER_CHANGED = "number_changed"
    CONTRACT_ENDED = "contract_ended"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


_HOUR = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def _hour(value: Any) -> time:
    match = _HOUR.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("an hour is written like 05:00, in quotes")
    return time(int(match[1]), int(match[2]))


class Step(_Part):
    """One message on a case's way: its kind, and when it is due.

    `overdue` is the first warning, due from the case's `warn_from` on; `days_before_cut` the second one, for
    cases that were warned; `days_before_due` a reminder, for bills whose last day has not passed.
    """

    notice: str
    days_before_due: Annotated[int, Field(ge=1, le=60)] | None = None
    overdue: Literal[True] | None = None
    days_before_cut: Annotated[int, Field(ge=1, le=60)] | None = None
    notice_days: Annotated[int, Field(ge=1, le=90)] | None = None
    switched_off: bool = False

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        due = [self.days_before_due, self.overdue, self.days_before_cut]
        if sum(one is not None for one in due) != 1:
            raise ValueError("say one of days_before_due, overdue, days_before_cut")
        if (self.days_before_due is None) != (self.notice_days is not None):
            raise ValueError("a warning needs notice_days, and a reminder announces no cut")
        if self.notice not in all_kinds():
            raise ValueError(
                f"there is no kind of notice {self.notice!r}; the kinds are: {', '.join(all_kinds())}"
            )
        return self


class Version(_Part):
    """The rules in force from one day on. Money in millimes."""

    version: Annotated[str, Field(pattern=r"\A[A-Za-z0-9._-]{1,32}\z")]
    valid_from: date = Field(alias="from")
    minimum_debt_millimes: Annotated[int, Field(ge=1)]
    most_warnings_a_day: Annotated[int, Field(ge=1)]
    fresh_within_hours: dict[Channel, Annotated[int, Field(ge=1, le=24 * 14)]]
    hand_over_complete_from: Annotated[time, BeforeValidator(_hour)]
    no_cut_on: tuple[Weekday, ...]
    facts: dict[Fact, Literal["leave_out", "letter"]]
    steps: tuple[Step, ...]

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if missing := [channel for channel in Channel if channel not in self.fresh_within_hours]:
            raise ValueError(f"fresh_within_hours says nothing of {', '.join(missing)}")
        if missing_facts := [fact for fact in Fact if fact not in self.facts]:
            raise ValueError(f"facts says nothing of {', '.join(missing_facts)}")
        if len(set(self.no_cut_on)) == 7:
            raise ValueError("no_cut_on leaves no day for a cut")
        if sum(step.overdue is not None and not step.switched_off for step in self.steps) != 1:
            raise ValueError("steps needs one warning that is due when the bill is overdue")
        if sum(step.days_before_cut is not None and not step.switched_off for step in self.steps) > 1:
            raise ValueError("steps has two second warnings")
        kinds = [step.notice for step in self.steps]
        if len(set(kinds)) < len(kinds):
            raise ValueError("steps names a kind of notice twice")
        return self

    @property
    def steps_in_force(self) -> tuple[Step, ...]:
        """The steps that are not switched off, in their order."""
        return tuple(step for step in self.steps if not step.switched_off)

    @property
    def warning(self) -> Step:
        """The first warning."""
        return next(step for step in self.steps_in_force if step.overdue)

    @property
    def second_warning(self) -> Step | None:
        """The second warning, where there is one."""
        return next((step for step in self.steps_in_force if step.days_before_cut), None)


class Rules(_Part):
    """The file of rules."""

    versions: tuple[Version, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _follow_each_other(self) -> Self:
        days = [version.valid_from for version in self.versions]
        if days != sorted(set(days)):
            raise ValueError("the versions must be in the order of their days, one a day")
        names = [version.version for version in self.versions]
        if len(set(names)) < len(names):
            raise ValueError("two versions have one name: decisions record it, so each has its own")
        return self

    def on(self, day: date) -> Version:
        """Return the version in force on a day."""
        return next((one for one in reversed(self.versions) if one.valid_from <= day), self.versions[0])


def read_rules(path: Path) -> Rules:
    """Read and check a file of rules. One that has not changed is read once a process.

    :raises RulesError: when it is missing or wrong; names each entry and field.
    """
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise RulesError(f"{path}: the rules of warning cannot be read ({error.strerror})") from None


@cache
def _read(path: Path, _written: int) -> Rules:
    try:
        return Rules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RulesError(f"{path}: this is no YAML file ({' '.join(str(error).split())})") from None
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()
        )
        raise RulesError(f"{path}: {told}") from None


def rules_on(day: date) -> Version:
    """Return the rules in force on a day.

    :raises RulesError: when the file is missing or wrong.
    """
    return read_rules(get_settings().cutoff_rules).on(day)
