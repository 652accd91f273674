"""Rows are cut out of CSV by the header's names; a broken one is told apart alone."""

from __future__ import annotations

import io

import pytest

from fatoura.feeds.records import LONGEST_LINE, PartUnreadableError, RowFlaws, is_storable, read_csv

COLUMNS = ("id", "amount")


def rows(content: bytes):
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", errors="surrogateescape", newline="")
    return list(read_csv(stream, COLUMNS))


def problems(content: bytes) -> tuple[str, ...]:
    with pytest.raises(PartUnreadableError) as unreadable:
        rows(content)
    return unreadable.value.problems


def test_columns_come_in_any_order_and_unknown_ones_are_kept():
    assert rows(b"amount,till,id\n5,3,P1\n") == [({"amount": "5", "till": "3", "id": "P1"}, None)]


def test_a_byte_order_mark_crlf_quotes_and_blank_lines_are_read_as_rfc_4180_says():
    content = b'\xef\xbb\xbfid,amount\r\n"P ""1""\nx",5\r\n\r\nP2,6'
    assert rows(content) == [
        ({"id": 'P "1"\nx', "amount": "5"}, None),
        ({"id": "P2", "amount": "6"}, None),
    ]


@pytest.mark.parametrize(
    ("line", "fields", "flaw"),
    [
        (b"P1", {"id": "P1"}, "wrong_number_of_fields"),
        (b"P1,5,6", {"id": "P1", "amount": "5", "": ["6"]}, "wrong_number_of_fields"),
        (b"P\xe91,5", {"id": "P\N{REPLACEMENT CHARACTER}1", "amount": "5"}, "not_utf8"),
        (b"P\x001,5", {"id": "P\N{REPLACEMENT CHARACTER}1", "amount": "5"}, "not_utf8"),
        (b'P1,"5', {"": ['P1,"5']}, "not_csv"),
        (b'"P"1,5', {"": ['"P"1,5']}, "not_csv"),
    ],
)
def test_a_broken_row_is_told_apart_and_the_next_one_is_read(line, fields, flaw):
    assert rows(b"id,amount\n" + line + b"\nP2,6\n") == [
        (fields, flaw),
        ({"id": "P2", "amount": "6"}, None),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"id\nP1\n", "the header lacks amount"),
        (b"id;amount\nP1;5\n", "separated by something other than a comma"),
        (b"id,amount,id\n", "the header has twice: id"),
        (b"id,amount,\n", "the header has no name for column 3"),
        ("id,amount\n".encode("utf-16"), "the header is not UTF-8"),
        (b'id,"amount\n', "a quote out of place"),
        (b"id,amount\n" + b"x" * (LONGEST_LINE + 1), "a line is longer than 65,536 characters"),
    ],
)
def test_a_file_that_is_none_of_the_contract_is_refused_in_words(content, said):
    assert any(said in problem for problem in problems(content))


def test_what_the_database_cannot_hold_is_recognised():
    assert [is_storable(text) for text in ("", "P1", "é", "\0", "\ud800", "é\0")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_flaws_are_told_by_row_and_field():
    assert RowFlaws(3, ("amount: not_positive", "row: not_csv")).as_json() == [
        {"row": 3, "field": "amount", "reason": "not_positive"},
        {"row": 3, "field": "row", "reason": "not_csv"},
    ]
