"""The one place that decides which text is a day and which an integer, one value at a time.

Called by manifests, by the columns of extracts and by the database source. Knows no bounds.
"""

from __future__ import annotations

import re
from datetime import date

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INTEGER = re.compile(r"[+-]?[0-9]+")


def read_day(text: str) -> date | None:
    """Read ``YYYY-MM-DD``, strictly; nothing else is a day."""
    if not _DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def read_integer(text: str) -> int | None:
    """Read an integer of any size: digits with or without a sign; no spaces, no separators, no point."""
    if not _INTEGER.fullmatch(text):
        return None
    digits = text.lstrip("+-")
    value = 0
    # In steps: Python refuses to read more than 4,300 digits at once.
    for start in range(0, len(digits), 4000):
        piece = digits[start : start + 4000]
        value = value * 10 ** len(piece) + int(piece)
    return -value if text[0] == "-" else value
