"""What processes took between two moments: processor seconds and memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEGABYTE = 1_000_000
_EVERY_SECONDS = 0.25


class Watch:
    """Use as a context; `cpu` and `memory` are by the processes' names, and complete after it.

    :param pids: ids of processes by their names. What a process has started counts as its own.

    Memory is the most that one process of that name had; where there are several, which share much, it is
    the most that one of them had for itself alone.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self.cpu: dict[str, float] = {}
        self.memory: dict[str, float] = dict.fromkeys(pids, 0.0)
        self._roots = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._families = {name for name, root in self._roots.items() if root.children()}
        self._took: dict[tuple[str, int], float] = {}
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._before = dict(self._took)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()
        self._look()
        for name in self._roots:
            self.cpu[name] = sum(
                seconds - self._before.get((one, pid), 0.0)
                for (one, pid), seconds in self._took.items()
                if one == name
            )

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            self._look()

    def _look(self) -> None:
        for name, root in self._roots.items():
            try:
                processes = [root, *(root.children() if name in self._families else ())]
            except psutil.Error:
                continue
            for process in processes:
                try:
                    times, memory = process.cpu_times(), process.memory_info()
                except psutil.Error:
                    continue  # it has ended since
                self._took[name, process.pid] = times.user + times.system
                shared = memory.shared if name in self._families else 0
                self.memory[name] = max(self.memory[name], (memory.rss - shared) / _MEGABYTE)
