"""Who sends in the bench, in a process of its own: ``bare COUNT`` or ``sender COUNT``. Prints JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from uuid import UUID

from fatoura.gateways import GatewayConfig, create_gateway
from fatoura.gateways.interface import Message
from fatoura.receipts.secret import receipt_secret
from fatoura.settings import get_settings
from tests.notices import TEXT, plan_notices, states

_PATIENCE_SECONDS = 120


def main(who: str, count: int) -> None:
    """Send."""
    json.dump(asyncio.run((_bare if who == "bare" else _sender)(count)), sys.stdout)


def _gateway() -> Any:
    address = f"http://127.0.0.1:{get_settings().gateway_port}"
    return create_gateway("kannel", GatewayConfig("fatoura_sms", address, "fatoura", "sandbox"))


async def _bare(count: int) -> dict[str, Any]:
    """Write the requests that the sender would write, and count the answers."""
    import aiohttp

    gateway, settings = _gateway(), get_settings()
    where = (settings.receiver_url, receipt_secret())
    messages = (
        Message(
            UUID(int=number),
            1,
            f"+216200{number:05d}",
            TEXT,
            "gsm7",
            1,
            720,
            settings.sender_id,
            gateway.receipt_url(*where, UUID(int=number), 1),
        )
        for number in range(count)
    )
    accepted = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal accepted
        for message in messages:
            request = gateway.submit_request(message)
            async with session.request(
                request.method, request.url, headers=request.headers, data=request.body or None
            ) as response:
                await response.read()
                accepted += response.status == 202

    began = time.monotonic()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(work(session) for _ in range(settings.connections)))
    return {"seconds": time.monotonic() - began, "accepted": accepted}


async def _sender(count: int) -> dict[str, Any]:
    """Send planned notices as a send task does, then wait until their receipts have settled them."""
    from fatoura.sending.sender import Sender

    settings = get_settings()
    cycle = plan_notices(count)
    sender = Sender(cycle, [_gateway()], receiver=(settings.receiver_url, receipt_secret()), worker="bench")
    began = time.monotonic()
    await sender.run()
    sent = time.monotonic()
    while (now := states(cycle)).get("delivered", 0) < count and time.monotonic() < sent + _PATIENCE_SECONDS:
        await asyncio.sleep(0.05)
    return {
        "sent_seconds": sent - began,
        "settled_seconds": time.monotonic() - began,
        "delivered": now.get("delivered", 0),
    }


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
