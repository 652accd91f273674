"""`fatoura customers`: the register of the utility's customers, by which coupons are judged."""

from __future__ import annotations

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
def customers() -> None:
    """Who has a contract, and where, as the billing system tells it in feeds."""


@customers.command()
@click.argument("folder")
@JSON
@click.pass_context
def check(ctx: click.Context, folder: str, as_json: bool) -> None:
    """Check the feed of customers in FOLDER: manifest, header, checksums, each row. Loads nothing."""
    from fatoura.customers.loading import CUSTOMERS
    from fatoura.feeds.checking import check_folder

    tell_checked(ctx, check_folder(CUSTOMERS, folder), as_json=as_json)


@customers.command(name="import")
@click.argument("folder")
@JSON
def import_(folder: str, as_json: bool) -> None:
    """Load the feed of customers in FOLDER, which may be any, with its manifest."""
    from fatoura.customers.loading import load_customers_feed

    tell_loaded(load_customers_feed(folder), as_json=as_json)


@customers.command()
@MOST
@UNMASKED
@JSON
def pending(most: int, unmasked: bool, as_json: bool) -> None:
    """Show rows that were set aside and wait to be settled: coupons of these customers may wait for them."""
    total, rows = pending_of("customers", most)
    if as_json:
        print_json({"pending": total, "rows": [shown_row(row, unmasked=unmasked) for row in rows]})
        return
    tell_pending(total, rows, unmasked=unmasked)


@customers.command()
@click.argument("feed")
@click.argument("row", type=click.IntRange(1))
@click.option("--reason", required=True, help="What became of it, in a few words.")
@by_option("has seen to it")
def settle(feed: str, row: int, reason: str, by: str | None) -> None:
    """Settle ROW of FEED, which was set aside: somebody has seen to what it says."""
    from fatoura.feeds.set_aside import settle_row

    settle_row("customers", feed, row, reason=reason, by=who(by))
    click.echo(f"row {row} of customers/{feed} is settled")
