"""Each rule of an answer's row, told by field and code; and the words and ids of fees."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fatoura.errors import BadInput
from fatoura.feeds.records import Record
from fatoura.fees import words
from fatoura.fees.books import charge_number
from fatoura.fees.findings import FINDINGS
from fatoura.fees.records import TYPED, row_check
from fatoura.fees.states import FIRST, LAPSES, OPEN, OWED, TRANSITIONS, Account, ChargeState, may_move

GOOD = {
    "charge_id": "F12",
    "result": "paid",
    "amount_millimes": "1000",
    "at": "2026-07-05T10:00:00+01:00",
    "reason": "",
}


@pytest.fixture
def checked(configure):
    configure(now="2026-07-05T12:00:00+01:00")
    check = row_check(None)

    def run(row: dict[str, str], flaw: str | None = None):
        return check(Record(1, "fee_results.csv", 1, row, flaw))

    return run


def test_a_good_answer_is_read(checked):
    assert dict(zip(TYPED, checked(GOOD), strict=True)) == {
        "charge_id": "F12",
        "result": "paid",
        "amount_millimes": 1_000,
        "at": datetime(2026, 7, 5, 9, tzinfo=UTC),
        "reason": None,
    }


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"charge_id": "12"}, "charge_id: form"),
        ({"charge_id": "F0"}, "charge_id: form"),
        ({"charge_id": "F" + "9" * 19}, "charge_id: form"),
        ({"result": "lost"}, "result: unknown"),
        ({"amount_millimes": "1,000"}, "amount_millimes: not_an_integer"),
        ({"amount_millimes": "0"}, "amount_millimes: not_positive"),
        ({"amount_millimes": "1000000000"}, "amount_millimes: out_of_bounds"),
        ({"at": "2026-07-05"}, "at: not_a_time"),
        ({"at": "2026-07-05T10:00:00"}, "at: no_offset"),
        ({"at": "2026-07-07T10:00:00+01:00"}, "at: in_the_future"),
        ({"at": "1999-07-07T10:00:00+01:00"}, "at: out_of_bounds"),
        ({"reason": "x" * 201}, "reason: too_long"),
        ({"reason": "call 20 123 456"}, "reason: holds_a_phone_number"),
    ],
)
def test_each_rule_has_its_code(checked, change, flaw):
    assert list(map(str, checked(GOOD | change))) == [flaw]


def test_a_row_that_came_broken_is_not_read(checked):
    assert list(map(str, checked({}, "not_csv"))) == ["row: not_csv"]


def test_a_charge_is_named_by_its_mark_and_number():
    assert charge_number(" f12 ") == 12
    for wrong in ("12", "F", "F-1", "F0"):
        with pytest.raises(BadInput):
            charge_number(wrong)


def test_every_state_account_and_finding_has_words():
    assert set(words.STATES) == set(ChargeState) == set(TRANSITIONS)
    assert set(words.ACCOUNTS) == set(Account)
    assert all(FINDINGS.values())


def test_charges_go_forward_only():
    order = list(ChargeState)
    assert all(order.index(old) < order.index(new) for old in order for new in order if may_move(old, new))
    assert set(order) >= FIRST
    assert LAPSES <= OWED
    assert ChargeState.REJECTED not in OPEN
