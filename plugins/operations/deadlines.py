"""From when on a run counts as late. Used by workflows in their deadline alerts; registered by the plugin.

Airflow's own reference to the same instant keeps unfinished runs from being cleared: 3.3.2 answers with an
error 500 (apache/airflow#70368). This one is left alone when a task is cleared, so that a run that is
cleared again and again is still late after its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.deadline import BaseDeadlineReference

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session


class RunBegan(BaseDeadlineReference):
    """The instant at which a run was first put into the queue."""

    required_kwargs = frozenset({"dag_id", "run_id"})

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str, **_: Any) -> datetime | None:
        """Return the instant, in UTC. Called by the scheduler when it makes a run."""
        from airflow.models import DagRun
        from sqlalchemy import select

        queued: datetime | None = session.scalar(
            select(DagRun.queued_at).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        )
        return queued
