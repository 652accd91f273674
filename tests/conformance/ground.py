"""The ground on which an adapter is tried: provider, relay, receiver, session, and all that showed of it."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, quote, urlsplit

from fatoura.gateways import Message, ReceiptUnreadable, create_gateway
from fatoura.gateways.session import Session
from fatoura.gateways.transport import Transport
from fatoura.notices.encoding import measure
from tests.conformance.relay import Relay
from tests.conformance.wire import Listener, answered, parsed, read_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from fatoura.gateways import Gateway, GatewayConfig, Outcome, Receipt
    from tests.conformance.provider import Arrived, Provider

NAME = "fatoura_sms"
SENDER = "STEG"
SECRET = "receipt-word-of-these-checks"
TEXT = "STEG: facture 42580 496 0, 123,456 DT avant le 25/06"
_PATIENCE_SECONDS = 15


class Ground:
    """Use as an asynchronous context manager. Leaving it fails when anything personal or secret showed.

    :param timeout: seconds that a request may take.
    """

    def __init__(self, provider: Provider, *, timeout: float = 10) -> None:
        self.provider = provider
        self.sink = Sink()
        self.shown: list[str] = []
        """All that was logged, answered, reported or raised."""
        self._timeout = timeout
        self._personal: set[str] = set()
        self._stack = AsyncExitStack()
        self._log = _Memory(self.shown)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.provider)
        self.relay = await self._stack.enter_async_context(Relay(lambda: self.provider.port))
        await self._stack.enter_async_context(self.sink)
        self.transport = await self._stack.enter_async_context(
            Transport(connections=20, timeout=self._timeout)
        )
        self.gateway, self.session = self.connect(self.config())
        self.provider.receipts_to = self.gateway.receipt_url(self.sink.url, SECRET, uuid.uuid4(), 1)
        logging.getLogger().addHandler(self._log)
        self._level = logging.getLogger().level
        logging.getLogger().setLevel(logging.DEBUG)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        logging.getLogger().setLevel(self._level)
        logging.getLogger().removeHandler(self._log)
        await self._stack.aclose()
        if kind is None:
            self.nothing_showed()

    def config(self) -> GatewayConfig:
        return self.provider.config(NAME, f"http://127.0.0.1:{self.relay.port}")

    def connect(self, config: GatewayConfig) -> tuple[Gateway, Session]:
        """Return the adapter of a connection, and its session."""
        gateway = create_gateway(self.provider.adapter, config)
        self.shown += [repr(config), repr(gateway), str(gateway)]
        return gateway, Session(gateway, self.transport)

    def message(self, text: str = TEXT, phone: str | None = None, **changes: Any) -> Message:
        phone = phone or self.provider.phone(next(iter(self.provider.words)))
        self._personal |= {phone, phone[1:], phone[4:], text, quote(text), quote(phone)}
        notice, measured = uuid.uuid4(), measure(text)
        attempt = changes.get("attempt", 1)
        values = {
            "id": notice, "attempt": attempt, "phone": phone, "text": text, "encoding": measured.encoding,
            "segments": measured.segments, "validity_minutes": 90, "sender": SENDER,
            "receipt_url": self.gateway.receipt_url(self.sink.url, SECRET, notice, attempt),
        }  # fmt: skip
        message = Message(**{**values, **changes})
        self.shown.append(repr(message))
        return message

    async def submit(self, message: Message, session: Session | None = None) -> Outcome:
        outcome = await (session or self.session).submit(message)
        self.shown.append(repr(outcome))
        return outcome

    async def arrived(self, count: int) -> list[Arrived]:
        """Return what the provider took, once it is as much as that."""
        await until(lambda: len(self.provider.arrived()) >= count)
        arrived = self.provider.arrived()
        assert len(arrived) == count, f"{len(arrived)} messages arrived, not {count}"
        return arrived

    async def receipts(self, message: Message, outcome: Outcome) -> list[Receipt]:
        """Return what is known of a message's end: what came by itself, or what is said when asked."""
        if self.gateway.capabilities.receipts == "poll":
            assert outcome.provider_id is not None
            found = await self.session.statuses([outcome.provider_id])
        else:
            found = []
            for query, body, headers in list(self.sink.came):
                try:
                    found.append(self.gateway.read_receipt(query, body, headers))
                except ReceiptUnreadable as problem:
                    self.shown.append(str(problem))
                    raise
        self.shown += map(repr, found)
        if self.gateway.capabilities.client_reference:
            return [one for one in found if (one.notice_id, one.attempt) == (message.id, message.attempt)]
        return [one for one in found if one.provider_id == outcome.provider_id]

    def nothing_showed(self) -> None:
        """Fail when a number, a text or a secret is in anything that showed."""
        hidden = {*self._personal, *self.provider.secrets, SECRET}
        for line in self.shown:
            for word in hidden:
                assert word not in line, f"{'…'.join(part[:60] for part in line.split(word))[:300]!r}"


class Sink:
    """The receiver's place in these checks: keeps what comes, says "taken"."""

    def __init__(self) -> None:
        self.came: list[tuple[dict[str, str], bytes, dict[str, str]]] = []
        self._listener = Listener(self._talk)

    async def __aenter__(self) -> Self:
        await self._listener.__aenter__()
        self.url = f"http://127.0.0.1:{self._listener.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listener.__aexit__()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await read_whole(reader)
            first, headers = parsed(head)
            parts = urlsplit(first.split(" ")[1])
            if parts.path == f"/receipts/{NAME}/{SECRET}":
                self.came.append((dict(parse_qsl(parts.query, keep_blank_values=True)), body, headers))
            writer.write(answered(200, b"taken"))


class _Memory(logging.Handler):
    def __init__(self, shown: list[str]) -> None:
        super().__init__()
        self._shown = shown

    def emit(self, record: logging.LogRecord) -> None:
        self._shown.append(self.format(record))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds, but not for ever."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            return
        await asyncio.sleep(0.02)
