"""`fatoura ledger`: the ledger of a cycle."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("cycle")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def ledger(cycle: str, as_json: bool) -> None:
    """Show where every row of CYCLE's extracts and every notice stands."""
    from fatoura.ledger import cycle_ledger
    from fatoura.ledger.balance import BUCKETS

    found = cycle_ledger(cycle)
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False))
        return
    rows = [("extracted", found.extracted), *((bucket, getattr(found, bucket)) for bucket in BUCKETS)]
    rows += [(f"  {state}", count) for state, count in found.states.items() if count]
    rows.append(("segments", found.segments))
    for name, count in rows:
        click.echo(f"{name:<16}{count:>12,}".replace(",", " "))
    click.echo("identity holds" if found.identity_holds else "IDENTITY BROKEN: " + "; ".join(found.missing))
