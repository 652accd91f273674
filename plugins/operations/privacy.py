"""Steps of the workflow `retention`: what Airflow adds to them. The work is `fatoura`'s."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk.configuration import conf


def remove_files_due() -> dict[str, int]:
    """Remove files that are kept no longer, Airflow's logs of tasks among them."""
    from fatoura.privacy.files import remove_due

    return remove_due(logs=Path(conf.get("logging", "base_log_folder")))
