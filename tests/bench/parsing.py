"""How long Airflow takes to parse each file of `dags/`, once Airflow itself is imported.

As its DAG processor does it: one process imports Airflow, and each parse is a fork of it, which knows
nothing yet of the project. Run as a program, it is that process: prints the seconds as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

from fatoura.settings import PROJECT_ROOT
from tests.bench.results import Measure

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.ground import Ground

_DAGS = PROJECT_ROOT / "dags"
_LIMIT_SECONDS = 1.0


def measure(ground: Ground, runs: int) -> list[Measure]:
    """Parse each file `runs` times; return what was found."""
    found = ground.run(["tests.bench.parsing", runs], ground.environment("postgres")).answer
    for name, seconds in found.items():
        ground.say(f"parsing {name}: " + ", ".join(f"{one:.2f} s" for one in seconds))
    return [
        Measure("Parsing a DAG's file", name, seconds, limit=_LIMIT_SECONDS)
        for name, seconds in found.items()
    ]


def main(runs: int) -> None:
    """Parse all files, each in forks of this process."""
    import airflow.dag_processing.processor

    del airflow
    files = sorted(_DAGS.glob("*.py"))
    json.dump({file.name: [_in_a_fork(file) for _ in range(runs)] for file in files}, sys.stdout)


def _in_a_fork(file: Path) -> float:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, str(_parse(file)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        seconds = answer.read()
    os.waitpid(child, 0)
    if not seconds:
        raise SystemExit(f"{file.name} cannot be parsed")
    return float(seconds)


def _parse(file: Path) -> float:
    from airflow.dag_processing.dagbag import BundleDagBag

    began = time.monotonic()
    bag = BundleDagBag(dag_folder=file, bundle_path=_DAGS, bundle_name="dags", load_op_links=False)
    seconds = time.monotonic() - began
    if bag.import_errors or not bag.dags:
        raise SystemExit(f"{file.name}: {bag.import_errors}")
    return seconds


if __name__ == "__main__":
    main(int(sys.argv[1]))
