"""Deliveries for tests that begin with a file: writes an extract or a supplement into a landing folder.

Everything in them is invented.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fatoura.extracts import load_extract
from fatoura.extracts.columns import COLUMNS
from fatoura.extracts.values import read_integer
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fatoura.cycles.keys import ExtractKey

ISSUED = "2026-05-20"


def record(number: int, **changed: Any) -> dict[str, Any]:
    """Return a good record, told apart by its number."""
    return {
        "invoice_number": f"F{number:06d}",
        "customer_reference": f"{number:09d}",
        "district": "TUN1",
        "supply": "electricity",
        "period_start": "2026-03-01",
        "period_end": "2026-04-30",
        "amount_due_millimes": 85_000 + number % 10 * 100,
        "due_date": ("2026-06-22", "2026-06-23", "2026-06-24")[number % 3],
        "issue_date": ISSUED,
        "estimated": "false",
        **changed,
    }


def deliver(
    key: ExtractKey, records: Iterable[Mapping[str, Any] | bytes], *, issue_date: str = ISSUED
) -> Path:
    """Write a delivery into the landing folder of the settings, the manifest last; return its folder.

    :param records: values by column; or the bytes of a whole line, without an amount, for what no
        writer of CSV would write.
    """
    folder = Path(get_settings().landing) / "billing" / str(key)
    folder.mkdir(parents=True, exist_ok=True)
    content, rows, total = (",".join(COLUMNS) + "\n").encode(), 0, 0
    for one in records:
        rows += 1
        line = one if isinstance(one, bytes) else _line(one)
        content += line + b"\n"
        if not isinstance(one, bytes):
            total += read_integer(str(one["amount_due_millimes"])) or 0
    (folder / "invoices.csv").write_bytes(content)
    manifest = {
        "cycle": key.cycle,
        "issue_date": issue_date,
        "rows": rows,
        "total_amount_millimes": total,
        "parts": [
            {"name": "invoices.csv", "rows": rows, "sha256": hashlib.sha256(content).hexdigest()},
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def load(key: ExtractKey, records: Iterable[Mapping[str, Any] | bytes], *, issue_date: str = ISSUED) -> int:
    """Deliver and load; return the extract's id."""
    deliver(key, records, issue_date=issue_date)
    return load_extract(key, run_id="test").extract_id


def _line(record: Mapping[str, Any]) -> bytes:
    line = io.StringIO()
    csv.DictWriter(line, COLUMNS, lineterminator="\n").writerow(record)
    return line.getvalue().removesuffix("\n").encode()
