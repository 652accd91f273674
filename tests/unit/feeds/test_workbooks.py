"""Workbooks are read as the texts that a CSV file would hold; what is none is refused in words."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime, time

import openpyxl
import pytest

from fatoura.feeds import workbooks
from fatoura.feeds.records import PartUnreadableError
from fatoura.feeds.workbooks import as_text, read_workbook

COLUMNS = ("coupon_id", "phone")
HEADER = [*COLUMNS]


def book(*rows: list, **more: list[list]) -> bytes:
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    for name, others in more.items():
        sheet = made.create_sheet(name)
        for row in others:
            sheet.append(row)
    written = io.BytesIO()
    made.save(written)
    return written.getvalue()


def rows(content: bytes) -> list:
    return list(read_workbook(io.BytesIO(content), COLUMNS))


def problem(content: bytes) -> str:
    with pytest.raises(PartUnreadableError) as unreadable:
        rows(content)
    return "; ".join(unreadable.value.problems)


@pytest.mark.parametrize(
    ("cell", "form", "said"),
    [
        (None, "", ""),
        ("042580496", "@", "042580496"),
        (42580496, "000000000", "042580496"),  # shown with its zero
        (42580496, "General", "42580496"),  # its zero is lost: nobody guesses it
        (20000001.0, "General", "20000001"),
        (2.1620000001e10, "0.00E+00", "21620000001"),
        (20000001.5, "General", "20000001.5"),
        (True, "General", "true"),
        (datetime(2026, 5, 1), "dd/mm/yyyy", "2026-05-01"),
        (date(2026, 5, 1), "dd/mm/yyyy", "2026-05-01"),
        (datetime(2026, 5, 1, 9, 30), "dd/mm/yyyy hh:mm", "2026-05-01T09:30:00"),
        (time(9, 30), "hh:mm", "09:30:00"),
        (46143, "General", "46143"),  # the serial of a day that is shown as a number: no day
        ("=1+1", "@", "=1+1"),
        ("#N/A", "General", "#N/A"),
    ],
)
def test_a_cell_is_the_text_that_a_csv_file_would_hold(cell, form, said):
    assert as_text(cell, form) == said


def test_rows_are_read_by_the_names_of_the_first_and_blank_ones_are_none():
    content = book(["phone", "coupon_id", None], [20000001, "C1"], [None, None], ["20 000 002", "C2"])
    assert rows(content) == [
        ({"phone": "20000001", "coupon_id": "C1"}, None),
        ({"phone": "20 000 002", "coupon_id": "C2"}, None),
    ]


def test_a_broken_row_is_told_apart_and_the_next_one_is_read():
    content = book(HEADER, ["C1", "1", "more"], ["C2"])
    assert rows(content) == [
        ({"coupon_id": "C1", "phone": "1", "": ["more"]}, "wrong_number_of_fields"),
        ({"coupon_id": "C2", "phone": ""}, None),
    ]


def test_a_row_is_as_wide_as_it_is(monkeypatch):
    monkeypatch.setattr(workbooks, "_WIDEST", 3)
    content = book([*HEADER, None], ["C1", "1", None, "far"])
    assert rows(content) == [({"coupon_id": "C1", "phone": "1"}, None)]


def test_a_formula_is_what_it_came_to_and_nothing_where_nobody_has_reckoned_it():
    assert rows(book(HEADER, ["C1", '="2000"&"0001"'])) == [({"coupon_id": "C1", "phone": ""}, None)]


def test_an_empty_sheet_beside_is_no_harm_and_a_second_one_with_rows_is_refused():
    assert rows(book(HEADER, ["C1", "1"], empty=[])) == [({"coupon_id": "C1", "phone": "1"}, None)]
    assert "2 sheets of the workbook hold rows" in problem(book(HEADER, ["C1", "1"], second=[HEADER]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "this is no XLSX workbook"),
        (b"coupon_id,phone\nC1,1\n", "this is no XLSX workbook"),
        (book(HEADER, ["C1", "1"])[:2000], "this is no XLSX workbook"),
        (book(), "the workbook is empty"),
        (book(["coupon_id"], ["C1"]), "the header lacks phone"),
        (book(["coupon_id", "phone", "phone"]), "the header has twice: phone"),
    ],
)
def test_another_file_is_refused_in_words(content, said):
    assert said in problem(content)


def test_an_archive_that_holds_no_workbook_is_refused():
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("xl/workbook.xml", "<")
    assert "the workbook cannot be read" in problem(written.getvalue())


def test_one_that_unpacks_to_too_much_is_refused_before_it_is_opened(monkeypatch):
    monkeypatch.setattr(workbooks, "LARGEST_UNPACKED", 1_000)
    assert "more than 1,000; deliver it in several parts" in problem(book(HEADER))
