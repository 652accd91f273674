"""`python -m tests.model`: random lives by the thousand, judged step by step; or mutants, to try him."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from fatoura.settings import PROJECT_ROOT
from tests.chaos.services import Database, memory_folder
from tests.model.mutants import FAULTS
from tests.model.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = Path(__file__).with_name("rules.yaml")
_TOLD_EVERY = 15.0


@click.command()
@click.option("--steps", default=10_000, show_default=True, type=click.IntRange(1), help="At least so many.")
@click.option("--seed", default=None, type=int, help="Drawn and told when it is not given.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 16), help="Side by side.")
@click.option("--lives", default=5, show_default=True, type=click.IntRange(1), help="In a chunk.")
@click.option("--actions", default=80, show_default=True, type=click.IntRange(1), help="In a life.")
@click.option("--chunk", default=0, help="Number of the first chunk: to run one again.")
@click.option("--shrink", is_flag=True, help="Look for the shortest life that shows it; takes minutes.")
@click.option("--mutants", is_flag=True, help="Put one fault after the other into the product instead.")
@click.option("--only", default="", help="Of the mutants, those whose name holds this.")
@click.option("--check", is_flag=True, help="End with 1 when something was not reached that has to be.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the tables.")
def main(
    steps: int,
    seed: int | None,
    workers: int,
    lives: int,
    actions: int,
    chunk: int,
    shrink: bool,
    mutants: bool,
    only: str,
    check: bool,
    as_json: bool,
) -> None:
    """Run random lives; end with 1 when the product did what it must not, or left undone what it has to."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped on the way out
    for name in [name for name in os.environ if name.startswith(("FATOURA_", "AIRFLOW"))]:
        del os.environ[name]
    seed = int.from_bytes(os.urandom(3)) * 1_000_000 if seed is None else seed
    told = Console(stderr=True, highlight=False, soft_wrap=True)
    began = time.monotonic()
    with _databases(workers) as urls:
        if mutants:
            caught = {
                name: _run(told, urls, seed, steps, lives, actions, chunk, shrink=shrink, fault=name)
                for name in FAULTS
                if only in name
            }
            bad = _tell_mutants(caught, as_json=as_json)
        else:
            tally, found = _run(told, urls, seed, steps, lives, actions, chunk, shrink=shrink)
            bad = _tell(tally, found, seed, time.monotonic() - began, check=check, as_json=as_json)
    sys.exit(1 if bad else 0)


@contextmanager
def _databases(number: int) -> Iterator[list[str]]:
    ground = memory_folder("fatoura-model-")
    try:
        with Database(ground) as server:
            for one in range(number):
                server.make(f"model_{one}")
            yield [server.server.url(f"model_{one}") for one in range(number)]
    finally:
        shutil.rmtree(ground, ignore_errors=True)


def _run(
    told: Console,
    urls: list[str],
    seed: int,
    steps: int,
    lives: int,
    actions: int,
    chunk: int,
    *,
    shrink: bool,
    fault: str = "",
) -> tuple[Tally, dict[str, Any] | None]:
    """Run workers until there are steps enough or one has found something; return both."""
    lines: queue.Queue[str] = queue.Queue()
    tally, found, began = Tally(), None, time.monotonic()
    workers = []
    for number, url in enumerate(urls):
        arguments = [
            url,
            seed,
            lives,
            actions,
            chunk + number,
            len(urls),
            int(shrink),
            *([fault] if fault else []),
        ]
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.model.worker", *map(str, arguments)],
            cwd=PROJECT_ROOT,
            env={**os.environ, "FATOURA_DATABASE_URL": url, "FATOURA_CUTOFF_RULES": str(RULES)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process: they are in the middle of a life
            stdout=subprocess.PIPE,
            text=True,
        )
        workers.append(worker)
        threading.Thread(target=_listen, args=(worker, lines), daemon=True).start()
    ended, last = 0, began
    try:
        while tally.steps.total() < steps and found is None and ended < len(workers):
            line = lines.get()
            if not line:
                ended += 1
                continue
            answer = json.loads(line)
            tally.add(Tally.of(answer["tally"]))
            if answer["found"]:
                found = answer
            if not fault and time.monotonic() > last + _TOLD_EVERY:
                last = time.monotonic()
                rate = tally.steps.total() / (last - began)
                told.print(
                    f"{last - began:6.0f} s  {tally.steps.total():,} steps, {tally.lives:,} lives, "
                    f"{tally.checked.total():,} checks; {rate:.0f} steps/s"
                )
    except KeyboardInterrupt:
        told.print("ended by hand")
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    if ended and found is None:
        raise click.ClickException("a worker has ended by itself; what it said stands above")
    if fault:
        what = f"caught after {tally.steps.total():,} steps" if found else "NOT CAUGHT"
        told.print(f"{time.monotonic() - began:6.0f} s  {fault}: {what}")
    return tally, found


def _listen(worker: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert worker.stdout is not None
    for line in worker.stdout:
        lines.put(line)
    lines.put("")


def _tell(
    tally: Tally, found: dict[str, Any] | None, seed: int, seconds: float, *, check: bool, as_json: bool
) -> bool:
    missing = tally.missing() if found is None else []
    if as_json:
        document = {"seed": seed, "seconds": round(seconds, 1), "found": found, "missing": missing}
        click.echo(json.dumps({**document, **tally.as_json()}))
    else:
        console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
        for table in tally.tables():
            console.print(table)
            console.print()
        console.print(
            f"seed {seed}: {tally.steps.total():,} steps of {tally.lives:,} lives, "
            f"{tally.checked.total():,} checks, in {seconds:.0f} s"
        )
        for one in missing:
            console.print(f"not reached: {one}")
        if found is not None:
            console.print(found["found"], markup=False, soft_wrap=True)
            console.print(f"again: python -m tests.model --seed {seed} --chunk {found['chunk']} --shrink")
    return found is not None or (check and bool(missing))


def _tell_mutants(caught: dict[str, tuple[Tally, dict[str, Any] | None]], *, as_json: bool) -> bool:
    if as_json:
        click.echo(
            json.dumps({name: found and found["found"].splitlines() for name, (_, found) in caught.items()})
        )
    else:
        console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
        for name, (_, found) in caught.items():
            said = (
                next((line for line in found["found"].splitlines() if "Violation: " in line), "")
                if found
                else ""
            )
            console.print(
                f"{'caught' if found else 'MISSED'}  {name}: {said.partition('Violation: ')[2][:60]}"
            )
    return any(found is None for _, found in caught.values())


if __name__ == "__main__":
    main()
