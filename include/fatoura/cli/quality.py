"""`fatoura quality`: the rules of an extract, its rejected rows, and their way back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.group()
def quality() -> None:
    """Look at the rules of extracts, and bring rejected rows back."""


@quality.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def rules(as_json: bool) -> None:
    """Show the rules in words: those for a row, and those for an extract as a whole."""
    from fatoura.quality import load_suite

    suite = load_suite()
    if as_json:
        document = [
            {"code": rule.code, "severity": rule.severity, "field": rule.field, "says": rule.says}
            for rule in suite.rules
        ]
        click.echo(json.dumps({"rules": document}, ensure_ascii=False))
        return
    effects = {"row": "the row is set aside", "stop": "the extract is refused", "ask": "a person is asked"}
    for severity, effect in effects.items():
        click.echo(f"Otherwise {effect}:")
        for rule in suite.rules:
            if rule.severity == severity:
                click.echo(f"  {rule.code:<28}{rule.says}")


@quality.command()
@click.argument("key")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; else standard output."
)
def export(key: str, out: Path | None) -> None:
    """Write the rejected rows of the extract KEY as CSV, with the reasons, for correction.

    KEY is a cycle's, such as 2026-05-T1, or a supplement's, such as 2026-05-T1/supplement-1.
    """
    from fatoura.cycles.keys import ExtractKey
    from fatoura.quality.corrections import export_rejected

    extract = ExtractKey.parse(key)
    if out is None:
        rows = export_rejected(extract, sys.stdout)
    else:
        with out.open("w", encoding="utf-8", newline="") as file:
            rows = export_rejected(extract, file)
    click.echo(f"{rows:,} rejected rows of {extract}", err=True)


@quality.command()
@click.argument("key")
@click.argument("corrected", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--landing", help="Landing folder, a path or a URL; else that of the settings.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def supplement(key: str, corrected: Path, landing: str | None, as_json: bool) -> None:
    """Bring the rows of CORRECTED back, as the next supplement of the cycle of KEY.

    CORRECTED is what `fatoura quality export` wrote, with the mistakes mended; rows that are to stay out
    are deleted from it.
    """
    from fatoura.cycles.keys import ExtractKey
    from fatoura.quality.corrections import write_supplement

    written = write_supplement(ExtractKey.parse(key), corrected, landing)
    if as_json:
        document = {
            "key": str(written.key),
            "folder": written.folder,
            "rows": written.rows,
            "total_amount_millimes": written.total_amount_millimes,
        }
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    click.echo(f"{written.key}: {written.rows:,} rows in {written.folder}; its run starts by itself")
