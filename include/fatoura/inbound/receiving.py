"""`/inbound/<gateway>/<secret>`: the web side of messages that customers send, mounted by the receiver.

A provider that passes one on is answered with what it is to send back. The secret is the one of receipts: who
does not know it learns nothing, and is told to stop after some guesses.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import text
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response

from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.gateways.interface import InboundUnreadable
from fatoura.gateways.registry import ADAPTERS
from fatoura.inbound.keywords import load_keywords
from fatoura.inbound.messages import react
from fatoura.receipts.secret import is_receipt_secret
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from starlette.requests import Request

    from fatoura.gateways.interface import Gateway
    from fatoura.wrong_guesses import WrongGuesses

log = logging.getLogger(__name__)

LARGEST_BODY = 16 * 1024
_LONGEST_QUERY = 8 * 1024


class InboundMessages:
    """Takes messages of customers.

    :param guesses: where wrong secrets are counted, by address.
    """

    def __init__(self, guesses: WrongGuesses) -> None:
        self._guesses = guesses

    async def answer(self, request: Request) -> Response:
        """Take one message: 200 with what is to be sent back, if anything; 503 when it was not obeyed."""
        address = request.client.host if request.client else ""
        try:
            knows = is_receipt_secret(request.path_params["secret"])
        except (OSError, BadInput):
            log.exception("the receipt secret cannot be read; the provider is asked to try again")
            return _TRY_AGAIN
        if not knows:
            if self._guesses.too_many(address):
                return PlainTextResponse("Too many wrong requests", 429)
            self._guesses.count(address)
            return PlainTextResponse("Forbidden", 403)
        name = request.path_params["gateway"]
        query = request.scope["query_string"]
        if len(query) > _LONGEST_QUERY:
            return PlainTextResponse("Too large", 413)
        body = bytearray()
        try:
            async for piece in request.stream():
                body += piece
                if len(body) > LARGEST_BODY:
                    return PlainTextResponse("Too large", 413)
        except ClientDisconnect:
            return _TRY_AGAIN
        try:
            adapter = await run_in_threadpool(_adapter_of, name)
            if adapter is None:
                return PlainTextResponse("No messages are taken through this provider", 404)
            message = adapter.read_inbound(query, bytes(body), request.headers)
            reaction = await run_in_threadpool(react, name, message)
        except InboundUnreadable as why:
            # It would be as unreadable the next time.
            log.warning("%s: a message of a customer cannot be read: %s", name, why)
            return Response(status_code=200)
        except Exception:
            log.exception("%s: a message of a customer could not be obeyed; the provider tries again", name)
            return _TRY_AGAIN
        headers, words = adapter.inbound_answer(reaction.answer, reaction.language)
        return Response(words, headers=headers)


def check_keywords() -> None:
    """Fail at the start, not at the first message, where the file of keywords is wrong."""
    load_keywords(get_settings().keywords_file)


def _adapter_of(name: str) -> type[Gateway] | None:
    """Return how a provider speaks whose connection says that it passes messages on."""
    with connect() as connection:
        adapter = connection.scalar(
            text(
                "SELECT adapter FROM gateway "
                "WHERE name = :name AND CAST(capabilities ->> 'inbound' AS boolean)"
            ),
            {"name": name},
        )
    return ADAPTERS.get(adapter) if adapter else None


_TRY_AGAIN = PlainTextResponse("Try again later", 503)
