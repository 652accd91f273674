"""Reserving the gateway's time: stretches never overlap, cycles take turns, urgent ones come first."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from fatoura.database import begin
from fatoura.sending import routing
from fatoura.sending.pace import Reservation, reserve
from tests.notices import register_gateway, run_sql

GATEWAY = "fatoura_sms"
ONE, OTHER = 1, 2


@pytest.fixture(autouse=True)
def _gateway(database, configure):
    configure(segments_per_second=100)
    register_gateway(GATEWAY)


def stretch(cycle: int = ONE, segments: int = 10, *, urgent: bool = False) -> Reservation:
    return reserve(GATEWAY, cycle, segments, urgent=urgent)


def patiently(cycle: int, segments: int) -> Reservation:
    while not (told := stretch(cycle, segments)).taken:
        time.sleep(max(told.at - told.now, 0.001))
    return told


def test_stretches_of_many_senders_never_overlap():
    def work(cycle: int) -> list[tuple[float, float]]:
        mine = [patiently(cycle, segments) for segments in (3, 1, 7, 2, 5)]
        return [(told.at, told.at + n * told.step) for told, n in zip(mine, (3, 1, 7, 2, 5), strict=True)]

    with ThreadPoolExecutor(6) as senders:
        stretches = sorted(one for each in senders.map(work, range(6)) for one in each)
    assert len(stretches) == 30
    for (_, end), (begins, _) in pairwise(stretches):
        assert begins >= end - 1e-4


def test_time_that_nobody_reserved_is_not_made_up_for():
    first = stretch()
    time.sleep(0.3)
    later = stretch()
    assert first.taken
    assert later.taken
    assert later.at >= first.at + 0.3
    assert later.at - later.now < 0.05


def test_a_cycle_reserves_its_next_stretch_when_its_last_has_begun():
    now, after = stretch(segments=20), stretch(OTHER)
    assert now.taken
    assert after.taken
    again = stretch(OTHER)
    assert not again.taken
    assert again.at == pytest.approx(after.at, abs=1e-4)
    third = stretch()
    assert third.taken
    assert third.at == pytest.approx(after.at + 10 * after.step, abs=1e-3)
    assert not stretch().taken


def test_ordinary_messages_wait_while_urgent_ones_are_under_way():
    urgent = stretch(OTHER, urgent=True)
    assert urgent.taken
    refused = stretch()
    assert not refused.taken
    assert refused.at > urgent.at + 10 * urgent.step
    assert stretch(3, urgent=True).taken
    time.sleep(0.5)
    assert stretch().taken


def test_the_limit_is_the_operators_or_the_settings_and_is_read_each_time():
    assert stretch().rate == 100
    with begin() as connection:
        routing.adjust(connection, GATEWAY, rate=400)
    changed = stretch(OTHER, segments=40)
    assert changed.rate == 400
    assert 40 * changed.step == pytest.approx(0.1, rel=0.05)
    with begin() as connection:
        routing.adjust(connection, GATEWAY, rate=0)
    assert stretch(3).rate == 100


def test_a_database_whose_clock_was_set_back_makes_nobody_wait():
    assert stretch().taken
    run_sql(
        "UPDATE gateway SET next_free = now() + interval '1 hour', "
        "turns = jsonb_build_object('1', extract(epoch FROM now()) + 3600)"
    )
    told = stretch()
    assert told.taken
    assert told.at - told.now < 0.05


def test_cycles_that_are_over_are_forgotten():
    run_sql("UPDATE gateway SET turns = jsonb_build_object('77', extract(epoch FROM now()) - 120)")
    stretch()
    assert list(run_sql("SELECT turns FROM gateway").scalar()) == ["1"]
