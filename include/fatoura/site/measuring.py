"""What the site counts, as metrics: pages, what was asked for and proven, how soon codes left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.metrics import names
from fatoura.metrics.statsd import Point

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable


def answered_points(page: str, status: int, seconds: float) -> Iterable[Point]:
    """Give the points of an answer."""
    yield Point(names.SITE_ANSWERS, 1, (page, f"{status // 100}xx"))
    yield Point(names.SITE_SECONDS, seconds, (page,))


def asked_points(action: str, result: str) -> Iterable[Point]:
    """Give the point of something that was asked for: `asked`, or the limit that forbade it."""
    yield Point(names.SITE_ASKED, 1, (action, result))


def judged_points(counts: Counter[str]) -> Iterable[Point]:
    """Give the points of what was judged."""
    for told, count in counts.items():
        action, _, verdict = told.partition(" ")
        yield Point(names.SITE_JUDGED, count, (action, verdict or "due"))


def tried_points(action: str, result: str) -> Iterable[Point]:
    """Give the point of a code that was tried: `right`, `wrong`, `locked`, `expired`."""
    yield Point(names.SITE_TRIED, 1, (action, result))


def left_points(seconds: list[float]) -> Iterable[Point]:
    """Give the point of codes that a provider has taken, by how long whoever asked had waited."""
    if seconds:
        yield Point(names.SITE_CODES, seconds)
