"""The one place that formats money: amounts in millimes become text, by Babel, always with three decimals.

Called by whoever shows an amount to a person. It knows nothing of invoices or messages, and it never
computes with money.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import NamedTuple

from babel.numbers import format_decimal

from fatoura.languages import LOCALES, Language

LARGEST_MILLIMES = 999_999_999
"""The largest amount that an extract may hold, either sign."""

AMOUNT_CHARACTERS: dict[Language, str] = {"ar": "0123456789.,-", "fr": "0123456789 ,-"}
"""Every character that `format_amount` can produce."""

# CLDR groups French digits with U+202F, formerly U+00A0: neither is in GSM-7, where one of them turns a
# message of 160 characters into parts of 67, or arrives as a question mark. Arabic keeps the full stop of
# ar_TN: a space would end the run of digits, and a right-to-left line shows two runs in swapped order.
# The marks that CLDR puts around Arabic numbers cost a character each, and a number after an Arabic letter
# does not need them.
_PLAIN = {0x202F: " ", 0x00A0: " ", 0x200E: None, 0x200F: None, 0x061C: None}


def format_amount(millimes: int, language: Language) -> str:
    """Return an amount of dinars, without the currency: ``1 234,500`` in French, ``1.234,500`` in Arabic.

    Western digits in both, as Tunisians write them. The text is of `AMOUNT_CHARACTERS`: GSM-7 throughout.
    """
    return _format(Decimal(millimes).scaleb(-3), "#,##0.000", language)


def format_exact_amount(millimes: Decimal, language: Language) -> str:
    """Return an amount as `format_amount` does, with further decimals where it has parts of a millime."""
    return _format(millimes.scaleb(-3), "#,##0.000###", language)


def format_price(millimes: int, language: Language) -> str:
    """Return a price as people say it: ``1``, but ``1,500``; for pages, where nothing stands in columns."""
    whole = millimes % 1000 == 0
    return _format(Decimal(millimes).scaleb(-3), "#,##0" if whole else "#,##0.000", language)


def _format(number: Decimal, pattern: str, language: Language) -> str:
    text: str = format_decimal(number, format=pattern, locale=LOCALES[language], numbering_system="latn")
    return text.translate(_PLAIN)


class AmountPieces(NamedTuple):
    """What one number from 0 to 999 looks like at each place of an amount's text."""

    leading: str
    """As the thousands of dinars, with the separator that follows: ``12.``; empty for 0."""
    alone: str
    """As the dinars of an amount below 1,000 dinars: ``7``."""
    following: str
    """As the dinars below the thousands: ``007``."""
    millimes: str
    """As the millimes, with the separator before them: ``,500``."""


@cache
def amount_pieces(language: Language) -> tuple[AmountPieces, ...]:
    """Return the pieces of amounts, by number: what the database puts together for a million amounts at once.

    For ``0 <= m <= LARGEST_MILLIMES``, with ``t, r, d = m // 1_000_000, m // 1000 % 1000, m % 1000``::

        format_amount(m) == p[t].leading + (p[r].following if t else p[r].alone) + p[d].millimes

    All pieces are cut out of what Babel wrote, so there is no second formatter; the tests compare the two.
    """
    dinars = [_format(Decimal(number), "#,##0", language) for number in range(2000)]
    thousands = [_format(Decimal(number * 1000), "#,##0", language) for number in range(1000)]
    return tuple(
        AmountPieces(
            leading=thousands[number][:-3] if number else "",
            alone=dinars[number],
            following=dinars[1000 + number][-3:],
            millimes=format_amount(number, language)[1:],
        )
        for number in range(1000)
    )
