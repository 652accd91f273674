"""Who sends in the bench, in a process of its own: a bare client, or a send task, Airflow included.

Arguments: ``bare|sender COUNT GATEWAY USERNAME PASSWORD RECEIPTS UNTIL``, the last one of ``accepted``,
``called-back`` (a bare server was given all final receipts), ``settled`` (all receipts are matched), or
the seconds after which a sender is asked to stop. Or ``request 0 GATEWAY …``, which only shows what would be
written; or ``settle 0 GATEWAY …``, which does what a settle task does. Prints JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import requests
import uvloop

from fatoura.gateways import GatewayConfig, create_gateway, receipt_path
from fatoura.gateways.interface import Message
from fatoura.receipts.secret import receipt_secret
from fatoura.settings import get_settings
from tests.bench.task import become_a_task, peak
from tests.notices import TEXT

if TYPE_CHECKING:
    from fatoura.gateways.interface import Gateway

NAME = "fatoura_sms"
PHONES = "'+2162' || lpad((i * 10)::text, 7, '0')"
"""Invented numbers; those that end in 0 are delivered, where a test's SMS centre stands behind Kannel."""

_PATIENCE_SECONDS = 120
_LOOK_SECONDS = 0.5


def gateway(address: str, username: str, password: str) -> Gateway:
    """Return the adapter that all of the bench sends with."""
    return create_gateway("kannel", GatewayConfig(NAME, address, username, password))


def one_request(through: Gateway, receipts: str, phone: str, id_text: str) -> bytes:
    """Return the bytes of one message's request, written by hand from what the adapter says."""
    id = UUID(int=0)
    url = through.receipt_url(receipts, receipt_secret(), id, 1).replace(str(id), id_text)
    message = Message(id, 1, "+21620000000", TEXT, "gsm7", 1, 720, get_settings().sender_id, url)
    request = through.submit_request(message)
    authority, path = request.url.removeprefix("http://").split("/", 1)
    lines = [f"{request.method} /{path} HTTP/1.1", f"Host: {authority}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    lines += [f"Content-Length: {len(request.body)}", "", ""]
    return "\r\n".join(lines).replace(message.phone, phone).encode() + request.body


async def bare(count: int, through: Gateway, address: str, receipts: str, until: str) -> dict[str, Any]:
    """Write the requests that the sender would write, and count the answers."""
    before, after = one_request(through, receipts, "PHONE", "ID").split(b"PHONE")
    between, after = after.split(b"ID")
    run = int(time.time())
    numbers = iter(range(count))
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    accepted = answered = 0

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport
            self.held = b""
            self.write()

        def write(self) -> None:
            number = next(numbers, None)
            if number is None:
                self.transport.close()
                return
            self.transport.write(
                b"%s+2162%06d0%s%08x-0000-7000-8000-%012x%s" % (before, number, between, run, number, after)
            )

        def data_received(self, data: bytes) -> None:
            nonlocal accepted, answered
            self.held += data
            end = self.held.find(b"\r\n\r\n") + 4
            if end < 4 or len(self.held) < end + 24:  # as long as Kannel's word of acceptance
                return
            accepted += self.held.startswith(b"HTTP/1.1 202")
            answered += 1
            self.held = b""
            if answered == count:
                ended.set_result(None)
            self.write()

    host, port = address.removeprefix("http://").split(":")
    finals = _finals(receipts) if until == "called-back" else 0
    began = time.monotonic()
    for _ in range(get_settings().connections):
        await asyncio.get_running_loop().create_connection(Connection, host, int(port))
    await asyncio.wait_for(ended, _PATIENCE_SECONDS)
    sent = time.monotonic() - began
    while until == "called-back" and _finals(receipts) < finals + count:
        if time.monotonic() > began + sent + _PATIENCE_SECONDS:
            raise TimeoutError("not all receipts have come")
        await asyncio.sleep(_LOOK_SECONDS)
    return {"sent_seconds": sent, "settled_seconds": time.monotonic() - began, "accepted": accepted}


def _finals(receipts: str) -> int:
    """Ask a bare server how many final receipts it was given."""
    return int(requests.get(receipts + "/counts", timeout=10).json()["finals"])


async def send(count: int, through: Gateway, receipts: str, until: str) -> dict[str, Any]:
    """Send planned notices as a send task does."""
    from sqlalchemy import text

    from fatoura.database import connect
    from fatoura.sending.sender import Sender

    def standing() -> tuple[int, int]:
        with connect() as connection:
            delivered = "SELECT count(*) FROM notice WHERE state = 'delivered'"
            matched = "SELECT count(*) FROM receipt WHERE match <> 'new'"
            return (
                connection.scalar(text(delivered)) or 0,
                connection.scalar(text(matched)) or 0,
            )

    with connect() as connection:
        cycle = connection.scalar(text("SELECT id FROM cycle"))
    sender = Sender(cycle, [through], receiver=(receipts, receipt_secret()), worker="bench")
    if until.isdigit():
        asyncio.get_running_loop().call_later(int(until), sender.stop)
    began = time.monotonic()
    result = await sender.run()
    sent = time.monotonic()
    now = (0, 0)
    while until == "settled" and (now := standing()) < (count, 2 * count):
        if time.monotonic() > sent + _PATIENCE_SECONDS:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    return {
        "sent_seconds": sent - began,
        "settled_seconds": time.monotonic() - began,
        "accepted": result.counts["accepted"],
        "delivered": now[0],
        "receipts": now[1],
    }


def settle() -> dict[str, Any]:
    """Match what has come, and count where the cycle stands, as a settle task does."""
    from sqlalchemy import text

    from fatoura.database import connect
    from fatoura.receipts.matching import match_receipts, unpark_known
    from fatoura.receipts.settling import settlement

    unpark_known()
    match_receipts()
    with connect() as connection:
        cycle = connection.scalar(text("SELECT id FROM cycle"))
        return {"states": settlement(connection, cycle).states}


def main(who: str, count: int, address: str, username: str, password: str, receipts: str, until: str) -> None:
    """Send; print what it took."""
    through = gateway(address, username, password)
    if who in ("sender", "settle"):
        become_a_task()
    began = time.process_time()
    answer: dict[str, Any]
    if who == "request":
        written = one_request(through, receipts, "PHONE", "ID").decode()
        answer = {"request": written, "receipts": receipt_path(NAME, receipt_secret())}
    elif who == "bare":
        answer = uvloop.run(bare(count, through, address, receipts, until))
    elif who == "settle":
        answer = settle()
    else:
        gc.freeze()  # as the task does
        answer = uvloop.run(send(count, through, receipts, until))
    answer["cpu"] = time.process_time() - began
    answer["peak"] = peak()
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
