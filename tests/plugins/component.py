"""A component of Airflow in a process of its own: with our plugins folder, and without a database."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from fatoura.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from pathlib import Path


def run_as_component(program: str, home: Path) -> str:
    """Run a program there; return the last line that it prints.

    :param home: an empty folder.
    """
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=home,
        env=os.environ
        | {
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody@127.0.0.1:1/nowhere",
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
