"""HTTP on bare streams, so that a fault can be put between any two bytes. For fakes, relay and sink."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HEAD_END = b"\r\n\r\n"


class Listener:
    """A server on a free loopback port. Use as an asynchronous context manager, or start and stop it.

    :param talk: holds one connection; it is closed when that returns.
    """

    def __init__(self, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._talk = talk
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._talk(reader, writer)
        writer.close()


async def read_whole(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one request or answer whose body has a length: its head, its body."""
    head = await reader.readuntil(HEAD_END)
    _, headers = parsed(head)
    return head, await reader.readexactly(int(headers.get("content-length", "0")))


def parsed(head: bytes) -> tuple[str, dict[str, str]]:
    """Return the first line and the headers, by names in lower case."""
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.lower(): value.strip() for name, _, value in pairs}


def answered(status: int, body: bytes, kind: str = "text/plain") -> bytes:
    """Return the bytes of an answer."""
    head = f"HTTP/1.1 {status} Told\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
