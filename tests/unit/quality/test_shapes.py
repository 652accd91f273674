from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.quality.data_docs import shape


@pytest.mark.parametrize(
    ("value", "drawn"),
    [
        ("2026-02-30", "0000-00-00"),
        ("85,500", "00,000"),
        ("Ariana", "Aaaaaa"),
        ("أريانة", "aaaaaa"),
        ("+216 20 000 001", "+000 00 000 000"),  # invented
        ("<script>$x&", "?aaaaaa??a?"),
        ("", "(empty)"),
    ],
)
def test_a_shape_shows_the_form_and_not_the_value(value: str, drawn: str) -> None:
    assert shape(value) == drawn


@given(st.text())
def test_no_letter_and_no_digit_of_a_value_is_in_its_shape(value: str) -> None:
    drawn = shape(value)

    assert len(drawn) <= 41
    if value:
        assert not [one for one in drawn if one.isalnum() and one not in "0Aa"]
