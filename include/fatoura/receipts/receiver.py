"""The receipt receiver: a web application in a process of its own, for it faces the provider's network.

It stores each receipt raw before it says "taken", matches in the background, and answers in the same way
whatever a receipt holds: a provider that is told of an error repeats it for hours. Payments that are pushed,
and messages that customers send, come in by this process as well, for the same reason.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from fastapi import FastAPI
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from fatoura import clock, metrics
from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.gateways import receipt_reader
from fatoura.gateways.interface import ReceiptUnreadable
from fatoura.inbound.receiving import InboundMessages, check_keywords
from fatoura.metrics.standing import watch
from fatoura.payments.push import PaymentsPush
from fatoura.receipts.intake import Intake, RawReceipt
from fatoura.receipts.matching import match_receipts, unpark_known
from fatoura.receipts.parking import Parking
from fatoura.receipts.secret import is_receipt_secret, receipt_secret
from fatoura.sending import routing
from fatoura.wrong_guesses import WrongGuesses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from fatoura.gateways.registry import ReceiptReader

log = logging.getLogger(__name__)

LARGEST_BODY = 16 * 1024
_LONGEST_QUERY = 4 * 1024

# Matched together, receipts cost a third of what they cost one by one.
_GATHER_SECONDS = 0.25


@asynccontextmanager
async def _work_in_the_background(app: Receiver) -> AsyncIterator[None]:
    receipt_secret()  # fail at the start, not at the first receipt
    check_keywords()
    workers = [asyncio.create_task(app.intake.run()), asyncio.create_task(_match_what_comes(app.intake))]
    if metrics.is_on():
        workers.append(asyncio.create_task(watch()))
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
                await asyncio.sleep(_GATHER_SECONDS)
        intake.stored.clear()


class Receiver(FastAPI):
    """The application. Receipts are answered before it comes to routes and objects: thousands a second."""

    def __init__(self) -> None:
        super().__init__(
            title="Fatoura receipt receiver",
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            lifespan=_work_in_the_background,
        )
        self.add_route("/health", _health, methods=["GET"])
        self.add_route("/payments", PaymentsPush(WrongGuesses()).answer, methods=["POST"])
        inbound = InboundMessages(WrongGuesses())
        self.add_route("/inbound/{gateway}/{secret}", inbound.answer, methods=["GET", "POST"])
        self.intake = Intake()
        self._guesses = WrongGuesses()
        self._readers: dict[str, ReceiptReader | None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        if scope["type"] == "http" and scope["path"].startswith("/receipts/"):
            for message in await self._answer(scope, receive):
                await send(message)
        else:
            await super().__call__(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[Message, ...]:
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return _METHOD_NOT_ALLOWED
        try:
            gateway, secret = scope["path"].removeprefix("/receipts/").split("/")
        except ValueError:
            return _NOT_FOUND
        address = scope["client"][0] if scope["client"] else ""
        try:
            knows_the_secret = is_receipt_secret(secret)
        except (OSError, BadInput):
            log.exception("the receipt secret cannot be read; providers are asked to try again")
            return _TRY_AGAIN
        if not knows_the_secret:
            if self._guesses.too_many(address):
                return _TOO_MANY
            self._guesses.count(address)
            return _FORBIDDEN
        try:
            read = await self._reader_of(gateway)
        except Exception:
            log.exception("the provider of a receipt cannot be looked up; it is asked to try again")
            return _TRY_AGAIN
        if read is None:
            return _UNKNOWN_PROVIDER
        if len(scope["query_string"]) > _LONGEST_QUERY:
            return _TOO_LARGE
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return ()  # nobody is there any more; a provider that wants to be heard comes again
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > LARGEST_BODY:
                return _TOO_LARGE
        try:
            await self.intake.add(_raw_receipt(gateway, read, scope, body))
        except Exception:
            log.exception("a receipt could not be stored; the provider is asked to try again")
            return _TRY_AGAIN
        return _TAKEN

    async def _reader_of(self, gateway: str) -> ReceiptReader | None:
        """Return what reads a gateway's receipts, also when no new messages go through it any more."""
        if gateway not in self._readers:
            adapter = await run_in_threadpool(_adapter_of, gateway)
            if adapter is None:
                return None  # not remembered: it may be registered any moment
            self._readers[gateway] = receipt_reader(adapter)
        return self._readers[gateway]


def _adapter_of(gateway: str) -> str | None:
    with connect() as connection:
        return routing.adapter_of(connection, gateway)


def _raw_receipt(gateway: str, read: ReceiptReader, scope: Scope, body: bytes) -> RawReceipt:
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    raw: dict[str, Any] = {"query": query}
    if body:
        raw["body"] = body.decode("utf-8", "replace")
    now = clock.now()
    try:
        receipt = read(query, body, Headers(scope=scope))
    except ReceiptUnreadable as problem:
        return RawReceipt(gateway, now, raw, detail=str(problem), match="unreadable")
    return RawReceipt(
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


def _said(status: int, words: str) -> tuple[Message, ...]:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(words))]
    return (
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": words.encode()},
    )


_TAKEN = _said(200, "taken")
_FORBIDDEN = _said(403, "Forbidden")
_NOT_FOUND = _said(404, "Not Found")
_UNKNOWN_PROVIDER = _said(404, "Unknown provider")
_METHOD_NOT_ALLOWED = _said(405, "Method Not Allowed")
_TOO_LARGE = _said(413, "Too large")
_TOO_MANY = _said(429, "Too many wrong requests")
_TRY_AGAIN = _said(503, "Try again later")


def _ask_the_database() -> None:
    with connect() as connection:
        connection.execute(text("SELECT 1"))


async def _health(_request: Request) -> Response:
    try:
        await run_in_threadpool(_ask_the_database)
    except Exception:
        return JSONResponse({"database": "down"}, status_code=503)
    return JSONResponse({"database": "up"})


def create_app() -> Receiver:
    """Return the receiver: `/receipts/<gateway>/<secret>`, `/inbound/…` alike, `/payments`, and `/health`."""
    return Receiver()
