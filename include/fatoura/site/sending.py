"""Sends the codes, from the site's own process: planned, claimed and written down as any other notice is.

Somebody waits for each, so no task is asked for, and the sending window does not hold. It also keeps the
site's tables tidy: a code's text is gone once it is of no use. Several processes may do this side by side.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections import Counter
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock, metrics
from fatoura.cycles.registry import Purpose
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.receipts.secret import receipt_secret
from fatoura.sending import claims, routing
from fatoura.sending.claims import SHORTEST_VALIDITY
from fatoura.sending.line import Line
from fatoura.settings import get_settings
from fatoura.site import limits
from fatoura.site.judging import judge
from fatoura.site.measuring import judged_points, left_points

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from fatoura.gateways.interface import Gateway

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
# A code that is due keeps this process busy for some milliseconds. Whoever asks for it, and for the next page
# at once, must not be able to tell by those: it is done a moment later, and nobody knows when.
_MOMENT = (0.1, 0.6)
_TIDY_SECONDS = 10.0
_TRY_AGAIN_SECONDS = 2.0
# A provider that refuses everything until it is mended is tried again, with what its connection says now.
_MEND_SECONDS = 30.0
_UNVERIFIED_KEPT = timedelta(days=2)
_CYCLES_KEPT = timedelta(days=2)

_OF_CODES = f"""(
    SELECT id FROM cycle WHERE purpose = '{Purpose.CODES}' AND issue_date >= CAST(:since AS date)
)"""
_TO_SEND = f"""
SELECT DISTINCT cycle_id FROM notice
WHERE cycle_id IN {_OF_CODES} AND state = 'planned' AND send_from <= :now AND send_until >= :still
    AND (retry_at IS NULL OR retry_at <= :now)
"""
# As long as it may go out it has to be there. After that it proves nothing, and is a secret all the same.
_ERASE = f"""
UPDATE notice SET text = NULL
WHERE cycle_id IN {_OF_CODES} AND text IS NOT NULL AND state NOT IN ('planned', 'sending')
    AND (final_at IS NOT NULL OR send_until < :now)
"""
# The subjects of codes, and of these only, are ids of verifications.
_WAITS = f"""
SELECT CAST(extract(epoch FROM a.answered_at - v.asked_at) AS double precision)
FROM notice n JOIN attempt a ON a.notice_id = n.id
JOIN verification v ON v.id = CASE WHEN n.kind = 'one_time_code' THEN CAST(n.subject AS uuid) END
WHERE n.cycle_id IN {_OF_CODES} AND a.answered_at > :told AND a.outcome = 'accepted'
"""
_FORGET = """
DELETE FROM verification
WHERE verified_at IS NULL AND asked_at < :before AND outcome IS DISTINCT FROM 'left'
"""


class CodeSender:
    """Judges and sends, for as long as its tasks run.

    :param open_gateways: returns the providers' adapters, in the order of fall-back.
    """

    def __init__(self, open_gateways: Callable[[], Sequence[Gateway]]) -> None:
        self._open_gateways = open_gateways
        self._asked = asyncio.Event()
        self._planned = asyncio.Event()
        self._lines: dict[int, list[Line]] = {}
        self._lines_from = 0.0
        self._counts: Counter[str] = Counter()
        self._worker = f"site {socket.gethostname()} {os.getpid()}"
        self._beats = dict.fromkeys(("judging", "sending", "tidying"), 0.0)
        self._stopping = asyncio.Event()
        self._told = clock.now()

    def wake(self) -> None:
        """Say that something was asked for: it is looked at in a moment, not at the next look."""
        self._asked.set()

    def is_well(self) -> bool:
        """Tell whether each part has done its work lately."""
        patience = _LOOK_SECONDS + get_settings().request_timeout.total_seconds() + 10
        return min(self._beats.values()) > time.monotonic() - patience

    async def run(self) -> None:
        """Work until told to stop."""
        self._beats = dict.fromkeys(self._beats, time.monotonic())
        await asyncio.gather(
            self._again("judging", self._judge, self._asked, _LOOK_SECONDS),
            self._again("sending", self._send, self._planned, _LOOK_SECONDS),
            self._again("tidying", self._tidy, self._stopping, _TIDY_SECONDS),
        )

    def stop(self) -> None:
        """Begin nothing more; what is under way is finished, and `run` returns."""
        self._stopping.set()
        for lines in self._lines.values():
            for line in lines:
                line.stopping = True
        self._asked.set()
        self._planned.set()

    async def _again(
        self, part: str, work: Callable[[], Awaitable[None]], woken: asyncio.Event, rest: float
    ) -> None:
        while not self._stopping.is_set():
            try:
                await work()
                self._beats[part] = time.monotonic()
            except BadInput as problem:
                log.error("%s codes: %s", part, problem)
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
            except Exception:
                log.exception("%s codes failed; trying again", part)
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await woken.wait()
                if woken is not self._stopping:
                    woken.clear()

    async def _judge(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(*_MOMENT)):
                await self._stopping.wait()
        while counts := await asyncio.to_thread(judge):
            self._planned.set()
            await asyncio.to_thread(metrics.send, judged_points, counts)

    async def _send(self) -> None:
        while not self._stopping.is_set() and (waiting := await asyncio.to_thread(self._waiting)):
            for cycle in waiting:
                lines = await self._lines_of(cycle)
                done = self._counts.total()
                await self._run(lines)
                if all(line.refused_for_good for line in lines):
                    why = "; ".join(f"{line.gateway.name}: {line.refused_for_good}" for line in lines)
                    raise BadInput(f"every provider refuses everything: {why}. Mend its connection")
                if self._counts.total() == done:
                    return  # whatever keeps them back, they are looked at again in a moment

    async def _run(self, lines: list[Line]) -> None:
        """Run the lines of a cycle until nothing is left for them; when one fails, the others end orderly."""
        for line in lines:
            line.idle = False  # from the last time
        running = [asyncio.create_task(line.run(lines)) for line in lines]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            if any(not one.done() for one in running):
                for line in lines:
                    line.stopping = True
                self._lines.clear()
                await asyncio.wait(running)
        for one in running:
            one.result()

    async def _lines_of(self, cycle: int) -> list[Line]:
        now = time.monotonic()
        stopped = any(line.refused_for_good for lines in self._lines.values() for line in lines)
        if stopped and now > self._lines_from + _MEND_SECONDS:
            self._lines.clear()
        if cycle not in self._lines:
            gateways = await asyncio.to_thread(self._registered)
            self._lines_from = now
            # One day's and, around midnight, the day before's.
            for old in sorted(self._lines)[:-1]:
                del self._lines[old]
            self._lines[cycle] = [self._line(cycle, gateway) for gateway in gateways]
        return self._lines[cycle]

    def _line(self, cycle: int, gateway: Gateway) -> Line:
        line = Line(
            cycle,
            gateway,
            receiver=(get_settings().receiver_url, receipt_secret()),
            worker=self._worker,
            counts=self._counts,
            at_any_time=True,
        )
        line.checked = False  # a code says nothing that could hold no longer
        return line

    def _registered(self) -> Sequence[Gateway]:
        gateways = self._open_gateways()
        with begin() as connection:
            routing.register(connection, gateways)
        return gateways

    def _waiting(self) -> list[int]:
        now = clock.now()
        with connect() as connection:
            rows = connection.scalars(
                text(_TO_SEND), {"now": now, "still": now + SHORTEST_VALIDITY, "since": _since()}
            )
            return sorted(rows)

    async def _tidy(self) -> None:
        now = clock.now()
        await asyncio.to_thread(tidy)
        if metrics.is_on():
            await asyncio.to_thread(metrics.send, left_points, await asyncio.to_thread(_waits, self._told))
        self._told = now


def tidy() -> None:
    """Take off the queue what came too late, erase codes that are of no use, forget what came to nothing."""
    now = clock.now()
    with begin() as connection:
        claims.expire_leases(connection)
        for cycle in connection.scalars(text(_OF_CODES), {"since": _since()}).all():
            claims.cancel_late(connection, cycle)
        connection.execute(text(_ERASE), {"since": _since(), "now": now})
    with begin() as connection:
        connection.execute(text(_FORGET), {"before": now - _UNVERIFIED_KEPT})
        limits.prune(connection)


def _waits(since: datetime) -> list[float]:
    """Return how long those waited whose codes a provider has taken since, in seconds."""
    with connect() as connection:
        return list(connection.scalars(text(_WAITS), {"since": _since(), "told": since}))


def _since() -> date:
    return clock.today() - _CYCLES_KEPT
