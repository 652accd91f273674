"""`fatoura cutoff`: who is warned that supply may be cut, who is not, why, and the lists for people."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from fatoura.cli.printing import print_json

if TYPE_CHECKING:
    from fatoura.cutoff.explaining import Explanation

_WIDTH = 100
_MARGIN = " " * 20


@click.group()
def cutoff() -> None:
    """Cut-off warnings: why a customer was or was not warned, how things stand, lists, rules and reports."""


@cutoff.command()
@click.argument("invoice")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--unmasked", is_flag=True, help="Show the customer's reference, and others' words, in full.")
def explain(invoice: str, as_json: bool, unmasked: bool) -> None:
    """Say why the customer of INVOICE was or was not warned, in the order of time, and what comes next.

    It changes nothing. Times are local. No phone number is shown; `fatoura notices show` tells of messages.
    """
    from fatoura.cutoff.explaining import explain

    explanation = explain(invoice.strip(), unmasked=unmasked)
    if as_json:
        print_json(_as_json(explanation))
        return
    click.echo("\n".join(_explained(explanation)))


def _explained(told: Explanation) -> list[str]:
    """Return an explanation, line by line."""
    from fatoura import clock
    from fatoura.cutoff import words
    from fatoura.dates import say_day

    lines = [
        f"Invoice {told.invoice} of {told.cycle or 'no cycle'}, customer {told.customer_reference}, district "
        f"{told.district}: {words.amount(told.amount_due_millimes)}, to pay by {say_day(told.due_date)}.",
        *textwrap.wrap(told.summary, _WIDTH),
        *_owed_now(told.balance_millimes),
        "",
        "What happened",
    ]
    for event in told.events:
        hour = f" {event.at.astimezone(clock.zone()):%H:%M}" if event.at else ""
        lines += _wrapped(f"{event.day}{hour}", event.sentence)
    lines += ["", "What comes next"]
    for sentence in told.coming:
        lines += textwrap.wrap(sentence, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return lines


def _owed_now(millimes: int | None) -> list[str]:
    from fatoura.cutoff import words

    if millimes is None:
        return []
    if millimes > 0:
        return [f"Owed now: {words.amount(millimes)}."]
    return ["Owed now: nothing" + (f"; {words.amount(-millimes)} was paid too much." if millimes else ".")]


def _wrapped(margin: str, sentence: str) -> list[str]:
    return textwrap.wrap(
        sentence,
        _WIDTH,
        initial_indent=f"  {margin:<18}",
        subsequent_indent=_MARGIN,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _as_json(told: Explanation) -> dict[str, Any]:
    from dataclasses import asdict

    document = asdict(told)
    document["next"] = document.pop("coming")
    return document
