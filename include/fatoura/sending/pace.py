"""The contract's rate, in segments a second, kept over all senders of a gateway.

Senders reserve stretches of the gateway's time in its row of the database: stretches never overlap, so the
sum of all senders never exceeds the limit. Cycles take turns: one may reserve its next stretch when its last
one has begun, so that each gets the same, however many senders it has. While urgent messages are under way,
ordinary ones get no stretch. The limit is read at each reservation.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura.database import begin
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Notices of this priority or a lower number pass all others of the gateway.
URGENT_PRIORITY = 20

# The contract counts where messages arrive, and they do not arrive as evenly as they leave. With a little
# less than the limit, a message may come so much of a second late and still be one that the contract allows.
_USED = 0.975

# How much time a stretch takes: short, so that a change of the limit, urgent messages and other cycles come
# in soon; long enough that reserving costs little. Where the limit is more than one sender can use, stretches
# are so small that several senders use theirs side by side, each a little late.
_STRETCH_SECONDS = 0.1
_MOST_SEGMENTS = 100

# A message that is later than this (the process had to wait for its turn on a busy machine) must not go in
# the time of those that come after it: what was missed is lost. Where few messages make up a second, one more
# is already too many.
_LATE_SECONDS, _LATE_SECONDS_AT_LEAST, _LATE_A_SEGMENT = 0.05, 0.02, 0.001

# So long after its last stretch an urgent sender may take to ask for the next one.
_URGENT_GRACE_SECONDS = 0.15

# Whoever waits looks again after this long at what is to be sent, and whether to go on at all.
_LOOK_SECONDS = 0.2
_ASK_AGAIN_SECONDS = 0.005

# Stretches that follow each other this closely are one; of a segment, so much is only rounding.
_SEAM_SECONDS = 0.001
_ROUNDING = 0.01

_RATE = "coalesce(segments_per_second, :limit)"
_LENGTH = f"make_interval(secs => CAST(:segments / ({_RATE} * :used) AS double precision))"
# A database whose clock was set back must not make everybody wait for the old time to come again.
_BEGINS = "greatest(CASE WHEN next_free < clock_timestamp() + interval '1 minute' THEN next_free END, " + (
    "clock_timestamp())"
)
_TURN = "CAST(turns ->> CAST(:cycle AS text) AS double precision)"
_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
_RESERVE = text(
    f"""
    WITH taken AS (
        UPDATE gateway SET
            next_free = {_BEGINS} + {_LENGTH},
            urgent_until = CASE
                WHEN :urgent THEN {_BEGINS} + {_LENGTH} + make_interval(secs => :grace) ELSE urgent_until
            END,
            turns = (
                SELECT coalesce(jsonb_object_agg(key, value), '{{}}') FROM jsonb_each(turns)
                WHERE CAST(value AS double precision) > {_NOW} - 60
            ) || jsonb_build_object(CAST(:cycle AS text), extract(epoch FROM {_BEGINS}))
        WHERE name = :gateway
            AND (:urgent OR urgent_until IS NULL OR urgent_until <= clock_timestamp())
            AND ({_TURN} IS NULL OR {_TURN} NOT BETWEEN {_NOW} AND {_NOW} + 60)
        RETURNING CAST(extract(epoch FROM next_free - {_LENGTH}) AS double precision) AS at,
            {_RATE} AS rate
    )
    SELECT true AS taken, at, {_NOW} AS now, CAST(rate AS double precision) AS rate FROM taken
    UNION ALL
    SELECT false, greatest({_TURN}, CAST(extract(epoch FROM CASE WHEN NOT :urgent THEN urgent_until END)
        AS double precision)), {_NOW}, CAST({_RATE} AS double precision)
    FROM gateway WHERE name = :gateway AND NOT EXISTS (SELECT FROM taken)
    """
)


@dataclass(frozen=True)
class Reservation:
    """What the database said; instants in seconds since the epoch, by its clock.

    :param taken: whether a stretch was reserved.
    :param at: when it begins; without one, when to ask again.
    :param now: when it said so.
    :param rate: the limit, in segments a second.
    :param asked: when it was asked, by this machine's monotonic clock.
    :param answered: when the answer was here.
    """

    taken: bool
    at: float
    now: float
    rate: float
    asked: float
    answered: float

    @property
    def step(self) -> float:
        """Seconds that a segment takes."""
        return 1 / (self.rate * _USED)


def reserve(gateway: str, cycle_id: int, segments: int, *, urgent: bool = False) -> Reservation:
    """Reserve time for so many segments of a cycle, through a gateway that was registered.

    Refused while the stretch that the cycle reserved last has not begun, and, unless they are urgent, while
    urgent messages have the gateway to themselves.
    """
    with begin() as connection:
        # Looked at as closely as possible: what is between is how far apart the clocks may be thought to be.
        asked = time.monotonic()
        row = connection.execute(
            _RESERVE,
            {
                "gateway": gateway,
                "cycle": cycle_id,
                "segments": segments,
                "urgent": urgent,
                "used": _USED,
                "grace": _URGENT_GRACE_SECONDS,
                "limit": get_settings().segments_per_second,
            },
        ).one()
        answered = time.monotonic()
    return Reservation(row.taken, row.now if row.at is None else row.at, row.now, row.rate, asked, answered)


class _Watch:
    """Reads the database's clock on this machine's, from the answers that took the shortest time."""

    _DRIFT = 0.0005

    def __init__(self) -> None:
        self._ahead, self._doubt, self._since = 0.0, float("inf"), 0.0

    def note(self, asked: float, answered: float, told: float) -> None:
        """Learn from an answer: the database's clock showed `told` somewhere between two own instants."""
        doubt, ahead = (answered - asked) / 2, told - (answered + asked) / 2
        was_set = abs(ahead - self._ahead) > doubt + self._doubt + 0.001
        if was_set or doubt <= self._doubt + (answered - self._since) * self._DRIFT:
            self._ahead, self._doubt, self._since = ahead, doubt, answered

    def read(self, instant: float) -> float:
        return instant - self._ahead


@dataclass
class _Stretch:
    """Reserved time, by this machine's monotonic clock.

    :param reached: up to where it is used.
    :param step: seconds that a segment takes.
    """

    reached: float
    ends: float
    step: float


class Pace:
    """Lets one sender's segments through at their reserved instants.

    :param gateway: whose limit it is.
    :param cycle_id: whose turn a reservation takes.
    """

    def __init__(self, gateway: str, cycle_id: int) -> None:
        self._gateway = gateway
        self._cycle_id = cycle_id
        self._watch = _Watch()
        self._stretches: list[_Stretch] = []  # the one in use, and at most one after it
        self._asking: asyncio.Task[tuple[int, Reservation]] | None = None
        self._ask_at = 0.0
        self._urgent = False
        self.rate = get_settings().segments_per_second

    async def allows(self, sizes: Callable[[], Iterable[int]], *, urgent: bool = False) -> bool:
        """Tell whether the next message may go out now; its time is then used.

        When it may not yet, this returns after a while all the same: meanwhile there may be something more
        urgent, or a reason to stop.

        :param sizes: returns the segments of the messages that wait, the next one first.
        :param urgent: whether the next one is.
        """
        if urgent and not self._urgent:
            self._ask_at = 0.0  # what was refused to ordinary ones
        self._urgent = urgent
        now = time.monotonic()
        if self._asking is not None and self._asking.done():
            self._take_answer()
        size = next(iter(sizes()))
        at = self._slot(size, now)
        if self._asking is None and len(self._stretches) < 2 and now >= self._ask_at:
            self._ask(sizes())
        if at is not None and at <= now:
            stretch = self._stretches[0]
            stretch.reached = at + size * stretch.step
            return True
        if at is not None:
            await asyncio.sleep(min(at - now, _LOOK_SECONDS))
        elif self._asking is not None:
            await asyncio.wait({self._asking}, timeout=_LOOK_SECONDS)
        else:
            await asyncio.sleep(min(self._ask_at - now, _LOOK_SECONDS))
        return False

    async def rest(self) -> None:
        """Give up what is reserved: there is nothing to send, or something forbids it."""
        if self._asking is not None:
            await asyncio.wait({self._asking})
            with suppress(Exception):  # whoever asks next meets it again, if it still holds
                self._asking.result()
            self._asking = None
        self._stretches.clear()

    def _slot(self, size: int, now: float) -> float | None:
        """Return when a message of so many segments may go; nothing when no time is reserved for it."""
        late = min(_LATE_SECONDS, max(_LATE_SECONDS_AT_LEAST, self.rate * _LATE_A_SEGMENT))
        while self._stretches:
            stretch = self._stretches[0]
            stretch.reached = max(stretch.reached, now - late)
            if stretch.reached + (size - _ROUNDING) * stretch.step <= stretch.ends:
                return stretch.reached
            del self._stretches[0]
        return None

    def _ask(self, sizes: Iterable[int]) -> None:
        """Begin to reserve time for the messages after those that there is time for."""
        free = sum(int((one.ends - one.reached) / one.step + _ROUNDING) for one in self._stretches)
        most = min(_MOST_SEGMENTS, self.rate * _USED * _STRETCH_SECONDS)
        segments = 0
        for size in sizes:
            if segments and segments + size > most:
                break
            if free >= size:
                free -= size
            else:
                free = 0
                segments += size
        if segments:
            self._asking = asyncio.create_task(self._reserve(segments, self._urgent))

    async def _reserve(self, segments: int, urgent: bool) -> tuple[int, Reservation]:
        told = await asyncio.to_thread(reserve, self._gateway, self._cycle_id, segments, urgent=urgent)
        self._watch.note(told.asked, told.answered, told.now)
        return segments, told

    def _take_answer(self) -> None:
        assert self._asking is not None
        task, self._asking = self._asking, None
        segments, told = task.result()
        self.rate = told.rate
        begins = self._watch.read(told.at)
        # The cycle may reserve again when this has begun, or when it is somebody's turn to ask.
        self._ask_at = (
            begins + _SEAM_SECONDS if told.taken else max(begins, time.monotonic() + _ASK_AGAIN_SECONDS)
        )
        if not told.taken:
            return
        new = _Stretch(begins, begins + segments * told.step, told.step)
        last = self._stretches[-1] if self._stretches else None
        if last and last.step == new.step and abs(new.reached - last.ends) < _SEAM_SECONDS:
            last.ends = new.ends
        else:
            self._stretches.append(new)


__all__ = ["URGENT_PRIORITY", "Pace", "Reservation", "reserve"]
