"""Runs that send "payment received": asked for once for what is planned, and only while sending is open."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import text

from fatoura.cutoff.confirming import cycles_to_confirm, take_up
from fatoura.cutoff.deciding import decide_day
from fatoura.cutoff.feeds import apply_feeds
from fatoura.cutoff.planning import plan_day
from fatoura.cutoff.settling import conclude_cases
from fatoura.database import connect
from fatoura.errors import BadInput
from tests.cutoff import bill, pay, send, watermark

KEY = "payment-received-2026-06-30"


@pytest.fixture(autouse=True)
def _a_warned_day(database, configure):
    """Warn two customers on a Tuesday."""
    configure(now="2026-06-30T09:30:00+01:00")
    watermark()
    bill("A1", "000000001")
    bill("A2", "000000002", due=date(2026, 6, 24))
    plan_day(decide_day().cycle)
    send()
    conclude_cases()


def test_a_run_is_asked_for_until_one_has_taken_it_up():
    assert cycles_to_confirm() == []
    pay("A1")
    assert apply_feeds().cycle == KEY
    # The one that asked may have died before anybody heard of it.
    assert cycles_to_confirm() == cycles_to_confirm() == [KEY]
    assert take_up(KEY, run_id="r1") == 1
    assert cycles_to_confirm() == []


def test_what_is_planned_later_asks_for_another_run():
    pay("A1")
    apply_feeds()
    take_up(KEY)
    pay("A2")
    apply_feeds()
    assert cycles_to_confirm() == [KEY]
    assert take_up(KEY) == 2
    send()
    assert cycles_to_confirm() == []
    assert take_up(KEY) == 0
    with connect() as connection:
        told = connection.scalars(text("SELECT counts FROM stage WHERE name = 'take_up' ORDER BY id")).all()
    assert [sorted(counts) for counts in told] == [["messages", "up_to"], ["messages", "up_to"], ["messages"]]


def test_at_night_no_run_is_asked_for_and_one_in_the_morning(configure):
    pay("A1")
    configure(now="2026-06-30T22:00:00+01:00")
    apply_feeds()
    pay("A2")
    configure(now="2026-07-01T01:00:00+01:00")
    apply_feeds()
    assert cycles_to_confirm() == []
    configure(now="2026-07-01T09:02:00+01:00")
    assert cycles_to_confirm() == [KEY, "payment-received-2026-07-01"]


def test_a_cycle_that_is_not_there_is_refused():
    with pytest.raises(BadInput, match="payment-received-2026-01-01"):
        take_up("payment-received-2026-01-01")
