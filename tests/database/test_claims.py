"""Claims: held by one sender at a time, kept when an outcome is open, given back when it is proven."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.gateways.interface import Outcome
from fatoura.sending import claims, routing
from fatoura.sending.outlook import Wait, sending_outlook
from tests.notices import notices, plan_notices, run_sql, states

OPEN_DAY = "2026-05-20T10:00:00+01:00"
RETRY = timedelta(seconds=5)


@pytest.fixture(autouse=True)
def _clock(database, configure):
    configure(now=OPEN_DAY)


def claim(cycle_id, most=100, **options):
    values = {
        "gateway": "fatoura_sms",
        "stretch": routing.WHOLE,
        "in_use": ["fatoura_sms"],
        "worker": "test",
        "most": most,
        "lease": timedelta(minutes=5),
        "doubt_horizon": timedelta(hours=6),
        "sender_id": "STEG",
    } | options
    with begin() as connection:
        return claims.claim(connection, cycle_id, **values)


def answer(claimed, kind, **options):
    outcomes = [(c.message, Outcome(kind, options.get("provider_id"), "said so")) for c in claimed]
    with begin() as connection:
        return claims.write_outcomes(connection, outcomes, retry_after=RETRY)


def test_a_claim_is_written_before_it_is_handed_out(database):
    cycle = plan_notices(3)
    claimed = claim(cycle)
    assert len(claimed) == 3
    assert states(cycle) == {"sending": 3}
    with connect() as connection:
        attempts = connection.execute(text("SELECT notice_id, number, outcome FROM attempt")).all()
    assert {(a.notice_id, a.number, a.outcome) for a in attempts} == {
        (c.message.id, 1, None) for c in claimed
    }


def test_two_senders_never_hold_the_same_notice(database):
    cycle = plan_notices(1000)
    held: list[list] = [[], []]
    start = Barrier(2)

    def work(mine):
        start.wait()
        while batch := claim(cycle, most=37):
            mine += [c.message.id for c in batch]

    threads = [Thread(target=work, args=(mine,)) for mine in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held[0]) + len(held[1]) == len({*held[0], *held[1]}) == 1000


def test_urgent_notices_go_first(database):
    cycle = plan_notices(5)
    plan_notices(2, kind="urgent", priority=10, first=100)
    assert [c.message.phone[-3:] for c in claim(cycle, most=3)] == ["100", "101", "000"]


def test_only_what_may_go_now_is_claimed(database):
    now = clock.now()
    cycle = plan_notices(1)
    plan_notices(1, first=10, send_from=now + timedelta(hours=1))
    plan_notices(1, first=20, send_until=now - timedelta(minutes=1))
    assert [c.message.phone[-5:] for c in claim(cycle)] == ["00000"]


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("accepted", "accepted"),
        ("rejected", "rejected"),
        ("in_doubt", "in_doubt"),
        ("refused", "planned"),
        ("stop", "planned"),
    ],
)
def test_an_outcome_moves_the_notice_and_is_kept_with_the_attempt(database, kind, state):
    cycle = plan_notices(2)
    claimed = claim(cycle)
    assert answer(claimed, kind) == 2
    assert states(cycle) == {state: 2}
    with connect() as connection:
        row = connection.execute(text("SELECT DISTINCT outcome, answer FROM attempt")).one()
    assert row == ("refused" if kind == "stop" else kind, "said so")
    with connect() as connection:
        valid = connection.scalar(text("SELECT DISTINCT valid_until - answered_at FROM attempt"))
    assert valid == timedelta(minutes=720)


def test_a_refused_notice_rests_before_it_is_claimed_again(database, configure):
    cycle = plan_notices(1)
    answer(claim(cycle), "refused")
    assert claim(cycle) == []
    run_sql("UPDATE notice SET retry_at = :now", now=clock.now())
    (again,) = claim(cycle)
    assert again.message.attempt == 2


def test_a_stopped_gateway_leaves_no_back_off(database):
    cycle = plan_notices(1)
    answer(claim(cycle), "stop")
    assert len(claim(cycle)) == 1


def test_a_receipt_that_was_faster_than_the_answer_stays(database):
    cycle = plan_notices(1)
    claimed = claim(cycle)
    run_sql("UPDATE notice SET state = 'delivered'")
    for late in ("accepted", "refused", "in_doubt"):
        answer(claimed, late, provider_id="77")
    (notice,) = notices(cycle)
    assert (notice.state, notice.provider_id) == ("delivered", "77")


def test_a_late_answer_of_an_earlier_attempt_changes_nothing(database):
    cycle = plan_notices(1)
    first = claim(cycle)
    answer(first, "refused")
    run_sql("UPDATE notice SET retry_at = NULL")
    claim(cycle)
    answer(first, "accepted")
    assert states(cycle) == {"sending": 1}


def test_a_late_acceptance_settles_a_doubt(database):
    cycle = plan_notices(1)
    claimed = claim(cycle)
    answer(claimed, "in_doubt")
    answer(claimed, "accepted")
    assert states(cycle) == {"accepted": 1}


def test_what_was_not_begun_goes_back_at_once(database):
    cycle = plan_notices(3)
    claimed = claim(cycle)
    with begin() as connection:
        assert claims.give_back(connection, [c.message for c in claimed[1:]]) == 2
    assert states(cycle) == {"sending": 1, "planned": 2}
    assert len(claim(cycle)) == 2


def test_what_was_not_begun_goes_back_also_when_its_lease_has_ended(database):
    cycle = plan_notices(1)
    (held,) = claim(cycle, lease=timedelta(seconds=-1))
    with begin() as connection:
        claims.expire_leases(connection)
        assert claims.give_back(connection, [held.message]) == 1
    assert states(cycle) == {"planned": 1}


@pytest.mark.parametrize("kind", ["refused", "stop", "not begun"])
def test_a_refused_repeat_leaves_the_first_attempt_in_doubt_and_is_tried_again_there(
    database, configure, kind
):
    cycle = plan_notices(1)
    answer(claim(cycle), "in_doubt")
    claimed = claim(cycle, doubt_horizon=timedelta(seconds=-1))
    if kind == "not begun":
        with begin() as connection:
            claims.give_back(connection, [c.message for c in claimed])
    else:
        answer(claimed, kind)
    assert states(cycle) == {"in_doubt": 1}
    configure(now="2026-05-20T10:00:06+01:00")  # past the back-off, not past another horizon
    with connect() as connection:
        assert sending_outlook(connection, cycle).wait is Wait.NOTHING
    both = {"in_use": ["fatoura_sms", "other"]}
    assert claim(cycle, gateway="other", **both) == []
    (again,) = claim(cycle, **both)
    assert again.message.attempt == 3
    answer([again], "in_doubt")
    assert claim(cycle, doubt_horizon=timedelta(seconds=-1)) == []


def test_a_refused_repeat_rests_first(database):
    cycle = plan_notices(1)
    answer(claim(cycle), "in_doubt")
    answer(claim(cycle, doubt_horizon=timedelta(seconds=-1)), "refused")
    assert claim(cycle, doubt_horizon=timedelta(seconds=-1)) == []
    with connect() as connection:
        assert sending_outlook(connection, cycle).wait is Wait.DOUBT


def test_a_claim_whose_sender_is_gone_comes_into_doubt_not_back(database):
    cycle = plan_notices(2)
    claim(cycle, lease=timedelta(seconds=-1))
    with begin() as connection:
        assert claims.expire_leases(connection) == 2
        assert claims.expire_leases(connection) == 0
    assert states(cycle) == {"in_doubt": 2}
    assert claim(cycle) == []
    with connect() as connection:
        assert connection.execute(text("SELECT DISTINCT outcome FROM attempt")).scalars().all() == [
            "in_doubt"
        ]


def test_a_bill_in_doubt_goes_out_once_more_after_the_horizon_and_never_a_third_time(database):
    cycle = plan_notices(1)
    answer(claim(cycle), "in_doubt")
    assert claim(cycle) == []
    (again,) = claim(cycle, doubt_horizon=timedelta(seconds=-1))
    assert again.message.attempt == 2
    answer([again], "in_doubt")
    assert claim(cycle, doubt_horizon=timedelta(seconds=-1)) == []
    assert states(cycle) == {"in_doubt": 1}


def test_a_kind_that_must_not_be_repeated_stays_in_doubt(database, monkeypatch):
    monkeypatch.setattr(claims, "repeatable_kinds", list)
    cycle = plan_notices(1)
    answer(claim(cycle), "in_doubt")
    assert claim(cycle, doubt_horizon=timedelta(seconds=-1)) == []


def test_planned_notices_past_their_day_are_cancelled(database):
    cycle = plan_notices(1, send_until=clock.now() - timedelta(minutes=1))
    plan_notices(1, first=10)
    with begin() as connection:
        assert claims.cancel_late(connection, cycle) == 1
    assert states(cycle) == {"cancelled": 1, "planned": 1}


def test_a_refused_release_cancels_what_is_planned_and_nothing_else(database):
    cycle = plan_notices(3)
    answer(claim(cycle, most=1), "accepted")
    with begin() as connection:
        assert claims.cancel_planned(connection, cycle, reason="refused_by_person") == 2
    assert states(cycle) == {"accepted": 1, "cancelled": 2}
    assert claim(cycle) == []


def test_a_claim_tells_nobody_the_number_or_the_text(database):
    cycle = plan_notices(1)
    (held,) = claim(cycle)
    assert "216200" not in repr(held)
    assert "Montant" not in repr(held)


def test_a_doubt_is_not_sent_again_once_a_correction_is_planned(database):
    cycle = plan_notices(1)
    answer(claim(cycle), "in_doubt")
    run_sql(
        "INSERT INTO notice (kind, subject, sequence, cycle_id, extract_id, subscription_id, phone, "
        "language, text, encoding, segments, priority, send_from, send_until, validity_minutes) "
        "SELECT 'bill_correction', subject, 2, "
        "cycle_id, 2, 1, phone, 'fr', text, 'gsm7', 1, 50, send_from, send_until, 60 FROM notice"
    )
    claimed = claim(cycle, doubt_horizon=timedelta(seconds=-1))
    assert [c.message.attempt for c in claimed] == [1]  # the correction, not the doubtful bill
    assert claim(cycle, doubt_horizon=timedelta(seconds=-1)) == []
    with connect() as connection:
        assert sending_outlook(connection, cycle).wait is Wait.OTHERS  # and nobody waits for the doubt
