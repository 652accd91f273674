"""Real Kannel's receipts, of each kind, as our receiver gets them and the adapter reads them."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from fatoura.gateways import GatewayConfig, Message, create_gateway, outcome_of
from fatoura.gateways.sandbox import Sandbox, SandboxOptions
from fatoura.gateways.transport import Transport
from fatoura.notices.encoding import measure
from fatoura.notices.states import State
from tests.integration.kannel.stack import PASSWORD, USERNAME
from tests.receipt_sink import ReceiptSink

pytestmark = pytest.mark.kannel


@pytest.fixture
async def sink():
    async with ReceiptSink() as running:
        yield running


class Sender:
    """Submits through one gateway and reads what it reports."""

    def __init__(self, base_url: str, username: str, password: str, sink: ReceiptSink):
        config = GatewayConfig("fatoura_sms", base_url, username, password, {"longest_segments": 10})
        self.gateway = create_gateway("kannel", config)
        self.sink = sink

    async def submit(self, phone: str, text: str = "STEG", attempt: int = 1, validity: int = 60) -> uuid.UUID:
        notice, measured = uuid.uuid4(), measure(text)
        url = self.gateway.receipt_url(self.sink.url, "w%rd/é", notice, attempt)
        message = Message(
            notice, attempt, phone, text, measured.encoding, measured.segments, validity, "STEG", url
        )
        async with Transport(connections=1, timeout=5) as transport:
            result = await transport.submit(self.gateway.submit_request(message))
        assert outcome_of(self.gateway, result).kind == "accepted"
        return notice

    def receipts(self, notice: uuid.UUID):
        return [self.gateway.read_receipt(query, b"", {}) for query in self.sink.of(notice)]


@pytest.fixture
def sender(kannel, sink):
    return Sender(kannel.base_url, USERNAME, PASSWORD, sink)


LAST_DIGITS = [
    ("0", [(State.ACCEPTED, "ACK"), (State.DELIVERED, "DELIVRD err:000")]),
    ("1", [(State.ACCEPTED, "ACK"), (State.UNDELIVERABLE, "UNDELIV err:011")]),
    ("2", [(State.ACCEPTED, "ACK"), (State.EXPIRED, "EXPIRED err:011")]),
    ("3", [(State.ACCEPTED, "ACK"), (State.REJECTED, "REJECTD err:011")]),
    ("4", [(State.REJECTED, "NACK/0x0000000b/Invalid Destination Address")]),
    (
        "5",
        [(State.ACCEPTED, "ACK"), (State.DELIVERED, "DELIVRD err:000")],
    ),  # throttled once, hidden by Kannel
    ("6", [(State.ACCEPTED, "ACK"), (State.DELIVERED, "DELIVRD err:000")]),  # queue full once, likewise
    ("7", [(State.ACCEPTED, "ACK")]),
    ("8", [(State.ACCEPTED, "ACK"), (State.DELIVERED, "DELIVRD err:000")]),  # of two, Kannel passes one on
    ("9", [(State.ACCEPTED, "ACK"), (State.UNDELIVERABLE, "UNKNOWN err:011")]),
]


@pytest.mark.parametrize(("digit", "expected"), LAST_DIGITS)
async def test_receipts_of_each_kind_are_read(sender, sink, digit, expected):
    before = time.time()
    notice = await sender.submit(f"+2162001000{digit}", attempt=3)
    await sink.wait(lambda: len(sink.of(notice)) >= len(expected))
    await asyncio.sleep(0.3)
    receipts = sender.receipts(notice)
    assert sorted((r.status, r.detail) for r in receipts) == sorted(expected)
    assert {r.attempt for r in receipts} == {3}
    assert len({r.provider_id for r in receipts}) == 1
    assert all(abs(r.happened_at.timestamp() - before) < 20 for r in receipts)
    callback = next(c for c in sink.received if c.query["notice"] == str(notice))
    assert callback.path == "/receipts/fatoura_sms/w%25rd%2F%C3%A9"
    assert callback.headers["User-Agent"] == "Kannel/1.4.5"
    shown = " ".join(callback.query.values())
    assert "2001000" not in shown


@pytest.mark.parametrize(("digit", "expected"), LAST_DIGITS)
async def test_the_sandbox_gives_the_same_receipts(sink, digit, expected):
    async with Sandbox(SandboxOptions(port=0, by_last_digit=True)) as sandbox:
        sender = Sender(sandbox.base_url, "fatoura", "sandbox", sink)
        notice = await sender.submit(f"+2162001000{digit}")
        await sink.wait(lambda: len(sink.of(notice)) >= len(expected))
        states = sorted(r.status for r in sender.receipts(notice))
    assert states == sorted(state for state, _ in expected)


async def test_a_long_message_is_reported_once_by_its_first_part(sender, sink, kannel):
    notice = await sender.submit("+21620010020", "x" * 400)
    await sink.wait(lambda: len(sink.of(notice)) >= 2)
    await asyncio.sleep(0.3)
    parts = kannel.submitted("+21620010020")
    assert len(parts) == 3
    assert [bool(part["registered"] & 3) for part in parts] == [True, False, False]
    receipts = sender.receipts(notice)
    assert sorted(r.status for r in receipts) == [State.ACCEPTED, State.DELIVERED]
    assert {r.provider_id for r in receipts} == {parts[0]["id"]}


async def test_the_validity_reaches_the_sms_centre(sender, kannel):
    before = time.time()
    await sender.submit("+21620010030", validity=135)
    while not kannel.submitted("+21620010030"):
        await asyncio.sleep(0.02)
    (event,) = kannel.submitted("+21620010030")
    assert abs(event["validity"] - (before + 135 * 60)) <= 2


async def test_the_sender_reaches_the_sms_centre_as_text(sender, kannel):
    await sender.submit("+21620010040")
    while not kannel.submitted("+21620010040"):
        await asyncio.sleep(0.02)
    (event,) = kannel.submitted("+21620010040")
    assert (event["from"], event["from_ton"]) == ("STEG", 5)


async def test_a_receipt_that_is_not_taken_comes_again(sender, sink):
    sink.status = 500
    notice = await sender.submit("+21620010050")
    await sink.wait(lambda: len(sink.of(notice)) >= 2)
    sink.status = 200
    await sink.wait(lambda: [q["type"] for q in sink.of(notice)].count("1") >= 2)


async def test_a_message_whose_validity_ends_in_kannels_queue_expires_and_is_not_sent(own_kannel, sink):
    """A backlog must not go out at night: the window's end reaches the provider's own queue."""
    own_kannel.children.pop("smsc").stop()
    sender = Sender(own_kannel.base_url, USERNAME, PASSWORD, sink)
    notice = await sender.submit("+21620010060", validity=1)
    await sink.wait(lambda: bool(sink.of(notice)), seconds=90)
    (receipt,) = sender.receipts(notice)
    assert (receipt.status, receipt.detail) == (State.EXPIRED, "NACK/validity expired")
    own_kannel.start_smsc()
    own_kannel.wait_for_link()
    await asyncio.sleep(3)
    assert own_kannel.submitted("+21620010060") == []
