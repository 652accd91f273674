"""Parked receipts are looked at soon and cheaply: fresh ones each second, all each minute."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from fatoura.receipts.matching import PARKED_FOR
from fatoura.receipts.parking import Parking

FRESH = timedelta(minutes=1)


@pytest.fixture
def at(monkeypatch):
    def set_clock(seconds: float) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: 5000 + seconds)

    set_clock(0)
    return set_clock


def test_the_first_look_is_at_all_that_an_earlier_receiver_left():
    assert Parking().due() == PARKED_FOR


def test_while_nothing_is_parked_there_is_one_look_a_minute(at):
    parking = Parking()
    parking.due()
    assert parking.seconds_left() == 60
    at(59)
    assert parking.due() is None
    at(60)
    assert parking.due() == PARKED_FOR


def test_what_was_just_parked_is_looked_for_every_second_for_a_minute(at):
    parking = Parking()
    parking.due()
    at(10)
    parking.came()
    looks = []
    for tenth in range(100, 800):
        at(tenth / 10)
        looks.append(parking.due())
    assert looks.count(FRESH) == pytest.approx(60, abs=1)
    assert looks.count(PARKED_FOR) == 1


def test_however_often_it_is_woken_it_looks_no_more_than_once_a_second(at):
    parking = Parking()
    parking.due()
    for thousandth in range(5000):
        at(thousandth / 1000)
        parking.came()
        parking.due()
    at(4.5)
    assert parking.seconds_left() == pytest.approx(0.5, abs=0.51)
    assert parking.due() is None
