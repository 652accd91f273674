"""What `fatoura payments` and `fatoura facts` have in common: how feeds and rows set aside are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fatoura.cli.printing import print_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from fatoura.feeds import FeedLoaded
    from fatoura.feeds.checking import Checked
    from fatoura.feeds.content import ContentName
    from fatoura.feeds.set_aside import PendingRow

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
UNMASKED = click.option("--unmasked", is_flag=True, help="Show customers' references in full.")
MOST = click.option(
    "--limit", "most", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Show no more."
)


def by_option(what: str) -> Callable[[Any], Any]:
    """Return the option that says who tells something."""
    return click.option("--by", help=f"Who {what}.  [default: the user who runs this]")


def who(by: str | None) -> str:
    """Return who runs this, unless it was said."""
    from getpass import getuser

    return by or getuser()


def tell_loaded(loaded: FeedLoaded, *, as_json: bool) -> None:
    """Show what became of a feed."""
    if as_json:
        print_json(loaded.as_dict())
        return
    click.echo(f"{loaded.content}/{loaded.feed}: {loaded.outcome}, {loaded.rows:,} rows")
    for how, count in loaded.counts.items():
        click.echo(f"  {count:>10,} {how.replace('_', ' ')}")
    for row in loaded.set_aside:
        click.echo(f"  row {row.row}: {'; '.join(row.reasons)}")
    for remark in loaded.remarks:
        click.echo(f"  remark: {remark}")


def tell_checked(ctx: click.Context, checked: Checked, *, as_json: bool) -> None:
    """Show what was found in a folder, and end with 1 when it would be refused."""
    if as_json:
        print_json(checked.as_dict())
    else:
        for line in checked.lines():
            click.echo(line, err=not checked.accepted)
    ctx.exit(0 if checked.accepted else 1)


def pending_of(content: ContentName, most: int) -> tuple[int, list[PendingRow]]:
    """Return how many rows of a content wait to be settled, and the first of them."""
    from fatoura.database import connect
    from fatoura.feeds.set_aside import pending_rows

    with connect() as connection:
        return pending_rows(connection, content, most=most)


def shown_row(row: PendingRow, *, unmasked: bool) -> dict[str, Any]:
    """Return a row set aside as JSON; without its values unless they are asked for."""
    shown = row._asdict()
    shown["customer_reference"] = shown_reference(row.customer_reference, unmasked=unmasked)
    if not unmasked:
        del shown["fields"]  # whatever stands in a row that came broken
    return shown


def shown_reference(reference: str | None, *, unmasked: bool) -> str | None:
    """Return a customer's reference as it is printed, masked unless it is asked for in full."""
    from fatoura.references import format_reference, mask_reference

    if reference is None:
        return None
    printed = format_reference(reference, "fr")
    return printed if unmasked else mask_reference(printed)


def tell_pending(total: int, rows: list[PendingRow], *, unmasked: bool) -> None:
    """Show rows that wait to be settled."""
    more = f", the first {len(rows):,}" if total > len(rows) else ""
    click.echo(f"{total:,} row(s) set aside and not settled{more}")
    for row in rows:
        named = [
            name
            for name in (
                row.subject,
                row.invoice_number and f"invoice {row.invoice_number}",
                row.customer_reference
                and f"customer {shown_reference(row.customer_reference, unmasked=unmasked)}",
            )
            if name
        ]
        click.echo(f"  {row.feed} row {row.row}: {'; '.join(row.reasons)}")
        click.echo(f"     {', '.join(named) or 'names nobody, so it holds nothing back: see to it first'}")
        if unmasked:
            click.echo(f"     {row.fields}")


def local_time(instant: datetime | None) -> str:
    """Return an instant in the utility's zone."""
    from fatoura import clock

    return f"{instant.astimezone(clock.zone()):%Y-%m-%d %H:%M:%S}" if instant else "not known"
