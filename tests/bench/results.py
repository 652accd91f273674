"""What was measured: values of several runs, beside what they have to reach; as a table or as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIGNS = {"x": "×"}


@dataclass(frozen=True)
class Measure:
    """One thing that was measured.

    :param runs: its value in each run.
    :param unit: of the values: `s`, `MB`, `/s`, or `x` for a ratio.
    :param ratios: to the bare thing of the same run, if it has one.
    :param limit: the most that the median may be: of the ratios if there are any, else of the values.
    :param least: the least that it may be, in the same way.
    :param aim: what it should rather be.
    :param left_out: why it was not measured, and has no values.
    """

    part: str
    what: str
    runs: Sequence[float]
    unit: str = "s"
    ratios: Sequence[float] = ()
    limit: float | None = None
    least: float | None = None
    aim: float | None = None
    left_out: str = ""

    @property
    def median(self) -> float | None:
        """The median of the values, if there are any."""
        return median(self.runs) if self.runs else None

    @property
    def ratio(self) -> float | None:
        """The median of the ratios."""
        return median(self.ratios) if self.ratios else None

    @property
    def met(self) -> bool | None:
        """Whether it reaches what it has to; nothing when there is nothing to reach."""
        value = self.median if self.ratio is None else self.ratio
        if value is None:
            return None
        if self.limit is not None:
            return value <= self.limit
        return None if self.least is None else value >= self.least

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "part": self.part,
            "what": self.what,
            "unit": "ratio" if self.unit == "x" else self.unit,
            "runs": [round(value, 4) for value in self.runs],
            "median": None if self.median is None else round(self.median, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "limit": self.limit,
            "least": self.least,
            "aim": self.aim,
            "met": self.met,
            "left_out": self.left_out or None,
        }


def table(measures: Sequence[Measure]) -> Table:
    """Return the table that people read."""
    drawn = Table(show_edge=False, pad_edge=False)
    drawn.add_column("what")
    for name in ("median", "runs", "ratio", "to reach"):
        drawn.add_column(name, justify="right")
    drawn.add_column()
    part = None
    for measure in measures:
        if measure.part != part:
            part = measure.part
            drawn.add_section()
            drawn.add_row(f"[bold]{part}[/bold]")
        drawn.add_row(
            f"  {measure.what}",
            "" if measure.median is None else _said(measure.median, measure.unit),
            "" if measure.median is None else _spread(measure),
            "" if measure.ratio is None else _said(measure.ratio, "x"),
            _to_reach(measure),
            f"left out: {measure.left_out}"
            if measure.left_out
            else {None: "", True: "[green]met[/green]", False: "[red]missed[/red]"}[measure.met],
        )
    return drawn


def _said(value: float, unit: str) -> str:
    digits = {"s": 2, "x": 1 if value >= 1 else 2}.get(unit, 0)
    return f"{value:,.{digits}f} {_SIGNS.get(unit, unit)}".rstrip()


def _spread(measure: Measure) -> str:
    low, high = (_said(value, measure.unit).split()[0] for value in (min(measure.runs), max(measure.runs)))
    return "" if low == high else f"{low}–{high}"


def _to_reach(measure: Measure) -> str:
    if measure.limit is None and measure.least is None:
        return ""
    bound = f"≥ {measure.least:g}" if measure.limit is None else f"≤ {measure.limit:g}"
    sign = "×" if measure.ratios else _SIGNS.get(measure.unit, measure.unit)
    aim = "" if measure.aim is None else f" (aim {measure.aim:g} {sign})"
    return f"{bound} {sign}{aim}"
