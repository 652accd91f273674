"""`fatoura payments`: feeds of payments, what stands of them, and what waits for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fatoura.cli.feeds import (
    JSON,
    MOST,
    UNMASKED,
    by_option,
    local_time,
    pending_of,
    shown_row,
    tell_checked,
    tell_loaded,
    tell_pending,
    who,
)
from fatoura.cli.payments_sample import sample
from fatoura.cli.printing import print_json

if TYPE_CHECKING:
    from fatoura.payments.life import InvoicePayments


@click.group()
def payments() -> None:
    """Load what customers have paid, and see up to when it is known."""


payments.add_command(sample)


@payments.command()
@click.argument("folder")
@JSON
def load(folder: str, as_json: bool) -> None:
    """Load the feed of payments in FOLDER: a path, or a URL such as s3://bucket/payments/2026-06-29-0600.

    Rows that break a rule are set aside; a feed that is wrong as a whole is refused, and nothing of it kept.
    Loading it again changes nothing.
    """
    from fatoura.payments import load_payments_feed

    tell_loaded(load_payments_feed(folder), as_json=as_json)


@payments.command()
@JSON
@click.pass_context
def take(ctx: click.Context, as_json: bool) -> None:
    """Load all feeds of payments and account facts that lie in the landing folder.

    Exit code 1: some feed is refused; all others are loaded.
    """
    from fatoura.payments import take_feeds

    taken = take_feeds()
    if as_json:
        print_json(taken.as_dict())
    else:
        for loaded in taken.loaded:
            tell_loaded(loaded, as_json=False)
        if not taken.loaded:
            click.echo("nothing new")
        for one in taken.refused:
            click.echo(f"{one.content}/{one.feed} in {one.location} is refused:", err=True)
            for problem in one.problems:
                click.echo(f"  {problem}", err=True)
    ctx.exit(1 if taken.refused else 0)


@payments.command()
@click.argument("folder")
@JSON
@click.pass_context
def check(ctx: click.Context, folder: str, as_json: bool) -> None:
    """Check the feed of payments in FOLDER: manifest, header, checksums, sums, each row. Loads nothing.

    Exit code 0: it would be loaded; 1: it would be refused, and why.
    """
    from fatoura.feeds.checking import check_folder
    from fatoura.payments.loading import PAYMENTS

    tell_checked(ctx, check_folder(PAYMENTS, folder), as_json=as_json)


@payments.command()
@click.argument("invoice")
@UNMASKED
@JSON
def show(invoice: str, unmasked: bool, as_json: bool) -> None:
    """Show all that is known of the payments of INVOICE: what stands, what it stands against, what waits."""
    from dataclasses import asdict

    from fatoura.payments.life import invoice_payments

    found = invoice_payments(invoice.strip(), unmasked=unmasked)
    if as_json:
        print_json(asdict(found))
        return
    click.echo("\n".join(_told(found)))


def _told(found: InvoicePayments) -> list[str]:
    from fatoura.money import format_amount

    def dinars(millimes: int) -> str:
        return f"{format_amount(millimes, 'fr')} DT"

    if found.amount_due_millimes is None or found.balance_millimes is None:
        lines = [f"{found.invoice_number}: not among the invoices here; paid {dinars(found.paid_millimes)}"]
    else:
        lines = [
            f"{found.invoice_number} of {found.customer_reference}: {dinars(found.amount_due_millimes)} due "
            f"{found.due_date}, paid {dinars(found.paid_millimes)}, owed {dinars(found.balance_millimes)}"
        ]
    for one in found.payments:
        outcome = "" if one.outcome == "counted" else f", {one.outcome.replace('_', ' ')}"
        named = f" of {one.reverses}" if one.reverses else ""
        lines.append(
            f"  {local_time(one.paid_at)}  {one.kind}{named} {one.payment_id}: {dinars(one.amount_millimes)} "
            f"by {one.channel}, counts {dinars(one.counts_millimes)}{outcome}"
        )
        told = f"{one.feed} row {one.row}"
        if one.revision:
            told += f", {one.revision} other version(s) were told"
        lines.append(f"    {told}")
    if found.former:
        lines.append("  told otherwise")
    for former in found.former:
        was = former.was
        lines.append(
            f"    {former.payment_id} in {former.feed}: {was['kind']} of {dinars(was['amount_millimes'])} at "
            f"{was['paid_at']} by {was['channel']}; {former.superseded_by} stands instead"
        )
    if found.set_aside:
        lines.append("  rows set aside")
    for row in found.set_aside:
        state = f"settled: {row.settlement}" if row.settled_at else "not settled: this invoice is not warned"
        lines.append(f"    {row.feed} row {row.row}: {'; '.join(row.reasons)} ({state})")
    return lines


@payments.command(name="watermarks")
@JSON
def watermarks_(as_json: bool) -> None:
    """Show, by channel, up to when all payments are known."""
    from fatoura.cutoff.rules import Channel
    from fatoura.database import connect
    from fatoura.feeds.refused import standing_refusals
    from fatoura.payments import watermarks

    with connect() as connection:
        known = watermarks(connection)
        refused = [one for one in standing_refusals(connection) if one.content == "payments"]
    held = {
        channel: [one.name for one in refused if one.channels is None or channel in one.channels]
        for channel in Channel
    }
    if as_json:
        document = {
            "watermarks": {channel.value: known.get(channel) for channel in Channel},
            "held_by": {channel.value: names for channel, names in held.items() if names},
        }
        print_json(document)
        return
    for channel in Channel:
        by = f"  held by the refused feed(s) {', '.join(held[channel])}" if held[channel] else ""
        click.echo(f"{channel.value:<10}{local_time(known.get(channel))}{by}")


@payments.command()
@JSON
def refused(as_json: bool) -> None:
    """Show the feeds, of payments and of account facts, that lie in the landing folder and are refused.

    While a refused feed of payments lies there, the watermarks of its channels stay where they are.
    """
    from fatoura.database import connect
    from fatoura.feeds.refused import standing_refusals

    with connect() as connection:
        found = standing_refusals(connection)
    if as_json:
        print_json({"refused": [one._asdict() for one in found]})
        return
    for one in found:
        click.echo(
            f"{one.content}/{one.name} in {one.location}, refused since {local_time(one.first_refused_at)}"
        )
        for problem in one.problems:
            click.echo(f"  {problem}")
    if not found:
        click.echo("none")


@payments.command()
@MOST
@UNMASKED
@JSON
def pending(most: int, unmasked: bool, as_json: bool) -> None:
    """Show rows that were set aside and wait to be settled, and reversals of payments that are not known.

    Whoever such a row names is not warned meanwhile. A later feed that brings it right settles it by itself.
    """
    from fatoura.payments.life import waiting_reversals

    total, rows = pending_of("payments", most)
    waiting = waiting_reversals(most=most)
    if as_json:
        document = {
            "pending": total,
            "rows": [shown_row(row, unmasked=unmasked) for row in rows],
            "waiting_reversals": [
                {"payment_id": one, "reverses": of, "invoice_number": invoice, "paid_at": at}
                for one, of, invoice, at in waiting
            ],
        }
        print_json(document)
        return
    tell_pending(total, rows, unmasked=unmasked)
    for one, of, invoice, at in waiting:
        click.echo(
            f"  reversal {one} of {local_time(at)} waits for payment {of} of invoice {invoice}, unknown here"
        )


@payments.command()
@click.argument("feed")
@click.argument("row", type=click.IntRange(1))
@click.option("--reason", required=True, help="What became of it, in a few words.")
@by_option("has seen to it")
def settle(feed: str, row: int, reason: str, by: str | None) -> None:
    """Settle ROW of FEED, which was set aside: somebody has seen to what it says."""
    from fatoura.feeds.set_aside import settle_row

    settle_row("payments", feed, row, reason=reason, by=who(by))
    click.echo(f"row {row} of payments/{feed} is settled")


@payments.command(name="push-address")
@JSON
def push_address(as_json: bool) -> None:
    """Show where payments are pushed to, and which file holds the token; it is made when there is none."""
    from fatoura.payments.secret import payments_token
    from fatoura.settings import get_settings

    payments_token()
    settings = get_settings()
    address = f"{settings.receiver_url.rstrip('/')}/payments"
    if as_json:
        print_json({"address": address, "token_file": str(settings.payments_secret_file)})
        return
    click.echo(f"POST {address}")
    click.echo(f"Authorization: Bearer, and the first line of {settings.payments_secret_file}")
