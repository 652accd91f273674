"""A gateway that takes every message at once and notes when it came: ``python -m tests.pace.sink PORT FILE``.

The instant is the kernel's, at which the request reached this machine's socket, so that a sink that had to
wait for a processor does not see a crowd where there was none. It speaks Kannel's words of acceptance.
"""

from __future__ import annotations

import json
import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from fatoura.notices.encoding import measure

_SO_TIMESTAMPNS = 35
_BODY = b"0: Accepted for delivery"
_ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)


def main(port: int, file: Path) -> None:
    """Take messages until SIGTERM, then write a line for each."""
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)  # accepted sockets inherit it
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    arrived: list[tuple[float, bytes]] = []
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    while not ended:
        for key, _ in waiting.select(0.2):
            if key.fileobj is listener:
                connection, _address = listener.accept()
                connection.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
                waiting.register(connection, selectors.EVENT_READ, bytearray())
            elif not _take(key.fileobj, key.data, arrived):  # type: ignore[arg-type]
                waiting.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
    with file.open("w") as out:
        for at, request in arrived:
            out.write(json.dumps(_noted(at, request)) + "\n")


def _take(connection: socket.socket, held: bytearray, arrived: list[tuple[float, bytes]]) -> bool:
    """Read what came; answer when it is a whole request. Tell whether the connection still stands."""
    try:
        data, told, _, _ = connection.recvmsg(65536, 64)
    except ConnectionError:
        return False
    if not data:
        return False
    held += data
    head, found, body = bytes(held).partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    if not found or len(body) < length:
        return True
    at = time.time()
    for level, kind, value in told:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("qq", value)
            at = seconds + nanoseconds / 1e9
    arrived.append((at, bytes(held)))
    held.clear()
    try:
        connection.send(_ANSWER)
    except ConnectionError:
        return False
    return True


def _noted(at: float, request: bytes) -> dict[str, object]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")[1:]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    query = parse_qs(urlsplit(headers["x-kannel-dlr-url"]).query)
    return {
        "at": at,
        "notice": query["notice"][0],
        "attempt": int(query["attempt"][0]),
        "segments": measure(body.decode()).segments,
        "validity": int(headers["x-kannel-validity"]),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
