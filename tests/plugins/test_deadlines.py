"""Deadlines survive Airflow's database, and do not keep an unfinished run from being cleared."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unittest.mock import Mock

from fatoura.settings import PROJECT_ROOT
from operations.deadlines import RunBegan
from tests.plugins.component import run_as_component

if TYPE_CHECKING:
    from pathlib import Path

_STORED_AND_READ = """
import json, sys
from airflow.serialization.decoders import decode_deadline_alert
from airflow.serialization.encoders import encode_deadline_alert
sys.path.insert(0, {dags!r})
from billing_cycle import billing_cycle
[alert] = billing_cycle().deadline
stored = json.loads(json.dumps(encode_deadline_alert(alert)))
read = decode_deadline_alert(stored)
print(json.dumps([stored["reference"], read.reference.reference_name, read.interval.total_seconds()]))
"""


def test_the_deadline_of_a_cycle_is_stored_and_read_by_airflow(tmp_path: Path) -> None:
    program = _STORED_AND_READ.format(dags=str(PROJECT_ROOT / "dags"))
    stored, read, seconds = json.loads(run_as_component(program, tmp_path))
    assert stored["__class_path"] == "operations.deadlines.RunBegan"
    # By this name Airflow would compute it anew when a task is cleared, and fail.
    assert stored["reference_type"] != "DagRunQueuedAtDeadline"
    assert (read, seconds) == ("RunBegan", timedelta(hours=26).total_seconds())


def test_a_run_counts_from_when_it_was_queued() -> None:
    queued = datetime(2026, 5, 20, 9, tzinfo=UTC)
    session = Mock()
    session.scalar.return_value = queued
    assert RunBegan()._evaluate_with(session=session, dag_id="billing_cycle", run_id="one") == queued
