"""Amounts: three decimals, western digits, nothing that GSM-7 lacks, one formatter."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.languages import LANGUAGES
from fatoura.money import AMOUNT_CHARACTERS, LARGEST_MILLIMES, amount_pieces, format_amount
from fatoura.notices.encoding import GSM7_BASIC

amounts = st.integers(-LARGEST_MILLIMES, LARGEST_MILLIMES)
languages = st.sampled_from(LANGUAGES)


@pytest.mark.parametrize(
    ("millimes", "french", "arabic"),
    [
        (0, "0,000", "0,000"),
        (5, "0,005", "0,005"),
        (85_352, "85,352", "85,352"),
        (999_999, "999,999", "999,999"),
        (1_000_000, "1 000,000", "1.000,000"),
        (1_234_500, "1 234,500", "1.234,500"),
        (LARGEST_MILLIMES, "999 999,999", "999.999,999"),
        (-1_234_500, "-1 234,500", "-1.234,500"),
    ],
)
def test_an_amount_is_written_as_tunisians_write_it(millimes, french, arabic):
    assert (format_amount(millimes, "fr"), format_amount(millimes, "ar")) == (french, arabic)


@given(amounts, languages)
def test_an_amount_holds_only_the_characters_that_are_declared(millimes, language):
    assert set(format_amount(millimes, language)) <= set(AMOUNT_CHARACTERS[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_declared_characters_cost_one_unit_of_gsm7_and_are_no_bidi_marks(language):
    assert set(AMOUNT_CHARACTERS[language]) <= GSM7_BASIC
    assert not [c for c in AMOUNT_CHARACTERS[language] if unicodedata.category(c) == "Cf"]


@given(amounts, languages)
def test_no_millime_is_lost(millimes, language):
    digits = "".join(c for c in format_amount(millimes, language) if c in "-0123456789")
    assert int(digits) == millimes


@given(amounts)
def test_an_amount_in_arabic_is_one_run_of_digits(millimes):
    assert " " not in format_amount(millimes, "ar")


@given(st.integers(0, LARGEST_MILLIMES), languages)
def test_the_pieces_that_the_database_joins_make_the_same_amount(millimes, language):
    pieces = amount_pieces(language)
    thousands, dinars, rest = millimes // 1_000_000, millimes // 1000 % 1000, millimes % 1000
    joined = (
        pieces[thousands].leading
        + (pieces[dinars].following if thousands else pieces[dinars].alone)
        + pieces[rest].millimes
    )
    assert joined == format_amount(millimes, language)
