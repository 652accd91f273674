"""The rate, as it is measured at the gateway: real sender processes, and a sink that notes each arrival.

That no second holds more than the contract allows is a promise, and holds on a busy machine too. How
much of the limit is used depends on the machine: here it is asserted loosely, and measured by
``python -m tests.pace``.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.pace import scenes

if TYPE_CHECKING:
    from tests.pace.scenes import Rate

pytestmark = pytest.mark.usefixtures("database")

MORNING = datetime.fromisoformat("2026-05-20T10:00:00+01:00")


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(now=f"{MORNING.timestamp() - time.time():+.0f}")  # the same in all processes
    assert os.environ["FATOURA_DATABASE_URL"] == database


def assert_kept(rate: Rate) -> None:
    assert rate.busiest <= 1.05 * rate.limit, rate
    assert rate.used >= 0.7 * rate.limit, rate


@pytest.mark.parametrize(("processes", "limit", "segments"), [(1, 10, 1), (4, 100, 2), (2, 600, 1)])
def test_no_second_at_the_gateway_holds_more_than_the_limit(tmp_path, processes, limit, segments):
    assert_kept(scenes.steady(tmp_path, processes=processes, limit=limit, segments=segments, seconds=4))


def test_a_changed_limit_is_kept_as_soon_as_it_is_taken_up(tmp_path):
    for rate in scenes.changed_limit(tmp_path, limits=(200, 40, 300), seconds=2):
        assert_kept(rate)


def test_the_limit_holds_while_processes_come_are_killed_and_end(tmp_path):
    assert_kept(scenes.coming_and_going(tmp_path))


def test_two_cycles_share_fairly_however_many_senders_each_has_and_whoever_came_first(tmp_path):
    shared = scenes.two_cycles(tmp_path, lanes=(3, 1), late=2, seconds=7)
    assert 0.4 <= shared.least <= shared.most <= 0.6
    assert_kept(shared.rate)


def test_an_urgent_cycle_passes_an_ordinary_one_that_is_being_sent(tmp_path):
    passing = scenes.urgent_cycle(tmp_path, urgent=150)
    assert passing.urgent == 150
    assert passing.ordinary <= 0.1 * passing.urgent  # only stretches that were reserved before
    assert passing.last - passing.first <= 1.5 * passing.urgent / passing.rate.limit
    assert passing.resumed < 2
    assert passing.rate.busiest <= 1.05 * passing.rate.limit


def test_urgent_notices_of_the_same_cycle_pass_what_its_senders_hold(tmp_path):
    passing = scenes.urgent_in_the_same_cycle(tmp_path)
    assert passing.urgent == 100
    assert passing.first < 3
    assert passing.last < 3 + 1.5 * passing.urgent / passing.rate.limit
    assert passing.rate.busiest <= 1.05 * passing.rate.limit
