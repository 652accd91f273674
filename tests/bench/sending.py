"""How fast messages go into the sandbox gateway: the real sender, receiver and database, each a process.

Beside them a bare client: the same requests, from one process without a database, to a gateway that gives
no receipts. The gateway is the same in both, and a part of both: figures are for comparing, not limits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import requests

from tests.bench.ground import BenchError, Ground, stop_all
from tests.bench.results import Measure
from tests.processes import Child, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = 5_000

_PART = f"Sending {MESSAGES:,} messages into the sandbox gateway"
_TEMPLATE = "to_send"


def measure(ground: Ground, runs: int) -> list[Measure]:
    """Send `runs` times in each way; return what was found, in messages a second."""
    ground.make_database(_TEMPLATE)
    ground.run(["fatoura", "db", "upgrade"], ground.environment(_TEMPLATE))
    bare, accepted, settled = [], [], []
    for number in range(1, runs + 1):
        bare.append(_bare(ground))
        sent, over = _with_everything(ground)
        accepted.append(sent)
        settled.append(over)
        ground.say(
            f"sending, run {number} of {runs}: bare client {bare[-1]:.0f}/s, sender {sent:.0f}/s, "
            f"with receipts {over:.0f}/s"
        )

    def beside_bare(what: str, rates: list[float]) -> Measure:
        return Measure(
            _PART, what, rates, "/s", [rate / alone for rate, alone in zip(rates, bare, strict=True)]
        )

    return [
        Measure(_PART, "bare client, no database, no receipts", bare, "/s"),
        beside_bare("sender: accepted by the gateway", accepted),
        beside_bare("end to end: receipts stored, all settled", settled),
    ]


def _bare(ground: Ground) -> float:
    port = free_port()
    environment = ground.environment("postgres", gateway_port=port)
    children: list[Child] = []
    try:
        children += _gateway(ground, environment, port, "--receipts", "0", "--acknowledgements", "0")
        answer = ground.run(["tests.bench.client", "bare", MESSAGES], environment).answer
    finally:
        stop_all(children)
    if answer["accepted"] != MESSAGES:
        raise BenchError(f"the gateway accepted {answer['accepted']} of {MESSAGES} bare requests")
    return MESSAGES / float(answer["seconds"])


def _with_everything(ground: Ground) -> tuple[float, float]:
    gateway_port, receiver_port = free_port(), free_port()
    ground.make_database("sending", _TEMPLATE)
    environment = ground.environment(
        "sending", gateway_port=gateway_port, receiver_port=receiver_port, segments_per_second=1_000_000
    )
    children: list[Child] = []
    try:
        children += _gateway(ground, environment, gateway_port, "--receipt-delay", "0.5")
        children += _receiver(ground, environment, receiver_port)
        answer = ground.run(["tests.bench.client", "sender", MESSAGES], environment).answer
        stats = requests.get(f"http://127.0.0.1:{gateway_port}/sandbox/stats", timeout=10).json()
    finally:
        stop_all(children)
        ground.drop_database("sending")
    if answer["delivered"] != MESSAGES or stats["ids_accepted"] != MESSAGES or stats["ids_accepted_again"]:
        raise BenchError(f"not every message went out once and came back: {answer}, {stats}")
    return MESSAGES / answer["sent_seconds"], MESSAGES / answer["settled_seconds"]


def _gateway(ground: Ground, environment: dict[str, str], port: int, *options: str) -> Iterator[Child]:
    command = ["-m", "fatoura", "gateway", "sandbox", "--port", str(port), *options]
    yield from _started(ground, environment, port, command, "gateway.log")


def _receiver(ground: Ground, environment: dict[str, str], port: int) -> Iterator[Child]:
    yield from _started(ground, environment, port, ["-m", "fatoura", "receiver"], "receiver.log")


def _started(
    ground: Ground, environment: dict[str, str], port: int, command: list[str], log: str
) -> Iterator[Child]:
    import sys

    child = Child([sys.executable, *command], log=ground.folder / log, env=environment)
    yield child  # known to whoever must stop it, before it is waited for
    child.wait_for_port(port, 60)
    time.sleep(0.2)
