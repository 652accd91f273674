"""Gives receipts as Kannel does: GETs a dlr-url with its escapes filled, tries again, and drops at last.

Called by the sandbox's server. Written on bare asyncio, for two callbacks a message must cost less than the
message. It knows nothing of messages.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlsplit

import httptools

# Measured on Kannel 1.4.5 with http-request-retry = 5: six tries, two seconds apart, ten seconds each, and
# 512 at a time. Only 200 and 202 count as taken.
TRIES = 6
PAUSE_SECONDS = 2.0
TIMEOUT_SECONDS = 10.0
AT_ONCE = 512
TAKEN = frozenset({200, 202})


@dataclass(frozen=True, slots=True)
class Callback:
    """One receipt to give.

    :param url: the dlr-url, escapes unfilled.
    :param escapes: by letter: ``{"d": "1", "A": "…", …}``.
    """

    url: str = field(repr=False)
    escapes: dict[str, str] = field(repr=False)

    @property
    def type(self) -> str:
        """Kannel's receipt type, in digits."""
        return self.escapes["d"]

    def filled(self) -> str:
        """Return the address with its escapes filled, values encoded as Kannel does."""
        parts = self.url.split("%")
        filled = [parts[0]]
        rest = iter(parts[1:])
        for part in rest:
            if part == "":  # %% stands for one per cent sign
                filled.append("%" + next(rest, ""))
            elif part[0] in self.escapes:
                filled.append(quote_plus(self.escapes[part[0]]) + part[1:])
            else:
                filled.append("%" + part)
        return "".join(filled)


class Callbacks:
    """Gives receipts to whoever the dlr-urls name, over kept connections."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._ready: deque[Callback] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._idle: dict[tuple[str, int], list[_Connection]] = defaultdict(list)

    @property
    def pending(self) -> int:
        """Receipts not yet taken or dropped."""
        return len(self._timers) + len(self._ready) + len(self._workers)

    def give(self, callback: Callback, delay: float = 0) -> None:
        """Give a receipt, `delay` seconds from now."""
        if delay > 0:
            timer: asyncio.TimerHandle

            def due() -> None:
                self._timers.discard(timer)
                self.give(callback)

            timer = asyncio.get_running_loop().call_later(delay, due)
            self._timers.add(timer)
            return
        self._ready.append(callback)
        if len(self._workers) < AT_ONCE:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def give_now(self, callback: Callback) -> None:
        """Give a receipt and return when it was taken or dropped."""
        url = callback.filled()
        for number in range(TRIES):
            if number:
                self.counts["retried"] += 1
                await asyncio.sleep(PAUSE_SECONDS)
            self.counts["sent"] += 1
            try:
                status = await asyncio.wait_for(self._get(url), TIMEOUT_SECONDS)
            except (OSError, ValueError, httptools.HttpParserError):
                continue
            if status in TAKEN:
                self.counts["taken"] += 1
                self.counts[f"type_{callback.type}"] += 1
                return
        self.counts["dropped"] += 1

    async def close(self) -> None:
        """Forget what was not given yet, and close the connections."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._ready.clear()
        for worker in list(self._workers):
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for connections in self._idle.values():
            for connection in connections:
                connection.close()

    async def _work(self) -> None:
        while self._ready:
            await self.give_now(self._ready.popleft())

    async def _get(self, url: str) -> int:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        address = (parts.hostname or "", parts.port or (443 if secure else 80))
        request = (
            f"GET {parts.path or '/'}{'?' if parts.query else ''}{parts.query} HTTP/1.1\r\n"
            f"Connection: keep-alive\r\nUser-Agent: Kannel/1.4.5\r\nHost: {parts.netloc}\r\n\r\n"
        ).encode("ascii", "replace")
        idle = self._idle[address]
        while idle:
            connection = idle.pop()
            if connection.usable:
                try:
                    status = await connection.exchange(request)
                except ConnectionError:  # closed by the other side just now: once more, on a new one
                    continue
                self._keep(address, connection)
                return status
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if secure else None
        _, connection = await loop.create_connection(_Connection, *address, ssl=context)
        status = await connection.exchange(request)
        self._keep(address, connection)
        return status

    def _keep(self, address: tuple[str, int], connection: _Connection) -> None:
        if connection.usable:
            self._idle[address].append(connection)


class _Connection(asyncio.Protocol):
    """One kept connection: a request out, a status back."""

    def __init__(self) -> None:
        self.usable = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._parser = httptools.HttpResponseParser(self)

    async def exchange(self, request: bytes) -> int:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.usable = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)
            self.close()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return
        self.usable = self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)
        if not self.usable:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._fail(ConnectionResetError())

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
