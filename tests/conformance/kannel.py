"""Kannel's interface twice: real Kannel with an SMS centre behind it, and the sandbox gateway."""

from __future__ import annotations

import itertools
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from fatoura.gateways import GatewayConfig
from fatoura.gateways.sandbox import Sandbox, SandboxOptions
from fatoura.gateways.sandbox.sendsms import ACCEPTED
from fatoura.notices.states import State
from tests.conformance.provider import Arrived, Provider
from tests.integration.kannel.stack import PASSWORD, USERNAME, KannelStack
from tests.integration.test_kannel_encoding import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fatoura.gateways.interface import OutcomeKind

_LONGEST = 5

# What the SMS centre is asked for by the number's last digit: see smsc.js; the sandbox does the same.
_DIGITS = {
    "DELIVRD": ("0", State.DELIVERED),
    "UNDELIV": ("1", State.UNDELIVERABLE),
    "EXPIRED": ("2", State.EXPIRED),
    "REJECTD": ("3", State.REJECTED),
    "refused by the SMS centre": ("4", State.REJECTED),
    "taken by the SMS centre, then nothing": ("7", State.ACCEPTED),
    "UNKNOWN": ("9", State.UNDELIVERABLE),
}


class _Kannel(Provider):
    adapter = "kannel"
    words: ClassVar[Mapping[str, State]] = {word: state for word, (_, state) in _DIGITS.items()}

    def __init__(self) -> None:
        self.asked = []

    def phone(self, word: str) -> str:
        return super().phone(word)[:-1] + _DIGITS[word][0]

    async def report(self, phone: str, word: str) -> None:
        """By itself: the number has said what."""

    def _config(self, name: str, base_url: str, username: str, password: str) -> GatewayConfig:
        return GatewayConfig(name, base_url, username, password, {"longest_segments": _LONGEST})


class SandboxProvider(_Kannel):
    """The sandbox gateway: it is checked against the same table as real Kannel elsewhere."""

    name = "Kannel's form (sandbox)"
    secrets = ("sandbox-password",)
    answers: ClassVar[Mapping[str, OutcomeKind]] = {
        "queue full": "refused",
        "too many": "refused",
        "number denied": "rejected",
        "wrong credentials": "stop",
    }
    _options: ClassVar[dict[str, dict[str, Any]]] = {
        "queue full": {"faults": {"503": 1}},
        "too many": {"faults": {"429": 1}},
        "number denied": {"reject": 1},
    }

    async def __aenter__(self) -> Self:
        self._sandbox = _Keeping(self._behaving())
        await self._sandbox.start()
        self.port = self._sandbox.port
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sandbox.stop()

    def config(self, name: str, base_url: str) -> GatewayConfig:
        return self._config(name, base_url, "fatoura", "sandbox-password")

    def arrived(self) -> list[Arrived]:
        return list(self._sandbox.arrived)

    def answer(self, how: str | None) -> None:
        self._sandbox.knows_us = how != "wrong credentials"
        self._sandbox.options = self._behaving(**self._options.get(how or "", {}))

    @staticmethod
    def _behaving(**more: Any) -> SandboxOptions:
        return SandboxOptions(port=0, password="sandbox-password", by_last_digit=True, **more)


class _Keeping(Sandbox):
    """A sandbox that remembers the messages that it took."""

    def __init__(self, options: SandboxOptions) -> None:
        super().__init__(options)
        self.arrived: list[Arrived] = []
        self.knows_us = True

    async def respond(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Any:
        if not self.knows_us:
            headers = {**headers, "x-kannel-password": "another"}
        response = await super().respond(method, target, headers, body)
        if response.answer == ACCEPTED:
            self.arrived.append(
                Arrived(
                    headers["x-kannel-to"],
                    body.decode(),
                    headers["x-kannel-from"],
                    int(headers["x-kannel-validity"]),
                )
            )
        return response


class KannelItself(_Kannel):
    """Kannel 1.4.5, and an SMPP centre behind it.

    :param stack: one that runs; the messages of different checks are told apart by their numbers: what one
        check handed over last may come to the SMS centre only while the next one looks.
    """

    name = "Kannel"
    secrets = (PASSWORD,)
    _numbers = itertools.count(2_110_000)  # a last digit is added

    def __init__(self, stack: KannelStack) -> None:
        super().__init__()
        self._stack = stack
        self._given: set[str] = set()

    async def __aenter__(self) -> Self:
        self.port = self._stack.port
        return self

    async def __aexit__(self, *_: object) -> None:
        """The stack stays."""

    def config(self, name: str, base_url: str) -> GatewayConfig:
        return self._config(name, base_url, USERNAME, PASSWORD)

    def phone(self, word: str) -> str:
        phone = f"+216{next(self._numbers)}{_DIGITS[word][0]}"
        self._given.add(phone)
        return phone

    def arrived(self) -> list[Arrived]:
        """Put the parts of each message together, as a phone does; incomplete ones have not arrived yet."""
        messages: dict[tuple[str, int], dict[int, tuple[Part, dict[str, Any]]]] = {}
        for event in self._stack.events("submit"):
            if _e164(event["to"]) in self._given:
                part = Part.read(event)
                reference = int(event["octets"][6:8], 16) if part.of > 1 else -event["at"]
                messages.setdefault((event["to"], reference), {})[part.number] = (part, event)
        return [
            _whole([parts[number] for number in sorted(parts)])
            for parts in messages.values()
            if len(parts) == next(iter(parts.values()))[0].of
        ]


@contextmanager
def kannel_stack() -> Iterator[KannelStack]:
    """Run a Kannel; on a tmpfs where there is one, for its spool is faster there."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="kannel-", dir=memory, ignore_cleanup_errors=True) as folder:
        stack = KannelStack(Path(folder))
        try:
            yield stack.start()
        finally:
            stack.stop()


def _whole(parts: list[tuple[Part, dict[str, Any]]]) -> Arrived:
    event = parts[0][1]
    raw = b"".join(part.octets for part, _ in parts)
    whole = Part(parts[0][0].coding, 1, 1, raw).text
    until = event["validity"]
    minutes = round((until - event["at"]) / 60) if isinstance(until, int | float) and until else None
    return Arrived(_e164(event["to"]), whole, event["from"], minutes)


def _e164(number: str) -> str:
    return "+" + number.lstrip("+")
