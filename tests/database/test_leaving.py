"""Leaving: it ends the subscription, revokes the consent, and takes effect before the next claim."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import text

from fatoura.database import begin, connect
from fatoura.subscriptions.leaving import Leaver, Left, leave
from tests.notices import notices, plan_notices, run_sql, states

MORNING = "2026-05-20T10:00:00+01:00"


@pytest.fixture(autouse=True)
def _clock(database, configure):
    configure(now=MORNING)


def subscribe(*references: str, phone: str = "+21620000000") -> list[int]:
    return [
        run_sql(
            "INSERT INTO subscription (customer_reference, phone, language, channel, consent_date) "
            "VALUES (:reference, :phone, 'fr', 'web', '2026-01-02') RETURNING id",
            reference=reference,
            phone=phone,
        ).scalar_one()
        for reference in references
    ]


def go(*references: str, **options) -> Left:
    with begin() as connection:
        leavers = [Leaver(one, f"letter of {one}", "A. Clerk") for one in references]
        return leave(connection, leavers, channel="clerk", **options)


def test_a_subscription_ends_and_its_consent_is_revoked():
    (subscription,) = subscribe("000000001")
    assert go("000000001") == Left({"000000001": subscription}, 0)
    with connect() as connection:
        row = connection.execute(text("SELECT * FROM subscription")).one()
        consent = connection.execute(text("SELECT * FROM consent")).one()
    assert (row.state, row.state_reason, row.ended_at is not None) == ("ended", "left", True)
    assert (consent.customer_reference, consent.subscription_id) == ("000000001", subscription)
    assert (consent.act, consent.channel, consent.evidence) == ("revoked", "clerk", "letter of 000000001")
    assert (consent.recorded_by, consent.given_on) == ("A. Clerk", date(2026, 5, 20))


def test_what_is_planned_is_cancelled_and_what_has_left_is_not():
    first, second = subscribe("000000001", "000000002")
    cycle = plan_notices(4, first=0)
    run_sql(
        "UPDATE notice SET subscription_id = CASE WHEN phone LIKE '%0' THEN :b ELSE :a END", a=first, b=second
    )
    run_sql("UPDATE notice SET state = 'sending', attempts = 1 WHERE phone LIKE '%3'")
    assert go("000000001").cancelled == 2
    assert states(cycle) == {"cancelled": 2, "planned": 1, "sending": 1}
    assert {one.reason for one in notices(cycle) if one.state == "cancelled"} == {"opted_out"}


def test_leaving_twice_and_who_never_subscribed_change_nothing():
    subscribe("000000001")
    go("000000001")
    assert go("000000001", "000000009") == Left({}, 0)
    with connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM consent")) == 1


def test_coming_back_keeps_what_was():
    subscribe("000000001")
    go("000000001")
    (again,) = subscribe("000000001")
    assert go("000000001", reason="contract_ended").ended == {"000000001": again}
    with connect() as connection:
        rows = connection.execute(text("SELECT state, state_reason FROM subscription ORDER BY id")).all()
    assert rows == [("ended", "left"), ("ended", "contract_ended")]


def test_the_day_on_which_it_was_asked_for_is_kept():
    subscribe("000000001")
    asked = date(2026, 5, 20) - timedelta(days=3)
    with begin() as connection:
        leave(connection, [Leaver("000000001", "D-1", "run", asked)], channel="clerk")
        assert connection.scalar(text("SELECT given_on FROM consent")) == asked
