"""`make bench`: measure, and tell what is reached and what is missed."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import click
from rich.console import Console

from tests.bench import cutoff, million, parsing, planning, renewals, retention, sealing, sending
from tests.bench.ground import BenchError, Ground
from tests.bench.results import table

if TYPE_CHECKING:
    from tests.bench.results import Measure

PARTS = ("planning", "parsing", "sending", "cutoff", "renewals", "retention", "sealing", "million")
_QUICK = 100_000


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, type=click.IntRange(100_000), help="Invoices.")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1), help="Medians are over these.")
@click.option("--quick", is_flag=True, help=f"The same as --rows {_QUICK:,}.".replace(",", ""))
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="Leave the other parts out.")
@click.option(
    "--seconds",
    default=million.SECONDS,
    show_default=True,
    type=click.IntRange(2),
    help="For how long a million messages are sent, and reported on.",
)
@click.option("--check", is_flag=True, help="End with 1 when something is missed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the table.")
def main(
    rows: int, runs: int, quick: bool, only: tuple[str, ...], seconds: int, check: bool, as_json: bool
) -> None:
    """Measure speed and memory, as ratios to something bare in the same run.

    Nothing here fails for being slow, unless --check asks for it: on a busy machine even ratios waver.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped on the way out
    told = Console(stderr=True, highlight=False)
    began = time.monotonic()
    load = os.getloadavg()[0]
    measures: list[Measure] = []

    def say(line: str) -> None:
        told.print(f"[dim]{time.monotonic() - began:5.0f} s[/dim]  {line}", soft_wrap=True)

    try:
        with Ground(say) as ground:
            if not only or "planning" in only:
                measures += planning.measure(ground, _QUICK if quick else rows, runs)
            if not only or "parsing" in only:
                measures += parsing.measure(ground, runs)
            if not only or "sending" in only:
                measures += sending.measure(ground, runs)
            if not only or "cutoff" in only:
                measures += cutoff.measure(ground, cutoff.FEW if quick else cutoff.CASES, runs)
            if not only or "renewals" in only:
                few = renewals.FEW if quick else renewals.SUBSCRIPTIONS
                measures += renewals.measure(ground, few, runs)
            if not only or "retention" in only:
                measures += retention.measure(ground, retention.FEW if quick else retention.MESSAGES, runs)
            if not only or "sealing" in only:
                measures += sealing.measure(ground, sealing.FEW if quick else sealing.ROWS, runs)
            if "million" in only or not (only or quick):
                measures += million.measure(ground, seconds)
    except BenchError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        machine = {"cores": os.cpu_count(), "load_before": round(load, 2)}
        click.echo(json.dumps({"machine": machine, "measures": [one.as_json() for one in measures]}))
    else:
        console = Console(width=None if sys.stdout.isatty() else 140)
        console.print(table(measures))
        if load > 0.5:
            console.print(
                f"[yellow]Others were at work: the load was {load:.1f} on {os.cpu_count()} cores before the "
                "first run.[/yellow]"
            )
    if check and any(one.met is False for one in measures):
        sys.exit(1)


main()
