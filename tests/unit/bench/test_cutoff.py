"""What the bench says of cut-off warnings: beside what, what is to be reached, and what it insists on."""

from __future__ import annotations

import pytest

from tests.bench.cutoff import CASES, FEW, _insist_on_all, _measures
from tests.bench.ground import BenchError

FOUND = {
    "bare": [2.0, 4.0, 3.0],
    "bare cpu": [1.0, 2.0, 1.5],
    "decide": [20.0, 44.0, 29.0],
    "decide cpu": [12.0, 22.0, 18.0],
    "planned": [400_000, 400_000, 400_000],
    "plan": [9.0, 9.0, 9.0],
    "unchecked rate": [20_000.0, 20_000.0, 20_000.0],
    "claim rate": [5_000.0, 10_000.0, 8_000.0],
    "fed": [75_000, 75_000, 75_000],
    "load": [5.0, 5.0, 5.0],
    "apply": [2.0, 2.0, 2.0],
    "handed over": [18_000, 18_000, 18_000],
    "hand_over": [1.0, 1.0, 1.0],
    "peak": [200.0, 510.0, 200.0],
    "session": [90.0, 90.0, 90.0],
}


def told(cases: int = CASES, **found: list[float]) -> dict[str, tuple[float | None, bool | None]]:
    measures = _measures({**FOUND, **found}, cases)
    return {one.what: (one.ratio, one.met) for one in measures}


def test_deciding_is_judged_beside_the_bare_select_of_the_same_run():
    assert told()["deciding them"] == (10.0, True)
    assert told(decide=[21.0, 44.0, 30.0])["deciding them"] == (10.5, False)


def test_processor_time_and_checked_claims_are_told_and_not_judged():
    assert told()["… in processor time, the SELECT as well"] == (12.0, None)
    assert told()["… each judged once more"] == (0.4, None)


def test_the_median_of_each_runs_highest_memory_is_judged():
    assert told()["memory of a step, Airflow included"] == (None, True)
    assert told(peak=[501.0, 600.0, 200.0])["memory of a step, Airflow included"] == (None, False)


def test_a_look_at_fewer_cases_judges_nothing():
    assert {met for _, met in told(FEW).values()} == {None}


@pytest.mark.parametrize(
    ("decided", "holds"),
    [
        ({"cutoff_warning: notify": 900, "cutoff_warning: leave_out paid": 100, "waiting": 0}, True),
        ({"cutoff_warning: notify": 900, "due_reminder: notify": 100, "waiting": 0}, False),
        ({"cutoff_warning: notify": 1_000, "waiting": 1}, False),
    ],
)
def test_a_run_that_leaves_due_cases_undecided_is_no_measure(decided, holds):
    if holds:
        assert _insist_on_all({"cycle": "cutoff-2026-06-30", **decided}, 1_000) == "cutoff-2026-06-30"
    else:
        with pytest.raises(BenchError, match="of 1,000 due cases were decided"):
            _insist_on_all({"cycle": "cutoff-2026-06-30", **decided}, 1_000)
