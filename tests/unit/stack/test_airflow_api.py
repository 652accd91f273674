"""Airflow's API as the stack uses it: logs become lines, and refusals say which request."""

from __future__ import annotations

from typing import Any

import pytest

from fatoura.stack.airflow_api import AirflowApi, AirflowApiError, _lines
from fatoura.stack.demo import _reason
from fatoura.stack.ports import find_free

FAILED: dict[str, Any] = {
    "event": "Task failed with exception",
    "level": "error",
    "error_detail": [
        {
            "exc_type": "ExtractRefused",
            "exc_value": "invoices.csv, row 7: the amount is no number",
            "frames": [
                {"filename": "/venv/lib/site-packages/airflow/runner.py", "lineno": 1, "name": "run"},
                {"filename": "/project/include/fatoura/extracts/loading.py", "lineno": 2, "name": "load"},
            ],
        }
    ],
}


@pytest.fixture
def silent() -> AirflowApi:
    (port,) = find_free(1)
    return AirflowApi(f"http://127.0.0.1:{port}", "admin", "secret")


def test_an_exception_in_a_log_becomes_its_own_frames_and_its_message() -> None:
    assert _lines(FAILED) == [
        "ERROR Task failed with exception",
        "ERROR   /project/include/fatoura/extracts/loading.py:2 in load",
        "ERROR ExtractRefused: invoices.csv, row 7: the amount is no number",
    ]


def test_a_plain_line_stays_as_it_is() -> None:
    assert _lines({"event": "hello", "level": "info"}) == ["hello"]
    assert _lines("two\nlines") == ["two", "lines"]


def test_the_reason_of_a_failure_is_its_last_error() -> None:
    log = ["starting", *_lines(FAILED), "WARNING told the operators"]
    assert _reason(log) == "ExtractRefused: invoices.csv, row 7: the amount is no number"
    assert _reason(["starting"]) == "its log does not say why"


def test_a_server_that_is_away_has_no_heartbeats(silent: AirflowApi) -> None:
    assert silent.heartbeats() is None


def test_a_request_without_an_answer_is_named_and_shows_no_password(silent: AirflowApi) -> None:
    with pytest.raises(AirflowApiError, match="GET /dags/billing_cycle") as failure:
        silent.knows_dag("billing_cycle")
    assert "secret" not in str(failure.value)
