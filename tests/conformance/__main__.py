"""``python -m tests.conformance``: run all checks against all providers; ends with 1 if any fails."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from tests.conformance import checks
from tests.conformance.providers import providers
from tests.integration.kannel.stack import why_not

if TYPE_CHECKING:
    from tests.conformance.provider import Provider

_MARKS = {"passed": "[green]✓[/green]", "failed": "[red]✗[/red]", "does not apply": "·"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--fakes", is_flag=True, help="Leave out real gateways.")
def main(as_json: bool, fakes: bool) -> None:
    """Try each adapter against its provider, or a fake that speaks its documented form."""
    began, told = time.monotonic(), Console(stderr=True)
    reason = None if fakes else why_not()
    if reason:
        told.print(f"[yellow]without real Kannel: {reason}[/yellow]")
    with providers(real=not fakes and not reason) as found:
        results = {
            name: {sentence: _result(make(), sentence) for sentence in checks.sentences()}
            for name, make in found.items()
        }
    if as_json:
        click.echo(json.dumps(results, ensure_ascii=False, indent=1))
    else:
        console = Console(width=max(Console().width, 80 + 20 * len(results)))
        console.print(_table(results))
        console.print(f"{time.monotonic() - began:.0f} s; ✓ passed  ✗ failed  · does not apply")
    sys.exit(any("failed" in one.values() for one in results.values()))


def _result(provider: Provider, sentence: str) -> str:
    if not checks.applies(sentence, provider):
        return "does not apply"
    try:
        asyncio.run(checks.run(sentence, provider))
    except Exception:
        traceback.print_exc(file=sys.stderr)
        return "failed"
    return "passed"


def _table(results: dict[str, dict[str, str]]) -> Table:
    table = Table(box=None)
    table.add_column("", no_wrap=True)
    for name in results:
        table.add_column(name, justify="center")
    for sentence in checks.sentences():
        table.add_row(sentence, *(_MARKS[found[sentence]] for found in results.values()))
    counts = [Counter(found.values()) for found in results.values()]
    table.add_section()
    table.add_row("", *(f"{one['passed']} of {one['passed'] + one['failed']}" for one in counts))
    return table


if __name__ == "__main__":
    main()
