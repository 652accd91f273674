"""One round with real processes and without Airflow: a planned cycle, sent, struck, settled, judged."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from tests.chaos.dice import NOISE
from tests.chaos.evidence import Evidence, Planned
from tests.chaos.judge import Verdict, judge
from tests.chaos.planning import CYCLE, MORNING, digit_of, plan_cycle
from tests.chaos.proxy import Proxy
from tests.chaos.reading import ledger_faults, read_rows
from tests.chaos.relay import Relay
from tests.chaos.sender import BLIND, GATEWAYS
from tests.chaos.services import Kannel, Receiver, SandboxGateway, SenderProcess, leaks, own_port
from tests.chaos.wire import Gate, Pulse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

    from tests.chaos.dice import Dice
    from tests.chaos.scenario import Scenario, Strike
    from tests.chaos.services import Database, GatewayService

REQUEST_TIMEOUT = 1.5
LEASE = 4.0
HORIZON = 5.0
# A bill in doubt goes out again after the horizon; its receipt is later still.
LATE = HORIZON + 2.0
RATE = 450
PATIENCE = 120.0

_SECRET = "only-for-tests-" + "0123456789abcdef" * 2
_FAULTY_ATTEMPTS = 3  # a provider that breaks every request would never end a round
_QUIET_SECONDS = 2.5


@dataclass
class RoundResult:
    """What a round did and how it ended.

    :param lateness: the most by which the harness itself was late, in seconds: the machine's load.
    :param folder: logs and evidence, where they were kept.
    """

    number: int
    told: str
    verdict: Verdict
    seconds: float
    lateness: float = 0.0
    folder: Path | None = field(default=None, repr=False)


class ProcessRound:
    """:param database: the server; the round has a database of its own on it.
    :param folder: of the round, for logs and spools.
    :param blind: let the sender repeat blindly, which must be found out.
    :param keep: keep logs and evidence also of a clean round.
    """

    def __init__(
        self,
        dice: Dice,
        scenario: Scenario,
        *,
        database: Database,
        folder: Path,
        messages: int,
        blind: bool = False,
        keep: bool = False,
    ) -> None:
        self._dice, self._scenario, self._keep = dice, scenario, keep
        self._database, self._folder, self._messages, self._blind = database, folder, messages, blind
        self._name = f"chaos_{dice.round}"
        self._gate, self._pulse = Gate(), Pulse()
        self._faults: Counter[str] = Counter()
        self._senders: list[SenderProcess] = []
        self._sending: list[asyncio.Task[None]] = []
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._clock_offset = MORNING - datetime.now(UTC)

    async def run(self) -> RoundResult:
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            await self._set_up(stack)
            strikes = [asyncio.create_task(self._strike(one)) for one in self._scenario.strikes]
            noise = asyncio.create_task(self._make_noise())
            try:
                await asyncio.gather(*strikes, noise)
                stuck = not await self._settled()
            finally:
                for task in (*strikes, noise, *self._sending):
                    task.cancel()
                await asyncio.gather(*strikes, noise, *self._sending, return_exceptions=True)
            evidence = await asyncio.to_thread(self._gather_evidence)
            verdict = judge(evidence)
            if self._keep or not verdict.clean:
                evidence.write(self._folder / "evidence.jsonl")
        if stuck:
            verdict.violations.insert(0, f"not over after {PATIENCE:.0f} s")
        result = RoundResult(
            self._dice.round,
            self._scenario.told,
            verdict,
            time.monotonic() - began,
            self._pulse.worst,
            self._folder,
        )
        if verdict.clean and not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)
            result.folder = None
        return result

    # --- Setting up

    async def _set_up(self, stack: AsyncExitStack) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        await stack.enter_async_context(self._pulse)
        (self._folder / "receipt_secret").write_text(_SECRET)
        receiver_port = own_port()
        request_fault = partial(self._fault_of, "request", self._scenario.request_shares)
        receipt_fault = partial(self._fault_of, "receipt", self._scenario.receipt_shares)
        self.relay = await stack.enter_async_context(
            Relay(
                receiver_port,
                receipt_fault,
                port=own_port(),
                late_seconds=LATE,
                gate=self._gate,
                passes_through=self._scenario.passes_through,
            )
        )
        self._environment = {
            "FATOURA_VAR": str(self._folder / "var"),
            "FATOURA_DATABASE_URL": self._database.server.url(self._name),
            "FATOURA_NOW": f"{self._clock_offset.total_seconds():+.0f}",
            "FATOURA_RECEIVER_PORT": str(receiver_port),
            "FATOURA_RECEIVER_URL": f"http://127.0.0.1:{self.relay.port}",
            "FATOURA_RECEIPT_SECRET_FILE": str(self._folder / "receipt_secret"),
            "FATOURA_SEGMENTS_PER_SECOND": str(RATE),
            "FATOURA_CONNECTIONS": "40",
            "FATOURA_CLAIM_SIZE": "150",
            "FATOURA_REQUEST_TIMEOUT": str(REQUEST_TIMEOUT),
            "FATOURA_LEASE": str(LEASE),
            "FATOURA_DOUBT_HORIZON": str(HORIZON),
        }
        self.gateways = {name: self._gateway(name) for name in self._scenario.gateways}
        for gateway in self.gateways.values():
            stack.callback(gateway.stop)
        await asyncio.gather(*(asyncio.to_thread(one.start) for one in self.gateways.values()))
        self.proxies = {
            name: await stack.enter_async_context(
                Proxy(
                    name,
                    gateway.port,
                    request_fault,
                    port=own_port(),
                    timeout=REQUEST_TIMEOUT,
                    gate=self._gate,
                    pulse=self._pulse,
                )
            )
            for name, gateway in self.gateways.items()
        }
        self._environment[GATEWAYS] = json.dumps(
            [one.connection(self.proxies[one.name].port) for one in self.gateways.values()]
        )
        if self._blind:
            self._environment[BLIND] = "1"
        await asyncio.to_thread(self._database.make, self._name)
        stack.push_async_callback(asyncio.to_thread, self._database.drop, self._name)
        self._cycle, self._planned = await asyncio.to_thread(self._plan)
        self._receiver = Receiver(receiver_port, self._environment, self._folder / "receiver.log")
        stack.callback(self._receiver.kill)
        await asyncio.to_thread(self._receiver.start)
        for _ in range(self._scenario.senders):
            self._add_sender()

    def _gateway(self, name: str) -> GatewayService:
        folder = self._folder / name
        if name.startswith("kannel"):
            return Kannel(name, folder)
        return SandboxGateway(name, folder, self._environment)

    def _plan(self) -> tuple[int, list[Planned]]:
        with self._database.connect(self._name) as db:
            planned = plan_cycle(db, self._dice, self._messages)
            for position, gateway in enumerate(self.gateways.values()):
                db.execute(
                    "INSERT INTO gateway (name, adapter, capabilities, position, in_use, weight) "
                    "VALUES (%s, %s, '{}', %s, true, 50)",
                    [gateway.name, gateway.adapter, position],
                )
            return planned

    def _add_sender(self) -> None:
        number = len(self._senders) + 1
        sender = SenderProcess(
            self._cycle, f"sender {number}", self._environment, self._folder / f"sender-{number}.log"
        )
        self._senders.append(sender)
        self._sending.append(asyncio.create_task(sender.run()))

    def _fault_of(self, salt: str, shares: dict[str, float], notice: UUID, attempt: int) -> str | None:
        if attempt > _FAULTY_ATTEMPTS:
            return None
        return self._dice.pick(shares, salt, notice, attempt)

    # --- Striking

    async def _reached(self, share: float) -> None:
        """Wait until so many requests have come, or none come any more."""
        while self._gate.count("seen") < share * self._messages:
            if self._sending and all(task.done() for task in self._sending):
                return
            await asyncio.sleep(0.02)

    async def _strike(self, strike: Strike) -> None:
        await self._reached(strike.at)
        self._faults[strike.what] += 1
        random = self._dice.random(f"victim {strike}")
        working = [one for one in self._senders if one.runs] or self._senders
        victim = random.choice(working)
        gateway = random.choice(list(self.gateways.values()))
        proxy = self.proxies[gateway.name]
        match strike.what:
            case "kill sender":
                victim.kill()
            case "stop sender":
                victim.ask_to_stop()
            case "freeze sender":
                victim.freeze()
                await asyncio.sleep(LEASE + HORIZON + strike.pause)
                victim.thaw()
            case "second run":
                self._add_sender()
            case "kill receiver":
                await self._away("receiver", strike.pause, self._kill_receiver, self._receiver.start)
            case "kill PostgreSQL":
                await self._away("database", strike.pause, self._database.kill, self._database.start)
            case "kill gateway":
                await self._kill_gateway(gateway, "smsbox", strike.pause)
            case "kill gateway's core":
                await self._kill_gateway(gateway, "bearerbox", strike.pause)
            case "drop link":
                gateway.kill("SMSC link") if isinstance(gateway, Kannel) else victim.kill()
            case "refuse connections":
                async with self._turns[gateway.name]:
                    await proxy.refuse()
                    await asyncio.sleep(strike.pause)
                    await proxy.listen()
            case "wrong credentials":
                proxy.wrong_credentials = True
                await asyncio.sleep(strike.pause)
                proxy.wrong_credentials = False
            case "balance exhausted":
                proxy.balance_exhausted = True
                await asyncio.sleep(strike.pause / 2)
                proxy.balance_exhausted = False
            case "burst":
                while not self.relay.burst(self._scenario.burst):
                    await asyncio.sleep(0.05)
            case "kill all":
                await self._kill_all(strike.pause)
            case unknown:
                raise ValueError(unknown)

    async def _away(
        self, name: str, pause: float, kill: Callable[[], None], start: Callable[[], None]
    ) -> None:
        async with self._turns[name]:  # nothing is struck while it is away
            await asyncio.to_thread(kill)
            await asyncio.sleep(pause)
            await asyncio.to_thread(start)

    def _kill_receiver(self) -> None:
        self._receiver.kill()
        self.relay.drop_connections()

    async def _kill_gateway(self, gateway: GatewayService, part: str, pause: float) -> None:
        proxy = self.proxies[gateway.name]
        async with self._turns[gateway.name]:
            await asyncio.to_thread(gateway.kill, part)
            if part == "bearerbox" and isinstance(gateway, Kannel):
                await asyncio.sleep(0.3)  # smsbox still takes requests, and can do nothing with them
            await proxy.refuse()
            await asyncio.sleep(pause)
            await asyncio.to_thread(gateway.restart, part)
            await proxy.listen()

    async def _kill_all(self, pause: float) -> None:
        async with AsyncExitStack() as turns:
            for name in sorted(("database", "receiver", *self.gateways)):
                await turns.enter_async_context(self._turns[name])
            for sender in self._senders:
                sender.kill()
            self._kill_receiver()
            await asyncio.to_thread(self._database.kill)
            for gateway in self.gateways.values():
                await asyncio.to_thread(gateway.kill, "all")
                await self.proxies[gateway.name].refuse()
            await asyncio.sleep(pause)
            await asyncio.to_thread(self._database.start)
            for gateway in self.gateways.values():
                await asyncio.to_thread(gateway.restart, "all")
                await self.proxies[gateway.name].listen()
            await asyncio.to_thread(self._receiver.start)

    async def _make_noise(self) -> None:
        random = self._dice.random("noise")
        names = [name for name in NOISE for _ in range(self._scenario.noise)]
        random.shuffle(names)
        for index, kind in enumerate(names):
            await self._reached((index + 1) / len(names))
            gateway = random.choice(list(self.gateways))
            notice = random.choice(self._planned).id
            self.relay.make_up(kind, f"/receipts/{gateway}/{_SECRET}", notice, 1)

    # --- Coming to an end

    async def _settled(self) -> bool:
        """Wait until nothing is under way and nothing is left to wait for; tell whether that came."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            await asyncio.sleep(0.2)
            if not all(task.done() for task in self._sending):
                continue
            if self.relay.holds or not await asyncio.to_thread(self._quiet):
                continue
            if not await asyncio.to_thread(self._nothing_left):
                if all(task.done() for task in self._sending):
                    self._add_sender()  # as an operator clears the task
                continue
            return True
        return False

    def _quiet(self) -> bool:
        if not all(gateway.drained() for gateway in self.gateways.values()):
            return False
        awaited = {
            one.notice
            for proxy in self.proxies.values()
            for one in proxy.handed
            if one.result == "accepted" and one.notice is not None
        }
        silent = {one.id for number, one in enumerate(self._planned) if digit_of(self._dice, number) == "7"}
        if awaited - silent <= self.relay.reported:
            return True
        # A gateway that was killed may have lost receipts.
        return time.monotonic() - self.relay.last_at > _QUIET_SECONDS

    def _nothing_left(self) -> bool:
        with self._database.connect(self._name) as db:
            row = db.execute(
                "SELECT (SELECT count(*) FROM receipt WHERE match = 'new'), "
                "(SELECT count(*) FROM notice WHERE state IN ('planned', 'sending')), "
                "(SELECT count(*) FROM notice n WHERE state = 'in_doubt' AND kind = 'bill' AND 2 > "
                "(SELECT count(*) FROM attempt a WHERE a.notice_id = n.id AND a.outcome = 'in_doubt'))"
            ).fetchone()
            return row == (0, 0, 0)

    # --- Looking back

    def _gather_evidence(self) -> Evidence:
        with self._database.connect(self._name) as db:
            evidence = Evidence(
                horizon=timedelta(seconds=HORIZON),
                lease=timedelta(seconds=LEASE),
                clock_offset=self._clock_offset,
                planned=self._planned,
            )
            read_rows(db, evidence)
        evidence.ledger = ledger_faults(self._database.server.url(self._name), CYCLE)
        evidence.handed = [one for proxy in self.proxies.values() for one in proxy.handed]
        evidence.deliveries = self.relay.deliveries
        evidence.reached_network = sum(
            (gateway.reached_network(self._notice_of) for gateway in self.gateways.values()), Counter()
        )
        evidence.leaked = leaks(self._folder)
        evidence.faults = sum((proxy.faults for proxy in self.proxies.values()), self._faults)
        evidence.faults += self.relay.faults
        return evidence

    def _notice_of(self, phone: str) -> UUID | None:
        return self._dice.notice_id(int(phone[4:10]))
