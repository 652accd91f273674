"""Each rule of a payment's row, told by field and code."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fatoura.feeds.records import Record
from fatoura.money import LARGEST_MILLIMES
from fatoura.payments.manifest import PaymentsManifest
from fatoura.payments.records import TYPED, row_check
from tests.payments import payment, reversal

UNTIL = datetime(2026, 6, 29, 4, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _morning(configure):
    configure(now="2026-06-29T06:00:00+01:00")


def checked(row: dict[str, object], flaw: str | None = None):
    manifest = PaymentsManifest(
        feed="f",
        rows=1,
        parts=(),
        total_amount_millimes=0,
        complete_until={"counter": UNTIL, "bank": UNTIL},
    )
    fields = {name: str(value) for name, value in row.items()}
    return row_check(manifest)(Record(1, "payments.csv", 1, fields, flaw))


def flaws(row: dict[str, object], flaw: str | None = None) -> list[str]:
    found = checked(row, flaw)
    return list(map(str, found)) if isinstance(found, list) else []


def test_a_good_payment_is_read_with_its_watermark():
    values = dict(zip(TYPED, checked(payment("P1", "F1", 5000)), strict=True))
    assert values == {
        "payment_id": "P1",
        "invoice_number": "F1",
        "amount_millimes": 5000,
        "paid_at": datetime(2026, 6, 22, 9, tzinfo=UTC),
        "channel": "counter",
        "kind": "payment",
        "reverses": None,
        "known_until": UNTIL,
    }


def test_a_good_reversal_names_its_payment():
    assert dict(zip(TYPED, checked(reversal("R1", "P1", "F1", 5000)), strict=True))["reverses"] == "P1"


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"payment_id": ""}, "payment_id: form"),
        ({"payment_id": "P 1"}, "payment_id: form"),
        ({"invoice_number": ""}, "invoice_number: form"),
        ({"invoice_number": "f1"}, "invoice_number: form"),
        ({"amount_millimes": ""}, "amount_millimes: not_an_integer"),
        ({"amount_millimes": "12.5"}, "amount_millimes: not_an_integer"),
        ({"amount_millimes": "1e3"}, "amount_millimes: not_an_integer"),
        ({"amount_millimes": 0}, "amount_millimes: not_positive"),
        ({"amount_millimes": -5}, "amount_millimes: not_positive"),
        ({"amount_millimes": LARGEST_MILLIMES + 1}, "amount_millimes: out_of_bounds"),
        ({"amount_millimes": "9" * 5000}, "amount_millimes: out_of_bounds"),
        ({"paid_at": ""}, "paid_at: not_a_time"),
        ({"paid_at": "2026-06-22"}, "paid_at: not_a_time"),
        ({"paid_at": "2026-06-22T10:00:00"}, "paid_at: no_offset"),
        ({"paid_at": "2026-06-30T06:01:00+01:00"}, "paid_at: in_the_future"),
        ({"paid_at": "1999-12-31T10:00:00Z"}, "paid_at: out_of_bounds"),
        ({"channel": ""}, "channel: unknown"),
        ({"channel": "Counter"}, "channel: unknown"),
        ({"channel": "web"}, "channel: not_in_complete_until"),
        ({"kind": ""}, "kind: unknown"),
        ({"kind": "refund"}, "kind: unknown"),
        ({"reverses": "P0"}, "reverses: given_for_a_payment"),
        ({"kind": "reversal"}, "reverses: missing"),
        ({"kind": "reversal", "reverses": "P 0"}, "reverses: form"),
        ({"kind": "reversal", "reverses": "P1"}, "reverses: itself"),
    ],
)
def test_each_rule_has_its_code(change, flaw):
    assert flaws(payment("P1", "F1", 5000) | change) == [flaw]


def test_a_bank_may_date_a_payment_by_the_next_day():
    assert not flaws(payment("P1", "F1", 5, channel="bank", paid_at="2026-06-30T00:00:00+01:00"))


def test_everything_that_is_wrong_is_told():
    row = payment("", "", "", paid_at="", channel="", kind="")
    assert [flaw.partition(":")[0] for flaw in flaws(row)] == [
        *("payment_id", "invoice_number", "amount_millimes", "paid_at", "channel", "kind"),
    ]


@pytest.mark.parametrize("flaw", ["not_csv", "wrong_number_of_fields", "not_utf8", "not_an_object"])
def test_a_row_that_came_broken_is_not_read(flaw):
    assert flaws(payment("P1", "F1", 5000), flaw) == [f"row: {flaw}"]
