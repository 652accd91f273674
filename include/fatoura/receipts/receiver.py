"""The receipt receiver: a web application in a process of its own, for it faces the provider's network.

It stores each receipt raw before it says "taken", matches in the background, and answers in the same way
whatever a receipt holds: a provider that is told of an error repeats it for hours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from fastapi import FastAPI
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response

from fatoura import clock
from fatoura.database import connect
from fatoura.gateways import receipt_reader
from fatoura.gateways.interface import ReceiptUnreadable
from fatoura.receipts.intake import Intake, RawReceipt
from fatoura.receipts.matching import match_receipts, unpark_known
from fatoura.receipts.parking import Parking
from fatoura.receipts.secret import is_receipt_secret, receipt_secret
from fatoura.sending import routing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from fatoura.gateways.registry import ReceiptReader

log = logging.getLogger(__name__)

LARGEST_BODY = 16 * 1024
_LONGEST_QUERY = 4 * 1024
_ADDRESSES_REMEMBERED = 10_000


class Refusals:
    """Keeps who guesses at the secret from guessing fast. Providers themselves are not limited.

    :param most: wrong requests of one address in a minute; further ones are refused unread.
    """

    def __init__(self, most: int = 20) -> None:
        self._most = most
        self._minute = 0
        self._counts: Counter[str] = Counter()

    def count(self, address: str) -> None:
        """Note a wrong request. Forgets all at the turn of a minute, so it never grows for long."""
        self._turn()
        if len(self._counts) < _ADDRESSES_REMEMBERED:
            self._counts[address] += 1

    def too_many(self, address: str) -> bool:
        """Tell whether an address has used up its guesses of this minute."""
        self._turn()
        return self._counts[address] >= self._most

    def _turn(self) -> None:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()


@asynccontextmanager
async def _work_in_the_background(app: FastAPI) -> AsyncIterator[None]:
    receipt_secret()  # fail at the start, not at the first receipt
    intake: Intake = app.state.intake
    workers = [asyncio.create_task(intake.run()), asyncio.create_task(_match_what_comes(intake))]
    yield
    for worker in workers:
        worker.cancel()
    for worker in workers:
        with suppress(asyncio.CancelledError):
            await worker


async def _match_what_comes(intake: Intake) -> None:
    parking = Parking()
    while True:
        try:
            received_within = parking.due()
            if received_within is not None:
                await asyncio.to_thread(unpark_known, received_within)
            counts = await asyncio.to_thread(match_receipts)
            if counts["parked"]:
                parking.came()
            if counts:
                log.info("receipts: %s", ", ".join(f"{how} {count}" for how, count in sorted(counts.items())))
        except Exception:
            # They are stored: the next round finds them.
            log.exception("matching receipts failed; trying again")
            await asyncio.sleep(1)
        with suppress(TimeoutError):
            async with asyncio.timeout(parking.seconds_left()):
                await intake.stored.wait()
        intake.stored.clear()


async def _receive(request: Request) -> Response:
    refusals: Refusals = request.app.state.refusals
    address = request.client.host if request.client else ""
    if refusals.too_many(address):
        return PlainTextResponse("Too many wrong requests", status_code=429)
    if not is_receipt_secret(request.path_params["secret"]):
        refusals.count(address)
        return PlainTextResponse("Forbidden", status_code=403)
    gateway = request.path_params["gateway"]
    try:
        read = await run_in_threadpool(_reader_of, gateway)
    except Exception:
        log.exception("the provider of a receipt cannot be looked up; it is asked to try again")
        return PlainTextResponse("Try again later", status_code=503)
    if read is None:
        return PlainTextResponse("Unknown provider", status_code=404)
    if len(request.url.query) > _LONGEST_QUERY:
        return PlainTextResponse("Too large", status_code=413)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            return PlainTextResponse("Too large", status_code=413)
    query = dict(request.query_params)
    raw = {"query": query, "body": body.decode("utf-8", "replace")} if body else {"query": query}
    now = clock.now()
    try:
        receipt = read(query, body, request.headers)
    except ReceiptUnreadable as problem:
        stored = RawReceipt(gateway, now, raw, detail=str(problem), match="unreadable")
    else:
        stored = RawReceipt(
            gateway,
            now,
            raw,
            notice_id=receipt.notice_id,
            attempt=receipt.attempt,
            provider_id=receipt.provider_id,
            status=receipt.status,
            detail=receipt.detail,
            happened_at=receipt.happened_at and clock.moved(receipt.happened_at),
        )
    try:
        await request.app.state.intake.add(stored)
    except Exception:
        log.exception("a receipt could not be stored; the provider is asked to try again")
        return PlainTextResponse("Try again later", status_code=503)
    return PlainTextResponse("taken", status_code=200)


@cache
def _adapter_of(gateway: str) -> str:
    with connect() as connection:
        adapter = routing.adapter_of(connection, gateway)
    if adapter is None:
        raise LookupError(gateway)  # not remembered: it may be registered any moment
    return adapter


def _reader_of(gateway: str) -> ReceiptReader | None:
    """Return what reads a gateway's receipts, also when no new messages go through it any more."""
    try:
        return receipt_reader(_adapter_of(gateway))
    except LookupError:
        return None


def _ask_the_database() -> None:
    with connect() as connection:
        connection.execute(text("SELECT 1"))


async def _health(request: Request) -> Response:
    try:
        await run_in_threadpool(_ask_the_database)
    except Exception:
        return JSONResponse({"database": "down"}, status_code=503)
    return JSONResponse({"database": "up"})


def create_app() -> FastAPI:
    """Return the receiver: `/receipts/<provider>/<secret>` by GET or POST, and `/health`."""
    app = FastAPI(
        title="Fatoura receipt receiver",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_work_in_the_background,
    )
    app.state.intake = Intake()
    app.state.refusals = Refusals()
    app.add_route("/receipts/{gateway}/{secret}", _receive, methods=["GET", "POST"])
    app.add_route("/health", _health, methods=["GET"])
    return app
