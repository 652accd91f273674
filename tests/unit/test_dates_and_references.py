"""Days and references as they are printed, and references as they are hidden."""

import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.dates import DAY_CHARACTERS, format_day
from fatoura.languages import LANGUAGES
from fatoura.notices.encoding import GSM7_BASIC
from fatoura.references import (
    GROUPS,
    REFERENCE_CHARACTERS,
    format_reference,
    is_reference,
    mask_reference,
)

references = st.from_regex("[0-9]{9}", fullmatch=True)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_day_is_written_day_month_year(language):
    assert format_day(date(2026, 6, 5), language) == "05/06/2026"


@given(st.dates(), st.sampled_from(LANGUAGES))
def test_a_day_is_ten_characters_in_one_run(day, language):
    assert re.fullmatch(r"[0-9]{2}/[0-9]{2}/[0-9]{4}", format_day(day, language))
    assert set(DAY_CHARACTERS) <= GSM7_BASIC


def test_a_reference_is_printed_in_groups_in_french_and_whole_in_arabic():
    assert format_reference("425804960", "fr") == "42580 496 0"
    assert format_reference("042580496", "ar") == "042580496"


@given(references, st.sampled_from(LANGUAGES))
def test_a_printed_reference_keeps_its_digits(reference, language):
    printed = format_reference(reference, language)
    assert printed.replace(" ", "") == reference
    assert set(printed) <= set(REFERENCE_CHARACTERS[language]) <= GSM7_BASIC


def test_groups_hold_all_nine_digits():
    assert {sum(groups) for groups in GROUPS.values()} == {9}


@given(references, st.sampled_from(LANGUAGES))
def test_a_masked_reference_shows_three_digits_in_the_same_places(reference, language):
    printed = format_reference(reference, language)
    masked = mask_reference(printed)
    assert len(masked) == len(printed)
    assert "".join(c for c in masked if c.isdigit()) == reference[-3:]
    assert [c for c in masked if c == " "] == [c for c in printed if c == " "]


@pytest.mark.parametrize(
    "text", ["12345678", "1234567890", "12345678a", "١٢٣٤٥٦٧٨٩", "42580 496 0", "", 425804960]
)
def test_anything_but_nine_western_digits_is_no_reference(text):
    assert not is_reference(text)
