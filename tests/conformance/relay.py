"""Stands between an adapter and a provider, and breaks what it is told to break: so that every provider, the
real one too, is seen through the same faults of a network.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Self

from tests.conformance.wire import HEAD_END, Listener, answered, read_whole

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = b"<html><head><title>Welcome</title></head><body><h1>Sign in to this network</h1></body></html>"

NOT_PASSED_ON = {
    "a page instead of an answer": answered(200, PAGE, "text/html"),
    "429": answered(429, b"Too many requests", "text/plain"),
    "503": answered(503, PAGE, "text/html"),
}
AFTER_IT_WAS_TAKEN = ("no answer", "half an answer", "a reset", "502")


class Relay:
    """Use as an asynchronous context manager.

    :param upstream: returns the provider's port.
    """

    def __init__(self, upstream: Callable[[], int]) -> None:
        self.fault: str | None = None
        """What happens to requests from now on: a name of the two lists above, or nothing."""
        self._upstream = upstream
        self._listener = Listener(self._talk)

    async def __aenter__(self) -> Self:
        await self._listener.__aenter__()
        self.port = self._listener.port
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.go()

    async def go(self) -> None:
        """Be gone: no connection is taken any more."""
        await self._listener.__aexit__()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        going_on = True
        while going_on:
            request = b"".join(await read_whole(reader))
            if self.fault in NOT_PASSED_ON:
                writer.write(NOT_PASSED_ON[self.fault])
            else:
                going_on = await self._give(await self._pass_on(request), writer)

    async def _give(self, answer: bytes, writer: asyncio.StreamWriter) -> bool:
        match self.fault:
            case None:
                writer.write(answer)
                return True
            case "no answer":
                await asyncio.sleep(3600)
            case "half an answer":
                writer.write(answer[: answer.index(HEAD_END) + len(HEAD_END) + 1])
            case "a reset":
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            case "502":
                writer.write(answered(502, PAGE, "text/html"))
                return True
        return False

    async def _pass_on(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream())
        try:
            writer.write(request)
            return b"".join(await read_whole(reader))
        finally:
            writer.close()
