"""Rows of `subscribers.csv`, read and checked one by one. Pure: knows no database and keeps nothing.

Used by the import. What is wrong with a row is told by field and code, never with the row's values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TextIO

from fatoura.csv_lines import cut
from fatoura.errors import BadInput
from fatoura.languages import LANGUAGES
from fatoura.phones import PhoneError, parse_mobile
from fatoura.references import is_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ("customer_reference", "phone", "language", "channel", "consent_date")
CHANNELS = ("coupon", "web")

# The columns that a file of refused rows begins with: corrected, it can be imported as it is.
REFUSAL_COLUMNS = ("refused_row", "refused_because")

# What a byte that is no UTF-8 is read as.
_STRAY_BYTE = re.compile("[\udc80-\udcff]")

_ISO_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Flaw(NamedTuple):
    """What is wrong with a row: a column's name (or ``row``), and a code."""

    field: str
    code: str

    def __str__(self) -> str:
        """Return ``phone: fixed_line``."""
        return f"{self.field}: {self.code}"


class Subscriber(NamedTuple):
    """A row that passed every check."""

    customer_reference: str
    phone: str
    language: str
    channel: str
    consent_date: date


class Record(NamedTuple):
    """One record of the file, as it came.

    :param row: 1-based, header excluded.
    :param fields: its cells; the whole line in one cell when it could not be cut.
    """

    row: int
    fields: list[str]
    cut: bool


@dataclass(frozen=True)
class Header:
    """The first line of the file: where each column stands, and which are not ours."""

    names: tuple[str, ...]
    positions: tuple[int, ...]
    unknown: tuple[str, ...]

    @classmethod
    def read(cls, names: list[str]) -> Header:
        """Check the first line.

        :raises BadInput: when a column is missing or stands there twice; names it.
        """
        missing = [column for column in COLUMNS if column not in names]
        if missing:
            raise BadInput(
                f"the first line lacks {', '.join(missing)}: it must name {', '.join(COLUMNS)}, "
                "separated by commas"
            )
        twice = [column for column in COLUMNS if names.count(column) > 1]
        if twice:
            raise BadInput(f"the first line names {', '.join(twice)} twice")
        return cls(
            names=tuple(names),
            positions=tuple(map(names.index, COLUMNS)),
            unknown=tuple(name for name in names if name not in COLUMNS + REFUSAL_COLUMNS),
        )


def read_file(stream: TextIO) -> tuple[Header, Iterator[Record]]:
    """Read the header of a CSV file, and return it with the records that follow, as a stream.

    :param stream: opened as UTF-8 (a BOM is tolerated) with ``surrogateescape``, newlines untouched.
    :raises BadInput: when the file has no readable header.
    """
    records = cut(stream)
    header = next(records, None)
    if header is None:
        raise BadInput("the file is empty")
    if any(_STRAY_BYTE.search(name) or "\0" in name for name in header.fields):
        raise BadInput("the file is not UTF-8 text: save it as CSV with the encoding UTF-8")
    if not header.cut:
        raise BadInput("the first line is no CSV: its quotes do not match")
    return Header.read(header.fields), (
        Record(row, record.fields, record.cut) for row, record in enumerate(records, start=1)
    )


def check(record: Record, header: Header, today: date) -> Subscriber | list[Flaw]:
    """Check one record: a subscriber, or everything that is wrong with it.

    :param today: local day; consent is not given in the future.
    """
    if not record.cut:
        return [Flaw("row", "not_csv")]
    if len(record.fields) != len(header.names):
        return [Flaw("row", "wrong_number_of_fields")]
    if any(not cell.isascii() and _STRAY_BYTE.search(cell) for cell in record.fields):
        return [Flaw("row", "not_utf8")]
    reference, phone, language, channel, consent = (record.fields[at] for at in header.positions)
    flaws = []
    if not is_reference(reference):
        flaws.append(Flaw("customer_reference", "not_nine_digits"))
    try:
        phone = parse_mobile(phone)
    except PhoneError as error:
        flaws.append(Flaw("phone", error.code))
    if language not in LANGUAGES:
        flaws.append(Flaw("language", "unknown"))
    if channel not in CHANNELS:
        flaws.append(Flaw("channel", "unknown"))
    consent_date = _day(consent)
    if consent_date is None:
        flaws.append(Flaw("consent_date", "not_a_date"))
    elif consent_date > today:
        flaws.append(Flaw("consent_date", "in_the_future"))
    if flaws or consent_date is None:
        return flaws
    return Subscriber(reference, phone, language, channel, consent_date)


@lru_cache(maxsize=10_000)
def _day(text: str) -> date | None:
    if not _ISO_DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
