"""Carries an adapter's requests over HTTP, each exactly once: what failed is said, never tried again.

Called by sending. It knows nothing of providers; whether to send again is decided by who knows the states.
A client of its own, for speed and for certainty: it knows of each byte whether it can have been written.
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self, cast

import httptools

from fatoura.gateways.interface import Answer, TransportFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fatoura.gateways.interface import Request

# Sendsms answers are one line; what is longer is cut, and only its status counts.
_ANSWER_LIMIT = 64 * 1024
_HEADERS_LIMIT = 64 * 1024

# Shorter than any gateway's own patience (Kannel: 60 s), so that a connection that it has just closed is
# not picked for a request, which would be in doubt. A server that tells a shorter one is believed.
_KEEP_ALIVE_SECONDS = 10
_KEEP_ALIVE_TOLD = re.compile(rb"\btimeout=(\d{1,6})\b")

# An adapter gives addresses that are quoted already, and what would end a line never gets into a request.
_TARGET = re.compile(r'/[!"$-~]*')
_PREFIX = re.compile(r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?", re.IGNORECASE)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


class Transport:
    """A pool of HTTP connections to one provider. Use as an asynchronous context manager.

    :param connections: the most requests under way at once; further ones wait.
    :param timeout: seconds that a request may take, from its connection to the end of its answer. Waiting
        for a free place does not count.
    :param connect_timeout: seconds until a connection must stand.
    """

    def __init__(self, *, connections: int, timeout: float, connect_timeout: float = 10):
        self._places = asyncio.Semaphore(connections)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._origins: dict[str, _Origin] = {}
        self._names: set[str] = set()  # of headers, known to be good: an adapter has few
        self._tls: ssl.SSLContext | None = None
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._open = False
        for origin in self._origins.values():
            for connection in list(origin.connections):
                connection.close()
        await asyncio.sleep(0)  # the loop closes what it was told to close

    async def submit(self, request: Request) -> Answer | TransportFailure:
        """Write a request once and return its answer, or what is known when there is none.

        When the task is cancelled meanwhile, whether it was written stays open: the caller's claim is then
        in doubt.
        """
        if not self._open:
            raise RuntimeError("the transport is not open: use it in `async with`")
        try:
            origin, written = self._written(request)
        except ValueError as error:
            return TransportFailure("not_sent", f"the request cannot be written: {error}")
        async with self._places:
            loop = asyncio.get_running_loop()
            began = loop.time()
            connection = origin.idle_connection(began)
            if connection is None:
                made = await self._connect(origin)
                if isinstance(made, TransportFailure):
                    return made
                connection = made
            return await connection.exchange(
                written, began + self._timeout, f"no complete answer within {self._timeout:g} s"
            )

    def _written(self, request: Request) -> tuple[_Origin, bytes]:
        """Return where a request goes, and its bytes.

        :raises ValueError: when it is not one HTTP request; says which part, never its value.
        """
        url = request.url
        start = url.find("/", url.find("://") + 3)
        prefix, target = (url[:start], url[start:]) if start > 0 else (url, "/")
        if not _TARGET.fullmatch(target):
            raise ValueError("its address holds more than printable ASCII")
        origin = self._origins.get(prefix) or self._add_origin(prefix)
        lines = [f"{request.method} {target} HTTP/1.1\r\nHost: {origin.authority}\r\n"]
        for name, value in request.headers.items():
            if name not in self._names:
                self._add_name(name)
            lines.append(f"{name}: {value}\r\n")
        if _CONTROL.search("".join(request.headers.values())):
            raise ValueError("a header's value holds a control character")
        if request.body or request.method == "POST":
            lines.append(f"Content-Length: {len(request.body)}\r\n")
        lines.append("\r\n")
        return origin, "".join(lines).encode() + request.body

    def _add_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError("a header's name is none")
        self._names.add(name)

    def _add_origin(self, prefix: str) -> _Origin:
        parts = _PREFIX.fullmatch(prefix)
        if parts is None:
            raise ValueError("its address is not http(s)://host:port/…")
        scheme, host, port = parts.groups()
        secure = scheme.lower() == "https"
        if secure and self._tls is None:
            self._tls = ssl.create_default_context()
        origin = _Origin(
            host if port is None else f"{host}:{port}",
            host.strip("[]"),
            int(port or (443 if secure else 80)),
            self._tls if secure else None,
        )
        self._origins[prefix] = origin
        return origin

    async def _connect(self, origin: _Origin) -> _Connection | TransportFailure:
        loop = asyncio.get_running_loop()
        seconds = min(self._connect_timeout, self._timeout)
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, origin), origin.host, origin.port, ssl=origin.tls
                )
        except OSError as error:
            # No byte of the request: it is written only to a connection that stands.
            return TransportFailure("not_sent", _why_no_connection(error, seconds, origin.tls is not None))
        return connection


class _Origin:
    """Where requests of one scheme, host and port go, and the connections to there."""

    def __init__(self, authority: str, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.authority = authority
        self.host = host
        self.port = port
        self.tls = tls
        self.connections: set[_Connection] = set()
        self.idle: list[_Connection] = []

    def idle_connection(self, now: float) -> _Connection | None:
        """Take the connection that was used last, if it may be used once more."""
        while self.idle:
            connection = self.idle.pop()
            if connection.is_usable(now):
                return connection
            connection.close()
        return None


class _Connection(asyncio.Protocol):
    """One connection: one request at a time, one answer to each."""

    def __init__(self, loop: asyncio.AbstractEventLoop, origin: _Origin) -> None:
        self._loop = loop
        self._origin = origin
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Answer | TransportFailure] | None = None
        self._transport: asyncio.Transport
        self._poll = select.poll()
        self._good_until = 0.0
        self._begin_answer()

    def _begin_answer(self) -> None:
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self._received = 0
        self._keep_seconds = _KEEP_ALIVE_SECONDS

    async def exchange(self, written: bytes, end: float, too_late: str) -> Answer | TransportFailure:
        """Write a request and return what came of it; afterwards the connection is idle or closed.

        :param end: until when there must be a complete answer, by the loop's clock.
        :param too_late: the reason when there is none.
        """
        self._answer = self._loop.create_future()
        self._good_until = 0.0
        self._begin_answer()
        timer = self._loop.call_at(end, self._fail, too_late)
        try:
            self._transport.write(written)
            return await self._answer
        finally:
            timer.cancel()
            if self._answer is not None:  # cancelled: what comes now is nobody's answer
                self._answer = None
                self._transport.abort()
            elif self._good_until:
                self._origin.idle.append(self)  # only now: whoever asked has let go of it

    def is_usable(self, now: float) -> bool:
        """Whether the server still holds the connection, as far as can be known before writing to it."""
        # What the kernel knows may not have come to the loop yet: an end, or bytes that nobody asked for.
        return now < self._good_until and not self._transport.is_closing() and not self._poll.poll(0)

    def close(self) -> None:
        """Close the connection. A request under way is then in doubt."""
        if self._answer is not None:
            self._fail("connection closed by us")
        self._transport.close()

    # --- Called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._origin.connections.add(self)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self._transport.abort()  # it speaks unasked: its next answer would be to another question
            return
        if not self._status:
            self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("the answer is not HTTP")
            return
        if self._answer is not None and self._received > _HEADERS_LIMIT and not self._status:
            self._fail("the answer is not HTTP")

    def eof_received(self) -> None:
        if self._answer is not None and self._status and self._ends_with_connection():
            self._complete(keep=False)

    def connection_lost(self, _error: Exception | None) -> None:
        self._origin.connections.discard(self)
        if self in self._origin.idle:
            self._origin.idle.remove(self)
        if self._answer is not None:
            self._fail("the answer broke off" if self._received and not _error else "connection lost")

    # --- Called by the parser

    def on_message_begin(self) -> None:
        if self._answer is None:
            raise ValueError("a second answer to one question")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))
        if name.lower() == b"keep-alive" and (told := _KEEP_ALIVE_TOLD.search(value)):
            self._keep_seconds = min(self._keep_seconds, int(told[1]) - 1)

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if self._answer is None:
            return
        self._body += body
        if len(self._body) > _ANSWER_LIMIT:
            self._complete(keep=False)

    def on_message_complete(self) -> None:
        if 100 <= self._status < 200:
            self._begin_answer()  # an interim answer; the one that counts comes after it
        elif self._answer is not None:
            self._complete(keep=self._parser.should_keep_alive())

    # --- The end of an exchange

    def _ends_with_connection(self) -> bool:
        names = {name.lower() for name, _ in self._headers}
        return not names & {b"content-length", b"transfer-encoding"}

    def _complete(self, *, keep: bool) -> None:
        body = bytes(self._body[:_ANSWER_LIMIT])
        self._end(Answer(self._status, _Headers(self._headers), body))
        if keep:
            self._good_until = self._loop.time() + self._keep_seconds
        else:
            self._transport.close()

    def _fail(self, reason: str) -> None:
        self._end(TransportFailure("in_doubt", reason))
        self._transport.abort()

    def _end(self, result: Answer | TransportFailure) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(result)


class _Headers(Mapping[str, str]):
    """An answer's headers, by names in any case. Read only by few adapters, so decoded when asked for."""

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs

    def __getitem__(self, name: str) -> str:
        wanted = name.lower()
        for key, value in self._pairs:
            if key.decode("latin-1").lower() == wanted:
                return value.decode("latin-1")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.decode("latin-1").lower() for key, _ in self._pairs))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _why_no_connection(error: OSError, seconds: float, secure: bool) -> str:
    """Say what happened without repeating the error's own text, which can hold addresses."""
    match error:
        case TimeoutError():
            return f"no connection within {seconds:g} s"
        case socket.gaierror():
            return "the provider's name cannot be resolved"
        case ssl.SSLError():
            return "no trusted TLS connection"
        case ConnectionResetError() | ConnectionAbortedError() if secure:
            return "no trusted TLS connection"
        case _:
            return "connection refused"
