"""A step of cut-off warnings in a process of its own, as a task of Airflow runs it: ``NAME [ARGUMENT …]``.

Airflow and the DAG's file are imported first. Prints what the step returned and what it took, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.bench.task import become_a_task, peak

if TYPE_CHECKING:
    from collections.abc import Callable

CLAIMED_AT_ONCE = 500


def decide() -> dict[str, Any]:
    """Decide the day's messages."""
    from fatoura.cutoff.deciding import decide_day

    decided = decide_day(run_id="bench")
    return {"cycle": decided.cycle, **decided.counts}


def plan(cycle: str) -> dict[str, Any]:
    """Plan those messages."""
    from fatoura.cutoff.planning import plan_day

    return asdict(plan_day(cycle, run_id="bench"))


def claim(cycle: str, claims: str, checked: str) -> dict[str, Any]:
    """Claim messages as a sender does, each claim in a transaction of its own."""
    from fatoura.cycles.registry import cycle_id_of
    from fatoura.database import begin
    from fatoura.sending import claims as sending
    from fatoura.sending.routing import WHOLE

    cycle_id = cycle_id_of(cycle)
    claimed = withdrawn = 0
    for _ in range(int(claims)):
        with begin() as connection:
            batch = sending.claim(
                connection,
                cycle_id,
                gateway="bench",
                stretch=WHOLE,
                in_use=["bench"],
                worker="bench",
                most=CLAIMED_AT_ONCE,
                lease=timedelta(minutes=5),
                doubt_horizon=timedelta(hours=6),
                sender_id="STEG",
                checked=checked == "checked",
            )
        claimed += len(batch)
        withdrawn += batch.withdrawn
    return {"claimed": claimed, "withdrawn": withdrawn}


def load(folder: str) -> dict[str, Any]:
    """Load a feed of payments."""
    from fatoura.payments import load_payments_feed

    return load_payments_feed(folder, run_id="bench").as_dict()


def apply() -> dict[str, Any]:
    """Take up what was loaded."""
    from fatoura.cutoff.feeds import apply_feeds

    return apply_feeds(run_id="bench").counts


def hand_over() -> dict[str, Any]:
    """List who is due for the field teams."""
    from fatoura.cutoff.lists import hand_over as make_list

    made = make_list(run_id="bench")
    return {"lines": made.lines, "closed": made.closed}


_STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    step.__name__: step for step in (decide, plan, claim, load, apply, hand_over)
}


def main(name: str, *arguments: str) -> None:
    """Run one step."""
    become_a_task("cutoff_warnings")
    # What a task imports when it runs is a part of its work.
    cpu, began = time.process_time(), time.monotonic()
    outcome = _STEPS[name](*arguments)
    took = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    json.dump({"outcome": outcome, **took, "peak": peak()}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
