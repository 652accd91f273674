"""Rows of feeds out of XLSX workbooks, as the same texts that a CSV file would hold.

Called by the parts of a delivery. A workbook is read as a stream; only its table of shared texts is held, so
one that unpacks to more than a delivery can be is refused before it is opened.
"""

from __future__ import annotations

import warnings
import zipfile
from datetime import date, datetime, time
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from fatoura.feeds.records import (
    BEYOND_THE_HEADER,
    PartUnreadableError,
    RawRow,
    is_storable,
    storable,
    wrong_header,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

WORKBOOK = ".xlsx"
"""How the name of a workbook ends."""

LARGEST_UNPACKED = 512 * 1024 * 1024
"""Bytes. A workbook of a hundred thousand coupons unpacks to some 60 MB."""

_WIDEST = 200  # cells of a row that are looked at; a contract has about ten columns


def read_workbook(file: IO[bytes], columns: Sequence[str]) -> Iterator[RawRow]:
    """Cut the one sheet of a workbook into rows; blank ones are none.

    :param file: opened for reading bytes, at its beginning; it can be sought in.
    :param columns: that the first row must name.
    :raises PartUnreadableError: when it is no such workbook.
    """
    _check_size(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that nobody reads here
        try:
            yield from _read(file, columns)
        except PartUnreadableError:
            raise
        except Exception as error:  # whatever a broken archive makes of itself
            raise PartUnreadableError(
                f"the workbook cannot be read ({type(error).__name__}); save it again as XLSX, or as CSV"
            ) from None


def _check_size(file: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise PartUnreadableError("this is no XLSX workbook; save it again as XLSX, or as CSV") from None
    if size > LARGEST_UNPACKED:
        raise PartUnreadableError(
            f"the workbook unpacks to {size:,} bytes, more than {LARGEST_UNPACKED:,}; deliver it in "
            "several parts"
        )
    file.seek(0)


def _read(file: IO[bytes], columns: Sequence[str]) -> Iterator[RawRow]:
    import openpyxl

    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    try:
        filled = [sheet for sheet in book.worksheets if _has_rows(sheet)]
        if not filled:
            raise PartUnreadableError("the workbook is empty: not even a header is there")
        if len(filled) > 1:
            raise PartUnreadableError(
                f"{len(filled)} sheets of the workbook hold rows; keep one, and deliver the others as parts "
                "of their own"
            )
        rows = _filled(filled[0])
        names = next(rows)
        while names and not names[-1].strip():
            names.pop()
        if problems := list(wrong_header(names, columns)):
            raise PartUnreadableError(*problems)
        yield from (_row(names, cells) for cells in rows)
    finally:
        book.close()


def _has_rows(sheet: Any) -> bool:
    if not hasattr(sheet, "reset_dimensions"):
        return False  # a sheet that holds a chart and no cells
    sheet.reset_dimensions()  # some programs write wrong ones
    return next(_filled(sheet), None) is not None


def _filled(sheet: Any) -> Iterator[list[str]]:
    for cells in sheet.iter_rows():  # each as wide as it is: told how wide, it would fill up all of them
        texts = [as_text(cell.value, getattr(cell, "number_format", "")) for cell in cells[:_WIDEST]]
        if any(texts):
            yield texts


def _row(names: list[str], cells: Iterable[str]) -> RawRow:
    cells = iter(cells)
    fields: dict[str, Any] = dict(zip(names, [*islice(cells, len(names))], strict=False))
    fields |= {name: "" for name in names if name not in fields}
    beyond = list(cells)
    if any(beyond):
        fields[BEYOND_THE_HEADER] = beyond
        return storable(fields), "wrong_number_of_fields"
    if not all(map(is_storable, fields.values())):
        return storable(fields), "not_utf8"
    return fields, None


def as_text(value: Any, number_format: str = "") -> str:
    """Return what a cell holds as the text that a CSV file would hold for it.

    A number that is shown with leading zeros (``000000000``) keeps them; a day at midnight is a day.
    """
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case datetime() if value.time() == time():
            return value.date().isoformat()
        case datetime() | date() | time():
            return value.isoformat()
        case float() if value.is_integer():
            value = int(value)
    digits = str(value)
    if isinstance(value, int) and number_format and set(number_format) == {"0"}:
        return digits.zfill(len(number_format))
    return digits
