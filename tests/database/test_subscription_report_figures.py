"""Figures of subscriptions and fees, reckoned by hand beside a few lives on a real database."""

from datetime import date, datetime

import pytest
from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.fees.balance import check_books
from fatoura.fees.figures import MonthOfFees, churn, costs_against_fees, message_costs
from fatoura.fees.waiving import Waiver, grant
from fatoura.reports.subscriptions import count_today
from fatoura.reports.subscriptions.enrolment import Came, Counted, Coupons, Left, WebActs
from fatoura.reports.subscriptions.figures import (
    Answers,
    DayCount,
    Forgone,
    MonthFigures,
    MonthPhase,
    ServiceFigures,
    Standing,
    month_figures,
    service_figures,
)
from fatoura.subscriptions.leaving import Leaver, leave
from tests.fees import answer, load_answers, run, subscribe
from tests.notices import run_sql

pytestmark = pytest.mark.database

ONE, TWO, THREE, FOUR = (f"00000000{number}" for number in range(1, 5))


@pytest.fixture
def at(database, configure):
    """Move the clock: ``at("2026-07-01")`` is ten o'clock of that day."""
    return lambda day: configure(database_url=database, now=f"{day}T10:00:00+01:00")


def month(first: str) -> MonthFigures:
    books = check_books()
    with begin() as connection:
        return month_figures(connection, date.fromisoformat(first), clock.now(), clock.today(), books)


def service() -> ServiceFigures:
    books = check_books()
    with begin() as connection:
        return service_figures(connection, clock.now(), clock.today(), books)


def stamped(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T12:00:00+01:00")


@pytest.fixture
def lived(at):
    """Live through three months: of four one is free, one pays, one is rejected, one leaves."""
    run_sql("INSERT INTO district VALUES ('T1', 'Tunis', 'تونس'), ('T2', 'Sfax', 'صفاقس')")
    at("2026-05-10")
    subscribe(ONE, language="ar")
    subscribe(TWO, channel="web")
    subscribe(THREE)
    subscribe(FOUR, channel="web")
    run_sql(
        "INSERT INTO customer (customer_reference, district, contract, told_in, feed_id, row_number) VALUES "
        f"('{ONE}', 'T1', 'open', 'x', 0, 1), ('{TWO}', 'T1', 'open', 'x', 0, 2), "
        f"('{THREE}', 'T2', 'open', 'x', 0, 3)"
    )
    grant([Waiver(THREE, "social", date(2026, 5, 1), None)], by="a clerk")
    count_today()
    at("2026-06-01")
    run()
    at("2026-07-01")
    run()
    count_today()
    at("2026-07-10")
    load_answers("r1", answer("F1", "accepted"), answer("F2", "rejected"), answer("F3", "accepted"))
    at("2026-07-12")
    load_answers("r2", answer("F1", "paid"))
    at("2026-07-15")
    with begin() as connection:
        leave(connection, [Leaver(FOUR, "a visit", "the web site")], channel="web")
    run(send=False)
    count_today()
    return at


def test_a_month_is_as_it_was_reckoned_by_hand(lived):
    f = month("2026-07-01")
    assert (f.phase, f.last) == (MonthPhase.RUNNING, date(2026, 7, 15))
    assert f.missing == ()
    assert (f.counted_before, f.counted_on) == (date(2026, 5, 10), date(2026, 7, 15))
    assert f.days == [
        DayCount(date(2026, 7, 1), {"active": 4}),
        DayCount(date(2026, 7, 15), {"active": 3}),
    ]
    assert f.standings["state"] == [
        Standing("active", 4, 3),
        Standing("suspended", 0, 0),
        Standing("lapsed", 0, 0),
    ]
    assert f.standings["channel"] == [Standing("coupon", 2, 2), Standing("web", 2, 1)]
    assert f.standings["language"] == [Standing("fr", 3, 2), Standing("ar", 1, 1)]
    assert [(one.code, one.name_fr, one.before, one.now) for one in f.districts] == [
        ("T1", "Tunis", 2, 2),
        ("T2", "Sfax", 1, 1),
        ("", None, 1, 0),
    ]
    assert (f.churn.at_start, f.churn.joined, f.churn.left, f.churn.opted_out, f.churn.at_end) == (
        4,
        0,
        1,
        1,
        3,
    )
    assert (f.churn.lost, f.churn.share, f.subscribers) == (1, 0.25, 3)
    assert f.left == [Left("left", "web", 1)]
    assert f.came == []
    # Three were charged; one paid, one left and owes nothing any more.
    assert f.fees == MonthOfFees(
        date(2026, 7, 1),
        charged=3_000, waived=0, given_up=1_000, credited=0, paid=1_000, taken_back=0, refunded=0,
    )  # fmt: skip
    assert (f.opening.balance, f.fees.change, f.closing) == (0, 1_000, (1_000, 0))
    assert f.forgone == [Forgone("given_up", "left", 1, 1_000)]
    # A year that is free is booked at once, as income forgone.
    june = month("2026-06-01")
    assert (june.fees.charged, june.fees.waived, june.fees.change) == (1_000, 1_000, 0)
    assert june.forgone == [Forgone("waived", "social", 1, 1_000)]
    assert f.answers == [
        Answers("accepted", 2, 2_000, 0),
        Answers("rejected", 1, 1_000, 0),
        Answers("paid", 1, 1_000, 0),
        Answers("refused", 0, 0, 0),
        Answers("refunded", 0, 0, 0),
    ]
    assert f.years == []  # they began in May
    assert [(one.state, one.charges, one.owed, one.kept) for one in month("2026-05-01").years] == [
        ("rejected", 1, 1_000, 0),
        ("paid", 1, 0, 1_000),
        ("waived", 1, 0, 0),
        ("withdrawn", 1, 0, 0),
    ]


def test_the_month_in_which_all_began_is_over(lived):
    f = month("2026-05-01")
    assert f.phase is MonthPhase.OVER
    assert f.counted_before is None
    assert f.came == [Came("coupon", 2, 0), Came("web", 2, 0)]
    assert [one.before for one in f.standings["state"]] == [None, None, None]
    assert (f.churn.at_start, f.churn.share) == (0, None)
    assert f.missing == ()


def test_the_whole_service_is_as_it_was_reckoned_by_hand(lived):
    f = service()
    assert f.missing == ()
    assert f.months == [date(2026, 5, 1), date(2026, 6, 1), date(2026, 7, 1)]
    assert [one.groups if one else None for one in f.counted["channel"]] == [
        {"coupon": 2, "web": 2},
        None,  # nobody counted in June, and nobody can tell any more
        {"coupon": 2, "web": 1},
    ]
    assert [(one.code, one.over_time) for one in f.districts] == [
        ("T1", [2, None, 2]),
        ("T2", [1, None, 1]),
        ("", [1, None, 0]),
    ]
    assert [(one.at_start, one.joined, one.left) for one in f.churn] == [(0, 4, 0), (4, 0, 0), (4, 0, 1)]
    assert [one.balance for one in f.outstanding] == [0, 0, 1_000]
    assert f.subscribers == 3
    assert [(one.state, one.charges) for one in f.charges] == [
        ("rejected", 1), ("paid", 1), ("waived", 1), ("withdrawn", 1),
    ]  # fmt: skip


def test_what_messages_cost_is_what_the_provider_accepted(lived):
    run_sql("UPDATE notice SET segments = 2 WHERE kind = 'fee_announced' AND subscription_id = 1")
    # Three announcements went out in June (one of them in two segments); of two the first try was refused.
    run_sql(
        "INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at, outcome) "
        "SELECT id, 1, 'g', 'w', :at, CASE WHEN subscription_id = 1 THEN 'accepted' ELSE 'refused' END "
        "FROM notice WHERE kind = 'fee_announced'",
        at=stamped("2026-06-01"),
    )
    run_sql("UPDATE notice SET attempts = 2 WHERE kind = 'fee_announced' AND subscription_id <> 1")
    run_sql(
        "INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at, outcome) "
        "SELECT id, 2, 'g', 'w', :at, 'accepted' FROM notice "
        "WHERE kind = 'fee_announced' AND subscription_id <> 1",
        at=stamped("2026-07-01"),
    )
    with connect() as connection:
        costs = message_costs(connection, date(2026, 6, 1), date(2026, 8, 1))
        classes = costs_against_fees(connection, date(2026, 6, 1), date(2026, 8, 1), (0, 1, 30, 50))
    announced = connection_count("SELECT count(*) FROM notice WHERE kind = 'fee_announced'")
    assert [tuple(one) for one in costs] == [
        (date(2026, 6, 1), "subscription_news", "fee_announced", 1, 2, 0),
        (date(2026, 7, 1), "subscription_news", "fee_announced", announced - 1, announced - 1, 0),
    ]
    # A segment costs 20 millimes; the first subscription paid its fee of 1000.
    assert [(one[0], one.subscriptions, one.cost_millimes, one.kept_millimes) for one in classes] == [
        (0, 0, 0, 0),
        (1, announced - 1, 20 * (announced - 1), 0),
        (30, 1, 40, 1_000),
        (50, 0, 0, 0),
    ]  # fmt: skip
    assert month("2026-06-01").cost_millimes == 40


def connection_count(statement: str) -> int:
    with connect() as connection:
        return int(connection.scalar(text(statement)) or 0)


def test_churn_counts_each_life_once_and_who_comes_back_as_back(at):
    at("2026-07-20")
    with begin() as connection:
        # The state machines watch steps, and these are ends.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for number, (began, ended, reason) in enumerate(
            [
                ("2025-01-10", None, None),
                ("2025-01-11", "2026-06-05", "left"),  # had lapsed in May: counted there
                ("2025-01-12", "2026-06-30", "contract_ended"),
                ("2025-01-13", None, None),  # lapsed in May, paid in June
                ("2025-01-14", None, None),  # lapsed in May, subscribed again in July
                ("2026-06-20", None, None),
            ],
            start=1,
        ):
            connection.execute(
                text(
                    "INSERT INTO subscription (id, customer_reference, phone, language, channel, "
                    "consent_date, state, state_reason, created_at, changed_at, ended_at) "
                    "OVERRIDING SYSTEM VALUE VALUES (:id, :reference, '+21620000000', 'ar', 'coupon', "
                    "'2025-01-01', :state, :reason, :began, :began, :ended)"
                ),
                {
                    "id": number,
                    # The last one is the second's customer, who is back as another subscription.
                    "reference": f"{2 if number == 6 else number:09}",
                    "state": "ended" if ended else "active",
                    "reason": reason,
                    "began": stamped(began),
                    "ended": stamped(ended) if ended else None,
                },
            )
        for number, state, because, since, covered in (
            (2, "withdrawn", "left", "2026-06-05", None),
            (4, "paid", None, "2026-06-10", "2026-06-10"),
            (5, "withdrawn", "subscribed_again", "2026-07-02", None),
        ):
            connection.execute(
                text(
                    "INSERT INTO fee_charge (subscription_id, customer_reference, period_start, period_end, "
                    "amount_millimes, rules_version, state, because, state_since, covered_from, lapsed_on) "
                    "VALUES (:id, :reference, '2026-01-10', '2027-01-09', 1000, 'x', :state, :because, "
                    ":since, :covered, '2026-05-15')"
                ),
                {"id": number, "reference": f"{number:09}", "state": state, "because": because,
                 "since": stamped(since), "covered": covered},
            )  # fmt: skip
    with connect() as connection:
        months = churn(connection, date(2026, 5, 1), date(2026, 7, 1))
    assert [
        (one.at_start, one.joined, one.anew, one.left, one.opted_out, one.contracts_ended, one.left_lapsed,
         one.lapsed, one.back, one.lost, one.at_end)
        for one in months
    ] == [
        (5, 0, 0, 0, 0, 0, 0, 3, 0, 3, 5),
        (5, 1, 1, 2, 1, 1, 1, 0, 1, 0, 4),
        (4, 0, 0, 0, 0, 0, 0, 0, 1, -1, 4),
    ]  # fmt: skip
    # Over all months: one came back, one left after its contract ended, one after a lapse.
    assert sum(one.lost for one in months) == 2
    assert month("2026-06-01").came == [Came("coupon", 0, 1)]


def test_a_day_of_midnight_is_the_utilitys(at):
    at("2026-07-20")
    subscribe(ONE, created_at=datetime.fromisoformat("2026-06-30T23:30:00+00:00"))  # half past midnight there
    assert [one.joined for one in service().churn] == [1]
    assert month("2026-06-01").came == []
    assert month("2026-07-01").came == [Came("coupon", 1, 0)]


def test_enrolment_is_counted_by_what_became_of_it(at):
    at("2026-07-20")
    rows = [
        ("enrolled", None, "2026-07-02"), ("enrolled", None, "2026-07-03"), ("waits", None, "2026-07-04"),
        ("refused", "many_contracts", "2026-07-03"), ("enrolled", None, "2026-06-30"), (None, None, None),
    ]  # fmt: skip
    for number, (outcome, reason, day) in enumerate(rows):
        run_sql(
            "INSERT INTO coupon (coupon_id, crossed_out, told_in, feed_id, row_number, outcome, reason, "
            "judged_at) VALUES (:id, true, 'b', 1, :row, :outcome, :reason, :at)",
            id=f"C{number}", row=number, outcome=outcome, reason=reason, at=stamped(day) if day else None,
        )  # fmt: skip
    for action, outcome, verified in (
        ("subscribe", "subscribed", True),
        ("manage", None, True),
        ("subscribe", None, False),  # never proven: the site forgets it
        ("leave_by_bill", "left", False),
    ):
        run_sql(
            "INSERT INTO verification (visit, action, customer_reference, language, asked_at, expires_at, "
            "verified_at, outcome, ended_at) "
            "VALUES ('v', :action, '1', 'fr', :at, :at, :verified, :outcome, :at)",
            action=action, outcome=outcome, at=stamped("2026-07-05"),
            verified=stamped("2026-07-05") if verified else None,
        )  # fmt: skip
    subscribe(ONE, proven_at=stamped("2026-07-06"))
    subscribe(TWO, state="suspended", state_reason="number_unreachable")
    run_sql(
        "INSERT INTO departure (departure_id, customer_reference, asked_on, told_by, feed_id, row_number, "
        "told_in, outcome, applied_at) "
        "VALUES ('d', '1', '2026-07-01', 'c', 1, 1, 'f', 'not_subscribed', :at)",
        at=stamped("2026-07-07"),
    )
    run_sql(
        "INSERT INTO inbound_message (gateway, received_at, act, outcome, subscriptions) "
        "VALUES ('g', :at, 'leave', 'unknown_sender', 0)",
        at=stamped("2026-07-08"),
    )
    found = month("2026-07-01").enrolment
    assert found.coupons == [
        Coupons("enrolled", None, 2),
        Coupons("waits", None, 1),
        Coupons("refused", "many_contracts", 1),
    ]
    assert found.web == [
        WebActs("leave_by_bill", "left", 1),
        WebActs("manage", None, 1),
        WebActs("subscribe", "subscribed", 1),
    ]
    assert (found.proven, found.unproven) == (1, 1)
    assert found.suspended == [Counted("number_unreachable", 1)]
    assert found.departures == [Counted("not_subscribed", 1)]
    assert found.inbound == [Counted("unknown_sender", 1)]
    (one,) = service().enrolment
    assert (one.coupons, one.refused, one.web, one.proven) == (2, 1, 1, 1)


def test_a_reason_in_somebodys_own_words_is_not_repeated(lived):
    with begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE fee_entry SET because = 'asked by Mr. X' WHERE debit = 'waived'"))
    assert month("2026-06-01").forgone == [Forgone("waived", "by_hand", 1, 1_000)]


def test_what_differs_is_named(lived):
    with begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE fee_charge SET owed_millimes = 900 WHERE state = 'rejected'"))
        connection.execute(text("UPDATE subscription SET ended_at = NULL WHERE state = 'ended'"))
    differences = " ".join(service().missing)
    assert "F2" in differences
    assert "900 owed, 1000 in the journal" in differences
    assert "charges ask for 900" in differences
    assert "3 subscriptions have not ended, and 4 have by what began and ended" in differences
    assert month("2026-07-01").missing
