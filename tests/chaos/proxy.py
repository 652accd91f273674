"""Stands between the sender and a gateway, breaks what it is told to break, counts what went in.

What it counts is the truth that a round is judged by: requests that the gateway itself accepted, by our id
and attempt, whatever the sender was then told.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from tests.chaos.dice import HANDED_OVER
from tests.chaos.evidence import Handed
from tests.chaos.wire import Client, answer, read_head, reset

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.wire import Answer, Gate, Head, Pulse

    Decide = Callable[[UUID, int], str | None]
    Name = Callable[[Head, bytes], tuple[UUID | None, int | None]]

HTML = "<html><head><title>Maintenance</title></head><body><h1>We will be back soon</h1></body></html>"
EXHAUSTED = "Insufficient balance"
_PASSWORD = b"x-kannel-password:"


def named_by_dlr_url(head: Head, body: bytes) -> tuple[UUID | None, int | None]:
    """Return our id and attempt from the address for receipts that goes with each message."""
    query = parse_qs(urlsplit(head.headers.get("x-kannel-dlr-url", "")).query)
    try:
        return UUID(query["notice"][0]), int(query["attempt"][0])
    except (KeyError, ValueError):
        return None, None


class Proxy:
    """Use as an asynchronous context manager. What it does by time is switched from outside.

    :param name: of the gateway, as the database names it.
    :param upstream: port of the gateway itself.
    :param decide: which fault a request gets, by our id and attempt.
    :param port: to listen on; 0 for any.
    :param timeout: seconds that the sender waits for an answer.
    :param gate: counts requests under `seen`, and holds early answers until their receipts are in.
    :param pulse: tells how late this process sees what it sees.
    :param named: reads our id and attempt from a request.
    """

    def __init__(
        self,
        name: str,
        upstream: int,
        decide: Decide,
        *,
        port: int = 0,
        timeout: float,
        gate: Gate,
        pulse: Pulse,
        named: Name = named_by_dlr_url,
    ) -> None:
        self.name = name
        self.handed: list[Handed] = []
        self.faults: Counter[str] = Counter()
        self.wrong_credentials = False
        self.balance_exhausted = False
        self.port = port
        self._client = Client(upstream)
        self._decide = decide
        self._timeout = timeout
        self._gate = gate
        self._pulse = pulse
        self._named = named
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._client.forget()

    async def listen(self) -> None:
        """Take connections, on the port of the first time."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=512)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Be gone, as a gateway that was killed: no new connection, and those that there are break."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            reset(writer)
        self._client.forget()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._serve(reader, writer):
                    pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take one request; tell whether the connection is still good."""
        head = await read_head(reader)
        seen = Handed(self.name, *self._named(head, b""), time.time() - self._pulse.lateness)
        if seen.notice is not None and seen.attempt is not None:
            seen.fault = self._decide(seen.notice, seen.attempt)
        self.handed.append(seen)
        self._gate.add("seen")
        if seen.fault is not None:
            self.faults[seen.fault] += 1
        if seen.fault == "reset before body":
            reset(writer)
            return False
        request = head.raw + await reader.readexactly(head.length)
        if self.balance_exhausted:
            seen.fault = "balance exhausted"
            writer.write(answer(402, EXHAUSTED))
            return True
        if self.wrong_credentials:
            request = _with_wrong_password(request)
        if seen.fault is None or seen.fault in HANDED_OVER:
            told = await self._hand_over(request, seen)
            if told is None:
                reset(writer)
                return False
            return await self._tell(told, seen, reader, writer)
        return await self._withhold(seen.fault, reader, writer)

    async def _hand_over(self, request: bytes, seen: Handed) -> Answer | None:
        """Give a request to the gateway; its answer, or nothing when it gave none."""
        try:
            told = await self._client.exchange(request)
        except ConnectionRefusedError:
            return None
        except OSError:
            seen.result = "open"
            return None
        except asyncio.CancelledError:
            seen.result = "open"
            raise
        seen.status = told.status
        seen.result = "accepted" if told.status == 202 else "refused"
        return told

    async def _tell(
        self, told: Answer, seen: Handed, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Pass the gateway's answer on, or do with it what the fault says."""
        match seen.fault:
            case "time-out after accept":
                await self._wait_for_the_end(reader)
                return False
            case "late answer":
                await asyncio.sleep(self._timeout * 1.3)
                writer.write(told.raw)
                return False
            case "reset before answer":
                reset(writer)
                return False
            case "half an answer":
                writer.write(told.raw[: -max(1, len(told.body) // 2)])
                await writer.drain()
                return False
            case "HTML after accept":
                writer.write(answer(502, HTML, "text/html"))
                return True
            case "early receipts":
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._timeout * 0.6):
                        await self._gate.reach(("taken", seen.notice, seen.attempt), 2)
        writer.write(told.raw)
        return True

    async def _withhold(self, fault: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        match fault:
            case "silence":
                await self._wait_for_the_end(reader)
                return False
            case "reset after body":
                reset(writer)
                return False
            case "429":
                writer.write(answer(429, "Too many requests"))
            case "503":
                writer.write(answer(503, "Temporal failure, try again later."))
            case "HTML":
                writer.write(answer(200, HTML, "text/html"))
            case unknown:
                raise ValueError(unknown)
        return True

    async def _wait_for_the_end(self, reader: asyncio.StreamReader) -> None:
        """Say nothing until the sender gives up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout * 4):
                await reader.read(1)


def _with_wrong_password(request: bytes) -> bytes:
    lines = request.split(b"\r\n")
    return b"\r\n".join(line + b" no more" if line.lower().startswith(_PASSWORD) else line for line in lines)
