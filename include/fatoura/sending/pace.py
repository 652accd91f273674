"""The contract's rate, in segments a second, kept over all senders of a provider.

Senders reserve stretches of the provider's time in one row of the database (the virtual scheduling of
ATM's generic cell rate algorithm): stretches never overlap, so the sum of all senders never exceeds the
limit. The limit is read at each reservation, so a change is taken up within a stretch.
"""

from __future__ import annotations

import asyncio
import time

from sqlalchemy import text

from fatoura.database import begin
from fatoura.settings import get_settings

# How much time a stretch takes: short, so that a change of the limit and other senders come in soon;
# long enough that reserving costs little.
_STRETCH_SECONDS = 0.2
_MOST_SEGMENTS = 500

_RESERVE = text(
    """
    UPDATE gateway_rate SET next_free = greatest(next_free, clock_timestamp())
        + make_interval(secs => CAST(:segments / coalesce(segments_per_second, :limit) AS double precision))
    WHERE gateway = :gateway
    RETURNING extract(epoch FROM greatest(old.next_free, clock_timestamp()) - clock_timestamp()) AS wait,
        coalesce(segments_per_second, :limit) AS rate
    """
)


def reserve(gateway: str, segments: int) -> tuple[float, float]:
    """Reserve time for so many segments.

    :returns: seconds until the reserved stretch begins, and the limit in segments a second.
    """
    values = {"gateway": gateway, "segments": segments, "limit": get_settings().segments_per_second}
    with begin() as connection:
        row = connection.execute(_RESERVE, values).one_or_none()
        if row is None:
            connection.execute(
                text("INSERT INTO gateway_rate (gateway) VALUES (:gateway) ON CONFLICT DO NOTHING"), values
            )
            row = connection.execute(_RESERVE, values).one()
    return float(row.wait), float(row.rate)


class Pace:
    """Lets one sender's segments through at their reserved instants.

    :param gateway: whose limit it is.
    """

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._next = 0.0  # when the next segment may go, by this machine's monotonic clock
        self._left = 0  # segments left of the current stretch
        self._rate = get_settings().segments_per_second

    async def wait(self, segments: int) -> None:
        """Return when a message of so many segments may go out."""
        if self._left < segments:
            most = max(segments, min(_MOST_SEGMENTS, int(self._rate * _STRETCH_SECONDS)))
            asked = time.monotonic()
            wait, self._rate = await asyncio.to_thread(reserve, self._gateway, most)
            self._next, self._left = max(self._next, asked + wait), most
        delay = self._next - time.monotonic()
        self._next += segments / self._rate
        self._left -= segments
        if delay > 0:
            await asyncio.sleep(delay)


__all__ = ["Pace", "reserve"]
