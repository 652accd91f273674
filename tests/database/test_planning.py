"""The render stage: each noticed invoice gets one notice; corrections replace or follow what was planned."""

import logging
from datetime import UTC, date, datetime
from uuid import RFC_4122, UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from fatoura.calendar import Hours, decide_day
from fatoura.cycles.keys import ExtractKey
from fatoura.database import begin, connect
from fatoura.ledger import cycle_ledger
from fatoura.notices import planning
from fatoura.notices.kinds import load_kind
from fatoura.notices.planning import (
    PlannedBills,
    PlanningRefused,
    cancel_replaced,
    plan_bills,
    sample_notices,
)
from fatoura.subscriptions import match_extract
from tests.staging import row, stage_extract, subscribe

KEY, SUPPLEMENT, SECOND = (ExtractKey("2026-05-T1", n) for n in range(3))
NOW = datetime(2026, 5, 20, 9, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


def run(statement: str, **values) -> None:
    with begin() as connection:
        connection.execute(text(statement), values)


def notices(columns: str = "subject, sequence, kind, state, reason") -> list[tuple]:
    with connect() as connection:
        return [
            tuple(line)
            for line in connection.execute(text(f"SELECT {columns} FROM notice ORDER BY subject, sequence"))
        ]


def matched(key: ExtractKey, *rows) -> int:
    extract_id = stage_extract(key, rows)
    match_extract(key)
    return extract_id


def send(subject: str, sequence: int = 1, *states: str) -> None:
    for state in states or ("sending", "accepted"):
        run(
            "UPDATE notice SET state = :state, attempts = 1 "
            "WHERE subject = :subject AND sequence = :sequence",
            state=state,
            subject=subject,
            sequence=sequence,
        )


def test_each_noticed_invoice_gets_one_complete_notice():
    arabic, french = subscribe("042580496"), subscribe("425804960", language="fr")
    extract_id = matched(
        KEY,
        row("F2", "425804960", amount_due_millimes=1_234_500, district="SFX"),
        row("F1", "042580496"),
        row("F3", "000000003"),
        row("F4", "042580496", amount_due_millimes=0),
    )
    done = plan_bills(KEY, run_id="manual__1")
    assert done == PlannedBills(planned=2, already_planned=0, replaced=0, corrections=0, segments=2)
    bill, due = load_kind("bill"), date(2026, 6, 25)
    assert notices("kind, subject, sequence, cycle_id, extract_id, subscription_id, district, language") == [
        ("bill", "F1", 1, 1, extract_id, arabic, "TUN", "ar"),
        ("bill", "F2", 1, 1, extract_id, french, "SFX", "fr"),
    ]
    assert notices("phone, text") == [
        ("+21620000001", bill.render(language, {"amount": amount, "reference": reference, "due_date": due}))
        for language, amount, reference in (("ar", 12_500, "042580496"), ("fr", 1_234_500, "425804960"))
    ]
    assert notices("encoding, segments, priority, validity_minutes, planned_by, state, attempts") == [
        ("ucs2", 1, bill.priority, bill.validity_minutes, "manual__1", "planned", 0),
        ("gsm7", 1, bill.priority, bill.validity_minutes, "manual__1", "planned", 0),
    ]
    [first, _] = notices("send_from, planned_at, state_since, send_until")
    # By the moved clock; 25 June 2026 is a Thursday, and sending closes at 20:00 in Tunis.
    assert {abs((instant - NOW).total_seconds()) < 60 for instant in first[:3]} == {True}
    assert first[3] == datetime(2026, 6, 25, 19, tzinfo=UTC)


def test_sending_ends_with_the_last_window_before_the_due_date_is_over():
    subscribe("000000001")
    decide_day(date(2026, 6, 25), None, reason="a trial", by="the tests")
    decide_day(date(2026, 6, 24), Hours.parse("09:00-13:00"), reason="a trial", by="the tests")
    matched(KEY, row("F1", "000000001"), row("F2", "000000001", due_date=date(2026, 6, 21)))
    plan_bills(KEY, run_id=None)
    assert notices("subject, send_until AT TIME ZONE 'Africa/Tunis'") == [
        ("F1", datetime(2026, 6, 24, 13)),
        ("F2", datetime(2026, 6, 20, 20)),  # 21 June 2026 is a Sunday
    ]


def test_ids_are_uuids_of_version_7_in_the_order_of_sending():
    subscribe("000000001")
    matched(KEY, *(row(f"F{n:03}", "000000001") for n in range(300)))
    plan_bills(KEY, run_id=None)
    ids = [id_ for (id_,) in notices("id")]
    assert ids == sorted(set(ids))
    assert {(type(id_), id_.version, id_.variant) for id_ in ids} == {(UUID, 7, RFC_4122)}
    made_at = datetime.fromtimestamp((ids[0].int >> 80) / 1000, UTC)
    assert abs((made_at - datetime.now(UTC)).total_seconds()) < 60


def test_planning_again_plans_nothing_new_and_says_so(caplog):
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"), row("F2", "000000001"))
    plan_bills(KEY, run_id="first")
    before = notices("id, planned_by, state")
    caplog.set_level(logging.INFO, "fatoura")
    assert plan_bills(KEY, run_id="second") == PlannedBills(0, 2, 0, 0, 0)
    assert notices("id, planned_by, state") == before
    assert "render: planned 0, already_planned 2, replaced 0, corrections 0, segments 0 in" in caplog.text


@pytest.mark.parametrize("states", [("sending",), ("sending", "accepted", "delivered"), ("cancelled",)])
def test_whatever_became_of_a_notice_it_is_not_planned_again(states):
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"))
    plan_bills(KEY, run_id=None)
    send("F1", 1, *states)
    assert plan_bills(KEY, run_id=None).planned == 0
    assert len(notices()) == 1


def test_a_later_run_plans_what_is_still_missing():
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"), row("F2", "000000002"))
    assert plan_bills(KEY, run_id="first").planned == 1
    subscribe("000000002")
    match_extract(KEY)
    assert plan_bills(KEY, run_id="second") == PlannedBills(1, 1, 0, 0, 1)
    assert notices("subject, planned_by") == [("F1", "first"), ("F2", "second")]


def test_nothing_noticed_is_nothing_planned():
    matched(KEY, row("F1", "000000001"))
    assert plan_bills(KEY, run_id=None) == PlannedBills(0, 0, 0, 0, 0)


def test_the_stage_is_recorded_with_its_counts():
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"))
    plan_bills(KEY, run_id="manual__1")
    with connect() as connection:
        recorded = connection.execute(
            text("SELECT supplement, run_id, counts FROM stage WHERE name = 'render'")
        ).one()
    counts = {"planned": 1, "already_planned": 0, "replaced": 0, "corrections": 0, "segments": 1}
    assert tuple(recorded) == (0, "manual__1", counts)


# --- Supplements


def test_a_corrected_invoice_replaces_a_notice_that_was_not_sent():
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"))
    plan_bills(KEY, run_id=None)
    matched(SUPPLEMENT, row("F1", "000000001", amount_due_millimes=7_000))
    assert plan_bills(SUPPLEMENT, run_id=None) == PlannedBills(1, 0, 1, 0, 1)
    assert notices() == [
        ("F1", 1, "bill", "cancelled", "replaced"),
        ("F1", 2, "bill", "planned", None),
    ]
    assert "7,000د" in notices("text")[1][0]
    assert plan_bills(SUPPLEMENT, run_id=None) == PlannedBills(0, 1, 0, 0, 0)
    assert cycle_ledger(KEY.cycle).identity_holds


@pytest.mark.parametrize(
    "states",
    [
        ("sending",),
        ("sending", "in_doubt"),
        ("sending", "accepted"),
        ("sending", "accepted", "undeliverable"),
    ],
)
def test_a_corrected_invoice_follows_a_notice_that_may_have_been_sent(states):
    subscribe("000000001", language="fr")
    matched(KEY, row("F1", "000000001"))
    plan_bills(KEY, run_id=None)
    send("F1", 1, *states)
    matched(SUPPLEMENT, row("F1", "000000001", amount_due_millimes=7_000), row("F2", "000000001"))
    assert plan_bills(SUPPLEMENT, run_id=None) == PlannedBills(2, 0, 0, 1, 2)
    assert notices("subject, sequence, kind, priority") == [
        ("F1", 1, "bill", 50),
        ("F1", 2, "bill_correction", 40),
        ("F2", 1, "bill", 50),
    ]
    assert "remplace notre message précédent\nMontant à payer : 7,000 DT" in notices("text")[1][0]
    assert cycle_ledger(KEY.cycle).identity_holds


def test_a_notice_that_was_cancelled_was_not_sent_and_needs_no_correction():
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"))
    plan_bills(KEY, run_id=None)
    send("F1", 1, "cancelled")
    matched(SUPPLEMENT, row("F1", "000000001", amount_due_millimes=7_000))
    assert plan_bills(SUPPLEMENT, run_id=None) == PlannedBills(1, 0, 0, 0, 1)
    assert notices("sequence, kind") == [(1, "bill"), (2, "bill")]


def test_a_second_correction_replaces_the_first_and_still_is_one():
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"))
    plan_bills(KEY, run_id=None)
    send("F1")
    matched(SUPPLEMENT, row("F1", "000000001", amount_due_millimes=7_000))
    plan_bills(SUPPLEMENT, run_id=None)
    matched(SECOND, row("F1", "000000001", amount_due_millimes=8_000))
    assert plan_bills(SECOND, run_id=None) == PlannedBills(1, 0, 1, 1, 1)
    assert notices() == [
        ("F1", 1, "bill", "accepted", None),
        ("F1", 2, "bill_correction", "cancelled", "replaced"),
        ("F1", 3, "bill_correction", "planned", None),
    ]
    assert cycle_ledger(KEY.cycle).identity_holds


def test_a_bill_corrected_to_nothing_is_withdrawn_before_it_is_sent():
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"))
    plan_bills(KEY, run_id=None)
    matched(SUPPLEMENT, row("F1", "000000001", amount_due_millimes=0))
    assert plan_bills(SUPPLEMENT, run_id=None) == PlannedBills(0, 0, 1, 0, 0)
    assert notices() == [("F1", 1, "bill", "cancelled", "replaced")]


def test_an_extract_planned_after_its_supplement_does_not_send_the_old_figures():
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"), row("F2", "000000001"))
    matched(SUPPLEMENT, row("F1", "000000001", amount_due_millimes=7_000))
    plan_bills(SUPPLEMENT, run_id=None)
    assert plan_bills(KEY, run_id=None) == PlannedBills(1, 0, 0, 0, 1)
    assert notices() == [
        ("F1", 2, "bill", "planned", None),
        ("F2", 1, "bill", "planned", None),
    ]
    assert cycle_ledger(KEY.cycle).identity_holds


def test_a_notice_refused_after_its_correction_was_planned_is_taken_back():
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"))
    plan_bills(KEY, run_id=None)
    send("F1", 1, "sending")
    matched(SUPPLEMENT, row("F1", "000000001", amount_due_millimes=7_000))
    plan_bills(SUPPLEMENT, run_id=None)
    send("F1", 1, "planned")
    with begin() as connection:
        assert cancel_replaced(connection, 1) == 1
    assert notices() == [
        ("F1", 1, "bill", "cancelled", "replaced"),
        ("F1", 2, "bill_correction", "planned", None),
    ]
    # And planned once stays planned once, though its kind would be another now.
    assert plan_bills(SUPPLEMENT, run_id=None).planned == 0


def test_another_cycle_is_left_alone():
    subscribe("000000001")
    other = ExtractKey("2026-05-T2")
    matched(other, row("G1", "000000001"))
    plan_bills(other, run_id=None)
    matched(KEY, row("F1", "000000001"))
    matched(SUPPLEMENT, row("F1", "000000001", amount_due_millimes=1))
    plan_bills(SUPPLEMENT, run_id=None)
    assert notices("subject, state")[-1] == ("G1", "planned")


steps = st.lists(
    st.tuples(
        st.sampled_from(["supplement", "plan", "send"]),
        st.sets(st.integers(0, 3), min_size=1),
        st.sampled_from([0, 7_000, 9_000]),
    ),
    max_size=7,
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_in_any_order_of_supplements_runs_and_sending_the_last_figures_are_the_only_ones_to_go_out(drawn):
    with begin() as connection:
        connection.execute(
            text("TRUNCATE notice, invoice, subscription, stage, rejected_row, extract, cycle")
        )
    for n in range(4):
        subscribe(f"00000000{n}", language=("ar", "fr")[n % 2])
    matched(KEY, *(row(f"F{n}", f"00000000{n}") for n in range(4)))
    keys = [KEY]
    plan_bills(KEY, run_id=None)
    for step, chosen, amount in drawn:
        if step == "supplement":
            keys.append(ExtractKey(KEY.cycle, len(keys)))
            matched(
                keys[-1],
                *(
                    row(f"F{n}", f"00000000{n}", amount_due_millimes=amount + len(keys) if amount else 0)
                    for n in chosen
                ),
            )
            plan_bills(keys[-1], run_id=None)
        elif step == "plan":
            for n in chosen:
                plan_bills(keys[n % len(keys)], run_id=None)
        else:
            for n in chosen:
                run("UPDATE notice SET state = 'sending' WHERE subject = :s AND state = 'planned'", s=f"F{n}")
    with connect() as connection:
        queued = connection.execute(
            text(
                "SELECT n.subject, n.sequence, count(*) OVER (PARTITION BY n.subject), "
                "(SELECT max(revision) + 1 FROM invoice i WHERE i.invoice_number = n.subject) "
                "FROM notice n WHERE state = 'planned'"
            )
        ).all()
        told = connection.execute(
            text(
                "SELECT count(*) FILTER (WHERE kind = 'bill') FROM notice "
                "WHERE state <> 'cancelled' AND state <> 'planned' GROUP BY subject"
            )
        ).scalars()
        # Who has had a bill gets corrections from then on, never a second bill.
        assert all(bills <= 1 for bills in told)
    for _, sequence, together, last in queued:
        assert together == 1
        assert sequence == last
    assert cycle_ledger(KEY.cycle).identity_holds


# --- Refusals


def test_an_extract_that_was_not_loaded_or_not_matched_is_refused():
    with pytest.raises(PlanningRefused, match="there is no extract 2026-05-T1/supplement-1"):
        plan_bills(SUPPLEMENT, run_id=None)
    stage_extract(KEY, [row("F1", "000000001")])
    with pytest.raises(PlanningRefused, match="extract 2026-05-T1 is not matched yet"):
        plan_bills(KEY, run_id=None)


def test_messages_that_do_not_fit_stop_the_run_before_anything_is_planned():
    subscribe("000000001")
    matched(KEY, *(row(f"F{n}", "000000001") for n in range(8)))
    # Bounds that the quality gate keeps: beyond them the text would not be what was measured.
    run("UPDATE invoice SET amount_due_millimes = 1000000000 WHERE invoice_number <> 'F7'")
    with pytest.raises(PlanningRefused) as refused:
        plan_bills(KEY, run_id=None)
    assert "7 message(s) of kind bill" in str(refused.value)
    assert "invoice F0, F1, F2, F3, F4 and others" in str(refused.value)
    assert "20000001" not in str(refused.value)
    assert notices() == []
    with connect() as connection:
        assert not connection.scalar(text("SELECT count(*) FROM stage WHERE name = 'render'"))


def test_messages_over_the_declared_segments_stop_the_run(monkeypatch, tmp_path):
    (tmp_path / "bill").mkdir()
    source = load_kind("bill")
    # Declared for small amounts only: what comes is larger, and takes a second segment.
    (tmp_path / "bill" / "kind.toml").write_text(
        'description = "x"\npriority = 1\nin_doubt = "give_up"\nvalidity_minutes = 1\n[fields]\n'
        'amount = {type = "money", worst = 1, typical = 1}\n'
        'reference = {type = "reference", worst = "000000000", typical = "000000000"}\n'
        'due_date = {type = "date", worst = 2026-12-31, typical = 2026-12-31}\n',
        "utf-8",
    )
    for language in source.sentences:
        (tmp_path / "bill" / f"{language}.txt.j2").write_text(
            "د" * 45 + " {{ amount }}{{ reference }}{{ due_date }}"
            if language == "ar"
            else "{{ amount }}{{ reference }}{{ due_date }}",
            "utf-8",
        )
    short = load_kind("bill", tmp_path)
    monkeypatch.setattr(planning, "load_kind", lambda name: short if name == "bill" else load_kind(name))
    subscribe("000000001")
    subscribe("000000002", language="fr")
    matched(
        KEY,
        row("F1", "000000001", amount_due_millimes=9_000),
        row("F2", "000000001", amount_due_millimes=10_000),
        row("F3", "000000002", amount_due_millimes=999_999_999),
    )
    with pytest.raises(PlanningRefused, match=r"1 message\(s\) of kind bill .* invoice F2\. Nothing was"):
        plan_bills(KEY, run_id=None)
    assert notices() == []


def test_an_invoice_whose_subscription_is_gone_is_named():
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"), row("F2", "000000001"))
    run("UPDATE invoice SET subscription_id = 999 WHERE invoice_number = 'F2'")
    with pytest.raises(PlanningRefused, match=r"1 invoice\(s\) .* subscription is gone: invoice F2\. Match"):
        plan_bills(KEY, run_id=None)
    assert notices() == []


# --- Samples


def test_samples_show_each_language_and_neither_number_nor_reference():
    subscribe("123456789")
    subscribe("987654321", language="fr")
    matched(
        KEY,
        row("F1", "123456789"),
        row("F2", "123456789"),
        row("F3", "987654321"),
    )
    plan_bills(KEY, run_id=None)
    samples = sample_notices(KEY.cycle)
    assert [(sample.kind, sample.language, sample.phone, sample.segments) for sample in samples] == [
        ("bill", "ar", "+216 ** *** 001", 1),
        ("bill", "fr", "+216 ** *** 001", 1),
        ("bill", "ar", "+216 ** *** 001", 1),
    ]
    assert "مرجع ******789\n" in samples[0].text
    assert "Référence : ***** *32 1\n" in samples[1].text
    assert "12,500" in samples[0].text
    assert len(sample_notices(KEY.cycle, n=1)) == 1


def test_samples_show_only_what_is_about_to_go_out():
    subscribe("000000001")
    matched(KEY, row("F1", "000000001"), row("F2", "000000001"))
    plan_bills(KEY, run_id=None)
    send("F1")
    assert len(sample_notices(KEY.cycle)) == 1
    assert sample_notices("another") == []
