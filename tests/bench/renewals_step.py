"""A step of the yearly renewals in a process of its own, as a task of Airflow runs it: ``NAME [ARGUMENT …]``.

Airflow and the DAG's file are imported first. Prints what the step returned and what it took, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

from tests.bench.task import become_a_task, peak

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection


def announce() -> dict[str, Any]:
    """Announce the years that begin soon."""
    from fatoura.fees import renewing

    return renewing.announce(_cycle(), run_id="bench")


def charge() -> dict[str, Any]:
    """Charge them."""
    from fatoura.fees import renewing

    return renewing.charge(_cycle(), run_id="bench")


def file() -> dict[str, Any]:
    """Tell the billing system."""
    from fatoura.fees import renewing

    return renewing.write_file(_cycle(), run_id="bench")


def load(folder: str) -> dict[str, Any]:
    """Load its answers, and tell how long it took to book them: what renews subscriptions."""
    import psutil

    from fatoura.database import driver
    from fatoura.fees import booking, results

    taken: dict[str, float] = {}

    def timed(connection: Connection, *arguments: Any) -> Any:
        session = psutil.Process(driver(connection).info.backend_pid)
        cpu, began = sum(session.cpu_times()[:2]), time.monotonic()
        booked = booking.book(connection, *arguments)
        taken["booking"] = time.monotonic() - began
        taken["booking_cpu"] = sum(session.cpu_times()[:2]) - cpu
        return booked

    with mock.patch.object(results, "book", timed):
        loaded = results.load_results_feed(folder, run_id="bench")
    return loaded.as_dict() | taken


def look() -> dict[str, Any]:
    """Look for what has happened, and find nothing."""
    from fatoura.fees.keeping import keep_up

    return {"kept": keep_up(run_id="bench").counts}


def _cycle() -> str:
    from fatoura.fees import renewing

    return renewing.begin_run(run_id="bench")[0]


_STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    step.__name__: step for step in (announce, charge, file, load, look)
}


def main(name: str, *arguments: str) -> None:
    """Run one step."""
    become_a_task("annual_fee_renewals")
    # What a task imports when it runs is a part of its work.
    cpu, began = time.process_time(), time.monotonic()
    outcome = _STEPS[name](*arguments)
    took = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    json.dump({"outcome": outcome, **took, "peak": peak()}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
