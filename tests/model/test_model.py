"""Ten thousand steps of random lives, and the proof that the judge who watches them is not blind."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta

import pytest

from fatoura.calendar.days import Calendar
from fatoura.calendar.rules import read_rules
from fatoura.clock import zone
from fatoura.settings import PROJECT_ROOT, get_settings
from tests.model import days


def command(*arguments: str, seconds: float) -> dict:
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.model", "--json", *arguments],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        answer, said = run.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        run.terminate()  # it stops its server on the way out
        run.communicate()
        raise
    assert answer, said[-3000:]
    return json.loads(answer)


@pytest.mark.timeout(900)
def test_nothing_goes_wrong_in_ten_thousand_steps_that_meet_everything():
    told = command("--steps", "10000", "--seed", "1", "--workers", "2", seconds=840)
    assert told["found"] is None, told["found"]["found"]
    assert told["missing"] == []
    assert sum(told["steps"].values()) >= 10_000


@pytest.mark.timeout(300)
def test_a_product_that_ignores_reversals_is_found_out():
    told = command(
        "--mutants", "--only", "reversals are ignored", "--steps", "5000", "--seed", "1", seconds=280
    )
    assert "Violation" in "".join(told["reversals are ignored"])


def test_the_judge_counts_days_as_the_calendar_does():
    """Two lists of the same holidays; were they different, lives would show it at random."""
    calendar = Calendar(read_rules(get_settings().calendar_file), zone(), {})
    no_cut_on = ("friday", "saturday", "sunday")
    day = days.FIRST
    while day < days.LAST:
        assert days.may_send_on(day) == (calendar.window(day) is not None), day
        assert days.is_working_day(day) == calendar.is_working_day(day), day
        assert days.may_cut_on(day) == calendar.may_cut(day, no_cut_on), day
        assert days.overdue_from(day) == calendar.warn_from(day), day
        day += timedelta(days=1)
