"""Each rule of an account fact's row, told by field and code."""

from __future__ import annotations

from datetime import date

import pytest

from fatoura.accounts.records import TYPED, check
from fatoura.cutoff.rules import Fact
from fatoura.feeds.records import Record
from tests.payments import fact


def checked(row: dict[str, str], flaw: str | None = None):
    return check(Record(1, "facts.csv", 1, row, flaw))


def test_a_good_fact_is_read():
    values = dict(zip(TYPED, checked(fact("A1", "000000001", "dispute", invoice_number="F1")), strict=True))
    assert values == {
        "fact_id": "A1",
        "customer_reference": "000000001",
        "invoice_number": "F1",
        "fact": "dispute",
        "valid_from": date(2026, 6, 1),
        "valid_until": None,
        "set_by": "billing system",
    }


@pytest.mark.parametrize("kind", Fact)
def test_every_fact_of_the_rules_is_known(kind):
    assert isinstance(checked(fact("A1", "000000001", kind.value)), tuple)


def test_a_fact_that_ends_before_it_begins_was_taken_back():
    assert isinstance(checked(fact("A1", "000000001", "dispute", valid_until="2026-05-31")), tuple)


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"fact_id": ""}, "fact_id: form"),
        ({"customer_reference": "1"}, "customer_reference: not_nine_digits"),
        ({"invoice_number": "f1"}, "invoice_number: form"),
        ({"fact": "holiday"}, "fact: unknown"),
        ({"valid_from": ""}, "valid_from: not_a_date"),
        ({"valid_from": "01/06/2026"}, "valid_from: not_a_date"),
        ({"valid_until": "soon"}, "valid_until: not_a_date"),
        ({"set_by": " "}, "set_by: missing"),
        ({"set_by": "x" * 201}, "set_by: too_long"),
    ],
)
def test_each_rule_has_its_code(change, flaw):
    assert list(map(str, checked(fact("A1", "000000001", "dispute") | change))) == [flaw]


def test_a_row_that_came_broken_is_not_read():
    assert list(map(str, checked({}, "not_csv"))) == ["row: not_csv"]
