"""`fatoura cutoff explain`: each life told in full, as a clerk reads it.

The texts lie in `explanations/`, one a life. What they tell of was done by the real functions.
"""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner

from fatoura.accounts.commands import end_fact
from fatoura.cli import main
from fatoura.cutoff.feeds import apply_feeds
from fatoura.cutoff.lists import hand_over, list_call_backs, list_letters
from fatoura.cutoff.settling import conclude_cases
from fatoura.cycles.keys import ExtractKey
from fatoura.settings import get_settings
from fatoura.subscriptions import match_extract
from tests.billed import CUSTOMER, LATER_BILL, bill, fresh, invoice, receive, run_day, send
from tests.notices import run_sql
from tests.payments import fact, load_facts, load_payments, payment, reversal
from tests.staging import stage_extract, subscribe

TOLD = Path(__file__).with_name("explanations")
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(autouse=True)
def on(database, configure):
    """Move the clock to an hour of a day; the feeds are complete up to then, unless they are stale."""

    def move(day: str, hour: str = "09:30", *, stale: bool = False) -> None:
        configure(now=f"{day}T{hour}:00+01:00")
        if not stale:
            fresh()

    move("2026-05-20", "10:00")
    return move


def day_of(on, day: str, outcome: str | None = "delivered") -> list[UUID]:
    """Run a day to its end: decide, plan and send at 09:30, conclude when the receipts have come."""
    on(day)
    run_day()
    sent = send(outcome)
    on(day, "09:45", stale=True)
    conclude_cases()
    return sent


def explain(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["cutoff", "explain", *arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def check(name: str, number: str = "FAC-1") -> None:
    """Compare an explanation with the text that is kept of it, word for word."""
    names: dict[str, str] = {}
    said = _ID.sub(lambda match: names.setdefault(match[0], str(UUID(int=len(names) + 1))), explain(number))
    assert said == (TOLD / f"{name}.txt").read_text(encoding="utf-8")


def test_unpaid_to_the_end(on):
    bill(invoice("FAC-1"))
    day_of(on, "2026-06-22")
    day_of(on, "2026-06-30")
    day_of(on, "2026-07-09")
    on("2026-07-13", "07:30")
    hand_over()
    check("unpaid_to_the_end")


def test_paid_after_the_warning(on):
    bill(invoice("FAC-1"))
    day_of(on, "2026-06-30")
    on("2026-07-02", "11:00", stale=True)
    fresh(payment("P-1", "FAC-1", 50_000, paid_at="2026-07-01T16:20:00+01:00"))
    on("2026-07-03", "11:00", stale=True)
    fresh(payment("P-2", "FAC-1", 35_352, paid_at="2026-07-03T08:05:00+01:00", channel="post"))
    send()
    check("paid_after_the_warning")


def test_paid_in_time(on):
    bill(invoice("FAC-1"))
    on("2026-06-24", stale=True)
    fresh(payment("P-1", "FAC-1", 90_000, paid_at="2026-06-24T08:05:00+01:00", channel="bank"))
    on("2026-06-30")
    run_day()
    check("paid_in_time")


def test_a_bounced_cheque(on):
    bill(invoice("FAC-1"))
    on("2026-06-24", stale=True)
    fresh(payment("P-1", "FAC-1", 85_352, paid_at="2026-06-24T08:05:00+01:00", channel="bank"))
    on("2026-06-30", "11:00")
    run_day()
    on("2026-07-06", stale=True)
    fresh(reversal("R-1", "P-1", "FAC-1", 85_352, paid_at="2026-07-05T10:00:00+01:00", channel="bank"))
    day_of(on, "2026-07-07")
    check("a_bounced_cheque")


def test_a_payment_plan_that_ended(on):
    bill(invoice("FAC-1"))
    on("2026-06-18")
    load_facts(
        "2026-06-18",
        fact(
            "F-1",
            CUSTOMER,
            "payment_plan",
            valid_from="2026-06-15",
            valid_until="2026-07-10",
            set_by="agency of Sousse",
        ),
    )
    apply_feeds()
    on("2026-07-11")
    check("a_payment_plan_that_ended")


def test_a_dispute_until_further_notice(on):
    bill(invoice("FAC-1"))
    day_of(on, "2026-06-30")
    on("2026-07-03")
    load_facts(
        "2026-07-03", fact("F-1", CUSTOMER, "dispute", invoice_number="FAC-1", valid_from="2026-07-02")
    )
    apply_feeds()
    check("a_dispute_until_further_notice")


def test_a_dispute_that_a_clerk_ended(on):
    bill(invoice("FAC-1"))
    on("2026-06-26")
    disputed = fact("F-1", CUSTOMER, "dispute", set_by="billing system")
    load_facts("2026-06-26", disputed)
    apply_feeds()
    on("2026-07-06", "11:00")
    end_fact("F-1", set_by="the desk of Sousse")
    apply_feeds()
    on("2026-07-07")
    load_facts("2026-07-07", disputed | {"valid_until": "2026-12-31"})
    apply_feeds()
    run_day()
    check("a_dispute_that_a_clerk_ended")


def test_a_message_that_did_not_leave_by_the_evening(on):
    bill(invoice("FAC-1"))
    on("2026-06-30")
    run_day()
    on("2026-07-01")
    conclude_cases()
    run_day()
    check("a_message_that_did_not_leave_by_the_evening")


def test_a_letter_and_a_receipt_that_comes_too_late(on):
    bill(invoice("FAC-1"))
    sent = day_of(on, "2026-06-30", None)
    on("2026-07-04")
    conclude_cases()
    list_letters()
    on("2026-07-05", "18:00")
    receive("delivered", *sent)
    conclude_cases()
    check("a_letter_and_a_receipt_that_comes_too_late")


def test_undelivered(on):
    bill(invoice("FAC-1"))
    day_of(on, "2026-06-30", "undeliverable")
    check("undelivered")


def test_the_second_warning_did_not_arrive(on):
    bill(invoice("FAC-1"))
    day_of(on, "2026-06-30")
    day_of(on, "2026-07-09", "expired")
    check("the_second_warning_did_not_arrive")


def test_a_customer_who_has_left(on):
    bill(invoice("FAC-1"))
    run_sql("UPDATE subscription SET state = 'ended'")
    on("2026-06-30")
    run_day()
    list_letters()
    check("a_customer_who_has_left")


def test_a_stale_feed(on):
    bill(invoice("FAC-1"))
    on("2026-06-28")
    on("2026-07-02", stale=True)
    load_payments("2026-07-02", until=dict.fromkeys(("counter", "bank", "app"), "2026-07-02T06:00:00+01:00"))
    check("a_stale_feed")


def test_a_morning_without_a_feed(on):
    bill(invoice("FAC-1"))
    for day in ("2026-06-30", "2026-07-09"):
        day_of(on, day)
    on("2026-07-10", "10:00")
    check("warned_twice_and_waiting")
    on("2026-07-12", "18:00")
    on("2026-07-13", "07:30", stale=True)
    check("a_morning_without_a_feed")


def test_a_daily_run_that_has_not_run(on):
    bill(invoice("FAC-1"))
    on("2026-06-29")
    run_day()
    on("2026-07-02")
    check("a_daily_run_that_has_not_run")


def test_a_flood(on, configure, tmp_path):
    rules = get_settings().cutoff_rules.read_text(encoding="utf-8")
    (tmp_path / "rules.yaml").write_text(
        rules.replace("most_warnings_a_day: 20_000", "most_warnings_a_day: 1")
    )
    configure(cutoff_rules=str(tmp_path / "rules.yaml"))
    bill(invoice("FAC-0", "000000001", due_date=date(2026, 6, 24)), invoice("FAC-1"))
    on("2026-06-30")
    run_day()
    check("a_flood")


def test_paid_between_the_plan_and_the_claim(on):
    bill(invoice("FAC-1"))
    on("2026-06-30")
    run_day()
    load_payments("2026-06-30-1", payment("P-1", "FAC-1", 85_352, paid_at="2026-06-30T09:25:00+01:00"))
    assert send() == []
    check("paid_between_the_plan_and_the_claim")


def test_on_its_way(on):
    bill(invoice("FAC-1"))
    on("2026-06-30")
    run_day()
    check("on_its_way")
    send(outcome=None)
    check("on_its_way_without_a_receipt")


def test_corrected_after_the_warning(on):
    bill(invoice("FAC-1"))
    day_of(on, "2026-06-30")
    on("2026-07-02", "10:00")
    bill(invoice("FAC-1", amount=61_000, due_date=date(2026, 7, 16)), supplement=1)
    check("corrected_after_the_warning")


def test_called_back(on):
    bill(invoice("FAC-1"))
    for day in ("2026-06-30", "2026-07-09"):
        day_of(on, day)
    on("2026-07-13", "07:30")
    hand_over()
    on("2026-07-13", "11:00", stale=True)
    fresh(payment("P-1", "FAC-1", 85_352, paid_at="2026-07-13T10:12:00+01:00", channel="app"))
    list_call_backs()
    check("called_back")


def test_settled_by_a_later_bill(on):
    bill(invoice("FAC-1"))
    on("2026-06-20", "10:00")
    bill(invoice("FAC-2", amount=120_000, **LATER_BILL), cycle="2026-06-T1")
    on("2026-06-29", stale=True)
    fresh(payment("P-1", "FAC-2", 120_000, paid_at="2026-06-29T08:05:00+01:00", channel="web"))
    on("2026-06-30")
    run_day()
    check("settled_by_a_later_bill")


def test_a_row_that_was_set_aside(on):
    bill(invoice("FAC-1"))
    on("2026-06-29", stale=True)
    fresh(payment("P-1", "FAC-1", "ten", paid_at="2026-06-28T08:05:00+01:00"), name="2026-06-29")
    on("2026-06-30")
    run_day()
    check("a_row_that_was_set_aside")


def test_payments_that_were_told_in_two_ways(on):
    bill(invoice("FAC-1"))
    on("2026-06-23", "11:00", stale=True)
    fresh(payment("P-1", "FAC-1", 70_000), name="2026-06-23")
    on("2026-06-24", "11:00", stale=True)
    fresh(
        payment("P-1", "FAC-1", 10_000),
        reversal("R-9", "P-9", "FAC-1", 5_000, paid_at="2026-06-24T09:00:00+01:00"),
        name="2026-06-24",
    )
    load_payments("2026-06-22-late", payment("P-1", "FAC-1", 75_000), until="2026-06-22T20:00:00+01:00")
    load_facts("2026-06-24", fact("F-1", CUSTOMER, "protected", set_by="agency of Sousse"))
    load_facts(
        "2026-06-25", fact("F-1", CUSTOMER, "protected", valid_until="2026-05-31", set_by="agency of Sousse")
    )
    on("2026-06-26")
    check("payments_that_were_told_in_two_ways")


def test_before_the_last_day(on):
    bill(invoice("FAC-1"))
    on("2026-06-01")
    check("before_the_last_day")


def test_as_one_document(on):
    bill(invoice("FAC-1"))
    day_of(on, "2026-06-30")
    on("2026-07-02", "11:00", stale=True)
    fresh(payment("P-1", "FAC-1", 50_000, paid_at="2026-07-01T16:20:00+01:00"))
    document = json.loads(explain("FAC-1", "--json"))
    assert list(document) == [
        *("invoice", "cycle", "customer_reference", "district", "amount_due_millimes", "due_date", "state"),
        *("reason", "sequence", "balance_millimes", "rules_version", "summary", "events", "next"),
    ]
    assert (document["state"], document["balance_millimes"]) == ("warned", 35_352)
    assert [event["what"] for event in document["events"]] == [
        *("bill", "message", "due", "due", "decision", "message", "decision", "payment")
    ]
    decision, paid = document["events"][4], document["events"][-1]
    assert {name: decision["details"][name] for name in ("moment", "verdict", "reason", "cut_from")} == {
        "moment": "due",
        "verdict": "notify",
        "reason": None,
        "cut_from": "2026-07-13",
    }
    assert decision["details"]["rules_version"] == document["rules_version"] == "2026-1"
    assert paid["at"].startswith("2026-07-02T11:00:")
    assert paid["details"]["counts_millimes"] == 50_000
    assert document["next"]


def test_nothing_tells_who_the_customer_is_unless_it_is_asked_for(on):
    bill(invoice("FAC-1"))
    on("2026-06-24", stale=True)
    fresh(payment(f"{CUSTOMER}/1", "FAC-1", 1_000), payment("20580496", "FAC-1", 1_000))
    load_facts("2026-06-24", fact("F-1", CUSTOMER, "dispute", set_by="clerk, call 20 580 496"))
    apply_feeds()
    for arguments in (("FAC-1",), ("FAC-1", "--json")):
        told = explain(*arguments)
        assert CUSTOMER not in told
        assert "04258 049 6" not in told
        assert "20580496" not in told
        assert "20 580 496" not in told
        assert "******496/1" in told
    full = explain("FAC-1", "--unmasked")
    assert "04258 049 6" in full
    assert f"{CUSTOMER}/1" in full
    assert "20 580 496" in full


def test_it_changes_nothing(on):
    bill(invoice("FAC-1"))
    fresh(payment("P-1", "FAC-1", 85_352), name="2026-05-20")
    run_sql("UPDATE feed SET applied_at = NULL")
    tables = ("cutoff_case", "cutoff_decision", "notice", "feed", "payment", "stage", "cycle")

    def rows():
        return [run_sql(f"SELECT xmin, ctid, * FROM {table} ORDER BY 2").all() for table in tables]

    before = rows()
    explain("FAC-1")
    assert rows() == before


def test_an_invoice_that_is_not_there_is_refused_in_words():
    for number, told in {
        "FAC-9": "no invoice of that number was loaded",
        "FAC-8": "2 payment(s) name it",
        "FAC-7": "invoices.csv, row 1) and was rejected by the quality gate: amount_unreadable",
    }.items():
        if number == "FAC-8":
            paid = {"paid_at": "2026-05-19T10:00:00+01:00"}
            load_payments(
                "2026-05-20-1", payment("P-1", number, 1, **paid), payment("P-2", number, 1, **paid)
            )
        if number == "FAC-7":
            stage_extract(ExtractKey("2026-05-T1"), [invoice("FAC-1")], rejected={1: ["amount_unreadable"]})
            run_sql("UPDATE rejected_row SET fields = jsonb_build_object('invoice_number', 'FAC-7')")
        done = CliRunner().invoke(main, ["cutoff", "explain", number])
        assert done.exit_code == 1
        assert done.stdout == ""
        assert told in done.stderr


@pytest.mark.parametrize(
    ("name", "changed", "subscription"),
    [
        ("not_subscribed", {}, None),
        ("suspended", {}, {"state": "suspended"}),
        ("in_a_control_group", {}, {"study_arm": "control"}),
        ("nothing_to_pay", {"amount": 0}, {}),
    ],
)
def test_a_bill_that_nobody_was_told_of(on, name, changed, subscription):
    if subscription is not None:
        subscribe(CUSTOMER, **subscription)
    stage_extract(ExtractKey("2026-05-T1"), [invoice("FAC-1", **changed)])
    match_extract(ExtractKey("2026-05-T1"))
    run_sql("UPDATE extract SET loaded_at = '2026-05-20T10:00:00+01:00'")
    check(name)
