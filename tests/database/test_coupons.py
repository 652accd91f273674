"""What becomes of each coupon, whatever comes before, beside and after it. All numbers are invented."""

from __future__ import annotations

from itertools import permutations

import pytest
from sqlalchemy import text

from fatoura.database import begin, connect
from fatoura.enrolment.judging import judge_coupons
from fatoura.subscriptions import import_subscribers
from fatoura.subscriptions.leaving import Leaver, leave
from tests.coupons import (
    ANNA,
    BOB,
    CORA,
    consents,
    coupon,
    crossed,
    enrol,
    load_coupons,
    load_customers,
    outcomes,
    phone,
    subscribed,
)

MORNING = "2026-05-20T10:00:00+01:00"


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now=MORNING)


@pytest.fixture
def customers():
    load_customers()


def on_the_web(reference: str, number: int, day: str = "2026-05-01", language: str = "ar") -> None:
    """Subscribe as the web site does: the number has answered."""
    with begin() as connection:
        subscription = connection.scalar(
            text(
                "INSERT INTO subscription (customer_reference, phone, language, channel, consent_date, "
                "proven_at) VALUES (:r, :p, :l, 'web', :d, now()) RETURNING id"
            ),
            {"r": reference, "p": phone(number), "l": language, "d": day},
        )
        connection.execute(
            text(
                "INSERT INTO consent (customer_reference, subscription_id, act, channel, evidence, given_on, "
                "recorded_at, recorded_by) VALUES (:r, :s, 'given', 'web', 'code', :d, now(), 'site')"
            ),
            {"r": reference, "s": subscription, "d": day},
        )


def leaves(reference: str, day: str | None = None) -> None:
    from datetime import date

    with begin() as connection:
        asked = date.fromisoformat(day) if day else None
        leave(connection, [Leaver(reference, "letter 7", "A. B.", asked)], channel="clerk")


def ended() -> list[tuple[str, str]]:
    with connect() as connection:
        rows = connection.execute(
            text(
                "SELECT customer_reference, state_reason FROM subscription WHERE state = 'ended' ORDER BY id"
            )
        )
        return [tuple(row) for row in rows]


# --- Enrolled, changed, unchanged ---------------------------------------------------------------------


@pytest.mark.usefixtures("customers")
def test_a_coupon_begins_a_subscription_with_its_consent():
    assert enrol("b1", coupon("C1")).counts == {"enrolled": 1}
    assert subscribed("phone, language, channel, consent_date::text, state, proven_at") == {
        ANNA: (phone(1), "ar", "coupon", "2026-05-01", "active", None)
    }
    assert consents() == [("given", "coupon", "scan-C1 of coupon C1")]
    with connect() as connection:
        row = connection.execute(text("SELECT wording_version, language, recorded_by FROM consent")).one()
    assert tuple(row) == ("2026-1", "ar", "run")


@pytest.mark.usefixtures("customers")
def test_judging_again_and_the_same_batch_again_change_nothing():
    enrol("b1", coupon("C1"))
    before = subscribed("changed_at")
    assert enrol("b1", coupon("C1")).counts == {}
    assert enrol("b2", coupon("C1")).counts == {}
    assert judge_coupons().counts == {}
    assert subscribed("changed_at") == before
    assert len(consents()) == 1


@pytest.mark.usefixtures("customers")
def test_a_newer_signature_changes_number_or_language_and_an_older_one_does_not():
    enrol("b1", coupon("C1"))
    with begin() as connection:
        connection.execute(text("UPDATE subscription SET proven_at = now()"))
    enrol("b2", coupon("C2", phone=phone(2), signed_on="2026-05-10"))
    assert subscribed("phone, proven_at") == {ANNA: (phone(2), None)}
    enrol("b3", coupon("C3", phone=phone(3), signed_on="2026-05-05"))
    enrol("b4", coupon("C4", phone=phone(2), language="fr", signed_on="2026-05-11"))
    assert outcomes() == {"C1": "enrolled", "C2": "changed", "C3": "superseded", "C4": "changed"}
    assert subscribed() == {ANNA: (phone(2), "fr", "active")}
    assert [act for act, _, _ in consents()] == ["given", "changed", "changed"]


@pytest.mark.usefixtures("customers")
def test_a_newer_signature_that_says_the_same_is_the_consent_that_stands_from_then_on():
    enrol("b1", coupon("C1"))
    enrol("b2", coupon("C2", signed_on="2026-05-10"))
    enrol("b3", coupon("C3", phone=phone(3), signed_on="2026-05-05"))
    assert outcomes() == {"C1": "enrolled", "C2": "unchanged", "C3": "superseded"}
    assert subscribed("phone, consent_date::text") == {ANNA: (phone(1), "2026-05-10")}
    assert [act for act, _, _ in consents()] == ["given", "given"]


@pytest.mark.usefixtures("customers")
def test_of_one_batch_the_newest_signature_counts_and_a_copy_counts_once():
    enrol(
        "b1",
        coupon("C1"),
        coupon("C2", phone=phone(2), signed_on="2026-05-10"),
        coupon("C3", phone=phone(2), signed_on="2026-05-10"),
        coupon("C1"),
    )
    assert outcomes() == {"C1": "superseded", "C2": "enrolled", "C3": "unchanged"}
    assert consents() == [("given", "coupon", "scan-C2 of coupon C2")]


@pytest.mark.usefixtures("customers")
def test_a_newer_coupon_changes_what_was_subscribed_on_the_web_and_an_older_one_does_not():
    on_the_web(ANNA, 7)
    on_the_web(BOB, 8)
    enrol("b1", coupon("C1", signed_on="2026-05-02"), coupon("C2", BOB, signed_on="2026-04-30"))
    assert outcomes() == {"C1": "changed", "C2": "superseded"}
    assert subscribed("phone, channel") == {ANNA: (phone(1), "coupon"), BOB: (phone(8), "web")}


@pytest.mark.usefixtures("customers")
def test_a_new_number_takes_up_what_rested_for_want_of_one_and_nothing_that_a_clerk_has_paused():
    enrol("b1", coupon("C1"), coupon("C2", BOB))
    with begin() as connection:
        connection.execute(
            text(
                "UPDATE subscription SET state = 'suspended', state_reason = CASE customer_reference "
                "WHEN :anna THEN 'number_unreachable' ELSE 'paused_by_clerk' END"
            ),
            {"anna": ANNA},
        )
    later = {"phone": phone(2), "signed_on": "2026-05-10"}
    enrol("b2", coupon("C3", **later), coupon("C4", BOB, **later))
    assert subscribed("state, state_reason") == {
        ANNA: ("active", None),
        BOB: ("suspended", "paused_by_clerk"),
    }


@pytest.mark.usefixtures("customers")
def test_a_subscription_that_has_lapsed_is_taken_up_by_a_newer_signature():
    enrol("b1", coupon("C1"))
    with begin() as connection:
        connection.execute(text("UPDATE subscription SET state = 'lapsed', state_reason = 'fee_unpaid'"))
    enrol("b2", coupon("C2", signed_on="2026-05-10"))
    assert outcomes()["C2"] == "enrolled"
    assert subscribed("state, state_reason") == {ANNA: ("active", None)}
    assert consents()[-1] == ("given", "coupon", "scan-C2 of coupon C2")


# --- Refused ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("customers")
def test_two_coupons_of_one_day_that_disagree_are_for_a_clerk():
    enrol("b1", coupon("C1"), coupon("C2", phone=phone(2)))
    assert outcomes() == dict.fromkeys(("C1", "C2"), "refused conflicting_coupons")
    assert subscribed() == {}


@pytest.mark.usefixtures("customers")
def test_one_that_disagrees_with_a_coupon_of_the_same_day_that_was_taken_is_for_a_clerk():
    enrol("b1", coupon("C1"))
    enrol("b2", coupon("C2", phone=phone(2)))
    assert outcomes() == {"C1": "enrolled", "C2": "refused conflicting_coupons"}
    assert subscribed("phone") == {ANNA: phone(1)}


@pytest.mark.usefixtures("customers")
def test_one_that_disagrees_with_the_web_on_the_same_day_is_for_a_clerk_and_one_that_agrees_is_not():
    on_the_web(ANNA, 7)
    on_the_web(BOB, 1)
    enrol("b1", coupon("C1"), coupon("C2", BOB))
    assert outcomes() == {"C1": "refused other_channel_same_day", "C2": "unchanged"}


@pytest.mark.usefixtures("customers")
def test_a_conflict_ends_when_one_of_the_two_is_corrected_or_crossed_out_in_either_order():
    wrong, right = coupon("C2", phone=phone(2)), coupon("C2")
    enrol("b1", coupon("C1"), wrong)
    enrol("b2", right)
    assert outcomes() == {"C1": "enrolled", "C2": "unchanged"}
    # The correction came first; what it corrects is told after it, and stands no more.
    enrol("b4", {**right, "customer_reference": BOB, "coupon_id": "C4"})
    enrol("b3", coupon("C3", BOB), {**wrong, "customer_reference": BOB, "coupon_id": "C4"})
    assert {name: outcomes()[name] for name in ("C3", "C4")} == {"C3": "unchanged", "C4": "enrolled"}
    enrol("b5", coupon("C5", CORA), coupon("C6", CORA, phone=phone(2)))
    enrol("b6", crossed("C5", CORA))
    assert {name: outcomes()[name] for name in ("C5", "C6")} == {"C5": "crossed_out", "C6": "enrolled"}
    assert subscribed("phone") == {ANNA: phone(1), BOB: phone(1), CORA: phone(2)}


@pytest.mark.usefixtures("customers")
def test_a_phone_of_too_many_contracts_is_for_a_clerk_with_all_that_it_came_with(configure):
    configure(now=MORNING, phone_contracts=2)
    enrol("b1", coupon("C1"))
    enrol("b2", coupon("C2", BOB), coupon("C3", CORA))
    assert outcomes() == {"C1": "enrolled", **dict.fromkeys(("C2", "C3"), "refused many_contracts")}
    enrol("b3", coupon("C4", BOB, phone=phone(4), signed_on="2026-05-02"))
    assert outcomes()["C4"] == "enrolled"
    # One of them has gone to another number: the third is as good as the second would have been.
    enrol("b4", coupon("C5", CORA, signed_on="2026-05-03"))
    assert outcomes()["C5"] == "enrolled"
    assert subscribed("phone") == {ANNA: phone(1), BOB: phone(4), CORA: phone(1)}


def test_a_closed_contract_takes_no_subscription_whoever_says_that_it_is_closed():
    load_customers(**{ANNA: "closed"})
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO account_fact (fact_id, customer_reference, fact, valid_from, set_by, feed_id, "
                "row_number, told_in) VALUES ('A1', :r, 'contract_ended', '2026-05-10', 'x', 1, 1, 'f')"
            ),
            {"r": BOB},
        )
    enrol("b1", coupon("C1"), coupon("C2", BOB), coupon("C3", CORA))
    assert outcomes() == {
        "C1": "refused contract_closed",
        "C2": "refused contract_closed",
        "C3": "enrolled",
    }


@pytest.mark.usefixtures("customers")
def test_who_has_left_since_the_signature_stays_away_and_a_newer_signature_brings_them_back():
    enrol("b1", coupon("C1"))
    leaves(ANNA, "2026-05-10")
    enrol("b2", coupon("C2", phone=phone(2), signed_on="2026-05-09"))
    enrol("b3", coupon("C3", phone=phone(2), signed_on="2026-05-10"))
    assert outcomes()["C2"] == "refused left_since"
    assert outcomes()["C3"] == "refused left_same_day"
    assert subscribed() == {}
    enrol("b4", coupon("C4", phone=phone(2), signed_on="2026-05-11"))
    assert outcomes()["C4"] == "enrolled"
    assert outcomes()["C2"] == "superseded"
    assert ended() == [(ANNA, "left")]


@pytest.mark.usefixtures("customers")
def test_a_departure_that_was_told_before_the_coupon_came_counts_too():
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO departure (departure_id, customer_reference, asked_on, told_by, feed_id, "
                "row_number, told_in) VALUES ('D1', :r, '2026-05-02', 'A. B.', 1, 1, 'f')"
            ),
            {"r": ANNA},
        )
    enrol("b1", coupon("C1"))
    assert outcomes() == {"C1": "refused left_since"}


# --- Waits --------------------------------------------------------------------------------------------


def test_a_coupon_waits_for_its_customer():
    assert enrol("b1", coupon("C1")).counts == {"waits": 1}
    assert judge_coupons().counts == {}
    load_customers()
    assert judge_coupons().counts == {"enrolled": 1}


def test_a_bill_makes_a_customer_known():
    enrol("b1", coupon("C1"))
    with begin() as connection:
        cycle = connection.scalar(
            text("INSERT INTO cycle (key, issue_date) VALUES ('2026-05-T1', '2026-05-20') RETURNING id")
        )
        connection.execute(
            text(
                "INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, "
                "customer_reference, district, supply, period_start, period_end, amount_due_millimes, "
                "due_date, issue_date, estimated, bucket, reason) VALUES (1, 1, :c, 'F1', 0, :r, 'TUN1', "
                "'gas', '2026-03-01', '2026-04-30', 1000, '2026-06-20', '2026-05-20', false, "
                "'unsubscribed', 'not_subscribed')"
            ),
            {"c": cycle, "r": ANNA},
        )
    assert judge_coupons().counts == {"enrolled": 1}


def test_who_is_not_known_for_long_is_for_a_clerk_and_never_taken_up_by_itself(configure):
    enrol("b1", coupon("C1"))
    configure(now="2026-06-21T10:00:00+01:00")
    assert judge_coupons().counts == {"refused reference_unknown": 1}
    load_customers()
    assert judge_coupons().counts == {}
    enrol("b2", coupon("C2", signed_on="2026-04-20"))
    assert outcomes() == {"C1": "refused reference_unknown", "C2": "enrolled"}


# --- Crossed out, and told otherwise ------------------------------------------------------------------


@pytest.mark.usefixtures("customers")
def test_crossed_out_later_takes_back_the_consent_that_the_coupon_gave():
    enrol("b1", coupon("C1"))
    assert enrol("b2", crossed("C1", phone="", signed_on="", language="")).counts == {
        "crossed_out": 1,
        "taken_back": 1,
    }
    assert subscribed() == {}
    assert ended() == [(ANNA, "crossed_out")]
    assert consents()[-1] == ("revoked", "coupon", "scan-C1 of coupon C1")
    with connect() as connection:
        assert connection.scalar(text("SELECT phone FROM coupon")) is None
    # Nobody has left: an older coupon that comes later counts.
    enrol("b3", coupon("C2", phone=phone(2), signed_on="2026-04-20"))
    assert outcomes() == {"C1": "crossed_out", "C2": "enrolled"}


@pytest.mark.usefixtures("customers")
def test_crossed_out_stays_so_whatever_is_told_before_and_after():
    enrol("b2", crossed("C1"))
    enrol("b1", coupon("C1"))
    enrol("b3", coupon("C1"))
    assert outcomes() == {"C1": "crossed_out"}
    assert subscribed() == {}


@pytest.mark.usefixtures("customers")
def test_what_an_older_coupon_said_stands_again_when_the_newer_one_is_crossed_out():
    enrol("b1", coupon("C1"))
    enrol("b2", coupon("C2", phone=phone(2), signed_on="2026-05-10"))
    enrol("b3", crossed("C2", phone=phone(2), signed_on="2026-05-10"))
    assert outcomes() == {"C1": "changed", "C2": "crossed_out"}
    assert subscribed("phone, consent_date::text, state") == {ANNA: (phone(1), "2026-05-01", "active")}
    assert consents()[-2:] == [
        ("revoked", "coupon", "scan-C2 of coupon C2"),
        ("changed", "coupon", "scan-C1 of coupon C1"),
    ]


@pytest.mark.usefixtures("customers")
def test_a_number_is_gone_with_its_coupon_where_the_web_s_consent_stands_beside_it():
    on_the_web(ANNA, 7)
    on_the_web(BOB, 1)
    enrol("b1", coupon("C1", signed_on="2026-05-10"), coupon("C2", BOB, signed_on="2026-05-10"))
    assert outcomes() == {"C1": "changed", "C2": "unchanged"}
    enrol("b2", crossed("C1"), crossed("C2", BOB))
    assert subscribed("phone, channel, consent_date::text, state, state_reason") == {
        ANNA: ("", "web", "2026-05-01", "suspended", "number_taken_back"),
        BOB: (phone(1), "web", "2026-05-01", "active", None),  # it had only confirmed what stood
    }
    assert judge_coupons().counts == {}
    enrol("b3", coupon("C3", phone=phone(3), signed_on="2026-05-12"))
    assert subscribed("phone, state")[ANNA] == (phone(3), "active")


@pytest.mark.usefixtures("customers")
def test_a_corrected_number_takes_the_place_of_the_wrong_one():
    enrol("b1", coupon("C1"))
    enrol("b2", coupon("C1", phone=phone(2)))
    assert outcomes() == {"C1": "changed"}
    assert subscribed("phone, consent_date::text") == {ANNA: (phone(2), "2026-05-01")}
    assert consents() == [
        ("given", "coupon", "scan-C1 of coupon C1"),
        ("revoked", "coupon", "scan-C1 of coupon C1"),
        ("changed", "coupon", "scan-C1 of coupon C1"),
    ]


@pytest.mark.usefixtures("customers")
def test_a_corrected_reference_moves_the_subscription_to_whom_it_belongs():
    enrol("b1", coupon("C1"))
    enrol("b2", coupon("C1", BOB))
    assert outcomes() == {"C1": "enrolled"}
    assert subscribed("phone") == {BOB: phone(1)}
    assert ended() == [(ANNA, "crossed_out")]
    enrol("b3", coupon("C1", CORA))
    assert subscribed("phone") == {CORA: phone(1)}


@pytest.mark.usefixtures("customers")
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_whatever_the_order_of_batches_the_same_stands_in_the_end(order):
    batches = [
        ("b1", coupon("C1"), coupon("C2", BOB), coupon("C3", CORA)),
        ("b2", coupon("C1", phone=phone(5)), crossed("C2", BOB), coupon("C4", CORA, signed_on="2026-05-03")),
        ("b3", coupon("C5", signed_on="2026-04-01"), coupon("C6", BOB, phone=phone(6))),
    ]
    for number in order:
        enrol(*batches[number])
    assert subscribed("phone, language, consent_date::text, state") == {
        ANNA: (phone(5), "ar", "2026-05-01", "active"),
        BOB: (phone(6), "ar", "2026-05-01", "active"),
        CORA: (phone(1), "ar", "2026-05-03", "active"),
    }


def test_what_was_imported_and_is_on_a_coupon_too_is_one_consent_after_the_other(customers, tmp_path):
    path = tmp_path / "subscribers.csv"
    path.write_text(
        f"customer_reference,phone,language,channel,consent_date\n{ANNA},{phone(1)},ar,coupon,2026-05-01\n"
    )
    import_subscribers(path, by="A. B.")
    enrol("b1", coupon("C1"), coupon("C2", signed_on="2026-05-02"))
    assert outcomes() == {"C1": "superseded", "C2": "unchanged"}
    assert consents() == [
        ("given", "import", "subscribers.csv, row 1"),
        ("given", "coupon", "scan-C2 of coupon C2"),
    ]


def test_nothing_is_half_done_when_judging_dies(customers, monkeypatch):
    from fatoura.enrolment import judging

    load_coupons("b1", coupon("C1"))
    with monkeypatch.context() as patched:
        patched.setattr(judging, "_CONCLUDE", "SELECT 1 / 0")
        with pytest.raises(Exception, match="division by zero"):
            judge_coupons()
    assert (subscribed(), consents(), outcomes()) == ({}, [], {"C1": ""})
    assert judge_coupons().counts == {"enrolled": 1}
