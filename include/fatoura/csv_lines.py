"""The one place that cuts CSV of unknown quality record by record, and sets a broken one apart alone.

Called by imports that check each row in Python: subscribers, provider statements. (Extracts, a hundred times
as long, are cut by Arrow.) It knows no column, and keeps nothing.
"""

from __future__ import annotations

import csv
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class CsvRecord(NamedTuple):
    """One record of a file, as it came.

    :param line: the file's line that it begins on; 1-based.
    :param fields: its cells; the whole line in one cell when it could not be cut.
    :param cut: whether it could.
    """

    line: int
    fields: list[str]
    cut: bool


def cut(stream: Iterable[str], delimiter: str = ",") -> Iterator[CsvRecord]:
    """Cut lines into records. A line that spoils the cutting is set apart alone, without those after it.

    :param stream: lines with their ends; blank ones are no records.
    """
    line = 1
    lines: Iterable[str] = stream
    while True:
        taken: list[str] = []
        reader = csv.reader(_noting(lines, taken), delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                if fields:
                    yield CsvRecord(line, fields, cut=True)
                line += len(taken)
                taken.clear()
            return
        except csv.Error:
            # An open quote runs on over the lines that follow: give those back.
            yield CsvRecord(line, [taken[0].rstrip("\r\n")], cut=False)
            line += 1
            lines = chain(taken[1:], lines)


def _noting(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line
