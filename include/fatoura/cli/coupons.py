"""`fatoura coupons`: what became of captured coupons, and what clerks decide of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fatoura.cli.feeds import (
    JSON,
    MOST,
    UNMASKED,
    by_option,
    local_time,
    pending_of,
    shown_reference,
    shown_row,
    tell_checked,
    tell_loaded,
    tell_pending,
    who,
)
from fatoura.cli.printing import print_json
from fatoura.enrolment.outcomes import Outcome, Reason

if TYPE_CHECKING:
    from fatoura.enrolment.decisions import Decided

REASON = click.option(
    "--reason", required=True, help="How you know, in a few words; recorded with your name."
)


@click.group()
def coupons() -> None:
    """Coupons that customers filled in: what became of each, and what needs a person."""


@coupons.command(name="list")
@click.option(
    "--outcome",
    type=click.Choice([*(one.value for one in Outcome), "unjudged"]),
    help="Only with this outcome.",
)
@click.option(
    "--because", type=click.Choice([one.value for one in Reason]), help="Only refused for this reason."
)
@click.option("--batch", help="Only told in this batch.")
@click.option("--customer", help="Only of this customer, the 9 digits of a reference.")
@MOST
@UNMASKED
@JSON
def list_(
    outcome: str | None,
    because: str | None,
    batch: str | None,
    customer: str | None,
    most: int,
    unmasked: bool,
    as_json: bool,
) -> None:
    """Count coupons by what became of them, and list the first."""
    from fatoura.enrolment.showing import list_coupons

    found = list_coupons(
        outcome=outcome,
        reason=because,
        batch=batch,
        customer_reference="".join(customer.split()) if customer else None,
        most=most,
        unmasked=unmasked,
    )
    if as_json:
        print_json({"counts": found.counts, "coupons": found.first})
        return
    for what, count in found.counts.items():
        click.echo(f"{count:>10,} {what.replace('_', ' ')}")
    for one in found.first:
        _tell(one)
    if not found.counts:
        click.echo("none")


@coupons.command()
@click.argument("coupon_id", metavar="COUPON")
@UNMASKED
@JSON
def show(coupon_id: str, unmasked: bool, as_json: bool) -> None:
    """Show COUPON: what it says, what became of it, decisions, consents, messages."""
    from fatoura.enrolment.showing import show_coupon

    shown = show_coupon(coupon_id, unmasked=unmasked)
    if as_json:
        print_json(shown)
        return
    _tell(shown)
    for one in shown["told_before"]:
        click.echo(f"  told otherwise in {one['batch']}")
    for one in shown["decisions"]:
        click.echo(
            f"  {local_time(one['decided_at'])} {one['decision'].replace('_', ' ')} by {one['decided_by']}, "
            f"found {one['found']}: {one['reason']}"
        )
    for one in shown["consents"]:
        click.echo(f"  consent {one['act']}, of {one['given_on']}, recorded by {one['recorded_by']}")
    for one in shown["messages"]:
        because = f" ({one['reason']})" if one["reason"] else ""
        click.echo(f"  {one['kind']} {one['id']}: {one['state']}{because}")


@coupons.command()
@click.argument("coupon_id", metavar="COUPON")
@by_option("decides")
@REASON
@JSON
def accept(coupon_id: str, by: str | None, reason: str, as_json: bool) -> None:
    """Take COUPON, which was refused, over what speaks against it.

    Not where its customer has left since, is not known, or has no contract: that needs a new signature.
    """
    from fatoura.enrolment.decisions import accept_coupon

    _tell_decision(accept_coupon(coupon_id, by=who(by), reason=reason), as_json=as_json)


@coupons.command()
@click.argument("coupon_id", metavar="COUPON")
@by_option("decides")
@REASON
@JSON
def refuse(coupon_id: str, by: str | None, reason: str, as_json: bool) -> None:
    """Refuse COUPON for good, which waits or was refused; others of its customer get their turn."""
    from fatoura.enrolment.decisions import refuse_coupon

    _tell_decision(refuse_coupon(coupon_id, by=who(by), reason=reason), as_json=as_json)


@coupons.command("try-again")
@click.argument("coupon_id", metavar="COUPON")
@by_option("decides")
@REASON
@JSON
def try_again(coupon_id: str, by: str | None, reason: str, as_json: bool) -> None:
    """Send the welcome of COUPON once more: its number works after all, and the subscription is taken up."""
    from fatoura.enrolment.decisions import welcome_again

    _tell_decision(welcome_again(coupon_id, by=who(by), reason=reason), as_json=as_json)


@coupons.command()
@UNMASKED
@JSON
def unreachable(unmasked: bool, as_json: bool) -> None:
    """List subscriptions that rest because their number does not work, and write the list for clerks anew."""
    from fatoura.enrolment.lists import UNREACHABLE_NUMBERS, unreachable_numbers, write_lists
    from fatoura.phones_at_rest import masked, opened

    found = unreachable_numbers()
    shown = [
        {
            **one.__dict__,
            "customer_reference": shown_reference(one.customer_reference, unmasked=unmasked),
            "phone": (opened(one.phone) if unmasked else masked(one.phone)) if one.phone else None,
        }
        for one in found
    ]
    written = write_lists()
    file = written.folder / UNREACHABLE_NUMBERS
    if as_json:
        print_json({"unreachable": len(found), "file": str(file), "subscriptions": shown})
        return
    for one in shown:
        said = ", ".join(str(one[name]) for name in ("message_state", "provider_said") if one[name])
        click.echo(
            f"{one['customer_reference']}  {one['phone'] or 'no number'}  {one['state_reason']}"
            f"{f' ({said})' if said else ''}, coupon {one['coupon_id'] or 'unknown'}"
        )
    click.echo(f"{len(found):,} subscription(s); in full in {file}")


@coupons.command()
@JSON
def corrections(as_json: bool) -> None:
    """Write the file of coupons that need a clerk anew, and print its path; `correct` takes it back."""
    from fatoura.enrolment.lists import CORRECTIONS, write_lists

    written = write_lists()
    file = written.folder / CORRECTIONS
    if as_json:
        print_json({"file": str(file), "rows": written.corrections})
        return
    click.echo(f"{written.corrections:,} row(s) in {file}, and as a workbook beside it")


@coupons.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@by_option("has mended it")
@JSON
def correct(file: Path, by: str | None, as_json: bool) -> None:
    """Take FILE back, the corrections with what was mended in them, as CSV or XLSX.

    Rows that were not touched are left out. The others stand against what batches repeat, and are judged by
    the next intake.
    """
    from fatoura.enrolment.correcting import correct_coupons

    corrected = correct_coupons(file, by=who(by))
    if as_json:
        loaded = corrected.loaded.as_dict()
        print_json({"mended": corrected.mended, "untouched": corrected.untouched, "batch": loaded})
        return
    tell_loaded(corrected.loaded, as_json=False)
    click.echo(f"{corrected.untouched:,} row(s) were not touched")


@coupons.command()
@click.argument("folder")
@JSON
@click.pass_context
def check(ctx: click.Context, folder: str, as_json: bool) -> None:
    """Check the batch of coupons in FOLDER: manifest, header, checksums, each row. Loads nothing."""
    from fatoura.enrolment.loading import COUPONS
    from fatoura.feeds.checking import check_folder

    tell_checked(ctx, check_folder(COUPONS, folder), as_json=as_json)


@coupons.command(name="import")
@click.argument("folder")
@JSON
def import_(folder: str, as_json: bool) -> None:
    """Load the batch of coupons in FOLDER, which may be any, with its manifest; the next intake judges it."""
    from fatoura.enrolment.loading import load_coupons_batch

    tell_loaded(load_coupons_batch(folder), as_json=as_json)


@coupons.command()
@MOST
@UNMASKED
@JSON
def pending(most: int, unmasked: bool, as_json: bool) -> None:
    """Show rows that were set aside because they break a rule, and wait to be mended or settled."""
    from fatoura.enrolment.records import as_it_came

    total, rows = pending_of("coupons", most)
    rows = [row._replace(fields=as_it_came(row.fields)) for row in rows] if unmasked else rows
    if as_json:
        print_json({"pending": total, "rows": [shown_row(row, unmasked=unmasked) for row in rows]})
        return
    tell_pending(total, rows, unmasked=unmasked)


@coupons.command()
@click.argument("batch")
@click.argument("row", type=click.IntRange(1))
@REASON
@by_option("has seen to it")
def settle(batch: str, row: int, reason: str, by: str | None) -> None:
    """Settle ROW of BATCH, which was set aside: nothing comes of it."""
    from fatoura.feeds.set_aside import settle_row

    settle_row("coupons", batch, row, reason=reason, by=who(by))
    click.echo(f"row {row} of coupons/{batch} is settled")


def _tell(one: dict[str, Any]) -> None:
    outcome = (one["outcome"] or "unjudged").replace("_", " ")
    because = f" ({one['reason'].replace('_', ' ')})" if one["reason"] else ""
    by = f" by {one['judged_by']}" if one["judged_by"] else ""
    said = [
        f"scan {one['scan_id']}",
        f"customer {one['customer_reference']}",
        str(one["phone"] or "no number"),
        str(one["language"]),
        "crossed out" if one["crossed_out"] else f"signed on {one['signed_on']}",
        f"wording {one['wording_version']}",
        f"told in {one['batch']}",
    ]
    click.echo(f"{one['coupon_id']}: {outcome}{because}{by}")
    click.echo(f"  {', '.join(said)}")


def _tell_decision(decided: Decided, *, as_json: bool) -> None:
    if as_json:
        print_json(dict(decided.__dict__))
        return
    click.echo(f"{decided.coupon_id} was {decided.found}, and is {decided.outcome.replace('_', ' ')} now")
    for what, count in decided.others.items():
        click.echo(f"  with it: {count:,} {what.replace('_', ' ')}")
