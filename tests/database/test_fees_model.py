"""Random lives of fees, judged after each step: charges, the journal, files, and what customers were told."""

from __future__ import annotations

import logging
import os
import shutil

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from fatoura.fees.filing import outbox
from tests.fee_lives import FeeLives, empty

LIVES = int(os.environ.get("FEE_LIVES", "6"))


@pytest.mark.timeout(60 * LIVES)
def test_random_lives_follow_the_rules_and_their_books_balance(database):
    class Lives(FeeLives):
        def teardown(self) -> None:
            super().teardown()
            shutil.rmtree(outbox(), ignore_errors=True)

    empty()
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=LIVES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    told = ", ".join(f"{what} {times}" for what, times in sorted(FeeLives.reached.items()))
    assert {"paid", "withdrawn", "subscription lapsed"} <= set(FeeLives.reached), told
    logging.getLogger(__name__).info("reached: %s", told)
