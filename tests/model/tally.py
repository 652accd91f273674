"""What a run of lives came to: what was done, what was met on the way, how often each rule was checked.

A rule that had nothing to check proves nothing: `missing` tells what a run of some size has to have met.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from rich.table import Table

# What must have happened, and been judged, in ten thousand steps; each at least so often.
REACHED = {
    "paths": {
        "warned → warned_again → handed_over": 6,
        "handed_over → paid": 1,
        "warned → paid": 3,
        "warned_again → paid": 1,
        "scheduled → not_warned": 10,
        "warned → not_warned": 1,
        "reversal → scheduled → warned": 2,
        "left_out_no_more → scheduled": 3,
        "corrected → scheduled": 3,
    },
    "reasons": {
        "paid: paid": 20,
        "excluded: under_minimum": 5,
        "excluded: corrected": 3,
        "excluded: payment_pending": 2,
        "excluded: paid_by_later_bill": 2,
        "excluded: credit_balance": 2,
        "excluded: dispute": 1,
        "excluded: payment_plan": 1,
        "excluded: direct_debit": 1,
        "excluded: protected": 1,
        "excluded: estimate_review": 1,
        "excluded: cancelled": 1,
        "excluded: contract_ended": 1,
        "not_warned: undelivered": 3,
        "not_warned: no_final_receipt": 1,
        "not_warned: no_consent": 1,
        "not_warned: no_phone": 1,
        "not_warned: number_changed": 1,
    },
    "met": {
        "killed on its way": 50,
        "due: left for another day": 1,
        "decision: claim leave_out": 1,
        "decision: feed withdraw": 3,
        "decision: feed reopen": 5,
        "left: due_reminder": 20,
        "left: cutoff_warning": 50,
        "left: cutoff_second_warning": 20,
        "left: payment_received": 5,
        "listed: letters": 10,
        "listed: call_back": 2,
    },
}


@dataclass
class Tally:
    """Counts. `actions` are drawn, `steps` are what came of them, each thing that somebody did."""

    actions: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    lives: int = 0

    def add(self, other: Tally) -> None:
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        self.lives += other.lives

    def as_json(self) -> dict[str, Any]:
        return {"lives": self.lives, **{name: dict(getattr(self, name)) for name in _COUNTERS}}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Tally:
        return cls(lives=document["lives"], **{name: Counter(document[name]) for name in _COUNTERS})

    def missing(self) -> list[str]:
        """Tell what ten thousand steps should have met, and these have not."""
        share = min(self.steps.total() / 10_000, 1.0)
        found = []
        for name, wanted in REACHED.items():
            counted: Counter[str] = getattr(self, name)
            for what, least in wanted.items():
                times = (
                    sum(n for path, n in counted.items() if what in path)
                    if name == "paths"
                    else counted[what]
                )
                if times < int(least * share):
                    found.append(f"{what}: {times} times, at least {least} in 10,000 steps")
        return found

    def tables(self) -> list[Table]:
        return [
            _table("Steps", self.steps),
            _table("Checks of each rule", self.checked),
            _table("Met on the way", self.met),
            _table("Reasons", self.reasons),
            _table("Ways that cases went", self.paths),
        ]


_COUNTERS = [one.name for one in fields(Tally) if one.name != "lives"]


def _table(title: str, counted: Counter[str]) -> Table:
    drawn = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    drawn.add_column("what")
    drawn.add_column("times", justify="right")
    for what, times in sorted(counted.items(), key=lambda one: (-one[1], one[0])):
        drawn.add_row(what, f"{times:,}")
    drawn.add_row("[bold]all[/bold]", f"[bold]{counted.total():,}[/bold]")
    return drawn
