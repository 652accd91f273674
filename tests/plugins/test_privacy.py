"""What the workflow `retention` runs, on a real database and real folders."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk.configuration import conf

from fatoura.settings import get_settings
from operations.privacy import remove_files_due


def test_logs_of_tasks_are_removed_with_the_other_files_when_their_time_is_over(
    database, tmp_path, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "logs"))
    assert Path(conf.get("logging", "base_log_folder")) == tmp_path / "logs"
    old, young = tmp_path / "logs" / "dag_id=x" / "1.log", tmp_path / "logs" / "dag_id=y" / "1.log"
    refused = get_settings().var / "refused" / "1.csv"
    for path, days in ((old, 91), (refused, 91), (young, 89)):
        path.parent.mkdir(parents=True)
        path.write_text("x")
        at = time.time() - timedelta(days=days).total_seconds()
        os.utime(path, (at, at))
    assert remove_files_due() == {"logs": 1, "refused": 1}
    assert not old.parent.exists()
    assert young.exists()
    assert remove_files_due() == {}
