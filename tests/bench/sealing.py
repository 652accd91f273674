"""What sealed numbers cost: taking subscribers in, matching, planning and claiming, with a key and without.

Each step a process of its own, once on numbers as they are and once on the same numbers sealed; the ratio is
between the two. Sealing an installation that runs is measured by itself.
"""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from fatoura.phones_at_rest import make_key
from tests.bench.cutoff_step import CLAIMED_AT_ONCE
from tests.bench.ground import BenchError, Ended, Ground
from tests.bench.results import Measure

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 200_000
FEW = 50_000

_PART = "Sealed numbers"
_CYCLE = "2026-05-T1"
_OPEN, _SEALED, _NOW = "numbers_open", "numbers_sealed", "numbers_now"
_LATER = "2026-05-20T14:00:00+01:00"
_CLAIMS = 40
_LIMIT = 1.25
"""Planning and claiming may take so much longer: the number is an eighth of a notice's row."""


def measure(ground: Ground, rows: int, runs: int) -> list[Measure]:
    """Measure `runs` times; return what was found."""
    key = ground.folder / "phone_keys"
    key.write_text(make_key())
    sealing = _prepare(ground, rows, key)
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(1, runs + 1):
        for name, template, settings in (("open", _OPEN, {}), ("sealed", _SEALED, {"phone_key_file": key})):
            for step, value in _once(ground, rows, template, settings).items():
                found[f"{step} {name}"].append(value)
        ground.say(
            f"sealing, run {number} of {runs}: "
            + ", ".join(
                f"{step} {found[f'{step} open'][-1]:.2f} / {found[f'{step} sealed'][-1]:.2f}"
                for step in ("import", "match", "plan", "claim")
            )
        )

    def beside(step: str, what: str, limit: float | None = None, unit: str = "s") -> Measure:
        plain, sealed = found[f"{step} open"], found[f"{step} sealed"]
        ratios = [one / other for one, other in zip(sealed, plain, strict=True)]
        return Measure(_PART, what, sealed, unit, ratios, limit if rows >= ROWS else None)

    def both(name: str, what: str, limit: float | None = None) -> list[Measure]:
        return [
            beside(name, what),
            beside(f"{name} cpu", "… in processor time, the database's included", limit),
        ]

    return [
        Measure(_PART, f"sealing {rows:,} subscribers of an installation that runs", [sealing]),
        *both("import", "taking them in again, to the same as they are"),
        *both("match", f"stage match of {rows:,} invoices"),
        *both("plan", "stage plan", _LIMIT),
        *both("claim", f"{_CLAIMS} claims of {CLAIMED_AT_ONCE}", _LIMIT),
        beside("size", "the planned notices on disk, with their indexes", unit="MB"),
    ]


def _prepare(ground: Ground, rows: int, key: Path) -> float:
    """Make a database up to the validated extract, and a copy that is sealed; return what sealing took."""
    began = time.monotonic()
    ground.make_database(_OPEN)
    environment = ground.environment(_OPEN, landing=_landing(ground))
    sample = _sample(ground)
    size = ["--invoices", rows, "--subscribed", 1]
    ground.run(["fatoura", "sample", sample, "--cycle", _CYCLE, *size, "--land"], environment)
    ground.run(["fatoura", "db", "upgrade"], environment)
    ground.run(["fatoura", "subscribers", "import", sample / "subscribers.csv"], environment)
    for stage in ("extract", "validate"):
        ground.run(["tests.bench.stage", stage, _CYCLE], environment)
    with ground.connect(_OPEN) as db:
        db.execute("VACUUM (ANALYZE) subscription")
    ground.make_database(_SEALED, _OPEN)
    ended = ground.run(
        ["fatoura", "phones", "seal"],
        ground.environment(_SEALED, landing=_landing(ground), phone_key_file=key),
    )
    with ground.connect(_SEALED) as db:
        db.execute("VACUUM (ANALYZE) subscription")
        left = db.execute("SELECT count(*) FROM subscription WHERE phone NOT LIKE 'sealed:%'").fetchone()
    if left != (0,):
        raise BenchError(f"{left} numbers were not sealed")
    ground.say(f"prepared {rows:,} subscribers and their invoices in {time.monotonic() - began:.0f} s")
    return ended.seconds


def _once(ground: Ground, rows: int, template: str, settings: dict[str, Path]) -> dict[str, float]:
    """Return the seconds of each step, on the wall and of processors, and megabytes of notices."""
    ground.make_database(_NOW, template)
    took: dict[str, float] = {}
    try:
        environment = ground.environment(_NOW, landing=_landing(ground), **settings)
        took |= _taken_in(ground, environment)
        for stage in ("match", "plan"):
            took |= _took(stage, ground.run(["tests.bench.stage", stage, _CYCLE], environment))
        with ground.connect(_NOW) as db:
            db.execute("VACUUM (ANALYZE) notice")
            size = db.execute("SELECT pg_total_relation_size('notice') / 1e6").fetchone()
        took["size"] = float(size[0]) if size else 0.0
        # Each process begins at the same instant: later than any that has planned.
        environment |= {"FATOURA_NOW": _LATER}
        ended = ground.run(["tests.bench.cutoff_step", "claim", _CYCLE, _CLAIMS, ""], environment)
        took |= _took("claim", ended)
    finally:
        ground.drop_database(_NOW)
    if ended.answer["outcome"]["claimed"] != min(_CLAIMS * CLAIMED_AT_ONCE, rows):
        raise BenchError(f"{ended.answer['outcome']} were claimed")
    return took


def _took(step: str, ended: Ended) -> dict[str, float]:
    return {step: ended.answer["seconds"], f"{step} cpu": ended.answer["cpu"] + ended.server_cpu}


def _taken_in(ground: Ground, environment: dict[str, str]) -> dict[str, float]:
    before = _children()
    ended = ground.run(
        ["fatoura", "subscribers", "import", _sample(ground) / "subscribers.csv", "--json"], environment
    )
    if ended.answer["unchanged"] != ended.answer["rows"]:
        raise BenchError("subscribers were taken for changed that are the same")
    return {"import": ended.seconds, "import cpu": _children() - before + ended.server_cpu}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _sample(ground: Ground) -> Path:
    return ground.folder / "sample-numbers"


def _landing(ground: Ground) -> Path:
    return ground.folder / "landing-numbers"
