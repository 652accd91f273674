"""`fatoura departures`: files in which clerks tell who wants no more messages."""

from __future__ import annotations

from pathlib import Path

import click

from fatoura.cli.feeds import (
    JSON,
    MOST,
    UNMASKED,
    by_option,
    pending_of,
    shown_row,
    tell_checked,
    tell_loaded,
    tell_pending,
    who,
)
from fatoura.cli.printing import print_json


@click.group()
def departures() -> None:
    """Who wants no more messages, as clerks were told, in files. For a single one: `subscribers leave`."""


@departures.command()
@click.argument("folder")
@JSON
@click.pass_context
def check(ctx: click.Context, folder: str, as_json: bool) -> None:
    """Check the feed of departures in FOLDER: manifest, header, checksums, each row. Loads nothing."""
    from fatoura.departures import DEPARTURES
    from fatoura.feeds.checking import check_folder

    tell_checked(ctx, check_folder(DEPARTURES, folder), as_json=as_json)


@departures.command(name="import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@JSON
def import_(folder: Path, as_json: bool) -> None:
    """Load the feed of departures in FOLDER, which may be any, with its manifest."""
    from fatoura.departures import DEPARTURES
    from fatoura.feeds.delivery import open_folder
    from fatoura.feeds.loading import load_feed
    from fatoura.landing import landing_path

    delivery = open_folder(DEPARTURES, landing_path(str(folder)), named=False, subject=str(folder))
    tell_loaded(load_feed(DEPARTURES, delivery), as_json=as_json)


@departures.command()
@MOST
@UNMASKED
@JSON
def pending(most: int, unmasked: bool, as_json: bool) -> None:
    """Show rows that were set aside and wait to be settled: who they name still gets messages."""
    total, rows = pending_of("departures", most)
    if as_json:
        print_json({"pending": total, "rows": [shown_row(row, unmasked=unmasked) for row in rows]})
        return
    tell_pending(total, rows, unmasked=unmasked)


@departures.command()
@click.argument("feed")
@click.argument("row", type=click.IntRange(1))
@click.option("--reason", required=True, help="What became of it, in a few words.")
@by_option("has seen to it")
def settle(feed: str, row: int, reason: str, by: str | None) -> None:
    """Settle ROW of FEED, which was set aside: somebody has seen to what it says."""
    from fatoura.feeds.set_aside import settle_row

    settle_row("departures", feed, row, reason=reason, by=who(by))
    click.echo(f"row {row} of departures/{feed} is settled")
