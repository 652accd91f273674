"""Rows of feeds as text: cut out of CSV, the header by name, with what is broken about them.

Called by the parts of a delivery. Which values are good is known by each content. Nothing is kept here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from fatoura.csv_lines import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO

LONGEST_LINE = 65_536
"""Characters. A row of a contract has about 150."""

BEYOND_THE_HEADER = ""
"""The name under which cells that the header has no column for are kept."""

RawRow = tuple[dict[str, Any], str | None]
"""A row's texts by column, and what is broken about it, if anything."""

_STRAY = re.compile("[\udc80-\udcff\0]")
_NO_CHARACTER = re.compile("[\ud800-\udfff\0]")


class PartUnreadableError(Exception):
    """A part that cannot be read to its end; `problems` says why, without its name."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


class Flaw(NamedTuple):
    """What is wrong with a row: a column's name (or ``row``), and a code."""

    field: str
    code: str

    def __str__(self) -> str:
        """Return ``amount_millimes: not_positive``."""
        return f"{self.field}: {self.code}"


class RowFlaws(NamedTuple):
    """A row that breaks a rule, and all that is wrong with it, as ``field: code``."""

    row: int
    reasons: tuple[str, ...]

    def as_json(self) -> list[dict[str, Any]]:
        """Return an object for each flaw."""
        return [
            {"row": self.row, "field": field, "reason": code}
            for field, _, code in (reason.partition(": ") for reason in self.reasons)
        ]


class Record(NamedTuple):
    """One row of a feed, as it came.

    :param row: in the feed, 1-based.
    :param part_row: in its part, 1-based, header excluded.
    :param fields: its texts, by the columns of the header.
    :param flaw: ``not_csv``, ``wrong_number_of_fields``, ``not_utf8`` or ``not_an_object``, when it came
        broken.
    """

    row: int
    part: str
    part_row: int
    fields: dict[str, Any]
    flaw: str | None

    def text(self, column: str) -> str:
        """Return the text of a column, empty where there is none."""
        value = self.fields.get(column, "")
        return value if isinstance(value, str) else ""


def read_csv(stream: TextIO, columns: Sequence[str]) -> Iterator[RawRow]:
    """Cut a CSV file into rows.

    :param stream: opened as UTF-8 (a BOM is tolerated) with ``surrogateescape``, newlines untouched.
    :param columns: that the header must name.
    :raises PartUnreadableError: when there is no good header, or a line has no end.
    """
    records = cut(_lines(stream))
    header = next(records, None)
    if header is None:
        raise PartUnreadableError("the file is empty: not even a header is there")
    if any(_STRAY.search(name) for name in header.fields):
        raise PartUnreadableError("the header is not UTF-8; write the file in UTF-8")
    if not header.cut:
        raise PartUnreadableError("the header has a quote out of place")
    names = header.fields
    if problems := list(wrong_header(names, columns)):
        raise PartUnreadableError(*problems)
    for record in records:
        cells = record.fields
        if not record.cut:
            yield storable({BEYOND_THE_HEADER: cells}), "not_csv"
        elif len(cells) != len(names):
            fields: dict[str, Any] = dict(zip(names, cells, strict=False))
            if len(cells) > len(names):
                fields[BEYOND_THE_HEADER] = cells[len(names) :]
            yield storable(fields), "wrong_number_of_fields"
        elif any(_STRAY.search(cell) for cell in cells):
            yield storable(dict(zip(names, cells, strict=True))), "not_utf8"
        else:
            yield dict(zip(names, cells, strict=True)), None


def storable(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a broken row as the database can hold it: what is no text becomes a replacement character."""

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return _NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", value)
        return [plain(one) for one in value] if isinstance(value, list) else value

    return {plain(name): plain(value) for name, value in fields.items()}


def is_storable(text: str) -> bool:
    """Tell whether a text is one that the database can hold."""
    return (text.isascii() and "\0" not in text) or _NO_CHARACTER.search(text) is None


def _lines(stream: TextIO) -> Iterator[str]:
    while line := stream.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise PartUnreadableError(
                f"a line is longer than {LONGEST_LINE:,} characters: this is no CSV file of the contract"
            )
        yield line


def wrong_header(names: Sequence[str], columns: Iterable[str]) -> Iterator[str]:
    """Say what is wrong with the names of a header."""
    missing = [column for column in columns if column not in names]
    if missing:
        hint = ""
        if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
            hint = "; the fields seem to be separated by something other than a comma"
        yield f"the header lacks {', '.join(missing)}{hint}"
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        yield f"the header has twice: {', '.join(repeated)}"
    nameless = [str(at) for at, name in enumerate(names, 1) if not name.strip()]
    if nameless:
        yield f"the header has no name for column {', '.join(nameless)}"
