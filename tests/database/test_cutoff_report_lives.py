"""The pages about cut-off warnings over days that the real functions have lived: they add up at each step."""

from collections import Counter
from datetime import date

import pytest
from sqlalchemy import text

from fatoura import clock
from fatoura.cutoff.deciding import decide_day
from fatoura.cutoff.feeds import apply_feeds
from fatoura.cutoff.freshness import FeedStale
from fatoura.cutoff.lists import hand_over, list_call_backs, list_letters
from fatoura.cutoff.planning import plan_day
from fatoura.cutoff.settling import conclude_cases
from fatoura.database import begin, connect
from fatoura.reports.cutoff import refresh_cutoff_reports, write_cutoff_day_report
from fatoura.reports.cutoff.cases import Standing
from fatoura.reports.cutoff.cycle import CycleFigures, cutoff_cycle_figures
from fatoura.reports.cutoff.day import Bucket, DayFigures, Undecided, day_figures
from fatoura.settings import get_settings
from tests.cutoff import bill, know, pay, send, watermark
from tests.notices import run_sql

pytestmark = pytest.mark.database

CYCLE = "2026-05-T1"


@pytest.fixture
def on(database, configure):
    """Move the clock to an hour of a day; payments are complete up to then, and taken up."""

    def move(day: str, hour: str = "09:30", *, fresh: bool = True) -> None:
        configure(now=f"{day}T{hour}:00+01:00")
        if fresh:
            watermark()
            apply_feeds()

    move("2026-06-24")
    return move


def day(which: str) -> DayFigures:
    with begin() as connection:
        return day_figures(connection, date.fromisoformat(which), clock.now())


def cycle() -> CycleFigures:
    with begin() as connection:
        return cutoff_cycle_figures(connection, CYCLE, clock.now())


def everything_adds_up() -> None:
    """Write all pages that there is something to say of, for each that does not add up would raise."""
    refresh_cutoff_reports()
    with connect() as connection:
        for one in connection.scalars(text("SELECT issue_date FROM cycle WHERE purpose = 'cutoff'")).all():
            write_cutoff_day_report(one)


def test_lives_of_many_kinds_are_each_counted_once(on):
    for number in range(1, 13):
        bill(f"A{number:02d}", f"{number:09d}", amount=20_000 + 1_000 * number)
    run_sql("UPDATE subscription SET state = 'suspended' WHERE customer_reference = '000000003'")
    plan_day(decide_day().cycle)  # reminders, but for one
    everything_adds_up()
    assert sum(group.states.total() for group in day("2026-06-24").reminders) == 11
    assert day("2026-06-24").due == 0

    pay("A01", 21_000)
    on("2026-06-29")
    everything_adds_up()
    assert day("2026-06-29").undecided is Undecided.NOT_YET

    on("2026-06-30")
    know("payment_plan", f"{2:09d}")  # came after the feeds were taken up
    plan_day(decide_day().cycle)
    f = day("2026-06-30")
    assert f.buckets == Counter(
        {Bucket.NOTIFIED: 9, Bucket.LEFT_OUT: 1, Bucket.LETTERS: 1, Bucket.WAITING: 0}
    )
    assert (f.due, f.identity_holds) == (11, True)
    pay("A04", 24_000)
    send()  # the check at the claim has seen it
    everything_adds_up()
    f = day("2026-06-30")
    assert {(one.reason, one.before, one.later) for one in f.left_out} == {
        ("payment_plan", 1, 0),
        ("paid", 0, 1),
    }
    assert {one.standing: one.cases for one in f.standings} == {Standing.PAID: 1, Standing.UNDER_WAY: 8}
    conclude_cases()
    assert list_letters().lines == 1
    everything_adds_up()
    f = day("2026-06-30")
    assert f.reaction is not None
    assert (f.reaction.told, f.reaction.settled) == (8, 0)
    assert {one.reason: (one.cases, one.listed) for one in f.not_warned} == {"no_consent": (1, 1)}

    on("2026-07-02")
    pay("A05", 25_000)
    pay("A06", 10_000)
    know("dispute", f"{7:09d}")
    on("2026-07-02", "10:00")
    everything_adds_up()
    f = day("2026-06-30")
    assert f.reaction is not None
    assert (f.reaction.settled, f.reaction.partly, f.reaction.partly_millimes) == (1, 1, 10_000)
    assert [cases for cases, _ in f.reaction.classes][3] == 1  # two days after
    assert {one.standing: one.cases for one in f.standings} == {
        Standing.PAID: 1,
        Standing.PAID_AFTER: 1,
        Standing.LEFT_OUT_AFTER: 1,
        Standing.WARNED: 6,
    }

    pay("A05", -25_000)
    on("2026-07-09")
    plan_day(decide_day().cycle)
    f = day("2026-07-09")
    assert {(step.kind, step.due) for step in f.steps} == {
        ("cutoff_warning", 1),
        ("cutoff_second_warning", 6),
    }
    send("undeliverable")
    conclude_cases()
    list_letters()
    everything_adds_up()
    assert {one.reason: one.cases for one in day("2026-07-09").not_warned} == {"undelivered": 7}
    assert cycle().openings == {"billed": 12, "reversal": 1}


def test_who_was_handed_over_and_paid_is_called_back(on):
    bill()
    for which in ("2026-06-30", "2026-07-09"):
        on(which)
        plan_day(decide_day().cycle)
        send()
        conclude_cases()
    on("2026-07-13")
    hand_over()
    everything_adds_up()
    assert [(one.kind, one.cases, one.closed) for one in day("2026-07-13").lists] == [("hand_over", 1, 0)]
    pay()
    on("2026-07-14")
    list_call_backs()
    everything_adds_up()
    f = cycle()
    assert (f.handed_over.cases, f.handed_over.closed, f.handed_over.called_back) == (1, 1, 1)
    assert (f.standing(Standing.PAID_AFTER).cases, f.owed_millimes) == (1, 0)
    assert [(one.kind, one.closed) for one in day("2026-07-13").lists] == [("hand_over", 1)]


def test_days_whose_feed_is_late_and_days_with_a_limit_lose_nobody(on, configure, tmp_path):
    rules = (
        get_settings()
        .cutoff_rules.read_text()
        .replace("most_warnings_a_day: 20_000", "most_warnings_a_day: 2")
    )
    (tmp_path / "rules.yaml").write_text(rules)
    configure(cutoff_rules=tmp_path / "rules.yaml")
    for number in range(1, 6):
        bill(f"A{number}", f"{number:09d}")
    on("2026-07-01", fresh=False)
    with pytest.raises(FeedStale):
        decide_day()
    f = day("2026-07-01")
    assert (f.undecided, f.due, f.identity_holds) == (Undecided.STALE, 0, True)
    assert cycle().standing(Standing.DUE).cases == 5
    write_cutoff_day_report(date(2026, 7, 1))
    waiting = []
    for which in ("2026-07-02", "2026-07-03", "2026-07-04"):
        on(which)
        plan_day(decide_day().cycle)
        decide_day()  # the second run of the day
        send()
        conclude_cases()
        everything_adds_up()
        f = day(which)
        assert f.due == f.buckets[Bucket.NOTIFIED] + f.waiting
        waiting.append((f.buckets[Bucket.NOTIFIED], f.waiting, len(f.decided_at)))
    assert waiting == [(2, 3, 2), (2, 1, 2), (1, 0, 2)]
    assert cycle().standing(Standing.WARNED).cases == 5
