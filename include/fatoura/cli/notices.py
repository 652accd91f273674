"""`fatoura notices`: what customers are told, and what it costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from fatoura.languages import LANGUAGES, Language

if TYPE_CHECKING:
    from fatoura.notices.kinds import Kind


@click.group()
def notices() -> None:
    """Look at messages: the texts of each kind, and the life of a single notice."""


@notices.command()
@click.argument("kind")
@click.option("--language", type=click.Choice(LANGUAGES), help="Only this language.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def preview(kind: str, language: Language | None, as_json: bool) -> None:
    """Show the messages of KIND, with usual values and with those that take the most room."""
    from fatoura.notices.kinds import load_kind

    loaded = load_kind(kind)
    texts = [
        _measured(loaded, code, values)
        for code in ([language] if language else LANGUAGES)
        for values in ("typical", "worst")
    ]
    if as_json:
        document = {
            "kind": loaded.name,
            "description": loaded.description,
            "priority": loaded.priority,
            "segments": loaded.segments,
            "in_doubt": loaded.in_doubt.value,
            "validity_minutes": loaded.validity_minutes,
            "texts": texts,
        }
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    click.echo(f"{loaded.name}: {loaded.description}")
    for text in texts:
        click.echo(
            f"\n{text['language']}, {text['values']} values: {text['units']} units of {text['encoding']}, "
            f"{text['segments']} of {loaded.segments} segment(s)\n"
        )
        click.echo("\n".join(f"    {line}" for line in text["text"].splitlines()))


def _measured(kind: Kind, language: Language, values: str) -> dict[str, Any]:
    from fatoura.notices.encoding import measure

    text = kind.render_worst(language) if values == "worst" else kind.render_typical(language)
    return {"language": language, "values": values, "text": text, **measure(text)._asdict()}
