"""The types of values that a message can hold, and how each is printed. Used by templates and rendering.

A type hands its formatting to the module that owns it (money, dates, references). What it prints is never
empty and of one-unit characters of GSM-7 only, so that the words of a text alone decide its encoding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from fatoura.dates import DAY_CHARACTERS, format_day
from fatoura.languages import LANGUAGES, Language
from fatoura.money import AMOUNT_CHARACTERS, LARGEST_MILLIMES, format_amount
from fatoura.references import REFERENCE_CHARACTERS, format_reference, is_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class FieldType:
    """A type of value."""

    name: str
    form: str
    """What a value is, in words, for errors."""
    accepts: Callable[[object], bool]
    format: Callable[[Any, Language], str]
    characters: Mapping[Language, str]
    """Every character that `format` can produce; all are in the basic table of GSM-7."""


LARGEST_FEE_MILLIMES = 9_999
"""The largest amount of the type `fee`: a message that can print no more has room for other words."""

FIELD_TYPES = {
    type_.name: type_
    for type_ in (
        FieldType(
            "money",
            f"a whole number of millimes from 0 to {LARGEST_MILLIMES}",
            lambda value: type(value) is int and 0 <= value <= LARGEST_MILLIMES,
            format_amount,
            AMOUNT_CHARACTERS,
        ),
        FieldType(
            "fee",
            f"a whole number of millimes from 0 to {LARGEST_FEE_MILLIMES}",
            lambda value: type(value) is int and 0 <= value <= LARGEST_FEE_MILLIMES,
            format_amount,
            AMOUNT_CHARACTERS,
        ),
        FieldType(
            "date",
            "a day, such as 2026-12-31",
            lambda value: isinstance(value, date) and not isinstance(value, datetime),
            format_day,
            dict.fromkeys(LANGUAGES, DAY_CHARACTERS),
        ),
        FieldType(
            "reference",
            "a text of 9 digits",
            is_reference,
            format_reference,
            REFERENCE_CHARACTERS,
        ),
        FieldType(
            "code",
            "a text of 6 western digits",
            lambda value: isinstance(value, str) and re.fullmatch("[0-9]{6}", value) is not None,
            lambda value, language: str(value),
            dict.fromkeys(LANGUAGES, "0123456789"),
        ),
    )
}


@dataclass(frozen=True)
class Field:
    """A value that a kind of notice needs."""

    name: str
    type: FieldType
    worst: Any
    """The value that takes the most room."""
    typical: Any
    """A value as customers usually see it, for previews."""
