"""`fatoura subscribers`: the first import of subscribers."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group()
def subscribers() -> None:
    """Who gets messages, on which phone, in which language."""


@subscribers.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def import_(file: Path, as_json: bool) -> None:
    """Import FILE, a CSV of customer_reference, phone, language, channel and consent_date.

    Rows that break a rule are refused, counted, and written to a file for correction, which can be imported
    once it is corrected. A file that cannot be used as a whole ends with exit code 1.
    """
    from fatoura.subscriptions import import_subscribers

    outcome = import_subscribers(file)
    if as_json:
        click.echo(json.dumps(outcome.as_json(), ensure_ascii=False))
        return
    for name in ("rows", "added", "changed", "unchanged", "repeated", "refused"):
        click.echo(f"{name:<10}{getattr(outcome, name):>12,}".replace(",", " "))
    if outcome.unknown_columns:
        click.echo(f"columns that were not read: {', '.join(outcome.unknown_columns)}")
    for reason, count in outcome.reasons.items():
        click.echo(f"  {count:>8} × {reason}")
    for refused in outcome.first_refused:
        click.echo(f"  row {refused.row}: {'; '.join(map(str, refused.flaws))}")
    if outcome.refused_file:
        click.echo(f"Refused rows, as they came: {outcome.refused_file}")
