"""The one place that prints a day for a person: DD/MM/YYYY in western digits, as Tunisian bills do.

Sentences of the command, in English, say the day in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from babel.dates import format_date

from fatoura.languages import LOCALES, Language

if TYPE_CHECKING:
    from datetime import date

DAY_CHARACTERS = "0123456789/"
"""Every character that `format_day` can produce."""


def format_day(day: date, language: Language) -> str:
    """Return a day as ``25/06/2026``, the same in both languages.

    The slashes keep it in one piece in an Arabic line: between digits they do not end a number.
    """
    text: str = format_date(day, "dd/MM/yyyy", locale=LOCALES[language])
    return text


def say_day(day: date, *, weekday: bool = False) -> str:
    """Return a day as an English sentence says it: ``25 June 2026``, or ``Thursday 25 June 2026``."""
    text: str = format_date(day, "EEEE d MMMM yyyy" if weekday else "d MMMM yyyy", locale="en")
    return text
