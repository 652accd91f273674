"""`fatoura report`: write a cycle's report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fatoura.reports.words import ReportLanguage


@click.command()
@click.argument("cycle")
@click.option(
    "--language", type=click.Choice(["fr", "en"]), help="Language of the page; the setting when left out."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def report(cycle: str, language: ReportLanguage | None, as_json: bool) -> None:
    """Write the report of CYCLE as it stands now, and print the page's path."""
    from fatoura.reports import write_report

    page = write_report(cycle, language=language)
    if not as_json:
        click.echo(page)
        return
    files = sorted(path.name for path in page.parent.iterdir() if path.is_file())
    click.echo(json.dumps({"cycle": page.parent.name, "path": str(page), "files": files}, ensure_ascii=False))
