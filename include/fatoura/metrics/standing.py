"""How things stand, as gauges: doubts, the queue, receipts without a notice, gateways, the window.

Run by the receipt receiver, for it is the one process of the project's own that always runs and has the
database; senders come and go. It only reads, and rests many times as long as a look takes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.database import connect
from fatoura.metrics import names
from fatoura.metrics.statsd import Point, send
from fatoura.sending.outlook import window_closes
from fatoura.sending.pace import URGENT_PRIORITY
from fatoura.sending.routing import shares, standings
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

log = logging.getLogger(__name__)

# A look at millions of planned notices takes seconds: then looks are rarer, but never so rare that what was
# told last is forgotten (the mapping's `ttl`).
_REST_OF_A_LOOK, _LONGEST_REST_SECONDS = 20, 60

_OPEN = text(
    """
    SELECT coalesce(gateway, '') AS gateway, state, count(*) AS notices, min(submitted_at) AS oldest
    FROM notice WHERE state IN ('sending', 'in_doubt') GROUP BY 1, 2
    """
)
_RECEIPTS = text(
    "SELECT gateway, match, count(*) AS receipts FROM receipt WHERE match IN ('new', 'parked') GROUP BY 1, 2"
)
_GATEWAYS = text(
    "SELECT name, in_use, health, coalesce(segments_per_second, :limit) AS rate, "
    "coalesce(CAST(capabilities ->> 'validity' AS boolean), false) AS takes_validity, balance, balance_unit "
    "FROM gateway ORDER BY name"
)
# What a person, or nobody, has released: other cycles wait for more than their turn.
_QUEUE = text(
    """
    WITH released AS MATERIALIZED (
        SELECT DISTINCT e.id FROM stage s JOIN extract e USING (cycle_id, supplement)
        WHERE s.name = 'release' AND s.counts ->> 'decision' IN ('released', 'approved')
    )
    SELECT priority <= :urgent AS urgent, count(*) AS notices, sum(segments) AS segments,
        min(greatest(planned_at, send_from, coalesce(retry_at, send_from))) AS since
    FROM notice
    WHERE state = 'planned' AND send_from <= :now AND send_until > :now
        AND (retry_at IS NULL OR retry_at <= :now)
        AND (extract_id IS NULL OR extract_id IN (SELECT id FROM released))
    GROUP BY 1
    """
)


async def watch() -> None:
    """Look and tell, again and again, until cancelled."""
    while True:
        began = time.monotonic()
        await asyncio.to_thread(_tell)
        took = time.monotonic() - began
        rest = min(took * _REST_OF_A_LOOK, _LONGEST_REST_SECONDS)
        await asyncio.sleep(max(get_settings().metrics_poll.total_seconds(), rest))


def _tell() -> None:
    try:
        began = time.monotonic()
        with connect() as connection:
            points = [*standing_points(connection), Point(names.BEATS, 1)]
        points.append(Point(names.LOOK, round(time.monotonic() - began, 3)))
    except Exception:
        log.warning("how things stand could not be looked up; trying again", exc_info=True)
        return
    send(tuple, points)


def standing_points(connection: Connection) -> list[Point]:
    """Look up how things stand now."""
    now = clock.now()
    limit = get_settings().segments_per_second
    gateways = connection.execute(_GATEWAYS, {"limit": limit}).all()
    known = [gateway.name for gateway in gateways]
    parts = shares(standings(connection, [gateway.name for gateway in gateways if gateway.in_use]))
    points = [
        *_doubts(connection, now, known),
        *_receipts(connection, known),
        *_queue(connection, now, takes_validity=any(one.takes_validity for one in gateways if one.in_use)),
        Point(names.DOUBT_HORIZON, get_settings().doubt_horizon.total_seconds()),
    ]
    for gateway in gateways:
        label = (gateway.name,)
        points += [
            Point(names.IN_USE, int(gateway.in_use), label),
            Point(names.HEALTH, round(float(gateway.health), 3), label),
            Point(names.SHARE, round(parts.get(gateway.name, 0.0), 3), label),
            Point(names.LIMIT, float(gateway.rate), label),
        ]
        if gateway.balance is not None:
            points.append(Point(names.BALANCE, float(gateway.balance), (*label, gateway.balance_unit)))
    return points


def _doubts(connection: Connection, now: datetime, known: Iterable[str]) -> Iterator[Point]:
    found = {(row.gateway, row.state): row for row in connection.execute(_OPEN)}
    for gateway in known:
        doubt, sending = found.get((gateway, "in_doubt")), found.get((gateway, "sending"))
        age = (now - doubt.oldest).total_seconds() if doubt and doubt.oldest else 0
        yield Point(names.DOUBTS, doubt.notices if doubt else 0, (gateway,))
        yield Point(names.OLDEST_DOUBT, max(round(age), 0), (gateway,))
        yield Point(names.UNDER_WAY, sending.notices if sending else 0, (gateway,))


def _receipts(connection: Connection, known: Iterable[str]) -> Iterator[Point]:
    found = {(row.gateway, row.match): row.receipts for row in connection.execute(_RECEIPTS)}
    for gateway in known:
        yield Point(names.UNMATCHED, found.get((gateway, "new"), 0), (gateway,))
        yield Point(names.PARKED, found.get((gateway, "parked"), 0), (gateway,))


def _queue(connection: Connection, now: datetime, *, takes_validity: bool) -> Iterator[Point]:
    """Tell what may go. While the window is closed nothing may, and nothing grows old by it."""
    window = load_calendar(connection).window(now.astimezone(clock.zone()).date())
    is_open = window_closes(connection, takes_validity=takes_validity) is not None
    yield Point(names.WINDOW, int(is_open))
    values = {"now": now, "urgent": URGENT_PRIORITY}
    found = {row.urgent: row for row in connection.execute(_QUEUE, values)} if is_open else {}
    for label, urgent in (("urgent", True), ("ordinary", False)):
        row = found.get(urgent)
        age = (now - max(row.since, window[0])).total_seconds() if row and window else 0
        yield Point(names.QUEUE, row.notices if row else 0, (label,))
        yield Point(names.QUEUE_SEGMENTS, row.segments if row else 0, (label,))
        yield Point(names.OLDEST_QUEUED, max(round(age), 0), (label,))
