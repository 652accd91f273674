"""What every round is: set up, struck while it sends, waited for until nothing is left, and judged."""

from __future__ import annotations

import asyncio
import shutil
import time
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from tests.chaos.dice import NOISE
from tests.chaos.judge import Verdict, judge
from tests.chaos.proxy import Proxy
from tests.chaos.relay import Relay
from tests.chaos.services import own_port
from tests.chaos.wire import Gate, Pulse

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from tests.chaos.dice import Dice
    from tests.chaos.evidence import Evidence, Planned
    from tests.chaos.scenario import Scenario, Strike

SECRET = "only-for-tests-" + "0123456789abcdef" * 2
"""In the address that receipts come to."""

_FAULTY_ATTEMPTS = 3  # a provider that breaks every request would never end a round


@dataclass
class RoundResult:
    """What a round did and how it ended.

    :param kind: `process` or `airflow`.
    :param lateness: the most by which the harness itself was late, in seconds: the machine's load.
    :param folder: logs and evidence, where they were kept.
    """

    kind: str
    number: int
    told: str
    verdict: Verdict
    seconds: float
    lateness: float = 0.0
    folder: Path | None = field(default=None, repr=False)


class Round(ABC):
    """:param folder: of the round, for logs and spools.
    :param messages: to be planned.
    :param keep: keep logs and evidence also of a clean round.
    """

    KIND: ClassVar[str]
    REQUEST_TIMEOUT: ClassVar[float]
    LEASE: ClassVar[float]
    HORIZON: ClassVar[float]
    PATIENCE: ClassVar[float]
    """Seconds from the last strike until everything must be over; twice as long from the first request."""

    def __init__(
        self, dice: Dice, scenario: Scenario, *, folder: Path, messages: int, keep: bool = False
    ) -> None:
        self._dice, self._scenario, self._keep = dice, scenario, keep
        self._folder, self._messages = folder, messages
        self._gate, self._pulse = Gate(), Pulse()
        self._faults: Counter[str] = Counter()
        self._planned: list[Planned] = []
        self._work: list[asyncio.Task[None]] = []
        """Tasks of this process that go on until the round is over."""
        self.proxies: dict[str, Proxy] = {}

    async def run(self) -> RoundResult:
        """Run it from its beginning to its verdict."""
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / "receipt_secret").write_text(SECRET)
            await stack.enter_async_context(self._pulse)
            await self._set_up(stack)
            strikes = [asyncio.create_task(self._strike_at(one)) for one in self._scenario.strikes]
            noise = asyncio.create_task(self._make_noise())
            try:
                async with asyncio.timeout(2 * self.PATIENCE):
                    await asyncio.gather(*strikes, noise)
                    stuck = not await self._settled()
            except TimeoutError:
                stuck = True
            finally:
                for task in (*strikes, noise, *self._work):
                    task.cancel()
                await asyncio.gather(*strikes, noise, *self._work, return_exceptions=True)
            evidence = await asyncio.to_thread(self._gather_evidence)
            evidence.handed = [one for proxy in self.proxies.values() for one in proxy.handed]
            evidence.deliveries = self.relay.deliveries
            evidence.faults = sum((proxy.faults for proxy in self.proxies.values()), self._faults)
            evidence.faults += self.relay.faults
            verdict = judge(evidence)
            if stuck:
                verdict.violations.insert(0, f"not over after {self.PATIENCE:.0f} s")
            if self._keep or not verdict.clean:
                evidence.write(self._folder / "evidence.jsonl")
        kept = self._keep or not verdict.clean
        if not kept:
            shutil.rmtree(self._folder, ignore_errors=True)
        return RoundResult(
            self.KIND,
            self._dice.round,
            self._scenario.told,
            verdict,
            time.monotonic() - began,
            self._pulse.worst,
            self._folder if kept else None,
        )

    @abstractmethod
    async def _set_up(self, stack: AsyncExitStack) -> None:
        """Start everything, plan the messages, and let sending begin."""

    @abstractmethod
    async def _strike(self, strike: Strike) -> None:
        """Do it, and bring back what was struck."""

    @abstractmethod
    def _sending_is_over(self) -> bool:
        """Tell whether nobody sends any more, so that nothing can be struck in its middle."""

    @abstractmethod
    async def _settled(self) -> bool:
        """Wait until nothing is under way and nothing is left to wait for; tell whether that came."""

    @abstractmethod
    def _gather_evidence(self) -> Evidence:
        """Return what can be seen in the end, but for what proxies and relay saw."""

    async def _open_relay(self, stack: AsyncExitStack, receiver: int) -> None:
        self.relay = await stack.enter_async_context(
            Relay(
                receiver,
                partial(self._fault_of, "receipt", self._scenario.receipt_shares),
                port=own_port(),
                # A bill in doubt goes out again after the horizon; its late receipt is later still.
                late_seconds=self.HORIZON + 2.0,
                gate=self._gate,
                passes_through=self._scenario.passes_through,
            )
        )

    async def _open_proxy(self, stack: AsyncExitStack, name: str, upstream: int) -> None:
        self.proxies[name] = await stack.enter_async_context(
            Proxy(
                name,
                upstream,
                partial(self._fault_of, "request", self._scenario.request_shares),
                port=own_port(),
                timeout=self.REQUEST_TIMEOUT,
                gate=self._gate,
                pulse=self._pulse,
            )
        )

    def _fault_of(self, salt: str, shares: dict[str, float], notice: UUID, attempt: int) -> str | None:
        if attempt > _FAULTY_ATTEMPTS:
            return None
        return self._dice.pick(shares, salt, notice, attempt)

    async def _reached(self, share: float) -> None:
        """Wait until so many requests have come, or none come any more."""
        while self._gate.count("seen") < share * self._messages and not self._sending_is_over():
            await asyncio.sleep(0.02)

    async def _strike_at(self, strike: Strike) -> None:
        await self._reached(strike.at)
        self._faults[strike.what] += 1
        await self._strike(strike)

    async def _make_noise(self) -> None:
        random = self._dice.random("noise")
        names = [name for name in NOISE for _ in range(self._scenario.noise)]
        random.shuffle(names)
        for index, kind in enumerate(names):
            await self._reached((index + 1) / len(names))
            gateway = random.choice(list(self.proxies))
            notice = random.choice(self._planned).id
            self.relay.make_up(kind, f"/receipts/{gateway}/{SECRET}", notice, 1)
