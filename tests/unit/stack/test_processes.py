"""Processes are found again by their mark alone, with the children that a killed parent left behind."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from fatoura.stack import processes
from fatoura.stack.environment import MARK
from fatoura.stack.processes import Record, Records

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

FORKING = "import os, time; os.fork(); time.sleep(60)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    own = f"test-{tmp_path.name}-{os.getpid()}"
    yield own
    processes.end(processes.marked(own), 0)


def start(mark: str, tmp_path: Path, code: str = FORKING, name: str = "part") -> subprocess.Popen[bytes]:
    return processes.spawn(
        (sys.executable, "-c", code),
        name=name,
        environment={**os.environ, MARK: mark},
        log=tmp_path / f"{name}.log",
        cwd=tmp_path,
    )


def wait_for(count: int, mark: str) -> list[psutil.Process]:
    for _ in range(100):
        found = processes.marked(mark)
        if len(found) == count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{len(found)} processes instead of {count}")


def test_children_of_a_killed_parent_are_found_and_ended(mark: str, tmp_path: Path) -> None:
    parent = start(mark, tmp_path)
    wait_for(2, mark)
    parent.kill()
    parent.wait()
    (orphan,) = wait_for(1, mark)
    assert processes.end([orphan], 5) == []
    assert processes.marked(mark) == []


def test_a_process_that_ignores_the_request_is_killed(mark: str, tmp_path: Path) -> None:
    child = start(mark, tmp_path, STUBBORN)
    while "up" not in processes.tail(tmp_path / "part.log"):
        time.sleep(0.05)
    (found,) = processes.marked(mark)
    assert [process.pid for process in processes.end([found], 0.2)] == [child.pid]
    assert processes.marked(mark) == []


def test_only_the_parts_asked_for_are_found(mark: str, tmp_path: Path) -> None:
    one, two = (start(mark, tmp_path, "import time; time.sleep(60)", name) for name in ("one", "two"))
    wait_for(2, mark)
    assert [process.pid for process in processes.marked(mark, ["one"])] == [one.pid]
    assert [process.pid for process in processes.marked(mark, ["two"])] == [two.pid]
    assert processes.marked(mark, ["three"]) == []
    assert processes.marked("another mark") == []


def test_each_part_has_a_session_of_its_own(mark: str, tmp_path: Path) -> None:
    child = start(mark, tmp_path)
    assert os.getsid(child.pid) == child.pid != os.getsid(0)


def test_a_record_leads_to_its_process_and_to_no_other(mark: str, tmp_path: Path) -> None:
    child = start(mark, tmp_path)
    wait_for(2, mark)  # right after it is started, a process has no environment yet that others could read
    records = Records(tmp_path / "run")
    records.write(Record("part", child.pid, time.time(), 8080))
    record = records.read("part")
    assert record
    assert record.port == 8080
    found = record.process(mark)
    assert found
    assert found.pid == child.pid
    assert record.process("another mark") is None
    # The number went to another process meanwhile.
    assert Record("part", child.pid, time.time() - 3600).process(mark) is None
    assert Record("part", os.getpid(), psutil.Process().create_time()).process(mark) is None
    records.forget("part")
    assert records.read("part") is None


def test_an_unreadable_record_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "part.json").write_text("{")
    assert Records(tmp_path).read("part") is None


def test_the_last_log_is_kept_beside_the_new_one(mark: str, tmp_path: Path) -> None:
    for text in ("first", "second"):
        start(mark, tmp_path, f"print({text!r})").wait()
    assert processes.tail(tmp_path / "part.log") == "second"
    assert processes.tail(tmp_path / "part.log.1") == "first"


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("\n".join(str(number) for number in range(100_000)))
    assert processes.tail(log, 2) == "99998\n99999"
    assert processes.tail(tmp_path / "none.log") == "(no log)"
