"""Welcome messages: one for each number that a coupon brought, and what follows from what became of it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from fatoura.database import begin, connect
from fatoura.enrolment.intake import cycles_to_welcome
from fatoura.enrolment.judging import judge_coupons
from fatoura.enrolment.lists import unreachable_numbers
from fatoura.enrolment.welcoming import are_to_be_concluded, conclude_welcomes, plan_welcomes
from fatoura.phones_at_rest import opened
from fatoura.sending.taking_up import take_up
from fatoura.subscriptions.numbers import prove_numbers
from tests.coupons import (
    ANNA,
    BOB,
    CORA,
    coupon,
    crossed,
    enrol,
    load_customers,
    outcomes,
    phone,
    subscribed,
)
from tests.notices import plan_notices

MORNING = "2026-05-20T10:00:00+01:00"


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now=MORNING)
    load_customers()


def messages(columns: str = "subject, sequence, state") -> list[tuple]:
    with connect() as connection:
        return [
            tuple(row)
            for row in connection.execute(
                text(f"SELECT {columns} FROM notice WHERE kind = 'welcome' ORDER BY id")
            )
        ]


def become(state: str, subject: str = "C1", reason: str | None = None) -> None:
    """Let a message go the way to a final state."""
    steps = ["cancelled"] if state == "cancelled" else ["sending", "accepted", state]
    with begin() as connection:
        for step in steps:
            connection.execute(
                text(
                    "UPDATE notice SET state = :state, reason = :reason, attempts = 1, submitted_at = now(), "
                    "final_at = '2026-05-20T09:05:00Z' WHERE subject = :subject AND state IN "
                    "('planned', 'sending', 'accepted')"
                ),
                {"state": step, "reason": reason, "subject": subject},
            )


def test_each_new_number_is_welcomed_once_in_its_customer_s_language():
    enrol("b1", coupon("C1"), coupon("C2", BOB, language="fr", phone=phone(2)))
    welcomed = plan_welcomes(run_id="run")
    assert (welcomed.counts, welcomed.cycle) == (
        {"planned": 2, "segments": 2, "unneeded": 0},
        "welcome-2026-05-20",
    )
    texts = dict(messages("phone, text"))
    assert texts[phone(2)] == (
        "STEG - bienvenue. Vous recevrez ici vos factures et avis de coupure\n"
        "Abonnement : 1,000 DT par an, sur facture\nPour le quitter : steg.com.tn ou agence"
    )
    assert texts[phone(1)] == "أهلا، هنا فواتيركم وتنبيهات القطع\nالثمن 1,000د سنويا\nإلغاء steg.com.tn"
    assert messages("district, planned_by, subject") == [("TUN1", "run", "C1"), ("TUN1", "run", "C2")]
    assert plan_welcomes().counts == {"planned": 0, "segments": 0, "unneeded": 0}


def test_another_number_is_welcomed_and_another_language_is_not():
    enrol("b1", coupon("C1"), coupon("C2", BOB))
    plan_welcomes()
    enrol(
        "b2",
        coupon("C3", phone=phone(3), signed_on="2026-05-02"),
        coupon("C4", BOB, language="fr", signed_on="2026-05-02"),
    )
    assert plan_welcomes().planned == 1
    assert messages() == [("C1", 1, "planned"), ("C2", 1, "planned"), ("C3", 1, "planned")]


def test_a_corrected_number_is_welcomed_too_and_so_is_one_that_comes_back():
    enrol("b1", coupon("C1"))
    plan_welcomes()
    enrol("b2", coupon("C1", phone=phone(2)))
    plan_welcomes()
    enrol("b3", coupon("C2", phone=phone(3), signed_on="2026-05-02"))
    plan_welcomes()
    enrol("b4", crossed("C2"))
    plan_welcomes()
    assert messages("subject, sequence, phone") == [
        ("C1", 1, phone(1)),
        ("C1", 2, phone(2)),
        ("C2", 1, phone(3)),
        ("C1", 3, phone(2)),
    ]


def test_who_is_gone_or_has_proven_the_number_meanwhile_gets_none():
    enrol("b1", coupon("C1"), coupon("C2", BOB), coupon("C3", CORA))
    with begin() as connection:
        connection.execute(
            text("UPDATE subscription SET proven_at = now() WHERE customer_reference = :r"), {"r": BOB}
        )
    enrol("b2", crossed("C1"))
    assert plan_welcomes().counts == {"planned": 1, "segments": 1, "unneeded": 1}
    assert messages("subject") == [("C3",)]


def test_a_message_that_arrives_proves_the_number_and_one_that_does_not_suspends():
    enrol("b1", *(coupon(f"C{n}", r, phone=phone(n)) for n, r in enumerate((ANNA, BOB, CORA), 1)))
    plan_welcomes()
    assert not are_to_be_concluded()
    become("delivered", "C1")
    become("expired", "C2")
    assert are_to_be_concluded()
    assert conclude_welcomes().counts == {"proven": 1, "unreachable": 1, "again": 0}
    assert conclude_welcomes().counts == {"proven": 0, "unreachable": 0, "again": 0}
    assert not are_to_be_concluded()
    assert subscribed("state, state_reason, proven_at IS NOT NULL") == {
        ANNA: ("active", None, True),
        BOB: ("suspended", "number_unreachable", False),
        CORA: ("active", None, False),
    }
    [one] = unreachable_numbers()
    assert (one.customer_reference, opened(one.phone), one.coupon_id, one.message_state) == (
        BOB,
        phone(2),
        "C2",
        "expired",
    )


@pytest.mark.parametrize("state", ["undeliverable", "rejected"])
def test_the_other_ways_to_fail_suspend_as_well(state):
    enrol("b1", coupon("C1"))
    plan_welcomes()
    become(state)
    assert conclude_welcomes().unreachable == 1


def test_what_became_of_a_former_number_says_nothing_of_the_one_that_stands():
    enrol("b1", coupon("C1"))
    plan_welcomes()
    enrol("b2", coupon("C2", phone=phone(2), signed_on="2026-05-02"))
    become("undeliverable", "C1")
    plan_welcomes()
    assert conclude_welcomes().counts == {"proven": 0, "unreachable": 0, "again": 0}
    become("delivered", "C2")
    assert conclude_welcomes().proven == 1


def test_a_message_that_could_not_leave_in_time_is_planned_again():
    enrol("b1", coupon("C1"))
    plan_welcomes()
    become("cancelled", reason="too_late")
    assert conclude_welcomes().again == 1
    assert conclude_welcomes().again == 0
    assert plan_welcomes().planned == 1
    assert messages() == [("C1", 1, "cancelled"), ("C1", 2, "planned")]


def test_whatever_is_delivered_to_the_number_proves_it():
    enrol("b1", coupon("C1"))
    with connect() as connection:
        subscription = connection.scalar(text("SELECT id FROM subscription"))
    cycle = plan_notices(1, phones=f"'{phone(1)}'")
    with begin() as connection:
        for state in ("sending", "accepted", "delivered"):
            connection.execute(
                text("UPDATE notice SET state = :s, attempts = 1, subscription_id = :id"),
                {"s": state, "id": subscription},
            )
    assert prove_numbers(cycle) == 1
    assert prove_numbers(cycle) == 0
    # The welcome that is still to be planned is not needed any more.
    assert plan_welcomes().counts == {"planned": 0, "segments": 0, "unneeded": 1}


def test_a_run_is_asked_for_while_sending_is_open_and_until_one_has_taken_it_up(configure):
    enrol("b1", coupon("C1"))
    cycle = plan_welcomes().cycle
    configure(now="2026-05-20T22:00:00+01:00")
    assert cycles_to_welcome() == []
    configure(now="2026-05-20T10:05:00+01:00")
    assert cycles_to_welcome() == [cycle]
    assert take_up(cycle) == 1
    assert cycles_to_welcome() == []


def test_planning_that_dies_leaves_nothing_and_is_made_up_for(monkeypatch):
    from fatoura.enrolment import welcoming

    enrol("b1", coupon("C1"))
    with monkeypatch.context() as patched:
        patched.setattr(welcoming, "_PLANNED", "SELECT 1 / 0")
        with pytest.raises(Exception, match="division by zero"):
            plan_welcomes()
    assert messages() == []
    assert plan_welcomes().planned == 1
    assert judge_coupons().counts == {}
    assert outcomes() == {"C1": "enrolled"}
