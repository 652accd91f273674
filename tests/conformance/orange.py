"""A fake of the Orange SMS API, by its documents: tokens that end, submits, errors, contracts, receipts.

Also used where a whole sender is tried; there `faults` and the receipts' timing matter.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from fatoura.gateways import GatewayConfig
from fatoura.notices.states import State
from tests.conformance.provider import Arrived, FakeProvider
from tests.conformance.wire import read_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fatoura.gateways.interface import OutcomeKind

_CLIENT, _SECRET = "fake-client", "fake:client-secret"
_BASIC = base64.b64encode(f"{_CLIENT}:{_SECRET}".encode()).decode()
_SENDER_ADDRESS = "+21650000000"
_OUTBOUND = "/smsmessaging/v1/outbound/tel%3A%2B21650000000/requests"
_LONGEST = 5

Fault = Literal["no answer", "early receipt"]


def _service(code: str, text: str, *variables: str) -> tuple[int, dict[str, Any]]:
    said = {"messageId": code, "text": text, "variables": list(variables)}
    return 400, {"requestError": {"serviceException": said}}


def _policy(code: str, *variables: str) -> tuple[int, dict[str, Any]]:
    said = {
        "messageId": code,
        "text": "A policy error occurred. Error code is %1",
        "variables": list(variables),
    }
    return 403, {"requestError": {"policyException": said}}


def _front(status: int, code: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"code": code, "message": message, "description": message}


_ANSWERS: dict[str, tuple[tuple[int, dict[str, Any]], OutcomeKind]] = {
    "a token refused again and again": (_front(401, 41, "Invalid credentials"), "stop"),
    "an error in the service": (
        _service("SVC0001", "A service error occurred. Error code is %1", "1"),
        "in_doubt",
    ),
    "an address that is none": (
        _service("SVC0004", "No valid addresses provided in message part %1", "address"),
        "rejected",
    ),
    "a sender that it does not know": (
        _service("SVC0002", "Invalid input value for message part %1", "senderName"),
        "stop",
    ),
    "a message that is too long": (
        _service("SVC0280", "Message too long. Maximum length is %1 characters", "160"),
        "rejected",
    ),
    "no balance": (_policy("POL0001", "Insufficient balance"), "stop"),
    "a contract that has ended": (_policy("POL0001", "Expired contract"), "stop"),
    "too many messages by the contract": (_policy("POL0001", "Rate limit exceeded"), "refused"),
    "too many requests": (_front(429, 53, "Too many requests"), "refused"),
    "out of service": (_front(503, 5, "The service is temporarily unavailable"), "refused"),
}


class Orange(FakeProvider):
    """The fake. A message's id is a number with leading zeros, which a careless reader loses.

    :param token_seconds: after so long a token is not taken any more.
    """

    name = "Orange's form (fake)"
    adapter = "orange"
    secrets = (_SECRET, _BASIC, "fake-access-token")
    words: ClassVar[Mapping[str, State]] = {
        "DeliveredToTerminal": State.DELIVERED,
        "DeliveryImpossible": State.UNDELIVERABLE,
        "DeliveryUncertain": State.ACCEPTED,
        "DeliveredToNetwork": State.ACCEPTED,
        "MessageWaiting": State.ACCEPTED,
    }
    answers: ClassVar[Mapping[str, OutcomeKind]] = {how: kind for how, (_, kind) in _ANSWERS.items()}
    gives_tokens = True
    balance = "39120"

    def __init__(self, *, token_seconds: float = 3600) -> None:
        super().__init__()
        self.token_seconds = token_seconds
        self.tokens_given = 0
        self.gives_no_token = False
        """Whether the question for a token stays without an answer."""
        self.faults: dict[str, Fault] = {}
        """What happens to the messages to a number."""
        self.nested = itertools.cycle([False, True])
        """Whether the next receipt is of the second nesting."""
        self.resources: dict[str, list[str]] = {}
        """The ids of the messages to each number."""
        self._arrived: list[Arrived] = []
        self._how: str | None = None
        self._tokens: dict[str, float] = {}
        self._ids = itertools.count(77)

    def config(self, name: str, base_url: str) -> GatewayConfig:
        extra = {"sender_address": _SENDER_ADDRESS, "longest_segments": _LONGEST}
        return GatewayConfig(name, base_url, _CLIENT, _SECRET, extra)

    def arrived(self) -> list[Arrived]:
        return list(self._arrived)

    def answer(self, how: str | None) -> None:
        self._how = how

    def forget_tokens(self) -> None:
        self._tokens.clear()

    async def report(self, phone: str, word: str) -> None:
        for resource in self.resources[phone]:
            await self.tell(resource, phone, word)

    async def tell(self, resource: str, phone: str, word: str) -> None:
        """Call the receipt address that was registered; fails when the receipt is not taken."""
        info: dict[str, Any] = {"address": f"tel:{phone}", "deliveryStatus": word}
        if next(self.nested):
            info = {"delivery": info}
        told = {"deliveryInfoNotification": {"callbackData": resource, "deliveryInfo": info}}
        body = json.dumps(told).encode()
        parts = urlsplit(self.receipts_to)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            head = (
                f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            answer, _ = await read_whole(reader)
            assert b" 200 " in answer.partition(b"\r\n")[0], answer
        finally:
            writer.close()

    async def serve(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, str]:
        if (method, target) == ("POST", "/oauth/v3/token"):
            if self.gives_no_token:
                await asyncio.sleep(3600)
            status, said = self._give_token(headers, body)
        elif (refused := self._refused_token(headers)) is not None:
            status, said = refused
        elif (method, target) == ("GET", "/sms/admin/v1/contracts"):
            return 200, "application/json", json.dumps(_CONTRACTS)
        elif (method, target) == ("POST", _OUTBOUND):
            status, said = await self._submit(headers, body)
        else:
            status, said = _front(404, 60, "Resource not found")
        return status, "application/json", json.dumps(said)

    def _give_token(self, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        if headers.get("authorization") != f"Basic {_BASIC}":
            return 401, {"error": "invalid_client", "error_description": "The ones provided were invalid."}
        if headers.get("content-type") != "application/x-www-form-urlencoded":
            return 400, {"error": "invalid_request"}
        if parse_qs(body.decode()) != {"grant_type": ["client_credentials"]}:
            return 400, {"error": "unsupported_grant_type"}
        self.tokens_given += 1
        token = f"fake-access-token-{self.tokens_given}"
        self._tokens[token] = time.monotonic() + self.token_seconds
        # Orange gives the seconds as text.
        return 200, {
            "token_type": "Bearer",
            "access_token": token,
            "expires_in": str(int(self.token_seconds)),
        }

    def _refused_token(self, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]] | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            return _front(401, 40, "Missing credentials")
        if token not in self._tokens:
            return _front(401, 41, "Invalid credentials")
        if self._tokens[token] <= time.monotonic():
            return _front(401, 42, "Expired credentials")
        return None

    async def _submit(self, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        if self._how is not None:
            return _ANSWERS[self._how][0]
        if headers.get("content-type") != "application/json":
            return _front(415, 68, "Unsupported media type")
        asked = json.loads(body)["outboundSMSMessageRequest"]
        if asked["senderAddress"] != f"tel:{_SENDER_ADDRESS}":
            return _service("SVC0002", "Invalid input value for message part %1", "senderAddress")
        phone = asked["address"].removeprefix("tel:")
        resource = f"{next(self._ids):012d}"
        self.resources.setdefault(phone, []).append(resource)
        text = asked["outboundSMSTextMessage"]["message"]
        self._arrived.append(Arrived(phone, text, asked["senderName"]))
        match self.faults.get(phone):
            case "no answer":
                await asyncio.sleep(3600)
            case "early receipt":
                await self.tell(resource, phone, "DeliveredToTerminal")
                await asyncio.sleep(0.3)
        made = {
            **asked,
            "address": [asked["address"]],
            "resourceURL": f"https://api.orange.com{_OUTBOUND}/{resource}",
        }
        return 201, {"outboundSMSMessageRequest": made}


_CONTRACTS = [
    {
        "id": "5f7d", "developerId": "dev", "applicationId": "app", "country": country, "offerName": "SMS",
        "availableUnits": units, "requestedUnits": 0, "status": status,
        "expirationDate": "2027-01-01T00:00:00.000Z", "creationDate": "2026-01-01T00:00:00.000Z",
    }
    for country, units, status in (("TUN", 39_000, "ACTIVE"), ("TUN", 120, "ACTIVE"), ("TUN", 5, "EXPIRED"))
]  # fmt: skip
