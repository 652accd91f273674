"""A night in which much is to be erased, beside bare UPDATEs that empty the same columns; and the next."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

from tests.bench.ground import BenchError, Ground
from tests.bench.results import Measure
from tests.notices import TEXT

MESSAGES = 1_000_000
FEW = 50_000

BARE = (
    "UPDATE subscription SET phone = NULL WHERE state = 'ended'",
    "UPDATE notice SET text = NULL",
    "UPDATE notice SET phone = NULL",
    "UPDATE receipt SET raw = '{}'",
)
"""The same columns emptied, each in one statement and one transaction."""

_TEMPLATE, _DATABASE, _BARE = "retention", "retention_now", "retention_bare"
_SEED = Path(__file__).with_name("retention.sql")
_TWO_YEARS_LATER = "2028-05-20T04:00:00+01:00"
_MEMORY = 500


def measure(ground: Ground, messages: int, runs: int) -> list[Measure]:
    """Measure `runs` times; return what was found."""
    ground.make_seeded(_TEMPLATE, _SEED, n=messages, text=TEXT)
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(1, runs + 1):
        bare = _bare(ground)
        for name, value in {**_nights(ground, messages), "bare": bare}.items():
            found[name].append(value)
        ground.say(
            f"retention, run {number} of {runs}: bare UPDATEs {bare:.1f} s, "
            f"first night {found['first'][-1]:.1f} s, next night {found['next'][-1]:.2f} s"
        )
    ratios = [one / other for one, other in zip(found["first"], found["bare"], strict=True)]
    part = f"Retention: {messages:,} messages, {2 * messages:,} receipts"
    return [
        Measure(part, "bare UPDATEs that empty the same columns", found["bare"]),
        Measure(part, "a night in which all of them are due", found["first"], ratios=ratios),
        Measure(part, "the next night, in which nothing is", found["next"]),
        Measure(part, "memory of the task, Airflow included", found["peak"], "MB", limit=_MEMORY),
        Measure(part, "memory of a PostgreSQL session, by itself", found["session"], "MB"),
    ]


def _bare(ground: Ground) -> float:
    ground.make_database(_BARE, _TEMPLATE)
    try:
        with ground.connect(_BARE) as db:
            began = time.monotonic()
            for statement in BARE:
                db.execute(statement)
            return time.monotonic() - began
    finally:
        ground.drop_database(_BARE)


def _nights(ground: Ground, messages: int) -> dict[str, float]:
    ground.make_database(_DATABASE, _TEMPLATE)
    environment = ground.environment(_DATABASE, now=_TWO_YEARS_LATER)
    try:
        first = ground.run(["tests.bench.retention_step"], environment)
        due = {
            "subscription.phone": messages // 10,
            "notice.text": messages,
            "notice.phone": messages,
            "receipt.raw": 2 * messages,
        }
        if first.answer["erased"] != due:
            raise BenchError(f"{first.answer['erased']} was erased, and not {due}")
        following = ground.run(["tests.bench.retention_step"], environment)
        if following.answer["erased"]:
            raise BenchError(f"the next night erased {following.answer['erased']}")
    finally:
        ground.drop_database(_DATABASE)
    return {
        "first": first.answer["seconds"],
        "next": following.answer["seconds"],
        "peak": first.answer["peak"],
        "session": first.backend,
    }
