"""What `make chaos` draws: the same again from the same seed, and every fault in its turn."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.dice import HANDED_OVER, RECEIPT_FAULTS, REQUEST_FAULTS, Dice
from tests.chaos.scenario import (
    AIRFLOW_STRIKES,
    RECEIPT_SHARES,
    REQUEST_SHARES,
    STRIKES,
    draw_airflow_scenario,
    draw_scenario,
)


def test_the_same_seed_draws_the_same_round_and_another_one_another():
    assert draw_scenario(Dice(7, 3)) == draw_scenario(Dice(7, 3))
    assert draw_scenario(Dice(7, 3)) != draw_scenario(Dice(8, 3))
    assert draw_airflow_scenario(Dice(7, 3), "one") == draw_airflow_scenario(Dice(7, 3), "one")


def test_what_a_message_gets_depends_on_nothing_but_seed_round_message_and_attempt():
    dice = Dice(7, 0)
    first = [dice.pick(REQUEST_SHARES, "request", number, 1) for number in range(1000)]
    backwards = [dice.pick(REQUEST_SHARES, "request", number, 1) for number in reversed(range(1000))]
    assert first == backwards[::-1]
    assert first != [dice.pick(REQUEST_SHARES, "request", number, 2) for number in range(1000)]


def test_every_fault_between_sender_and_gateway_is_drawn_about_as_often_as_it_says():
    dice = Dice(7, 0)
    drawn = Counter(dice.pick(REQUEST_SHARES, "request", number, 1) for number in range(20_000))
    assert set(drawn) - {None} == set(REQUEST_SHARES) == set(REQUEST_FAULTS)
    for fault, share in REQUEST_SHARES.items():
        assert drawn[fault] == pytest.approx(20_000 * share, rel=0.25)
    assert set(REQUEST_FAULTS) >= HANDED_OVER
    assert set(RECEIPT_SHARES) == set(RECEIPT_FAULTS)


def test_a_dozen_rounds_strike_everything_that_there_is():
    struck = {strike.what for number in range(12) for strike in draw_scenario(Dice(1, number)).strikes}
    assert struck == set(STRIKES)


def test_four_rounds_strike_all_of_airflow():
    drawn = [draw_airflow_scenario(Dice(1, number), "one").strikes for number in range(4)]
    assert {strike.what for strikes in drawn for strike in strikes} == set(AIRFLOW_STRIKES)
    assert all(0 < strike.at < 0.95 for strikes in drawn for strike in strikes)


def test_without_kannel_the_sandbox_takes_its_place():
    for number in range(12):
        assert set(draw_scenario(Dice(1, number), kannel=False).gateways) <= {"sandbox", "sandbox-2"}


def test_ids_of_notices_are_uuids_of_version_7_in_the_order_of_planning():
    ids = [Dice(7, 3).notice_id(number) for number in range(100)]
    assert ids == sorted(ids)
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
