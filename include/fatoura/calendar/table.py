"""Decisions for many days as a CSV table that a person edits: `fatoura calendar export` and `import`.

Knows the form of the table and checks all of it; `fatoura.calendar.decisions` writes what it says.
"""

from __future__ import annotations

import csv
import io
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from fatoura import csv_lines
from fatoura.calendar.decisions import Decision
from fatoura.calendar.rules import CalendarError, Hours

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

COLUMNS = ("day", "hours", "reason")

# What may stand for hours: nothing is sent; open at the usual hours; as the rules say, again.
_CLOSED, _OPEN, _RULES = "closed", "open", "rules"

_TOLD = 10  # so many flaws are named; the others are counted


class _Flaw(Exception):
    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"{field}: {what}")


class _Row(NamedTuple):
    day: str
    hours: str
    reason: str


def read_table(path: Path, *, by: str) -> dict[date, Decision | None]:
    """Read a table: columns `day`, `hours`, `reason`, separated by commas or semicolons.

    :param by: who decided.
    :returns: decisions by their days; without one, the day is to be given back to the rules.
    :raises CalendarError: when anything in it is wrong; names file, line and field of each.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CalendarError(f"the table {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CalendarError(f"the table {path} is not text in UTF-8") from None
    found: dict[date, Decision | None] = {}
    flaws = []
    for line, cells in _lines(path, text):
        try:
            day, decision = _read(cells, by)
            if day in found:
                raise _Flaw("day", f"{day} is there twice")
            found[day] = decision
        except _Flaw as flaw:
            flaws.append(f"line {line}, {flaw}")
    if flaws:
        more = f"; and {len(flaws) - _TOLD} more" if len(flaws) > _TOLD else ""
        raise CalendarError(f"nothing of the table {path} was taken. {'; '.join(flaws[:_TOLD])}{more}")
    return found


def write_table(decisions: Mapping[date, Decision]) -> str:
    """Return decisions as a table that `read_table` reads."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for day, decision in sorted(decisions.items()):
        hours = _CLOSED if decision.closed else decision.hours or _OPEN
        writer.writerow((day.isoformat(), hours, decision.reason))
    return out.getvalue()


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    records = csv_lines.cut(io.StringIO(text, newline=""), delimiter)
    header = next(records, None)
    if header is None or tuple(cell.strip() for cell in header.fields) != COLUMNS:
        raise CalendarError(f"the table {path} must begin with the line {','.join(COLUMNS)}")
    for record in records:
        yield record.line, record.fields if record.cut else []


def _read(cells: list[str], by: str) -> tuple[date, Decision | None]:
    if len(cells) != len(COLUMNS):
        raise _Flaw("all fields", f"there must be {len(COLUMNS)}, separated as in the first line")
    row = _Row(*(cell.strip() for cell in cells))
    try:
        day = date.fromisoformat(row.day)
    except ValueError:
        raise _Flaw("day", f"{row.day!r} is no day: write it like 2027-03-10") from None
    if row.hours == _RULES:
        return day, None
    if not row.reason:
        raise _Flaw("reason", "a decision about a day needs one")
    if row.hours == _OPEN:
        return day, Decision(False, None, None, row.reason, by)
    try:
        hours = None if row.hours == _CLOSED else Hours.parse(row.hours)
    except ValueError:
        raise _Flaw(
            "hours", f"{row.hours!r} are none: write 09:00-13:00, {_CLOSED}, {_OPEN} or {_RULES}"
        ) from None
    return day, Decision.of(hours, reason=row.reason, by=by)
