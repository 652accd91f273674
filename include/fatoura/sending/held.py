"""What a line has claimed and not begun: the most urgent first; more is claimed while these are sent.

Made by a line, which says how to claim and how to give back. It looks every second, also when it holds
enough: for something more urgent, and whether sending is still open.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from datetime import datetime, timedelta

    from fatoura.gateways.interface import Message
    from fatoura.sending.claims import Claim

_LOOK_SECONDS = 1.0
# It holds what it sends in about this time, and never fewer than so many notices.
_HELD_SECONDS = 2
_FEWEST = 10


@dataclass(frozen=True)
class Look:
    """What one look brought.

    :param closes: when sending closes; nothing when it is closed.
    :param withdrawn: how many more it met that are not to be sent any more.
    """

    claims: list[Claim]
    closes: datetime | None
    withdrawn: int = 0


@dataclass(frozen=True)
class _Kept:
    claim: Claim
    until: float = field(compare=False)


class Held:
    """The claims of one line, for as long as it runs without a pause.

    :param claim: claims up to so many notices; with a priority, only those that are more urgent than it.
    :param give_back: gives back what was not begun.
    :param first: how many notices to claim at first.
    :param most: how many notices it may hold.
    :param lease: for how long a claim is good; half of it is for waiting here.
    """

    def __init__(
        self,
        claim: Callable[[int, int | None], Look],
        give_back: Callable[[list[Message]], Awaitable[None]],
        *,
        first: int,
        most: int,
        lease: timedelta,
    ) -> None:
        self._claim = claim
        self._give_back = give_back
        self._most = most
        self._wanted = max(1, min(first, most))
        self._patience = lease.total_seconds() / 2
        self._kept: list[_Kept] = []  # the first to go is the last
        self._unfit: list[Message] = []
        self._looking: asyncio.Task[tuple[int, float, Look]] | None = None
        self._looked = self._counted = time.monotonic()
        self._taken = 0
        self._is_more = True
        self.closes: datetime | None = None
        """When sending closes, as of the last look; nothing when it is closed."""

    async def first(self) -> Claim | None:
        """Return the claim that goes next, or nothing when there is nothing to send now."""
        while True:
            if self._looking is not None and self._looking.done():
                self._take_look()
                if self.closes is None:
                    return None
            now = time.monotonic()
            while self._kept and self._kept[-1].until <= now:
                self._unfit.append(self._kept.pop().claim.message)
            few = self._is_more and len(self._kept) <= self._wanted // 2
            if self._looking is None and (few or now >= self._looked + _LOOK_SECONDS):
                self._look(now)
            if self._kept:
                return self._kept[-1].claim
            if self._looking is None:
                return None
            await asyncio.wait({self._looking})

    def is_stale(self) -> bool:
        """Tell whether the claim that goes next has been kept too long: this process may have stood still."""
        return self._kept[-1].until <= time.monotonic()

    def take(self) -> Claim:
        """Take the claim that goes next: it is begun now."""
        self._taken += 1
        return self._kept.pop().claim

    def refuse(self) -> None:
        """Put the claim that would go next back with the next look: its time is over."""
        self._unfit.append(self._kept.pop().claim.message)

    def sizes(self) -> Iterator[int]:
        """Yield the segments of the messages, the one that goes next first."""
        return (kept.claim.message.segments for kept in reversed(self._kept))

    async def close(self) -> None:
        """Give back all that was not begun."""
        if self._looking is not None:
            await asyncio.wait({self._looking})
            if self._looking.exception() is None:
                self._take_look()
        self._unfit += [kept.claim.message for kept in self._kept]
        self._kept.clear()
        if self._unfit:
            await self._give_back(self._unfit)

    def _look(self, now: float) -> None:
        if now >= self._counted + _LOOK_SECONDS:
            pace = self._taken / (now - self._counted)
            self._wanted = min(max(_FEWEST, int(pace * _HELD_SECONDS)), self._most)
            self._counted, self._taken = now, 0
        elif not self._kept and self._taken:
            self._wanted = min(self._wanted * 2, self._most)  # it ran dry: it sends faster than it did
        most, priority = self._wanted - len(self._kept), None
        if most <= 0:
            most, priority = self._wanted, self._kept[-1].claim.priority
        unfit, self._unfit = self._unfit, []
        self._looked = now
        self._looking = asyncio.create_task(self._asked(most, priority, unfit))

    async def _asked(self, most: int, priority: int | None, unfit: list[Message]) -> tuple[int, float, Look]:
        if unfit:
            await self._give_back(unfit)
        # The lease runs from here on, however long this process then takes to look at what it got.
        until = time.monotonic() + self._patience
        look = await asyncio.to_thread(self._claim, most, priority)
        return most if priority is None else 0, until, look

    def _take_look(self) -> None:
        assert self._looking is not None
        task, self._looking = self._looking, None
        most, until, look = task.result()
        self.closes = look.closes
        self._is_more = len(look.claims) + look.withdrawn >= most
        self._kept += [_Kept(claim, until) for claim in look.claims]
        self._kept.sort(key=lambda kept: (kept.claim.priority, kept.claim.message.id), reverse=True)
