"""How commands print what has no form of its own in JSON. Used by the commands; knows none of them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document: instants in the utility's zone with their offset, ids as they are written."""
    click.echo(json.dumps(document, ensure_ascii=False, default=_in_words))


def _in_words(value: Any) -> str:
    if isinstance(value, datetime):
        from fatoura import clock

        return value.astimezone(clock.zone()).isoformat(timespec="milliseconds")
    return str(value)
