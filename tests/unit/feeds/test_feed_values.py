"""What reads as an id, an invoice's number or an instant, and what an odd one probably stands for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fatoura.feeds.names import is_feed_name, name_at
from fatoura.feeds.values import (
    InstantError,
    is_identifier,
    is_invoice_number,
    probable_invoice_number,
    probable_reference,
    read_instant,
)


@pytest.mark.parametrize("text", ["P1", "2026/06-29:7", "~", "a" * 64])
def test_an_id_is_printable_and_without_spaces(text):
    assert is_identifier(text)


@pytest.mark.parametrize("text", ["", "P 1", "P\n", "é", "a" * 65, "\x7f"])
def test_what_is_no_id(text):
    assert not is_identifier(text)


@pytest.mark.parametrize(
    ("text", "good", "probable"),
    [
        ("2026-05-T1-0000001", True, "2026-05-T1-0000001"),
        ("A/1", True, "A/1"),
        (" a/1 ", False, "A/1"),
        ("2026 05 1", False, "2026051"),
        ("", False, None),
        ("n° 7", False, None),
        ("X" * 33, False, None),
    ],
)
def test_an_invoice_s_number_and_what_an_odd_one_probably_stands_for(text, good, probable):
    assert is_invoice_number(text) == good
    assert probable_invoice_number(text) == probable


@pytest.mark.parametrize(
    ("text", "probable"),
    [
        ("042580496", "042580496"),
        ("42580496", "042580496"),
        ("42580 496 0", "425804960"),
        ("", None),
        ("1234567890", None),
        ("12345678x", None),
        ("١٢٣", None),
    ],
)
def test_a_customer_is_recognised_also_where_a_spreadsheet_dropped_the_zeros(text, probable):
    assert probable_reference(text) == probable


@pytest.mark.parametrize(
    "text",
    [
        "2026-06-29T08:30:00+01:00",
        "2026-06-29T08:30+01:00",
        "2026-06-29T07:30:00Z",
        "2026-06-29T07:30:00.000000-00:00",
    ],
)
def test_an_instant_is_read_with_its_offset(text):
    assert read_instant(text) == datetime(2026, 6, 29, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "not_a_time"),
        ("2026-06-29", "not_a_time"),
        ("2026-06-29 08:30:00+01:00", "not_a_time"),
        ("29/06/2026 08:30", "not_a_time"),
        ("2026-02-30T08:30:00Z", "not_a_time"),
        ("2026-06-29T08:30:00+0100", "not_a_time"),
        ("0001-01-01T00:00:00+02:00", "not_a_time"),
        ("2026-06-29T08:30:00", "no_offset"),
    ],
)
def test_what_is_no_instant_is_told_by_a_code(text, code):
    with pytest.raises(InstantError) as error:
        read_instant(text)
    assert error.value.code == code


@pytest.mark.parametrize("name", ["2026-06-29-0600", "web-20260629T0600+01:00", "7"])
def test_names_of_feeds(name):
    assert is_feed_name(name)


@pytest.mark.parametrize("name", ["", "-x", "~20260629", "a b", "../x", "a/b", "a" * 101, "é"])
def test_what_is_no_name_of_a_feed(name):
    assert not is_feed_name(name)


def test_what_a_person_tells_sorts_after_every_feed_and_in_the_order_of_time():
    early = name_at(datetime(2026, 6, 29, 8, tzinfo=UTC))
    late = name_at(datetime(2026, 6, 29, 8, 0, 0, 1, tzinfo=UTC))
    assert "zzz" < early < late
