"""Child processes of tests: each in a process group of its own, ended by that group's id, never by name.

For the harnesses of real services (gateways, Airflow). Knows nothing of what it starts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def free_port() -> int:
    """Return a loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A started program with its output in a file."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ):
        self.log = log
        self.name = os.path.basename(command[0])
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(env or {})},
                cwd=cwd,
            )

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def wait_for_port(self, port: int, seconds: float = 20) -> None:
        """Wait until the child listens; fail with the end of its log when it ends or stays silent."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            if not self.runs or time.monotonic() > end:
                state = f"ended with {self.process.returncode}" if not self.runs else "does not listen"
                raise AssertionError(f"{self.name} {state}: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 10) -> None:
        """End the whole group: politely, then surely. Returns when the child has been reaped."""
        self.send(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.send(signal.SIGKILL)  # also what the child left behind in its group
        self.process.wait(10)
