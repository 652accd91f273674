"""The life of a subscription's fees, rule by rule: announced, charged, told, paid or not, renewed or lapsed."""

from __future__ import annotations

from datetime import date

import pytest

from fatoura import clock
from tests.fees import (
    ONE,
    answer,
    balances,
    charges,
    load_answers,
    news,
    run,
    subscribe,
    subscriptions,
    told,
)


@pytest.fixture
def on(database, configure):
    """Move the clock to a day."""

    def move(day: str, hour: str = "10:00") -> None:
        configure(now=f"{day}T{hour}:00+01:00")

    move("2027-05-10")
    return move


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
