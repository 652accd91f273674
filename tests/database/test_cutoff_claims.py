"""Real claims of real cases: what a sender's transaction finds out about a bill decides whether it leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from fatoura.cutoff.deciding import decide_day
from fatoura.cutoff.feeds import apply_feeds
from fatoura.cutoff.planning import plan_day
from fatoura.cutoff.settling import conclude_cases
from fatoura.cycles.registry import cycle_id_of
from fatoura.database import begin, connect
from fatoura.sending import claims, routing
from tests.cutoff import bill, cases, know, pay, planned, send, watermark
from tests.notices import states


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-06-30T09:30:00+01:00")
    watermark()


def run_day() -> int:
    cycle = decide_day().cycle
    plan_day(cycle)
    return cycle_id_of(cycle)


def claim(cycle: int, most: int = 500) -> claims.Batch:
    with begin() as connection:
        return claims.claim(
            connection,
            cycle,
            gateway="fatoura_sms",
            stretch=routing.WHOLE,
            in_use=["fatoura_sms"],
            worker="test",
            most=most,
            lease=timedelta(minutes=5),
            doubt_horizon=timedelta(hours=6),
            sender_id="STEG",
        )


def at_the_claim() -> list[tuple]:
    with connect() as connection:
        found = connection.execute(
            text(
                "SELECT invoice_number, verdict, reason, balance_millimes FROM cutoff_decision "
                "WHERE moment = 'claim' ORDER BY id"
            )
        )
        return [tuple(row) for row in found]


def test_who_has_paid_since_the_plan_gets_no_warning_and_who_has_not_gets_one():
    for number in range(1, 5):
        bill(f"A{number}", f"{number:09d}")
    cycle = run_day()
    pay("A2")
    pay("A3", 60_000)
    know("dispute", "000000004")
    batch = claim(cycle)
    assert sorted(claimed.message.phone[-1] for claimed in batch) == ["1", "3"]
    assert batch.withdrawn == 2
    assert states(cycle) == {"sending": 2, "cancelled": 2}
    assert cases() == [("scheduled",), ("paid",), ("scheduled",), ("excluded",)]
    assert sorted(at_the_claim()) == [
        ("A2", "leave_out", "paid", 0),
        ("A4", "leave_out", "dispute", 85_352),
    ]


def test_that_a_payment_arrived_is_not_said_once_it_was_taken_back():
    bill("A1", "000000001")
    bill("A2", "000000002")
    run_day()
    send()
    conclude_cases()
    pay("A1")
    pay("A2")
    cycle = cycle_id_of(apply_feeds().cycle or "")
    pay("A2", -85_352)
    batch = claim(cycle)
    assert [claimed.message.phone[-1] for claimed in batch] == ["1"]
    assert states(cycle) == {"sending": 1, "cancelled": 1}


def test_senders_and_feeds_at_once_warn_nobody_whose_payment_they_could_have_seen():
    """Two senders claim in small batches while customers pay and their feeds are taken up."""
    for number in range(60):
        bill(f"A{number:02d}", f"{number:09d}")
    cycle = run_day()
    order = {notice.id: notice.subject for notice in planned()}
    known: set[str] = set()
    late: list[str] = []

    def work() -> list[str]:
        mine = []
        while True:
            seen = set(known)
            batch = claim(cycle, most=4)
            if not batch and not batch.withdrawn:
                return mine
            mine += [order[claimed.message.id] for claimed in batch]
            late.extend(subject for subject in mine[-len(batch) :] if batch and subject in seen)

    def take_feeds() -> None:
        for number in range(59, 0, -2):
            pay(f"A{number:02d}")
            known.add(f"A{number:02d}")
            apply_feeds()

    with ThreadPoolExecutor(3) as pool:
        feeds, *senders = pool.submit(take_feeds), pool.submit(work), pool.submit(work)
        feeds.result(timeout=60)
        warned = [subject for sender in senders for subject in sender.result(timeout=60)]
    assert late == []
    assert len(warned) == len(set(warned))
    assert {f"A{number:02d}" for number in range(0, 60, 2)} <= set(warned)
    assert states(cycle) == {"sending": len(warned), "cancelled": 60 - len(warned)}
    # Whoever had been told is told that the payment has arrived, and nobody else is.
    told = {notice.subject for notice in planned() if notice.kind == "payment_received"}
    assert told == {subject for subject in warned if subject in known}
