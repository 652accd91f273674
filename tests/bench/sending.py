"""How fast messages go out and receipts come in: one sender, receiver and database, beside bare things.

Messages go into a bare HTTP server, and into real Kannel with its spool in memory, which gives receipts;
beside the sender, `wrk` and a bare client make the same requests. Kannel has one half of the cores, and
whoever sends the other; as information the same on all cores together.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.bench.cores import apart
from tests.bench.ground import BenchError, Ground
from tests.bench.results import Measure
from tests.bench.running import (
    NOWHERE,
    WRK_SECONDS,
    bare_server,
    client,
    copied,
    ids_file,
    kannel,
    plan,
    settings,
    started,
    wait_until_quiet,
    why_no_wrk,
    wrk_reports,
    wrk_sends,
)
from tests.bench.watching import Watch
from tests.integration.kannel import stack
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGES = 20_000
_SETTLED_BY_WRK = 60_000  # more than it can give receipts for in its time

_INTO_SINK = "Messages into a bare server"
_INTO_KANNEL = "Messages into real Kannel"
_ON_ALL_CORES = "The same, all on the same cores"
_RECEIPTS = "Receipts"


def measure(ground: Ground, runs: int) -> list[Measure]:
    """Send and receive `runs` times in each way; return what was found."""
    no_kannel, no_wrk = stack.why_not() or "", why_no_wrk()
    for reason in filter(None, (no_kannel, no_wrk)):
        ground.say(f"some of it is left out: {reason}")
    plan(ground, "to_send", MESSAGES)
    plan(ground, "to_settle", _SETTLED_BY_WRK, "accepted")
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(1, runs + 1):
        one: dict[str, float] = {}
        with bare_server(ground) as server:
            one |= _into_sink(ground, server, wrk=not no_wrk)
        if not no_kannel:
            with apart(ground.server_pid) as cores, bare_server(ground) as server, kannel(cores) as running:
                one |= _into_kannel(ground, server, running, wrk=not no_wrk)
                one |= _end_to_end(ground, server, running)
            with bare_server(ground) as server, kannel() as running:
                together = _into_kannel(ground, server, running, wrk=not no_wrk)
                together |= _end_to_end(ground, server, running)
            one |= {f"together, {name}": value for name, value in together.items()}
        if not no_wrk:
            one |= _receipts(ground)
        for name, value in one.items():
            found[name].append(value)
        rates = (
            f"{name} {value:.0f}/s"
            for name, value in one.items()
            if "cpu" not in name and "memory" not in name
        )
        ground.say(f"sending, run {number} of {runs}: {', '.join(rates)}")
    return _measures(found, no_kannel, no_wrk)


# --- Messages


def _into_sink(ground: Ground, server: str, *, wrk: bool) -> dict[str, float]:
    found = {}
    environment = settings(ground, "postgres")
    where = [server, "steg", "secret", NOWHERE, "accepted"]
    if wrk:
        found["sink, wrk"] = wrk_sends(ground, environment, where)
    found["sink, client"] = MESSAGES / client(ground, environment, "bare", MESSAGES, where)["sent_seconds"]
    with copied(ground, "to_send") as database:
        answer = client(ground, settings(ground, database), "sender", MESSAGES, where)
    return found | {"sink, sender": MESSAGES / answer["sent_seconds"]}


def _into_kannel(ground: Ground, server: str, running: stack.KannelStack, *, wrk: bool) -> dict[str, float]:
    """Send with receipts to a bare server, `wrk` before and after the sender."""
    found = {}
    environment = settings(ground, "postgres")
    account = _account(running)
    where = [*account, server, "accepted"]
    by_wrk = [wrk_sends(ground, environment, where)] if wrk else []
    wait_until_quiet(server)
    with copied(ground, "to_send") as database:
        # For as long as wrk: Kannel takes up messages faster while it has few to pass on.
        arguments = ["tests.bench.client", "sender", MESSAGES, *account, server, WRK_SECONDS]
        answer = ground.run(arguments, settings(ground, database)).answer
    if not answer["accepted"]:
        raise BenchError("Kannel accepted nothing")
    found["Kannel, sender"] = answer["accepted"] / answer["sent_seconds"]
    wait_until_quiet(server)
    if wrk:
        by_wrk.append(wrk_sends(ground, environment, where))
        found["Kannel, wrk"] = sum(by_wrk) / len(by_wrk)
        wait_until_quiet(server)
    return found


def _end_to_end(ground: Ground, server: str, running: stack.KannelStack) -> dict[str, float]:
    """Send until all receipts are given; beside a bare client, a send task with the receiver."""
    account = _account(running)
    answer = client(ground, settings(ground, "postgres"), "bare", MESSAGES, [*account, server, "called-back"])
    bare = {
        "Kannel, client": MESSAGES / answer["sent_seconds"],
        "Kannel, client, called back": MESSAGES / answer["settled_seconds"],
    }
    port = free_port()
    with copied(ground, "to_send") as database:
        environment = settings(ground, database, receiver_port=port)
        with started(ground, "receiver", port, ["-m", "fatoura", "receiver"], environment) as receiver:
            pids = {name: child.process.pid for name, child in running.children.items()}
            pids |= {"receiver": receiver.process.pid, "database": ground.server_pid}
            with Watch(pids) as watch:
                where = [*account, f"http://127.0.0.1:{port}", "settled"]
                answer = client(ground, environment, "sender", MESSAGES, where)
    if (answer["delivered"], answer["receipts"]) != (MESSAGES, 2 * MESSAGES):
        raise BenchError(f"not every message came back: {answer}")
    cpu = {"sender": answer["cpu"], **watch.cpu}
    memory = {"sender": answer["peak"], **watch.memory}
    return bare | {
        "Kannel, sender with receiver": MESSAGES / answer["sent_seconds"],
        "Kannel, sender, settled": MESSAGES / answer["settled_seconds"],
        **{f"cpu {name}": seconds for name, seconds in cpu.items()},
        **{f"memory {name}": megabytes for name, megabytes in memory.items()},
    }


def _account(running: stack.KannelStack) -> list[str]:
    return [running.base_url, stack.USERNAME, stack.PASSWORD]


# --- Receipts


def _receipts(ground: Ground) -> dict[str, float]:
    found = {}
    port = free_port()
    environment = settings(ground, "to_settle", receiver_port=port)
    ids = ids_file(ground, "to_settle")
    address = f"http://127.0.0.1:{port}"
    with started(ground, "receiver", port, ["-m", "tests.bench.receiver"], environment):
        found["receipts, no database"] = wrk_reports(ground, environment, address, ids)
    with copied(ground, "to_settle") as database:
        environment = settings(ground, database, receiver_port=port)
        with started(ground, "receiver", port, ["-m", "fatoura", "receiver"], environment):
            began = time.monotonic()
            found["receipts, taken"] = wrk_reports(ground, environment, address, ids)
            with ground.connect(database) as db:
                while db.execute("SELECT FROM receipt WHERE match = 'new' LIMIT 1").fetchone():
                    time.sleep(0.05)
                seconds = time.monotonic() - began
                row = db.execute("SELECT count(*) FROM receipt").fetchone()
    found["receipts, matched"] = row[0] / seconds if row else 0
    return found


# --- What is told


def _measures(found: Mapping[str, list[float]], no_kannel: str, no_wrk: str) -> list[Measure]:
    """Return the measures of what was found, and say of what is not there why."""
    measures: list[Measure] = []

    def tell(part: str, what: str, name: str, beside: str = "", unit: str = "/s", **target: Any) -> None:
        if name not in found:
            reason = no_kannel if part in (_INTO_KANNEL, _ON_ALL_CORES) and no_kannel else no_wrk
            measures.append(Measure(part, what, (), unit, left_out=reason))
            return
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
    tell(
        _INTO_KANNEL,
        "… while its receipts are stored and matched",
        "Kannel, sender with receiver",
        "Kannel, wrk",
    )
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
    tell(_ON_ALL_CORES, "wrk", "together, Kannel, wrk")
    tell(_ON_ALL_CORES, "one send task", "together, Kannel, sender", "together, Kannel, wrk")
    tell(_ON_ALL_CORES, "bare client, until all receipts are given", "together, Kannel, client, called back")
    tell(
        _ON_ALL_CORES,
        "one send task, until all are settled",
        "together, Kannel, sender, settled",
        "together, Kannel, client, called back",
    )
    tell(_RECEIPTS, "receiver with no database", "receipts, no database")
    tell(_RECEIPTS, "receiver, stored and taken", "receipts, taken", "receipts, no database")
    # All share the cores there too, where receipts are taken in.
    tell(
        _RECEIPTS,
        "… beside messages on the same cores",
        "receipts, taken",
        "together, Kannel, sender",
        least=3,
    )
    tell(_RECEIPTS, "… beside messages into Kannel on cores of its own", "receipts, taken", "Kannel, sender")
    tell(_RECEIPTS, "… until all are matched", "receipts, matched")
    return measures
