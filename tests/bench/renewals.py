"""A year renewed: announced, charged, told to the billing system, and its answers booked.

Each step a process of its own, on a copy of a database that was seeded once. Beside them a bare UPDATE of as
many subscriptions, each on a copy of its own, before and after the steps of the same run.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil

from tests.bench.ground import BenchError, Ground
from tests.bench.results import Measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

SUBSCRIPTIONS = 1_000_000
FEW = 50_000

BARE = "UPDATE subscription SET paid_until = CAST(paid_until + interval '1 year' AS date)"
"""What the renewal comes to in the end, and nothing else."""

_TEMPLATE, _DATABASE, _BARE = "renewals", "renewals_now", "renewals_bare"
_SEED = Path(__file__).with_name("renewals.sql")
_ANNOUNCED, _CHARGED, _ANSWERED = "2026-05-20", "2026-06-05", "2026-06-20"
_DAYS = {"announce": _ANNOUNCED, "charge": _CHARGED, "file": _CHARGED, "load": _ANSWERED, "look": _ANSWERED}

# Messages are planned and sent as all others are, which is measured with them: here they have arrived.
_SEND = """
INSERT INTO notice (kind, subject, sequence, cycle_id, subscription_id, district, phone, language, text,
    encoding, segments, priority, send_from, send_until, validity_minutes, state, attempts, final_at)
SELECT 'fee_announced', 'F' || id, 1, 1, subscription_id, 'TUN1', '+21620000000', 'fr', 'a year', 'gsm7', 1,
    70, '2026-05-20', '2026-05-25', 720, 'delivered', 1, '2026-05-20'
FROM fee_charge WHERE state = 'announced' ORDER BY id
"""
_ANSWERS = """
COPY (
    SELECT 'F' || id AS charge_id, 'paid' AS result, told_millimes AS amount_millimes,
        '2026-06-19T09:00:00+01:00' AS at, NULL AS reason
    FROM fee_charge WHERE state = 'filed' ORDER BY id
) TO STDOUT (FORMAT csv, HEADER)
"""

_RATIO = 10
_MEMORY = 500


def measure(ground: Ground, subscriptions: int, runs: int) -> list[Measure]:
    """Measure `runs` times; return what was found."""
    ground.make_seeded(_TEMPLATE, _SEED, n=subscriptions)
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(1, runs + 1):
        once = _once(ground, subscriptions)
        for name, value in once.items():
            found[name].append(value)
        ground.say(
            f"renewals, run {number} of {runs}: bare UPDATE {once['bare']:.2f} s, "
            + ", ".join(
                f"{name} {once[name]:.1f}"
                for name in ("announce", "charge", "file", "load", "booking", "look")
            )
        )
    return _measures(found, subscriptions)


# --- Measuring ---------------------------------------------------------------------------------------


def _once(ground: Ground, subscriptions: int) -> dict[str, float]:
    found: dict[str, float] = {}
    folder = ground.folder / "answers"

    def step(name: str, *arguments: object, counted: str) -> dict[str, Any]:
        ahead = datetime.fromisoformat(f"{_DAYS[name]}T10:00:00+01:00").timestamp() - time.time()
        environment = ground.environment(_DATABASE, now=f"{ahead:+.0f}")
        ended = ground.run(["tests.bench.renewals_step", name, *arguments], environment)
        found[name] = ended.answer["seconds"]
        found[f"{name} cpu"] = ended.answer["cpu"] + ended.server_cpu
        for kind, value in (("peak", ended.answer["peak"]), ("session", ended.backend)):
            found[kind] = max(found.get(kind, 0), value)
        outcome: dict[str, Any] = ended.answer["outcome"]
        if counted and outcome[counted] != subscriptions:
            raise BenchError(f"{name} has come to {outcome}, where {subscriptions:,} are due")
        return outcome

    bare = [_bare(ground, subscriptions)]
    ground.make_database(_DATABASE, _TEMPLATE)
    try:
        with ground.connect(_DATABASE) as db:
            step("announce", counted="announced")
            with db.transaction():
                db.execute("SET LOCAL session_replication_role = replica")
                db.execute(_SEND)
            _settle(db)
            step("charge", counted="charged")
            step("file", counted="charges")
            _settle(db)
            _write_answers(db, folder, subscriptions)
            loaded = step("load", folder, counted="rows")
            found["booking"], found["booking cpu"] = loaded["booking"], loaded["booking_cpu"]
            renewed = db.execute(
                "SELECT count(*) FROM subscription WHERE paid_until > '2027-05-31'"
            ).fetchone()
            if renewed != (subscriptions,):
                raise BenchError(f"{renewed} subscriptions are renewed, and not {subscriptions:,}")
            _settle(db)
            step("look", counted="")  # plans what customers are told, as all messages are
            _settle(db)
            step("look", counted="")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        ground.drop_database(_DATABASE)
    bare.append(_bare(ground, subscriptions))
    found["bare"], found["bare cpu"] = map(median, zip(*bare, strict=True))
    found["all"] = found["announce"] + found["charge"] + found["file"] + found["load"]
    return found


def _settle(db: psycopg.Connection[Any]) -> None:
    """Statistics as autovacuum leaves them in the days between two steps."""
    db.execute("VACUUM (ANALYZE)")
    db.execute("CHECKPOINT")


def _bare(ground: Ground, subscriptions: int) -> tuple[float, float]:
    """Return the seconds of a bare UPDATE, and those of processors."""
    ground.make_database(_BARE, _TEMPLATE)
    try:
        with ground.connect(_BARE) as db:
            session = psutil.Process(db.info.backend_pid)
            cpu, began = sum(session.cpu_times()[:2]), time.monotonic()
            updated = db.execute(BARE).rowcount
            taken = time.monotonic() - began, sum(session.cpu_times()[:2]) - cpu
        if updated != subscriptions:
            raise BenchError(f"the bare UPDATE has moved {updated} rows, and not {subscriptions:,}")
    finally:
        ground.drop_database(_BARE)
    return taken


def _write_answers(db: psycopg.Connection[Any], folder: Path, rows: int) -> None:
    """Write the billing system's answers: all is paid."""
    folder.mkdir()
    file, digest = folder / "fee_results.csv", hashlib.sha256()
    with file.open("wb") as stream, db.cursor().copy(_ANSWERS) as copy:
        for piece in copy:
            stream.write(piece)
            digest.update(piece)
    manifest = {
        "feed": "2026-06-20",
        "rows": rows,
        "total_amount_millimes": rows * 1_000,
        "complete_until": "2026-06-20T09:00:00+01:00",
        "parts": [{"name": file.name, "rows": rows, "sha256": digest.hexdigest()}],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


# --- Telling -----------------------------------------------------------------------------------------


def _measures(found: Mapping[str, Sequence[float]], subscriptions: int) -> list[Measure]:
    """Tell what was found in each run, by its name."""
    part = f"Renewals: {subscriptions:,} subscriptions"

    def tell(what: str, name: str, unit: str = "s", beside: str = "", limit: float | None = None) -> Measure:
        values = found[name]
        ratios = [value / one for value, one in zip(values, found[beside], strict=True)] if beside else ()
        return Measure(part, what, values, unit, ratios, limit if subscriptions >= SUBSCRIPTIONS else None)

    return [
        tell("bare UPDATE of as many", "bare"),
        tell("announcing their years", "announce", beside="bare"),
        tell("charging them", "charge", beside="bare"),
        tell("deciding and writing the file", "file", beside="bare"),
        tell("loading the answers, and booking them", "load", beside="bare"),
        tell("… of it booking, which renews them", "booking", beside="bare"),
        tell("… in processor time, the UPDATE's as well", "booking cpu", beside="bare cpu"),
        tell("all of it: a year renewed", "all", beside="bare", limit=_RATIO),
        tell("a look at all of them that finds nothing", "look"),
        tell("memory of a step, Airflow included", "peak", "MB", limit=_MEMORY),
        tell("memory of a PostgreSQL session, by itself", "session", "MB"),
    ]
