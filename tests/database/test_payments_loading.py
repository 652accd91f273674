"""What becomes of the rows of payment feeds: each in one bucket, and which of two stands."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from fatoura.database import connect
from tests.payments import load_payments, payment, reversal


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-06-29T09:00:00+01:00")


def standing(*columns: str) -> list[tuple]:
    listed = ", ".join(columns or ("payment_id", "invoice_number", "counts_millimes", "outcome"))
    with connect() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT {listed} FROM payment ORDER BY 1, 2"))]


def test_payments_are_loaded(database):
    loaded = load_payments("f1", payment("P1", "F1", 5000), payment("P1", "F2", 700), payment("P2", "F1", 1))
    assert loaded.counts == {"new": 3}
    assert standing() == [
        ("P1", "F1", 5000, "counted"),
        ("P1", "F2", 700, "counted"),
        ("P2", "F1", 1, "counted"),
    ]


def test_a_reversal(database):
    load_payments("f1", payment("P1", "F1", 5000))
    load_payments("f2", reversal("R1", "P1", "F1", 6000))
    assert standing() == [("P1", "F1", 5000, "counted"), ("R1", "F1", -5000, "exceeds_payment")]
