"""`python -m tests.bench.enrolling`: captured coupons in real Airflow, from the landing to planned welcomes.

Not a part of `make bench`, which starts no Airflow: what is measured here is the way through it, with the
look that has to find the batch, the start of each task, and all that the coupons need. Beside the seconds
stand each task's own, and the most memory that its process had, Airflow included.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click
import psutil

from fatoura.stack import processes
from tests.e2e.running import RunningStack, eventually

LIMIT_SECONDS = 30.0
INTAKE = "enrolment_intake"
_BATCH = "2026-05-T1"
_SUBSCRIBED = 0.95
_DEFECTS = (
    "unsigned",
    "bad_phone",
    "conflicting_coupons",
    "crossed_out",
    "closed_contract",
    "unknown_customer",
)
_SHARE = 0.003
_TITLE = "airflow worker -- "


class Watch(threading.Thread):
    """Notes the most memory of each task's process, by its id."""

    def __init__(self, mark: str) -> None:
        super().__init__(daemon=True)
        self.mark = mark
        self.most: dict[str, int] = {}
        self.over = threading.Event()

    def run(self) -> None:
        """Look five times a second."""
        while not self.over.wait(0.2):
            for process in processes.marked(self.mark):
                try:
                    title = (process.cmdline() or [""])[0]
                    if title.startswith(_TITLE):
                        task = title.removeprefix(_TITLE)
                        self.most[task] = max(self.most.get(task, 0), process.memory_info().rss)
                except psutil.Error:
                    continue


def write(running: RunningStack, coupons: int, form: str) -> Path:
    """Write so many coupons, some of them bad, and their customers; return the folder of both."""
    # One defect is on two coupons; of a hundred subscribers, two get no bill.
    invoices = round(coupons / 1.02 / _SUBSCRIBED / (1 + (len(_DEFECTS) + 1) * _SHARE))
    folder = running.folder / "sample"
    defects = [word for kind in _DEFECTS for word in ("--coupon-defect", f"{kind}={_SHARE}")]
    size = ("--invoices", str(invoices), "--subscribed", str(_SUBSCRIBED))
    running.command("sample", str(folder), "--cycle", _BATCH, "--issue-date", "2026-05-20", *size, *defects)
    if form == "xlsx":
        _as_workbook(folder / "coupons" / _BATCH)
    return folder


def _as_workbook(batch: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    with (batch / "coupons.csv").open(newline="") as file:
        for row in csv.reader(file):
            sheet.append(row)
    path = batch / "coupons.xlsx"
    book.save(path)
    (batch / "coupons.csv").unlink()
    manifest = json.loads((batch / "manifest.json").read_text())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest["parts"] = [{"name": path.name, "rows": manifest["rows"], "sha256": sha256}]
    (batch / "manifest.json").write_text(json.dumps(manifest))


def land(running: RunningStack, folder: Path) -> float:
    """Let customers and coupons land; return when the batch was complete."""
    for content in ("customers", "coupons"):
        target = running.folder / "var" / "landing" / content / _BATCH
        target.mkdir(parents=True)
        files = sorted((folder / content / _BATCH).iterdir(), key=lambda file: file.suffix == ".json")
        for file in files:
            shutil.copyfile(file, target / file.name)
    return time.time()


def measure(coupons: int, form: str) -> dict[str, Any]:
    """Measure once; return seconds and megabytes."""
    place = Path(tempfile.mkdtemp(prefix="fatoura-enrolling-"))
    place.chmod(0o755)
    chosen = {"FATOURA_ENROLMENT_POLL": "10", "FATOURA_LANDING_POLL": "P1D"}
    running = RunningStack(place, chosen)
    api = running.stack.api
    try:
        folder = write(running, coupons, form)
        running.command("stack", "up")
        eventually(lambda: any(run["state"] == "success" for run in api.runs(INTAKE)))
        time.sleep(20)  # whatever runs once when Airflow begins is over
        watch = Watch(running.stack.environment.mark)
        watch.start()
        load = os.getloadavg()[0]
        landed = land(running, folder)
        eventually(lambda: running.query("SELECT FROM notice WHERE kind = 'welcome' LIMIT 1"))
        seconds = time.time() - landed
        run = next(run for run in api.runs(INTAKE) if _has_planned(running, run["dag_run_id"]))
        state = running.finished(run["dag_run_id"], dag_id=INTAKE)
        watch.over.set()
        tasks = sorted(api.tasks(INTAKE, run["dag_run_id"]), key=lambda task: task["start_date"])
        return {
            "form": form,
            "load": round(load, 1),
            "run": state,
            "coupons": running.query("SELECT count(*) FROM coupon")[0][0],
            "planned": running.query("SELECT count(*) FROM notice WHERE kind = 'welcome'")[0][0],
            "seconds": round(seconds, 1),
            "tasks": {
                task["task_id"]: {
                    "seconds": round(task["duration"], 1),
                    "megabytes": round(watch.most.get(task["id"], 0) / 1e6),
                }
                for task in tasks
            },
        }
    finally:
        running.command("stack", "down")
        shutil.rmtree(place, ignore_errors=True)


def _has_planned(running: RunningStack, run_id: str) -> bool:
    return running.states(run_id, dag_id=INTAKE).get("plan") in ("running", "success")


@click.command()
@click.option("--coupons", default=40_000, show_default=True, type=click.IntRange(1_000))
@click.option("--form", default="csv", show_default=True, type=click.Choice(["csv", "xlsx"]))
@click.option("--check", is_flag=True, help=f"End with 1 when it takes more than {LIMIT_SECONDS:.0f} s.")
def main(coupons: int, form: str, check: bool) -> None:
    """Measure how long coupons take from their landing to planned welcome messages."""
    found = measure(coupons, form)
    click.echo(json.dumps(found, indent=2))
    if check and found["seconds"] > LIMIT_SECONDS:
        sys.exit(1)


if __name__ == "__main__":
    main()
