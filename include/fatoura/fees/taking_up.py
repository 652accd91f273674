"""Takes up subscriptions that fees do not know yet: their years count from the day on which they began.

Called by the monthly run, first of all. Nothing is paid then: the first year is announced and charged as any
other is, unless it is free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.fees.books import Moment

_TAKE_UP = """
UPDATE subscription s SET began_on = new.began_on, paid_until = new.began_on - 1
FROM (
    SELECT id, least(CAST(created_at AT TIME ZONE :zone AS date), CAST(:day AS date)) AS began_on
    FROM subscription WHERE state <> 'ended' AND began_on IS NULL
    ORDER BY id FOR NO KEY UPDATE
) new
WHERE s.id = new.id
"""


def take_up(connection: Connection, moment: Moment) -> int:
    """Take up what is new; return how many subscriptions."""
    return connection.execute(text(_TAKE_UP), {"zone": clock.zone().key, **moment.values}).rowcount
