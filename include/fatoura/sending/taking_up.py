"""Which cycles wait for a run that sends what is planned in them. Called by the workflows on either side.

A run is asked for once for what is planned, and only while sending is open: at night nobody is written to,
and a run for each look would do nothing but wait. Asking twice harms nobody; never asking would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura.cycles.registry import cycle_id_of
from fatoura.cycles.stages import recorded_stage
from fatoura.database import connect
from fatoura.sending.outlook import Wait, sending_outlook

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.cycles.registry import Purpose

_STAGE = "take_up"
_LATEST = "SELECT max(id::text) FROM notice WHERE cycle_id = c.id AND state = 'planned'"
# Ids count up: what a run has taken up is not asked for again, also when that run has failed since.
_WAITING = f"""
SELECT c.id, c.key FROM cycle c
WHERE c.purpose = ANY(:purposes) AND ({_LATEST}) > coalesce((
    SELECT max(s.counts ->> 'up_to') FROM stage s WHERE s.cycle_id = c.id AND s.name = '{_STAGE}'
), '')
ORDER BY c.id
"""


def cycles_to_send(*purposes: Purpose) -> list[str]:
    """Return the keys of the cycles whose messages can go out now, and that no run has taken up."""
    with connect() as connection:
        waiting = connection.execute(text(_WAITING), {"purposes": list(purposes)}).all()
        return [row.key for row in waiting if _can_be_sent(connection, row.id)]


def _can_be_sent(connection: Connection, cycle_id: int) -> bool:
    return sending_outlook(connection, cycle_id).wait is Wait.NOTHING


def take_up(cycle_key: str, *, run_id: str | None = None) -> int:
    """Write down that a run sends what a cycle has planned by now; return how many messages that is.

    :raises BadInput: when there is no such cycle.
    """
    cycle_id = cycle_id_of(cycle_key)
    with recorded_stage(cycle_id, _STAGE, run_id=run_id) as stage, connect() as connection:
        row = connection.execute(
            text(
                "SELECT count(*) AS messages, max(id::text) AS up_to FROM notice "
                "WHERE cycle_id = :cycle AND state = 'planned'"
            ),
            {"cycle": cycle_id},
        ).one()
        stage.counts = {"messages": row.messages, **({"up_to": row.up_to} if row.up_to else {})}
    return int(row.messages)
