"""What reads as a day, an integer, a yes; and that a column reads as its values do one by one."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.extracts.columns import read_amounts, read_booleans, read_days
from fatoura.extracts.values import read_day, read_integer


@pytest.mark.parametrize(
    "text", ["", "2026-6-15", "15/06/2026", "20260615", "2026-06-15 ", "2026-06-15T00:00", "2026-02-30",
             "0000-01-01", "2026-W24-1", "२०२६-०६-१५", "-026-06-15"]
)  # fmt: skip
def test_only_an_iso_day_is_a_day(text):
    assert read_day(text) is None


@given(st.dates())
def test_every_iso_day_is_a_day(day):
    assert read_day(day.isoformat()) == day


@pytest.mark.parametrize(
    "text", ["", "+", "1.0", "1,0", "1 000", "1_000", " 1", "1\n", "0x1F", "1e3", "--1", "٣", "NaN"]
)
def test_only_digits_with_a_sign_are_an_integer(text):
    assert read_integer(text) is None
    amounts, total = read_amounts(pa.array([text]))
    assert (amounts.to_pylist(), total) == ([None], 0)


@given(st.integers(), st.sampled_from(["", "0", "000"]))
def test_every_integer_is_one_with_leading_zeros_too(number, zeros):
    sign = "-" if number < 0 else ""
    assert read_integer(f"{sign}{zeros}{abs(number)}") == number


def test_an_integer_may_be_longer_than_python_reads_at_once():
    assert read_integer("-" + "1" * 60_000) == -(10**60_000 - 1) // 9


amount = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.integers(-(2**65), 2**65).map(str),
    st.sampled_from(["+7", "-0", "007", "x", "", "1.5", str(2**63 - 1), str(-(2**63)), str(2**63)]),
)


@given(st.lists(amount, max_size=30))
def test_a_column_of_amounts_reads_as_its_values_and_sums_all_integers(texts):
    amounts, total = read_amounts(pa.array(texts, pa.string()))
    integers = [read_integer(text) for text in texts]
    assert amounts.to_pylist() == [n if n is not None and -(2**63) <= n < 2**63 else None for n in integers]
    assert total == sum(n for n in integers if n is not None)


def test_columns_of_days_and_booleans():
    assert read_days(pa.array(["2026-06-15", "x", "2026-06-15", ""])).to_pylist() == [
        date(2026, 6, 15), None, date(2026, 6, 15), None,
    ]  # fmt: skip
    assert read_booleans(pa.array(["true", "false", "True", "1", ""])).to_pylist() == [
        True, False, None, None, None,
    ]  # fmt: skip
