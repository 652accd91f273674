"""`POST /payments`: the web side of pushed payments, mounted by the receiver. It answers when all is stored.

Who does not know the token learns nothing, and is told to stop after some guesses. Bodies are read only of
who does, and only few at a time: receipts must not wait for them.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from fatoura.errors import BadInput
from fatoura.feeds.refusal import FeedDiffers, FeedRefused
from fatoura.payments.pushing import load_pushed
from fatoura.payments.secret import is_payments_token

if TYPE_CHECKING:
    from starlette.requests import Request

    from fatoura.wrong_guesses import WrongGuesses

log = logging.getLogger(__name__)

LARGEST_BODY = 8 * 1024 * 1024
"""Bytes: some 40,000 payments."""

_AT_ONCE = 2
_WAIT_SECONDS = 30.0
_BODY_SECONDS = 60.0


class PaymentsPush:
    """Takes pushed payments.

    :param guesses: where wrong tokens are counted, by address.
    """

    def __init__(self, guesses: WrongGuesses) -> None:
        self._guesses = guesses
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def answer(self, request: Request) -> Response:
        """Take one push: 200 stored, now or before; 409 another feed of this name; 422 refused, and why."""
        address = request.client.host if request.client else ""
        try:
            knows = is_payments_token(_token(request))
        except (OSError, BadInput):
            log.exception("the payments token cannot be read; who pushes is asked to try again")
            return _later()
        if not knows:
            if self._guesses.too_many(address):
                return _said(429, "too many wrong tokens: wait a minute")
            self._guesses.count(address)
            return _said(401, "no token, or not the right one", {"WWW-Authenticate": "Bearer"})
        if _declared_length(request) > LARGEST_BODY:
            return _too_large()
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            return _later()
        try:
            return await self._take(request, address)
        finally:
            self._places.release()

    async def _take(self, request: Request, address: str) -> Response:
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                async for piece in request.stream():
                    body += piece
                    if len(body) > LARGEST_BODY:
                        return _too_large()
        except TimeoutError:
            return _said(408, "the document took too long; push it again")
        except ClientDisconnect:
            return _later()  # nobody is there any more to read it
        try:
            loaded = await run_in_threadpool(load_pushed, bytes(body), location=f"push from {address}")
        except FeedRefused as why:
            log.warning("pushed from %s: %s", address, why)
            status = 409 if isinstance(why, FeedDiffers) else 422
            return _said(
                status,
                str(why),
                problems=list(why.problems),
                rows=[flaw for row in why.rows for flaw in row.as_json()],
            )
        except Exception:
            log.exception("pushed payments could not be stored; who pushes is asked to try again")
            return _later()
        return JSONResponse(loaded.as_dict())


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _declared_length(request: Request) -> int:
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 20 else 0


def _said(status: int, words: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    return JSONResponse({"error": words, **more}, status, headers)


def _too_large() -> Response:
    return _said(
        413,
        f"the document is larger than {LARGEST_BODY:,} bytes; push it as several feeds, each with its name",
    )


def _later() -> Response:
    return _said(503, "not now; push the same feed again", {"Retry-After": "30"})
