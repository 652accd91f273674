"""Look up billing cycles by their keys."""

from __future__ import annotations

from sqlalchemy import text

from fatoura.database import connect
from fatoura.errors import BadInput


def cycle_id_of(cycle_key: str) -> int:
    """Return the id of a cycle.

    :raises BadInput: when no extract of it was ever loaded.
    """
    with connect() as connection:
        found = connection.scalar(text("SELECT id FROM cycle WHERE key = :key"), {"key": cycle_key})
    if found is None:
        raise BadInput(f"there is no cycle {cycle_key!r}: no extract of it was loaded")
    return int(found)
