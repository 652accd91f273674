"""One stage of a billing cycle in a process of its own, as a task of Airflow runs it: ``NAME KEY``.

Airflow and the DAG's file are imported first, for a task's process holds both; then the stage's function
runs. Prints what the stage returned and what it took, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

from tests.bench.task import become_a_task, peak


def main(name: str, cycle: str) -> None:
    """Run one stage."""
    become_a_task()
    before = peak()
    from fatoura.cycles.keys import ExtractKey

    key = ExtractKey.parse(cycle)
    cpu, began = time.process_time(), time.monotonic()
    # What a task imports when it runs is a part of its work.
    match name:
        case "extract":
            from fatoura.extracts import load_extract

            outcome = load_extract(key, run_id="bench").as_dict()
        case "validate":
            from fatoura.quality import validate_extract

            validated = validate_extract(key, run_id="bench")
            outcome = {"rows": validated.kept}
        case "match":
            from fatoura.subscriptions import match_extract

            outcome = match_extract(key, run_id="bench").buckets
        case "plan":
            from fatoura.notices.planning import plan_bills

            outcome = asdict(plan_bills(key, run_id="bench"))
        case _:
            raise SystemExit(2)
    took = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    json.dump({"outcome": outcome, **took, "peak": peak(), "peak_before": before}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
