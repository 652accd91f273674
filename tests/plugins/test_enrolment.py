"""Steps of enrolment as Airflow runs them: skipped without work, failed once for what was refused."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from operations.enrolment import BatchesRefused, complain, conclude, judge, take_what_landed
from tests.coupons import ANNA, coupon, write_coupons, write_customers


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


def test_a_batch_is_taken_and_judged_and_one_that_is_refused_is_told_once():
    write_customers("c1", {ANNA: "open"})
    write_coupons("b1", [coupon("C1"), coupon("C2", phone="1")])
    write_coupons("b2", [coupon("C3")], batch="b3")
    taken = take_what_landed(run_id="run")
    assert (taken["loaded"], taken["rows"], taken["set_aside"]) == (2, 3, 1)
    assert judge(run_id="run") == {"enrolled": 1}
    assert list(taken["wrong"]) == ["coupons/b2"]
    with pytest.raises(BatchesRefused, match=r"coupons/b2: .*batch is 'b3'"):
        complain(taken["wrong"])
    complain(taken["wrong"])
    assert conclude(run_id="run")["corrections"] == 1


def test_a_look_with_nothing_to_do_is_skipped():
    conclude(run_id="run")  # the lists, empty as they are
    with pytest.raises(AirflowSkipException):
        take_what_landed(run_id="run")
