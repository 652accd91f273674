"""Carries an adapter's requests over HTTP, each exactly once: what failed is said, never tried again.

Called by sending. It knows nothing of providers; whether to send again is decided by who knows the states.
"""

from __future__ import annotations

import asyncio
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from fatoura.gateways.interface import Answer, TransportFailure

if TYPE_CHECKING:
    from fatoura.gateways.interface import Request

# Sendsms answers are one line; what is longer is cut, and only its status counts.
_ANSWER_LIMIT = 64 * 1024

# Shorter than any gateway's own patience (Kannel: 60 s), so that a connection that it has just closed is
# not picked for a request, which would be in doubt.
_KEEP_ALIVE_SECONDS = 10


class Transport:
    """A pool of HTTP connections to one provider. Use as an asynchronous context manager.

    :param connections: the most requests under way at once; further ones wait.
    :param timeout: seconds that a request may take, from its connection to the end of its answer. Waiting
        for a free place does not count.
    :param connect_timeout: seconds until a connection must stand.
    """

    def __init__(self, *, connections: int, timeout: float, connect_timeout: float = 10):
        self._places = asyncio.Semaphore(connections)
        self._connections = connections
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_connected)
        trace.on_connection_reuseconn.append(_connected)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            trace_configs=[trace],
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )
        # By itself aiohttp sends an idempotent request again when a kept connection dies under it.
        self._session._retry_connection = False
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def submit(self, request: Request) -> Answer | TransportFailure:
        """Write a request once and return its answer, or what is known when there is none.

        When the task is cancelled meanwhile, whether it was written stays open: the caller's claim is then
        in doubt.
        """
        if self._session is None:
            raise RuntimeError("the transport is not open: use it in `async with`")
        async with self._places:
            progress = SimpleNamespace(connected=False)
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._exchange(self._session, request, progress)
            except (aiohttp.ClientError, OSError) as error:
                # Once there is a connection the first byte may have gone out.
                kind = "in_doubt" if progress.connected else "not_sent"
                return TransportFailure(kind, self._reason(error))  # type: ignore[arg-type]

    async def _exchange(self, session: aiohttp.ClientSession, request: Request, progress: Any) -> Answer:
        async with session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body or None,
            allow_redirects=False,  # it would carry secrets elsewhere, and a POST twice
            trace_request_ctx=progress,
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _ANSWER_LIMIT:
                    response.close()
                    break
            return Answer(response.status, response.headers, bytes(body[:_ANSWER_LIMIT]))

    def _reason(self, error: Exception) -> str:
        """Say what happened without repeating the error's own text, which can hold addresses."""
        match error:
            case aiohttp.ConnectionTimeoutError():
                return f"no connection within {self._connect_timeout:g} s"
            case TimeoutError():
                return f"no complete answer within {self._timeout:g} s"
            case aiohttp.ClientConnectorDNSError():
                return "the provider's name cannot be resolved"
            case ssl.SSLError() | aiohttp.ClientSSLError():
                return "no trusted TLS connection"
            case ConnectionRefusedError() | aiohttp.ClientConnectorError():
                return "connection refused"
            case aiohttp.ClientPayloadError():
                return "the answer broke off"
            case aiohttp.ServerDisconnectedError() | OSError():
                return "connection lost"
            case aiohttp.ClientResponseError():
                return "the answer is not HTTP"
            case _:
                return f"failed with {type(error).__name__}"


async def _connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.connected = True
