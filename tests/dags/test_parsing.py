"""What the DAG processor does with each file, again and again: parse it, fast, and do nothing else."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fatoura.settings import PROJECT_ROOT

DAGS = sorted((PROJECT_ROOT / "dags").glob("*.py"))
PROBE = Path(__file__).with_name("parse_probe.py")

# Seconds or a hundred megabytes each: tasks that need one import it when they run.
HEAVY = {
    *("pandas", "numpy", "great_expectations", "matplotlib", "pyarrow", "xlsxwriter"),
    *("aiohttp", "requests", "fastapi", "uvicorn", "s3fs", "boto3"),
}


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Parse each file three times, with no database, no Airflow connection and no folder to write to."""
    nowhere = tmp_path_factory.mktemp("parsing")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FATOURA", "AIRFLOW"))}
    env |= {
        "AIRFLOW_HOME": str(nowhere / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody@127.0.0.1:1/nowhere",
        "FATOURA_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/nowhere",
        "FATOURA_VAR": str(nowhere / "var"),
        "PYTHONPATH": os.pathsep.join(str(PROJECT_ROOT / name) for name in ("include", "plugins")),
    }
    done = subprocess.run(
        [sys.executable, str(PROBE), "3", *map(str, DAGS)],
        capture_output=True,
        text=True,
        env=env,
        cwd=nowhere,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert not (nowhere / "var").exists()
    return document


@pytest.fixture(params=DAGS, ids=lambda path: path.stem)
def parses(request: pytest.FixtureRequest, probed: dict[str, Any]) -> list[dict[str, Any]]:
    """What the three parses of a file found."""
    found: list[dict[str, Any]] = probed["parsed"][str(request.param)]
    assert [one["error"] for one in found if "error" in one] == []
    return found


def test_it_takes_less_than_a_second(parses):
    assert statistics.median(one["seconds"] for one in parses) < 1


def test_it_does_nothing_outside(parses):
    assert [one["done"] for one in parses] == [[], [], []]


def test_it_imports_nothing_heavy(probed, parses):
    assert HEAVY & set(probed["base"]) == set(), "Airflow itself imports it: this test could see nothing"
    loaded = {name.partition(".")[0] for one in parses for name in one["modules"]}
    assert HEAVY & loaded == set()


def test_it_uses_no_sender_and_no_driver_before_a_task_runs(parses):
    loaded = {name for one in parses for name in one["modules"]}
    assert {"psycopg", "fatoura.sending.sender", "fatoura.quality.gate", "operations.pages"} & loaded == set()
