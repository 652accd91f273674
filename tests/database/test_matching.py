"""The match stage: every accepted row in one bucket, with a reason; rerun at will."""

import logging
from datetime import date
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from fatoura.cycles.keys import ExtractKey
from fatoura.database import begin, connect, locked
from fatoura.errors import BadInput, NotReady
from fatoura.subscriptions import match_extract
from tests.staging import plan_notice, row, stage_extract, subscribe

KEY = ExtractKey("2026-05-T1")


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


def decisions(extract_id: int | None = None) -> dict[str, tuple[str, str | None]]:
    where = f"WHERE extract_id = {extract_id}" if extract_id else ""
    with connect() as connection:
        return {
            number: (bucket, reason)
            for number, bucket, reason in connection.execute(
                text(
                    f"SELECT invoice_number, bucket, reason FROM invoice {where} "
                    "ORDER BY revision, row_number"
                )
            )
        }


def run(statement: str, **values) -> None:
    with begin() as connection:
        connection.execute(text(statement), values)


def test_each_row_gets_its_bucket_and_reason():
    subscribe("000000001")
    subscribe("000000002", state="suspended")
    subscribe("000000003", state="ended")
    subscribe("000000004", study_arm="control")
    subscribe("000000005", study_arm="treatment")
    extract_id = stage_extract(
        KEY,
        [
            row("A1", "000000001"),
            row("A2", "000000002"),
            row("A3", "000000003"),
            row("A4", "000000004"),
            row("A5", "000000005"),
            row("A6", "000000006"),
            row("Z1", "000000001", amount_due_millimes=0),
            row("Z2", "000000001", amount_due_millimes=-1),
            row("Z3", "000000001", due_date=date(2026, 5, 19)),
            row("Z4", "000000001", due_date=date(2026, 5, 20)),
            row("BAD", "000000001"),
        ],
        rejected={11: ["amount_unreadable"]},
    )
    outcome = match_extract(KEY, run_id="run")
    assert decisions() == {
        "A1": ("noticed", None),
        "A2": ("suppressed", "subscription_suspended"),
        "A3": ("unsubscribed", "not_subscribed"),
        "A4": ("held_out", "study_control"),
        "A5": ("noticed", None),
        "A6": ("unsubscribed", "not_subscribed"),
        "Z1": ("suppressed", "zero_balance"),
        "Z2": ("suppressed", "credit_balance"),
        "Z3": ("suppressed", "deadline_passed"),
        "Z4": ("noticed", None),
    }
    assert outcome.buckets == {"noticed": 3, "unsubscribed": 2, "suppressed": 4, "held_out": 1}
    assert outcome.reasons == {
        "study_control": 1,
        "credit_balance": 1,
        "deadline_passed": 1,
        "subscription_suspended": 1,
        "zero_balance": 1,
        "not_subscribed": 2,
    }
    assert (outcome.matched, outcome.redecided) == (10, 0)
    with connect() as connection:
        stage = connection.execute(text("SELECT name, run_id, counts FROM stage")).one()
        assert stage.name == "match"
        assert stage.run_id == "run"
        assert stage.counts == {"matched": 10, "redecided": 0} | outcome.buckets | outcome.reasons
        matched_at = connection.scalar(
            text("SELECT matched_at FROM extract WHERE id = :id"), {"id": extract_id}
        )
        assert matched_at.isoformat().startswith("2026-05-20T09:00")


def test_a_lapsed_subscription_gets_no_new_bill_but_the_correction_of_one_it_was_told_of():
    subscribe("000000001")
    subscribe("000000002")
    stage_extract(KEY, [row("A1", "000000001"), row("A2", "000000002")])
    match_extract(KEY)
    run(
        "INSERT INTO notice (kind, subject, sequence, subscription_id, phone, language, text, encoding, "
        "segments, priority, send_from, send_until, validity_minutes) VALUES "
        "('bill', 'A1', 1, 1, '+21620000000', 'fr', 'x', 'gsm7', 1, 5, now(), now(), 60)"
    )
    for state in ("sending", "accepted", "delivered"):
        run("UPDATE notice SET state = :state, attempts = 1", state=state)
    run("UPDATE subscription SET state = 'lapsed', state_reason = 'fee_unpaid'")
    match_extract(KEY)
    assert decisions() == {"A1": ("noticed", None), "A2": ("suppressed", "subscription_lapsed")}
    supplement = ExtractKey(KEY.cycle, 1)
    stage_extract(supplement, [row("A1", "000000001"), row("A2", "000000002"), row("A3", "000000002")])
    match_extract(supplement)
    with connect() as connection:
        corrected = connection.execute(
            text(
                "SELECT invoice_number, reason FROM invoice i JOIN extract e ON e.id = i.extract_id "
                "WHERE e.supplement = 1 ORDER BY 1"
            )
        )
        assert corrected.all() == [
            ("A1", None),
            ("A2", "subscription_lapsed"),
            ("A3", "subscription_lapsed"),
        ]


def test_an_invoice_holds_the_row_as_it_was_read():
    subscription = subscribe("000000001")
    stage_extract(KEY, [row("A1", "000000001", estimated=True, supply="gas")])
    match_extract(KEY)
    with connect() as connection:
        invoice = connection.execute(text("SELECT * FROM invoice")).mappings().one()
    expected = row("A1", "000000001", estimated=True, supply="gas")
    assert {name: invoice[name] for name in expected} == expected
    assert (invoice["row_number"], invoice["revision"], invoice["subscription_id"]) == (1, 0, subscription)


def test_the_first_reason_in_the_order_of_precedence_counts():
    subscribe("000000002", state="suspended", study_arm="control")
    subscribe("000000003", study_arm="control")
    past = date(2026, 5, 1)
    stage_extract(
        KEY,
        [
            row("A1", "000000001", amount_due_millimes=-5, due_date=past),
            row("A2", "000000002", amount_due_millimes=-5, due_date=past),
            row("A3", "000000003", amount_due_millimes=-5, due_date=past),
            row("A4", "000000003", amount_due_millimes=0, due_date=past),
            row("A5", "000000003", due_date=past),
            row("A6", "000000003"),
        ],
    )
    match_extract(KEY)
    assert [reason for _, reason in decisions().values()] == [
        "not_subscribed",
        "subscription_suspended",
        "credit_balance",
        "zero_balance",
        "deadline_passed",
        "study_control",
    ]


def test_the_deadline_is_a_local_day(configure):
    configure(now="2026-05-20T23:30:00+00:00")  # already the 21st in Tunis
    subscribe("000000001")
    stage_extract(KEY, [row("A1", "000000001", due_date=date(2026, 5, 20))])
    match_extract(KEY)
    assert decisions() == {"A1": ("suppressed", "deadline_passed")}


def test_a_rerun_changes_nothing_when_nothing_changed():
    subscribe("000000001")
    stage_extract(KEY, [row("A1", "000000001"), row("A2", "000000002")])
    first = match_extract(KEY)
    with connect() as connection:
        before = connection.execute(text("SELECT ctid, xmin, * FROM invoice ORDER BY row_number")).all()
    for _ in range(2):
        again = match_extract(KEY)
        assert (again.matched, again.redecided, again.buckets) == (0, 0, first.buckets)
    with connect() as connection:
        assert (
            connection.execute(text("SELECT ctid, xmin, * FROM invoice ORDER BY row_number")).all() == before
        )


def test_a_rerun_decides_again_only_where_no_notice_is_planned(configure):
    for reference in ("000000001", "000000002", "000000003"):
        subscribe(reference)
    extract_id = stage_extract(KEY, [row(f"A{n}", f"00000000{n}") for n in range(1, 6)])
    match_extract(KEY)
    plan_notice(extract_id, "A1")
    plan_notice(extract_id, "A2", state="cancelled")
    # Everybody leaves, somebody joins.
    run("UPDATE subscription SET state = 'ended'")
    joined = subscribe("000000004")
    outcome = match_extract(KEY)
    assert outcome.redecided == 2
    assert decisions() == {
        "A1": ("noticed", None),
        "A2": ("noticed", None),
        "A3": ("unsubscribed", "not_subscribed"),
        "A4": ("noticed", None),
        "A5": ("unsubscribed", "not_subscribed"),
    }
    with connect() as connection:
        query = "SELECT subscription_id FROM invoice WHERE invoice_number IN ('A3', 'A4') ORDER BY row_number"
        assert connection.execute(text(query)).scalars().all() == [None, joined]
    configure(now="2026-06-26T10:00:00+01:00")
    match_extract(KEY)
    assert decisions()["A4"] == ("suppressed", "deadline_passed")


def test_staging_is_not_needed_again():
    subscribe("000000001")
    extract_id = stage_extract(KEY, [row("A1", "000000001")])
    match_extract(KEY)
    run(f"DROP TABLE staging.extract_{extract_id}")
    assert match_extract(KEY).buckets["noticed"] == 1


# --- Supplements

FIRST, SECOND = ExtractKey("2026-05-T1", 1), ExtractKey("2026-05-T1", 2)


def test_a_supplement_adds_invoices_and_corrects_those_that_stand():
    subscribe("000000001")
    main = stage_extract(KEY, [row("A1", "000000001"), row("A2", "000000001")])
    match_extract(KEY)
    plan_notice(main, "A1", state="accepted")
    plan_notice(main, "A2")
    stage_extract(FIRST, [row("A1", "000000001", amount_due_millimes=900), row("A9", "000000001")])
    match_extract(FIRST)
    stage_extract(SECOND, [row("A1", "000000001", amount_due_millimes=0)])
    match_extract(SECOND)
    with connect() as connection:
        found = connection.execute(
            text(
                "SELECT invoice_number, revision, amount_due_millimes, bucket, reason FROM invoice "
                "ORDER BY 1, 2"
            )
        ).all()
    assert [tuple(line) for line in found] == [
        ("A1", 0, 12_500, "noticed", None),
        ("A1", 1, 900, "suppressed", "superseded"),
        ("A1", 2, 0, "suppressed", "zero_balance"),
        ("A2", 0, 12_500, "noticed", None),
        ("A9", 0, 12_500, "noticed", None),
    ]


def test_a_corrected_invoice_without_a_notice_gives_way_to_the_correction():
    subscribe("000000001")
    main = stage_extract(KEY, [row("A1", "000000001"), row("A2", "000000002"), row("A3", "000000001")])
    match_extract(KEY)
    correction = stage_extract(FIRST, [row("A1", "000000001"), row("A2", "000000002")])
    match_extract(FIRST)
    subscribe("000000002")
    match_extract(KEY)
    match_extract(FIRST)
    assert decisions(main) == {
        "A1": ("suppressed", "superseded"),
        "A2": ("unsubscribed", "not_subscribed"),
        "A3": ("noticed", None),
    }
    assert decisions(correction) == {"A1": ("noticed", None), "A2": ("noticed", None)}


def test_a_supplement_waits_for_those_before_it():
    stage_extract(FIRST, [row("A1", "000000001")])
    with pytest.raises(NotReady, match="waits for the cycle's extract"):
        match_extract(FIRST)
    stage_extract(KEY, [row("A2", "000000001")])
    with pytest.raises(NotReady, match="waits for 2026-05-T1, which is not matched yet"):
        match_extract(FIRST)
    match_extract(KEY)
    match_extract(FIRST)


def test_an_older_supplement_never_corrects_a_newer_one():
    stage_extract(KEY, [row("A1", "000000001")])
    match_extract(KEY)
    stage_extract(SECOND, [row("A1", "000000001", amount_due_millimes=2)])
    match_extract(SECOND)
    stage_extract(FIRST, [row("A1", "000000001", amount_due_millimes=1)])
    with pytest.raises(BadInput, match="supplement-1 comes after 2026-05-T1/supplement-2"):
        match_extract(FIRST)
    match_extract(KEY)


# --- Refusals, and two runs at once


def test_what_is_not_there_or_not_validated_is_refused():
    with pytest.raises(BadInput, match="no cycle '2026-05-T1'"):
        match_extract(KEY)
    stage_extract(KEY, [row("A1", "000000001")], validated=False)
    with pytest.raises(NotReady, match="not validated"):
        match_extract(KEY)
    with pytest.raises(BadInput, match="no extract 2026-05-T1/supplement-1"):
        match_extract(FIRST)
    assert decisions() == {}
    with connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM stage")) == 0


def test_a_number_that_another_cycle_billed_meanwhile_is_refused_as_a_whole():
    other = ExtractKey("2026-05-T2")
    stage_extract(KEY, [row("A1", "000000001")])
    stage_extract(other, [row("A2", "000000001"), row("A1", "000000001")])
    match_extract(KEY)
    with pytest.raises(BadInput, match="another cycle has billed"):
        match_extract(other)
    assert list(decisions()) == ["A1"]


def test_two_runs_at_once_match_each_row_once():
    subscribe("000000001")
    stage_extract(KEY, [row(f"A{n}", "000000001") for n in range(2000)])
    outcomes = []
    threads = [Thread(target=lambda: outcomes.append(match_extract(KEY))) for _ in range(2)]
    with locked(f"cycle {KEY}"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(0.3)
        assert outcomes == []
    for thread in threads:
        thread.join()
    assert sorted(outcome.matched for outcome in outcomes) == [0, 2000]
    assert all(outcome.buckets["noticed"] == 2000 for outcome in outcomes)


def test_the_log_says_in_one_line_what_was_done(caplog):
    subscribe("000000001")
    stage_extract(KEY, [row("A1", "000000001"), row("A2", "000000002")])
    with caplog.at_level(logging.INFO):
        match_extract(KEY)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert line.startswith(
        "match: matched 2, redecided 0, noticed 1, unsubscribed 1, suppressed 0, held_out 0"
    )


references = st.sampled_from([f"00000000{n}" for n in range(6)])
rows = st.lists(
    st.tuples(references, st.integers(-2, 2), st.sampled_from([date(2026, 5, 19), date(2026, 6, 25)])),
    max_size=12,
)
people = st.dictionaries(
    references,
    st.tuples(
        st.sampled_from(["active", "suspended", "ended"]), st.sampled_from([None, "treatment", "control"])
    ),
)


@given(rows, st.sets(st.integers(1, 12)), people, people)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_ends_in_exactly_one_bucket(database, rows, rejected, before, after):
    with begin() as connection:
        staged = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'"))
        for table in staged.scalars().all():
            connection.execute(text(f"DROP TABLE staging.{table}"))
        connection.execute(
            text("TRUNCATE cycle, extract, rejected_row, invoice, subscription, stage CASCADE")
        )
    for reference, (state, arm) in before.items():
        subscribe(reference, state=state, study_arm=arm)
    set_aside = {number: ["bad"] for number in rejected if number <= len(rows)}
    extract_id = stage_extract(
        KEY,
        [
            row(f"A{n}", reference, amount_due_millimes=amount, due_date=due)
            for n, (reference, amount, due) in enumerate(rows)
        ],
        rejected=set_aside,
    )
    first = match_extract(KEY)
    with connect() as connection:
        numbers = connection.execute(text("SELECT row_number FROM invoice ORDER BY 1")).scalars().all()
    assert numbers == [n for n in range(1, len(rows) + 1) if n not in set_aside]
    assert sum(first.buckets.values()) == len(numbers) == first.matched
    # Deciding again with other subscriptions is deciding for the first time with those.
    run("UPDATE subscription SET state = 'ended'")
    for reference, (state, arm) in after.items():
        subscribe(reference, state=state, study_arm=arm)
    match_extract(KEY)
    redecided = decisions()
    with begin() as connection:
        connection.execute(text("DELETE FROM invoice"))
        connection.execute(text("UPDATE extract SET matched_at = NULL WHERE id = :id"), {"id": extract_id})
    match_extract(KEY)
    assert decisions() == redecided
