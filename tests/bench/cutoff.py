"""From due cases to warnings: decided, planned, claimed; payments taken up; and who is handed over.

Each step a process of its own, on a copy of a database that was seeded once. Beside the decision a bare
SELECT of what each of the same bills has left, before and after it in the same run.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
import yaml

from fatoura.settings import PROJECT_ROOT
from tests.bench import accounts
from tests.bench.cutoff_step import CLAIMED_AT_ONCE
from tests.bench.ground import BenchError, Ground
from tests.bench.results import Measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import psycopg

CASES = 500_000
FEW = 50_000

RULES = PROJECT_ROOT / "include" / "fatoura" / "cutoff" / "rules.yaml"

_TEMPLATE, _DATABASE = "accounts", "accounts_now"
_BARE_TIMES = 3
_CLAIMS = 20
_STEPS = ("decide", "plan", "claim", "load", "apply", "hand_over")
_FEED_SHARE = 0.15
"""Payments of one delivery, beside the cases."""

_RATIO = 10
_MEMORY = 500


def measure(ground: Ground, cases: int, runs: int) -> list[Measure]:
    """Measure `runs` times; return what was found."""
    ground.make_seeded(_TEMPLATE, accounts.SEED, n=cases, warned=accounts.WARNED, now=accounts.NOW)
    rules = _rules(ground.folder / "rules.yaml")
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(1, runs + 1):
        once = _once(ground, cases, rules)
        for name, value in once.items():
            found[name].append(value)
        ground.say(
            f"cut-off, run {number} of {runs}: bare SELECT {once['bare']:.2f} s, "
            + ", ".join(f"{name} {once[name]:.1f}" for name in _STEPS)
        )
    return _measures(found, cases)


def _rules(file: Path) -> Path:
    """Write the rules as they are, but for the most warnings of a day."""
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for version in rules["versions"]:
        version["most_warnings_a_day"] = 10_000_000
    file.write_text(yaml.safe_dump(rules), encoding="utf-8")
    return file


# --- Measuring ---------------------------------------------------------------------------------------


def _once(ground: Ground, cases: int, rules: Path) -> dict[str, float]:
    ground.make_database(_DATABASE, _TEMPLATE)
    # One clock for all steps, that goes on from one to the next.
    ahead = datetime.fromisoformat(accounts.NOW).timestamp() - time.time()
    environment = ground.environment(_DATABASE, now=f"{ahead:+.0f}", cutoff_rules=rules)
    found: dict[str, float] = {}

    def step(name: str, *arguments: object, what: str = "") -> dict[str, Any]:
        ended = ground.run(["tests.bench.cutoff_step", name, *arguments], environment)
        found[what or name] = ended.answer["seconds"]
        found[f"{name} cpu"] = ended.answer["cpu"] + ended.server_cpu
        for kind, value in (("peak", ended.answer["peak"]), ("session", ended.backend)):
            found[kind] = max(found.get(kind, 0), value)
        outcome: dict[str, Any] = ended.answer["outcome"]
        return outcome

    try:
        with ground.connect(_DATABASE) as db:
            bare = _bare(db, cases)
            cycle = _insist_on_all(step("decide"), cases)
            bare += _bare(db, cases)
            found["bare"], found["bare cpu"] = map(median, zip(*bare, strict=True))
            found["planned"] = planned = step("plan", cycle)["planned"]
            claims = min(_CLAIMS, planned // (3 * CLAIMED_AT_ONCE))
            unchecked = step("claim", cycle, claims, "unchecked", what="unchecked")
            accounts.pay_some_of_the_planned(db)
            claimed = step("claim", cycle, claims, "checked")
            for what, outcome in (("unchecked", unchecked), ("claim", claimed)):
                found[f"{what} rate"] = sum(outcome.values()) / found[what]
            folder = ground.folder / "feed"
            found["fed"] = accounts.write_feed(db, folder, int(cases * _FEED_SHARE))
            step("load", folder)
            step("apply")
            found["handed over"] = step("hand_over")["lines"]
    finally:
        shutil.rmtree(ground.folder / "feed", ignore_errors=True)
        ground.drop_database(_DATABASE)
    return found


def _bare(db: psycopg.Connection[Any], cases: int) -> list[tuple[float, float]]:
    """Return the seconds of some bare SELECTs, each to its end, and those of processors."""
    session = psutil.Process(db.info.backend_pid)
    seconds = []
    for _ in range(_BARE_TIMES):
        cpu, began = sum(session.cpu_times()[:2]), time.monotonic()
        row = db.execute(accounts.BARE).fetchone()
        seconds.append((time.monotonic() - began, sum(session.cpu_times()[:2]) - cpu))
        if row is None or row[0] != cases:
            raise BenchError(f"the bare SELECT has counted {row}, where {cases:,} bills are due")
    return seconds


def _insist_on_all(decided: dict[str, Any], cases: int) -> str:
    """Return the cycle of what was decided; insist that all was."""
    cycle: str = decided["cycle"]
    count = sum(number for verdict, number in decided.items() if verdict.startswith("cutoff_warning: "))
    if count != cases or decided["waiting"]:
        raise BenchError(f"{count:,} of {cases:,} due cases were decided: {decided}")
    return cycle


# --- Telling -----------------------------------------------------------------------------------------


def _measures(found: Mapping[str, Sequence[float]], cases: int) -> list[Measure]:
    """Tell what was found in each run, by its name."""
    part = f"Cut-off warnings: {cases:,} due cases"

    def tell(what: str, name: str, unit: str = "s", beside: str = "", limit: float | None = None) -> Measure:
        values = found[name]
        ratios = [value / one for value, one in zip(values, found[beside], strict=True)] if beside else ()
        return Measure(part, what, values, unit, ratios, limit if cases >= CASES else None)

    planned, fed, listed = (f"{median(found[name]):,.0f}" for name in ("planned", "fed", "handed over"))
    return [
        tell("bare SELECT of what each bill has left", "bare"),
        tell("deciding them", "decide", beside="bare", limit=_RATIO),
        tell("… in processor time, the SELECT as well", "decide cpu", beside="bare cpu"),
        tell(f"planning {planned} messages", "plan"),
        tell(f"claims of {CLAIMED_AT_ONCE} messages, unchecked", "unchecked rate", "/s"),
        tell("… each judged once more", "claim rate", "/s", beside="unchecked rate"),
        tell(f"loading a feed of {fed} payments", "load"),
        tell("… and taking it up", "apply"),
        tell(f"handing {listed} of {accounts.WARNED:,} over", "hand_over"),
        tell("memory of a step, Airflow included", "peak", "MB", limit=_MEMORY),
        tell("memory of a PostgreSQL session, by itself", "session", "MB"),
    ]
