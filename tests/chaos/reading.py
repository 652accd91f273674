"""Reads a round's end out of the application's database: its own account of what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy

from fatoura.ledger.balance import count_ledger
from tests.chaos.evidence import AttemptRow, NoticeRow, ReceiptRow

if TYPE_CHECKING:
    import psycopg

    from tests.chaos.evidence import Evidence


def read_rows(db: psycopg.Connection[Any], evidence: Evidence) -> None:
    """Fill in notices, attempts and receipts."""
    evidence.notices = [
        NoticeRow(*row) for row in db.execute("SELECT id, state, attempts, reason FROM notice")
    ]
    evidence.attempts = [
        AttemptRow(*row)
        for row in db.execute(
            "SELECT notice_id, number, gateway, claimed_at, outcome, answer, answered_at FROM attempt"
        )
    ]
    evidence.receipts = [
        ReceiptRow(id_, notice, attempt, status, match, int(relay) if relay and relay.isdigit() else None)
        for id_, notice, attempt, status, match, relay in db.execute(
            "SELECT id, notice_id, attempt, status, match, raw->'query'->>'relay' FROM receipt"
        )
    ]


def ledger_faults(url: str, cycle: str) -> list[str]:
    """Return what breaks the ledger's identity, in words; nothing when it holds."""
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            ledger = count_ledger(connection, cycle)
    finally:
        engine.dispose()
    if ledger.identity_holds:
        return []
    return list(ledger.missing) or [
        f"extracted {ledger.extracted}, noticed {ledger.noticed}, {ledger.states}"
    ]
