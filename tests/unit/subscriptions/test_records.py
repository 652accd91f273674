"""Rows of subscribers.csv: what is read, what is refused and why. All numbers are invented."""

import csv
import io
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.errors import BadInput
from fatoura.subscriptions.records import COLUMNS, Subscriber, check, read_file

TODAY = date(2026, 5, 20)
HEADER = ",".join(COLUMNS)
GOOD = "012345678,+21620000001,ar,coupon,2026-01-05"


def read(content: str | bytes):
    raw = content.encode() if isinstance(content, str) else content
    stream = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8-sig", errors="surrogateescape", newline="")
    header, records = read_file(stream)
    return [(record, check(record, header, TODAY)) for record in records]


def flaws_of(line: str | bytes) -> list[str]:
    raw = line.encode() if isinstance(line, str) else line
    ((_, checked),) = read(HEADER.encode() + b"\n" + raw + b"\n")
    assert isinstance(checked, list), "the row passed"
    return [str(flaw) for flaw in checked]


def test_a_good_row_becomes_a_subscriber():
    ((record, checked),) = read(f"{HEADER}\n{GOOD}\n")
    assert record.row == 1
    assert checked == Subscriber("012345678", "+21620000001", "ar", "coupon", date(2026, 1, 5))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_bom_and_either_line_end_are_tolerated(mark, newline):
    ((_, checked),) = read(mark + f"{HEADER}{newline}{GOOD}{newline}".encode())
    assert isinstance(checked, Subscriber)


def test_columns_may_stand_in_any_order_and_others_are_named():
    content = "phone,name,consent_date,language,customer_reference,channel\n"
    content += '20 000 001,"BEN ALI, ""Ali""\nنابل",2026-05-20,fr,000000001,web\n'
    header, records = read_file(io.StringIO(content, newline=""))
    assert header.unknown == ("name",)
    (record,) = records
    assert check(record, header, TODAY) == Subscriber(
        "000000001", "+21620000001", "fr", "web", date(2026, 5, 20)
    )


@pytest.mark.parametrize(
    ("line", "flaws"),
    [
        ("12345678,+21620000001,ar,coupon,2026-01-05", ["customer_reference: not_nine_digits"]),
        ("٠١٢٣٤٥٦٧٨,+21620000001,ar,coupon,2026-01-05", ["customer_reference: not_nine_digits"]),
        ("42580 496 0,+21620000001,ar,coupon,2026-01-05", ["customer_reference: not_nine_digits"]),
        ("012345678,+21671000001,ar,coupon,2026-01-05", ["phone: fixed_line"]),
        ("012345678,,ar,coupon,2026-01-05", ["phone: empty"]),
        ("012345678,+21620000001,en,coupon,2026-01-05", ["language: unknown"]),
        ("012345678,+21620000001,AR,coupon,2026-01-05", ["language: unknown"]),
        ("012345678,+21620000001,ar,sms,2026-01-05", ["channel: unknown"]),
        ("012345678,+21620000001,ar,coupon,05/01/2026", ["consent_date: not_a_date"]),
        ("012345678,+21620000001,ar,coupon,20260105", ["consent_date: not_a_date"]),
        ("012345678,+21620000001,ar,coupon,2026-02-30", ["consent_date: not_a_date"]),
        ("012345678,+21620000001,ar,coupon,2026-05-21", ["consent_date: in_the_future"]),
        ("012345678,+21620000001,ar,coupon", ["row: wrong_number_of_fields"]),
        (GOOD + ",more", ["row: wrong_number_of_fields"]),
        (b"012345678,+21620000001,ar,coupon,2026-01-05\xe9", ["row: not_utf8"]),
        (
            "x,y,z,q,w",
            [
                "customer_reference: not_nine_digits",
                "phone: unreadable",
                "language: unknown",
                "channel: unknown",
                "consent_date: not_a_date",
            ],
        ),
    ],
)
def test_a_wrong_row_is_refused_with_all_that_is_wrong(line, flaws):
    assert flaws_of(line) == flaws


def test_an_open_quote_costs_its_own_line_only():
    found = read(f'{HEADER}\n{GOOD}\n"{GOOD}\n{GOOD}\n\n{GOOD}\n')
    assert [record.row for record, _ in found] == [1, 2, 3, 4]
    assert [isinstance(checked, Subscriber) for _, checked in found] == [True, False, True, True]
    assert found[1][0].fields == [f'"{GOOD}']


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"\xff\xfec\x00u\x00s\x00", "not UTF-8"),
        ("référence,phone\n".encode("latin-1"), "not UTF-8"),
        (
            HEADER.replace(",", ";").encode(),
            "lacks customer_reference, phone, language, channel, consent_date",
        ),
        (b"customer_reference,phone,language,channel\n", "lacks consent_date"),
        (HEADER.encode() + b",phone\n", "names phone twice"),
        (f'"{HEADER}\n'.encode(), "quotes do not match"),
    ],
)
def test_a_file_without_a_readable_header_is_refused(content, told):
    with pytest.raises(BadInput, match=told):
        read(content)


cells = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.lists(cells, min_size=1, max_size=7)))
def test_every_record_of_a_csv_file_is_judged_once(rows):
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([list(COLUMNS), *rows])
    found = read(written.getvalue())
    assert [record.fields for record, _ in found] == rows
    assert [record.row for record, _ in found] == list(range(1, len(rows) + 1))


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reading(garbage):
    found = read(HEADER.encode() + b"\n" + garbage)
    assert [record.row for record, _ in found] == list(range(1, len(found) + 1))


@given(st.text())
def test_no_flaw_repeats_what_the_row_holds(text):
    flaws = [
        str(flaw) for flaw in flaws_of('012345678,"7' + text.replace('"', '""') + '",ar,coupon,2026-01-05')
    ]
    assert all(flaw.startswith(("phone: ", "row: ")) for flaw in flaws)
