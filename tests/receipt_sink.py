"""A receiver of gateways' callbacks for tests: keeps what came, answers as told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Callback:
    at: float
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class ReceiptSink:
    """Use as an asynchronous context manager; `status` may be changed while it runs."""

    status: int = 200
    port: int = 0
    received: list[Callback] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, notice: object) -> list[dict[str, str]]:
        """Return the queries of a notice's callbacks, in the order of their arrival."""
        return [callback.query for callback in self.received if callback.query.get("notice") == str(notice)]

    async def wait(self, until: Callable[[], bool], seconds: float = 15) -> None:
        """Wait until something holds of what was received."""
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, [callback.query for callback in self.received]
            await asyncio.sleep(0.02)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                target = first.split()[1]
                headers = dict(line.split(": ", 1) for line in lines)
                parts = urlsplit(target)
                query = dict(parse_qsl(parts.query, keep_blank_values=True))
                self.received.append(Callback(time.monotonic(), parts.path, query, headers))
                writer.write(f"HTTP/1.1 {self.status} Told\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()
