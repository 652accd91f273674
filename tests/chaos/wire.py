"""HTTP/1.1 on bare streams, so that a fault can be put between any two bytes. Used by proxy, relay and burst.

It understands what gateways, senders and the receiver of this project write: bodies with a length, nothing
chunked.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Self

HEAD_END = b"\r\n\r\n"
_LARGEST = 64 * 1024


@dataclass(frozen=True)
class Head:
    """The first line and the headers of a request or an answer; `raw` is what came, its end included."""

    raw: bytes = field(repr=False)
    first: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", "0"))

    @property
    def target(self) -> str:
        """Of a request: path and query."""
        return self.first.split()[1]

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.first.split()[1])


async def read_head(reader: asyncio.StreamReader) -> Head:
    """Read up to the end of the headers.

    :raises asyncio.IncompleteReadError: when the other side has closed.
    """
    raw = await reader.readuntil(HEAD_END)
    first, *lines = raw[: -len(HEAD_END)].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Head(raw, first, headers)


@dataclass(frozen=True)
class Answer:
    """A whole answer, as it came."""

    status: int
    raw: bytes = field(repr=False)
    body: bytes = field(repr=False)


def answer(status: int, body: str, content_type: str = "text/plain") -> bytes:
    """Return an answer's bytes."""
    encoded = body.encode()
    return (
        f"HTTP/1.1 {status} Told\r\nContent-Type: {content_type}\r\nContent-Length: {len(encoded)}\r\n\r\n"
    ).encode() + encoded


def receipt_request(target: str, number: int) -> bytes:
    """Return the request that brings a receipt to the receiver, with the number that it is known by."""
    return (
        f"GET {target}&relay={number} HTTP/1.1\r\nHost: receiver\r\nConnection: keep-alive\r\n"
        "User-Agent: Kannel/1.4.5\r\n\r\n"
    ).encode("latin-1")


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a process that died does; what was not yet sent is gone."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Client:
    """Kept connections to one address; a request goes out once, and its connection is never used again
    when anything went wrong.

    :param source: the address to come from; another loopback address makes a stranger.
    """

    def __init__(self, port: int, *, source: str | None = None) -> None:
        self.port = port
        self._source = source
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def exchange(self, request: bytes) -> Answer:
        """Write a request, return the answer.

        :raises ConnectionRefusedError: when nobody listens; nothing was written.
        :raises OSError: when the connection broke, somewhere.
        """
        reader, writer = await self._connection()
        try:
            writer.write(request)
            head = await read_head(reader)
            body = await reader.readexactly(head.length)
        except BaseException as error:
            writer.transport.abort()
            if isinstance(error, asyncio.IncompleteReadError):
                raise ConnectionResetError("closed by the other side") from None
            raise
        if head.headers.get("connection", "").lower() == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return Answer(head.status, head.raw + body, body)

    def forget(self) -> None:
        """Drop the kept connections: who was at their other end is gone."""
        for _, writer in self._idle:
            writer.transport.abort()
        self._idle.clear()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.transport.abort()
        source = (self._source, 0) if self._source else None
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=source, limit=_LARGEST)


class Pulse:
    """How late this process does things: on a busy machine what it sees has happened a while ago.

    Use as an asynchronous context manager.
    """

    _EVERY, _REMEMBERED = 0.05, 60

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=self._REMEMBERED)
        self._next = 0.0
        self.worst = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    @property
    def lateness(self) -> float:
        """Seconds by which something that is seen now may have been seen too late."""
        return max(*self._late, time.monotonic() - self._next, 0.0) if self._late else 0.0

    async def _beat(self) -> None:
        while True:
            self._next = time.monotonic() + self._EVERY
            await asyncio.sleep(self._EVERY)
            self._late.append(time.monotonic() - self._next)
            self.worst = max(self.worst, self._late[-1])


class Gate:
    """A counter that can be waited for: how many requests came, how many receipts of an attempt are in."""

    def __init__(self) -> None:
        self._counts: defaultdict[object, int] = defaultdict(int)
        self._changed: defaultdict[object, asyncio.Event] = defaultdict(asyncio.Event)

    def count(self, key: object) -> int:
        return self._counts[key]

    def add(self, key: object) -> None:
        self._counts[key] += 1
        self._changed[key].set()
        del self._changed[key]

    async def reach(self, key: object, count: int) -> None:
        """Return when the count of `key` is at least `count`."""
        while self._counts[key] < count:
            await self._changed[key].wait()
