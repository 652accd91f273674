"""Subscriptions for tests of fees, and the billing system: what it is told, what it answers. All invented."""

from __future__ import annotations

import csv
import hashlib
import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.fees import renewing
from fatoura.fees.filing import outbox
from fatoura.fees.keeping import keep_up
from fatoura.fees.records import COLUMNS
from fatoura.fees.results import load_results_feed
from fatoura.sending import checks
from fatoura.settings import get_settings
from tests.notices import run_sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from fatoura.feeds import FeedLoaded

ONE = "000000001"


def subscribe(reference: str = ONE, **columns: Any) -> int:
    """Subscribe a customer now; return the subscription's id."""
    values = {
        "customer_reference": reference,
        "phone": f"+21620{int(reference) % 1_000_000:06d}",
        "language": "fr",
        "channel": "coupon",
        "consent_date": clock.today(),
        "created_at": clock.now(),
        "changed_at": clock.now(),
    } | columns
    names = ", ".join(values)
    return int(
        run_sql(
            f"INSERT INTO subscription ({names}) VALUES ({', '.join(f':{name}' for name in values)}) "
            "RETURNING id",
            **values,
        ).scalar()
    )


def run(*, month: str = "", send: bool = True) -> dict[str, Any]:
    """Do all steps of a monthly run; return their counts."""
    keep_up()
    cycle, counts = renewing.begin_run()
    counts = dict(counts)
    counts |= renewing.announce(cycle, month=month)
    counts |= renewing.charge(cycle, month=month)
    counts |= renewing.write_file(cycle)
    counts |= renewing.renew(cycle)
    counts |= renewing.plan(cycle)
    if send:
        send_news()
    return counts


def send_news(outcome: str = "delivered") -> dict[UUID, str]:
    """Claim news as a sender does, and settle it; return what the check cancelled."""
    with begin() as connection:
        rows = connection.execute(
            text("SELECT id, kind FROM notice WHERE state = 'planned' ORDER BY id FOR UPDATE")
        ).all()
        refused = checks.unfounded(connection, [(row.id, row.kind) for row in rows])
        for state in ("sending", "accepted", outcome):
            connection.execute(
                text(
                    "UPDATE notice SET state = :state, attempts = 1, submitted_at = :now, final_at = :now "
                    "WHERE id = ANY(:ids)"
                ),
                {
                    "state": state,
                    "now": clock.now(),
                    "ids": [row.id for row in rows if row.id not in refused],
                },
            )
        for notice, reason in refused.items():
            connection.execute(
                text("UPDATE notice SET state = 'cancelled', reason = :reason WHERE id = :id"),
                {"id": notice, "reason": reason},
            )
    return refused


def answer(charge: str, result: str, amount: int = 1_000, **changed: Any) -> dict[str, Any]:
    """Return a good row of an answer, of now."""
    return {
        "charge_id": charge,
        "result": result,
        "amount_millimes": amount,
        "at": clock.now().isoformat(),
        "reason": "",
        **changed,
    }


def write_answers(
    name: str,
    rows: Iterable[Mapping[str, Any]],
    /,
    *,
    until: datetime | None = None,
    folder: Path | None = None,
    **changed: Any,
) -> Path:
    """Write a feed of answers into the landing folder, or into `folder`; return its folder.

    :param until: up to when answers are complete; by default now.
    :param changed: fields of the manifest, as they are to be written.
    """
    listed = list(rows)
    folder = folder or Path(get_settings().landing) / "fee_results" / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fee_results.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)
    part = {
        "name": path.name,
        "rows": len(listed),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    manifest = {
        "feed": name,
        "rows": len(listed),
        "total_amount_millimes": sum(
            int(row["amount_millimes"]) for row in listed if str(row["amount_millimes"]).lstrip("-").isdigit()
        ),
        "complete_until": (until or clock.now()).isoformat(),
        "parts": [part],
        **changed,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def load_answers(name: str, *rows: Mapping[str, Any], until: datetime | None = None) -> FeedLoaded:
    """Write a feed of answers and load it."""
    return load_results_feed(write_answers(name, rows, until=until))


def told(name: str | None = None) -> list[dict[str, str]]:
    """Return the rows of a file in the outbox, or of all of them, one after the other."""
    folders = [outbox() / name] if name else sorted(outbox().glob("*-*"))
    rows: list[dict[str, str]] = []
    for folder in folders:
        with (folder / "charges.csv").open(encoding="utf-8", newline="") as stream:
            rows += csv.DictReader(stream)
    return rows


def charges(columns: str = "state", where: str = "true") -> list[tuple[Any, ...]]:
    """Return the charges, in order."""
    with connect() as connection:
        rows = connection.execute(text(f"SELECT {columns} FROM fee_charge WHERE {where} ORDER BY id"))
        return [tuple(row) for row in rows]


def subscriptions(columns: str = "state, paid_until", where: str = "true") -> list[tuple[Any, ...]]:
    """Return the subscriptions, in order."""
    with connect() as connection:
        rows = connection.execute(text(f"SELECT {columns} FROM subscription WHERE {where} ORDER BY id"))
        return [tuple(row) for row in rows]


def balances(charge: int | None = None) -> dict[str, int]:
    """Return what is on each account: of one charge, or of all."""
    with connect() as connection:
        rows = connection.execute(
            text(
                "SELECT account, sum(millimes) FROM fee_entry, LATERAL (VALUES (debit, amount_millimes), "
                "(credit, -amount_millimes)) line (account, millimes) "
                "WHERE CAST(:charge AS bigint) IS NULL OR charge_id = :charge "
                "GROUP BY account HAVING sum(millimes) <> 0 ORDER BY account"
            ),
            {"charge": charge},
        )
        return {account: int(millimes) for account, millimes in rows}


def news(columns: str = "kind, subject, sequence, state") -> list[tuple[Any, ...]]:
    """Return the messages about subscriptions, in the order in which they were planned."""
    with connect() as connection:
        rows = connection.execute(
            text(
                f"SELECT {columns} FROM notice WHERE kind IN ('fee_announced', 'subscription_renewed', "
                "'subscription_lapsed') ORDER BY planned_at, id"
            )
        )
        return [tuple(row) for row in rows]


def days_later(days: int, hour: str = "10:00", day: date | None = None) -> str:
    """Return an instant on a local day after today, as the setting of a moved clock."""
    return f"{(day or clock.today()) + timedelta(days=days)}T{hour}:00+01:00"
