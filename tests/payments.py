"""Feeds of payments and account facts for tests: a folder with manifest and CSV, made of Python rows.

Everything in them is invented.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fatoura import clock
from fatoura.accounts.loading import load_facts_feed
from fatoura.accounts.records import COLUMNS as FACT_COLUMNS
from fatoura.cutoff.rules import Channel
from fatoura.extracts.values import read_integer
from fatoura.payments.loading import load_payments_feed
from fatoura.payments.records import COLUMNS
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fatoura.feeds import FeedLoaded


def payment(payment_id: str, invoice: str, millimes: object, **changed: Any) -> dict[str, Any]:
    """Return a good row: paid at a counter on 22 June."""
    return {
        "payment_id": payment_id,
        "invoice_number": invoice,
        "amount_millimes": millimes,
        "paid_at": "2026-06-22T10:00:00+01:00",
        "channel": "counter",
        "kind": "payment",
        "reverses": "",
        **changed,
    }


def reversal(payment_id: str, of: str, invoice: str, millimes: object, **changed: Any) -> dict[str, Any]:
    """Return a good row that takes a payment back, a day later."""
    taken_back = {"kind": "reversal", "reverses": of, "paid_at": "2026-06-23T10:00:00+01:00"}
    return payment(payment_id, invoice, millimes, **{**taken_back, **changed})


def fact(fact_id: str, reference: str, what: str, **changed: Any) -> dict[str, Any]:
    """Return a good row: a fact from 1 June on, until further notice."""
    return {
        "fact_id": fact_id,
        "customer_reference": reference,
        "invoice_number": "",
        "fact": what,
        "valid_from": "2026-06-01",
        "valid_until": "",
        "set_by": "billing system",
        **changed,
    }


def complete_until(instant: datetime | str | Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the watermarks of a feed: of all channels alike, by default now."""
    if instant is not None and not isinstance(instant, (datetime, str)):
        return dict(instant)
    at = (instant or clock.now()) if not isinstance(instant, str) else instant
    return {channel.value: at.isoformat() if isinstance(at, datetime) else at for channel in Channel}


def write_payments(
    name: str,
    rows: Iterable[Mapping[str, Any] | bytes],
    *,
    until: datetime | str | Mapping[str, str] | None = None,
    folder: Path | None = None,
    columns: Sequence[str] = COLUMNS,
    **changed: Any,
) -> Path:
    """Write a feed of payments into the landing folder of the settings, or into `folder`; return its folder.

    :param rows: values by column; or the bytes of a whole line, without an amount, for what no writer of
        CSV would write.
    :param until: an instant for all channels, or one for each; by default now.
    :param changed: fields of the manifest, as they are to be written.
    """
    listed = list(rows)
    total = sum(
        read_integer(str(row.get("amount_millimes", ""))) or 0 for row in listed if not isinstance(row, bytes)
    )
    stated = {"total_amount_millimes": total, "complete_until": complete_until(until), **changed}
    return _write(name, "payments", listed, columns, folder, stated)


def write_facts(
    name: str,
    rows: Iterable[Mapping[str, Any] | bytes],
    *,
    folder: Path | None = None,
    columns: Sequence[str] = FACT_COLUMNS,
    **changed: Any,
) -> Path:
    """Write a feed of account facts, as `write_payments` does."""
    return _write(name, "facts", list(rows), columns, folder, changed)


def load_payments(
    name: str, *rows: Mapping[str, Any] | bytes, until: datetime | str | Mapping[str, str] | None = None
) -> FeedLoaded:
    """Write a feed of payments and load it."""
    return load_payments_feed(write_payments(name, rows, until=until))


def load_facts(name: str, *rows: Mapping[str, Any] | bytes) -> FeedLoaded:
    """Write a feed of account facts and load it."""
    return load_facts_feed(write_facts(name, rows))


def _write(
    name: str,
    content: str,
    rows: Sequence[Mapping[str, Any] | bytes],
    columns: Sequence[str],
    folder: Path | None,
    changed: Mapping[str, Any],
) -> Path:
    folder = folder or Path(get_settings().landing) / content / name
    folder.mkdir(parents=True, exist_ok=True)
    written = io.BytesIO()
    text = io.TextIOWrapper(written, encoding="utf-8", newline="", write_through=True)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        if isinstance(row, bytes):
            written.write(row + b"\n")
        else:
            writer.writerow(row)
    content_bytes = written.getvalue()
    (folder / f"{content}.csv").write_bytes(content_bytes)
    part = {
        "name": f"{content}.csv",
        "rows": len(rows),
        "sha256": hashlib.sha256(content_bytes).hexdigest(),
    }
    manifest = {"feed": name, "rows": len(rows), "parts": [part], **changed}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
