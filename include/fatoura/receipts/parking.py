"""When to look again at parked receipts. Asked by the receiver; it must not know receipts themselves.

A receipt can be here before the answer that told us its id is written. That takes no longer than a request
may: so long it is looked for every second, and afterwards with all others every minute.
"""

from __future__ import annotations

import time
from datetime import timedelta
from math import inf

from fatoura.receipts.matching import PARKED_FOR

_FRESH = timedelta(minutes=1)
_FRESH_EVERY_SECONDS = 1
_ALL_EVERY_SECONDS = 60


class Parking:
    """The times of looking, by the clock that nobody moves. The first look is due at once, at all."""

    def __init__(self) -> None:
        self._fresh_until = self._looked = self._looked_at_all = -inf

    def came(self) -> None:
        """Note that receipts were parked just now."""
        self._fresh_until = time.monotonic() + _FRESH.total_seconds()

    def due(self) -> timedelta | None:
        """Return how lately those came in that are to be looked at now; nothing when it is too early."""
        if self.seconds_left() > 0:
            return None
        self._looked = time.monotonic()
        if self._looked - self._looked_at_all < _ALL_EVERY_SECONDS:
            return _FRESH
        self._looked_at_all = self._looked
        return PARKED_FOR

    def seconds_left(self) -> float:
        """Return for how long no look is due."""
        next_look = self._looked_at_all + _ALL_EVERY_SECONDS
        if self._looked < self._fresh_until:
            next_look = min(next_look, self._looked + _FRESH_EVERY_SECONDS)
        return max(0.0, next_look - time.monotonic())
