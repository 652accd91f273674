"""The machine of a case goes forward only; each reason leads to one state, and a letter is never a cut."""

import pytest

from fatoura.cutoff.reasons import LETTERS, SETTLED, Reason, state_of
from fatoura.cutoff.rules import Fact
from fatoura.cutoff.states import CLOSED, OPEN, TRANSITIONS, CaseState, may_move


def ways(state: CaseState, way: tuple[CaseState, ...] = ()) -> list[tuple[CaseState, ...]]:
    """Give every way on from a state; one that never ends would never return."""
    assert state not in way, "a case went back"
    here = (*way, state)
    return [here] + [found for after in TRANSITIONS[state] for found in ways(after, here)]


WAYS = ways(CaseState.SCHEDULED)


def test_no_way_leads_back_and_every_state_is_reached():
    assert {way[-1] for way in WAYS} == set(CaseState)


def test_what_is_closed_stays_closed_and_all_else_can_be_closed():
    assert set(CaseState) == CLOSED | OPEN
    assert not CLOSED & OPEN
    for state in CLOSED:
        assert not any(may_move(state, after) for after in CaseState)
    for state in OPEN:
        assert all(may_move(state, after) for after in CLOSED)


def test_nobody_is_handed_over_without_a_delivered_warning():
    for way in WAYS:
        if way[-1] is CaseState.HANDED_OVER:
            assert CaseState.WARNED in way
            assert CaseState.NOT_WARNED not in way


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_leads_to_a_state_that_an_open_case_before_the_cut_may_take(reason):
    state = state_of(reason)
    assert may_move(CaseState.SCHEDULED, state)
    assert may_move(CaseState.WARNED, state)
    assert (state is CaseState.NOT_WARNED) == (reason in LETTERS)


def test_a_letter_does_not_settle_and_a_payment_asks_for_no_letter():
    assert not LETTERS & SETTLED
    assert [reason for reason in Reason if state_of(reason) is CaseState.PAID] == [Reason.PAID]


def test_each_fact_is_a_reason():
    assert {fact.value for fact in Fact} <= {reason.value for reason in Reason}
