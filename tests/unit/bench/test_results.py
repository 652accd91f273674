"""What a measure says of itself, and how the table shows it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.bench.results import Measure, table


def shown(*measures: Measure) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(table(measures))
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("measure", "met"),
    [
        (Measure("p", "a value", [3.0, 1.0, 2.0], limit=2), True),
        (Measure("p", "a value", [3.0, 1.0, 2.1], limit=2), False),
        (Measure("p", "a ratio", [90.0], ratios=[24.0, 30.0, 25.0], limit=25), True),
        (Measure("p", "a ratio", [1.0], ratios=[25.1], limit=25), False),
        (Measure("p", "at least", [90.0], "/s", ratios=[0.5, 0.7, 0.6], least=0.6), True),
        (Measure("p", "at least", [90.0], "/s", ratios=[0.5, 0.7, 0.59], least=0.6), False),
        (Measure("p", "nothing to reach", [1.0]), None),
        (Measure("p", "left out", (), limit=2, left_out="there is none"), None),
    ],
)
def test_the_median_of_the_ratios_or_else_of_the_values_is_judged(measure, met):
    assert measure.met is met
    assert measure.as_json()["met"] is met


def test_the_table_shows_the_spread_and_what_is_missed():
    told = shown(
        Measure("From one to the other", "all", [20.0, 30.0, 28.0], "s", [20, 30, 28], limit=25, aim=15),
        Measure("From one to the other", "memory", [367.2], "MB", limit=500),
        Measure("Sending", "sender", [1467.0], "/s", [0.17]),
    )
    assert "28.00 s" in told
    assert "20.00–30.00" in told
    assert "≤ 25 × (aim 15 ×)" in told
    assert "missed" in told
    assert "367 MB" in told
    assert "≤ 500 MB" in told
    assert "0.17 ×" in told


def test_what_is_left_out_stands_in_the_table_with_the_reason():
    left_out = Measure("Receipts", "receiver", (), "/s", least=3, left_out="wrk is not installed")
    assert "left out: wrk is not installed" in shown(left_out)
    assert left_out.as_json()["median"] is None
    assert left_out.as_json()["left_out"] == "wrk is not installed"
