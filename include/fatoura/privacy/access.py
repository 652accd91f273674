"""Gives one customer everything that is held of them, as one file for them alone.

Called by `fatoura privacy access`. Reads; changes nothing.
"""

from __future__ import annotations

import json
import os
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.privacy.person import ROWS, find_person, lines_in_files, opened_document
from fatoura.privacy.personal import staged_tables
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

# Of use to nobody but this system: keys of its own, and what proves a code.
_LEFT_OUT = {"code_salt", "code_hash", "visit"}


def write_access(reference: str) -> Path:
    """Write what is held of a customer into a file that only its owner reads; return its path.

    Numbers and texts are written out. The file is removed with the other files for clerks.

    :param reference: 9 digits.
    :raises BadInput: when that is no reference, or nothing is held.
    """
    document = held_of(reference)
    folder = get_settings().var / "access"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{clock.local_now():%Y%m%dT%H%M%S}-{os.urandom(3).hex()}.json"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False, indent=1, default=_plain)
        file.write("\n")
    return path


def held_of(reference: str) -> dict[str, Any]:
    """Return everything that is held of a customer: rows by table, and lines of files for clerks.

    :raises BadInput: when that is no reference, or nothing is held.
    """
    with connect() as connection:
        # One snapshot: senders and receipts go on meanwhile.
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        person = find_person(connection, reference)
        tables = {}
        staged = dict.fromkeys(staged_tables(connection), "customer_reference = ANY(:references)")
        for table, which in {**ROWS, **staged}.items():
            rows = connection.execute(text(f"SELECT * FROM {table} WHERE {which}"), person.values).mappings()
            found = [
                {name: opened_document(value) for name, value in row.items() if name not in _LEFT_OUT}
                for row in rows
            ]
            if found:
                tables[table] = found
    files = {path.name: lines for path, lines in lines_in_files(person)}
    if not tables and not files:
        raise BadInput("nothing is held of a customer with this reference")
    return {
        "customer_reference": reference,
        "as_of": clock.now(),
        "held": tables,
        "files": files,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else str(value)
    return str(value) if isinstance(value, UUID) else repr(value)
