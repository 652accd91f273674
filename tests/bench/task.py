"""Makes a process what a task of Airflow runs in: Airflow and the DAG's file are in its memory."""

from __future__ import annotations

import resource
import runpy

from fatoura.settings import PROJECT_ROOT


def become_a_task(dag: str = "billing_cycle") -> None:
    """Import what the process of a task has imported before the task's own work begins."""
    import airflow.sdk.execution_time.task_runner

    del airflow
    runpy.run_path(str(PROJECT_ROOT / "dags" / f"{dag}.py"))


def peak() -> float:
    """Return the most memory that this process has had, in megabytes."""
    # The kernel counts in the process that started this one, which has always had less than Airflow takes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1_000_000
