"""Sent messages straight in the tables, and statements that a provider might write of them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from sqlalchemy import text

from fatoura.database import begin

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

GATEWAY = "fatoura_sms"
PRICE = 20
AT = datetime(2026, 5, 20, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Sent:
    """One attempt of ours. Phones are invented."""

    phone: str = "+21620000001"
    at: datetime = AT
    segments: int = 1
    outcome: str | None = "accepted"
    state: str = "accepted"
    provider_id: str | None = None
    gateway: str = GATEWAY
    kind: str = "bill"
    notice: UUID | None = None
    """Of another attempt, when this is a further one of the same notice."""


_WAY = {
    "planned": (),
    "sending": ("sending",),
    "in_doubt": ("sending", "in_doubt"),
    "accepted": ("sending", "accepted"),
    "delivered": ("sending", "delivered"),
    "rejected": ("sending", "rejected"),
}


def known_gateway(*names: str, adapter: str = "kannel") -> None:
    """Write gateways down, as a send task does."""
    with begin() as connection:
        for name in names or (GATEWAY,):
            connection.execute(
                text(
                    "INSERT INTO gateway (name, adapter, capabilities, position, in_use, weight) "
                    "VALUES (:name, :adapter, '{}', 0, true, 100) ON CONFLICT DO NOTHING"
                ),
                {"name": name, "adapter": adapter},
            )


def send(*attempts: Sent) -> list[UUID]:
    """Write attempts down, in their order; return the notices' ids."""
    known_gateway(*{one.gateway for one in attempts})
    ids: list[UUID] = []
    numbers: dict[UUID, int] = {}
    with begin() as connection:
        for one in attempts:
            notice = one.notice or uuid4()
            ids.append(notice)
            number = numbers[notice] = numbers.get(notice, 0) + 1
            values = {
                "id": notice,
                "number": number,
                "kind": one.kind,
                "phone": one.phone,
                "segments": one.segments,
                "at": one.at,
                "answered": None if one.outcome is None else one.at + timedelta(seconds=1),
                "outcome": one.outcome,
                "provider_id": one.provider_id,
                "gateway": one.gateway,
            }
            if number == 1:
                connection.execute(
                    text(
                        "INSERT INTO notice (id, kind, subject, sequence, cycle_id, subscription_id, phone, "
                        "language, text, encoding, segments, priority, send_from, send_until, "
                        "validity_minutes, planned_at) VALUES (:id, :kind, CAST(:id AS text), 1, 1, 1, "
                        ":phone, 'fr', 'invented', 'gsm7', :segments, 50, :at, :at, 60, :at)"
                    ),
                    values,
                )
            connection.execute(
                text(
                    "INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at, answered_at, "
                    "outcome, provider_id) VALUES (:id, :number, :gateway, 'test', :at, :answered, :outcome, "
                    ":provider_id)"
                ),
                values,
            )
            connection.execute(
                text(
                    "UPDATE notice SET attempts = :number, gateway = :gateway, submitted_at = :at "
                    "WHERE id = :id"
                ),
                values,
            )
        for notice, one in dict(zip(ids, attempts, strict=True)).items():
            for state in _WAY[one.state]:
                connection.execute(
                    text("UPDATE notice SET state = :state WHERE id = :id"), {"state": state, "id": notice}
                )
    return ids


HEADINGS = (
    "Référence client",
    "ID message",
    "Destinataire",
    "Date d'envoi",
    "Nb SMS",
    "Montant HT",
    "Statut",
)


def line(
    *,
    ref: object = "",
    provider_id: str = "",
    phone: str = "+21620000001",
    at: datetime | None = AT,
    segments: object = 1,
    amount: object = "0,020",
    status: str = "Remis",
) -> dict[str, Any]:
    """Return a line of a detail as the form `kannel` reads it: local times, dinars with a comma."""
    local = (at + timedelta(hours=1)).strftime("%d/%m/%Y %H:%M:%S") if at else ""
    return dict(zip(HEADINGS, (ref, provider_id, phone, local, segments, amount, status), strict=True))


def detail(
    folder: Path,
    lines: Iterable[dict[str, Any]],
    *,
    name: str = "detail.csv",
    delimiter: str = ";",
    encoding: str = "utf-8-sig",
    before: str = "",
    after: str = "",
    headings: tuple[str, ...] = HEADINGS,
) -> Path:
    """Write a provider's detail file."""
    out = io.StringIO()
    out.write(before)
    writer = csv.DictWriter(out, headings, delimiter=delimiter, extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(lines)
    out.write(after)
    path = folder / name
    path.write_bytes(out.getvalue().encode(encoding))
    return path
