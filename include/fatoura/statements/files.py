"""A provider's file as rows of cells: CSV in the usual dialects, or a sheet of an XLSX workbook.

Called by the reading of statements. What it is, its first bytes tell, not its name. Titles above the heading
are passed over. It knows headings, and nothing of what stands below them.
"""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from fatoura.csv_lines import cut
from fatoura.errors import BadInput
from fatoura.statements.forms import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from fatoura.statements.forms import Form

_DELIMITERS = ";,\t|"
_SEARCHED_ROWS = 50  # titles, addresses and dates stand above the heading, not whole pages

# What a byte that does not belong to the encoding is read as.
_STRAY_BYTE = re.compile("[\udc80-\udcff]")

_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class StatementUnreadable(BadInput):
    """The file as a whole cannot be read by this form; says why."""


class Row(NamedTuple):
    """A row as it came.

    :param line: its line in the file, or its row in the sheet; 1-based, as people count.
    :param cells: texts of a CSV; of a workbook also numbers, days and instants.
    :param flaw: why it could not be cut or read as text, if so.
    """

    line: int
    cells: Sequence[Any]
    flaw: str | None = None


@dataclass(frozen=True)
class Table:
    """The rows below a heading.

    :param places: where each column of the form stands.
    :param rows: the rest of the file, as a stream; blank rows are left out.
    """

    places: dict[str, int]
    rows: Iterator[Row]


@contextmanager
def opened(path: Path, form: Form) -> Iterator[Table]:
    """Open a file, find its heading, and give the rows below it.

    :raises StatementUnreadable: when it is no such file, or no row holds the form's headings.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise StatementUnreadable(f"the file cannot be read: {error.strerror}") from None
    if not start:
        raise StatementUnreadable("the file is empty")
    if start == _OLE:
        raise StatementUnreadable("the workbook is of Excel's old kind (XLS): save it as XLSX or CSV")
    if start == _ZIP:
        with _workbook(path, form) as rows:
            places, _ = _found_heading([rows], form)
            width = max(places.values()) + 1
            yield Table(places, (_filled(row, width) for row in rows))
        return
    encoding = "utf-16" if start[:2] in _UTF_16 else form.encoding
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    with path.open(encoding=encoding, errors="surrogateescape", newline="") as stream:
        heads = []
        for delimiter in _DELIMITERS:
            stream.seek(0)
            heads.append(iter(list(islice(_csv(stream, delimiter), _SEARCHED_ROWS))))
        places, dialect = _found_heading(heads, form)
        stream.seek(0)
        rows = _csv(stream, _DELIMITERS[dialect])
        _found_heading([rows], form)
        yield Table(places, rows)


def _csv(stream: TextIO, delimiter: str) -> Iterator[Row]:
    for line, fields, is_cut in cut(stream, delimiter):
        flaw = None if is_cut else "not_csv"
        if any(not cell.isascii() and _STRAY_BYTE.search(cell) for cell in fields):
            flaw = "not_text"
        if flaw or any(not cell.isspace() for cell in fields if cell):
            yield Row(line, fields, flaw)


@contextmanager
def _workbook(path: Path, form: Form) -> Iterator[Iterator[Row]]:
    import openpyxl

    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that nobody reads here
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except Exception as error:  # whatever a broken archive makes of itself
            raise StatementUnreadable(f"the workbook cannot be read: {type(error).__name__}") from None
        try:
            if form.sheet and form.sheet not in book.sheetnames:
                raise StatementUnreadable(
                    f"there is no sheet {form.sheet!r}; the sheets are: {', '.join(book.sheetnames)}"
                )
            sheet = book[form.sheet] if form.sheet else book.worksheets[0]
            sheet.reset_dimensions()  # some programs write wrong ones
            yield _of_sheet(sheet.iter_rows(values_only=True))
        finally:
            book.close()


def _of_sheet(rows: Iterable[tuple[Any, ...]]) -> Iterator[Row]:
    for number, cells in enumerate(rows, start=1):
        if any(cell not in (None, "") for cell in cells):
            yield Row(number, ["" if cell is None else cell for cell in cells])


def _filled(row: Row, width: int) -> Row:
    """Add the empty cells that a sheet leaves out at the end of a row."""
    return row._replace(cells=[*row.cells, *[""] * (width - len(row.cells))])


def _found_heading(candidates: Sequence[Iterator[Row]], form: Form) -> tuple[dict[str, int], int]:
    """Read rows until one holds all headings that a file must have.

    :param candidates: the same file, cut in several ways.
    :returns: where each column stands, and which candidate it was.
    """
    wanted = {
        name: [plain(heading) for heading in headings] for name, headings in form.columns.named().items()
    }
    best: list[str] = list(form.required)
    for number, rows in enumerate(candidates):
        for row in islice(rows, _SEARCHED_ROWS):
            if row.flaw == "not_csv":
                continue
            cells = [plain(cell) for cell in row.cells]
            places = {
                name: cells.index(heading)
                for name, headings in wanted.items()
                if (heading := next((one for one in headings if one and one in cells), None))
            }
            missing = [name for name in form.required if name not in places]
            if not missing and places:
                _demand_sense(places, cells, form)
                return places, number
            if len(missing) < len(best):
                best = missing
    headings = {name: " or ".join(f"“{one}”" for one in form.required[name]) for name in best}
    raise StatementUnreadable(
        f"no row among the first {_SEARCHED_ROWS} has all headings of the form: missing "
        + "; ".join(f"{name} ({said})" for name, said in headings.items())
        + ". Put the file's own headings into the form; if letters with accents are spoiled, its encoding "
        'too (`encoding = "windows-1252"`)'
    )


def _demand_sense(places: dict[str, int], cells: list[str], form: Form) -> None:
    """Refuse a heading that leaves open what a column is, or what tells the lines apart."""
    taken: dict[int, str] = {}
    for name, place in places.items():
        if cells.count(cells[place]) > 1:
            raise StatementUnreadable(f"two columns are headed as {name} is: which one counts?")
        if place in taken:
            raise StatementUnreadable(f"one column is both {taken[place]} and {name}: mend the form")
        taken[place] = name
    named = set(places)
    if form.level == "summary":
        if not named & {"segments", "messages", "amount"}:
            raise StatementUnreadable("the bill has neither segments nor messages nor amounts")
    elif not (named & {"notice_id", "provider_id"} or {"recipient", "submitted_at"} <= named):
        raise StatementUnreadable(
            "nothing tells the messages apart: there is neither an id nor a recipient with a time"
        )
