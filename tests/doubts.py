"""Notices in doubt, and what tests of them ask the tables. Phones are invented."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.gateways.interface import Outcome
from fatoura.receipts.intake import RawReceipt, store
from fatoura.receipts.matching import match_receipts
from fatoura.sending import claims, routing
from tests.notices import plan_notices, run_sql

if TYPE_CHECKING:
    from uuid import UUID

GATEWAY = "fatoura_sms"
HORIZON = timedelta(hours=6)


def claim(cycle: int, *, horizon: timedelta = HORIZON, gateway: str = GATEWAY) -> list[Any]:
    """Claim what a sender may take of a cycle now."""
    with begin() as connection:
        return claims.claim(
            connection,
            cycle,
            gateway=gateway,
            stretch=routing.WHOLE,
            in_use=[gateway],
            worker="test",
            most=10_000,
            lease=timedelta(minutes=5),
            doubt_horizon=horizon,
            sender_id="STEG",
        )


def answer(claimed: list[Any], kind: str, provider_id: str | None = None) -> None:
    """Write what became of claims."""
    with begin() as connection:
        claims.write_outcomes(
            connection,
            [(one.message, Outcome(kind, provider_id, "no answer in 30 s")) for one in claimed],
            retry_after=timedelta(0),
        )


def doubt(
    count: int = 1, *, kind: str = "bill", hours: float = 0, gateway: str = GATEWAY, **columns: Any
) -> int:
    """Put notices into doubt, handed over so many hours ago; return their cycle."""
    cycle = plan_notices(count, kind=kind, **columns)
    claimed = claim(cycle, gateway=gateway)
    assert len(claimed) == count
    answer(claimed, "in_doubt")
    age([one.message.id for one in claimed], hours)
    return cycle


def age(those: list[UUID], hours: float) -> None:
    """Let notices have been handed over so many hours earlier."""
    run_sql(
        "UPDATE notice SET submitted_at = submitted_at - make_interval(secs => :s) WHERE id = ANY(:ids)",
        s=hours * 3600,
        ids=those,
    )


def correct(last_digit: str) -> None:
    """Plan a correction of the bill with this digit at its end."""
    run_sql(
        "INSERT INTO notice (kind, subject, sequence, subscription_id, language, encoding, segments, "
        "priority, send_from, send_until, validity_minutes) "
        "SELECT 'bill_correction', subject, 2, 1, 'fr', 'gsm7', 1, 40, send_from, send_until, 60 "
        "FROM notice WHERE subject LIKE '%' || :digit",
        digit=f"-{last_digit}",
    )


def register(name: str = GATEWAY, **capabilities: bool) -> None:
    """Make a gateway known, with what its interface can do."""
    run_sql(
        "INSERT INTO gateway (name, adapter, capabilities, position, in_use, weight) "
        "VALUES (:name, 'kannel', CAST(:can AS jsonb), 0, true, 100)",
        name=name,
        can=json.dumps(capabilities),
    )


def receipt(notice: UUID, status: str) -> None:
    """Let the provider report on a notice."""
    store([RawReceipt(GATEWAY, clock.now(), {}, notice_id=notice, attempt=1, status=status, detail=status)])
    match_receipts()


def decisions() -> list[Any]:
    """Return what persons decided."""
    with connect() as connection:
        return list(connection.execute(text("SELECT * FROM doubt_decision ORDER BY notice_id, attempt")))
