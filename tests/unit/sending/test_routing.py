"""Shares of gateways: rules that hold for every choice of weights and every state of health."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.sending.routing import BUCKETS, WHOLE, Standing, shares, stretches

WEIGHTS = st.sampled_from([0, 0.5, 1, 20, 33, 50, 100, 999_999])
HEALTHS = st.sampled_from([0, 0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1])


@st.composite
def gateways(draw, fewest: int = 1):
    standings = draw(st.lists(st.tuples(WEIGHTS, HEALTHS), min_size=fewest, max_size=5))
    return [
        Standing(f"gateway_{position}", position, weight, health)
        for position, (weight, health) in enumerate(standings)
    ]


def one(name: str, position: int, weight: float, health: float = 1) -> Standing:
    return Standing(name, position, weight, health)


@given(gateways())
def test_shares_add_up_to_one_and_none_is_negative(those):
    told = shares(those)
    assert told.keys() == {standing.name for standing in those}
    assert sum(told.values()) == pytest.approx(1)
    assert min(told.values()) >= -1e-9


@given(gateways())
def test_the_stretches_cover_all_numbers_once(those):
    told = sorted(stretches(those).values(), key=lambda stretch: (stretch.low, stretch.high))
    assert (told[0].low, told[-1].high) == (0, BUCKETS)
    assert all(before.high == after.low for before, after in pairwise(told))


@given(gateways())
def test_a_stretch_is_as_long_as_its_share(those):
    told = shares(those)
    for name, stretch in stretches(those).items():
        assert stretch.high - stretch.low == pytest.approx(told[name] * BUCKETS, abs=1)


@given(gateways(), st.randoms())
def test_the_order_in_which_they_are_read_changes_nothing(those, random):
    shuffled = random.sample(those, len(those))
    assert stretches(shuffled) == stretches(those)


@given(gateways(fewest=2), st.integers(0, 4), HEALTHS)
def test_who_falls_ill_gets_no_more_and_nobody_else_gets_less(those, which, health):
    which %= len(those)
    before = shares(those)
    if health > those[which].health:
        return
    after = shares([replace(s, health=health) if i == which else s for i, s in enumerate(those)])
    for position, standing in enumerate(those):
        change = after[standing.name] - before[standing.name]
        assert change <= 1e-9 if position == which else change >= -1e-9


@given(gateways(fewest=2), st.integers(0, 4), WEIGHTS)
def test_who_is_given_more_weight_gets_no_less(those, which, weight):
    which %= len(those)
    if sum(standing.weight for standing in those) == 0 or weight < those[which].weight:
        return
    before = shares(those)
    after = shares([replace(s, weight=weight) if i == which else s for i, s in enumerate(those)])
    name = those[which].name
    assert after[name] >= before[name] - 1e-9


@given(gateways())
def test_the_healthy_get_at_least_what_was_declared(those):
    told, total = shares(those), sum(standing.weight for standing in those)
    for standing in those:
        if standing.health == 1 and total:
            assert told[standing.name] >= standing.weight / total - 1e-9


@given(gateways())
def test_nobody_with_a_weight_and_some_health_starves(those):
    told, total = stretches(those), sum(standing.weight for standing in those)
    for standing in those:
        if standing.health >= 0.02 and total and standing.weight / total >= 0.01:
            assert not told[standing.name].is_empty


def test_one_gateway_gets_all_whatever_its_health_and_weight():
    for weight, health in ((100, 1), (0, 1), (100, 0.02), (0, 0)):
        assert stretches([one("a", 0, weight, health)]) == {"a": WHOLE}


def test_shares_are_as_declared_while_all_is_well():
    assert shares([one("a", 0, 70), one("b", 1, 30)]) == pytest.approx({"a": 0.7, "b": 0.3})


def test_a_fall_back_gets_what_the_first_cannot_take_and_gives_it_back():
    told = [shares([one("a", 0, 100, health), one("b", 1, 0)])["b"] for health in (1, 0.8, 0.4, 0.02, 0.4, 1)]
    assert told == pytest.approx([0, 0.2, 0.6, 0.98, 0.6, 0])


def test_what_one_cannot_take_goes_to_the_first_healthy_one_in_the_order_of_fall_back():
    ill = [one("a", 0, 100, 0.2), one("b", 1, 0, 0.5), one("c", 2, 0), one("d", 3, 0)]
    assert shares(ill) == pytest.approx({"a": 0.2, "b": 0, "c": 0.8, "d": 0})


def test_where_nobody_is_well_the_healthiest_gets_it():
    assert shares([one("a", 0, 100, 0.2), one("b", 1, 0, 0.6)]) == pytest.approx({"a": 0.2, "b": 0.8})


def test_without_gateways_there_are_no_shares():
    assert (shares([]), stretches([])) == ({}, {})
