"""Leaving: it ends the subscription, revokes the consent, and takes effect before the next claim."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import count
from threading import Barrier, Event, Thread
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from fatoura.database import begin, connect
from fatoura.phones_at_rest import make_key, sealed
from fatoura.sending import claims, routing
from fatoura.subscriptions.leaving import Leaver, Left, leave
from tests.notices import notices, plan_notices, run_sql, states

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

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


# --- At the claim --------------------------------------------------------------------------------------


def claim(cycle: int, most: int = 100, **options) -> claims.Batch:
    with begin() as connection:
        return claims.claim(
            connection,
            cycle,
            gateway="fatoura_sms",
            stretch=routing.WHOLE,
            in_use=["fatoura_sms"],
            worker="test",
            most=most,
            lease=timedelta(minutes=5),
            doubt_horizon=timedelta(hours=6),
            sender_id="STEG",
            **options,
        )


def plan_for(subscription: int, phone: str = "+21620000000", **columns) -> int:
    cycle = plan_notices(1, phones=f"'{phone}'", **columns)
    run_sql(
        "UPDATE notice SET subscription_id = :s WHERE state = 'planned' AND phone = :p",
        s=subscription,
        p=phone,
    )
    return cycle


@pytest.mark.parametrize("checked", [True, False])
def test_what_is_planned_after_a_customer_left_is_cancelled_where_it_would_be_claimed(checked):
    (subscription,) = subscribe("000000001")
    go("000000001")
    cycle = plan_for(subscription)
    batch = claim(cycle, checked=checked)
    assert (list(batch), batch.withdrawn) == ([], 1)
    assert [(one.state, one.reason) for one in notices(cycle)] == [("cancelled", "opted_out")]


@pytest.mark.parametrize("checked", [True, False])
def test_a_bill_to_a_number_that_was_given_up_never_leaves(checked):
    (subscription,) = subscribe("000000001", phone="+21620000077")
    cycle = plan_for(subscription)
    assert claim(cycle, checked=checked).withdrawn == 1
    assert [(one.state, one.reason) for one in notices(cycle)] == [("cancelled", "former_number")]


def test_those_who_are_there_are_claimed_before_those_who_are_not_are_looked_at():
    here, gone = subscribe("000000001", "000000002")
    cycle = plan_for(gone)
    run_sql("UPDATE subscription SET state = 'ended' WHERE id = :id", id=gone)
    plan_notices(2, first=10, phones="'+21620000000'")
    run_sql("UPDATE notice SET subscription_id = :id WHERE subscription_id >= 10", id=here)
    first = claim(cycle, most=2)
    assert (len(first), first.withdrawn) == (2, 0)
    then = claim(cycle, most=2)
    assert (len(then), then.withdrawn) == (0, 1)


def test_a_code_goes_to_whoever_asks_for_it():
    (subscription,) = subscribe("000000001", phone="+21620000077")
    cycle = plan_for(subscription, kind="one_time_code")
    assert go("000000001").cancelled == 0
    assert len(claim(cycle)) == 1


def test_what_is_in_doubt_is_not_repeated_to_somebody_who_has_left(configure):
    (subscription,) = subscribe("000000001")
    cycle = plan_for(subscription)
    assert len(claim(cycle)) == 1
    run_sql("UPDATE notice SET state = 'in_doubt'")
    run_sql("UPDATE attempt SET outcome = 'in_doubt'")
    go("000000001")
    configure(now="2026-05-20T18:00:00+01:00")
    assert claim(cycle) == []
    assert claim(cycle, recognises_repeats=True) == []
    assert states(cycle) == {"in_doubt": 1}


def test_a_number_that_is_sealed_on_one_side_only_is_the_same_number(configure, tmp_path):
    """So it is for the moments in which an installation is being sealed."""
    (subscription,) = subscribe("000000001")
    cycle = plan_for(subscription)
    (tmp_path / "keys").write_text(make_key())
    configure(phone_key_file=tmp_path / "keys")
    run_sql("UPDATE subscription SET phone = :phone", phone=sealed("+21620000000"))
    batch = claim(cycle)
    assert ([one.message.phone for one in batch], batch.withdrawn) == (["+21620000000"], 0)


# --- At the same time ----------------------------------------------------------------------------------


def test_leaving_while_a_plan_is_written_lets_nothing_out():
    """The plan read the subscription before, and commits after: only the claim can find it."""
    (subscription,) = subscribe("000000001")
    cycle = plan_notices(0)
    with begin() as planning:
        read = planning.execute(text("SELECT id, phone FROM subscription WHERE state = 'active'")).one()
        planning.execute(
            text(
                "INSERT INTO notice (kind, subject, sequence, cycle_id, subscription_id, phone, language, "
                "text, encoding, segments, priority, send_from, send_until, validity_minutes) VALUES "
                "('bill', 'A1', 1, :cycle, :id, :phone, 'fr', 'x', 'gsm7', 1, 50, '2026-05-01', "
                "'2026-06-01', 60)"
            ),
            {"cycle": cycle, "id": read.id, "phone": read.phone},
        )
        assert go("000000001").cancelled == 0
    assert read.id == subscription
    assert claim(cycle) == []
    assert states(cycle) == {"cancelled": 1}


def test_who_leaves_waits_for_the_claim_that_holds_what_is_planned():
    """What is claimed by then has left; nothing else does."""
    (subscription,) = subscribe("000000001")
    cycle = plan_for(subscription)
    with begin() as sender:
        batch = claims.claim(
            sender,
            cycle,
            gateway="fatoura_sms",
            stretch=routing.WHOLE,
            in_use=["fatoura_sms"],
            worker="test",
            most=10,
            lease=timedelta(minutes=5),
            doubt_horizon=timedelta(hours=6),
            sender_id="STEG",
        )
        leaving = Thread(target=go, args=("000000001",))
        leaving.start()
        leaving.join(0.2)
        assert leaving.is_alive()
        assert len(batch) == 1
    leaving.join()
    assert states(cycle) == {"sending": 1}


def test_a_claim_passes_over_what_somebody_who_is_leaving_holds():
    (subscription,) = subscribe("000000001")
    cycle = plan_for(subscription)
    with begin() as connection:
        leave(connection, [Leaver("000000001", "D-1", "run")], channel="clerk")
        assert claim(cycle) == []
    assert states(cycle) == {"cancelled": 1}


def test_many_leave_while_senders_claim_and_no_claim_that_begins_afterwards_takes_theirs():
    references = [f"{number:09d}" for number in range(300)]
    first = min(subscribe(*references))
    cycle = plan_notices(300, phones="'+21620000000'")
    run_sql("UPDATE notice SET subscription_id = subscription_id + :first", first=first)
    left: dict[str, datetime] = {}
    claimed: dict[UUID, datetime] = {}
    done = Event()
    both_at_work = Barrier(5, timeout=30)  # a sender may be done with all before a clerk has begun

    def instant() -> datetime:
        with connect() as connection:
            return connection.scalar(text("SELECT clock_timestamp()"))

    def clerk(mine: list[str]) -> None:
        for number, reference in enumerate(mine):
            go(reference)
            left[reference] = instant()
            if not number:
                both_at_work.wait()

    def sender() -> None:
        for number in count():
            began = instant()
            claimed.update({one.message.id: began for one in claim(cycle, most=7)})
            if not number:
                both_at_work.wait()
            if done.is_set():
                return

    senders = [Thread(target=sender) for _ in range(2)]
    clerks = [Thread(target=clerk, args=(references[::-1][at::3],)) for at in range(3)]
    for thread in (*clerks, *senders):
        thread.start()
    for thread in clerks:
        thread.join()
    done.set()
    for thread in senders:
        thread.join()
    assert len(left) == 300
    found = states(cycle)
    assert found["cancelled"] + len(claimed) == 300
    with connect() as connection:
        whose = connection.execute(
            text(
                "SELECT n.id, customer_reference FROM notice n JOIN subscription s ON s.id = subscription_id"
            )
        )
        reference_of = dict(whose.all())
    assert [one for one, began in claimed.items() if began > left[reference_of[one]]] == []
