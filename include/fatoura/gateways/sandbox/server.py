"""The sandbox's HTTP server: answers sendsms requests as planned for each, counts them, has receipts given.

Started by the command `fatoura gateway sandbox`, and by tests in their own event loop. Bare asyncio, because
it must break connections at chosen bytes, and take more messages a second than the clients under test.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import socket
import struct
import time
from collections import Counter, deque
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self, TextIO

import httptools

from fatoura.errors import BadInput
from fatoura.gateways.sandbox.behaviour import OUTCOMES, Plan, SandboxOptions, plan
from fatoura.gateways.sandbox.callbacks import Callback, Callbacks
from fatoura.gateways.sandbox.sendsms import (
    ACCEPTED,
    DENIED,
    PATH,
    TEMPORARY,
    Reply,
    SendsmsUser,
    Submission,
    read_request,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

STATS_PATH = "/sandbox/stats"

_LONGEST_REQUEST = 64 * 1024
_HTML = "<html><head><title>Welcome</title></head><body><h1>Welcome to this network</h1></body></html>"

# Bits of the dlr-mask
_DELIVERED, _UNDELIVERED, _SMSC_ACCEPTED, _SMSC_REFUSED = 1, 2, 8, 16


class Sandbox:
    """A gateway that runs in the current event loop. Use as an asynchronous context manager, or start it.

    :param options: how it behaves; may be replaced while it runs, for requests from then on.
    """

    def __init__(self, options: SandboxOptions):
        self.options = options
        self.callbacks = Callbacks()
        self.counts: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self._user = SendsmsUser(options.username, options.password, options.max_messages)
        self._connections: set[_Connection] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._log: TextIO | None = None
        self._last_message = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._server is None:
            raise RuntimeError("the sandbox has not been started")
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def base_url(self) -> str:
        """The address for a connection to it."""
        return f"http://{self.options.host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        :raises BadInput: when the port is taken.
        """
        options = self.options
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Connection(self), options.host, options.port, backlog=1024
            )
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise BadInput(
                f"the sandbox gateway cannot listen on {options.host}:{options.port}, the port is taken: "
                "choose another with --port or FATOURA_GATEWAY_PORT"
            ) from None
        if options.log is not None:
            options.log.parent.mkdir(parents=True, exist_ok=True)
            self._log = options.log.open("a", buffering=1, encoding="utf-8")

    async def stop(self) -> None:
        """Stop listening and forget receipts that were not given yet."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        for task in list(self._answering):
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        await self.callbacks.close()
        if self._log is not None:
            self._log.close()

    def stats(self) -> dict[str, Any]:
        """Return what happened so far. `ids_accepted_again` must stay 0 for a sender that sends once."""
        return {
            "requests": self.counts["requests"],
            "accepted": self.counts["accepted"],
            "segments": self.counts["segments"],
            "ids_accepted": len(self.accepted),
            "ids_accepted_again": sum(count > 1 for count in self.accepted.values()),
            "answers": _counted(self.counts, "answer_"),
            "faults": _counted(self.counts, "fault_"),
            "outcomes": _counted(self.counts, "outcome_"),
            "receipts": {
                **{name: self.callbacks.counts[name] for name in ("sent", "taken", "retried", "dropped")},
                "pending": self.callbacks.pending,
                "types": _counted(self.callbacks.counts, "type_"),
            },
        }

    async def respond(self, method: str, target: str, headers: dict[str, str], body: bytes) -> _Response:
        """Return what to write for a request, and how the connection goes on; gives receipts."""
        path, _, query = target.partition("?")
        if path == STATS_PATH and method == "GET":
            return _Response(Reply(200, json.dumps(self.stats())), "application/json")
        if path != PATH:
            return _Response(Reply(404, "Unknown request."))
        self.counts["requests"] += 1
        submission = read_request(method, query, headers, body, self._user)
        if isinstance(submission, Reply):
            self._count(None, submission, None)
            return _Response(submission)
        key = f"{submission.notice or self.counts['requests']}/{submission.attempt or 0}"
        decided = plan(self.options, key, submission.phones[0])
        answer = _answer(decided)
        self._count(submission, answer, decided)
        if self.options.delay:
            await asyncio.sleep(self.options.delay)
        if decided.accepted:
            await self._report(submission, decided)
        return _Response(answer, fault=decided.fault)

    def _count(self, submission: Submission | None, answer: Reply | None, decided: Plan | None) -> None:
        counts = self.counts
        counts[f"answer_{answer.status if answer else 'none'}"] += 1
        accepted = bool(decided and decided.accepted)
        if decided and decided.fault:
            counts[f"fault_{decided.fault}"] += 1
        if submission and decided and accepted:
            counts["accepted"] += len(submission.phones)
            counts["segments"] += submission.segments * len(submission.phones)
            counts[f"outcome_{decided.outcome}"] += len(submission.phones)
            if submission.notice:
                self.accepted[submission.notice] += 1
        if self._log is not None:
            line = {
                "at": round(time.time(), 3),
                "id": submission and submission.notice,
                "attempt": submission and submission.attempt,
                "accepted": accepted,
                "segments": submission.segments if submission else 0,
                "validity": submission and submission.validity,
                "answer": answer.status if answer else None,
                "fault": decided and decided.fault,
                "outcome": decided.outcome if decided and accepted else None,
            }
            self._log.write(json.dumps(line) + "\n")

    async def _report(self, submission: Submission, decided: Plan) -> None:
        """Have the receipts given; with early ones, only return when they are."""
        for phone in submission.phones:
            self._last_message += 1
            receipts = self._receipts(submission, decided, f"{self._last_message:010d}", phone)
            if decided.fault == "early-receipts":
                for callback, _ in receipts:
                    await self.callbacks.give_now(callback)
                continue
            for callback, delay in receipts:
                self.callbacks.give(callback, delay)

    def _receipts(
        self, submission: Submission, decided: Plan, smsc_id: str, phone: str
    ) -> list[tuple[Callback, float]]:
        if not submission.dlr_url:
            return []
        word, error, kind = OUTCOMES[decided.outcome]
        now, mask = time.time(), submission.dlr_mask
        # Kannel waits and submits again when the SMS centre is busy, as it is once for these numbers.
        busy = 1.0 if self.options.by_last_digit and phone[-1:] in "56" else 0.0
        first, last = busy, busy + self.options.receipt_delay
        if decided.fault == "reordered-receipts":
            first, last = last + 0.2, last

        def callback(kind: int, smsc_id: str, words: str, at: float) -> Callback:
            return Callback(
                submission.dlr_url,
                {
                    "d": str(kind), "A": words, "F": smsc_id, "T": str(int(now + at)), "i": "SANDBOX",
                    "p": phone, "P": "", "I": "",
                },
            )  # fmt: skip

        receipts = []
        if kind == _SMSC_REFUSED:
            if mask & (_SMSC_REFUSED | _UNDELIVERED):
                words = "NACK/0x0000000b/Invalid Destination Address"
                receipts.append((callback(kind, "", words, first), first))
        else:
            if decided.acknowledged and mask & _SMSC_ACCEPTED:
                receipts.append((callback(_SMSC_ACCEPTED, smsc_id, "ACK/", first), first))
            if decided.reported and mask & kind:
                done = time.strftime("%y%m%d%H%M", time.gmtime(now + last))
                words = (
                    f"id:{smsc_id} sub:001 dlvrd:{'001' if kind == _DELIVERED else '000'} "
                    f"submit date:{time.strftime('%y%m%d%H%M', time.gmtime(now))} done date:{done} "
                    f"stat:{word} err:{error} text:"
                )
                receipts.append((callback(kind, smsc_id, words, last), last))
        return receipts * 2 if decided.fault == "duplicate-receipts" else receipts


class _Response:
    """An answer with the way in which it reaches the client, or does not."""

    def __init__(self, answer: Reply | None, content_type: str = "text/html", fault: str | None = None):
        self.answer = answer
        self.content_type = content_type
        self.fault = fault

    def encoded(self, keep_alive: bool) -> bytes:
        if self.answer is None:
            return b""
        body = self.answer.sentence.encode()
        head = (
            f"HTTP/1.1 {self.answer.status} {HTTPStatus(self.answer.status).phrase}\r\n"
            f"Server: fatoura-sandbox\r\nDate: {formatdate(usegmt=True)}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: {'Keep-Alive' if keep_alive else 'Close'}\r\n"
            f"Content-type: {self.content_type}\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\r\n"
        )
        return head.encode("ascii") + body


class _Connection(asyncio.Protocol):
    """One client connection: requests in, answered in their order."""

    def __init__(self, sandbox: Sandbox):
        self._sandbox = sandbox
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[tuple[str, str, dict[str, str], bytes, bool]] = deque()
        self._busy = False
        self._start()

    def _start(self) -> None:
        self._target = bytearray()
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._sandbox._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sandbox._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.write(_Response(Reply(400, "")).encoded(keep_alive=False))
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("utf-8", "replace")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > _LONGEST_REQUEST:
            self._transport.abort()

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode("ascii")
        request = (
            method, self._target.decode("latin-1"), self._headers, bytes(self._body),
            self._parser.should_keep_alive(),
        )  # fmt: skip
        self._start()
        self._waiting.append(request)
        if not self._busy:
            self._busy = True
            task = asyncio.get_running_loop().create_task(self._answer_all())
            self._sandbox._answering.add(task)
            task.add_done_callback(self._sandbox._answering.discard)

    async def _answer_all(self) -> None:
        while self._waiting and not self._transport.is_closing():
            method, target, headers, body, keep_alive = self._waiting.popleft()
            response = await self._sandbox.respond(method, target, headers, body)
            self._write(response, keep_alive)
        self._busy = False

    def _write(self, response: _Response, keep_alive: bool) -> None:
        if response.fault in ("timeout", "silence"):
            return  # and the client finds out by itself
        if response.fault in ("reset-before", "reset-after"):
            self._reset()
            return
        encoded = response.encoded(keep_alive)
        if response.fault == "half-answer":
            self._transport.write(encoded[: -len(ACCEPTED.sentence) // 2])
            self._transport.close()
            return
        self._transport.write(encoded)
        if not keep_alive:
            self._transport.close()

    def _reset(self) -> None:
        """Close with RST, as a process that died does."""
        connection: socket.socket = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _answer(decided: Plan) -> Reply | None:
    """Return what the client is told; nothing when it is told nothing."""
    match decided.fault:
        case "timeout" | "silence" | "reset-before" | "reset-after":
            return None
        case "503":
            return TEMPORARY
        case "429":
            return Reply(429, "Too many requests")
        case "html":
            return Reply(200, _HTML)
        case _:
            return DENIED if decided.rejected else ACCEPTED


def _counted(counts: Counter[str], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): count for name, count in sorted(counts.items()) if name.startswith(prefix)
    }


async def serve(options: SandboxOptions, ready: Callable[[Sandbox], None], stop: Awaitable[object]) -> None:
    """Run a sandbox until `stop` is done.

    :param ready: called once it listens.
    """
    async with Sandbox(options) as sandbox:
        ready(sandbox)
        await stop
    log.info("sandbox gateway stopped: %s", json.dumps(sandbox.stats()))
