"""The fees of a subscription, rule by rule: announced, charged, told, paid or not, renewed or lapsed."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.feeds import take_feeds
from fatoura.feeds.set_aside import settle_row
from fatoura.fees.crediting import correct, refund
from fatoura.fees.findings import settle_finding
from fatoura.fees.keeping import keep_up
from fatoura.fees.waiving import Waiver, grant, import_waivers
from fatoura.settings import get_settings
from fatoura.subscriptions.leaving import Leaver, leave
from tests.cutoff import know
from tests.fees import (
    ONE,
    answer,
    balances,
    charges,
    days_later,
    load_answers,
    news,
    run,
    send_news,
    subscribe,
    subscriptions,
    told,
    write_answers,
)
from tests.notices import run_sql

ONE_DAY = timedelta(days=1)


@pytest.fixture
def on(database, configure):
    """Move the clock to a day."""

    def move(day: str, hour: str = "10:00") -> None:
        configure(now=f"{day}T{hour}:00+01:00")

    move("2027-05-10")
    return move


@pytest.fixture
def rules(configure, tmp_path):
    """Put rules into force: those that come along, with changes, and perhaps a second version."""
    standing = yaml.safe_load(get_settings().fee_rules.read_text("utf-8"))["versions"][0]

    def put(changes: dict[str, Any] | None = None, second: dict[str, Any] | None = None) -> None:
        first = standing | (changes or {})
        file = tmp_path / f"rules-{len(list(tmp_path.iterdir()))}.yaml"
        file.write_text(yaml.safe_dump({"versions": [first, *([first | second] if second else [])]}))
        configure(fee_rules=file)

    return put


def leaves(reference: str = ONE, reason: str = "left") -> None:
    with begin() as connection:
        leave(connection, [Leaver(reference, "letter 1", "Sonia")], channel="clerk", reason=reason)


def test_a_year_is_announced_charged_told_paid_and_renewed(on):
    subscribe(created_at=clock.now())
    on("2027-06-01")
    assert run()["announced"] == 1
    assert subscriptions("began_on, paid_until") == [(date(2027, 5, 10), date(2027, 5, 9))]
    assert charges("state, period_start, period_end, amount_millimes") == [
        ("announced", date(2027, 5, 10), date(2028, 5, 9), 1_000)
    ]
    assert balances() == {}
    assert news() == [("fee_announced", "F1", 1, "delivered")]
    on("2027-07-01")
    counts = run()
    assert (counts["charged"], counts["files"]) == (1, ["2027-07-01-1"])
    assert balances() == {"income": -1_000, "receivable": 1_000}
    assert told() == [
        {
            "charge_id": "F1",
            "kind": "charge",
            "customer_reference": ONE,
            "amount_millimes": "1000",
            "period_start": "2027-05-10",
            "period_end": "2028-05-09",
            "because": "",
        }
    ]
    load_answers("2027-07-05", answer("F1", "accepted"))
    assert charges() == [("accepted",)]
    load_answers("2027-07-20", answer("F1", "paid"))
    assert charges("state, covered_from, covered_until") == [("paid", date(2027, 5, 10), date(2028, 5, 9))]
    assert subscriptions() == [("active", date(2028, 5, 9))]
    assert balances() == {"collected": 1_000, "income": -1_000}
    run()
    assert news()[1:] == [("subscription_renewed", "F1", 1, "delivered")]
    on("2028-03-01")
    assert run()["announced"] == 0
    on("2028-04-01")
    assert run()["announced"] == 1
    assert charges("period_start, period_end")[1:] == [(date(2028, 5, 10), date(2029, 5, 9))]


def charged(on, reference: str = ONE) -> str:
    """Bring a subscription of 10 May to its charge, told on 1 July; return the charge's id."""
    subscribe(reference)
    on("2027-06-01")
    run()
    on("2027-07-01")
    run()
    [(number,)] = charges("id", f"customer_reference = '{reference}'")
    return f"F{number}"


def accepted(on) -> str:
    """Bring a subscription to its charge, which the billing system has accepted."""
    charge = charged(on)
    load_answers("0", answer(charge, "accepted"))
    return charge


def lapsed(on) -> str:
    """Bring a subscription to its lapse on 1 October: grace ends 29 September."""
    charge = charged(on)
    on("2027-10-01")
    load_answers("2027-10-01", answer(charge, "refused"))
    assert run()["lapsed"] == 1
    return charge


# --- Reruns


def test_everything_done_twice_is_done_once(on):
    charge = charged(on)
    run()
    assert told() == told("2027-07-01-1")
    paid, until = answer(charge, "paid"), clock.now()
    load_answers("a", paid, until=until)
    assert load_answers("a", paid, until=until).outcome == "already loaded"
    load_answers("b", paid)
    run()
    run()
    assert len(charges()) == 1
    assert balances() == {"collected": 1_000, "income": -1_000}
    assert [state for *_, state in news()] == ["delivered", "delivered"]


# --- Announcing


def test_nobody_is_charged_before_the_announcement_has_left_and_lain_for_two_weeks(on):
    subscribe()
    run(send=False)
    on("2027-06-01")
    assert run(send=False)["charged"] == 0
    send_news()
    assert run()["charged"] == 1


def test_an_announcement_that_could_not_leave_is_told_again_and_counts_from_then(on):
    subscribe()
    run(send=False)
    run_sql("UPDATE notice SET state = 'cancelled', reason = 'too_late'")
    on("2027-06-01")
    run()
    assert news("sequence, state") == [(1, "cancelled"), (2, "delivered")]
    assert charges("state, announced_on") == [("announced", date(2027, 6, 1))]
    on("2027-06-14")
    assert run()["charged"] == 0
    on("2027-06-15")
    assert run()["charged"] == 1


def test_the_price_is_that_of_the_year_s_first_day_and_what_was_announced_is_what_is_charged(on, rules):
    rules(second={"version": "dearer", "from": date(2027, 6, 1), "price_millimes": 1_500})
    subscribe("000000001")
    on("2027-06-02")
    subscribe("000000002")
    run()
    rules()
    on("2027-07-01")
    run()
    assert [row["amount_millimes"] for row in told()] == ["1000", "1500"]


def test_only_years_of_the_month_that_was_asked_for_are_announced_and_charged(on):
    subscribe("000000001")
    on("2027-06-02")
    subscribe("000000002")
    assert run(month="2027-05")["announced"] == 1
    on("2027-07-01")
    assert run(month="2027-06")["charged"] == 0
    assert charges("state, period_start") == [
        ("announced", date(2027, 5, 10)),
        ("announced", date(2027, 6, 2)),
    ]


def test_a_number_that_is_known_not_to_work_is_charged_nothing_and_for_nothing_that_has_passed(on):
    subscribe(state="suspended", state_reason="number_unreachable")
    on("2027-06-01")
    assert run()["announced"] == 0
    on("2027-12-01")
    run_sql("UPDATE subscription SET state = 'active', state_reason = NULL")
    run()
    assert charges("period_start, period_end") == [(date(2027, 12, 1), date(2028, 11, 30))]
    assert subscriptions("began_on") == [(date(2027, 12, 1),)]


def test_an_announced_year_that_goes_by_while_a_subscription_is_suspended_is_withdrawn(on):
    subscribe()
    run()
    run_sql("UPDATE subscription SET state = 'suspended'")
    on("2027-07-01")
    assert run()["charged"] == 0
    on("2028-01-01")
    run_sql("UPDATE subscription SET state = 'active'")
    assert run()["outdated"] == 1
    assert charges("state, because, period_start") == [
        ("withdrawn", "outdated", date(2027, 5, 10)),
        ("announced", None, date(2028, 1, 1)),
    ]
    assert balances() == {}


@pytest.mark.parametrize(
    ("began", "ends"),
    [
        ("2028-02-29", ["2029-02-27", "2030-02-27", "2031-02-27", "2032-02-28", "2033-02-27"]),
        ("2027-02-28", ["2028-02-27", "2029-02-27", "2030-02-27", "2031-02-27", "2032-02-27"]),
        ("2027-03-01", ["2028-02-29", "2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]),
    ],
)
def test_years_are_counted_from_the_first_day_also_from_29_february(on, began, ends):
    on(began)
    subscribe()
    for year in range(5):
        run()
        on(days_later(14)[:10])
        run()
        charge = f"F{year + 1}"
        load_answers(f"paid-{year}", answer(charge, "paid"))
        assert subscriptions("paid_until") == [(date.fromisoformat(ends[year]),)]
        on(str(date.fromisoformat(ends[year])))
    assert [row["period_start"] for row in told()][1:] == [
        str(date.fromisoformat(day) + ONE_DAY) for day in ends[:4]
    ]


# --- Two contracts


def test_two_contracts_on_one_phone_pay_twice_and_are_told_by_their_references(on):
    phone = "+21620000007"
    subscribe("000000001", phone=phone)
    subscribe("000000002", phone=phone)
    run()
    on("2027-06-01")
    run()
    assert [row["customer_reference"] for row in told()] == ["000000001", "000000002"]
    texts = [text for (text,) in news("text")]
    assert "00000 000 1" in texts[0]
    assert "00000 000 2" in texts[1]


# --- Who pays nothing


def test_the_trial_of_the_study_pays_nothing_for_years_that_begin_while_it_runs(on):
    on("2026-11-20")
    subscribe("000000001", study_arm="treatment")
    subscribe("000000002", study_arm="control")
    subscribe("000000003")
    on("2026-12-01")
    assert (run()["announced"], run()["waived"]) == (1, 0)
    assert charges("customer_reference, state, because") == [
        ("000000003", "announced", None),
        ("000000001", "waived", "trial"),
        ("000000002", "waived", "trial"),
    ]
    assert subscriptions("paid_until, free_because")[:2] == [(date(2027, 11, 19), "trial")] * 2
    assert balances() == {"income": -2_000, "waived": 2_000}
    # The trial is over when the second year begins.
    on("2027-10-01")
    run()
    assert charges("state, period_start", "subscription_id < 3")[2:] == [
        ("announced", date(2027, 11, 20)),
        ("announced", date(2027, 11, 20)),
    ]


def test_a_first_year_can_be_free(on, rules):
    rules({"first_year": "free"})
    subscribe()
    assert run()["waived"] == 1
    assert subscriptions("paid_until, free_because") == [(date(2028, 5, 9), "first_year")]
    # Not for who leaves and comes again.
    leaves()
    subscribe()
    assert run()["announced"] == 1


def test_an_exemption_waives_what_is_announced_or_owed_and_the_billing_system_is_told(on):
    charge = charged(on)
    done = grant([Waiver(ONE, "social", date(2027, 1, 1))], by="Sonia")
    assert (done.waivers, done.waived, done.given_back) == (1, 1, 0)
    assert charges("state, because, covered_until") == [("waived", "social", date(2028, 5, 9))]
    assert subscriptions("paid_until, free_because") == [(date(2028, 5, 9), "social")]
    assert balances() == {"income": -1_000, "waived": 1_000}
    run()
    assert told("2027-07-01-2") == [
        {**told("2027-07-01-1")[0], "kind": "credit", "because": "social", "charge_id": charge}
    ]
    # The next years are free too, and nobody is told of them.
    on("2028-05-01")
    assert (run()["announced"], len(charges(where="state = 'waived'"))) == (0, 2)
    assert grant([Waiver(ONE, "social", date(2027, 1, 1))], by="Sonia").repeated == 1


def test_an_exemption_that_ends_leaves_the_year_under_way_free_and_charges_the_next(on):
    subscribe()
    grant([Waiver(ONE, "staff", date(2027, 5, 1), date(2027, 12, 31))], by="Sonia")
    assert run()["waived"] == 1
    on("2028-04-01")
    assert run()["announced"] == 1


def test_one_that_is_taken_back_before_it_counted_has_never_held(on):
    subscribe()
    grant([Waiver(ONE, "staff", date(2027, 5, 1))], by="Sonia")
    grant([Waiver(ONE, "staff", date(2027, 5, 1), date(2027, 4, 30))], by="Sonia")
    assert run()["announced"] == 1


def test_what_was_paid_for_a_year_that_is_free_since_is_given_back(on):
    charge = charged(on)
    load_answers("paid", answer(charge, "paid"))
    assert grant([Waiver(ONE, "goodwill", date(2027, 5, 1))], by="Sonia").given_back == 1
    assert balances() == {"collected": 1_000, "credited": 1_000, "income": -1_000, "payable": -1_000}
    run()
    load_answers("refunded", answer(charge, "refunded"))
    assert charges() == [("refunded",)]
    assert balances() == {"credited": 1_000, "income": -1_000}
    # The year stays paid for.
    assert subscriptions() == [("active", date(2028, 5, 9))]


def test_waivers_come_by_file_with_their_dates_and_bad_rows_are_told(on, tmp_path):
    subscribe()
    file = tmp_path / "pilot.csv"
    file.write_text(
        "customer_reference,because,valid_from,valid_until\n"
        f"{ONE},trial,2027-01-01,2027-12-31\n"
        "1,trial,2027-01-01,\n"
        "000000002,holiday,soon,\n"
        '000000003,"trial\n'
    )
    done = import_waivers(file, by="Sonia")
    assert (done.waivers, done.refused_rows) == (1, 3)
    assert [(one.row, one.flaws[0]) for one in done.refused] == [
        (2, "customer_reference: not_nine_digits"),
        (3, "because: not one of trial, staff, social, goodwill, pilot_district"),
        (4, "row: not_csv"),
    ]
    assert run()["waived"] == 1


# --- The billing system's answers


def test_a_charge_that_is_rejected_is_asked_of_nobody_and_its_subscription_does_not_lapse(on):
    charge = charged(on)
    load_answers("a", answer(charge, "rejected", reason="no such account"))
    on("2027-12-01")
    load_answers("b")
    assert run()["lapsed"] == 0
    assert charges() == [("rejected",)]
    assert balances() == {"income": -1_000, "receivable": 1_000}
    # The next year is tried anew.
    on("2028-05-01")
    run()
    assert charges("state, period_start") == [
        ("rejected", date(2027, 5, 10)),
        ("announced", date(2028, 5, 10)),
    ]
    # The billing system may come round to it.
    load_answers("c", answer(charge, "paid"))
    assert charges()[0] == ("paid",)


def test_what_was_lowered_while_it_was_rejected_is_told_when_the_billing_system_charges_it_after_all(on):
    charge = charged(on)
    load_answers("a", answer(charge, "rejected"))
    correct(charge, 600, reason="wrong price", by="Sonia")
    assert run()["credits"] == 0
    load_answers("b", answer(charge, "accepted"))
    assert run()["credits"] == 1
    assert [told("2027-07-01-2")[0][name] for name in ("kind", "amount_millimes")] == ["credit", "400"]
    load_answers("c", answer(charge, "paid", 600))
    assert run()["credits"] == 0
    assert charges("state, owed_millimes, owed_back_millimes") == [("paid", 0, 0)]


def test_who_pays_after_leaving_what_had_been_rejected_is_given_it_back(on):
    charge = charged(on)
    load_answers("a", answer(charge, "rejected"))
    leaves()
    assert run()["credits"] == 0
    load_answers("b", answer(charge, "paid"))
    assert balances() == {"collected": 1_000, "given_up": 1_000, "income": -1_000, "payable": -1_000}
    assert run()["credited_millimes"] == 1_000
    load_answers("c", answer(charge, "refunded"))
    assert balances() == {"given_up": 1_000, "income": -1_000}
    assert run()["credits"] == 0


def test_a_wrong_charge_is_lowered_before_it_is_paid_and_the_customer_pays_the_rest(on):
    charge = charged(on)
    assert correct(charge, 600, reason="wrong price", by="Sonia").millimes == 400
    assert balances() == {"credited": 400, "income": -1_000, "receivable": 600}
    run()
    assert (told("2027-07-01-2")[0]["kind"], told("2027-07-01-2")[0]["amount_millimes"]) == ("credit", "400")
    load_answers("a", answer(charge, "paid", 600))
    assert charges("state, owed_millimes, paid_millimes") == [("paid", 0, 600)]
    assert balances() == {"collected": 600, "credited": 400, "income": -1_000}
    with pytest.raises(BadInput, match="only be lowered"):
        correct(charge, 700, reason="wrong price", by="Sonia")


def test_a_correction_that_crosses_the_payment_is_given_back(on):
    charge = charged(on)
    correct(charge, 600, reason="wrong price", by="Sonia")
    load_answers("a", answer(charge, "paid", 1_000))
    assert balances() == {"collected": 1_000, "credited": 400, "income": -1_000, "payable": -400}
    load_answers("b", answer(charge, "refunded", 400))
    assert balances() == {"collected": 600, "credited": 400, "income": -1_000}
    assert charges() == [("paid",)]


def test_a_charge_that_is_lowered_to_nothing_is_waived(on):
    charge = charged(on)
    assert correct(charge, 0, reason="charged by mistake", by="Sonia").state == "waived"
    assert subscriptions() == [("active", date(2028, 5, 9))]


def test_a_refund_is_told_to_the_billing_system_and_balances_when_it_is_done(on):
    charge = charged(on)
    with pytest.raises(BadInput, match="nothing that was paid"):
        refund(charge, None, reason="complaint", by="Sonia")
    load_answers("a", answer(charge, "paid"))
    refund(charge, 250, reason="complaint", by="Sonia")
    with pytest.raises(BadInput, match="750 millimes"):
        refund(charge, 751, reason="complaint", by="Sonia")
    run()
    assert told("2027-07-01-2")[0]["amount_millimes"] == "250"
    load_answers("b", answer(charge, "refunded", 250))
    assert balances() == {"collected": 750, "credited": 250, "income": -1_000}
    # What is given back is told as all that was, so far.
    refund(charge, None, reason="complaint", by="Sonia")
    load_answers("c", answer(charge, "refunded", 1_000))
    assert charges() == [("refunded",)]
    assert balances() == {"credited": 1_000, "income": -1_000}


def test_a_payment_that_is_taken_back_is_owed_again_with_another_grace(on):
    charge = charged(on)
    load_answers("a", answer(charge, "paid"))
    on("2027-08-01")
    load_answers("b", answer(charge, "refunded"))
    assert charges("state, owed_millimes, grace_until") == [("taken_back", 1_000, date(2027, 10, 30))]
    assert subscriptions() == [("active", date(2027, 5, 9))]
    assert balances() == {"income": -1_000, "receivable": 1_000}
    on("2027-11-01")
    load_answers("c")
    assert run()["lapsed"] == 1


@pytest.mark.parametrize(
    ("results", "state", "findings"),
    [
        ([("accepted", 1_000), ("paid", 1_000)], "paid", []),
        ([("refused", 1_000), ("paid", 1_000)], "paid", []),
        ([("rejected", 1_000), ("accepted", 1_000)], "accepted", []),
        ([("paid", 400), ("paid", 1_000)], "paid", ["wrong_amount"]),
        ([("accepted", 999)], "filed", ["wrong_amount"]),
        ([("paid", 1_000), ("refunded", 1_000)], "taken_back", []),
        ([("refunded", 1_000)], "filed", ["waits_for_payment"]),
        ([("paid", 1_000), ("refunded", 300)], "paid", ["wrong_amount"]),
        ([("paid", 1_000), ("refused", 1_000)], "paid", ["contradicts"]),
        ([("accepted", 1_000), ("rejected", 1_000)], "accepted", ["contradicts"]),
    ],
)
def test_the_order_in_which_answers_arrive_does_not_matter(on, results, state, findings):
    charge = charged(on)
    rows = [
        answer(charge, result, amount, at=f"2027-06-30T1{number}:00:00+01:00")
        for number, (result, amount) in enumerate(results)
    ]
    expected = None
    for order in (rows, rows[::-1]):
        for number, row in enumerate(order):
            load_answers(f"{'ab'[order is not rows]}{number}", row)
        found = (
            charges("state, owed_millimes, paid_millimes, given_back_millimes"),
            sorted(finding for (finding,) in results_found()),
            balances(),
        )
        assert found[0][0][0] == state
        assert found[1] == findings
        assert expected in (None, found)
        expected = found
        _forget_answers(charge)


def _forget_answers(charge: str) -> None:
    """Put the charge back to what it was when it was told."""
    for table in ("fee_charge", "fee_entry"):
        run_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    run_sql("DELETE FROM fee_entry WHERE because <> 'charged'")
    run_sql("DELETE FROM fee_result")
    run_sql(
        "UPDATE fee_charge SET state = 'filed', owed_millimes = 1000, paid_millimes = 0, paid_on = NULL, "
        "given_back_millimes = 0, owed_back_millimes = 0"
    )
    for table in ("fee_charge", "fee_entry"):
        run_sql(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def results_found() -> list[tuple[str]]:
    with connect() as connection:
        rows = connection.execute(text("SELECT finding FROM fee_result WHERE finding IS NOT NULL"))
        return [tuple(row) for row in rows]


def test_answers_about_what_nobody_knows_are_findings_and_book_nothing(on):
    subscribe()
    run()
    load_answers("a", answer("F999", "paid"), answer("F1", "paid"))
    assert sorted(results_found()) == [("not_told",), ("unknown_charge",)]
    assert balances() == {}
    # It counts once the charge has been told: it was known by other ways, perhaps.
    on("2027-06-01")
    run()
    assert charges() == [("paid",)]
    assert results_found() == [("unknown_charge",)]


# --- Grace, lapse, coming back


def test_nobody_lapses_before_the_grace_is_over_and_answers_are_known_beyond_it(on):
    accepted(on)
    assert charges("grace_until") == [(date(2027, 9, 29),)]
    on("2027-09-29")
    load_answers("a")
    assert run()["lapsed"] == 0
    on("2027-10-01")
    assert run()["lapsed"] == 0
    load_answers("b", until=clock.now() - ONE_DAY)
    assert run()["lapsed"] == 1
    assert subscriptions("state, state_reason") == [("lapsed", "fee_unpaid")]
    assert news("kind, state")[-1] == ("subscription_lapsed", "delivered")


@pytest.mark.parametrize("first", [None, "rejected"])
def test_nobody_lapses_for_what_is_not_accepted_and_the_grace_counts_from_when_it_is_late(on, first):
    charge = charged(on)
    if first:
        load_answers("a", answer(charge, first))
    on("2027-11-01")
    load_answers("b")
    assert run()["lapsed"] == 0
    load_answers("c", answer(charge, "accepted"))
    assert run()["lapsed"] == 0
    on("2028-01-30")
    load_answers("d")
    assert run()["lapsed"] == 0
    on("2028-02-01")
    load_answers("e")
    assert run()["lapsed"] == 1


def test_nobody_lapses_while_an_answer_about_the_charge_waits_for_somebody(on):
    charge = accepted(on)
    on("2027-10-01")
    load_answers("a", answer(charge, "paid", 400))
    assert run()["lapsed"] == 0
    settle_finding(charge, "paid", 400, reason="the bank has confirmed 400", by="Sonia")
    assert run()["lapsed"] == 1


def test_nobody_lapses_while_a_row_about_the_charge_is_set_aside_or_a_feed_is_refused(on):
    charge = accepted(on)
    on("2027-10-01")
    load_answers("a", answer(charge, "paid", "one dinar"))
    assert run()["lapsed"] == 0
    settle_row("fee_results", "a", 1, reason="it was another one", by="Sonia")
    write_answers("b", [answer(charge, "paid")], rows=7)
    take_feeds()
    assert run()["lapsed"] == 0
    write_answers("b", [])
    take_feeds()
    assert run()["lapsed"] == 1


def test_who_pays_after_the_lapse_is_back_for_a_whole_year_from_that_day_on(on):
    charge = lapsed(on)
    assert subscriptions("state, state_reason") == [("lapsed", "fee_refused")]
    on("2027-11-20")
    load_answers("late", answer(charge, "paid"))
    assert subscriptions("state, state_reason, began_on, paid_until") == [
        ("active", None, date(2027, 11, 20), date(2028, 11, 19))
    ]
    assert charges("state, lapsed_on, covered_from, covered_until") == [
        ("paid", date(2027, 10, 1), date(2027, 11, 20), date(2028, 11, 19))
    ]
    keep_up()
    send_news()
    assert [kind for (kind,) in news("kind")] == [
        *("fee_announced", "subscription_lapsed", "subscription_renewed"),
    ]
    on("2028-10-01")
    run()
    assert charges("period_start, period_end")[1:] == [(date(2028, 11, 20), date(2029, 11, 19))]


def test_nobody_is_told_of_a_lapse_after_paying(on):
    charge = accepted(on)
    on("2027-10-01")
    load_answers("a")
    run(send=False)
    assert news("kind, state")[-1] == ("subscription_lapsed", "planned")
    load_answers("b", answer(charge, "paid"))
    assert list(send_news().values()) == ["not_lapsed"]
    keep_up()
    assert news("kind, state")[1:] == [
        ("subscription_lapsed", "cancelled"),
        ("subscription_renewed", "planned"),
    ]


def test_who_subscribes_again_after_the_lapse_owes_the_old_year_no_more(on):
    charge = lapsed(on)
    on("2027-11-20")
    run_sql("UPDATE subscription SET state = 'active', state_reason = NULL")
    assert keep_up().counts["subscribed_again"] == 1
    assert charges("state, because") == [("withdrawn", "subscribed_again")]
    assert subscriptions("began_on, paid_until") == [(date(2027, 11, 20), date(2027, 11, 19))]
    assert balances() == {"given_up": 1_000, "income": -1_000}
    on("2027-12-01")
    run()
    assert told("2027-12-01-1")[0]["kind"] == "credit"
    assert charges("state, period_start")[1:] == [("announced", date(2027, 11, 20))]
    # Paid all the same, for the two have crossed: it is given back.
    load_answers("late", answer(charge, "paid"))
    assert balances(1) == {"collected": 1_000, "given_up": 1_000, "income": -1_000, "payable": -1_000}
    load_answers("later", answer(charge, "refunded"))
    assert balances(1) == {"given_up": 1_000, "income": -1_000}
    assert charges()[0] == ("withdrawn",)


def test_a_lapsed_subscription_is_charged_nothing_further(on):
    lapsed(on)
    on("2029-01-01")
    assert (run()["announced"], len(charges())) == (0, 1)


# --- The end


@pytest.mark.parametrize(
    ("ended", "months"),
    [("2027-08-09", 9), ("2027-08-10", 8), ("2027-07-02", 10), ("2028-04-09", 1), ("2028-04-10", 0)],
)
def test_of_a_paid_year_whole_unused_months_are_given_back_when_the_contract_ends(on, ended, months):
    charge = charged(on)
    load_answers("a", answer(charge, "paid"))
    on("2028-05-01")
    know("contract_ended", ONE, valid_from=date.fromisoformat(ended))
    kept = keep_up().closed
    assert (kept.contracts, kept.subscriptions) == (1, 1)
    assert subscriptions("state, state_reason") == [("ended", "contract_ended")]
    owed_back = -(-1_000 * months // 12)
    assert balances().get("payable", 0) == -owed_back
    assert charges("owed_back_millimes") == [(owed_back,)]
    assert keep_up().counts == {}


def test_a_closed_contract_in_the_register_ends_the_subscription_too(on):
    subscribe()
    run()
    run_sql(
        "INSERT INTO customer (customer_reference, district, contract, told_in, feed_id, row_number) "
        "VALUES (:one, 'TUN', 'closed', 'x', 1, 1)",
        one=ONE,
    )
    assert keep_up().closed.contracts == 1
    assert charges("state, because") == [("withdrawn", "contract_ended")]
    assert balances() == {}


def test_a_fact_about_one_invoice_ends_nothing(on):
    subscribe()
    know("contract_ended", ONE, invoice="A1")
    assert keep_up().closed.contracts == 0


@pytest.mark.parametrize(("reason", "given_back"), [("left", 0), ("erased", 0), ("crossed_out", 1_000)])
def test_who_leaves_gets_back_what_the_rules_say(on, reason, given_back):
    charge = charged(on)
    load_answers("a", answer(charge, "paid"))
    leaves(reason=reason)
    keep_up()
    assert balances().get("payable", 0) == -given_back


def test_what_is_unpaid_when_a_subscription_ends_is_asked_for_no_more(on):
    charge = charged(on)
    leaves()
    run()
    assert charges("state, because") == [("withdrawn", "left")]
    assert told("2027-07-01-2")[0]["kind"] == "credit"
    # A new subscription has years and fees of its own; the old ones stay with the old.
    on("2027-08-01")
    subscribe()
    run()
    assert charges("subscription_id, state") == [(1, "withdrawn"), (2, "announced")]
    assert charge == "F1"


def test_a_payment_taken_back_after_the_end_is_given_up(on):
    charge = charged(on)
    load_answers("a", answer(charge, "paid"))
    leaves()
    keep_up()
    load_answers("b", answer(charge, "refunded"))
    keep_up()
    assert charges("state, owed_millimes") == [("withdrawn", 0)]
    assert balances() == {"given_up": 1_000, "income": -1_000}
