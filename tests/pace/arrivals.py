"""What a sink noted, and what it tells: the busiest second, the pace, who had which share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Arrival:
    """One message as it reached the gateway.

    :param at: seconds since the epoch, by the kernel.
    :param validity: minutes, as it was handed over.
    """

    at: float
    notice: str
    attempt: int
    segments: int
    validity: int


def read_arrivals(file: Path) -> list[Arrival]:
    """Return what a sink wrote, in the order of arrival."""
    arrivals = [Arrival(**json.loads(line)) for line in file.read_text().splitlines()]
    return sorted(arrivals, key=lambda one: one.at)


def busiest_second(arrivals: Sequence[Arrival], seconds: float = 1.0) -> int:
    """Return the most segments that came in any second, wherever it begins."""
    most = held = first = 0
    for arrival in arrivals:
        held += arrival.segments
        while arrivals[first].at <= arrival.at - seconds:
            held -= arrivals[first].segments
            first += 1
        most = max(most, held)
    return most


def per_second(arrivals: Sequence[Arrival]) -> float:
    """Return segments a second between the first and the last arrival."""
    if len(arrivals) < 2:
        return 0.0
    return sum(one.segments for one in arrivals[1:]) / (arrivals[-1].at - arrivals[0].at)


def between(arrivals: Sequence[Arrival], start: float, end: float) -> list[Arrival]:
    """Return those that came from `start` up to, not including, `end`."""
    return [one for one in arrivals if start <= one.at < end]


def shares(
    arrivals: Sequence[Arrival], of: Callable[[Arrival], str], *, seconds: float, step: float = 1.0
) -> list[dict[str, float]]:
    """Return each group's share of the segments in stretches of `seconds`, one beginning every `step`."""
    found = []
    start = arrivals[0].at
    while start + seconds <= arrivals[-1].at:
        counted: dict[str, float] = {}
        for one in between(arrivals, start, start + seconds):
            counted[of(one)] = counted.get(of(one), 0) + one.segments
        total = sum(counted.values())
        found.append({name: count / total for name, count in counted.items()})
        start += step
    return found
