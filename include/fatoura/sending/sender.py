"""One sender: takes a cycle's notices through the gateways in use, a line for each.

Runs inside a send task. It ends when there is nothing to do for a while, and says what its cycle waits
for; the operator then gives up its worker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.errors import BadInput, NeedsAPerson
from fatoura.sending import balances, checks, routing
from fatoura.sending.line import Line
from fatoura.sending.outlook import Outlook, Wait, sending_outlook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from fatoura.gateways.interface import Gateway

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5


class GatewayStopped(NeedsAPerson):
    """Every provider refuses everything, and trying again cannot mend it: wrong credentials, for one."""


@dataclass
class SendResult:
    """What a sender did, and what its cycle waits for now.

    :param counts: outcomes by their kind; `segments` of accepted messages.
    :param seconds: in which it was busy.
    :param stopped: why gateways were given up until somebody mends them, by their names.
    :param short: whose accounts will not do for this cycle, and by how much.
    """

    outlook: Outlook = field(default_factory=lambda: Outlook(Wait.NOTHING))
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    stopped: dict[str, str] = field(default_factory=dict)
    short: dict[str, str] = field(default_factory=dict)


class Sender:
    """Sends the notices of one cycle.

    :param cycle_id: whose notices.
    :param gateways: the providers' adapters, in the order of fall-back.
    :param receiver: URL and secret of the receipt receiver, as the providers reach it.
    :param worker: who sends, for the attempts' records.
    """

    def __init__(
        self, cycle_id: int, gateways: Sequence[Gateway], *, receiver: tuple[str, str], worker: str
    ) -> None:
        self._cycle_id = cycle_id
        self._gateways = gateways
        self._result = SendResult()
        self._lines = [
            Line(cycle_id, gateway, receiver=receiver, worker=worker, counts=self._result.counts)
            for gateway in gateways
        ]
        self.stopping = False

    def stop(self) -> None:
        """Ask the sender to finish what is under way and to return what it has not begun."""
        self.stopping = True
        for line in self._lines:
            line.stopping = True

    async def run(self, *, patience: timedelta = timedelta(seconds=15)) -> SendResult:
        """Send until there is nothing to do for longer than `patience`.

        :param patience: the longest wait worth keeping the worker for; a deferral costs a few seconds too.
        :raises GatewayStopped: when every provider refuses everything for good.
        :raises BadInput: when a connection does not allow messages as long as some of these.
        """
        await asyncio.to_thread(self._register)
        told = await balances.look_up(
            {line.gateway.name: line.balance for line in self._lines if line.gateway.capabilities.balance}
        )
        self._result.short = await asyncio.to_thread(balances.shortages, self._cycle_id, told)
        idle_since = time.monotonic()
        while True:
            sent = self._result.counts["accepted"]
            began = time.monotonic()
            outlook = self._result.outlook = await self._stay()
            if self._result.counts["accepted"] > sent:
                self._result.seconds += time.monotonic() - began
                idle_since = time.monotonic()
            if self.stopping or outlook.wait is Wait.DONE:
                return self._result
            wait = 0.0 if outlook.until is None else (outlook.until - clock.now()).total_seconds()
            if outlook.wait in (Wait.OTHERS, Wait.NOTHING) or (
                outlook.wait is Wait.BACK_OFF and self._shares_move()
            ):
                wait = _LOOK_SECONDS
            if time.monotonic() + wait > idle_since + patience.total_seconds():
                return self._result
            await asyncio.sleep(max(wait, 0.05))

    async def _stay(self) -> Outlook:
        """Send what can be sent now, and look what comes next."""
        for line in self._lines:
            line.idle = False
        await self._run_lines()
        stopped = {line.gateway.name: line.refused_for_good for line in self._lines if line.refused_for_good}
        for name, why in stopped.items():
            if name not in self._result.stopped:
                log.error("%s refuses everything until somebody mends its connection: %s", name, why)
        self._result.stopped = stopped
        if len(stopped) == len(self._lines):
            raise GatewayStopped(
                "the provider refuses everything: "
                + "; ".join(f"{name}: {why}" for name, why in stopped.items())
                + ". Nothing was lost: mend the connection and clear this task"
            )
        outlook = await asyncio.to_thread(self._look)
        resting = [line.rests_until for line in self._lines if line.rests_until]
        if resting and outlook.wait in (Wait.NOTHING, Wait.BACK_OFF):
            return Outlook(Wait.BACK_OFF, min(resting))
        return outlook

    def _shares_move(self) -> bool:
        """Whether one gateway is in trouble and another is not, which takes over its share step by step."""
        resting = [line.rests_until is not None or line.refused_for_good is not None for line in self._lines]
        return any(resting) and not all(resting)

    async def _run_lines(self) -> None:
        """Run all lines; when one fails, let the others finish what they began before it is told."""
        running = [asyncio.create_task(line.run(self._lines)) for line in self._lines]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            if any(not one.done() for one in running):
                self.stop()
                await asyncio.wait(running)
        for one in running:
            one.result()

    def _register(self) -> None:
        with begin() as connection:
            routing.register(connection, self._gateways)
            checked = checks.are_needed(connection, self._cycle_id)
            if checked:  # bills take one segment, and there are too many to look at
                self._insist_on_length(connection)
        for line in self._lines:
            line.checked = checked

    def _insist_on_length(self, connection: Connection) -> None:
        """Stop before a line refuses each long message: they would be final, and are a setting away."""
        longest = connection.scalar(
            text("SELECT max(segments) FROM notice WHERE cycle_id = :cycle AND state = 'planned'"),
            {"cycle": self._cycle_id},
        )
        short = [
            f"{gateway.name} allows {gateway.capabilities.longest_segments}"
            for gateway in self._gateways
            if gateway.capabilities.longest_segments < (longest or 1)
        ]
        if short:
            raise BadInput(
                f"some messages of this cycle take {longest} segments, and the connection "
                f"{', '.join(short)}: set longest_segments in its extra to what the provider allows, and "
                "clear this task. It has sent nothing"
            )

    def _look(self) -> Outlook:
        with connect() as connection:
            return sending_outlook(connection, self._cycle_id)
