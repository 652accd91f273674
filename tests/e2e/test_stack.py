"""The real stack: started, started again, crashed, stopped; and the demonstration from end to end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

from fatoura.settings import Settings
from fatoura.stack import processes
from fatoura.stack.environment import MARK, StackEnvironment
from fatoura.stack.local import POOL, URGENT_POOL, LocalStack
from fatoura.stack.ports import find_free

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DAG = """
from airflow.sdk import dag, task


@dag(schedule=None)
def answer():
    @task
    def think():
        from fatoura.settings import get_settings

        return get_settings().sender_id

    think()


answer()
"""


def command(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "fatoura", *arguments),
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def eventually(check: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.2)


@pytest.fixture
def variables(tmp_path: Path) -> Iterator[dict[str, str]]:
    tmp_path.chmod(0o755)
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "answer.py").write_text(DAG)
    ui, gateway, receiver, site = find_free(4)
    own = {
        "FATOURA_VAR": str(tmp_path / "a folder" / "var"),  # folders have spaces in their names
        "FATOURA_AIRFLOW_PORT": str(ui),
        "FATOURA_GATEWAY_PORT": str(gateway),
        "FATOURA_RECEIVER_PORT": str(receiver),
        "FATOURA_SITE_PORT": str(site),
        "FATOURA_SENDER_ID": "TRIAL",
    }
    yield own
    command(own, "stack", "down")


@pytest.fixture
def stack(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LocalStack:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return LocalStack(Settings(), dags=tmp_path / "dags")


def test_the_stack_from_start_to_end(stack: LocalStack, variables: dict[str, str], tmp_path: Path) -> None:
    up = ("stack", "up", "--dags", str(tmp_path / "dags"))

    # A taken port is refused before anything is started.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", stack.settings.airflow_port))
        listener.listen()
        refused = command(variables, *up)
    assert refused.returncode == 1
    assert f"port {stack.settings.airflow_port}" in refused.stderr
    assert f"(process {os.getpid()})" in refused.stderr
    assert "FATOURA_AIRFLOW_PORT=" in refused.stderr
    assert stack.leftovers() == []

    # It starts, and prints where and how to log in.
    started = command(variables, *up)
    assert started.returncode == 0, started.stderr
    password = stack.environment.keys.admin_password
    assert f"{stack.environment.ui}   user: admin   password: {password}" in started.stdout
    assert requests.get(stack.environment.ui, timeout=10).ok
    assert f"Web site: {stack.settings.site_url}" in started.stdout
    assert requests.get(stack.settings.site_url, timeout=10).ok
    status = json.loads(command(variables, "stack", "status", "--json").stdout)
    assert status["running"] is True, status

    # Nothing of it listens beyond this machine.
    for process in processes.marked(stack.environment.mark):
        for connection in process.net_connections():
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr[0] == "127.0.0.1", process

    # A task runs, with the project and its settings at hand.
    api = stack.api
    eventually(lambda: api.knows_dag("answer"))
    run = api.trigger("answer")
    eventually(lambda: api.run("answer", run)["state"] in ("success", "failed"))
    (task,) = api.tasks("answer", run)
    log = "\n".join(api.log_lines(task))
    assert api.run("answer", run)["state"] == "success", log
    assert "Returned value was: TRIAL" in log
    assert api._request("GET", f"/pools/{POOL}")["slots"] == stack.settings.send_slots
    assert api._request("GET", f"/pools/{URGENT_POOL}")["slots"] == stack.settings.urgent_slots

    # Started again it stays as it is.
    before = {part.name: part.pid for part in stack.status()}
    again = command(variables, *up)
    assert again.returncode == 0, again.stderr
    assert "everything runs already" in again.stderr
    assert password in again.stdout
    assert {part.name: part.pid for part in stack.status()} == before

    # Other ports are refused while it runs.
    (other,) = find_free(1)
    moved = command({**variables, "FATOURA_AIRFLOW_PORT": str(other)}, *up)
    assert moved.returncode == 1
    assert "make down" in moved.stderr

    # A part that was killed is started again; its orphans are ended first.
    orphans = {process.pid for process in processes.marked(stack.environment.mark, ["scheduler"])}
    os.kill(before["scheduler"] or 0, signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(before["scheduler"] or 0))
    assert command(variables, *up).returncode == 0
    assert orphans.isdisjoint(process.pid for process in processes.marked(stack.environment.mark))
    assert all(part.ready for part in stack.status())

    # After a crash of everything, stopping leaves nothing.
    for part in stack.status():
        if part.pid:
            os.kill(part.pid, signal.SIGKILL)
    postmaster = int((stack.environment.postgres.data / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    assert command(variables, "stack", "down").returncode == 0
    assert stack.leftovers() == []
    assert "nothing was running" in command(variables, "stack", "down").stdout
    assert json.loads(command(variables, "stack", "status", "--json").stdout)["running"] is False


def demo_leftovers(var: Path) -> list[psutil.Process]:
    environment = StackEnvironment(Settings(var=var / "demo"))
    return [*processes.marked(environment.mark), *processes.working_in(environment.postgres.data)]


def test_the_demonstration_ends_well_and_leaves_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    var = tmp_path / "var"
    shown = command({"FATOURA_VAR": str(var), "COLUMNS": "200"}, "demo", "--invoices", "400")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for stage in ("extract", "validate", "match", "render", "release", "settle", "schedule cutoff", "report"):
        assert stage in shown.stdout
    told = " ".join(shown.stdout.split())
    assert "identity │ holds" in told
    assert "enrolled │ 246" in told
    assert "to be corrected │ 15" in told
    assert "no process is left" in shown.stdout
    assert demo_leftovers(var) == []
    for file in ("Report: ", "Coupons for the clerks to correct: "):
        (line,) = (line for line in shown.stdout.splitlines() if line.startswith(file))
        assert Path(line.removeprefix(file)).stat().st_size > 0


BROKEN = """
from fatoura.cli import main
from fatoura.stack import demo

demo._COUPON_DEFECTS = {"unsigned": 1}
main(["demo", "--invoices", "50"])
"""


def test_a_demonstration_that_fails_says_why_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    var = tmp_path / "var"
    shown = subprocess.run(
        (sys.executable, "-c", BROKEN),
        env={**os.environ, "FATOURA_VAR": str(var)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 1
    reason, _, rest = shown.stderr.partition("\n")
    assert reason.startswith("fatoura: task check_taken of enrolment_intake failed: BatchesRefused: ")
    assert "× signed: not_signed" in reason
    assert "the end of its log:" in rest
    assert "Traceback" not in shown.stderr
    assert demo_leftovers(var) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_demonstration_that_is_ended_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    tmp_path.chmod(0o755)
    var, log = tmp_path / "var", tmp_path / "demo.log"
    with log.open("wb") as output:
        demo = subprocess.Popen(
            (sys.executable, "-m", "fatoura", "demo", "--invoices", "50"),
            env={**os.environ, "FATOURA_VAR": str(var)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: "gateway is ready" in log.read_text())
        mark = demo_leftovers(var)[0].environ()[MARK]
        demo.send_signal(number)
        assert demo.wait(60) == (130 if number == signal.SIGTERM else -signal.SIGKILL)
        eventually(lambda: not demo_leftovers(var))
        assert processes.marked(mark) == []
    finally:
        demo.kill()
