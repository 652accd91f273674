"""A server that does nothing: takes messages as Kannel does (POST), and receipts (GET), and counts. ``PORT``.

Beside it stands what is measured: it is the least that the other end of an HTTP connection can cost.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

_ACCEPTED = (
    b"HTTP/1.1 202 Accepted\r\nServer: Kannel/1.4.5\r\nContent-Length: 24\r\nContent-Type: text/html\r\n\r\n"
    b"0: Accepted for delivery"
)
_TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken"

counts = {"messages": 0, "receipts": 0, "finals": 0}


class Sink(asyncio.Protocol):
    """One connection. Reads no more of a request than its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._held = b""

    def data_received(self, data: bytes) -> None:
        held = self._held + data
        while (end := held.find(b"\r\n\r\n") + 4) > 3:
            if held.startswith(b"POST"):
                length = held.find(b"Content-Length: ", 0, end) + 16
                end += int(held[length : held.find(b"\r", length)])
                if len(held) < end:
                    break
                counts["messages"] += 1
                answer = _ACCEPTED
            elif held.startswith(b"GET /counts"):
                told = json.dumps(counts).encode()
                answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told)
            else:
                counts["receipts"] += 1
                counts["finals"] += held.find(b"type=1&", 0, end) > 0
                answer = _TAKEN
            self._transport.write(answer)
            held = held[end:]
        self._held = held


async def main(port: int) -> None:
    """Serve until it is stopped."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
