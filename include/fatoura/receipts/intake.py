"""Store raw receipts, many to a commit. Called by the receiver; knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import psycopg

from fatoura import metrics
from fatoura.database import begin, driver
from fatoura.errors import FatouraError
from fatoura.metrics.receipts import received_points
from fatoura.receipts.masking import without_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

_STORE = """
    COPY receipt (
        gateway, received_at, raw, notice_id, attempt, provider_id, status, detail, happened_at, match
    ) FROM STDIN
"""

_NOTHING_READ: dict[str, Any] = {
    **dict.fromkeys(("notice_id", "attempt", "provider_id", "status", "happened_at")),
    "match": "unreadable",
}


class ReceiptsRefused(FatouraError):
    """The database would not have these receipts: not for being away, but for what is in them."""


@dataclass(frozen=True)
class RawReceipt:
    """A receipt as it came, and what could be read of it; `repr` shows no content. Numbers are not stored."""

    gateway: str
    received_at: datetime
    raw: dict[str, Any]
    notice_id: UUID | None = None
    attempt: int | None = None
    provider_id: str | None = None
    status: str | None = None
    detail: str | None = None
    happened_at: datetime | None = None
    match: str = "new"

    def __repr__(self) -> str:
        """Name the receipt by our own id only."""
        return f"RawReceipt({self.gateway}, notice {self.notice_id}, {self.status})"


def store(receipts: Sequence[RawReceipt]) -> None:
    """Write receipts in one commit.

    :raises ReceiptsRefused: when one of them cannot be stored; then none of them is.
    """
    try:
        with begin() as connection, driver(connection).cursor() as cursor, cursor.copy(_STORE) as copy:
            for r in receipts:
                copy.write_row(
                    (
                        r.gateway,
                        r.received_at,
                        _storable(json.dumps(without_numbers(r.raw)).replace("\\u0000", "\\ufffd")),
                        r.notice_id,
                        r.attempt,
                        _storable(r.provider_id),
                        r.status,
                        _storable(r.detail),
                        r.happened_at,
                        r.match,
                    )
                )
    except psycopg.DataError as error:
        # The driver's own words repeat what was in them.
        raise ReceiptsRefused(f"{len(receipts)} receipts cannot be stored: {type(error).__name__}") from None
    metrics.send(received_points, receipts)


def _store_all(receipts: Sequence[RawReceipt]) -> None:
    """Store receipts; one that is refused for what is in it keeps back no other, and is kept as garbage."""
    try:
        store(receipts)
    except ReceiptsRefused:
        for receipt in receipts:
            try:
                store([receipt])
            except ReceiptsRefused as why:
                store([replace(receipt, **_NOTHING_READ, detail=str(why))])


def _storable(text: str | None) -> str | None:
    """Return a text as PostgreSQL can hold it: garbage is kept too, but without NUL and half characters."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")


class Intake:
    """Stores receipts: those that come during a commit are the next one, so none waits for others.

    `add` returns when its receipt is safe, so that "taken" is never said of one that could be lost.
    """

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._waiting: list[tuple[RawReceipt, asyncio.Future[None]]] = []
        self._woken = asyncio.Event()
        self.stored = asyncio.Event()  # set after each commit: there is something to match

    async def add(self, receipt: RawReceipt) -> None:
        """Store a receipt; return when it is committed, raise what kept it from being so."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((receipt, done))
        self._woken.set()
        await done

    async def run(self) -> None:
        """Write what waits, batch after batch, until cancelled."""
        while True:
            await self._woken.wait()
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if not self._waiting:
                self._woken.clear()
            try:
                await asyncio.to_thread(_store_all, [receipt for receipt, _ in batch])
            except Exception as error:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error)
                continue
            for _, done in batch:
                if not done.done():
                    done.set_result(None)
            self.stored.set()
