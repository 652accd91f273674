"""The contract's rate, in segments a second, kept over all senders of a gateway.

Senders reserve stretches of the gateway's time in its row of the database (the virtual scheduling of
ATM's generic cell rate algorithm): stretches never overlap, so the sum of all senders never exceeds the
limit. The limit is read at each reservation, so a change is taken up within a stretch. While urgent
messages are under way, senders of ordinary ones get no stretch.
"""

from __future__ import annotations

import asyncio
import time

from sqlalchemy import text

from fatoura.database import begin
from fatoura.settings import get_settings

# Notices of this priority or a lower number pass all others of the gateway.
URGENT_PRIORITY = 20

# How much time a stretch takes: short, so that a change of the limit and other senders come in soon;
# long enough that reserving costs little.
_STRETCH_SECONDS = 0.2
_MOST_SEGMENTS = 500

# So long after its last stretch an urgent sender may take to ask for the next one.
_URGENT_GRACE_SECONDS = 0.3
_YIELD_SECONDS = 0.1

_RESERVE = text(
    """
    UPDATE gateway SET
        next_free = greatest(next_free, clock_timestamp()) + make_interval(
            secs => CAST(:segments / coalesce(segments_per_second, :limit) AS double precision)
        ),
        urgent_until = CASE
            WHEN :urgent THEN greatest(next_free, clock_timestamp()) + make_interval(
                secs => CAST(:segments / coalesce(segments_per_second, :limit) AS double precision) + :grace
            )
            ELSE urgent_until
        END
    WHERE name = :gateway AND (:urgent OR urgent_until IS NULL OR urgent_until < clock_timestamp())
    RETURNING extract(epoch FROM greatest(old.next_free, clock_timestamp()) - clock_timestamp()) AS wait,
        coalesce(segments_per_second, :limit) AS rate
    """
)


def reserve(gateway: str, segments: int, *, urgent: bool = False) -> tuple[float, float] | None:
    """Reserve time for so many segments, through a gateway that was registered.

    :returns: seconds until the reserved stretch begins, and the limit in segments a second; nothing while
        urgent messages have the gateway to themselves.
    """
    with begin() as connection:
        row = connection.execute(
            _RESERVE,
            {
                "gateway": gateway,
                "segments": segments,
                "urgent": urgent,
                "grace": _URGENT_GRACE_SECONDS,
                "limit": get_settings().segments_per_second,
            },
        ).one_or_none()
    return None if row is None else (float(row.wait), float(row.rate))


class Pace:
    """Lets one sender's segments through at their reserved instants.

    :param gateway: whose limit it is.
    """

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._next = 0.0  # when the next segment may go, by this machine's monotonic clock
        self._left = 0  # segments left of the current stretch
        self.rate = get_settings().segments_per_second

    async def wait(self, segments: int, *, urgent: bool = False) -> None:
        """Return when a message of so many segments may go out."""
        if self._left < segments:
            await self._reserve(segments, urgent)
        delay = self._next - time.monotonic()
        self._next += segments / self.rate
        self._left -= segments
        if delay > 0:
            await asyncio.sleep(delay)

    async def _reserve(self, segments: int, urgent: bool) -> None:
        most = max(segments, min(_MOST_SEGMENTS, int(self.rate * _STRETCH_SECONDS)))
        while True:
            asked = time.monotonic()
            reserved = await asyncio.to_thread(reserve, self._gateway, most, urgent=urgent)
            if reserved is not None:
                break
            await asyncio.sleep(_YIELD_SECONDS)
        wait, self.rate = reserved
        self._next, self._left = max(self._next, asked + wait), most


__all__ = ["URGENT_PRIORITY", "Pace", "reserve"]
