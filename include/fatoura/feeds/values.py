"""What ids, invoice numbers and instants look like in feeds, and what an odd one probably stands for."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_IDENTIFIER = re.compile(r"[!-~]{1,64}")
_INVOICE_NUMBER = re.compile(r"[A-Z0-9/-]{1,32}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_SPACES = re.compile(r"\s+")


class InstantError(ValueError):
    """A text that is no instant; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def is_identifier(text: str) -> bool:
    """Tell whether this may be the id of a payment or fact: 1 to 64 printable characters without spaces."""
    return _IDENTIFIER.fullmatch(text) is not None


def is_invoice_number(text: str) -> bool:
    """Tell whether this may be the number of an invoice: 1 to 32 of A–Z, 0–9, - and /."""
    return _INVOICE_NUMBER.fullmatch(text) is not None


def read_instant(text: str) -> datetime:
    """Read ``2026-06-29T08:30:00+01:00``; seconds may be left out, the offset may not. Returns UTC.

    :raises InstantError: for anything else.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise InstantError("not_a_time")
    if match[1] is None:
        raise InstantError("no_offset")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InstantError("not_a_time") from None


def probable_invoice_number(text: str) -> str | None:
    """Return the invoice that a row set aside probably names: it is spared until somebody has looked."""
    cleaned = _SPACES.sub("", text).upper()
    return cleaned if is_invoice_number(cleaned) else None


def probable_reference(text: str) -> str | None:
    """Return the customer that a row set aside probably names; spreadsheets drop leading zeros."""
    cleaned = _SPACES.sub("", text)
    if cleaned.isascii() and cleaned.isdigit() and len(cleaned) <= 9:
        return cleaned.zfill(9)
    return None
