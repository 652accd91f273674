"""Store raw receipts, many to a commit. Called by the receiver; knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.database import begin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

_STORE = text(
    """
    INSERT INTO receipt (
        gateway, received_at, raw, notice_id, attempt, provider_id, status, detail, happened_at, match
    )
    SELECT * FROM unnest(
        CAST(:gateways AS text[]), CAST(:received AS timestamptz[]), CAST(:raws AS jsonb[]),
        CAST(:notices AS uuid[]), CAST(:attempts AS smallint[]), CAST(:provider_ids AS text[]),
        CAST(:statuses AS text[]), CAST(:details AS text[]), CAST(:happened AS timestamptz[]),
        CAST(:matches AS text[])
    )
    """
)


@dataclass(frozen=True)
class RawReceipt:
    """A receipt as it came, and what could be read of it; `repr` shows no content."""

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
    """Write receipts in one statement and one commit."""
    with begin() as connection:
        connection.execute(
            _STORE,
            {
                "gateways": [r.gateway for r in receipts],
                "received": [r.received_at for r in receipts],
                # PostgreSQL's text holds no NUL; a receipt with one is garbage, but garbage is kept too.
                "raws": [json.dumps(r.raw).replace("\\u0000", "\\ufffd") for r in receipts],
                "notices": [r.notice_id for r in receipts],
                "attempts": [r.attempt for r in receipts],
                "provider_ids": [r.provider_id for r in receipts],
                "statuses": [r.status for r in receipts],
                "details": [r.detail for r in receipts],
                "happened": [r.happened_at for r in receipts],
                "matches": [r.match for r in receipts],
            },
        )


class Intake:
    """Gathers receipts that come at the same time into one commit.

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
                await asyncio.to_thread(store, [receipt for receipt, _ in batch])
            except Exception as error:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error)
                continue
            for _, done in batch:
                if not done.done():
                    done.set_result(None)
            self.stored.set()
