"""Planned notices straight in the tables, for tests of sending and receipts. Phones are invented."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect

if TYPE_CHECKING:
    from uuid import UUID

TEXT = "STEG\nMontant à payer : 85,352 DT\nRéférence : 04258 049 6\nPrière de payer avant le 25/06/2026"


PHONES = "'+216200' || lpad(i::text, 5, '0')"


def plan_notices(
    count: int,
    *,
    cycle: str = "2026-05-T1",
    kind: str = "bill",
    purpose: str = "billing",
    phones: str = PHONES,
    **columns: Any,
) -> int:
    """Plan `count` notices of a cycle; return the cycle's id. The last digit of the phone counts up.

    :param purpose: of the cycle, where it is not there yet.
    :param phones: the numbers, as SQL on the notice's number `i`.
    """
    now = clock.now()
    values = {
        "cycle": cycle,
        "kind": kind,
        "purpose": purpose,
        "n": count,
        "now": now,
        "text": TEXT,
        "send_from": now - timedelta(hours=1),
        "send_until": now + timedelta(days=20),
        "priority": 50,
        "first": 0,
    } | columns
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO cycle (key, purpose, issue_date) VALUES (:cycle, :purpose, '2026-05-20') "
                "ON CONFLICT DO NOTHING"
            ),
            values,
        )
        cycle_id = connection.scalar(text("SELECT id FROM cycle WHERE key = :cycle"), values)
        connection.execute(
            text(
                f"""
                INSERT INTO notice (kind, subject, sequence, cycle_id, extract_id, subscription_id, district,
                    phone, language, text, encoding, segments, priority, send_from, send_until,
                    validity_minutes, planned_at)
                SELECT :kind, :cycle || '-' || i, 1, :id, 1, i, 'TUN1', {phones}, 'fr',
                    :text, 'gsm7', 1, :priority, :send_from, :send_until, 720, :now
                FROM generate_series(CAST(:first AS int), :first + CAST(:n AS int) - 1) i
                """
            ),
            values | {"id": cycle_id},
        )
    return int(cycle_id or 0)


def register_gateway(name: str = "fatoura_sms", adapter: str = "kannel") -> None:
    """Make a gateway known to the receiver, as a send task does."""
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO gateway (name, adapter, capabilities, position, in_use, weight) "
                "VALUES (:name, :adapter, '{}', 0, true, 100)"
            ),
            {"name": name, "adapter": adapter},
        )


def states(cycle_id: int) -> dict[str, int]:
    """Count a cycle's notices by state."""
    with connect() as connection:
        rows = connection.execute(
            text("SELECT state, count(*) FROM notice WHERE cycle_id = :c GROUP BY state"), {"c": cycle_id}
        )
        return dict(rows.all())


def notices(cycle_id: int, columns: str = "*") -> list[Any]:
    """Return a cycle's notices, in the order in which they were planned."""
    with connect() as connection:
        return list(
            connection.execute(
                text(f"SELECT {columns} FROM notice WHERE cycle_id = :c ORDER BY id"), {"c": cycle_id}
            )
        )


def ids(cycle_id: int) -> list[UUID]:
    """Return the ids of a cycle's notices."""
    return [row.id for row in notices(cycle_id, "id")]


def run_sql(statement: str, **values: Any) -> Any:
    """Run one statement in a transaction of its own."""
    with begin() as connection:
        return connection.execute(text(statement), values)
