"""Phone numbers. All those below are invented."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.phones import PhoneError, holds_number, mask, parse_mobile


@pytest.mark.parametrize(
    "written",
    [
        "+21620000012",
        "20000012",
        "20 000 012",
        "20.000.012",
        "20-000-012",
        "(20) 000 012",
        "+216 20 000 012",
        "00216 20 000 012",
        "216 20 000 012",
        "٢٠٠٠٠٠١٢",
        "+٢١٦ ٢٠ ٠٠٠ ٠١٢",
        "\u202a+216 20\u00a0000\u00a0012\u202c",
        " 20000012\n",
    ],
)
def test_a_mobile_number_is_read_in_every_form_that_people_write(written):
    assert parse_mobile(written) == "+21620000012"


@pytest.mark.parametrize("number", ["20000000", "40000000", "50000000", "90000000", "31100000", "39100000"])
def test_all_mobile_ranges_are_taken(number):
    assert parse_mobile(number) == f"+216{number}"


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("", "empty"),
        (" \u200f ", "empty"),
        ("71000000", "fixed_line"),
        ("+216 30 000 000", "fixed_line"),
        ("+33 6 00 00 00 00", "foreign"),
        ("+999 20000000", "foreign"),
        ("2000", "too_short"),
        ("+216", "too_short"),
        ("200000000", "too_long"),
        ("2" * 40, "too_long"),
        ("80100000", "not_mobile"),
        ("49000000", "unassigned"),
        ("2000ABCD", "unreadable"),
        ("20000000 ext 5", "unreadable"),
        ("tel:20000000", "unreadable"),
        ("20000000;20000001", "unreadable"),
        ("+", "unreadable"),
        ("--", "unreadable"),
        ("=20000000", "unreadable"),
    ],
)
def test_everything_else_is_refused_with_the_kind_of_problem(written, code):
    with pytest.raises(PhoneError) as refused:
        parse_mobile(written)
    assert refused.value.code == code


@given(st.text() | st.from_regex(r"\+?[0-9 .-]{0,20}", fullmatch=True))
def test_a_refusal_never_holds_the_number_and_nothing_else_is_raised(written):
    refusal: PhoneError | None = None
    try:
        number = parse_mobile(written)
    except PhoneError as error:
        refusal = error
    if refusal is None:
        assert len(number) == 12
        assert number.startswith("+216")
    else:
        digits = "".join(c for c in written if c.isdigit())
        assert len(digits) < 4 or digits not in str(refusal)
        assert refusal.__context__ is None or refusal.__suppress_context__


@given(st.from_regex(r"[259][0-9]{7}", fullmatch=True))
def test_reading_what_was_read_changes_nothing(number):
    assert parse_mobile(parse_mobile(number)) == f"+216{number}"


def test_a_masked_number_shows_its_last_three_digits():
    assert mask("+21620000345") == "+216 ** *** 345"


@pytest.mark.parametrize(
    "words",
    [
        "the customer at 20 000 001 says so",
        "+21620000001",
        "٢٠٠٠٠٠٠١",
        "call 00216 20 000 001",
        "20.000.001",
        "+216\u200e20000001",
        "fixed line 71 123 456",
    ],
)
def test_a_number_in_a_sentence_is_seen(words):
    assert holds_number(words)


@pytest.mark.parametrize(
    "words",
    [
        "seen in the log of 2026-05-20 at 10:30",
        "le 20/05/2026 ou 21.05.2026",
        "REF20123456",
        "batch #4711",
        "",
    ],
)
def test_days_and_tickets_are_no_numbers(words):
    assert not holds_number(words)
