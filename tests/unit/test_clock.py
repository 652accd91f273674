"""The business clock: moved by an offset, an instant, or a file that is replaced while processes run."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from fatoura import clock
from fatoura.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path

MORNING = datetime.fromisoformat("2026-05-20T10:00:00+01:00")
A_MOMENT = timedelta(seconds=2)


def replace(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_without_a_setting_it_is_the_machine_s():
    assert abs(clock.now() - datetime.now(UTC)) < A_MOMENT


def test_an_offset_moves_it(configure):
    configure(now="-86400")
    assert abs(clock.now() + timedelta(days=1) - datetime.now(UTC)) < A_MOMENT


def test_an_instant_is_where_it_starts(configure):
    configure(now=MORNING.isoformat())
    assert timedelta() <= clock.now() - MORNING < A_MOMENT


@pytest.mark.parametrize("as_offset", [False, True])
def test_a_file_that_is_replaced_moves_it_while_it_runs(configure, tmp_path, as_offset):
    file = tmp_path / "clock"
    replace(file, "+0")
    configure(now=file)
    assert abs(clock.now() - datetime.now(UTC)) < A_MOMENT
    moved = MORNING.timestamp() - time.time()
    replace(file, f"{moved:+.3f}\n" if as_offset else MORNING.isoformat())
    assert abs(clock.now() - MORNING) < A_MOMENT


def test_an_instant_in_a_file_is_the_same_for_processes_that_read_it_later(configure, tmp_path):
    file = tmp_path / "clock"
    replace(file, MORNING.isoformat())
    an_hour_ago = time.time() - 3600
    os.utime(file, (an_hour_ago, an_hour_ago))
    configure(now=file)
    assert abs(clock.now() - MORNING - timedelta(hours=1)) < A_MOMENT


@pytest.mark.parametrize(
    ("text", "told"), [(None, "cannot be read"), ("", "which is empty"), ("tomorrow", "is 'tomorrow'")]
)
def test_a_file_that_tells_no_time_is_refused_and_never_taken_for_the_right_time(
    configure, tmp_path, text, told
):
    file = tmp_path / "clock"
    if text is not None:
        file.write_text(text)
    configure(now=file)
    with pytest.raises(BadInput, match=told):
        clock.now()


@pytest.mark.parametrize("text", ["soon", "+soon", "2026-05-20T10:00:00"])
def test_what_is_no_time_is_refused(configure, text):
    configure(now=text)
    with pytest.raises(BadInput, match="give an instant with offset"):
        clock.now()
