"""A cycle of a million notices: how much memory those have who send it, take its receipts, and settle it.

Sends into the bare server, and takes receipts for what was sent, each for some seconds; then settles what
there is. The sender and the settle step run as tasks do, Airflow included.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.bench.ground import BenchError, Ground
from tests.bench.results import Measure
from tests.bench.running import (
    NOWHERE,
    bare_server,
    copied,
    ids_file,
    plan,
    settings,
    started,
    why_no_wrk,
    wrk_reports,
)
from tests.bench.watching import Watch
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTICES = 1_000_000
SECONDS = 10

_PART = f"A cycle of {NOTICES:,} notices"
_MEMORY = 300


def measure(ground: Ground, seconds: int) -> list[Measure]:
    """Send and receive for so long, and settle; return what was found. Once: memory does not waver."""
    no_wrk = why_no_wrk()
    began = time.monotonic()
    plan(ground, "million", NOTICES)
    ground.say(f"planned {NOTICES:,} notices in {time.monotonic() - began:.0f} s")
    found = _found(ground, seconds, wrk=not no_wrk)
    ground.say("a million: " + ", ".join(f"{name} {value:,.0f}" for name, value in found.items()))
    return _measures(found, no_wrk)


def _found(ground: Ground, seconds: int, *, wrk: bool) -> dict[str, float]:
    found: dict[str, float] = {}
    port = free_port()
    with copied(ground, "million") as database, bare_server(ground) as server:
        environment = settings(ground, database, receiver_port=port)
        where = [server, "steg", "secret", NOWHERE]
        sent = ground.run(["tests.bench.client", "sender", NOTICES, *where, seconds], environment)
        if not sent.answer["accepted"]:
            raise BenchError("nothing was sent of a million messages")
        found["sent"] = sent.answer["accepted"]
        found["rate"] = sent.answer["accepted"] / sent.answer["sent_seconds"]
        found["sender"] = sent.answer["peak"]
        found["session"] = sent.backend
        if wrk:
            _write_sent(ground, database)
            with (
                started(ground, "receiver", port, ["-m", "fatoura", "receiver"], environment) as receiver,
                Watch({"receiver": receiver.process.pid}) as watch,
            ):
                address = f"http://127.0.0.1:{port}"
                ids = ids_file(ground, database)
                found["receipts"] = wrk_reports(ground, environment, address, ids, seconds) * seconds
            found["receiver"] = watch.memory["receiver"]
        settled = ground.run(["tests.bench.client", "settle", 0, *where, "accepted"], environment)
        found["settle"] = settled.answer["peak"]
    return found


def _write_sent(ground: Ground, database: str) -> None:
    with ground.connect(database) as db:
        rows = db.execute("SELECT id FROM notice WHERE state = 'accepted' ORDER BY id")
        ids_file(ground, database).write_text("".join(f"{row[0]}\n" for row in rows))


def _measures(found: Mapping[str, float], no_wrk: str) -> list[Measure]:
    def tell(what: str, name: str, unit: str, limit: float | None = None) -> Measure:
        if name not in found:
            return Measure(_PART, what, (), unit, left_out=no_wrk)
        return Measure(_PART, what, [found[name]], unit, limit=limit)

    return [
        tell("messages sent into the bare server", "sent", ""),
        tell("… by one send task", "rate", "/s"),
        tell("receipts taken", "receipts", ""),
        tell("memory of the send task, Airflow included", "sender", "MB", _MEMORY),
        tell("memory of the receiver", "receiver", "MB", _MEMORY),
        tell("memory of the settle step, Airflow included", "settle", "MB", _MEMORY),
        tell("memory of the send task's database session", "session", "MB", _MEMORY),
    ]
