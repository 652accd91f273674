"""The languages that customers choose from, and the locale of each. Texts, money and dates start here."""

from __future__ import annotations

from typing import Literal, get_args

Language = Literal["ar", "fr"]

LANGUAGES: tuple[Language, ...] = get_args(Language)

LOCALES: dict[Language, str] = {"ar": "ar_TN", "fr": "fr_TN"}
"""The CLDR locale that formats amounts and dates in each language."""
