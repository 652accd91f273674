"""What senders are put through, and what came of it at the gateway. Used by the tests and by the table.

Each scene plans cycles of its own in the database of the settings, and cancels what was not sent.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura.database import connect
from tests.notices import plan_notices, run_sql
from tests.pace.arrivals import between, busiest_second, per_second, shares
from tests.pace.ground import GATEWAY, Ground

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.pace.arrivals import Arrival

_TWO_SEGMENTS = "STEG\nMontant à payer : 85,352 DT\n" + "Un second avis vous sera remis par courrier. " * 4
# Processes of a scene come one after another, as fast as this machine starts them.
_STARTING_SECONDS = 1.5


@dataclass(frozen=True)
class Rate:
    """How a limit was kept.

    :param busiest: segments in the busiest second, wherever it begins.
    :param used: segments a second while there was work.
    """

    limit: float
    busiest: int
    used: float


def kept(arrivals: list[Arrival], limit: float) -> Rate:
    """Tell how a limit was kept."""
    return Rate(limit, busiest_second(arrivals), per_second(arrivals))


def steady(folder: Path, *, processes: int, limit: float, segments: int = 1, seconds: float = 8) -> Rate:
    """Send at one limit."""
    cycle = _plan("steady", int(limit * (seconds + 6) / segments), segments=segments)
    with _ground(folder, limit) as ground:
        ground.send(cycle, *(f"sender-{number}" for number in range(processes)))
        ground.wait_for(cycle, 1)
        time.sleep(_STARTING_SECONDS + seconds)
        arrivals = ground.finish()
    return Rate(
        limit,
        busiest_second(arrivals),
        per_second(between(arrivals, arrivals[0].at + _STARTING_SECONDS, arrivals[-1].at)),
    )


def changed_limit(
    folder: Path, *, limits: tuple[float, ...], processes: int = 2, seconds: float = 3
) -> list[Rate]:
    """Send, and change the limit every few seconds; a change has half a second to be taken up."""
    taken_up = 0.5
    cycle = _plan("changed", int(sum(limits) * (seconds + 2)))
    began = []
    with _ground(folder, limits[0]) as ground:
        ground.send(cycle, *(f"sender-{number}" for number in range(processes)))
        ground.wait_for(cycle, 1)
        time.sleep(_STARTING_SECONDS)
        for limit in limits:
            ground.limit(limit)
            began.append(time.time() + taken_up)
            time.sleep(taken_up + seconds)
        arrivals = ground.finish()
    return [
        kept(between(arrivals, start, start + seconds), limit)
        for start, limit in zip(began, limits, strict=True)
    ]


def coming_and_going(folder: Path, *, limit: float = 200) -> Rate:
    """Send with one process, then four; kill one, end one in order, and let two more come."""
    cycle = _plan("coming", int(limit * 20))
    with _ground(folder, limit) as ground:
        ground.send(cycle, "first")
        ground.wait_for(cycle, 1)
        time.sleep(1)
        ground.send(cycle, "second", "third", "fourth")
        time.sleep(3)
        ground.stop("second", kill=True)
        time.sleep(1)
        ground.stop("first")
        time.sleep(1)
        ground.send(cycle, "fifth", "sixth")
        time.sleep(3)
        arrivals = ground.finish()
    return kept(arrivals, limit)


@dataclass(frozen=True)
class Sharing:
    """How two cycles shared a limit while both had work.

    :param least: the smallest share of the first cycle in any ten seconds.
    :param most: its largest.
    :param rate: of both together.
    """

    least: float
    most: float
    rate: Rate


def two_cycles(
    folder: Path, *, lanes: tuple[int, int], limit: float = 100, seconds: float = 16, late: float = 0
) -> Sharing:
    """Send two cycles at once, with so many processes each.

    :param late: seconds that the second one comes later.
    """
    first = _plan("one", int(limit * (seconds + late + 8)))
    second = _plan("other", int(limit * (seconds + 8)))
    with _ground(folder, limit) as ground:
        ground.send(first, *(f"one-{number}" for number in range(lanes[0])))
        ground.wait_for(first, 1)
        time.sleep(late)
        ground.send(second, *(f"other-{number}" for number in range(lanes[1])))
        both = ground.wait_for(second, 1) + _STARTING_SECONDS
        time.sleep(_STARTING_SECONDS + seconds)
        arrivals, whose = ground.finish(), _cycles()
    together = between(arrivals, both, both + seconds)
    parts = [
        part.get(str(first), 0.0)
        for part in shares(together, lambda one: whose[one.notice], seconds=min(10, seconds - 1))
    ]
    return Sharing(min(parts), max(parts), kept(together, limit))


@dataclass(frozen=True)
class Passing:
    """How urgent messages passed ordinary ones. In seconds from the instant in which they were planned.

    :param first: until the first was at the gateway; of a process that started then, its start is in it.
    :param last: until the last was.
    :param ordinary: of the messages that came between the first and the last, how many were ordinary.
    :param resumed: seconds from the last urgent one to the next ordinary one.
    """

    urgent: int
    first: float
    last: float
    ordinary: int
    resumed: float
    rate: Rate


def urgent_cycle(folder: Path, *, urgent: int = 300, limit: float = 100) -> Passing:
    """Send a large ordinary cycle with two processes; a process with an urgent cycle comes."""
    ordinary = _plan("ordinary", int(limit * 25))
    with _ground(folder, limit) as ground:
        ground.send(ordinary, "ordinary-1", "ordinary-2")
        ground.wait_for(ordinary, 1)
        time.sleep(2)
        planned = time.time()
        hasty = _plan("hasty", urgent, kind="cutoff_warning", priority=10)
        ground.send(hasty, "hasty-1")
        ground.wait_for(hasty, urgent)
        time.sleep(2)
        return _passing(ground.finish(), planned, limit)


def urgent_in_the_same_cycle(folder: Path, *, urgent: int = 100, limit: float = 100) -> Passing:
    """Send a large cycle with two processes; urgent notices of the same cycle are planned meanwhile."""
    cycle = _plan("mixed", int(limit * 20))
    with _ground(folder, limit) as ground:
        ground.send(cycle, "mixed-1", "mixed-2")
        ground.wait_for(cycle, 1)
        time.sleep(2)
        planned = time.time()
        _plan("mixed", urgent, kind="cutoff_warning", priority=10, first=90_000)
        time.sleep(urgent / limit + 3)
        return _passing(ground.finish(), planned, limit)


def _passing(arrivals: list[Arrival], planned: float, limit: float) -> Passing:
    with connect() as connection:
        found = connection.scalars(text("SELECT CAST(id AS text) FROM notice WHERE priority <= 20"))
        hasty = set(found)
    theirs = [one for one in arrivals if one.notice in hasty]
    others = [one for one in arrivals if one.notice not in hasty]
    first, last = theirs[0].at, theirs[-1].at
    return Passing(
        len(theirs),
        first - planned,
        last - planned,
        len(between(others, first, last)),
        min(one.at for one in others if one.at > last) - last,
        kept(arrivals, limit),
    )


def _cycles() -> dict[str, str]:
    with connect() as connection:
        return {
            str(id): str(cycle) for id, cycle in connection.execute(text("SELECT id, cycle_id FROM notice"))
        }


def _plan(name: str, count: int, *, segments: int = 1, **columns: object) -> int:
    if segments == 2:
        columns["text"] = _TWO_SEGMENTS
    cycle = plan_notices(count, cycle=name, **columns)
    if segments == 2:
        run_sql("UPDATE notice SET segments = 2 WHERE cycle_id = :cycle", cycle=cycle)
    return cycle


@contextmanager
def _ground(folder: Path, limit: float) -> Iterator[Ground]:
    run_sql("DELETE FROM gateway")
    run_sql(
        "INSERT INTO gateway (name, adapter, capabilities, position, in_use, weight, segments_per_second) "
        "VALUES (:name, 'kannel', '{}', 0, true, 100, :limit)",
        name=GATEWAY,
        limit=limit,
    )
    try:
        with Ground(folder) as ground:
            yield ground
    finally:
        run_sql("DELETE FROM attempt")
        run_sql("DELETE FROM notice")
