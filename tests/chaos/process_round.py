"""One round with real processes and without Airflow: a planned cycle, sent, struck, settled, judged."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fatoura.settings import PROJECT_ROOT
from tests.chaos.evidence import Evidence, Planned
from tests.chaos.planning import CYCLE, MORNING, digit_of, plan_cycle
from tests.chaos.reading import LIST_DOUBTS, ledger_faults, read_listed, read_rows
from tests.chaos.round import Round
from tests.chaos.sender import BLIND, GATEWAYS
from tests.chaos.services import Kannel, Receiver, SandboxGateway, SenderProcess, leaks, own_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

    from tests.chaos.dice import Dice
    from tests.chaos.scenario import Scenario, Strike
    from tests.chaos.services import Database, GatewayService

RATE = 450

_QUIET_SECONDS = 2.5


class ProcessRound(Round):
    """:param database: the server; the round has a database of its own on it.
    :param blind: let the sender repeat blindly, which must be found out.
    """

    KIND = "process"
    REQUEST_TIMEOUT = 1.5
    LEASE = 4.0
    HORIZON = 5.0
    PATIENCE = 120.0

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
        super().__init__(dice, scenario, folder=folder, messages=messages, keep=keep)
        self._database, self._blind = database, blind
        self._name = f"chaos_{dice.round}"
        self._senders: list[SenderProcess] = []
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._clock_offset = MORNING - datetime.now(UTC)

    # --- Setting up

    async def _set_up(self, stack: AsyncExitStack) -> None:
        receiver_port = own_port()
        await self._open_relay(stack, receiver_port)
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
            "FATOURA_REQUEST_TIMEOUT": str(self.REQUEST_TIMEOUT),
            "FATOURA_LEASE": str(self.LEASE),
            "FATOURA_DOUBT_HORIZON": str(self.HORIZON),
        }
        self.gateways = {name: self._gateway(name) for name in self._scenario.gateways}
        for gateway in self.gateways.values():
            stack.callback(gateway.stop)
        await asyncio.gather(*(asyncio.to_thread(one.start) for one in self.gateways.values()))
        for name, gateway in self.gateways.items():
            await self._open_proxy(stack, name, gateway.port)
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
        self._work.append(asyncio.create_task(sender.run()))

    # --- Striking

    def _sending_is_over(self) -> bool:
        return bool(self._work) and all(task.done() for task in self._work)

    async def _strike(self, strike: Strike) -> None:
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
                await asyncio.sleep(self.LEASE + self.HORIZON + strike.pause)
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

    # --- Coming to an end

    async def _settled(self) -> bool:
        end = time.monotonic() + self.PATIENCE
        while time.monotonic() < end:
            await asyncio.sleep(0.2)
            if not self._sending_is_over():
                continue
            if self.relay.holds or not await asyncio.to_thread(self._quiet):
                continue
            if not await asyncio.to_thread(self._nothing_left):
                if self._sending_is_over():
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
                horizon=timedelta(seconds=self.HORIZON),
                lease=timedelta(seconds=self.LEASE),
                clock_offset=self._clock_offset,
                planned=self._planned,
            )
            read_rows(db, evidence)
        command = (sys.executable, "-m", "fatoura", *LIST_DOUBTS)
        environment = {**os.environ, **self._environment}
        listed = subprocess.run(command, env=environment, cwd=PROJECT_ROOT, capture_output=True, check=True)
        evidence.listed = read_listed(listed.stdout.decode())
        evidence.ledger = ledger_faults(self._database.server.url(self._name), CYCLE)
        evidence.reached_network = sum(
            (gateway.reached_network(self._notice_of) for gateway in self.gateways.values()), Counter()
        )
        evidence.leaked = leaks(self._folder.glob("*.log"))
        return evidence

    def _notice_of(self, phone: str) -> UUID | None:
        return self._dice.notice_id(int(phone[4:10]))
