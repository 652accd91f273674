"""Triggers that wait in the operators' stead, and hold no worker. Each yields one small event.

They ask the database in a thread: the triggerer's loop serves many of them at once.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from sqlalchemy.exc import OperationalError

from fatoura import clock
from fatoura.database import connect
from fatoura.receipts.polling import seconds_to_poll
from fatoura.receipts.settling import Settlement, settlement
from fatoura.sending.outlook import Outlook, Wait, sending_outlook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Also where an instant has just passed, or somebody sets a tiny poll: the database serves others too.
_SHORTEST_REST = 0.5


class SendingTrigger(BaseTrigger):
    """Fires when a cycle has something to send again, or nothing at all any more.

    It looks again and again rather than sleeping until a known instant, so that a window or a rate that an
    operator changes meanwhile is taken up.

    :param cycle_id: whose sending waits.
    :param not_before: ISO instant of the business clock until which the provider is left alone.
    :param poll_seconds: how often to look.
    """

    def __init__(self, cycle_id: int, not_before: str | None, poll_seconds: float) -> None:
        super().__init__()
        self.cycle_id = cycle_id
        self.not_before = not_before
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer makes this trigger from again."""
        return (
            "sms_gateway.triggers.SendingTrigger",
            {
                "cycle_id": self.cycle_id,
                "not_before": self.not_before,
                "poll_seconds": self.poll_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield why the wait is over."""
        if self.not_before is not None:
            await asyncio.sleep(_seconds_until(datetime.fromisoformat(self.not_before)))
        while True:
            outlook = await _ask(self._look, self.poll_seconds)
            if outlook.wait in (Wait.NOTHING, Wait.DONE):
                yield TriggerEvent({"wait": outlook.wait.value})
                return
            rest = self.poll_seconds if outlook.until is None else _seconds_until(outlook.until)
            await asyncio.sleep(max(min(rest, self.poll_seconds), _SHORTEST_REST))

    def _look(self) -> Outlook:
        with connect() as connection:
            # Claims of a sender that died are put into doubt by whoever looks next.
            return sending_outlook(connection, self.cycle_id)


class ReceiptsSettledTrigger(BaseTrigger):
    """Fires when every message of a cycle has its final state, or the horizon has passed.

    Also when a provider is to be asked for receipts, where one does not report by itself.

    :param cycle_id: whose messages.
    :param poll_seconds: how often to look.
    """

    def __init__(self, cycle_id: int, poll_seconds: float) -> None:
        super().__init__()
        self.cycle_id = cycle_id
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer makes this trigger from again."""
        return (
            "sms_gateway.triggers.ReceiptsSettledTrigger",
            {"cycle_id": self.cycle_id, "poll_seconds": self.poll_seconds},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield how many messages are still open."""
        while True:
            standing, to_poll = await _ask(self._look, self.poll_seconds)
            if standing.is_over or to_poll <= 0:
                yield TriggerEvent({"open": standing.open})
                return
            await asyncio.sleep(max(min(to_poll, self.poll_seconds), _SHORTEST_REST))

    def _look(self) -> tuple[Settlement, float]:
        with connect() as connection:
            to_poll = min(seconds_to_poll(connection, self.cycle_id).values(), default=inf)
            return settlement(connection, self.cycle_id), to_poll


def _seconds_until(instant: datetime) -> float:
    return max((instant - clock.now()).total_seconds(), 0)


async def _ask(look: Any, poll_seconds: float) -> Any:
    """Ask the database; while it is away, ask again instead of failing a run that only waits."""
    while True:
        try:
            return await asyncio.to_thread(look)
        except OperationalError:
            await asyncio.sleep(poll_seconds)
