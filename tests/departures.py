"""Feeds of departures for tests. Everything in them is invented."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from fatoura.departures.records import COLUMNS
from fatoura.settings import get_settings


def write_departures(name: str, *rows: dict[str, Any]) -> Path:
    """Write a feed into the landing folder of the settings, the manifest last; return its folder."""
    folder = Path(get_settings().landing) / "departures" / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join(COLUMNS), *(",".join(str(row.get(column, "")) for column in COLUMNS) for row in rows)]
    content = ("\n".join(lines) + "\n").encode()
    (folder / "departures.csv").write_bytes(content)
    part = {"name": "departures.csv", "rows": len(rows), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"feed": name, "rows": len(rows), "parts": [part]}))
    return folder


def departure(departure_id: str, reference: str, **changed: Any) -> dict[str, Any]:
    """Return a good row."""
    return {
        "departure_id": departure_id,
        "customer_reference": reference,
        "asked_on": "2026-05-19",
        "by": "A. Clerk",
        "reason": "moves abroad",
        **changed,
    }
