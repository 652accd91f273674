"""Whole lives of cut-off cases, a step at a time, on the real database; messages are claimed, not sent."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from fatoura import clock
from fatoura.cutoff.claiming import taken_back, unfounded
from fatoura.cutoff.deciding import decide_day
from fatoura.cutoff.feeds import apply_feeds
from fatoura.cutoff.freshness import FeedStale
from fatoura.cutoff.lists import ListKind, hand_over, list_call_backs, list_letters
from fatoura.cutoff.planning import plan_day
from fatoura.cutoff.settling import conclude_cases
from fatoura.database import begin, connect
from tests.cutoff import bill, cases, know, pay, planned, send, watermark
from tests.notices import run_sql


@pytest.fixture
def on(database, configure):
    """Move the clock to 09:30, or another hour, of a day; payments are complete up to then."""

    def move(day: str, hour: str = "09:30", *, fresh: bool = True) -> None:
        configure(now=f"{day}T{hour}:00+01:00")
        if fresh:
            watermark()

    move("2026-06-24")
    return move


def run_day() -> None:
    plan_day(decide_day().cycle)


def warn(outcome: str = "delivered") -> None:
    run_day()
    send(outcome)
    conclude_cases()


def decisions() -> list[tuple]:
    with connect() as connection:
        return [
            tuple(row)
            for row in connection.execute(
                text("SELECT moment, verdict, reason FROM cutoff_decision ORDER BY id")
            )
        ]


def test_an_unpaid_bill_is_warned_twice_and_handed_over(on):
    bill()
    on("2026-06-29")
    run_day()
    assert planned() == []
    on("2026-06-30")
    run_day()
    [warning] = planned()
    assert (warning.kind, warning.sequence, warning.subject) == ("cutoff_warning", 1, "A1")
    # Ten days on is Friday 10 July.
    assert "85,352" in warning.text
    assert "13/07/2026" in warning.text
    assert send() == {}
    assert cases() == [("scheduled",)]
    conclude_cases()
    assert cases("state, cut_from, warned_at::date") == [("warned", date(2026, 7, 13), date(2026, 6, 30))]
    on("2026-07-08")
    run_day()
    assert planned() == []
    on("2026-07-09")
    warn()
    assert cases("state, cut_from") == [("warned_again", date(2026, 7, 13))]
    on("2026-07-12")
    assert hand_over().lines == 0
    on("2026-07-13")
    made = hand_over()
    assert (made.kind, made.added, made.lines) == (ListKind.HAND_OVER, 1, 1)
    assert cases() == [("handed_over",)]
    with connect() as connection:
        line = connection.execute(text("SELECT * FROM cutoff_list_line")).one()
        proof = connection.execute(text("SELECT kind FROM notice WHERE id = :id"), {"id": line.notice_id})
        assert proof.scalar() == "cutoff_warning"
    assert line.balance_millimes == 85_352
    assert line.receipt_id is not None
    assert line.delivered_at is not None
    assert hand_over().added == 0
    assert decisions() == [
        ("due", "notify", None),
        ("settled", "warned", None),
        ("due", "notify", None),
        ("settled", "warned", None),
        ("hand_over", "hand_over", None),
    ]


def test_a_payment_after_the_warning_withdraws_the_case_and_is_confirmed_once(on):
    bill()
    on("2026-06-30")
    warn()
    pay()
    applied = apply_feeds()
    assert (applied.verdicts, applied.confirmations) == ({"withdraw paid": 1}, 1)
    assert cases() == [("paid",)]
    [confirmation] = planned()
    assert confirmation.kind == "payment_received"
    assert (apply_feeds().confirmations, len(planned())) == (0, 1)


def test_a_bounced_cheque_opens_the_case_again_with_a_new_notice_period(on):
    bill()
    on("2026-06-30")
    warn()
    pay()
    apply_feeds()
    on("2026-07-03")
    pay(amount=-85_352)
    assert apply_feeds().reopened == 1
    assert cases("state, opened_because, warn_from") == [
        ("paid", "billed", date(2026, 6, 30)),
        ("scheduled", "reversal", date(2026, 7, 3)),
    ]
    # The confirmation had not left yet: it never does.
    assert planned() == []
    warn()
    assert cases("state, cut_from")[1] == ("warned", date(2026, 7, 13))


def test_a_payment_that_comes_between_the_plan_and_the_claim_stops_the_message(on):
    bill()
    on("2026-06-30")
    run_day()
    [warning] = planned()
    pay()
    assert send() == {warning.id: "paid"}
    assert cases() == [("paid",)]
    assert decisions()[-1] == ("claim", "leave_out", "paid")
    assert apply_feeds().confirmations == 0


def test_nobody_is_warned_on_a_stale_feed_and_all_are_once_it_is_back(on):
    bill()
    on("2026-06-30", fresh=False)
    watermark(channels=("counter", "bank", "web", "app", "debit"))
    on("2026-07-02", fresh=False)
    watermark(channels=("counter", "bank", "web", "app", "debit"))
    with pytest.raises(FeedStale, match=r"post is complete until 2026-06-24 09:30"):
        decide_day()
    assert planned() == []
    watermark()
    run_day()
    [warning] = planned()
    assert "13/07/2026" in warning.text


@pytest.mark.parametrize(
    "fact",
    [
        "payment_plan",
        "dispute",
        "direct_debit",
        "protected",
        "estimate_review",
        "cancelled",
        "contract_ended",
    ],
)
def test_a_fact_leaves_a_customer_out_and_its_end_opens_the_case_again(on, fact):
    bill()
    know(fact, valid_until=date(2026, 7, 10))
    on("2026-06-30")
    run_day()
    assert planned() == []
    assert cases("state, reason, left_out_until") == [("excluded", fact, date(2026, 7, 10))]
    on("2026-07-10")
    assert apply_feeds().reopened == 0
    on("2026-07-11")
    assert apply_feeds().reopened == 1
    run_day()
    assert [notice.kind for notice in planned()] == ["cutoff_warning"]


def test_a_cheque_that_bounces_while_a_fact_holds_opens_the_case_when_that_ends(on):
    bill()
    on("2026-06-25")
    pay()
    apply_feeds()
    assert cases() == [("paid",)]
    know("payment_plan", valid_until=date(2026, 7, 10))
    pay(amount=-85_352)
    assert apply_feeds().reopened == 0
    on("2026-07-11")
    assert apply_feeds().reopened == 1
    assert cases("state, left_out_until") == [("paid", None), ("scheduled", None)]
    assert apply_feeds().reopened == 0


@pytest.mark.parametrize("outcome", ["undeliverable", "expired", "rejected"])
def test_undelivered_is_not_warned_and_goes_on_the_letters(on, outcome):
    bill()
    on("2026-06-30")
    warn(outcome)
    assert cases("state, reason") == [("not_warned", "undelivered")]
    made = list_letters()
    assert (made.added, made.lines) == (1, 1)
    assert list_letters().added == 0
    pay()
    apply_feeds()
    assert cases() == [("paid",)]
    assert planned() == []


@pytest.mark.parametrize("outcome", ["in_doubt", "accepted"])
def test_without_a_final_word_after_the_horizon_it_is_not_warned(on, outcome):
    bill()
    on("2026-06-30")
    warn(outcome)
    assert cases() == [("scheduled",)]
    on("2026-07-01")
    run_day()
    assert planned() == []
    on("2026-07-04")
    conclude_cases()
    assert cases("state, reason") == [("not_warned", "no_final_receipt")]


def test_a_customer_without_consent_or_with_another_number_gets_a_letter(on):
    bill("A1", "000000001")
    bill("A2", "000000002")
    run_sql("UPDATE subscription SET state = 'ended' WHERE customer_reference = '000000001'")
    know("number_changed", "000000002")
    on("2026-06-30")
    run_day()
    assert cases("state, reason") == [("not_warned", "no_consent"), ("not_warned", "number_changed")]
    assert list_letters().lines == 2


@pytest.mark.parametrize("language", ["fr", "ar"])
def test_a_lapse_drops_no_warning_that_is_owed(on, language):
    bill(language=language)
    run_sql("UPDATE subscription SET state = 'lapsed', state_reason = 'fee_unpaid'")
    on("2026-06-22")
    run_day()
    assert [notice.kind for notice in planned()] == ["due_reminder"]
    send()
    on("2026-06-30")
    warn()
    assert cases() == [("warned",)]
    on("2026-07-09")
    warn()
    assert cases() == [("warned_again",)]
    pay()
    assert apply_feeds().confirmations == 1
    assert send() == {}


def test_a_warning_that_waits_to_leave_goes_out_when_its_subscription_lapses(on):
    bill()
    on("2026-06-30")
    run_day()
    run_sql("UPDATE subscription SET state = 'lapsed', state_reason = 'fee_unpaid'")
    assert send() == {}
    conclude_cases()
    assert cases() == [("warned",)]


def test_a_coupon_that_could_not_be_read_keeps_nobody_from_being_warned(on):
    bill()
    run_sql(
        "INSERT INTO set_aside_row (feed_id, row_number, part, part_row, content, reasons, fields, "
        "customer_reference) VALUES (1, 1, 'x', 1, 'coupons', '{}', '{}', '000000001')"
    )
    on("2026-06-30")
    run_day()
    assert len(planned()) == 1


def test_a_handed_over_customer_who_pays_is_called_back(on):
    bill()
    on("2026-06-30")
    warn()
    on("2026-07-09")
    warn()
    on("2026-07-13")
    hand_over()
    pay()
    apply_feeds()
    assert cases() == [("paid",)]
    assert list_call_backs().lines == 1
    assert list_call_backs().added == 0
    assert [notice.kind for notice in planned()] == ["payment_received"]


def test_the_hand_over_needs_the_same_morning(on):
    bill()
    on("2026-06-30")
    warn()
    on("2026-07-09")
    warn()
    on("2026-07-13", "04:30")
    on("2026-07-13", "09:30", fresh=False)
    with pytest.raises(FeedStale, match="nothing is handed over"):
        hand_over()
    assert cases() == [("warned_again",)]


def test_a_reminder_goes_only_to_who_has_not_paid_and_moves_no_case(on):
    bill("A1", "000000001")
    bill("A2", "000000002")
    pay("A2")
    on("2026-06-22")
    run_day()
    assert [(notice.kind, notice.subject) for notice in planned()] == [("due_reminder", "A1")]
    send()
    run_day()
    assert planned() == []
    assert cases() == [("scheduled",), ("scheduled",)]


def test_a_rest_under_the_minimum_a_later_bill_or_a_credit_elsewhere_stop_a_warning(on):
    bill("A1", "000000001", amount=20_000)
    pay("A1", 15_001)
    bill("A2", "000000002")
    bill("B2", "000000002", issued=date(2026, 6, 20), due=date(2026, 7, 25), warn_from=date(2026, 7, 30))
    pay("B2")
    bill("A3", "000000003", amount=10_000)
    bill("B3", "000000003", amount=10_000, issued=date(2026, 5, 1), warn_from=date(2027, 1, 1))
    pay("B3", 16_000)
    on("2026-06-30")
    run_day()
    assert planned() == []
    with connect() as connection:
        found = dict(
            connection.execute(
                text("SELECT invoice_number, reason FROM cutoff_case WHERE state <> 'scheduled'")
            ).all()
        )
    assert found == {"A1": "under_minimum", "A2": "paid_by_later_bill", "A3": "credit_balance"}


def test_a_corrected_bill_that_uses_up_a_credit_opens_the_other_one_again(on):
    bill("A1", amount=10_000)
    bill("B1", amount=10_000, issued=date(2026, 5, 1), warn_from=date(2027, 1, 1))
    pay("B1", 20_000)
    on("2026-06-30")
    apply_feeds()
    assert cases("invoice_number, reason") == [("A1", "credit_balance"), ("B1", "paid")]
    run_sql(
        "INSERT INTO extract (id, cycle_id, supplement, source, location, manifest, digest, declared_rows, "
        "declared_total_millimes, matched_at) OVERRIDING SYSTEM VALUE "
        "SELECT 2, id, 1, 'landing', 'x', '{}', 'x', 1, 20000, :now FROM cycle WHERE key = '2026-05-T1'",
        now=clock.now(),
    )
    run_sql(
        "INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, "
        "customer_reference, district, supply, period_start, period_end, amount_due_millimes, due_date, "
        "issue_date, estimated, bucket, subscription_id) SELECT 2, 1, cycle_id, invoice_number, 1, "
        "customer_reference, district, supply, period_start, period_end, 20000, due_date, issue_date, false, "
        "'noticed', subscription_id FROM invoice WHERE invoice_number = 'B1'"
    )
    assert apply_feeds().reopened == 1


def test_a_flood_is_spread_over_days_the_oldest_first(on, configure, tmp_path):
    from fatoura.settings import get_settings

    rules = tmp_path / "rules.yaml"
    rules.write_text(
        get_settings()
        .cutoff_rules.read_text("utf-8")
        .replace("most_warnings_a_day: 20_000", "most_warnings_a_day: 2")
    )
    configure(cutoff_rules=str(rules))
    for number in range(5):
        bill(f"A{number}", f"00000000{number}", due=date(2026, 6, 25 - number))
    on("2026-06-30")
    decided = decide_day()
    assert decided.waiting == 3
    plan_day(decided.cycle)
    assert [notice.subject for notice in planned()] == ["A3", "A4"]
    assert decide_day().verdicts["cutoff_warning"]["notify"] == 0
    on("2026-07-01")
    run_day()
    assert len(planned()) == 4


def test_what_did_not_leave_by_the_evening_is_decided_anew_with_a_later_day(on):
    bill()
    on("2026-06-30")
    run_day()
    run_sql("UPDATE notice SET state = 'cancelled', reason = 'too_late'")
    assert conclude_cases().counts == {"returned": 1}
    on("2026-07-01")
    run_day()
    [warning] = planned()
    assert warning.sequence == 2
    assert "13/07/2026" in warning.text


def test_what_waited_until_the_feeds_were_too_old_never_leaves_and_is_due_another_day(on):
    bill()
    on("2026-06-30", fresh=False)
    watermark(clock.now() - timedelta(hours=29))
    run_day()
    [warning] = planned()
    on("2026-06-30", "12:00", fresh=False)
    assert send() == {warning.id: "feed_stale"}
    assert cases() == [("scheduled",)]
    assert conclude_cases().counts == {"returned": 1}
    on("2026-07-01")
    run_day()
    [warning] = planned()
    assert send() == {}


@pytest.mark.parametrize(("day", "kind"), [("2026-06-22", "due_reminder"), ("2026-06-30", "cutoff_warning")])
def test_a_message_to_a_former_number_never_leaves_and_the_next_day_s_goes_to_the_new_one(on, day, kind):
    bill()
    on(day)
    run_day()
    [message] = planned()
    assert message.kind == kind
    run_sql("UPDATE subscription SET phone = '+21620999999'")
    assert send() == {message.id: "former_number"}
    assert conclude_cases().counts == ({"returned": 1} if kind == "cutoff_warning" else {})
    on((date.fromisoformat(day) + timedelta(days=1)).isoformat())
    run_day()
    [message] = planned()
    assert (message.kind, message.phone) == (kind, "+21620999999")
    assert send() == {}


def test_a_number_that_changed_for_another_bill_keeps_nobody_from_hearing_of_a_payment(on):
    bill()
    on("2026-06-30")
    warn()
    know("number_changed", invoice="A9")
    pay()
    assert apply_feeds().confirmations == 1


def test_nobody_is_told_of_a_payment_that_was_taken_back_before_the_message_left(on):
    bill()
    on("2026-06-30")
    warn()
    pay()
    apply_feeds()
    [confirmation] = planned()
    pay(amount=-85_352)
    with begin() as connection:
        assert taken_back(connection, [confirmation.id]) == {confirmation.id: "reversed"}


def test_nobody_who_owes_again_and_is_left_out_is_told_of_a_payment(on):
    bill()
    on("2026-06-30")
    warn()
    pay()
    apply_feeds()
    [confirmation] = planned()
    pay(amount=-85_352)
    know("dispute")
    with begin() as connection:
        assert taken_back(connection, [confirmation.id]) == {confirmation.id: "dispute"}


def test_feeds_and_senders_never_wait_for_each_other(on):
    """A claim that judges a case while a feed withdraws it: one of them waits, and the message has left."""
    bill()
    on("2026-06-30")
    run_day()
    [warning] = planned()
    with begin() as sender:
        sender.execute(text("SELECT FROM notice WHERE id = :id FOR UPDATE"), {"id": warning.id})
        assert unfounded(sender, [warning.id]) == {}
        sender.execute(
            text("UPDATE notice SET state = 'sending', attempts = 1, submitted_at = now() WHERE id = :id"),
            {"id": warning.id},
        )
        pay()
        with ThreadPoolExecutor(1) as other:
            applied = other.submit(apply_feeds)
            with pytest.raises(TimeoutError):
                applied.result(timeout=0.5)
            sender.commit()
            done = applied.result(timeout=20)
    # It had left when the payment came: the customer is told that it has arrived.
    assert (done.verdicts, done.confirmations) == ({"withdraw paid": 1}, 1)


def test_a_warning_whose_sender_never_came_back_does_not_hold_its_case(on):
    bill()
    on("2026-06-30")
    run_day()
    on("2026-07-01")
    assert conclude_cases().counts == {"returned": 1}
    run_day()
    assert [warning.sequence for warning in planned()] == [2]
