"""Extracts for tests that begin after the load: registered, staged and validated, without any file."""

from __future__ import annotations

import hashlib
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.database import begin, driver
from fatoura.database.schema import extract, rejected_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fatoura.cycles.keys import ExtractKey

ISSUED = date(2026, 5, 20)

# The contract's columns, in the order of `row`.
_COLUMNS = (
    "invoice_number",
    "customer_reference",
    "district",
    "supply",
    "period_start",
    "period_end",
    "amount_due_millimes",
    "due_date",
    "issue_date",
    "estimated",
)
_TYPED = ("period_start", "period_end", "due_date", "issue_date", "amount_due_millimes", "estimated")

_TABLE = """
CREATE UNLOGGED TABLE staging.extract_{id} (
    row_number bigint PRIMARY KEY, part text, part_row bigint, {texts}, unknown jsonb, flaw text,
    period_start_d date, period_end_d date, due_date_d date, issue_date_d date, amount_i bigint,
    estimated_b boolean
)"""


def row(number: str, reference: str, **changed: Any) -> dict[str, Any]:
    """Return a good row of an extract: 12.500 dinars to pay by 25 June."""
    return {
        "invoice_number": number,
        "customer_reference": reference,
        "district": "TUN",
        "supply": "both",
        "period_start": date(2026, 3, 1),
        "period_end": date(2026, 4, 30),
        "amount_due_millimes": 12_500,
        "due_date": date(2026, 6, 25),
        "issue_date": ISSUED,
        "estimated": False,
        **changed,
    }


def stage_extract(
    key: ExtractKey,
    rows: Iterable[Mapping[str, Any]],
    *,
    rejected: Mapping[int, list[str]] | None = None,
    validated: bool = True,
) -> int:
    """Register and stage an extract as the load and the quality gate leave it; return its id."""
    listed = list(rows)
    total = sum(row["amount_due_millimes"] for row in listed)
    with begin() as connection:
        cycle_id = connection.scalar(
            text(
                "INSERT INTO cycle (key, issue_date) VALUES (:key, :day) "
                "ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING id"
            ),
            {"key": key.cycle, "day": ISSUED},
        )
        extract_id = connection.scalar(
            extract.insert()
            .values(
                cycle_id=cycle_id,
                supplement=key.supplement,
                source="landing",
                location=f"billing/{key}",
                manifest={},
                digest=hashlib.sha256(str(key).encode()).hexdigest(),
                declared_rows=len(listed),
                declared_total_millimes=total,
                loaded_at=text("now()"),
                validated_at=text("now()") if validated else None,
                rejected_rows=len(rejected or {}),
            )
            .returning(extract.c.id)
        )
        texts = ", ".join(f"{column} text" for column in _COLUMNS)
        connection.execute(text(_TABLE.format(id=extract_id, texts=texts)))
        with driver(connection).cursor().copy(f"COPY staging.extract_{extract_id} FROM STDIN") as copy:
            for number, values in enumerate(listed, 1):
                raw = [str(values[column]) for column in _COLUMNS]
                typed = [values[column] for column in _TYPED]
                copy.write_row([number, "invoices.csv", number, *raw, None, None, *typed])
        for number, reasons in (rejected or {}).items():
            connection.execute(
                rejected_row.insert().values(
                    extract_id=extract_id,
                    row_number=number,
                    part="invoices.csv",
                    part_row=number,
                    reasons=reasons,
                    fields={},
                )
            )
    assert isinstance(extract_id, int)
    return extract_id


def subscribe(reference: str, **changed: Any) -> int:
    """Add a subscription with an invented number; return its id."""
    values = {"phone": "+21620000001", "language": "ar", "state": "active", "study_arm": None, **changed}
    with begin() as connection:
        added = connection.scalar(
            text(
                "INSERT INTO subscription "
                "(customer_reference, phone, language, state, channel, consent_date, study_arm) VALUES "
                "(:reference, :phone, :language, :state, 'coupon', '2026-01-05', :study_arm) "
                "RETURNING id"
            ),
            {"reference": reference, **values},
        )
    assert added is not None
    return int(added)


def plan_notice(extract_id: int, invoice_number: str, *, state: str = "planned", kind: str = "bill") -> None:
    """Plan the notice of an invoice's revision in an extract, and bring it to a state."""
    with begin() as connection:
        notice_id = connection.scalar(
            text(
                "INSERT INTO notice (kind, subject, sequence, cycle_id, extract_id, subscription_id, "
                "district, phone, language, text, encoding, segments, priority, send_from, send_until, "
                "validity_minutes) SELECT :kind, invoice_number, revision + 1, cycle_id, extract_id, "
                "subscription_id, district,"
                " '+21620000001', 'ar', 'x', 'ucs2', 1, 5, now(), now(), 60 "
                "FROM invoice WHERE extract_id = :extract_id AND invoice_number = :number RETURNING id"
            ),
            {"kind": kind, "extract_id": extract_id, "number": invoice_number},
        )
        for step in {"planned": (), "cancelled": ("cancelled",), "accepted": ("sending", "accepted")}[state]:
            connection.execute(
                text("UPDATE notice SET state = :state WHERE id = :id"), {"state": step, "id": notice_id}
            )
