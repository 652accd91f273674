"""How fast messages go out and receipts come in: one sender, receiver and database, beside bare things.

Messages go into a bare HTTP server, and into real Kannel with its spool in memory, which gives receipts;
beside the sender, `wrk` and a bare client make the same requests. All share the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from tests.bench.ground import BenchError, Ground
from tests.bench.results import Measure
from tests.bench.watching import Watch
from tests.integration.kannel import stack as kannel
from tests.processes import Child, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MESSAGES = 20_000
_SETTLED_BY_WRK = 60_000  # more than it can give receipts for in its time
_CONNECTIONS = 50
_WRK_SECONDS = 5

_INTO_SINK = "Messages into a bare server"
_INTO_KANNEL = "Messages into real Kannel"
_RECEIPTS = "Receipts"
_HERE = Path(__file__).parent


def measure(ground: Ground, runs: int) -> list[Measure]:
    """Send and receive `runs` times in each way; return what was found."""
    no_kannel = kannel.why_not()
    no_wrk = None if shutil.which("wrk") else "it is not installed (Debian package wrk)"
    for name, reason in (("real Kannel", no_kannel), ("wrk", no_wrk)):
        if reason:
            ground.say(f"{name} is left out: {reason}")
    _plan(ground, "to_send", MESSAGES)
    _plan(ground, "to_settle", _SETTLED_BY_WRK, "accepted")
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(1, runs + 1):
        one: dict[str, float] = {}
        with _sink(ground) as sink:
            one |= _into_sink(ground, sink, wrk=not no_wrk)
            if not no_kannel:
                one |= _into_kannel(ground, sink, wrk=not no_wrk)
        if not no_wrk:
            one |= _receipts(ground)
        for name, value in one.items():
            found[name].append(value)
        rates = (
            f"{name} {value:.0f}/s" for name, value in one.items() if not name.startswith(("cpu", "mem"))
        )
        ground.say(f"sending, run {number} of {runs}: {', '.join(rates)}")
    return _measures(found)


def _plan(ground: Ground, database: str, count: int, *options: str) -> None:
    ground.make_database(database)
    environment = ground.environment(database)
    ground.run(["fatoura", "db", "upgrade"], environment)
    ground.run(["tests.bench.planned", count, ground.folder / f"{database}.ids", *options], environment)


# --- Messages


def _into_sink(ground: Ground, sink: str, *, wrk: bool) -> dict[str, float]:
    found = {}
    environment = _environment(ground, "postgres")
    where = [sink, "steg", "secret", "http://127.0.0.1:9", "accepted"]
    if wrk:
        found["sink, wrk"] = _wrk_sends(ground, environment, where)
    found["sink, client"] = MESSAGES / _client(ground, environment, "bare", where)["sent_seconds"]
    with _database(ground, "to_send") as database:
        answer = _client(ground, _environment(ground, database), "sender", where)
    return found | {"sink, sender": MESSAGES / answer["sent_seconds"]}


def _into_kannel(ground: Ground, sink: str, *, wrk: bool) -> dict[str, float]:
    found = {}
    environment = _environment(ground, "postgres")
    with _kannel() as running:
        account = [running.base_url, kannel.USERNAME, kannel.PASSWORD]
        if wrk:
            found["Kannel, wrk"] = _wrk_sends(ground, environment, [*account, sink, "accepted"])
            _wait_until_quiet(sink)
        answer = _client(ground, environment, "bare", [*account, sink, "called-back"])
        found["Kannel, client"] = MESSAGES / answer["sent_seconds"]
        found["Kannel, client, called back"] = MESSAGES / answer["settled_seconds"]
        with _database(ground, "to_send") as database:
            port = free_port()
            environment = _environment(ground, database, receiver_port=port)
            with _started(ground, "receiver", port, ["-m", "fatoura", "receiver"], environment) as receiver:
                pids = {name: child.process.pid for name, child in running.children.items()}
                pids |= {"receiver": receiver.process.pid, "database": ground.server_pid}
                with Watch(pids) as watch:
                    where = [*account, f"http://127.0.0.1:{port}", "settled"]
                    answer = _client(ground, environment, "sender", where)
    if (answer["delivered"], answer["receipts"]) != (MESSAGES, 2 * MESSAGES):
        raise BenchError(f"not every message came back: {answer}")
    found["Kannel, sender"] = MESSAGES / answer["sent_seconds"]
    found["Kannel, sender, settled"] = MESSAGES / answer["settled_seconds"]
    cpu = {"sender": answer["cpu"], **watch.cpu}
    memory = {"sender": answer["peak"], **watch.memory}
    found |= {f"cpu {name}": seconds for name, seconds in cpu.items()}
    found |= {f"memory {name}": megabytes for name, megabytes in memory.items()}
    return found


def _client(ground: Ground, environment: dict[str, str], who: str, where: list[str]) -> dict[str, Any]:
    answer: dict[str, Any] = ground.run(["tests.bench.client", who, MESSAGES, *where], environment).answer
    if answer["accepted"] != MESSAGES:
        raise BenchError(f"{answer['accepted']} of {MESSAGES} messages were accepted")
    return answer


def _wrk_sends(ground: Ground, environment: dict[str, str], where: list[str]) -> float:
    shown = ground.run(["tests.bench.client", "request", 0, *where], environment).answer
    file = ground.folder / "request"
    file.write_bytes(shown["request"].encode())
    return _wrk("messages.lua", where[0], file)


def _wait_until_quiet(sink: str) -> None:
    """Wait until Kannel has given all receipts that it owes."""
    before = None
    while (now := requests.get(sink + "/counts", timeout=10).json()) != before:
        before = now
        time.sleep(1)


# --- Receipts


def _receipts(ground: Ground) -> dict[str, float]:
    found = {}
    port = free_port()
    environment = _environment(ground, "to_settle", receiver_port=port)
    where = ["http://127.0.0.1:9", "steg", "secret", "http://127.0.0.1:9", "accepted"]
    path = ground.run(["tests.bench.client", "request", 0, *where], environment).answer["receipts"]
    ids = ground.folder / "to_settle.ids"
    address = f"http://127.0.0.1:{port}"
    with _started(ground, "receiver", port, ["-m", "tests.bench.receiver"], environment):
        found["receipts, no database"] = _wrk("receipts.lua", address, path, ids)
    with _database(ground, "to_settle") as database:
        environment = _environment(ground, database, receiver_port=port)
        with _started(ground, "receiver", port, ["-m", "fatoura", "receiver"], environment):
            began = time.monotonic()
            found["receipts, taken"] = _wrk("receipts.lua", address, path, ids)
            with ground.connect(database) as db:
                while db.execute("SELECT FROM receipt WHERE match = 'new' LIMIT 1").fetchone():
                    time.sleep(0.05)
                seconds = time.monotonic() - began
                row = db.execute("SELECT count(*) FROM receipt").fetchone()
    found["receipts, matched"] = row[0] / seconds if row else 0
    return found


# --- What runs


def _wrk(script: str, address: str, *arguments: object) -> float:
    """Return the good answers a second."""
    done = subprocess.run(
        [
            *("wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{_WRK_SECONDS}s", "-s", _HERE / script, address, "--"),
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    if answer["errors"]:
        raise BenchError(f"wrk got {answer['errors']} errors of {answer['requests']}: {done.stdout}")
    return float(answer["requests"] / answer["seconds"])


def _environment(ground: Ground, database: str, **settings: object) -> dict[str, str]:
    return ground.environment(database, connections=_CONNECTIONS, segments_per_second=1_000_000, **settings)


@contextmanager
def _sink(ground: Ground) -> Iterator[str]:
    port = free_port()
    with _started(ground, "sink", port, ["-m", "tests.bench.sink", str(port)], dict(os.environ)):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _database(ground: Ground, template: str) -> Iterator[str]:
    name = template + "_now"
    ground.make_database(name, template)
    try:
        yield name
    finally:
        ground.drop_database(name)


@contextmanager
def _kannel() -> Iterator[kannel.KannelStack]:
    """Run Kannel with its spool in memory."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="kannel-", dir=memory if os.access(memory, os.W_OK) else None))
    running = kannel.KannelStack(folder)
    try:
        yield running.start()
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _started(
    ground: Ground, name: str, port: int, command: list[str], environment: Mapping[str, str]
) -> Iterator[Child]:
    child = Child([sys.executable, *command], log=ground.folder / f"{name}.log", env=environment)
    try:
        child.wait_for_port(port, 60)
        time.sleep(0.2)
        yield child
    finally:
        child.stop()


# --- What is told


def _measures(found: Mapping[str, list[float]]) -> list[Measure]:
    """Return the measures of what was found; of what was left out there are none."""
    measures: list[Measure] = []

    def tell(part: str, what: str, name: str, beside: str = "", unit: str = "/s", **target: float) -> None:
        if name in found:
            ratios = (
                [one / other for one, other in zip(found[name], found[beside], strict=True)]
                if beside in found
                else []
            )
            # A target is of the ratio: without the bare thing there is none.
            target = target if ratios or not beside else {}
            measures.append(Measure(part, what, found[name], unit, ratios, **target))

    tell(_INTO_SINK, "wrk", "sink, wrk")
    tell(_INTO_SINK, "bare client", "sink, client", "sink, wrk")
    tell(_INTO_SINK, "one send task", "sink, sender", "sink, wrk")
    tell(_INTO_KANNEL, "wrk", "Kannel, wrk")
    tell(_INTO_KANNEL, "bare client", "Kannel, client", "Kannel, wrk")
    tell(_INTO_KANNEL, "one send task", "Kannel, sender", "Kannel, wrk", least=0.6, aim=0.8)
    tell(_INTO_KANNEL, "bare client, until all receipts are given", "Kannel, client, called back")
    tell(
        _INTO_KANNEL,
        "one send task, until all are settled",
        "Kannel, sender, settled",
        "Kannel, client, called back",
        least=0.7,
    )
    for name in ("sender", "receiver", "database", "smsbox", "bearerbox", "smsc"):
        tell(_INTO_KANNEL, f"… processor time, {name}", f"cpu {name}", unit="s")
    for name in ("sender", "receiver", "database"):
        tell(_INTO_KANNEL, f"… memory, {name}", f"memory {name}", unit="MB")
    tell(_RECEIPTS, "receiver with no database", "receipts, no database")
    tell(_RECEIPTS, "receiver, stored and taken", "receipts, taken", "receipts, no database")
    tell(_RECEIPTS, "… beside messages into Kannel", "receipts, taken", "Kannel, sender", least=3)
    tell(_RECEIPTS, "… until all are matched", "receipts, matched")
    return measures
