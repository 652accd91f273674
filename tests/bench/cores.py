"""Keeps a gateway and those who send to it apart, as if each had a machine of its own.

Where all processors are busy, every process gets the same share of them: whoever needs much for a message,
such as a sender with its database, then sends less for that alone, whatever the gateway could take.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def on(cores: set[int]) -> Iterator[None]:
    """Start processes on these cores only; what they start stays there too."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def apart(server_pid: int) -> Iterator[set[int]]:
    """Keep this process, what it starts and the database server on one half of the cores; give the other.

    On a machine with a single core all stay together.
    """
    every = sorted(os.sched_getaffinity(0))
    half = len(every) // 2
    ours, theirs = set(every[half:]), set(every[:half]) or set(every)
    server = psutil.Process(server_pid)
    _move([server, *server.children(recursive=True)], ours)
    try:
        with on(ours):
            yield theirs
    finally:
        _move([server, *server.children(recursive=True)], set(every))


def _move(processes: list[psutil.Process], cores: set[int]) -> None:
    for process in processes:
        try:
            process.cpu_affinity(sorted(cores))
        except psutil.NoSuchProcess:
            continue  # a session that has ended meanwhile
