"""`fatoura extracts`: tools for those who deliver extracts."""

from __future__ import annotations

import json

import click


@click.group()
def extracts() -> None:
    """Check extracts before they are delivered."""


@extracts.command()
@click.argument("directory", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def check(ctx: click.Context, directory: str, as_json: bool) -> None:
    """Check the extract in the folder DIR: manifest, header, checksums, counts and sums. Loads nothing.

    Exit code 0: it would be loaded; 1: it would be refused, and why. Records that are broken or hold a
    value that does not read are counted, with the places of the first; they do not make it refused, the
    quality gate sets them aside.
    """
    from fatoura.extracts.checking import check_folder

    checked = check_folder(directory)
    if as_json:
        click.echo(json.dumps(checked.as_dict(), ensure_ascii=False))
    else:
        for line in checked.lines():
            click.echo(line, err=not checked.accepted)
    ctx.exit(0 if checked.accepted else 1)
