"""The messages of a comparison as one long file, CSV or XLSX: what goes to the provider when it is disputed.

Called by the command. Rows stream from the database to the file, in flat memory.
"""

from __future__ import annotations

import csv
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from fatoura import clock
from fatoura.errors import BadInput
from fatoura.reports.tables import plain_cell
from fatoura.statements.report import MESSAGE_COLUMNS, message_cells

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fatoura.statements.comparing import OpenComparison

_ROWS_OF_A_SHEET = 1_048_575  # Excel's limit, the heading left out


def export_messages(
    opened: OpenComparison, path: Path, *, outcomes: tuple[str, ...], unmasked: bool = False
) -> int:
    """Write the messages of some outcomes to a file, and return how many there are.

    :param path: its ending says what it becomes: ``.csv`` or ``.xlsx``.
    :param unmasked: write numbers in full.
    :raises BadInput: for another ending, or when the file cannot be written.
    """
    rows = (message_cells(message, unmasked=unmasked) for message in opened.messages(outcomes))
    write = {".csv": _csv, ".xlsx": _xlsx}.get(path.suffix.lower())
    if write is None:
        raise BadInput(f"{path.name}: an export's name ends with .csv or .xlsx")
    with _told(path):
        return write(path, rows)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from None


def _csv(path: Path, rows: Iterator[list[Any]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(MESSAGE_COLUMNS)
        for row in rows:
            writer.writerow([plain_cell(cell) for cell in row])
            count += 1
    return count


def _xlsx(path: Path, rows: Iterator[list[Any]]) -> int:
    import xlsxwriter

    count = 0
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "default_date_format": "dd/mm/yyyy hh:mm:ss",
    }
    path.touch()  # where it cannot be written, xlsxwriter would tell at the end only
    with xlsxwriter.Workbook(path, options) as book:
        while True:
            sheet = book.add_worksheet()
            sheet.freeze_panes(1, 0)
            sheet.set_column(2, 2, 38)
            sheet.set_column(4, 6, 20)
            sheet.write_row(0, 0, MESSAGE_COLUMNS)
            here = 0
            for here, row in enumerate(islice(rows, _ROWS_OF_A_SHEET), start=1):
                for at, cell in enumerate(row):
                    if hasattr(cell, "astimezone"):
                        cell = cell.astimezone(clock.zone()).replace(tzinfo=None, microsecond=0)
                    if isinstance(cell, str):
                        sheet.write_string(here, at, cell)
                    elif cell is not None:
                        sheet.write(here, at, cell)
            count += here
            if here < _ROWS_OF_A_SHEET:
                return count
