"""`make chaos`: break everything in turn, and prove of each message that it was sent once, or why not."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from fatoura.settings import PROJECT_ROOT
from tests.chaos.airflow_round import GATEWAY, AirflowRound
from tests.chaos.dice import Dice
from tests.chaos.process_round import ProcessRound
from tests.chaos.results import as_json, faults_table, figures_table, line
from tests.chaos.scenario import draw_airflow_scenario, draw_scenario
from tests.chaos.services import Database, memory_folder
from tests.integration.kannel.stack import why_not

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.round import Round, RoundResult


@click.command()
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(0), help="How many rounds.")
@click.option("--airflow", default=0, show_default=True, help="Rounds with real Airflow besides.")
@click.option("--first", default=0, show_default=True, help="Number of the first round.")
@click.option("--seed", default=None, type=int, help="Drawn and told when it is not given.")
@click.option("--messages", default=1000, show_default=True, type=click.IntRange(50), help="A round.")
@click.option("--lanes", default=1, show_default=True, type=click.IntRange(1, 8), help="Rounds side by side.")
@click.option("--keep", is_flag=True, help="Keep logs and evidence of clean rounds too, below var/chaos.")
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON document instead of the tables.")
def main(
    rounds: int,
    airflow: int,
    first: int,
    seed: int | None,
    messages: int,
    lanes: int,
    keep: bool,
    as_json_: bool,
) -> None:
    """Run rounds of injected faults; end with 1 when a single message was lost, or sent twice."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped on the way out
    for name in [name for name in os.environ if name.startswith(("FATOURA_", "AIRFLOW"))]:
        del os.environ[name]
    seed = int.from_bytes(os.urandom(3)) if seed is None else seed
    told = Console(stderr=True, highlight=False)
    reason = why_not()
    if reason:
        told.print(f"[yellow]without real Kannel: {reason}[/yellow]")
    if not rounds + airflow:
        raise click.UsageError("no rounds are no proof")
    told.print(
        f"seed {seed}, {rounds} rounds and {airflow} with Airflow, of {messages} messages each, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    asked = [(kind, first + number) for kind, count in _kinds(rounds, airflow) for number in range(count)]
    results = asyncio.run(_run(told, seed, asked, messages, lanes, kannel=not reason, keep=keep))
    bad = [result for result in results if not result.verdict.clean]
    if as_json_:
        click.echo(json.dumps(as_json(results, seed), ensure_ascii=False))
    else:
        console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
        for table in (faults_table(results), figures_table(results)):
            console.print()
            console.print(table)
        seconds = sum(result.seconds for result in results)
        console.print(f"\nseed {seed}, {len(results)} rounds, {seconds / len(results):.1f} s a round")
    for result in bad:
        told.print(f"[red]{result.kind} {result.number}[/red] of seed {seed} ({result.told})")
        for violation in result.verdict.violations:
            told.print(f"  {violation}", soft_wrap=True)
        kind = "--rounds 1" if result.kind == ProcessRound.KIND else "--rounds 0 --airflow 1"
        again = f"--seed {seed} --first {result.number} {kind} --messages {messages}"
        told.print(f"  logs: {result.folder}; again: make chaos ARGS='{again}'", soft_wrap=True)
    sys.exit(1 if bad else 0)


def _kinds(rounds: int, airflow: int) -> tuple[tuple[str, int], ...]:
    return (ProcessRound.KIND, rounds), (AirflowRound.KIND, airflow)


async def _run(
    told: Console,
    seed: int,
    asked: list[tuple[str, int]],
    messages: int,
    lanes: int,
    *,
    kannel: bool,
    keep: bool,
) -> list[RoundResult]:
    waiting = iter(asked)
    results: list[RoundResult] = []
    kept = PROJECT_ROOT / "var" / "chaos"

    async def lane() -> None:
        ground = memory_folder("chaos-")
        try:
            database = await asyncio.to_thread(Database(ground).__enter__)
            try:
                for kind, number in waiting:
                    dice = Dice(seed, number)
                    folder = ground / f"{kind}-{number}"
                    more = {"folder": folder, "messages": messages, "keep": keep}
                    result = await _round(kind, dice, kannel=kannel, database=database, **more).run()
                    if result.folder is not None:
                        result.folder = _keep(folder, kept / f"{seed}-{kind}-{number}")
                    results.append(result)
                    told.print(line(result), soft_wrap=True)
                    for violation in result.verdict.violations:
                        told.print(f"           {violation}", soft_wrap=True, markup=False)
            finally:
                await asyncio.to_thread(database.__exit__)
        finally:
            shutil.rmtree(ground, ignore_errors=True)

    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(lane())
            await asyncio.sleep(2)
    return sorted(results, key=lambda result: asked.index((result.kind, result.number)))


def _round(kind: str, dice: Dice, *, kannel: bool, database: Database, **more: Any) -> Round:
    if kind == AirflowRound.KIND:
        return AirflowRound(dice, draw_airflow_scenario(dice, GATEWAY), **more)
    return ProcessRound(dice, draw_scenario(dice, kannel=kannel), database=database, **more)


def _keep(folder: Path, target: Path) -> Path:
    """Keep a round's logs where they can be looked at later."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("spool", "dlr", "postgres", "secrets"))
    return target


if __name__ == "__main__":
    main()
