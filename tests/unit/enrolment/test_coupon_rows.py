"""A captured coupon is good, or everything that is wrong with it is told by field and code."""

from __future__ import annotations

from datetime import date

import pytest

from fatoura.enrolment.records import COLUMNS, as_it_came, as_kept, check
from fatoura.enrolment.wordings import coupon_wordings
from fatoura.feeds.records import Record
from tests.coupons import ANNA, coupon, phone

TODAY = date(2026, 5, 20)


def checked(flaw: str | None = None, **changed):
    record = Record(1, "coupons.csv", 1, coupon("C1") | changed, flaw)
    found = check(record, TODAY, coupon_wordings())
    return found if isinstance(found, tuple) else [str(one) for one in found]


def test_a_good_coupon_is_its_typed_values():
    good = ("C1", "scan-C1", ANNA, phone(1), "ar", date(2026, 5, 1), "2026-1", False)
    assert checked() == good
    assert checked(phone=" 20 000 001 ", language="ar ") == good
    assert checked(phone="0021620000001") == good


@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        ({"coupon_id": ""}, ["coupon_id: form"]),
        ({"coupon_id": "C 1"}, ["coupon_id: form"]),
        ({"scan_id": ""}, ["scan_id: form"]),  # no consent without its evidence
        ({"scan_id": "a b"}, ["scan_id: form"]),
        ({"customer_reference": "42580496"}, ["customer_reference: not_nine_digits"]),  # a zero is lost
        ({"customer_reference": "42580496.0"}, ["customer_reference: not_nine_digits"]),
        ({"customer_reference": "٠٤٢٥٨٠٤٩٦"}, ["customer_reference: not_nine_digits"]),
        ({"phone": ""}, ["phone: empty"]),
        ({"phone": "71 000 001"}, ["phone: fixed_line"]),
        ({"phone": "+33 6 12 34 56 78"}, ["phone: foreign"]),
        ({"phone": "2000001"}, ["phone: too_short"]),
        ({"phone": "20000001.5"}, ["phone: too_long"]),
        ({"phone": "2.0000001E7"}, ["phone: unreadable"]),
        ({"language": "en"}, ["language: unknown"]),
        ({"language": ""}, ["language: unknown"]),
        ({"signed": "false", "signed_on": ""}, ["signed: not_signed"]),
        ({"signed": "yes"}, ["signed: unreadable"]),
        ({"signed_on": ""}, ["signed_on: not_a_date"]),
        ({"signed_on": "01/05/2026"}, ["signed_on: not_a_date"]),
        ({"signed_on": "46143"}, ["signed_on: not_a_date"]),
        ({"signed_on": "2026-02-30"}, ["signed_on: not_a_date"]),
        ({"signed_on": "2026-05-21"}, ["signed_on: in_the_future"]),
        ({"signed_on": "2025-12-31"}, ["signed_on: before_its_wording"]),
        ({"wording_version": "9"}, ["wording_version: unknown"]),
        ({"crossed_out": ""}, ["crossed_out: unreadable"]),
        ({"phone": "200", "language": "x"}, ["phone: too_short", "language: unknown"]),
        ({"flaw": "not_utf8"}, ["row: not_utf8"]),
    ],
)
def test_what_is_wrong_is_told_by_field_and_code(changed, reasons):
    assert checked(**changed) == reasons


def test_of_a_crossed_out_coupon_only_the_id_is_asked_for():
    crossed = checked(crossed_out="true", phone="1", signed="", signed_on="x", wording_version="9")
    assert crossed == ("C1", "scan-C1", ANNA, None, "ar", None, None, True)
    assert checked(crossed_out="true", coupon_id="") == ["coupon_id: form"]


def test_what_is_set_aside_comes_back_as_it_came():
    row = coupon("C1", phone="71 000 001")
    assert as_it_came(as_kept(row, None)) == row
    broken = {"": ["C1", phone(1)]}
    assert as_it_came(as_kept(broken, "not_csv")) == broken
    assert tuple(as_kept(row, None)) == COLUMNS
