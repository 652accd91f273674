"""Random lives of fees, judged after each step: charges, the journal, files, and what customers were told.

FEE_LIVES=500 .venv/bin/pytest tests/database/test_fees_model.py -k lives    # others each time
FEE_LIVES=60 .venv/bin/pytest tests/database/test_fees_model.py -k fault     # and whether the judge sees
"""

from __future__ import annotations

import logging
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy.exc import DBAPIError

from fatoura.fees import booking, books, charging, closing, filing, lapsing, waiving, years
from fatoura.fees.balance import BooksDiffer
from fatoura.fees.filing import outbox
from tests.fee_lives import FeeLives, empty

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger(__name__)
LIVES = int(os.environ.get("FEE_LIVES", "0"))


REACHED = {"accepted", "paid", "withdrawn", "finding wrong_amount", "subscription lapsed"}
RARE = {
    *("rejected", "refused", "refunded", "taken_back", "waived", "killed", "subscription ended"),
    *("finding contradicts", "finding waits_for_payment"),
}
"""What many lives have to meet beside what few do."""


def live(lives: int, *phases: Phase) -> None:
    """Let lives be lived; without `FEE_LIVES` the same ones each time."""

    class Lives(FeeLives):
        def teardown(self) -> None:
            super().teardown()
            shutil.rmtree(outbox(), ignore_errors=True)

    empty()
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=lives,
            stateful_step_count=40,
            deadline=None,
            derandomize=not LIVES,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=phases or (Phase.generate, Phase.shrink),
            print_blob=True,
        ),
    )


@pytest.mark.timeout(300 + 60 * LIVES)
def test_random_lives_follow_the_rules_and_their_books_balance(database):
    FeeLives.reached.clear()
    live(LIVES or 5)
    told = ", ".join(f"{what} {times}" for what, times in sorted(FeeLives.reached.items()))
    log.info("reached: %s", told)
    missing = REACHED.union(RARE if LIVES >= 50 else ()) - set(FeeLives.reached)
    assert 0 < LIVES < 50 or not missing, f"not reached: {missing}, but {told}"


FAULTS: dict[str, tuple[ModuleType, str, str, str]] = {
    "a charge is booked twice": (
        charging,
        "_CHARGE",
        "FROM charged ORDER BY",
        "FROM charged, (VALUES (1), (2)) twice ORDER BY",
    ),
    "nobody waits for the announcement": (
        charging,
        "_CHARGE",
        "n.state NOT IN ('planned', 'cancelled')",
        "true",
    ),
    "what is paid too much is nobody's": (
        booking,
        "_MOVE",
        "(2, 'payable', excess)",
        "(2, 'receivable', excess)",
    ),
    "what is taken back is not owed again": (
        booking,
        "_GIVE_BACK",
        "c.owed_millimes + a.back_taken",
        "c.owed_millimes",
    ),
    "any amount will do": (
        booking,
        "_ANSWERS",
        "BETWEEN c.told_millimes - coalesce(credited.millimes, 0)",
        "BETWEEN 0",
    ),
    "what was rejected is credited to nobody": (booking, "_CREDIT", "missing.millimes > 0", "false"),
    "who comes back by paying stays lapsed": (
        booking,
        "_MOVE",
        "THEN CAST(:day AS date) ELSE c.period_start",
        "THEN c.period_start ELSE c.period_start",
    ),
    "a waived charge stays owed in the books": (
        books,
        "_FORGO",
        "WHERE line.millimes > 0",
        "WHERE line.number = 1 AND line.millimes > 0",
    ),
    "a credit is not told": (books, "_TAKE_OFF", "WHERE file_id IS NOT NULL AND", "WHERE false AND"),
    "who has left still owes": (closing, "_UNPAID", "WHERE c.state IN", "WHERE false AND c.state IN"),
    "months are given back without the rest of a millime": (
        closing,
        "_UNUSED",
        "unused.months + 11)",
        "unused.months)",
    ),
    "a file's total counts rows": (filing, "_TELL", "coalesce(sum(told_millimes), 0)", "count(*)"),
    "the grace is over a day early": (lapsing, "_LAPSE", "c.grace_until <", "c.grace_until <="),
    "nobody waits for answers that do not count": (lapsing, "_LAPSE", "r.finding IS NOT NULL", "false"),
    "exemptions hold for ever": (waiving, "_FREE_NOW", "w.valid_until >= c.period_start", "true"),
    "a rejected year is asked for again": (
        years,
        "_GATHER",
        "greatest(s.paid_until, held.until) + 1",
        "s.paid_until + 1",
    ),
    "years are counted from the last one": (years, "_GATHER", "THEN began_on ELSE", "THEN period_start ELSE"),
}
"""What is put into the product on purpose, one at a time: where, and what stands there instead of what."""


@pytest.mark.timeout(300 + 60 * LIVES)
@pytest.mark.parametrize("fault", list(FAULTS) if LIVES else list(FAULTS)[:1])
def test_a_fault_is_found(database, monkeypatch, fault):
    module, name, right, wrong = FAULTS[fault]
    statement = getattr(module, name)
    assert right in statement
    monkeypatch.setattr(module, name, statement.replace(right, wrong))
    with pytest.raises((AssertionError, DBAPIError, BooksDiffer)):
        live(LIVES or 5, Phase.generate)
