"""Encoding and segments: each one more is paid for, by each customer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.notices.encoding import (
    GSM7_BASIC,
    GSM7_EXTENSION,
    LIMITS,
    encoding_of,
    measure,
    outside_gsm7,
    split,
)

gsm7 = st.text(st.sampled_from(sorted(GSM7_BASIC | GSM7_EXTENSION)), max_size=500)
arabic = st.text(st.sampled_from("ابتثجحخد 0123456789،€[\n😀🏠"), max_size=250)
texts = gsm7 | arabic | st.text(max_size=250)


def units_of(text: str) -> int:
    return measure(text).units


@pytest.mark.parametrize(
    ("text", "encoding", "units", "segments"),
    [
        ("", "gsm7", 0, 1),
        ("a" * 160, "gsm7", 160, 1),
        ("a" * 161, "gsm7", 161, 2),
        ("a" * 306, "gsm7", 306, 2),
        ("a" * 307, "gsm7", 307, 3),
        ("€" * 80, "gsm7", 160, 1),
        ("€" * 81, "gsm7", 162, 2),
        # The pair does not fit into the 153rd septet: both parts have one to spare, and a third is needed.
        ("a" * 152 + "€" + "a" * 152, "gsm7", 306, 3),
        ("é" * 160, "gsm7", 160, 1),
        ("ê" + "a" * 69, "ucs2", 70, 1),
        ("ê" + "a" * 70, "ucs2", 71, 2),
        ("د" * 134, "ucs2", 134, 2),
        ("د" * 135, "ucs2", 135, 3),
        ("😀" * 35, "ucs2", 70, 1),
        ("😀" * 36, "ucs2", 72, 2),
        ("😀" * 67, "ucs2", 134, 3),
        # Half an extension character is no letter of GSM-7.
        ("\x1b", "ucs2", 1, 1),
    ],
)
def test_encoding_units_and_segments(text, encoding, units, segments):
    assert measure(text) == (encoding, units, segments)


@pytest.mark.parametrize("letter", "éèàùìòÇÉ@£$¥ÄÖÑÜäöñüß¡¿\n\r€[]{}\\^~|")
def test_letters_of_gsm7(letter):
    assert encoding_of(letter) == "gsm7"
    assert outside_gsm7(f"x{letter}x") == []


@pytest.mark.parametrize("letter", "âêîôûëïçœ°«»’\u00a0\u202f\t`د")
def test_letters_that_french_writes_and_gsm7_lacks(letter):
    assert encoding_of(letter) == "ucs2"
    assert outside_gsm7(f"x{letter}{letter}") == [letter]


@given(texts)
def test_the_parts_put_together_are_the_text(text):
    assert "".join(split(text)) == text


@given(texts)
def test_each_part_fits_and_all_together_cost_what_the_text_costs(text):
    encoding, units, segments = measure(text)
    parts = split(text)
    # A part of a UCS-2 text may hold letters of GSM-7 only: count it in the encoding of the whole.
    counted = [
        sum(2 if c in GSM7_EXTENSION else 1 for c in part)
        if encoding == "gsm7"
        else len(part.encode("utf-16-be")) // 2
        for part in parts
    ]
    assert len(parts) == segments
    assert sum(counted) == units
    single, part_limit = LIMITS[encoding]
    assert max(counted) <= (single if segments == 1 else part_limit)


@given(texts)
def test_no_segment_is_wasted(text):
    encoding, units, segments = measure(text)
    single, part = LIMITS[encoding]
    if units <= single:
        assert segments == 1
    else:
        # A pair that does not fit leaves at most one unit of a part empty.
        assert -(-units // part) <= segments <= -(-units // (part - 1))


@given(texts, st.characters(codec="utf-8"))
def test_more_text_never_costs_less(text, character):
    assert measure(text + character).segments >= measure(text).segments


@given(texts)
def test_units_without_double_characters_are_characters(text):
    if not any(c in GSM7_EXTENSION or ord(c) > 0xFFFF for c in text):
        assert units_of(text) == len(text)
        single, part = LIMITS[measure(text).encoding]
        assert measure(text).segments == (1 if len(text) <= single else -(-len(text) // part))
