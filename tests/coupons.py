"""Customers and captured coupons for tests: a folder with manifest and CSV or XLSX, made of Python rows.

Everything in them is invented.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.customers.loading import load_customers_feed
from fatoura.customers.records import COLUMNS as CUSTOMER_COLUMNS
from fatoura.database import connect
from fatoura.enrolment.judging import judge_coupons
from fatoura.enrolment.loading import load_coupons_batch
from fatoura.enrolment.records import COLUMNS
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fatoura.enrolment.judging import Judged
    from fatoura.feeds import FeedLoaded

ANNA, BOB, CORA = "042580496", "042580497", "042580498"


def phone(number: int) -> str:
    """Return an invented mobile number."""
    return f"+216{20_000_000 + number}"


def coupon(coupon_id: str, reference: str = ANNA, **changed: Any) -> dict[str, Any]:
    """Return a good row: signed on 1 May, in Arabic, with the first of the invented numbers."""
    return {
        "coupon_id": coupon_id,
        "scan_id": f"scan-{coupon_id}",
        "customer_reference": reference,
        "phone": phone(1),
        "language": "ar",
        "signed": "true",
        "signed_on": "2026-05-01",
        "wording_version": "2026-1",
        "crossed_out": "false",
        **changed,
    }


def crossed(coupon_id: str, reference: str = ANNA, **changed: Any) -> dict[str, Any]:
    """Return a row that is crossed out."""
    return coupon(coupon_id, reference, crossed_out="true", **changed)


def write_coupons(
    name: str,
    rows: Sequence[Mapping[str, Any] | bytes],
    *,
    folder: Path | None = None,
    columns: Sequence[str] = COLUMNS,
    part: str = "coupons.csv",
    **changed: Any,
) -> Path:
    """Write a batch into the landing folder of the settings, or into `folder`; return its folder.

    :param part: the name of its one file; the ending says of which kind.
    :param changed: fields of the manifest, as they are to be written.
    """
    folder = folder or Path(get_settings().landing) / "coupons" / name
    return _write(folder, {"batch": name, **changed}, rows, columns, part)


def write_customers(name: str, rows: Mapping[str, str], *, folder: Path | None = None) -> Path:
    """Write a feed of customers: how each contract stands, by reference."""
    folder = folder or Path(get_settings().landing) / "customers" / name
    listed = [
        {"customer_reference": reference, "district": "TUN1", "contract": contract}
        for reference, contract in rows.items()
    ]
    return _write(folder, {"feed": name}, listed, CUSTOMER_COLUMNS, "customers.csv")


def load_coupons(name: str, *rows: Mapping[str, Any] | bytes) -> FeedLoaded:
    """Write a batch and load it."""
    return load_coupons_batch(write_coupons(name, rows))


def load_customers(name: str = "c1", **contracts: str) -> FeedLoaded:
    """Write a feed of the three customers, with open contracts unless told otherwise, and load it."""
    return load_customers_feed(write_customers(name, dict.fromkeys((ANNA, BOB, CORA), "open") | contracts))


def enrol(name: str, *rows: Mapping[str, Any] | bytes) -> Judged:
    """Load a batch, and judge what there is."""
    load_coupons(name, *rows)
    return judge_coupons(run_id="run")


def outcomes() -> dict[str, str]:
    """Return what became of each coupon, with the reason where there is one."""
    with connect() as connection:
        rows = connection.execute(
            text("SELECT coupon_id, concat_ws(' ', outcome, reason) FROM coupon ORDER BY coupon_id")
        )
        return dict(rows.all())


def subscribed(columns: str = "phone, language, state") -> dict[str, Any]:
    """Return the current subscriptions by customer."""
    with connect() as connection:
        rows = connection.execute(
            text(f"SELECT customer_reference, {columns} FROM subscription WHERE state <> 'ended' ORDER BY 1")
        ).all()
    return {row[0]: tuple(row[1:]) if len(row) > 2 else row[1] for row in rows}


def consents(reference: str = ANNA) -> list[tuple[str, str, str]]:
    """Return what is recorded of a customer: act, channel, evidence."""
    with connect() as connection:
        rows = connection.execute(
            text(
                "SELECT act, channel, evidence FROM consent WHERE customer_reference = :reference ORDER BY id"
            ),
            {"reference": reference},
        )
        return [tuple(row) for row in rows]


def _write(
    folder: Path,
    said: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any] | bytes],
    columns: Sequence[str],
    name: str,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = _workbook(rows, columns) if name.endswith(".xlsx") else _csv(rows, columns)
    (folder / name).write_bytes(content)
    part = {"name": name, "rows": len(rows), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"rows": len(rows), "parts": [part], **said}))
    return folder


def _csv(rows: Sequence[Mapping[str, Any] | bytes], columns: Sequence[str]) -> bytes:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="utf-8", newline="", write_through=True)
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        if isinstance(row, bytes):
            written.write(row + b"\n")
        else:
            writer.writerow(row)
    return written.getvalue()


def _workbook(rows: Sequence[Mapping[str, Any] | bytes], columns: Sequence[str]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(list(columns))
    for row in rows:
        assert not isinstance(row, bytes)
        book.active.append([row[column] for column in columns])
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()
