"""`fatoura facts`: what is known of accounts that changes whether a customer may be warned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fatoura.cli.feeds import (
    JSON,
    MOST,
    UNMASKED,
    by_option,
    pending_of,
    shown_reference,
    shown_row,
    tell_checked,
    tell_loaded,
    tell_pending,
    who,
)
from fatoura.cli.printing import print_json
from fatoura.cutoff.rules import Fact

if TYPE_CHECKING:
    from datetime import date, datetime

    from fatoura.accounts.commands import KnownFact

_FACTS = [fact.value for fact in Fact]
_DAY = click.DateTime(["%Y-%m-%d"])


@click.group()
def facts() -> None:
    """Payment plans, disputes, protected customers and the like: who must not be warned, and from when on."""


@facts.command(name="set")
@click.argument("customer")
@click.argument("fact", type=click.Choice(_FACTS))
@click.option("--invoice", help="Only about this invoice.  [default: all of the customer's]")
@click.option("--from", "valid_from", type=_DAY, help="Its first day.  [default: today]")
@click.option("--until", "valid_until", type=_DAY, help="Its last day.  [default: until further notice]")
@click.option("--id", "fact_id", help="A fact that is known already, to be told anew.")
@by_option("says so")
@UNMASKED
@JSON
def set_(
    customer: str,
    fact: str,
    invoice: str | None,
    valid_from: datetime | None,
    valid_until: datetime | None,
    fact_id: str | None,
    by: str | None,
    unmasked: bool,
    as_json: bool,
) -> None:
    """Tell that FACT holds for CUSTOMER, the 9 digits of a reference.

    What is told by command stands against what files say, until it is told otherwise by command.
    """
    from fatoura.accounts.commands import set_fact

    known = set_fact(
        "".join(customer.split()),
        fact,
        set_by=who(by),
        invoice_number=invoice,
        valid_from=_date(valid_from),
        valid_until=_date(valid_until),
        fact_id=fact_id,
    )
    _tell(known, unmasked=unmasked, as_json=as_json)


@facts.command()
@click.argument("fact_id")
@click.option("--on", "last_day", type=_DAY, help="Its last day.  [default: yesterday: it holds no more]")
@by_option("says so")
@UNMASKED
@JSON
def end(fact_id: str, last_day: datetime | None, by: str | None, unmasked: bool, as_json: bool) -> None:
    """End the fact FACT_ID. One that ends before its first day was taken back: it has never held."""
    from fatoura.accounts.commands import end_fact

    known = end_fact(fact_id, set_by=who(by), last_day=_date(last_day))
    _tell(known, unmasked=unmasked, as_json=as_json)


@facts.command(name="list")
@click.argument("customer", required=False)
@click.option("--invoice", help="Only about this invoice.")
@click.option("--fact", type=click.Choice(_FACTS), help="Only of this kind.")
@click.option("--on", "day", type=_DAY, help="In force on this day.  [default: today]")
@click.option("--all", "everything", is_flag=True, help="Also those that hold no more, or not yet.")
@MOST
@UNMASKED
@JSON
def list_(
    customer: str | None,
    invoice: str | None,
    fact: str | None,
    day: datetime | None,
    everything: bool,
    most: int,
    unmasked: bool,
    as_json: bool,
) -> None:
    """List facts in force: of CUSTOMER, or of all."""
    from fatoura import clock
    from fatoura.accounts.commands import known_facts

    found = known_facts(
        customer_reference="".join(customer.split()) if customer else None,
        invoice_number=invoice,
        fact=fact,
        on=None if everything else _date(day) or clock.today(),
        most=most,
    )
    if as_json:
        print_json({"facts": [_as_json(one, unmasked=unmasked) for one in found]})
        return
    for one in found:
        _tell(one, unmasked=unmasked, as_json=False)
    if not found:
        click.echo("none")


@facts.command(name="import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@JSON
def import_(path: Path, as_json: bool) -> None:
    """Import PATH: a CSV of facts, told by whoever runs this, or the folder of a feed with its manifest."""
    from fatoura.accounts.commands import import_facts
    from fatoura.accounts.loading import load_facts_feed

    loaded = load_facts_feed(str(path)) if path.is_dir() else import_facts(path)
    tell_loaded(loaded, as_json=as_json)


@facts.command()
@click.argument("folder")
@JSON
@click.pass_context
def check(ctx: click.Context, folder: str, as_json: bool) -> None:
    """Check the feed of facts in FOLDER: manifest, header, checksums, each row. Loads nothing."""
    from fatoura.accounts.loading import FACTS
    from fatoura.feeds.checking import check_folder

    tell_checked(ctx, check_folder(FACTS, folder), as_json=as_json)


@facts.command()
@MOST
@UNMASKED
@JSON
def pending(most: int, unmasked: bool, as_json: bool) -> None:
    """Show rows of facts that were set aside and wait to be settled: who they name is not warned."""
    total, rows = pending_of("facts", most)
    if as_json:
        document = {"pending": total, "rows": [shown_row(row, unmasked=unmasked) for row in rows]}
        print_json(document)
        return
    tell_pending(total, rows, unmasked=unmasked)


@facts.command()
@click.argument("feed")
@click.argument("row", type=click.IntRange(1))
@click.option("--reason", required=True, help="What became of it, in a few words.")
@by_option("has seen to it")
def settle(feed: str, row: int, reason: str, by: str | None) -> None:
    """Settle ROW of FEED, which was set aside: somebody has seen to what it says."""
    from fatoura.feeds.set_aside import settle_row

    settle_row("facts", feed, row, reason=reason, by=who(by))
    click.echo(f"row {row} of facts/{feed} is settled")


def _date(value: datetime | None) -> date | None:
    return value.date() if value else None


def _as_json(known: KnownFact, *, unmasked: bool) -> dict[str, Any]:
    from fatoura import clock

    return {
        **known._asdict(),
        "customer_reference": shown_reference(known.customer_reference, unmasked=unmasked),
        "in_force": known.holds_on(clock.today()),
    }


def _tell(known: KnownFact, *, unmasked: bool, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(known, unmasked=unmasked))
        return
    reference = shown_reference(known.customer_reference, unmasked=unmasked)
    about = f"invoice {known.invoice_number}" if known.invoice_number else "all invoices"
    until = known.valid_until or "further notice"
    click.echo(
        f"{known.fact_id}: {known.fact} of {reference}, {about}, from {known.valid_from} until {until}, "
        f"says {known.set_by} ({known.told_in})"
    )
