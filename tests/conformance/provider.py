"""What a provider must offer so that its adapter can be tried: a fake that speaks its documented form, or the
provider itself. The checks know nothing else of it.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from tests.conformance.wire import Listener, answered, parsed, read_whole

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from fatoura.gateways import GatewayConfig
    from fatoura.gateways.interface import OutcomeKind
    from fatoura.notices.states import State


@dataclass(frozen=True)
class Arrived:
    """A message that the provider took, as a phone would show it.

    :param phone: E.164.
    :param minutes: the validity that came with it; null where the provider's interface knows none.
    """

    phone: str
    text: str
    sender: str
    minutes: int | None = None


class Provider(ABC):
    """One provider on a loopback port. Use as an asynchronous context manager; each check gets a fresh one.

    What it cannot do it does not declare, and the checks that need it are left out: they follow these
    declarations and the adapter's capabilities.
    """

    name: ClassVar[str]
    """As the table of results calls it."""

    adapter: ClassVar[str]

    secrets: ClassVar[tuple[str, ...]]
    """What nobody may ever see in a log, an answer or a receipt: passwords, keys, tokens; as they are, and as
    they stand in requests where that differs."""

    words: ClassVar[Mapping[str, State]]
    """Every word that it is documented to report of a message, and the state that the word means."""

    answers: ClassVar[Mapping[str, OutcomeKind]] = {}
    """The answers to a submit that it can be told to give (see `answer`), and what each of them means. At
    least a `stop` (wrong credentials), a `rejected` (it will never take this message) and a `refused`."""

    gives_tokens: ClassVar[bool] = False
    """Whether it gives tokens, and can forget them (see `forget_tokens`)."""

    balance: ClassVar[str | None] = None
    """What it answers when it is asked for the balance."""

    port: int
    """Where it listens; known once it runs."""

    receipts_to: str
    """The receipt address that was registered with it, for providers that take none with each message."""

    asked: list[list[str]]
    """The ids of each status query that it got, where it can be asked."""

    _numbers = itertools.count(20_100_000)

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *_: object) -> None: ...

    @abstractmethod
    def config(self, name: str, base_url: str) -> GatewayConfig:
        """Return a connection with credentials that are good, and long messages allowed where it takes them.

        :param base_url: the address to use: a relay stands before the provider.
        """

    @abstractmethod
    def arrived(self) -> list[Arrived]:
        """Return the messages that it took, in their order. One that it took twice is there twice."""

    def answer(self, how: str | None) -> None:
        """Answer submits from now on in the way of that name in `answers`; null: take them again."""
        raise NotImplementedError

    def phone(self, word: str) -> str:
        """Return an invented number, never used before, whose message may be reported on with that word."""
        del word
        return f"+216{next(self._numbers)}"

    async def report(self, phone: str, word: str) -> None:
        """Report that word of the message to a number: call its receipt address, or say so when asked."""
        raise NotImplementedError

    def forget_tokens(self) -> None:
        """Take no token any more that was given so far."""
        raise NotImplementedError


class FakeProvider(Provider):
    """A provider that is played here: `serve` answers each request."""

    def __init__(self) -> None:
        self.asked = []
        self._listener = Listener(self._talk)

    async def __aenter__(self) -> Self:
        await self._listener.__aenter__()
        self.port = self._listener.port
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listener.__aexit__()

    @abstractmethod
    async def serve(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, str]:
        """Return status, content type and body of the answer.

        :param target: path and query, as they came.
        :param headers: by names in lower case.
        """

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await read_whole(reader)
            first, headers = parsed(head)
            method, target, _ = first.split(" ")
            status, kind, text = await self.serve(method, target, headers, body)
            writer.write(answered(status, text.encode(), kind))
