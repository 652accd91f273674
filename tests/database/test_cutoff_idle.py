"""Days on which the workflows have nothing to do, and what a day would bring, told without keeping it."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import text

from fatoura.cutoff.deciding import decide_day, preview_day, why_idle
from fatoura.cutoff.freshness import FeedStale
from fatoura.cutoff.lists import why_no_hand_over
from fatoura.database import connect
from tests.cutoff import bill, cases, know, pay, watermark


@pytest.fixture(autouse=True)
def _tuesday(database, configure):
    configure(now="2026-06-30T09:30:00+01:00")


def test_before_payments_are_connected_there_is_nothing_to_do_until_a_case_is_due(configure):
    assert why_idle() == why_no_hand_over() == "no feed of payments has ever come, and no case is due"
    bill(due=date(2026, 7, 4), warn_from=date(2026, 7, 8))
    assert why_idle() is not None
    configure(now="2026-07-01T09:30:00+01:00")  # three days before its last day it is reminded of
    assert why_idle() is None
    assert why_no_hand_over() is None
    with pytest.raises(FeedStale, match="counter is never told by any feed"):
        decide_day()


def test_once_a_feed_has_come_a_missing_one_is_an_alarm():
    watermark()
    assert why_idle() is None
    assert why_no_hand_over() is None


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ("2026-06-28T09:30:00+01:00", "nobody is written to on this day"),
        ("2026-06-30T19:56:00+01:00", "the window of this day is over"),
    ],
)
def test_on_a_closed_day_and_in_the_evening_nobody_is_written_to(configure, now, words):
    watermark()
    configure(now=now)
    assert why_idle() == words


@pytest.mark.parametrize("day", ["2026-07-03", "2026-07-04", "2026-07-05", "2026-07-24", "2026-07-25"])
def test_on_days_without_a_cut_nothing_is_handed_over(configure, day):
    watermark()
    configure(now=f"{day}T07:30:00+01:00")
    assert why_no_hand_over() == "supply is not cut on this day"


def test_a_preview_tells_what_would_be_decided_and_keeps_nothing():
    watermark()
    bill("A1", "000000001")
    bill("A2", "000000002")
    pay("A2")
    bill("A3", "000000003")
    know("number_changed", "000000003")
    told = preview_day()
    assert told.cycle == "cutoff-2026-06-30"
    assert told.counts["cutoff_warning: notify"] == 1
    assert told.counts["cutoff_warning: leave_out paid"] == 1
    assert told.counts["cutoff_warning: letter number_changed"] == 1
    assert cases() == [("scheduled",)] * 3
    with connect() as connection:
        for table in ("cutoff_decision", "cycle WHERE purpose = 'cutoff'", "stage"):
            assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0
    assert decide_day().counts == told.counts


def test_a_preview_on_a_stale_feed_is_refused_as_the_day_would_be():
    bill()
    with pytest.raises(FeedStale):
        preview_day()
