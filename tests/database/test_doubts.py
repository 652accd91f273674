"""Messages in doubt: what becomes of each, and a person's decision, which no receipt and no sender loses."""

from __future__ import annotations

from datetime import timedelta
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.notices.states import DECIDED, TRANSITIONS, Decision, State
from fatoura.sending.doubts import (
    Next,
    Which,
    Why,
    checked_reason,
    chosen_doubts,
    count_doubts,
    list_doubts,
    resolve,
    summed,
)
from tests.doubts import GATEWAY, HORIZON, age, answer, claim, correct, decisions, doubt, receipt, register
from tests.notices import ids, notices, plan_notices, run_sql, states

REASON = "the provider's log of 2026-05-20 shows it"


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


def doubts(**which: Any) -> list[Any]:
    with connect() as connection:
        return list_doubts(connection, Which(**which), most=10_000)


def decide(those: Any, decision: Decision, **changed: Any) -> Any:
    asked = those if isinstance(those, dict) else dict.fromkeys(those)
    with begin() as connection:
        return resolve(connection, asked, decision, **{"reason": REASON, "by": "amel", **changed})


# --- What becomes of a doubt -----------------------------------------------------------------------------


def test_a_bill_in_doubt_goes_out_once_more_after_the_horizon():
    doubt()
    [one] = doubts()
    assert (one.next, one.why) == (Next.RESEND, Why.HARMLESS)
    assert one.due == one.since + HORIZON
    assert (one.kind, one.subject, one.cycle, one.gateway) == ("bill", "2026-05-T1-0", "2026-05-T1", GATEWAY)
    assert (one.attempt, one.answer) == (1, "no answer in 30 s")


def test_its_number_is_masked():
    doubt()
    [one] = doubts()
    assert one.phone == "+216 ** *** 000"
    assert "20000000" not in repr(one)
    run_sql("UPDATE notice SET phone = NULL")
    assert doubts()[0].phone is None


@pytest.mark.parametrize(("hours", "next_"), [(1, Next.WAIT), (7, Next.LISTED)])
def test_a_kind_that_gives_up_waits_for_the_horizon_and_is_on_the_list_from_then_on(hours, next_):
    doubt(kind="warning", hours=hours)
    [one] = doubts()
    assert (one.next, one.why) == (next_, Why.GIVES_UP)
    assert one.due == (one.since + HORIZON if next_ is Next.WAIT else None)


def test_what_went_out_twice_is_on_the_list():
    cycle = doubt(hours=7)
    [again] = claim(cycle)
    answer([again], "in_doubt")
    age([again.message.id], 7)
    [one] = doubts()
    assert (one.attempt, one.next, one.why) == (2, Next.LISTED, Why.REPEATED)
    assert claim(cycle) == []


def test_an_attempt_that_was_proven_not_taken_is_no_copy():
    """After it the message is as it was: in doubt once, it goes out once more; refused, it is planned."""
    cycle = doubt()
    decide(ids(cycle), Decision.NOT_ACCEPTED)
    answer(claim(cycle), "refused")
    assert states(cycle) == {"planned": 1}
    answer(claim(cycle), "in_doubt")
    [one] = doubts()
    assert (one.attempt, one.next, one.why) == (3, Next.RESEND, Why.HARMLESS)
    age(ids(cycle), 7)
    [again] = claim(cycle)
    assert again.message.attempt == 4


def test_a_refused_repeat_leaves_the_doubt_with_what_was_seen_of_it():
    cycle = doubt(hours=7)
    with begin() as connection:
        connection.execute(text("UPDATE attempt SET answer = 'no answer at all'"))
    answer(claim(cycle), "refused")
    [one] = doubts()
    assert (one.attempt, one.answer, one.next) == (2, "no answer at all", Next.RESEND)
    done = decide({one.id: one.attempt}, Decision.ACCEPTED)
    assert done.resolved == (one.id,)


def test_what_is_replaced_or_too_late_is_on_the_list():
    doubt(2, hours=7)
    run_sql("UPDATE notice SET send_until = :now WHERE subject LIKE '%-1'", now=clock.now())
    correct("0")
    assert {(one.subject[-1], one.next, one.why) for one in doubts()} == {
        ("0", Next.LISTED, Why.REPLACED),
        ("1", Next.LISTED, Why.TOO_LATE),
    }


def test_what_can_go_out_again_only_after_its_time_is_not_promised_to():
    cycle = doubt(send_until=clock.now() + timedelta(hours=3))
    [one] = doubts()
    assert (one.next, one.why) == (Next.WAIT, Why.TOO_LATE)
    age(ids(cycle), 7)
    run_sql("UPDATE notice SET send_until = submitted_at + interval '3 hours'")
    assert doubts()[0].next is Next.LISTED


@pytest.mark.parametrize("kind", ["bill", "warning"])
def test_where_the_provider_recognises_a_repeat_it_goes_out_again_at_once(kind):
    register(idempotency=True, client_reference=True, status_query=False)
    doubt(kind=kind)
    [one] = doubts()
    assert (one.next, one.why, one.due) == (Next.RESEND, Why.RECOGNISED, None)
    run_sql("UPDATE gateway SET in_use = false")
    assert doubts()[0].why is not Why.RECOGNISED


def test_what_the_list_promises_is_what_senders_do():
    """All doubts beside each other: those that are to be sent again are those that a sender claims."""
    cycle = doubt(1, hours=7)
    doubt(1, hours=1, first=10)
    doubt(1, hours=7, first=20, kind="warning")
    doubt(1, hours=7, first=30, gateway="of_before")
    promised = {one.id for one in doubts(next=Next.RESEND) if one.due and one.due <= clock.now()}
    assert len(promised) == 2
    assert {one.message.id for one in claim(cycle)} == promised


def test_by_what_a_doubt_can_be_settled_follows_from_what_the_provider_can_do():
    doubt()
    assert (doubts()[0].by_receipt, doubts()[0].by_asking) == (None, False)
    register(client_reference=True, status_query=True)
    assert (doubts()[0].by_receipt, doubts()[0].by_asking) == (True, False)
    run_sql("""UPDATE gateway SET capabilities = '{"client_reference": false, "status_query": true}'""")
    assert (doubts()[0].by_receipt, doubts()[0].by_asking) == (False, False)
    run_sql("UPDATE attempt SET provider_id = '0017'")
    assert (doubts()[0].by_receipt, doubts()[0].by_asking) == (True, True)


def test_the_oldest_come_first_page_by_page():
    doubt(3)
    doubt(2, first=10, hours=2)
    listed = doubts()
    assert [one.since for one in listed] == sorted(one.since for one in listed)
    with connect() as connection:
        pages = [list_doubts(connection, most=2, skip=skip) for skip in (0, 2, 4)]
    assert [one for page in pages for one in page] == listed


def test_a_choice_takes_in_what_it_names():
    cycle = doubt(1, hours=7)
    doubt(1, first=10, hours=1)
    doubt(1, first=20, kind="warning", hours=7)
    doubt(1, first=30, gateway="of_before", cycle="2026-05-T2")
    assert len(doubts()) == 4
    assert len(doubts(gateway="of_before")) == 1
    assert len(doubts(kind="warning")) == 1
    assert len(doubts(next=Next.RESEND)) == 3
    assert len(doubts(before=clock.now() - timedelta(hours=2))) == 2
    assert len(doubts(cycle_id=cycle)) == 3
    assert len(doubts(gateway="of_before", kind="warning")) == 0
    with connect() as connection:
        chosen = chosen_doubts(connection, Which(kind="warning"))
    assert chosen == {doubts(kind="warning")[0].id: 1}


def test_counts_add_up_to_the_list():
    doubt(3, hours=7, kind="warning")
    doubt(2, first=10)
    with connect() as connection:
        counted = count_doubts(connection)
    assert [(c.gateway, c.kind, c.next, c.why, c.notices) for c in counted] == [
        (GATEWAY, "bill", Next.RESEND, Why.HARMLESS, 2),
        (GATEWAY, "warning", Next.LISTED, Why.GIVES_UP, 3),
    ]
    assert counted[1].oldest == min(one.since for one in doubts(kind="warning"))
    assert summed(counted) == {Next.RESEND: 2, Next.LISTED: 3}


def test_what_is_not_in_doubt_is_not_on_the_list():
    cycle = plan_notices(2)
    answer(claim(cycle), "accepted")
    assert doubts() == []


# --- A person's decision ---------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", Decision)
def test_the_state_machine_allows_what_is_decided(decision):
    assert DECIDED[decision] in TRANSITIONS[State.IN_DOUBT]


@pytest.mark.parametrize(
    ("decision", "state"),
    [
        (Decision.ACCEPTED, "accepted"),
        (Decision.NOT_ACCEPTED, "planned"),
        (Decision.UNDELIVERABLE, "undeliverable"),
    ],
)
def test_a_decision_moves_the_notice_and_is_recorded_with_who_and_why(decision, state):
    cycle = doubt(2)
    one, other = ids(cycle)
    done = decide([one], decision)
    assert (done.resolved, done.unresolved, done.cancelled) == ((one,), (), 0)
    assert states(cycle) == {state: 1, "in_doubt": 1}
    [kept] = decisions()
    assert (kept.notice_id, kept.attempt, kept.decided_by) == (one, 1, "amel")
    assert (kept.decision, kept.reason) == (decision, REASON)
    assert kept.decided_at == notices(cycle, "id, state_since")[0].state_since
    assert other in {left.id for left in doubts()}
    with connect() as connection:  # what was seen of the attempt stays as it was seen
        assert set(connection.scalars(text("SELECT outcome FROM attempt"))) == {"in_doubt"}


def test_what_was_proven_not_taken_goes_out_again_in_its_cycle():
    cycle = doubt()
    done = decide(ids(cycle), Decision.NOT_ACCEPTED)
    assert done.cycles == {"2026-05-T1": "billing_cycle"}
    [again] = claim(cycle)
    assert again.message.attempt == 2
    answer([again], "in_doubt")
    decide(ids(cycle), Decision.NOT_ACCEPTED)
    assert [kept.attempt for kept in decisions()] == [1, 2]


def test_what_was_not_taken_and_is_too_late_or_replaced_goes_out_no_more():
    cycle = doubt(3)
    run_sql("UPDATE notice SET send_until = :now WHERE subject LIKE '%-1'", now=clock.now())
    correct("2")
    done = decide(ids(cycle), Decision.NOT_ACCEPTED)
    assert (len(done.resolved), done.cancelled, done.cycles) == (3, 2, {"2026-05-T1": "billing_cycle"})
    told = [(one.state, one.reason, one.final_at is None) for one in notices(cycle)]
    assert told == [
        ("planned", None, True),
        ("cancelled", "too_late", False),
        ("cancelled", "replaced", False),
    ]


def test_what_is_taken_for_undeliverable_is_final_and_says_that_a_person_did_it():
    cycle = doubt()
    decide(ids(cycle), Decision.UNDELIVERABLE)
    [one] = notices(cycle)
    assert (one.reason, one.final_at) == ("decided_by_hand", one.state_since)
    receipt(one.id, "delivered")
    assert states(cycle) == {"undeliverable": 1}
    assert matches() == ["contradicted"]  # it is kept, and seen


def test_a_receipt_settles_what_a_person_took_for_accepted():
    cycle = doubt()
    decide(ids(cycle), Decision.ACCEPTED)
    receipt(ids(cycle)[0], "delivered")
    assert states(cycle) == {"delivered": 1}


def test_a_receipt_overrules_the_word_that_nothing_was_taken():
    cycle = doubt()
    decide(ids(cycle), Decision.NOT_ACCEPTED)
    receipt(ids(cycle)[0], "delivered")
    assert states(cycle) == {"delivered": 1}
    assert claim(cycle) == []


def matches() -> list[str]:
    with connect() as connection:
        return list(connection.scalars(text("SELECT match FROM receipt ORDER BY id")))


def test_what_could_not_be_resolved_is_named_with_its_reason():
    cycle = doubt(5)
    doubtful, delivered, sending, planned, gone = ids(cycle)
    receipt(delivered, "delivered")
    run_sql("UPDATE notice SET state = 'sending', attempts = 2 WHERE id = :id", id=sending)
    run_sql("UPDATE notice SET state = 'planned' WHERE id = :id", id=planned)
    run_sql("UPDATE notice SET attempts = 2 WHERE id = :id", id=gone)
    lost = uuid4()
    asked = dict.fromkeys([doubtful, delivered, sending, planned, gone, lost], 1)
    done = decide(asked, Decision.ACCEPTED)
    assert done.resolved == (doubtful,)
    assert {one.id: one.why for one in done.unresolved} == {
        delivered: "it is delivered already",
        sending: "it is being sent again, as attempt 2",
        planned: "it is planned, and not in doubt",
        gone: "it has gone out again since: attempt 2 is in doubt now, not attempt 1",
        lost: "there is no such notice",
    }
    assert [kept.notice_id for kept in decisions()] == [doubtful]


def test_deciding_twice_changes_nothing():
    cycle = doubt()
    decide(ids(cycle), Decision.UNDELIVERABLE)
    again = decide(ids(cycle), Decision.ACCEPTED)
    assert again.resolved == ()
    assert [one.why for one in again.unresolved] == ["it is undeliverable already"]
    assert [kept.decision for kept in decisions()] == ["undeliverable"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE doubt_decision SET reason = 'another one'",
        "DELETE FROM doubt_decision",
        "TRUNCATE doubt_decision",
    ],
)
def test_a_decision_is_never_changed_or_removed(statement):
    decide(ids(doubt()), Decision.ACCEPTED)
    with pytest.raises(IntegrityError, match="never changed"):
        run_sql(statement)
    assert len(decisions()) == 1


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("", "in a few words"),
        ("  \n ok ", "in a few words"),
        ("x" * 501, "longer than 500"),
        ("the customer at 20 000 001 says so", "phone number"),
        ("asked +216\u200e20000001 by phone", "phone number"),
    ],
)
def test_a_reason_is_asked_for_and_holds_no_number(reason, said):
    cycle = doubt()
    with pytest.raises(BadInput, match=said) as refused:
        decide(ids(cycle), Decision.ACCEPTED, reason=reason)
    assert "000001" not in str(refused.value)
    assert states(cycle) == {"in_doubt": 1}


def test_a_reason_is_kept_in_one_line():
    assert checked_reason(" seen in\n the\0 log of 2026-05-20 ") == "seen in the log of 2026-05-20"


@pytest.mark.parametrize("by", ["", " \n", "x" * 201])
def test_who_decides_has_a_name(by):
    with pytest.raises(BadInput, match="who decides"):
        decide(ids(doubt()), Decision.ACCEPTED, by=by)


# --- Races -----------------------------------------------------------------------------------------------


def beside(work: Any) -> Thread:
    thread = Thread(target=work)
    thread.start()
    return thread


def test_a_receipt_that_comes_at_the_same_moment_waits_and_then_counts():
    cycle = doubt()
    [one] = ids(cycle)
    with begin() as connection:
        done = resolve(connection, {one: 1}, Decision.ACCEPTED, reason=REASON, by="amel")
        waiting = beside(lambda: receipt(one, "delivered"))
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(10)
    assert done.resolved == (one,)
    assert states(cycle) == {"delivered": 1}


def test_a_receipt_that_was_a_moment_faster_wins():
    cycle = doubt()
    [one] = ids(cycle)
    held, go = Event(), Event()

    def settle() -> None:
        with begin() as connection:
            connection.execute(text("UPDATE notice SET state = 'delivered' WHERE id = :id"), {"id": one})
            held.set()
            go.wait(10)

    receiver = beside(settle)
    held.wait(10)
    told: list[Any] = []
    person = beside(lambda: told.append(decide([one], Decision.NOT_ACCEPTED)))
    person.join(0.3)
    assert person.is_alive()
    go.set()
    receiver.join(10)
    person.join(10)
    assert [(r.resolved, r.unresolved[0].why) for r in told] == [((), "it is delivered already")]
    assert states(cycle) == {"delivered": 1}
    assert decisions() == []


def test_a_sender_passes_by_what_is_being_decided():
    cycle = doubt(hours=7)
    with begin() as connection:
        resolve(connection, {ids(cycle)[0]: 1}, Decision.UNDELIVERABLE, reason=REASON, by="amel")
        assert claim(cycle) == []
    assert claim(cycle) == []
    assert states(cycle) == {"undeliverable": 1}


def test_a_repeat_that_was_a_moment_faster_is_not_decided_on():
    cycle = doubt(hours=7)
    [looked_at] = doubts()
    [again] = claim(cycle)
    done = decide({looked_at.id: looked_at.attempt}, Decision.NOT_ACCEPTED)
    assert [one.why for one in done.unresolved] == ["it is being sent again, as attempt 2"]
    answer([again], "in_doubt")
    done = decide({looked_at.id: looked_at.attempt}, Decision.NOT_ACCEPTED)
    assert "attempt 2 is in doubt now, not attempt 1" in done.unresolved[0].why
    assert states(cycle) == {"in_doubt": 1}


def test_two_persons_who_decide_at_once_are_told_apart_and_never_block_each_other_for_good():
    cycle = doubt(200)
    those = ids(cycle)
    told: list[Any] = []
    persons = [
        beside(lambda order=order, what=what: told.append(decide(those[::order], what)))
        for order, what in ((1, Decision.ACCEPTED), (-1, Decision.UNDELIVERABLE))
    ]
    for person in persons:
        person.join(20)
    assert sorted(len(one.resolved) for one in told) == [0, 200]
    assert len(states(cycle)) == 1
    assert len(decisions()) == 200
