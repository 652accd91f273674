"""Cut-off cases: what the warnings' workflow will find after a cycle."""

from datetime import date

import pytest
from sqlalchemy import text

from fatoura.calendar import Hours, decide_day
from fatoura.cutoff.scheduling import schedule_cases
from fatoura.cycles.keys import ExtractKey
from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.subscriptions import match_extract
from tests.notices import run_sql
from tests.staging import plan_notice, row, stage_extract, subscribe

KEY, SUPPLEMENT = ExtractKey("2026-05-T1"), ExtractKey("2026-05-T1", 1)


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


@pytest.fixture
def cycle() -> int:
    """Bill A1 to A4 to a subscriber, with notices of A1 (accepted), A2 (planned) and A3 (cancelled)."""
    subscribe("000000001")
    extract_id = stage_extract(
        KEY,
        [
            row("A1", "000000001"),
            row("A2", "000000001", due_date=date(2026, 6, 15)),
            row("A3", "000000001"),
            row("A4", "000000002"),
            row("A5", "000000001", amount_due_millimes=0),
        ],
    )
    match_extract(KEY)
    plan_notice(extract_id, "A1", state="accepted")
    plan_notice(extract_id, "A2")
    plan_notice(extract_id, "A3", state="cancelled")
    return extract_id


def cases() -> dict[str, tuple]:
    with connect() as connection:
        return {
            number: tuple(case)
            for number, *case in connection.execute(
                text(
                    "SELECT invoice_number, amount_due_millimes, due_date, warn_from FROM cutoff_case "
                    "WHERE state = 'scheduled' ORDER BY invoice_number"
                )
            )
        }


def test_each_notified_invoice_has_one_case(cycle):
    outcome = schedule_cases(KEY.cycle, run_id="run")
    assert (outcome.added, outcome.updated, outcome.withdrawn, outcome.cases) == (2, 0, 0, 2)
    assert cases() == {
        # Thursday 25 June: Friday, Monday, Tuesday.
        "A1": (12_500, date(2026, 6, 25), date(2026, 6, 30)),
        # Monday 15 June: the two days that may be the Hijri new year, then three working days.
        "A2": (12_500, date(2026, 6, 15), date(2026, 6, 22)),
    }
    with connect() as connection:
        linked = connection.execute(
            text(
                "SELECT c.state, n.subject = c.invoice_number, n.subscription_id = c.subscription_id, "
                "c.created_at::date FROM cutoff_case c JOIN notice n ON n.id = c.notice_id"
            )
        ).all()
        stage = connection.execute(
            text("SELECT run_id, counts FROM stage WHERE name = 'schedule_cutoff'")
        ).one()
    assert {tuple(line) for line in linked} == {("scheduled", True, True, date(2026, 5, 20))}
    assert tuple(stage) == ("run", {"added": 2, "updated": 0, "withdrawn": 0, "cases": 2})


def test_a_rerun_changes_nothing(cycle):
    schedule_cases(KEY.cycle)
    with connect() as connection:
        before = connection.execute(text("SELECT ctid, xmin, * FROM cutoff_case ORDER BY 3")).all()
    again = schedule_cases(KEY.cycle)
    assert (again.added, again.updated, again.withdrawn, again.cases) == (0, 0, 0, 2)
    with connect() as connection:
        assert connection.execute(text("SELECT ctid, xmin, * FROM cutoff_case ORDER BY 3")).all() == before


def test_a_correction_moves_its_case_and_one_to_nothing_withdraws_it(cycle):
    schedule_cases(KEY.cycle)
    correction = stage_extract(
        SUPPLEMENT,
        [
            row("A1", "000000001", amount_due_millimes=900, due_date=date(2026, 7, 2)),
            row("A2", "000000001", amount_due_millimes=0),
        ],
    )
    match_extract(SUPPLEMENT)
    plan_notice(correction, "A1", kind="bill_correction")
    outcome = schedule_cases(str(SUPPLEMENT))
    assert (outcome.added, outcome.updated, outcome.withdrawn, outcome.cases) == (0, 1, 1, 1)
    assert cases() == {"A1": (900, date(2026, 7, 2), date(2026, 7, 7))}
    with connect() as connection:
        query = "SELECT n.sequence FROM cutoff_case c JOIN notice n ON n.id = c.notice_id"
        assert connection.scalar(text(query)) == 2
        assert (
            connection.scalar(text("SELECT supplement FROM stage ORDER BY id DESC LIMIT 1"))
            == SUPPLEMENT.supplement
        )


def test_an_invoice_whose_correction_was_not_told_is_no_ground_for_a_warning(cycle):
    schedule_cases(KEY.cycle)
    correction = stage_extract(SUPPLEMENT, [row("A1", "000000001", amount_due_millimes=900)])
    match_extract(SUPPLEMENT)
    plan_notice(correction, "A1", kind="bill_correction", state="cancelled")
    assert schedule_cases(KEY.cycle).withdrawn == 1
    assert list(cases()) == ["A2"]


def every_case() -> list[tuple]:
    with connect() as connection:
        return [
            tuple(case)
            for case in connection.execute(
                text(
                    "SELECT invoice_number, sequence, state, reason, opened_because, amount_due_millimes "
                    "FROM cutoff_case ORDER BY 1, 2"
                )
            )
        ]


def decided() -> list[tuple]:
    with connect() as connection:
        return [
            tuple(decision)
            for decision in connection.execute(
                text(
                    "SELECT invoice_number, sequence, moment, verdict, reason FROM cutoff_decision "
                    "ORDER BY 1, 2"
                )
            )
        ]


def correct(**amounts: int) -> None:
    """Load a supplement with other amounts, and tell the customers of those over nothing."""
    correction = stage_extract(
        SUPPLEMENT, [row(number, "000000001", amount_due_millimes=amounts[number]) for number in amounts]
    )
    match_extract(SUPPLEMENT)
    for number, amount in amounts.items():
        if amount:
            plan_notice(correction, number, kind="bill_correction")


def test_a_warned_case_of_a_corrected_bill_is_closed_and_the_corrected_bill_gets_the_next(cycle):
    schedule_cases(KEY.cycle)
    run_sql(
        "UPDATE cutoff_case SET state = 'warned', warning_id = uuidv7(), warned_at = now(), "
        "cut_from = '2026-07-13'"
    )
    correct(A1=90_000, A2=0)
    outcome = schedule_cases(str(SUPPLEMENT))
    assert (outcome.added, outcome.updated, outcome.withdrawn, outcome.cases) == (1, 0, 0, 1)
    assert every_case() == [
        ("A1", 1, "excluded", "corrected", "billed", 12_500),
        ("A1", 2, "scheduled", None, "corrected", 90_000),
        ("A2", 1, "excluded", "corrected", "billed", 12_500),
    ]
    assert decided() == [
        ("A1", 1, "corrected", "withdraw", "corrected"),
        ("A2", 1, "corrected", "withdraw", "corrected"),
    ]
    assert schedule_cases(KEY.cycle).added == 0
    assert len(every_case()) == 3
    assert len(decided()) == 2


@pytest.mark.parametrize(
    ("state", "reason"), [("paid", "paid"), ("excluded", "estimate_review"), ("excluded", "under_minimum")]
)
def test_a_bill_that_is_corrected_after_its_case_was_closed_gets_another_one(cycle, state, reason):
    schedule_cases(KEY.cycle)
    run_sql(
        "UPDATE cutoff_case SET state = :state, reason = :reason WHERE invoice_number = 'A1'",
        state=state,
        reason=reason,
    )
    assert schedule_cases(KEY.cycle).added == 0
    correct(A1=90_000)
    assert schedule_cases(str(SUPPLEMENT)).added == 1
    assert every_case() == [
        ("A1", 1, state, reason, "billed", 12_500),
        ("A1", 2, "scheduled", None, "corrected", 90_000),
        ("A2", 1, "scheduled", None, "billed", 12_500),
    ]
    assert schedule_cases(KEY.cycle).added == 0


@pytest.mark.parametrize(
    ("message", "then", "verdict"),
    [("planned", "cancelled", "leave_out"), ("accepted", "accepted", "withdraw")],
)
def test_a_warning_under_way_of_a_corrected_bill_stops_where_it_has_not_left(cycle, message, then, verdict):
    schedule_cases(KEY.cycle)
    plan_notice(cycle, "A1", kind="cutoff_warning", state=message)
    run_sql(
        "UPDATE cutoff_case c SET under_way = n.id FROM notice n "
        "WHERE n.kind = 'cutoff_warning' AND n.subject = c.invoice_number"
    )
    correct(A1=90_000)
    assert schedule_cases(str(SUPPLEMENT)).added == 1
    assert every_case() == [
        ("A1", 1, "excluded", "corrected", "billed", 12_500),
        ("A1", 2, "scheduled", None, "corrected", 90_000),
        ("A2", 1, "scheduled", None, "billed", 12_500),
    ]
    assert decided() == [("A1", 1, "corrected", verdict, "corrected")]
    with connect() as connection:
        state = connection.scalar(text("SELECT state FROM notice WHERE kind = 'cutoff_warning'"))
    assert state == then


def test_a_day_that_is_closed_or_opened_by_decision_moves_the_warning(cycle):
    schedule_cases(KEY.cycle)
    decide_day(date(2026, 6, 30), None, reason="the gateway is serviced", by="the duty officer")
    decide_day(
        date(2026, 6, 17), Hours.parse("09:00-20:00"), reason="the moon was seen", by="the duty officer"
    )
    assert schedule_cases(KEY.cycle).updated == 2
    assert [case[-1] for case in cases().values()] == [date(2026, 7, 1), date(2026, 6, 19)]


def test_cycles_do_not_touch_each_other(cycle):
    schedule_cases(KEY.cycle)
    other = ExtractKey("2026-05-T2")
    extract_id = stage_extract(other, [row("B1", "000000001")])
    match_extract(other)
    plan_notice(extract_id, "B1")
    assert schedule_cases(other.cycle).cases == 1
    assert list(cases()) == ["A1", "A2", "B1"]


def test_a_cycle_that_does_not_exist_is_refused():
    with pytest.raises(BadInput, match="no cycle '2026-01-T1'"):
        schedule_cases("2026-01-T1")


def test_a_cycle_that_notified_nobody_has_no_cases():
    stage_extract(KEY, [row("A1", "000000001")])
    match_extract(KEY)
    assert schedule_cases(KEY.cycle).cases == 0
