"""One worker of the command: chunk after chunk of lives on a database of its own, a line of JSON for each.

Called as ``python -m tests.model.worker URL SEED LIVES ACTIONS CHUNK EVERY SHRINK [FAULT]``: chunks are
numbered from CHUNK on, each EVERY-th is run, and each has a seed of its own: any can be run again alone.
"""

from __future__ import annotations

import json
import sys
import traceback

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Lives
from tests.model.mutants import FAULTS
from tests.model.orders import compare_orders
from tests.model.product import Product
from tests.model.tally import Tally


def run_lives(product: Product, tally: Tally, lives: int, actions: int, number: int, *, shrink: bool) -> None:
    """Run so many lives of so many actions each, and compare so many orders of deliveries.

    :param number: of their seed.
    :raises Violation: with the shortest life that was found, in its notes.
    """
    machine: type[Lives] = type("Lives", (Lives,), {"product": product, "tally": tally})
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    run_state_machine_as_test(
        seed(number)(machine),
        settings=settings(
            max_examples=lives,
            stateful_step_count=actions,
            phases=phases,
            database=None,
            deadline=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    compare_orders(machine, max(lives // 4, 1), number, shrink=shrink)


def main(
    url: str, first: int, lives: int, actions: int, chunk: int, every: int, shrink: int, fault: str
) -> None:
    """Run until the reader goes away, or something is found."""
    if fault:
        FAULTS[fault]()
    answers, sys.stdout = sys.stdout, sys.stderr  # Hypothesis prints too
    product = Product(url)
    while True:
        tally, found = Tally(), ""
        try:
            run_lives(product, tally, lives, actions, first + chunk, shrink=bool(shrink))
        except Exception:  # whatever it is, it is told
            found = traceback.format_exc()
        told = {"chunk": chunk, "tally": tally.as_json(), "found": found}
        try:
            answers.write(json.dumps(told) + "\n")
            answers.flush()
        except BrokenPipeError:
            return
        if found:
            return
        chunk += every


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:8]), *(sys.argv[8:] or [""]))
