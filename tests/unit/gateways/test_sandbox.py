"""The sandbox gateway: Kannel's words, Kannel's receipts, and the faults that are asked for."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from uuid import UUID, uuid4

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.errors import BadInput
from fatoura.gateways import (
    GatewayConfig,
    Message,
    Outcome,
    Receipt,
    create_gateway,
    outcome_of,
)
from fatoura.gateways.sandbox import FAULTS, Sandbox, SandboxOptions, callbacks
from fatoura.gateways.sandbox.behaviour import NOT_ACCEPTED, plan
from fatoura.gateways.transport import Transport
from fatoura.notices.encoding import measure
from fatoura.notices.states import State
from tests import sendsms_table
from tests.receipt_sink import ReceiptSink

OPTIONS = SandboxOptions(port=0)


@pytest.fixture
async def sink():
    async with ReceiptSink() as running:
        yield running


@pytest.fixture
async def transport():
    async with Transport(connections=20, timeout=0.7) as running:
        yield running


def adapter(sandbox: Sandbox):
    config = GatewayConfig("fatoura_sms", sandbox.base_url, "fatoura", "sandbox", {"longest_segments": 10})
    return create_gateway("kannel", config)


async def submit(
    sandbox: Sandbox,
    transport: Transport,
    sink: ReceiptSink,
    phone: str = "+21620000000",
    text: str = "STEG: facture",
    notice: UUID | None = None,
    attempt: int = 1,
) -> tuple[UUID, Outcome]:
    notice = notice or uuid4()
    gateway = adapter(sandbox)
    measured = measure(text)
    message = Message(
        notice, attempt, phone, text, measured.encoding, measured.segments, 60, "STEG",
        gateway.receipt_url(sink.url, "word", notice, attempt),
    )  # fmt: skip
    return notice, outcome_of(gateway, await transport.submit(gateway.submit_request(message)))


def receipts(sandbox: Sandbox, sink: ReceiptSink, notice: UUID) -> list[Receipt]:
    return [adapter(sandbox).read_receipt(query, b"", {}) for query in sink.of(notice)]


@pytest.mark.parametrize(("case", "changes", "body", "answer"), sendsms_table.POSTS)
async def test_posts_are_answered_as_kannel_answers_them(case, changes, body, answer):
    async with Sandbox(OPTIONS) as sandbox, aiohttp.ClientSession() as client:
        headers = sendsms_table.post(changes, "fatoura", "sandbox")
        async with client.post(sandbox.base_url + sendsms_table.PATH, data=body, headers=headers) as response:
            assert (response.status, await response.text()) == answer
            assert response.headers["Content-Type"] == "text/html"


@pytest.mark.parametrize(("case", "changes", "answer"), sendsms_table.GETS)
async def test_gets_are_answered_as_kannel_answers_them(case, changes, answer):
    async with Sandbox(OPTIONS) as sandbox, aiohttp.ClientSession() as client:
        params = sendsms_table.get(changes, "fatoura", "sandbox")
        async with client.get(sandbox.base_url + sendsms_table.PATH, params=params) as response:
            assert (response.status, await response.text()) == answer


async def test_unknown_paths_are_not_found():
    async with (
        Sandbox(OPTIONS) as sandbox,
        aiohttp.ClientSession() as client,
        client.get(sandbox.base_url) as response,
    ):
        assert (response.status, await response.text()) == (404, "Unknown request.")


async def test_an_accepted_message_is_acknowledged_and_then_reported_delivered(sink, transport):
    async with Sandbox(OPTIONS) as sandbox:
        notice, outcome = await submit(sandbox, transport, sink)
        assert outcome == Outcome("accepted", None, "0: Accepted for delivery")
        await sink.wait(lambda: len(sink.of(notice)) == 2)
        first, last = receipts(sandbox, sink, notice)
    assert (first.status, last.status) == (State.ACCEPTED, State.DELIVERED)
    assert (first.detail, last.detail) == ("ACK", "DELIVRD err:000")
    assert first.provider_id == last.provider_id == "0000000001"
    assert {first.attempt, last.attempt} == {1}
    assert sink.received[0].path == "/receipts/fatoura_sms/word"
    assert sink.received[0].headers["User-Agent"] == "Kannel/1.4.5"
    assert sink.received[0].headers["Connection"] == "keep-alive"


@pytest.mark.parametrize(
    ("digit", "states"),
    [
        ("0", [State.ACCEPTED, State.DELIVERED]),
        ("1", [State.ACCEPTED, State.UNDELIVERABLE]),
        ("2", [State.ACCEPTED, State.EXPIRED]),
        ("3", [State.ACCEPTED, State.REJECTED]),
        ("4", [State.REJECTED]),
        ("7", [State.ACCEPTED]),
        ("8", [State.ACCEPTED, State.DELIVERED]),
        ("9", [State.ACCEPTED, State.UNDELIVERABLE]),
    ],
)
async def test_the_last_digit_of_the_number_can_choose_the_outcome(sink, transport, digit, states):
    async with Sandbox(replace(OPTIONS, by_last_digit=True)) as sandbox:
        notice, outcome = await submit(sandbox, transport, sink, f"+2162000000{digit}")
        assert outcome.kind == "accepted"
        await sink.wait(lambda: len(sink.of(notice)) == len(states))
        await asyncio.sleep(0.05)
        assert [receipt.status for receipt in receipts(sandbox, sink, notice)] == states


async def test_receipts_come_after_their_delay_and_only_for_their_share(sink, transport):
    options = replace(OPTIONS, receipt_delay=0.4, receipts=0.5, acknowledgements=0)
    async with Sandbox(options) as sandbox:
        started = time.monotonic()
        await asyncio.gather(*(submit(sandbox, transport, sink) for _ in range(100)))
        assert not sink.received
        await sink.wait(lambda: sandbox.callbacks.pending == 0)
    assert sink.received[0].at - started >= 0.4
    assert 30 <= len(sink.received) <= 70
    assert {callback.query["type"] for callback in sink.received} == {"1"}


async def test_outcomes_follow_their_shares(sink, transport):
    options = replace(OPTIONS, outcomes={"expired": 0.5, "refused": 0.5}, acknowledgements=0)
    async with Sandbox(options) as sandbox:
        await asyncio.gather(*(submit(sandbox, transport, sink) for _ in range(200)))
        await sink.wait(lambda: sandbox.callbacks.pending == 0)
        stats = sandbox.stats()
    types = Counter(callback.query["type"] for callback in sink.received)
    assert types.keys() == {"2", "16"}
    assert types == {"2": stats["outcomes"]["expired"], "16": stats["outcomes"]["refused"]}
    assert 60 <= types["2"] <= 140


async def test_a_callback_that_is_not_taken_is_tried_six_times_and_then_dropped(sink, transport, monkeypatch):
    monkeypatch.setattr(callbacks, "PAUSE_SECONDS", 0.02)
    sink.status = 500
    async with Sandbox(replace(OPTIONS, acknowledgements=0)) as sandbox:
        notice, _ = await submit(sandbox, transport, sink)
        await sink.wait(lambda: sandbox.stats()["receipts"]["dropped"] == 1)
        assert len(sink.of(notice)) == 6


async def test_a_receiver_that_comes_back_gets_its_receipts(sink, transport, monkeypatch):
    monkeypatch.setattr(callbacks, "PAUSE_SECONDS", 0.1)
    async with Sandbox(replace(OPTIONS, acknowledgements=0)) as sandbox:
        await sink.__aexit__()
        notice, _ = await submit(sandbox, transport, sink)
        await asyncio.sleep(0.15)
        async with ReceiptSink(port=sink.port) as again:
            await again.wait(lambda: bool(again.of(notice)))


EXPECTED = {
    "timeout": "in_doubt",
    "silence": "in_doubt",
    "reset-before": "in_doubt",
    "reset-after": "in_doubt",
    "half-answer": "in_doubt",
    "html": "in_doubt",
    "503": "refused",
    "429": "refused",
    "duplicate-receipts": "accepted",
    "early-receipts": "accepted",
    "reordered-receipts": "accepted",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_does_what_it_says_and_the_count_knows_the_truth(sink, transport, tmp_path, fault):
    log = tmp_path / "log.jsonl"
    async with Sandbox(replace(OPTIONS, faults={fault: 1.0}, log=log)) as sandbox:
        notice, outcome = await submit(sandbox, transport, sink)
        assert outcome.kind == EXPECTED[fault]
        accepted = fault not in NOT_ACCEPTED
        expected = {"duplicate-receipts": 4}.get(fault, 2) if accepted else 0
        if fault == "early-receipts":
            assert len(sink.of(notice)) == 2
        await sink.wait(lambda: len(sink.of(notice)) == expected)
        await asyncio.sleep(0.05)
        assert len(sink.of(notice)) == expected
        kinds = [query["type"] for query in sink.of(notice)]
        if fault == "reordered-receipts":
            assert kinds == ["1", "8"]
        stats = sandbox.stats()
        assert (stats["accepted"], stats["faults"]) == (int(accepted), {fault: 1})
    (line,) = map(json.loads, log.read_text().splitlines())
    assert (line["id"], line["attempt"]) == (str(notice), 1)
    assert (line["accepted"], line["fault"]) == (accepted, fault)


async def test_requests_refused_at_once_follow_their_share(sink, transport):
    async with Sandbox(replace(OPTIONS, reject=0.5)) as sandbox:
        outcomes = await asyncio.gather(*(submit(sandbox, transport, sink) for _ in range(100)))
        kinds = Counter(outcome.kind for _, outcome in outcomes)
        assert kinds.keys() == {"accepted", "rejected"}
        assert sandbox.stats()["accepted"] == kinds["accepted"]
        assert 30 <= kinds["rejected"] <= 70


async def test_wrong_credentials_stop(sink, transport):
    async with Sandbox(replace(OPTIONS, password="another")) as sandbox:
        _, outcome = await submit(sandbox, transport, sink)
        assert outcome == Outcome("stop", None, "Authorization failed for sendsms")


async def test_an_id_accepted_again_is_counted(sink, transport, tmp_path):
    log = tmp_path / "log.jsonl"
    async with Sandbox(replace(OPTIONS, log=log)) as sandbox:
        notice, _ = await submit(sandbox, transport, sink)
        assert sandbox.stats()["ids_accepted_again"] == 0
        await submit(sandbox, transport, sink, notice=notice, attempt=2)
        stats = sandbox.stats()
        assert (stats["ids_accepted"], stats["ids_accepted_again"]) == (1, 1)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["id"], line["attempt"]) for line in lines] == [(str(notice), 1), (str(notice), 2)]


async def test_neither_number_nor_text_is_in_the_log(sink, transport, tmp_path):
    log = tmp_path / "log.jsonl"
    async with Sandbox(replace(OPTIONS, log=log)) as sandbox:
        await submit(sandbox, transport, sink, "+21620000042", "the text of a bill")
    assert "20000042" not in log.read_text()
    assert "bill" not in log.read_text()


@pytest.mark.parametrize("text", ["x" * 160, "x" * 161, "€" * 80, "€" * 81, "ع" * 70, "ع" * 71, "x" * 2000])
async def test_segments_are_counted_as_kannel_sends_them(sink, transport, text):
    async with Sandbox(OPTIONS) as sandbox, aiohttp.ClientSession() as client:
        measured = measure(text)
        headers = sendsms_table.post(
            {"X-Kannel-Coding": "2" if measured.encoding == "ucs2" else "0"}, "fatoura", "sandbox"
        )
        url = sandbox.base_url + sendsms_table.PATH
        async with client.post(url, data=text.encode(), headers=headers):
            pass
        assert sandbox.stats()["segments"] == min(measured.segments, 10)


async def test_counts_are_served(sink, transport):
    async with Sandbox(OPTIONS) as sandbox, aiohttp.ClientSession() as client:
        await submit(sandbox, transport, sink)
        async with client.get(sandbox.base_url + "/sandbox/stats") as response:
            stats = await response.json()
    assert (stats["requests"], stats["accepted"], stats["answers"]) == (1, 1, {"202": 1})


async def test_a_taken_port_is_told():
    async with Sandbox(OPTIONS) as sandbox:
        with pytest.raises(BadInput, match=f"{sandbox.port}, the port is taken"):
            await Sandbox(replace(OPTIONS, port=sandbox.port)).start()


@given(seed=st.integers(), key=st.text(), phone=st.from_regex(r"\+216[0-9]{8}", fullmatch=True))
def test_the_same_seed_and_id_choose_the_same(seed, key, phone):
    options = replace(
        OPTIONS,
        seed=seed,
        reject=0.3,
        receipts=0.5,
        outcomes={"expired": 0.4},
        faults={"timeout": 0.3, "503": 0.3},
    )
    assert plan(options, key, phone) == plan(options, key, phone)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"reject": 1.5}, "reject"),
        ({"receipts": -0.1}, "receipts"),
        ({"delay": -1}, "delay"),
        ({"faults": {"flood": 0.1}}, "flood"),
        ({"faults": {"timeout": 0.6, "503": 0.6}}, "sum to at most 1"),
        ({"outcomes": {"delivered": -0.1}}, "at least 0"),
    ],
)
def test_wrong_options_are_refused(changes, why):
    with pytest.raises(BadInput, match=why):
        replace(OPTIONS, **changes)


@pytest.mark.parametrize(
    ("url", "filled"),
    [
        ("http://r/x?a=%d&b=%A&c=%F", "http://r/x?a=1&b=stat%3AX+err%3A0&c=007"),
        ("http://r/w%%2Fx?a=%d", "http://r/w%2Fx?a=1"),
        ("http://r/x?a=%z&b=%%%d", "http://r/x?a=%z&b=%1"),
        ("http://r/x", "http://r/x"),
        ("http://r/x?a=%", "http://r/x?a=%"),
    ],
)
def test_escapes_are_filled_as_kannel_fills_them(url, filled):
    escapes = {"d": "1", "A": "stat:X err:0", "F": "007"}
    assert callbacks.Callback(url, escapes).filled() == filled


async def test_half_a_request_and_garbage_do_no_harm():
    async with Sandbox(OPTIONS) as sandbox:
        for sent in (b"POST /cgi-bin/sendsms HTTP/1.1\r\nContent-Le", b"\x00\x01\x02\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
            writer.write(sent)
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 2)
            writer.close()
        assert sandbox.stats()["requests"] == 0


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from fatoura.cli import main; main()", "gateway", "sandbox", *arguments]


def test_the_command_runs_until_interrupted_and_writes_below_var(tmp_path):
    env = {**os.environ, "FATOURA_VAR": str(tmp_path / "var")}
    process = subprocess.Popen(command("--port", "0"), env=env, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("Sandbox gateway: http://127.0.0.1:")
        assert "/cgi-bin/sendsms" in line
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        process.stdout.close()
    assert (tmp_path / "var" / "sandbox" / "requests.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["--fault", "flood=0.1"], 1, "unknown flood"),
        (["--fault", "timeout"], 1, "KIND=SHARE"),
        (["--reject", "2"], 1, "reject"),
        (["--port", "99999"], 2, "--port"),
    ],
)
def test_the_command_refuses_what_is_wrong_with_the_reason(tmp_path, arguments, code, why):
    env = {**os.environ, "FATOURA_VAR": str(tmp_path / "var")}
    done = subprocess.run(command(*arguments), env=env, capture_output=True, text=True, timeout=30)
    assert (done.returncode, why in done.stderr) == (code, True), done.stderr
