"""Stands between a gateway and the receipt receiver, and passes receipts on as providers do: late, twice,
out of order, with contradictions, and never giving up.

Each receipt travels with a number of its own, which is stored with it: so it can be told which were taken
and which are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import Counter
from itertools import cycle, islice
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

from fatoura.settings import PROJECT_ROOT
from tests.chaos.evidence import Delivery
from tests.chaos.wire import Client, answer, read_head, receipt_request

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from tests.chaos.proxy import Decide
    from tests.chaos.wire import Gate

FINAL_TYPES = frozenset({1, 2, 16})
STRANGER = "127.0.0.66"
_AGAIN_SECONDS = 0.2
_AT_ONCE = 128


class Relay:
    """Use as an asynchronous context manager.

    :param receiver: port of the receiver.
    :param decide: which fault the receipts of an attempt get.
    :param port: to listen on; 0 for any.
    :param late_seconds: how long late receipts are held: longer than the horizon of doubt.
    :param gate: counts taken receipts by notice and attempt.
    :param passes_through: answer the gateway with what the receiver says, as a plain line does; otherwise
        take each receipt at once, and try until the receiver has it.
    """

    def __init__(
        self,
        receiver: int,
        decide: Decide,
        *,
        port: int = 0,
        late_seconds: float,
        gate: Gate,
        passes_through: bool = False,
    ) -> None:
        self.deliveries: list[Delivery] = []
        self.faults: Counter[str] = Counter()
        self.port = port
        self.last_at = time.monotonic()
        self.reported: set[UUID] = set()
        """Notices with a final receipt from the gateway."""
        self._client = Client(receiver)
        self._stranger = Client(receiver, source=STRANGER)
        self._decide = decide
        self._late_seconds = late_seconds
        self._gate = gate
        self._passes_through = passes_through
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._under_way: set[asyncio.Task[Any]] = set()
        self._connections: set[asyncio.Task[Any]] = set()
        self._targets: dict[int, str] = {}
        self._marked: set[tuple[UUID, int, str]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in [*self._under_way, *self._connections]:
            task.cancel()
        await asyncio.gather(*self._under_way, *self._connections, return_exceptions=True)
        self._client.forget()
        self._stranger.forget()

    @property
    def holds(self) -> int:
        """Receipts still to be delivered."""
        return len(self._under_way)

    def drop_connections(self) -> None:
        """Forget kept connections: the receiver was killed."""
        self._client.forget()
        self._stranger.forget()

    # --- What is made up

    def make_up(self, kind: str, path: str, notice: UUID, attempt: int) -> None:
        """Send something that no gateway sent.

        :param kind: a name of `NOISE`.
        :param path: of the receiver, with the secret.
        :param notice: a real one, of which a receipt with a wrong secret tells lies.
        """
        self.faults[kind] += 1
        lie = "type=2&answer=stat%3AUNDELIV+err%3A011"
        match kind:
            case "unknown id":
                self._start(
                    self._deliver(f"{path}?notice={uuid4()}&attempt=1&{lie}", self._new(kind, None, None))
                )
            case "garbage":
                garbage = f"{path}?notice=no+notice+%00%FF&attempt=much&type=%D8%AA"
                self._start(self._deliver(garbage, self._new(kind, None, None)))
            case "wrong secret":
                wrong = path[:-1] + ("a" if path[-1] != "a" else "b")
                target = f"{wrong}?notice={notice}&attempt={attempt}&{lie}"
                self._start(self._try_once(target, self._new(kind, notice, attempt)))
            case unknown:
                raise ValueError(unknown)

    def burst(self, count: int) -> bool:
        """Deliver what has come so far again and again at once, `count` in all; tell whether it began."""
        real = [one for one in self.deliveries if one.kind == "receipt" and self._targets[one.number]]
        if not real:
            return False
        self.faults["burst"] += 1
        copies = [
            (self._new("receipt", once.notice, once.attempt, once.type), self._targets[once.number])
            for once in islice(cycle(real), count)
        ]
        self._start(self._deliver_from_elsewhere(copies))
        return True

    async def _deliver_from_elsewhere(self, copies: list[tuple[Delivery, str]]) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.chaos.burst"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=PROJECT_ROOT,
        )
        lines = [str(self._client.port), *(f"{once.number} {target}" for once, target in copies)]
        try:
            told, _ = await process.communicate("\n".join(lines).encode())
        finally:
            if process.returncode is None:
                process.kill()
        taken = {int(number) for number in told.split()}
        for once, _ in copies:
            once.taken = once.number in taken
            once.status = 200 if once.taken else None

    # --- What comes

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    head = await read_head(reader)
                    await reader.readexactly(head.length)
                    status = await self._take(head.target)
                    writer.write(answer(status, "taken" if status == 200 else "try again"))
        finally:
            writer.close()

    async def _take(self, target: str) -> int:
        self.last_at = time.monotonic()
        notice, attempt, kind = _read(target)
        once = self._new("receipt", notice, attempt, kind)
        fault = self._decide(notice, attempt) if notice is not None and attempt is not None else None
        if fault is not None and notice is not None and attempt is not None:
            if (notice, attempt, fault) not in self._marked:
                self.faults[f"receipts: {fault}"] += 1
            self._marked.add((notice, attempt, fault))
        if fault is None and self._passes_through:
            taken = await self._offer(target, once)
            if not taken:
                # The gateway tries again by itself; this try of it is over.
                self.deliveries.remove(once)
            status = 200 if taken else 503
        else:
            self._start(self._pass_on(target, once, fault))
            status = 200
        if kind in FINAL_TYPES and notice is not None and status == 200:
            self.reported.add(notice)
        return status

    async def _pass_on(self, target: str, once: Delivery, fault: str | None) -> None:
        final = once.type in FINAL_TYPES
        if fault == "late":
            await asyncio.sleep(self._late_seconds)
        if fault == "reordered" and not final:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.5):
                    await self._gate.reach(("final", once.notice, once.attempt), 1)
        if fault == "per part" and final:
            for part in (2, 3):
                await self._deliver(
                    f"{target}&smsc_message=part-{part}",
                    self._new("receipt", once.notice, once.attempt, once.type),
                )
        await self._deliver(target, once)
        if fault == "twice":
            await self._deliver(target, self._new("receipt", once.notice, once.attempt, once.type))
        if fault == "contradictory" and final:
            kind, words = (
                (2, "stat%3AUNDELIV+err%3A011") if once.type == 1 else (1, "stat%3ADELIVRD+err%3A000")
            )
            path = urlsplit(target).path
            await self._deliver(
                f"{path}?notice={once.notice}&attempt={once.attempt}&type={kind}&answer={words}",
                self._new("receipt", once.notice, once.attempt, kind),
            )

    # --- What goes out

    def _new(self, kind: str, notice: UUID | None, attempt: int | None, type_: int | None = None) -> Delivery:
        once = Delivery(len(self._targets) + 1, kind, notice, attempt, type_)
        self._targets[once.number] = ""
        self.deliveries.append(once)
        return once

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _deliver(self, target: str, once: Delivery) -> None:
        """Try until the receiver has it, as a provider does for hours."""
        async with self._places:
            while not await self._offer(target, once):
                await asyncio.sleep(_AGAIN_SECONDS)
        if once.notice is not None:
            self._gate.add(("taken", once.notice, once.attempt))
            if once.type in FINAL_TYPES:
                self._gate.add(("final", once.notice, once.attempt))

    async def _offer(self, target: str, once: Delivery) -> bool:
        self._targets[once.number] = target
        try:
            told = await self._client.exchange(receipt_request(target, once.number))
        except OSError:
            return False
        once.status = told.status
        once.taken = told.status == 200
        return once.taken

    async def _try_once(self, target: str, once: Delivery) -> None:
        while once.status is None:
            try:
                told = await self._stranger.exchange(receipt_request(target, once.number))
            except OSError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            once.status = told.status
            once.taken = told.status == 200


def _read(target: str) -> tuple[UUID | None, int | None, int | None]:
    query = parse_qs(urlsplit(target).query)
    try:
        return UUID(query["notice"][0]), int(query["attempt"][0]), int(query["type"][0])
    except (KeyError, ValueError):
        return None, None, None
