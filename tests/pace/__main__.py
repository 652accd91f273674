"""Measure at the gateway how the rate is kept: ``python -m tests.pace``. Prints tables; takes minutes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tests.pace.scenes import Passing, Rate, Sharing

_MORNING = datetime.fromisoformat("2026-05-20T10:00:00+01:00")

# Processes, limit in segments a second, segments of a message.
_STEADY = ((1, 10, 1), (1, 50, 1), (1, 50, 2), (4, 50, 1), (4, 50, 2), (4, 200, 1), (1, 600, 1), (2, 600, 1))
_LIMITS = (200.0, 50.0, 300.0, 20.0)
_LANES = ((1, 1), (4, 1), (2, 2))


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="How long each steady limit is measured.")
@click.argument("parts", nargs=-1, type=click.Choice(["steady", "changes", "cycles", "urgent"]))
def main(seconds: float, parts: tuple[str, ...]) -> None:
    """Measure how the rate is kept."""
    folder = Path(tempfile.mkdtemp(prefix="fatoura-pace-"))
    folder.chmod(0o755)
    for name in [name for name in os.environ if name.startswith("FATOURA_")]:
        del os.environ[name]
    os.environ |= {
        "FATOURA_VAR": str(folder / "var"),
        "FATOURA_NOW": f"{_MORNING.timestamp() - time.time():+.0f}",
    }
    from fatoura.database.embedded import EmbeddedPostgres
    from fatoura.database.migrate import upgrade

    server = EmbeddedPostgres(folder)
    server.start()
    os.environ["FATOURA_DATABASE_URL"] = server.url("fatoura")
    try:
        server.create_database("fatoura")
        upgrade()
        _measure(folder, seconds, parts or ("steady", "changes", "cycles", "urgent"))
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path, seconds: float, parts: tuple[str, ...]) -> None:
    from tests.pace import scenes

    if "steady" in parts or "changes" in parts:
        click.echo("| what is sent | limit | busiest second | of the limit | used |\n|---|---|---|---|---|")
    if "steady" in parts:
        for processes, limit, segments in _STEADY:
            told = f"{_counted(processes, 'process', 'es')}, {_counted(segments, 'segment', 's')} a message"
            rate = scenes.steady(folder, processes=processes, limit=limit, segments=segments, seconds=seconds)
            _tell_rate(told, rate)
    if "changes" in parts:
        for rate in scenes.changed_limit(folder, limits=_LIMITS):
            _tell_rate("2 processes, the limit was changed to", rate)
        _tell_rate("processes come, are killed, end, come", scenes.coming_and_going(folder))
    if "cycles" in parts:
        click.echo(
            "\n| two cycles at once | the first one's share of any 10 s | busiest second | used |\n"
            "|---|---|---|---|"
        )
        for lanes in _LANES:
            _tell_sharing(f"{lanes[0]} beside {lanes[1]} processes", scenes.two_cycles(folder, lanes=lanes))
        late = scenes.two_cycles(folder, lanes=(2, 1), late=5)
        _tell_sharing("2 processes, and 1 that came 5 s later", late)
    if "urgent" in parts:
        click.echo(
            "\n| urgent notices | first at the gateway | last | as fast as the limit | "
            "ordinary ones between | ordinary ones again after |\n|---|---|---|---|---|---|"
        )
        _tell_passing("of another cycle, with a process that starts", scenes.urgent_cycle(folder))
        _tell_passing("of the cycle that is being sent", scenes.urgent_in_the_same_cycle(folder))


def _tell_rate(told: str, rate: Rate) -> None:
    click.echo(
        f"| {told} | {rate.limit:g} | {rate.busiest} | {rate.busiest / rate.limit:.1%} | "
        f"{rate.used / rate.limit:.1%} |"
    )


def _tell_sharing(told: str, shared: Sharing) -> None:
    rate = shared.rate
    click.echo(
        f"| {told} | {shared.least:.1%} to {shared.most:.1%} | {rate.busiest / rate.limit:.1%} | "
        f"{rate.used / rate.limit:.1%} |"
    )


def _tell_passing(told: str, passing: Passing) -> None:
    ideal = passing.urgent / passing.rate.limit
    click.echo(
        f"| {passing.urgent} {told} | {passing.first:.1f} s | {passing.last:.1f} s | {ideal:.1f} s | "
        f"{passing.ordinary} | {passing.resumed:.1f} s |"
    )


def _counted(number: int, what: str, more: str) -> str:
    return f"{number} {what}{'' if number == 1 else more}"


if __name__ == "__main__":
    sys.exit(main())
