"""What really leaves Kannel for each text: octets, parts, and how many, against our own count of segments."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from dataclasses import dataclass

import pytest

from fatoura.gateways import GatewayConfig, Message, create_gateway, outcome_of
from fatoura.gateways.transport import Transport
from fatoura.notices.encoding import GSM7_BASIC, GSM7_EXTENSION, measure
from tests.integration.kannel.stack import PASSWORD, USERNAME

pytestmark = pytest.mark.kannel

GSM7 = "".join(sorted(GSM7_BASIC - {"\r", "\n"}))

TEXTS = {
    "one letter": "x",
    "a French bill": "STEG: facture 42580 496 0, 123,456 DT à payer avant le 20/06/2026. Réf. 05-T1",
    "a French bill in two": "Votre facture d'électricité et de gaz est émise. " * 4,
    "an Arabic bill": "الستاغ: المبلغ المطلوب 123,456 د. الرجاء الدفع قبل 20/06/2026",
    "an Arabic bill in two": "الشركة التونسية للكهرباء والغاز: المبلغ المطلوب 123,456 د. " * 2,
    "an Arabic bill in three": "الرجاء الدفع قبل " * 10,
    "all of GSM-7": GSM7,
    "all extensions but the form feed": "".join(sorted(GSM7_EXTENSION - {"\f"})),
    "line feeds": "STEG\n42580 496 0\n123,456 DT",
    "blanks at both ends": "  STEG  ",
    "160 septets": "x" * 160,
    "161 septets": "x" * 161,
    "306 septets": "x" * 306,
    "307 septets": "x" * 307,
    "459 septets": "x" * 459,
    "460 septets": "x" * 460,
    "160 septets with an escape": "x" * 158 + "€",
    "161 septets with an escape": "x" * 159 + "€",
    "an escape on the seam of the parts": "x" * 152 + "€" + "y" * 100,
    "an escape before the seam": "x" * 151 + "€" + "y" * 100,
    "escapes on both seams": "x" * 152 + "€" + "y" * 151 + "€" + "z" * 20,
    "80 escapes": "€" * 80,
    "81 escapes": "€" * 81,
    "153 escapes": "[" * 153,
    "brackets": "[{|}]^~\\" * 25,
    "70 units": "ع" * 70,
    "71 units": "ع" * 71,
    "134 units": "ع" * 134,
    "135 units": "ع" * 135,
    "201 units": "ع" * 201,
    "202 units": "ع" * 202,
    "one letter outside GSM-7": "forêt",
    "one letter outside GSM-7 in a long text": "x" * 70 + "ê",
    "French quotes and a typographic apostrophe": "« L’échéance »",
    "a no-break space": "1 234,500\u00a0DT",
    "a mark from right to left": "\u200f1.234,500\u00a0د.ت.\u200f",
    "one emoji": "😀",
    "35 emoji": "😀" * 35,
    "36 emoji": "😀" * 36,
    "emoji that fit their parts": "a" + "😀" * 33 + "ب" + "😀" * 20,
    "ten parts": "x" * 1530,
}


@dataclass
class Part:
    """One SMPP message, taken apart."""

    coding: int
    number: int
    of: int
    octets: bytes

    @classmethod
    def read(cls, event) -> Part:
        octets = bytes.fromhex(event["octets"])
        number, of = 1, 1
        if event["esm_class"] & 0x40:
            header, octets = octets[: octets[0] + 1], octets[octets[0] + 1 :]
            assert header[1:3] == b"\x00\x03"
            of, number = header[4], header[5]
        return cls(event["coding"], number, of, octets)

    @property
    def text(self) -> str:
        return self.octets.decode("utf-16-be", "surrogatepass") if self.coding == 8 else gsm7(self.octets)


BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = {
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}


def gsm7(octets: bytes) -> str:
    """Read unpacked GSM-7 by the table of 3GPP TS 23.038, kept here apart from the code under test."""
    text, rest = [], iter(octets)
    for octet in rest:
        text.append(EXTENSION[next(rest)] if octet == 0x1B else BASIC[octet])
    return "".join(text)


_numbers = itertools.count(21_000)


async def sent(kannel, text: str) -> list[Part]:
    """Submit a text by the adapter and return what the SMS centre got."""
    config = GatewayConfig("fatoura_sms", kannel.base_url, USERNAME, PASSWORD, {"longest_segments": 10})
    gateway = create_gateway("kannel", config)
    phone = f"+2162{next(_numbers):06d}0"  # invented; ends with 0: delivered
    notice, measured = uuid.uuid4(), measure(text)
    message = Message(
        notice, 1, phone, text, measured.encoding, measured.segments, 60, "STEG",
        gateway.receipt_url("http://127.0.0.1:9", "word", notice, 1),
    )  # fmt: skip
    async with Transport(connections=1, timeout=5) as transport:
        outcome = outcome_of(gateway, await transport.submit(gateway.submit_request(message)))
    assert outcome.kind == "accepted"
    for _ in range(200):
        parts = [Part.read(event) for event in kannel.submitted(phone)]
        if parts and len(parts) >= parts[0].of:
            return sorted(parts, key=lambda part: part.number)
        await asyncio.sleep(0.02)
    raise AssertionError(f"the SMS centre did not get it: {parts}")


@pytest.mark.parametrize("name", TEXTS)
async def test_kannel_sends_as_many_segments_as_were_planned_and_paid_for(kannel, name):
    text = TEXTS[name]
    measured = measure(text)
    parts = await sent(kannel, text)
    assert len(parts) == measured.segments
    assert [part.number for part in parts] == list(range(1, measured.segments + 1))
    assert {part.coding for part in parts} == {8 if measured.encoding == "ucs2" else 0}
    raw = b"".join(part.octets for part in parts)
    whole = raw.decode("utf-16-be") if measured.encoding == "ucs2" else gsm7(raw)
    assert whole == text
    units = len(raw) // 2 if measured.encoding == "ucs2" else len(raw)
    assert units == measured.units


async def test_kannel_keeps_an_escape_whole_on_a_seam(kannel):
    parts = await sent(kannel, TEXTS["an escape on the seam of the parts"])
    assert [part.text for part in parts] == ["x" * 152, "€" + "y" * 100]


async def test_kannel_tears_an_emoji_on_a_seam(kannel):
    """A known difference, and why no template holds an emoji."""
    parts = await sent(kannel, "a" + "😀" * 40)
    assert [len(part.octets) // 2 for part in parts] == [67, 14]
    parts = await sent(kannel, "😀" * 40)
    assert parts[0].text.endswith("\ud83d")
