"""The transport against raw servers that fail at every point: a request is written once, and told right."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import subprocess

import pytest

from fatoura.gateways import Answer, Request, TransportFailure
from fatoura.gateways.transport import Transport
from tests.processes import free_port

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 24\r\nConnection: Keep-Alive\r\n\r\n0: Accepted for delivery"


class RawServer:
    """Reads whole requests off each connection and lets a script answer the n-th of the connection."""

    def __init__(self, script, ssl_context=None):
        self.script = script
        self.ssl_context = ssl_context
        self.requests: list[bytes] = []
        self.connections = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.ssl_context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            number = 0
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                self.requests.append(head + await reader.readexactly(length))
                if not await self.script(number, writer):
                    break
                number += 1
        writer.close()

    def request(self, method="POST", path="/") -> Request:
        body = b"text" if method == "POST" else b""
        scheme = "https" if self.ssl_context else "http"
        return Request(method, f"{scheme}://127.0.0.1:{self.port}{path}", {"X-One": "1"}, body)


def reset(writer) -> None:
    """Close with RST, not with FIN."""
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )  # fmt: skip
    writer.transport.abort()


def answers(raw: bytes, keep: bool = False):
    async def script(_number, writer):
        writer.write(raw)
        await writer.drain()
        return keep

    return script


def certificate(folder) -> ssl.SSLContext:
    """Make a certificate that nobody trusts yet."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", folder / "key", "-out", folder / "cert", "-days", "1", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    return context


async def silent(_number, _writer):
    await asyncio.sleep(30)


async def lost_by_reset(_number, writer):
    reset(writer)


async def lost_by_close(_number, _writer):
    return False


async def head_then_reset(_number, writer):
    writer.write(OK[:60])
    await writer.drain()
    await asyncio.sleep(0.05)
    reset(writer)


async def test_an_answer_comes_back_whole():
    async with RawServer(answers(OK, keep=True)) as server, Transport(connections=2, timeout=5) as transport:
        answer = await transport.submit(server.request())
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (202, b"0: Accepted for delivery")
    assert server.requests[0].startswith(b"POST / HTTP/1.1\r\n")
    assert server.requests[0].endswith(b"\r\n\r\ntext")
    assert b"X-One: 1\r\n" in server.requests[0]


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_kept_connection_that_dies_under_a_request_is_in_doubt_and_the_request_is_not_written_again(
    method,
):
    async def script(number, writer):
        if number == 0:
            writer.write(OK)
            return True
        return False  # reads the second request of the connection, and closes

    async with RawServer(script) as server, Transport(connections=1, timeout=5) as transport:
        first = await transport.submit(server.request(method, "/first"))
        second = await transport.submit(server.request(method, "/second"))
        await asyncio.sleep(0.2)  # time for a repetition to come
    assert isinstance(first, Answer)
    assert second == TransportFailure("in_doubt", "connection lost")
    assert [line.split()[1] for line in server.requests] == [b"/first", b"/second"]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (silent, "no complete answer within 0.5 s"),
        (lost_by_reset, "connection lost"),
        (lost_by_close, "connection lost"),
        (head_then_reset, "connection lost"),
        (answers(OK[:60]), "the answer broke off"),
        (answers(OK[:-4]), "the answer broke off"),
        (answers(b"SSH-2.0-OpenSSH\r\n"), "the answer is not HTTP"),
        (answers(b"\x00\x01\x02 garbage \xff\r\n\r\n"), "the answer is not HTTP"),
        (answers(b"HTTP/1.1 202 Accepted\r\nContent-Length: many\r\n\r\n"), "the answer is not HTTP"),
    ],
)
async def test_whatever_fails_after_the_request_was_written_is_in_doubt(script, reason):
    async with RawServer(script) as server, Transport(connections=2, timeout=0.5) as transport:
        failure = await transport.submit(server.request())
    assert isinstance(failure, TransportFailure)
    assert failure.kind == "in_doubt"
    assert failure.reason in (reason, "connection lost")
    assert len(server.requests) == 1


async def test_a_refused_connection_proves_that_nothing_was_sent():
    request = Request("POST", f"http://127.0.0.1:{free_port()}/", {}, b"text")
    async with Transport(connections=2, timeout=5) as transport:
        assert await transport.submit(request) == TransportFailure("not_sent", "connection refused")


async def test_an_unknown_name_proves_that_nothing_was_sent():
    request = Request("POST", "http://gateway.invalid/", {}, b"text")
    async with Transport(connections=2, timeout=10) as transport:
        failure = await transport.submit(request)
    assert failure == TransportFailure("not_sent", "the provider's name cannot be resolved")


async def test_a_connection_that_never_stands_proves_that_nothing_was_sent():
    with socket.socket() as full:  # a listener whose queue is full answers no further connection
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(full.getsockname())
            fillers.append(filler)
        request = Request("POST", f"http://127.0.0.1:{full.getsockname()[1]}/", {}, b"text")
        async with Transport(connections=2, timeout=5, connect_timeout=0.5) as transport:
            failure = await transport.submit(request)
        for filler in fillers:
            filler.close()
    assert failure == TransportFailure("not_sent", "no connection within 0.5 s")


async def test_a_certificate_that_is_not_trusted_proves_that_nothing_was_sent(tmp_path):
    context = certificate(tmp_path)
    async with RawServer(answers(OK), context) as server, Transport(connections=2, timeout=5) as transport:
        failure = await transport.submit(server.request())
    assert failure == TransportFailure("not_sent", "no trusted TLS connection")
    assert server.requests == []


async def test_a_trusted_server_is_spoken_to_over_tls(tmp_path, monkeypatch):
    context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))
    async with (
        RawServer(answers(OK, keep=True), context) as server,
        Transport(connections=1, timeout=5) as transport,
    ):
        results = [await transport.submit(server.request()) for _ in range(3)]
    assert [type(result) for result in results] == [Answer] * 3
    assert server.connections == 1


async def test_a_plain_server_behind_an_https_address_gets_no_request():
    async with RawServer(answers(OK)) as server, Transport(connections=2, timeout=0.5) as transport:
        failure = await transport.submit(Request("POST", f"https://127.0.0.1:{server.port}/", {}, b"text"))
    assert isinstance(failure, TransportFailure)
    assert failure.kind == "not_sent"
    assert server.requests == []


async def test_a_get_carries_everything_in_its_address_and_no_body():
    async with RawServer(answers(OK, keep=True)) as server, Transport(connections=1, timeout=5) as transport:
        path = "/send?key=a%20b&to=%2B21620000000&text=%D9%81&smsc=%25i"
        assert isinstance(await transport.submit(server.request("GET", path)), Answer)
    head = server.requests[0].decode()
    assert head.startswith(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n")
    assert "content-length" not in head.lower()


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://127.0.0.1:1/a b"},
        {"url": "http://127.0.0.1:1/\r\nX-To: 2"},
        {"url": "http://127.0.0.1:1/é"},
        {"url": "http://127.0.0.1:1/#part"},
        {"url": "http://user:secret@127.0.0.1:1/"},
        {"url": "http://127.0.0.1:port/"},
        {"url": "ftp://127.0.0.1:1/"},
        {"url": "/path"},
        {"headers": {"X-To": "1\r\nX-To: 2"}},
        {"headers": {"X-To\r\nX": "1"}},
        {"headers": {"X To": "1"}},
        {"headers": {"X-To": "\udc80"}},
    ],
)
async def test_what_is_not_one_request_is_not_written_and_not_repeated_in_the_reason(wrong):
    request = Request(
        **{"method": "POST", "url": "http://127.0.0.1:1/", "headers": {}, "body": b"text"} | wrong
    )
    async with Transport(connections=1, timeout=5) as transport:
        failure = await transport.submit(request)
    assert isinstance(failure, TransportFailure)
    assert failure.kind == "not_sent"
    assert failure.reason.startswith("the request cannot be written: ")
    assert "secret" not in failure.reason


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n4\r\n two\r\n0\r\n\r\n",
            b"one two",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none", b"one"),
        (b"HTTP/1.1 200 OK\r\n\r\nall until the end", b"all until the end"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none", b"one"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b""),
    ],
)
async def test_answers_of_every_form_are_read(raw, body):
    async with RawServer(answers(raw)) as server, Transport(connections=1, timeout=5) as transport:
        answer = await transport.submit(server.request())
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (200, body)


async def test_headers_of_an_answer_are_found_in_any_case():
    raw = b"HTTP/1.1 200 OK\r\ncontent-TYPE: text/html\r\nContent-Length: 0\r\n\r\n"
    async with RawServer(answers(raw)) as server, Transport(connections=1, timeout=5) as transport:
        answer = await transport.submit(server.request())
    assert isinstance(answer, Answer)
    assert answer.headers["Content-Type"] == answer.headers["CONTENT-TYPE"] == "text/html"
    assert answer.headers.get("Retry-After") is None
    assert dict(answer.headers) == {"content-type": "text/html", "content-length": "0"}


async def test_endless_headers_are_not_http():
    async def script(_number, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"X-Header: x\r\n" * 1000)
                await writer.drain()

    async with RawServer(script) as server, Transport(connections=1, timeout=5) as transport:
        assert await transport.submit(server.request()) == TransportFailure(
            "in_doubt", "the answer is not HTTP"
        )


@pytest.mark.parametrize(
    "last_words", [b"", b"HTTP/1.1 408 Request Time-out\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]
)
async def test_a_kept_connection_that_the_server_has_closed_is_not_written_to(last_words):
    """Also when the loop has not come to hear of it: there is no doubt, for nothing was written there."""
    servers_end: list[socket.socket] = []

    async def script(_number, writer):
        servers_end.append(socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())))
        writer.write(OK)
        return True

    async with RawServer(script) as server, Transport(connections=1, timeout=5) as transport:
        first = await transport.submit(server.request("POST", "/first"))
        servers_end[0].send(last_words)
        servers_end[0].shutdown(socket.SHUT_WR)
        second = await transport.submit(server.request("POST", "/second"))
        for end in servers_end:
            end.close()
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert [line.split()[1] for line in server.requests] == [b"/first", b"/second"]
    assert server.connections == 2


async def test_a_connection_is_not_kept_longer_than_the_server_says():
    told = OK.replace(b"Connection: Keep-Alive", b"Keep-Alive: timeout=1, max=100")
    async with (
        RawServer(answers(told, keep=True)) as server,
        Transport(connections=1, timeout=5) as transport,
    ):
        for _ in range(2):
            assert isinstance(await transport.submit(server.request()), Answer)
    assert server.connections == 2


async def test_a_second_answer_to_one_question_is_never_taken_for_the_answer_to_the_next():
    async def script(number, writer):
        writer.write(OK + OK if number == 0 else OK)
        return True

    async with RawServer(script) as server, Transport(connections=1, timeout=5) as transport:
        assert isinstance(await transport.submit(server.request()), Answer)
        assert isinstance(await transport.submit(server.request()), Answer)
    assert server.connections == 2


async def test_a_cancelled_request_leaves_no_answer_behind_for_the_next():
    async def script(number, writer):
        await asyncio.sleep(0.2)
        writer.write(OK)
        return True

    async with RawServer(script) as server, Transport(connections=1, timeout=5) as transport:
        task = asyncio.create_task(transport.submit(server.request("POST", "/first")))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert isinstance(await transport.submit(server.request("POST", "/second")), Answer)
    assert server.connections == 2


async def test_many_requests_at_once_each_get_their_own_answer():
    async def script(_number, writer):
        number = server.requests[-1].split()[1][1:]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(number), number))
        return True

    async with RawServer(script) as server, Transport(connections=7, timeout=5) as transport:
        results = await asyncio.gather(
            *(transport.submit(server.request("POST", f"/{number}")) for number in range(500))
        )
    assert [result.body for result in results] == [b"%d" % number for number in range(500)]
    assert server.connections <= 7


async def test_a_redirect_is_not_followed():
    moved = b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with RawServer(answers(moved, keep=True)) as server, Transport(connections=1, timeout=5) as it:
        answer = await it.submit(server.request())
    assert isinstance(answer, Answer)
    assert answer.status == 307
    assert len(server.requests) == 1


async def test_an_endless_answer_is_cut():
    async def script(_number, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()

    async with RawServer(script) as server, Transport(connections=1, timeout=5) as transport:
        answer = await transport.submit(server.request())
    assert isinstance(answer, Answer)
    assert len(answer.body) == 64 * 1024


async def test_no_more_requests_run_at_once_than_connections_are_allowed_and_waiting_is_not_counted():
    running, most = 0, 0

    async def script(_number, writer):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.2)
        running -= 1
        writer.write(OK)
        return True

    async with RawServer(script) as server, Transport(connections=3, timeout=0.5) as transport:
        results = await asyncio.gather(*(transport.submit(server.request()) for _ in range(12)))
    assert all(isinstance(result, Answer) for result in results)
    assert most == 3
    assert server.connections == 3


async def test_a_failed_request_gives_its_place_back():
    async def script(number, writer):
        if len(server.requests) <= 3:
            reset(writer)
            return False
        writer.write(OK)
        return True

    async with RawServer(script) as server, Transport(connections=1, timeout=5) as transport:
        results = [await transport.submit(server.request()) for _ in range(4)]
    assert [type(result) for result in results] == [*[TransportFailure] * 3, Answer]
