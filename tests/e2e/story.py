"""What lives through weeks in some minutes: a real stack whose clock is moved, and steps one by one."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fatoura.stack.local import LocalStack
from tests.e2e.running import Clock, RunningStack
from tests.payments import complete_until, write_payments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass
class Story:
    """A running stack and its clock; and what was seen on the way that nothing tells of afterwards."""

    running: RunningStack
    clock: Clock
    account: list[str] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def landing(self) -> Path:
        """Where feeds and extracts land."""
        return self.running.folder / "var" / "landing"

    def live(self, *steps: Callable[[], None]) -> None:
        """Go through steps, and tell how long each took."""
        for step in steps:
            began = time.monotonic()
            step()
            self.account.append(
                f"{time.monotonic() - began:6.1f} s   {step.__name__.replace('_', ' ')}"  # type: ignore[attr-defined]
            )
        click.echo("\n" + "\n".join(self.account))

    def begin(self, day: str, hour: str = "09:31") -> None:
        """Go to a day."""
        self.clock.set(f"{day}T{hour}:00")

    def feed(self, name: str, *rows: dict[str, Any], stale: str | None = None) -> None:
        """Let a feed of payments land that is complete until now, but for one channel."""
        until = complete_until(self.clock.read())
        if stale is not None:
            until["post"] = stale
        write_payments(name, rows, until=until, folder=self.landing / "payments" / name)

    def start(self, dag_id: str, name: str = "", conf: Mapping[str, Any] | None = None) -> str:
        """Start a run by hand; return its id."""
        run_id = self.running.stack.api.trigger(dag_id, dict(conf or {}))
        if name:
            self.runs[name] = run_id
        return run_id

    def run(
        self, dag_id: str, name: str = "", conf: Mapping[str, Any] | None = None, *, ends: str = "success"
    ) -> str:
        """Start a run by hand and wait for its end; return its id."""
        run_id = self.start(dag_id, name, conf)
        self.ended(dag_id, run_id, ends)
        return run_id

    def ended(self, dag_id: str, run_id: str, ends: str = "success") -> None:
        """Wait for a run's end."""
        state = self.running.finished(run_id, dag_id=dag_id)
        assert state == ends, self.running.states(run_id, dag_id=dag_id)

    def sent(self) -> int:
        """Count what the gateway has accepted."""
        return len(self.running.requests())

    def states_of(self, cycle: str) -> Counter[str]:
        """Count the notices of a cycle by their states."""
        return Counter(
            dict(
                self.running.query(
                    "SELECT n.state, count(*) FROM notice n JOIN cycle c ON c.id = n.cycle_id "
                    "WHERE c.key = %s GROUP BY 1",
                    "fatoura",
                    cycle,
                )
            )
        )


S = TypeVar("S", bound=Story)


@contextmanager
def beginning(kind: type[S], name: str, settings: Callable[[Path], dict[str, str]]) -> Iterator[S]:
    """Start a stack whose clock stands at ten in the morning of 20 May 2026, and end it afterwards.

    :param settings: what differs from the settings of other stacks, by variables. Of a customer's phone the
        last digit decides what becomes of messages.
    """
    with tempfile.TemporaryDirectory(prefix=f"fatoura-{name}-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        clock = Clock(folder / "clock")
        clock.set("2026-05-20T10:00:00")
        running = RunningStack(folder, {"FATOURA_NOW": str(clock.file), **settings(folder)})
        LocalStack(running.stack.settings, gateway_options=("--by-last-digit",)).up()
        try:
            yield kind(running, clock)
        finally:
            running.command("stack", "down")
