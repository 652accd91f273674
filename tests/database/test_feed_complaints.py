"""What is wrong with feeds is told once for what it says."""

from __future__ import annotations

import pytest

from fatoura.feeds.complaints import new_complaints

BAD, OTHER = {"payments/a": "amount is missing"}, {"facts/b": "rows differ"}


@pytest.fixture(autouse=True)
def _database(database):
    pass


def test_the_same_complaint_is_new_once():
    assert new_complaints(BAD) == BAD
    assert new_complaints(BAD) == {}
    assert new_complaints(BAD | OTHER) == OTHER
    assert new_complaints(BAD | OTHER) == {}


def test_another_wrong_delivery_of_the_same_feed_is_new():
    new_complaints(BAD)
    worse = {"payments/a": "amount is missing; paid_at is missing"}
    assert new_complaints(worse) == worse
    assert new_complaints(worse) == {}


def test_what_was_mended_and_comes_back_is_new():
    new_complaints(BAD)
    assert new_complaints({}) == {}
    assert new_complaints(BAD) == BAD
