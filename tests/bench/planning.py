"""From an extract to its planned notices, each stage a process of its own, beside a bare COPY of the file.

Everything matches: all customers have subscribed, no row is bad. The sample and its subscribers are made
once and not counted. Three sizes: the one asked for, a tenth of it, and a thousand rows, which tell what a
run costs whatever its size.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from tests.bench.ground import BenchError, Ended, Ground
from tests.bench.results import Measure

if TYPE_CHECKING:
    from pathlib import Path

STAGES = ("extract", "validate", "match", "plan")

_PART = "From extract to planned notices"
_CYCLE = "2026-05-T1"
_SMALLEST = 1_000
_BLOCK = 1_048_576

# To reach with at least so many rows: with fewer, what every run costs outweighs what a row costs.
_FOR_ROWS = 1_000_000
_RATIO, _AIM = 25, 15
_GROWTH = 11
_MEMORY = 500

# The contract's columns as a plain table would have them.
_PLAIN = {
    "invoice_number": "text",
    "customer_reference": "text",
    "district": "text",
    "supply": "text",
    "period_start": "date",
    "period_end": "date",
    "amount_due_millimes": "bigint",
    "due_date": "date",
    "issue_date": "date",
    "estimated": "boolean",
}
_TEXT = dict.fromkeys(_PLAIN, "text")


@dataclass(frozen=True)
class _Sample:
    rows: int
    landing: Path
    template: str

    @property
    def file(self) -> Path:
        return self.landing / "billing" / _CYCLE / "invoices.csv"


@dataclass
class _Run:
    """One run over one size: the bare COPY before and after it, and each stage. Seconds."""

    copies: list[float] = field(default_factory=list)
    text_copies: list[float] = field(default_factory=list)
    copy_cpu: list[float] = field(default_factory=list)
    stages: dict[str, Ended] = field(default_factory=dict)

    @property
    def copy(self) -> float:
        return sum(self.copies) / len(self.copies)

    @property
    def text_copy(self) -> float:
        return sum(self.text_copies) / len(self.text_copies)

    @property
    def seconds(self) -> float:
        """Of the stages' own work."""
        return float(sum(ended.answer["seconds"] for ended in self.stages.values()))

    @property
    def whole(self) -> float:
        """With the processes' starts and Airflow's imports."""
        return sum(ended.seconds for ended in self.stages.values())

    @property
    def cpu(self) -> float:
        """Of processors, for the stages' own work, the database's included."""
        return float(sum(ended.answer["cpu"] + ended.server_cpu for ended in self.stages.values()))


def measure(ground: Ground, rows: int, runs: int) -> list[Measure]:
    """Measure `runs` times; return what was found."""
    samples = [_prepared(ground, size) for size in (_SMALLEST, rows // 10, rows)]
    found: dict[int, list[_Run]] = defaultdict(list)
    for number in range(1, runs + 1):
        for sample in samples:
            run = _once(ground, sample)
            found[sample.rows].append(run)
            ground.say(
                f"planning, run {number} of {runs}, {sample.rows:,} rows: COPY {run.copy:.2f} s, "
                + ", ".join(f"{name} {ended.answer['seconds']:.1f}" for name, ended in run.stages.items())
                + f" = {run.seconds:.1f} s"
            )
    smallest, tenth, all_rows = (found[sample.rows] for sample in samples)
    judged = rows >= _FOR_ROWS
    return [
        *_seconds(all_rows, rows, judged=judged),
        *_growth(smallest, tenth, all_rows, judged=judged),
        *_memory(all_rows),
    ]


# --- Preparing ---------------------------------------------------------------------------------------


def _prepared(ground: Ground, rows: int) -> _Sample:
    """Write a sample into a landing folder, and import its subscribers into a database to be copied."""
    began = time.monotonic()
    sample = _Sample(rows, ground.folder / f"landing-{rows}", f"rows_{rows}")
    ground.make_database(sample.template)
    environment = ground.environment(sample.template, landing=sample.landing)
    folder = ground.folder / "sample"
    ground.run(
        ["fatoura", "sample", folder, "--cycle", _CYCLE, "--invoices", rows, "--subscribed", 1, "--land"],
        environment,
    )
    ground.run(["fatoura", "db", "upgrade"], environment)
    ground.run(["fatoura", "subscribers", "import", folder / "subscribers.csv"], environment)
    with ground.connect(sample.template) as db:
        db.execute("VACUUM (ANALYZE) subscription")  # autovacuum would, before the next extract comes
    ground.say(f"prepared {rows:,} invoices and their subscribers in {time.monotonic() - began:.0f} s")
    return sample


# --- Measuring ---------------------------------------------------------------------------------------


def _once(ground: Ground, sample: _Sample) -> _Run:
    run = _Run()
    ground.make_database("bench", sample.template)
    try:
        environment = ground.environment("bench", landing=sample.landing)
        _copy(ground, sample.file, run)
        for name in STAGES:
            run.stages[name] = ground.run(["tests.bench.stage", name, _CYCLE], environment)
        _copy(ground, sample.file, run)
    finally:
        ground.drop_database("bench")
    planned = run.stages["plan"].answer["outcome"]["planned"]
    if planned != sample.rows:
        raise BenchError(f"{planned:,} notices were planned for {sample.rows:,} invoices that all match")
    return run


def _copy(ground: Ground, file: Path, run: _Run) -> None:
    seconds, cpu = _bare_copy(ground, file, _PLAIN)
    run.copies.append(seconds)
    run.copy_cpu.append(cpu)
    run.text_copies.append(_bare_copy(ground, file, _TEXT)[0])


def _bare_copy(ground: Ground, file: Path, columns: dict[str, str]) -> tuple[float, float]:
    """Copy the file into a plain table; return the seconds until it is committed, and of processors."""
    definition = ", ".join(f"{name} {type_}" for name, type_ in columns.items())
    with ground.connect("bench") as db, file.open("rb") as stream:
        db.execute(f"CREATE TABLE bare ({definition})".encode())
        session = psutil.Process(db.info.backend_pid)
        cpu, began = _cpu(session), time.monotonic()
        with db.cursor() as cursor, cursor.copy("COPY bare FROM STDIN (FORMAT csv, HEADER)") as copy:
            while block := stream.read(_BLOCK):
                copy.write(block)
        seconds, cpu = time.monotonic() - began, _cpu(session) - cpu
        db.execute("DROP TABLE bare")
    return seconds, cpu


def _cpu(session: psutil.Process) -> float:
    times = session.cpu_times()
    return time.process_time() + float(times.user + times.system)


# --- Telling -----------------------------------------------------------------------------------------


def _seconds(runs: list[_Run], rows: int, *, judged: bool) -> list[Measure]:
    def beside(bare: list[float], what: str, values: list[float], *, to_reach: bool = False) -> Measure:
        ratios = [value / one for value, one in zip(values, bare, strict=True)]
        limits = (_RATIO, _AIM) if to_reach and judged else (None, None)
        return Measure(_PART, what, values, "s", ratios, *limits)

    copies = [run.copy for run in runs]
    text_copies = [run.text_copy for run in runs]
    copies_cpu = [sum(run.copy_cpu) / len(run.copy_cpu) for run in runs]
    work = [run.seconds for run in runs]
    return [
        Measure(_PART, f"bare COPY of {rows:,} rows", copies),
        *(
            beside(copies, f"stage {name}", [run.stages[name].answer["seconds"] for run in runs])
            for name in STAGES
        ),
        beside(copies, "all stages", work, to_reach=True),
        beside(text_copies, "… beside a COPY into columns of text", work),
        beside(copies, "… with processes' starts and Airflow's imports", [run.whole for run in runs]),
        beside(copies_cpu, "… in processor time, COPY as well", [run.cpu for run in runs]),
    ]


def _growth(smallest: list[_Run], tenth: list[_Run], all_rows: list[_Run], *, judged: bool) -> list[Measure]:
    """Compare the size with its tenth: as it is, and less what a run of a thousand rows takes."""
    plain = [large.seconds / small.seconds for small, large in zip(tenth, all_rows, strict=True)]
    rest = [
        (large.seconds - least.seconds) / max(small.seconds - least.seconds, 0.01)
        for least, small, large in zip(smallest, tenth, all_rows, strict=True)
    ]
    limit = _GROWTH if judged else None
    return [
        Measure(_PART, f"all stages, {_SMALLEST:,} rows", [run.seconds for run in smallest]),
        Measure(_PART, "all stages, a tenth of the rows", [run.seconds for run in tenth]),
        Measure(_PART, "10 times the rows take, times as long", plain, "x", limit=limit),
        Measure(_PART, f"… less what {_SMALLEST:,} rows take", rest, "x"),
    ]


def _memory(runs: list[_Run]) -> list[Measure]:
    found = []
    for name in STAGES:
        peaks = [run.stages[name].answer["peak"] for run in runs]
        found.append(Measure(_PART, f"memory of {name}'s process", peaks, "MB", limit=_MEMORY))
    for what, kind in (("by itself", "backend"), ("with shared buffers", "backend_shared")):
        most = [max(getattr(ended, kind) for ended in run.stages.values()) for run in runs]
        found.append(Measure(_PART, f"memory of a PostgreSQL session, {what}", most, "MB"))
    return found
