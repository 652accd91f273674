"""Reads a round's end out of the application's database: its own account of what happened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

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


LIST_DOUBTS = ("notices", "doubts", "--json", "--limit", "100000")
"""Arguments of `fatoura`: what a person would see of the messages in doubt."""


def read_listed(told: str) -> frozenset[UUID]:
    """Read the command's answer: those that do not go out again by themselves."""
    document = json.loads(told)
    assert document["total"] == len(document["doubts"])
    return frozenset(UUID(doubt["id"]) for doubt in document["doubts"] if doubt["next"] != "resend")


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
