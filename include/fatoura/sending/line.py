"""One gateway's part of a sender: takes its share of a cycle's notices to the provider, at its pace.

Made by the sender. A line never decides by itself to send a message again, and never takes what is in doubt
with another gateway.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from fatoura import clock, metrics
from fatoura.database import begin
from fatoura.gateways.interface import Message, MessageUnfit, Outcome
from fatoura.gateways.session import Session
from fatoura.gateways.transport import Transport
from fatoura.metrics.sending import outcome_points, unwritten_points
from fatoura.notices.planning import cancel_replaced
from fatoura.sending import claims, routing
from fatoura.sending.held import Held, Look
from fatoura.sending.outlook import window_closes
from fatoura.sending.pace import URGENT_PRIORITY, Pace
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from fatoura.gateways.interface import Balance, Gateway

log = logging.getLogger(__name__)

# What a line claims at first, of the contract's rate; then it claims by what it sends.
_CLAIM_SECONDS = 2
_FLUSH_SECONDS = 0.1
_WRITE_TRIES = 6  # what became of messages is kept while the database restarts: about two minutes
_REFUSALS_IN_A_ROW = 20  # so many with no success between: the provider, not the messages, is the trouble
_FIRST_BACK_OFF = timedelta(seconds=5)
_LONGEST_BACK_OFF = timedelta(minutes=5)
# How often a line with nothing of its own looks whether the other lines have left it something.
_LOOK_SECONDS = 0.5
_A_DAY = timedelta(days=1)


class Line:
    """Sends one cycle's notices through one gateway.

    :param cycle_id: whose notices.
    :param gateway: the provider's adapter.
    :param receiver: URL and secret of the receipt receiver, as the provider reaches it.
    :param worker: who sends, for the attempts' records.
    :param counts: outcomes, shared by the sender's lines; `segments` counts those accepted.
    :param at_any_time: the sending window does not hold, for what somebody has just asked for and waits for.
    """

    def __init__(
        self,
        cycle_id: int,
        gateway: Gateway,
        *,
        receiver: tuple[str, str],
        worker: str,
        counts: Counter[str],
        at_any_time: bool = False,
    ) -> None:
        self.gateway = gateway
        self._cycle_id = cycle_id
        self._receiver = receiver
        self._worker = worker
        self._counts = counts
        self._at_any_time = at_any_time
        self._settings = get_settings()
        self._transport = Transport(
            connections=self._settings.connections, timeout=self._settings.request_timeout.total_seconds()
        )
        self._session = Session(gateway, self._transport)  # holds a token that outlasts a stay
        self._lines: Sequence[Line] = (self,)
        self._pace = Pace(gateway.name, cycle_id)
        self._back_off = _FIRST_BACK_OFF
        self._refused_in_a_row = 0
        self._takes_messages = False
        self.stopping = False
        self.checked = True
        """Whether the cycle can hold kinds that are checked when they are claimed."""
        self.refused_for_good: str | None = None
        """Why the provider refuses everything, when trying again cannot mend it."""
        self.rests_until: datetime | None = None
        """While the provider refuses everything for a time."""
        self.idle = False
        """Whether there was nothing for it at its last looks, and it is not looking just now."""

    async def balance(self) -> Balance:
        """Ask the provider what is left of the account, before the line runs.

        :raises BadInput: see `Session.balance`.
        """
        async with self._transport:
            return await self._session.balance()

    async def run(self, lines: Sequence[Line]) -> None:
        """Send until no line has anything to do now.

        :param lines: all lines of the sender, this one too.
        """
        self._lines = lines
        answers: asyncio.Queue[tuple[Message, Outcome]] = asyncio.Queue()
        writer = asyncio.create_task(self._write_answers(answers))
        try:
            async with self._transport:
                empty = 0
                # Who sees that all are idle goes; as nobody looks again before, nobody is left alone at work.
                while not self.stopping and not (self.idle and all(line.idle for line in lines)):
                    self.idle = False
                    empty = 0 if await self._send_claims(self._session, answers) else empty + 1
                    # What another line has just given up is there at the next look.
                    self.idle = empty > (0 if len(lines) == 1 else 1)
                    if empty and not all(line.idle for line in lines):
                        await asyncio.sleep(_LOOK_SECONDS)
        finally:
            self.idle = True
            written = asyncio.create_task(answers.join())
            # A writer that was cancelled, with all else, would be waited for in vain.
            await asyncio.wait({written, writer}, return_when=asyncio.FIRST_COMPLETED)
            written.cancel()
            writer.cancel()

    async def _send_claims(self, session: Session, answers: asyncio.Queue[tuple[Message, Outcome]]) -> bool:
        """Claim and send as long as there is something; tell whether there was."""
        if self._is_resting():
            await asyncio.to_thread(self._note_trouble)
            return False
        found = False
        room = asyncio.Semaphore(self._settings.connections)
        under_way: set[asyncio.Task[None]] = set()
        held = Held(
            self._claim,
            self._give_back,
            first=int(self._pace.rate * _CLAIM_SECONDS),
            most=self._settings.claim_size,
            lease=self._settings.lease,
        )
        try:
            while not self._should_pause():
                first = await held.first()
                if first is None or held.closes is None:
                    return found
                found, self.idle = True, False
                await room.acquire()
                if not await self._pace.allows(held.sizes, urgent=first.priority <= URGENT_PRIORITY):
                    room.release()
                    continue
                if held.is_stale():
                    room.release()
                    continue
                minutes = self._minutes_left(first, held.closes)
                if self._should_pause() or minutes < 1:
                    room.release()
                    held.refuse()
                    continue
                held.take()
                message = replace(
                    first.message,
                    validity_minutes=minutes,
                    receipt_url=self.gateway.receipt_url(
                        *self._receiver, first.message.id, first.message.attempt
                    ),
                )
                task = asyncio.create_task(self._submit(session, message, answers))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                task.add_done_callback(lambda _: room.release())
                # It goes before the next is looked at: where this process had to wait for its turn, many
                # that were in time when they were looked at would leave late, and all at once.
                await asyncio.sleep(0)
        finally:
            await held.close()
            await self._pace.rest()
            if under_way:
                await asyncio.wait(under_way)
        return found

    def _is_resting(self) -> bool:
        if self.refused_for_good is not None:
            return True
        if self.rests_until is not None and clock.now() < self.rests_until:
            return True
        if self.rests_until is not None:
            self.rests_until, self._refused_in_a_row = None, 0
        return False

    def _should_pause(self) -> bool:
        return (
            self.stopping or self.refused_for_good is not None or self._refused_in_a_row >= _REFUSALS_IN_A_ROW
        )

    @staticmethod
    def _minutes_left(claim: claims.Claim, closes: datetime) -> int:
        """Return the validity to hand over: never past the window's end, the last day, or the kind's own."""
        end = min(closes, claim.send_until)
        return min(claim.message.validity_minutes, int((end - clock.now()).total_seconds() // 60))

    def _claim(self, most: int, more_urgent_than: int | None) -> Look:
        while True:
            with begin() as connection:
                claims.expire_leases(connection)
                self._counts["replaced"] += cancel_replaced(connection, self._cycle_id)
                look = self._claim_of_open(connection, most, more_urgent_than)
                if more_urgent_than is None and len(look.claims) + look.withdrawn < most:
                    # Only now: it reads all that is planned, and while there is enough, it claims none of it.
                    self._counts["too_late"] += claims.cancel_late(connection, self._cycle_id)
            self._counts["withdrawn"] += look.withdrawn
            # Whole batches may hold no longer: what comes after them is not to wait for another look.
            if look.claims or not look.withdrawn or self.stopping:
                return look

    def _claim_of_open(self, connection: Connection, most: int, more_urgent_than: int | None) -> Look:
        name, capabilities = self.gateway.name, self.gateway.capabilities
        names = [line.gateway.name for line in self._lines]
        closing = {
            validity: clock.now() + _A_DAY
            if self._at_any_time
            else window_closes(connection, takes_validity=validity)
            for validity in {line.gateway.capabilities.validity for line in self._lines}
        }
        closes = closing[capabilities.validity]
        if closes is None:
            return Look([], None)
        # A gateway that may not send now leaves its share to those that may.
        open_now = {
            line.gateway.name
            for line in self._lines
            if closing[line.gateway.capabilities.validity] is not None
        }
        standings = [one for one in routing.standings(connection, names) if one.name in open_now]
        if self._takes_messages and any(one.health < 1 for one in standings if one.name == name):
            # Also when it has used up its small share: nothing else would show that it is well.
            routing.note_recovery(connection, name)
        batch = claims.claim(
            connection,
            self._cycle_id,
            gateway=name,
            stretch=routing.stretches(standings)[name],
            in_use=names,
            worker=self._worker,
            most=most,
            lease=self._settings.lease,
            doubt_horizon=self._settings.doubt_horizon,
            sender_id=self._settings.sender_id,
            recognises_repeats=capabilities.idempotency,
            more_urgent_than=more_urgent_than,
            checked=self.checked,
        )
        return Look(batch, closes, batch.withdrawn)

    def _note_trouble(self) -> None:
        with begin() as connection:
            routing.note_trouble(connection, self.gateway.name, for_good=self.refused_for_good is not None)

    async def _submit(
        self, session: Session, message: Message, answers: asyncio.Queue[tuple[Message, Outcome]]
    ) -> None:
        try:
            outcome = await session.submit(message)
        except MessageUnfit as unfit:
            outcome = Outcome("rejected", None, str(unfit))
        except Exception as error:
            # Whatever it was, it may have happened after the request went out.
            log.exception("notice %s: submitting failed", message.id)
            outcome = Outcome("in_doubt", None, f"{type(error).__name__} while submitting")
        if outcome.kind == "stop":
            self.refused_for_good = outcome.answer
        if outcome.kind in ("accepted", "refused", "stop"):
            self._takes_messages = outcome.kind == "accepted"
        if outcome.kind == "refused":
            self._refused_in_a_row += 1
            if self._refused_in_a_row == _REFUSALS_IN_A_ROW:
                self.rests_until = clock.now() + self._back_off
        else:
            self._refused_in_a_row = 0
        if outcome.kind == "accepted":
            self._counts["segments"] += message.segments
            self._back_off = _FIRST_BACK_OFF
        self._counts[outcome.kind] += 1
        answers.put_nowait((message, outcome))

    async def _write_answers(self, answers: asyncio.Queue[tuple[Message, Outcome]]) -> None:
        """Write answers in batches, for as long as the line runs."""
        while True:
            batch = [await answers.get()]
            await asyncio.sleep(_FLUSH_SECONDS)
            while not answers.empty():
                batch.append(answers.get_nowait())
            await self._write_patiently(batch)
            for _ in batch:
                answers.task_done()

    async def _write_patiently(self, batch: list[tuple[Message, Outcome]]) -> None:
        if not await self._patiently(f"outcomes of {len(batch)} messages", partial(self._write, batch)):
            # Their leases end, and they are in doubt: known, counted, and never sent again blindly.
            self._counts["unwritten"] += len(batch)
            await asyncio.to_thread(metrics.send, unwritten_points, self.gateway.name, batch)

    async def _give_back(self, messages: list[Message]) -> None:
        await self._patiently(f"{len(messages)} claims given back", partial(self._write_back, messages))

    @staticmethod
    async def _patiently(what: str, write: Callable[[], None]) -> bool:
        """Write to the database, again and again while it restarts; tell whether it was done."""
        for attempt in range(1, _WRITE_TRIES + 1):
            try:
                await asyncio.to_thread(write)
            except Exception:
                log.exception("%s could not be written (try %d)", what, attempt)
                await asyncio.sleep(2**attempt)
            else:
                return True
        return False

    def _write_back(self, messages: list[Message]) -> None:
        with begin() as connection:
            claims.give_back(connection, messages)

    def _write(self, batch: list[tuple[Message, Outcome]]) -> None:
        with begin() as connection:
            claims.write_outcomes(connection, batch, retry_after=self._back_off)
        metrics.send(outcome_points, self.gateway.name, batch)
        if self._refused_in_a_row:
            self._back_off = min(self._back_off * 2, _LONGEST_BACK_OFF)
