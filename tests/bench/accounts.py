"""Customers with bills, payments and facts, made in the database, for the bench of cut-off warnings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from fatoura.cutoff.rules import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = "2026-06-30T10:00:00+01:00"
"""A Tuesday on which customers are written to, and supply may be cut."""

WARNED = 20_000
"""Other customers, who were warned twice and are due for the field teams; one in ten has paid."""

BARE = """
SELECT count(*), sum(balance) FROM (
    SELECT i.amount_due_millimes - coalesce(sum(p.counts_millimes), 0) AS balance
    FROM invoice i LEFT JOIN payment p USING (invoice_number)
    WHERE i.cycle_id = 6 AND i.revision = 0
    GROUP BY i.invoice_number, i.amount_due_millimes
) due
"""
"""What each due bill has left, and nothing else."""

SEED = Path(__file__).with_name("accounts.sql")
"""Customers, each with one bill that is due, and six others."""

# A fifth of bills that were warned about today, the others of new ones.
_FEED = """
COPY (
    SELECT 'N' || md5(invoice_number) AS payment_id, invoice_number, amount_due_millimes AS amount_millimes,
        '2026-06-30T09:00:00+01:00' AS paid_at,
        (ARRAY['counter', 'counter', 'post', 'bank', 'web', 'app'])[1 + mod(row_number, 6)] AS channel,
        'payment' AS kind, NULL AS reverses
    FROM (
        (SELECT * FROM invoice WHERE revision = 0 AND invoice_number IN (
            SELECT invoice_number FROM cutoff_case WHERE under_way IS NOT NULL
        ) ORDER BY md5(invoice_number) LIMIT %(warned)s)
        UNION ALL
        (SELECT * FROM invoice WHERE cycle_id = 7 ORDER BY md5(invoice_number) LIMIT %(others)s)
    ) told
    ORDER BY md5(invoice_number)
) TO STDOUT (FORMAT csv, HEADER)
"""

_PAY_SOME = """
INSERT INTO payment (payment_id, invoice_number, amount_millimes, paid_at, channel, kind, feed_id, row_number,
    known_until, counts_millimes, outcome)
SELECT 'S' || subject, subject, 1000000, '2026-06-30T08:00:00+01:00', 'app', 'payment', 1,
    20000000 + row_number() OVER (), '2026-06-30T09:00:00+01:00', 1000000, 'counted'
FROM notice WHERE state = 'planned' AND mod(hashtext(subject), 50) = 0
"""


def pay_some_of_the_planned(db: psycopg.Connection[Any]) -> None:
    """Let one in fifty pay whose message has been planned and has not left."""
    db.execute(_PAY_SOME)


def write_feed(db: psycopg.Connection[Any], folder: Path, rows: int) -> int:
    """Write a delivery of payments with about so many rows; return how many."""
    folder.mkdir()
    file, digest, lines = folder / "payments.csv", hashlib.sha256(), 0
    counted = {"warned": rows // 5, "others": rows - rows // 5}
    total = 0
    # COPY takes no values on the server.
    with file.open("wb") as stream, psycopg.ClientCursor(db).copy(_FEED, counted) as copy:
        for line in copy:
            stream.write(line)
            digest.update(line)
            if lines:
                total += int(bytes(line).split(b",")[2])
            lines += 1
    rows = lines - 1
    part = {"name": file.name, "rows": rows, "sha256": digest.hexdigest()}
    manifest: Mapping[str, Any] = {
        "feed": "2026-06-30-1000",
        "rows": rows,
        "parts": [part],
        "total_amount_millimes": total,
        "complete_until": {channel.value: NOW for channel in Channel},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return rows
