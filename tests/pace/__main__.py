"""Measure at the gateway how the rate is kept: ``python -m tests.pace``. Prints tables; takes minutes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tests.pace.arrivals import Arrival

_TWO_SEGMENTS = "STEG\nMontant à payer : 85,352 DT\n" + "Un second avis vous sera remis par courrier. " * 4

# Processes, limit in segments a second, segments of a message.
_STEADY = ((1, 10, 1), (1, 50, 1), (1, 50, 2), (4, 50, 1), (4, 50, 2), (4, 200, 1), (1, 600, 1), (2, 600, 1))


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="How long each measurement sends.")
@click.option("--only", help="Measure only what has this in its name.")
def main(seconds: float, only: str | None) -> None:
    """Measure how the rate is kept."""
    folder = Path(tempfile.mkdtemp(prefix="fatoura-pace-"))
    folder.chmod(0o755)
    for name in [name for name in os.environ if name.startswith("FATOURA_")]:
        del os.environ[name]
    os.environ |= {
        "FATOURA_VAR": str(folder / "var"),
        "FATOURA_NOW": f"{1779267600 - time.time():+.0f}",  # a Wednesday at ten in the morning
    }
    from fatoura.database.embedded import EmbeddedPostgres
    from fatoura.database.migrate import upgrade

    server = EmbeddedPostgres(folder)
    server.start()
    os.environ["FATOURA_DATABASE_URL"] = server.url("fatoura")
    try:
        server.create_database("fatoura")
        upgrade()
        _measure(folder, seconds, only)
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path, seconds: float, only: str | None) -> None:
    click.echo("| what is sent | limit | busiest second | of the limit | used |")
    click.echo("|---|---|---|---|---|")
    for number, (processes, limit, segments) in enumerate(_STEADY):
        name = f"processes: {processes}; segments a message: {segments}"
        if only and only not in f"{name} {limit}":
            continue
        arrivals = _steady(folder, f"2026-05-T{number + 1}", processes, limit, segments, seconds)
        _tell(name, limit, arrivals)


def _tell(name: str, limit: float, arrivals: list[Arrival]) -> None:
    from tests.pace.arrivals import busiest_second, per_second

    # The first moments belong to processes that come one after another.
    whole = [one for one in arrivals if one.at >= arrivals[0].at + 1]
    most, used = busiest_second(arrivals), per_second(whole)
    click.echo(f"| {name} | {limit:g} | {most} | {most / limit:.1%} | {used / limit:.1%} |")


def _steady(
    folder: Path, cycle: str, processes: int, limit: float, segments: int, seconds: float
) -> list[Arrival]:
    from tests.notices import plan_notices, run_sql
    from tests.pace.ground import GATEWAY, Ground

    count = int(limit * (seconds + 6) / segments)
    text = {} if segments == 1 else {"text": _TWO_SEGMENTS}
    cycle_id = plan_notices(count, cycle=cycle, **text)
    if segments > 1:
        run_sql("UPDATE notice SET segments = :n WHERE cycle_id = :c", n=segments, c=cycle_id)
    run_sql("DELETE FROM gateway")
    run_sql(
        "INSERT INTO gateway (name, adapter, capabilities, position, in_use, weight, segments_per_second) "
        "VALUES (:name, 'kannel', '{}', 0, true, 100, :rate)",
        name=GATEWAY,
        rate=limit,
    )
    with Ground(folder) as ground:
        ground.send(cycle_id, *(f"{cycle}-{n}" for n in range(processes)))
        ground.wait_for(cycle_id, 1)
        time.sleep(seconds)
        arrivals = ground.finish()
    run_sql("UPDATE notice SET state = 'cancelled' WHERE state = 'planned'")
    return arrivals


if __name__ == "__main__":
    sys.exit(main())
