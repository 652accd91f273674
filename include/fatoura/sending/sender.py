"""One sender: takes claims through the provider, concurrently and at the contract's pace.

Runs inside a send task. It ends when there is nothing to do for a while, and says what its cycle waits
for; the operator then gives up its worker. It never decides by itself to send a message again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.errors import NeedsAPerson
from fatoura.gateways.interface import Message, MessageUnfit, Outcome, outcome_of
from fatoura.gateways.transport import Transport
from fatoura.notices.planning import cancel_replaced
from fatoura.sending import claims
from fatoura.sending.outlook import Outlook, Wait, sending_outlook, window_closes
from fatoura.sending.pace import Pace
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from fatoura.gateways.interface import Gateway

log = logging.getLogger(__name__)

_CLAIM_SECONDS = (
    5  # a claim holds about this much of the contract's rate, so that leases and others see it soon
)
_FLUSH_SECONDS = 0.1
_WRITE_TRIES = 6  # outcomes are kept and written again while the database restarts: about a minute
_REFUSALS_IN_A_ROW = 20  # so many with no success between: the provider, not the messages, is the trouble
_FIRST_BACK_OFF = timedelta(seconds=5)
_LONGEST_BACK_OFF = timedelta(minutes=5)


class GatewayStopped(NeedsAPerson):
    """The provider refuses everything, and trying again cannot mend it: wrong credentials, for one."""


@dataclass
class SendResult:
    """What a sender did, and what its cycle waits for now. Seconds are those in which it was busy."""

    outlook: Outlook = field(default_factory=lambda: Outlook(Wait.NOTHING))
    counts: Counter[str] = field(default_factory=Counter)
    segments: int = 0
    seconds: float = 0.0


class Sender:
    """Sends the notices of one cycle.

    :param cycle_id: whose notices.
    :param gateway: the provider's adapter.
    :param receiver: URL and secret of the receipt receiver, as the provider reaches it.
    :param worker: who sends, for the attempts' records.
    """

    def __init__(self, cycle_id: int, gateway: Gateway, *, receiver: tuple[str, str], worker: str) -> None:
        self._cycle_id = cycle_id
        self._gateway = gateway
        self._receiver = receiver
        self._worker = worker
        self._settings = get_settings()
        self._result = SendResult()
        self.stopping = False
        self._refusal_for_good: str | None = None
        self._refused_in_a_row = 0
        self._back_off = _FIRST_BACK_OFF

    def stop(self) -> None:
        """Ask the sender to finish what is under way and to return what it has not begun."""
        self.stopping = True

    async def run(self, *, patience: timedelta = timedelta(seconds=15)) -> SendResult:
        """Send until there is nothing to do for longer than `patience`.

        :param patience: the longest wait worth keeping the worker for; a deferral costs a few seconds too.
        :raises GatewayStopped: when the provider refuses everything for good.
        """
        idle_since = time.monotonic()
        while True:
            sent = self._result.counts["accepted"]
            began = time.monotonic()
            self._result.outlook = await self._stay()
            if self._result.counts["accepted"] > sent:
                self._result.seconds += time.monotonic() - began
                idle_since = time.monotonic()
            outlook = self._result.outlook
            if self.stopping or outlook.wait is Wait.DONE:
                return self._result
            wait = 0.0 if outlook.until is None else (outlook.until - clock.now()).total_seconds()
            if outlook.wait is Wait.OTHERS:
                wait = 0.5
            if time.monotonic() + wait > idle_since + patience.total_seconds():
                return self._result
            await asyncio.sleep(max(wait, 0.05))

    async def _stay(self) -> Outlook:
        """Send what can be sent now, and look what comes next."""
        self._refused_in_a_row = 0
        answers: asyncio.Queue[tuple[Message, Outcome]] = asyncio.Queue()
        writer = asyncio.create_task(self._write_answers(answers))
        try:
            async with Transport(
                connections=self._settings.connections, timeout=self._settings.request_timeout.total_seconds()
            ) as transport:
                await self._send_batches(transport, answers)
        finally:
            await answers.join()
            writer.cancel()
        if self._refusal_for_good is not None:
            raise GatewayStopped(
                f"the provider refuses everything: {self._refusal_for_good}. Nothing was lost: mend the "
                f"connection {self._settings.sms_conn_id!r} and clear this task"
            )
        if self._refused_in_a_row >= _REFUSALS_IN_A_ROW:
            return Outlook(Wait.BACK_OFF, clock.now() + self._back_off)
        return await asyncio.to_thread(self._look)

    async def _send_batches(
        self, transport: Transport, answers: asyncio.Queue[tuple[Message, Outcome]]
    ) -> None:
        pace = Pace(self._gateway.name)
        room = asyncio.Semaphore(self._settings.connections)
        under_way: set[asyncio.Task[None]] = set()
        try:
            while not self._should_pause():
                batch, closes = await asyncio.to_thread(self._claim)
                if not batch:
                    return
                for position, claim in enumerate(batch):
                    await room.acquire()
                    await pace.wait(claim.message.segments)
                    minutes = self._minutes_left(claim, closes)
                    if self._should_pause() or minutes < 1:
                        await asyncio.to_thread(self._give_back, [held.message for held in batch[position:]])
                        return
                    message = replace(
                        claim.message,
                        validity_minutes=minutes,
                        receipt_url=self._gateway.receipt_url(
                            *self._receiver, claim.message.id, claim.message.attempt
                        ),
                    )
                    task = asyncio.create_task(self._submit(transport, message, answers))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                    task.add_done_callback(lambda _: room.release())
        finally:
            if under_way:
                await asyncio.wait(under_way)

    def _should_pause(self) -> bool:
        return (
            self.stopping
            or self._refusal_for_good is not None
            or self._refused_in_a_row >= _REFUSALS_IN_A_ROW
        )

    @staticmethod
    def _minutes_left(claim: claims.Claim, closes: datetime) -> int:
        """Return the validity to hand over: never past the window's end, the last day, or the kind's own."""
        end = min(closes, claim.send_until)
        return min(claim.message.validity_minutes, int((end - clock.now()).total_seconds() // 60))

    def _claim(self) -> tuple[list[claims.Claim], datetime]:
        with begin() as connection:
            claims.expire_leases(connection)
            self._result.counts["replaced"] += cancel_replaced(connection, self._cycle_id)
            self._result.counts["too_late"] += claims.cancel_late(connection, self._cycle_id)
            closes = window_closes(connection)
            if closes is None:
                return [], clock.now()
            batch = claims.claim(
                connection,
                self._cycle_id,
                gateway=self._gateway.name,
                worker=self._worker,
                most=min(
                    self._settings.claim_size,
                    max(1, int(self._settings.segments_per_second * _CLAIM_SECONDS)),
                ),
                lease=self._settings.lease,
                doubt_horizon=self._settings.doubt_horizon,
                sender_id=self._settings.sender_id,
            )
            return batch, closes

    def _give_back(self, messages: list[Message]) -> None:
        with begin() as connection:
            claims.give_back(connection, messages)

    def _look(self) -> Outlook:
        with connect() as connection:
            return sending_outlook(connection, self._cycle_id)

    async def _submit(
        self, transport: Transport, message: Message, answers: asyncio.Queue[tuple[Message, Outcome]]
    ) -> None:
        try:
            request = self._gateway.submit_request(message)
        except MessageUnfit as unfit:
            outcome = Outcome("rejected", None, str(unfit))
        else:
            try:
                outcome = outcome_of(self._gateway, await transport.submit(request))
            except Exception as error:
                # Whatever it was, it may have happened after the request went out.
                log.exception("notice %s: submitting failed", message.id)
                outcome = Outcome("in_doubt", None, f"{type(error).__name__} while submitting")
        if outcome.kind == "stop":
            self._refusal_for_good = outcome.answer
        self._refused_in_a_row = self._refused_in_a_row + 1 if outcome.kind == "refused" else 0
        if outcome.kind == "accepted":
            self._result.segments += message.segments
            self._back_off = _FIRST_BACK_OFF
        self._result.counts[outcome.kind] += 1
        answers.put_nowait((message, outcome))

    async def _write_answers(self, answers: asyncio.Queue[tuple[Message, Outcome]]) -> None:
        """Write answers in batches, for as long as the sender stays."""
        while True:
            batch = [await answers.get()]
            await asyncio.sleep(_FLUSH_SECONDS)
            while not answers.empty():
                batch.append(answers.get_nowait())
            await self._write_patiently(batch)
            for _ in batch:
                answers.task_done()

    async def _write_patiently(self, batch: list[tuple[Message, Outcome]]) -> None:
        for attempt in range(1, _WRITE_TRIES + 1):
            try:
                await asyncio.to_thread(self._write, batch)
            except Exception:
                log.exception("outcomes of %d messages could not be written (try %d)", len(batch), attempt)
                await asyncio.sleep(2**attempt)
            else:
                return
        # Their leases end, and they are in doubt: known, counted, and never sent again blindly.
        self._result.counts["unwritten"] += len(batch)

    def _write(self, batch: list[tuple[Message, Outcome]]) -> None:
        with begin() as connection:
            claims.write_outcomes(connection, batch, retry_after=self._back_off)
        if self._refused_in_a_row:
            self._back_off = min(self._back_off * 2, _LONGEST_BACK_OFF)
