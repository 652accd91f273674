"""The rules of the fee: what `rules.yaml` says, checked. Read by whoever announces, charges or lapses.

Knows the form of the file and which version is in force; how a rule is applied is known where it is applied.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 - pydantic reads it
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fatoura.errors import BadInput
from fatoura.notices.fields import LARGEST_FEE_MILLIMES
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path


class FeeRulesError(BadInput):
    """The file of rules is wrong."""


class GivenBack(StrEnum):
    """What is given back of a paid year."""

    NOTHING = "nothing"
    UNUSED_MONTHS = "unused_months"
    EVERYTHING = "everything"


End = Literal["contract_ended", "left", "erased", "crossed_out"]

TRIAL = "trial"
"""The code of a year that is free because the trial ran."""

FIRST_YEAR = "first_year"
"""The code of a first year that is free for everybody."""

_Days = Annotated[int, Field(ge=0, le=366)]
_Code = Annotated[str, Field(pattern=r"\A[a-z][a-z_]{0,31}\z")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Trial(_Part):
    """For whom years are free that begin up to its last day."""

    of: Literal["study", "all", "nobody"]
    until: date


class Say(_Part):
    """Which news is told."""

    renewed: bool
    lapsed: bool


class FeeRules(_Part):
    """The rules in force from one day on. Money in millimes."""

    version: Annotated[str, Field(pattern=r"\A[A-Za-z0-9._-]{1,32}\z")]
    valid_from: date = Field(alias="from")
    price_millimes: Annotated[int, Field(ge=1, le=LARGEST_FEE_MILLIMES)]
    first_year: Literal["charged", "free"]
    announce_days_ahead: _Days
    announced_for_days: _Days
    charge_days_ahead: _Days
    back_dated_days: Annotated[int, Field(ge=31, le=366)]
    grace_days: Annotated[int, Field(ge=1, le=366)]
    answered_within_days: Annotated[int, Field(ge=1, le=366)]
    trial: Trial
    exemptions: tuple[_Code, ...]
    at_the_end: dict[End, GivenBack]
    say: Say

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if missing := {"contract_ended", "left", "erased", "crossed_out"} - set(self.at_the_end):
            raise ValueError(f"at_the_end says nothing of {', '.join(sorted(missing))}")
        if len(set(self.exemptions)) < len(self.exemptions):
            raise ValueError("exemptions names a code twice")
        if FIRST_YEAR in self.exemptions:
            raise ValueError(f"exemptions: {FIRST_YEAR} is for everybody: say first_year: free")
        if self.charge_days_ahead > self.announce_days_ahead:
            raise ValueError(
                "charge_days_ahead is more than announce_days_ahead: nothing is charged unannounced"
            )
        return self


class AllRules(_Part):
    """The file of rules."""

    versions: tuple[FeeRules, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _follow_each_other(self) -> Self:
        days = [version.valid_from for version in self.versions]
        if days != sorted(set(days)):
            raise ValueError("the versions must be in the order of their days, one a day")
        names = [version.version for version in self.versions]
        if len(set(names)) < len(names):
            raise ValueError("two versions have one name: charges record it, so each has its own")
        return self

    def on(self, day: date) -> FeeRules:
        """Return the version in force on a day."""
        return next((one for one in reversed(self.versions) if one.valid_from <= day), self.versions[0])


def read_fee_rules(path: Path) -> AllRules:
    """Read and check a file of rules. One that has not changed is read once a process.

    :raises FeeRulesError: when it is missing or wrong; names each entry and field.
    """
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise FeeRulesError(f"{path}: the rules of the fee cannot be read ({error.strerror})") from None


@cache
def _read(path: Path, _written: int) -> AllRules:
    try:
        return AllRules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FeeRulesError(f"{path}: this is no YAML file ({' '.join(str(error).split())})") from None
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()
        )
        raise FeeRulesError(f"{path}: {told}") from None


def all_fee_rules() -> AllRules:
    """Return all versions.

    :raises FeeRulesError: when the file is missing or wrong.
    """
    return read_fee_rules(get_settings().fee_rules)


def fee_rules_on(day: date) -> FeeRules:
    """Return the rules in force on a day.

    :raises FeeRulesError: when the file is missing or wrong.
    """
    return all_fee_rules().on(day)
