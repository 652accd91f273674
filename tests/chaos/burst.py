"""Ten thousand receipts at once, from a process of its own: what it takes to send them must slow nobody else.

Reads a line with the receiver's port, then a line for each receipt: its number and its address. Tries each
until the receiver has it, and prints the numbers of those that it took. Started by the relay.
"""

from __future__ import annotations

import asyncio
import sys

from tests.chaos.wire import Client, receipt_request

_AT_ONCE = 400
_AGAIN_SECONDS = 0.2


async def main() -> None:
    """Deliver what stands on standard input."""
    port, *lines = sys.stdin.read().splitlines()
    client = Client(int(port))
    places = asyncio.Semaphore(_AT_ONCE)

    async def deliver(number: str, target: str) -> None:
        async with places:
            while True:
                try:
                    told = await client.exchange(receipt_request(target, int(number)))
                    if told.status == 200:
                        print(number, flush=True)  # noqa: T201
                        return
                except OSError:
                    pass
                await asyncio.sleep(_AGAIN_SECONDS)

    async with asyncio.TaskGroup() as group:
        for line in lines:
            group.create_task(deliver(*line.split(" ", 1)))


if __name__ == "__main__":
    asyncio.run(main())
