"""`fatoura subscribers`: the first import of subscribers, and the way out by a clerk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fatoura.cli.feeds import by_option, shown_reference, who
from fatoura.cli.printing import print_json

if TYPE_CHECKING:
    from datetime import datetime

    from fatoura.reports.words import ReportLanguage


@click.group()
def subscribers() -> None:
    """Who gets messages, on which phone, in which language."""


@subscribers.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@by_option("imports it")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def import_(file: Path, by: str | None, as_json: bool) -> None:
    """Import FILE, a CSV of customer_reference, phone, language, channel and consent_date.

    Rows that break a rule are refused, counted, and written to a file for correction, which can be imported
    once it is corrected. A file that cannot be used as a whole ends with exit code 1.
    """
    from fatoura.subscriptions import import_subscribers

    outcome = import_subscribers(file, by=who(by))
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


@subscribers.command()
@click.argument("reference")
@click.option("--evidence", required=True, help="What shows it: the number of a letter, or of a call.")
@click.option(
    "--on", "asked_on", type=click.DateTime(["%Y-%m-%d"]), help="The day of asking.  [default: today]"
)
@by_option("tells it")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def leave(reference: str, evidence: str, asked_on: datetime | None, by: str | None, as_json: bool) -> None:
    """Let the customer REFERENCE, 9 digits, leave: no message goes out any more, also none that is planned.

    What a sender has claimed by then has left. Who subscribes again later gets a new subscription.
    """
    from fatoura.subscriptions.leaving import leave_by_clerk

    left = leave_by_clerk(
        "".join(reference.split()), evidence, by=who(by), asked_on=asked_on.date() if asked_on else None
    )
    if as_json:
        print_json({"ended": len(left.ended), "cancelled": left.cancelled})
        return
    shown = shown_reference("".join(reference.split()), unmasked=False)
    click.echo(f"{shown} gets no more messages; {left.cancelled} that were planned are cancelled")


@subscribers.command()
@click.option(
    "--month", help="The page of this month, such as 2026-07; that of the whole service if not given."
)
@click.option(
    "--language", type=click.Choice(["fr", "en"]), help="Language of the page; the setting when left out."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def report(month: str | None, language: ReportLanguage | None, as_json: bool) -> None:
    """Write the page of a month of subscriptions and fees, or of the whole service, and print its path.

    Who subscribed, stayed and left, what was charged and paid, and what messages cost beside it. Figures that
    do not agree with the journal end with exit code 1, after the page is written.
    """
    from fatoura.reports.subscriptions import (
        count_today,
        subscription_month,
        write_month_report,
        write_service_report,
    )

    first = subscription_month(month) if month else None
    count_today()
    page = write_month_report(first, language=language) if first else write_service_report(language=language)
    if not as_json:
        click.echo(page)
        return
    files = sorted(path.name for path in page.parent.iterdir() if path.is_file())
    print_json({"month": month, "path": page, "files": files})
