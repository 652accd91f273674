"""Look up cycles by their keys, and open those that no extract begins."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect
from fatoura.errors import BadInput

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection


class Purpose(StrEnum):
    """What the notices of a cycle are for."""

    BILLING = "billing"  # an extract's bills, and corrections of them
    CUTOFF = "cutoff"  # a day's reminders and warnings
    PAYMENT_RECEIVED = "payment_received"  # a day's payments after a warning


def open_cycle(connection: Connection, purpose: Purpose, day: date) -> tuple[int, str]:
    """Open the cycle of a purpose and a day, unless it is open; return its id and its key.

    :param purpose: not billing: such a cycle begins with its extract.
    :param day: a local day.
    :raises BadInput: when a cycle with another purpose has that key.
    """
    values = {"key": f"{purpose.replace('_', '-')}-{day}", "purpose": purpose, "day": day, "now": clock.now()}
    connection.execute(
        text(
            "INSERT INTO cycle (key, purpose, issue_date, created_at) VALUES (:key, :purpose, :day, :now) "
            "ON CONFLICT (key) DO NOTHING"
        ),
        values,
    )
    found = connection.execute(text("SELECT id, purpose FROM cycle WHERE key = :key"), values).one()
    if found.purpose != purpose:
        raise BadInput(f"cycle {values['key']} is there already, and its purpose is {found.purpose}")
    return found.id, str(values["key"])


def cycle_id_of(cycle_key: str) -> int:
    """Return the id of a cycle.

    :raises BadInput: when no extract of it was ever loaded.
    """
    with connect() as connection:
        found = connection.scalar(text("SELECT id FROM cycle WHERE key = :key"), {"key": cycle_key})
    if found is None:
        raise BadInput(f"there is no cycle {cycle_key!r}: no extract of it was loaded")
    return int(found)
