"""`fatoura fees`: what a subscription costs, who has paid it, who need not, and the files that tell of it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fatoura.cli.calendar import DayType
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

if TYPE_CHECKING:
    from datetime import date

    from fatoura.fees.explaining import FeeHistory
    from fatoura.fees.waiving import Waived

_WIDTH = 100
_MARGIN = " " * 20


@click.group()
def fees() -> None:
    """Yearly fees: their history, exemptions, refunds, files for the billing system, answers, the books."""


# --- What happened


@fees.command()
@click.argument("subject")
@UNMASKED
@JSON
def show(subject: str, unmasked: bool, as_json: bool) -> None:
    """Tell the fees of SUBJECT in the order of time, and what comes next.

    SUBJECT is the number of a subscription, the 9 digits of a reference, or the id of a charge. Times are
    local.
    """
    from dataclasses import asdict

    from fatoura.fees.explaining import fee_histories

    histories = fee_histories(subject, unmasked=unmasked)
    if as_json:
        documents = [asdict(one) | {"events": [event._asdict() for event in one.events]} for one in histories]
        print_json({"subscriptions": documents})
        return
    click.echo("\n\n".join("\n".join(_told(one)) for one in histories))


def _told(one: FeeHistory) -> list[str]:
    from fatoura import clock

    lines = [
        f"Subscription {one.subscription}, customer {one.customer_reference}.",
        *textwrap.wrap(one.summary, _WIDTH),
        "",
        "What happened",
    ]
    for event in one.events:
        hour = f" {event.at.astimezone(clock.zone()):%H:%M}" if event.at else ""
        lines += textwrap.wrap(
            event.sentence,
            _WIDTH,
            initial_indent=f"  {f'{event.day}{hour}':<18}",
            subsequent_indent=_MARGIN,
            break_on_hyphens=False,
            break_long_words=False,
        )
    if one.coming:
        lines += ["", "What comes next"]
        for sentence in one.coming:
            lines += textwrap.wrap(sentence, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return lines


@fees.command()
@click.option("--state", help="Only those in this state, such as rejected.")
@click.option("--file", "file_name", help="Only those that were told in this file.")
@MOST
@UNMASKED
@JSON
def charges(state: str | None, file_name: str | None, most: int, unmasked: bool, as_json: bool) -> None:
    """List charges, the latest first; and count all by state."""
    from fatoura.fees.listing import charges_like
    from fatoura.fees.states import ChargeState

    if state is not None and state not in set(ChargeState):
        raise click.UsageError(f"there is no state {state}: they are {', '.join(ChargeState)}")
    counted, found = charges_like(state=state, file_name=file_name, most=most)
    if as_json:
        shown = [
            one._asdict() | {"customer_reference": shown_reference(one.customer_reference, unmasked=unmasked)}
            for one in found
        ]
        print_json({"by_state": counted, "charges": shown})
        return
    for name, count in counted.items():
        click.echo(f"{count:>10,} {name}")
    for one in found:
        reference = shown_reference(one.customer_reference, unmasked=unmasked)
        because = f" ({one.because})" if one.because else ""
        click.echo(
            f"  {one.charge:<12}{one.state + because:<28}{one.period_start} to {one.period_end}"
            f"{one.amount_millimes:>8} millimes, {one.owed_millimes} owed, subscription "
            f"{one.subscription_id} of {reference}"
        )


# --- Who pays nothing, and what is given back


@fees.command()
@click.argument("customer", required=False)
@click.option("--file", "path", type=click.Path(exists=True, path_type=Path, dir_okay=False),
              help="A CSV of customer_reference, because, valid_from, valid_until.")  # fmt: skip
@click.option("--because", help="A code of the rules' exemptions.")
@click.option("--from", "first", type=DayType(), help="Its first day.  [default: that of the year under way]")
@click.option("--until", "last", type=DayType(), help="Its last day.  [default: until further notice]")
@by_option("says so")
@JSON
def waive(
    customer: str | None,
    path: Path | None,
    because: str | None,
    first: date | None,
    last: date | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Let CUSTOMER, or those of a file, pay nothing for years that begin while the exemption holds.

    Of one customer and code the last one told stands; one that ends before it begins was taken back. What was
    charged for such a year is withdrawn, and what was paid for the present one is given back.
    """
    from fatoura.fees.listing import first_day_to_waive
    from fatoura.fees.waiving import Waiver, grant, import_waivers

    if (path is None) == (customer is None):
        raise click.UsageError("give a customer's reference, or --file")
    if path is not None:
        _tell_waived(import_waivers(path, by=who(by)), as_json=as_json)
        return
    if not because or customer is None:
        raise click.UsageError("say --because: a code of the rules' exemptions (`fatoura fees rules`)")
    reference = "".join(customer.split())
    begins = first or first_day_to_waive(reference)
    _tell_waived(grant([Waiver(reference, because, begins, last)], by=who(by)), as_json=as_json)


def _tell_waived(done: Waived, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json(asdict(done) | {"refused": [one._asdict() for one in done.refused]})
        return
    click.echo(
        f"{done.waivers} recorded, {done.repeated} stood already; {done.waived} charges waived, "
        f"{done.given_back} to be given back"
    )
    for one in done.refused:
        click.echo(f"  row {one.row} refused: {'; '.join(one.flaws)}")
    if done.refused_rows > len(done.refused):
        click.echo(f"  … {done.refused_rows} rows refused in all")


@fees.command()
@click.argument("charge")
@click.option("--millimes", type=click.IntRange(1), help="How much.  [default: all that is left of it]")
@click.option("--reason", required=True, help="Why, in a few words.")
@by_option("decides it")
def refund(charge: str, millimes: int | None, reason: str, by: str | None) -> None:
    """Give back what was paid of CHARGE, or a part of it. Its year stays paid."""
    from fatoura.fees.crediting import refund

    done = refund(charge, millimes, reason=reason, by=who(by))
    click.echo(f"{done.millimes} millimes of {done.charge} are to be given back: in the next file")


@fees.command()
@click.argument("charge")
@click.argument("millimes", type=click.IntRange(0))
@click.option("--reason", required=True, help="Why, in a few words.")
@by_option("decides it")
def correct(charge: str, millimes: int, reason: str, by: str | None) -> None:
    """Lower CHARGE to MILLIMES, because it was wrong. Lowered to 0 before it is paid, it is waived."""
    from fatoura.fees.crediting import correct

    done = correct(charge, millimes, reason=reason, by=who(by))
    click.echo(f"{done.millimes} millimes were taken off {done.charge}, which is {done.state}")


# --- Files and answers


@fees.command(name="file")
@click.argument("name", required=False)
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False),
              help="Write it into this folder, not into its place in the outbox.")  # fmt: skip
@click.option("--list", "listed", is_flag=True, help="List all files.")
@JSON
def file_(name: str | None, folder: Path | None, listed: bool, as_json: bool) -> None:
    """Write the file NAME for the billing system again: the same bytes as the first time."""
    from fatoura.fees.filing import files, write_again

    if listed == bool(name):
        raise click.UsageError("give the name of a file, or --list")
    if name:
        place = write_again(name, folder)
        print_json({"file": name, "folder": str(place)}) if as_json else click.echo(str(place))
        return
    found = files()
    if as_json:
        from dataclasses import asdict

        print_json({"files": [asdict(one) for one in found]})
        return
    for one in found:
        click.echo(
            f"{one.name:<16}{one.charges:>9,} charges {one.charged_millimes:>13,} millimes"
            f"{one.credits:>9,} credits {one.credited_millimes:>12,} millimes, "
            f"{'written ' + local_time(one.written_at) if one.written_at else 'not written yet'}"
        )
    if not found:
        click.echo("none")


@fees.command()
@click.argument("folder")
@JSON
@click.pass_context
def check(ctx: click.Context, folder: str, as_json: bool) -> None:
    """Check the feed of answers in FOLDER: manifest, header, checksums, each row. Loads nothing."""
    from fatoura.feeds.checking import check_folder
    from fatoura.fees.results import FEE_RESULTS

    tell_checked(ctx, check_folder(FEE_RESULTS, folder), as_json=as_json)


@fees.command(name="import")
@click.argument("folder")
@JSON
def import_(folder: str, as_json: bool) -> None:
    """Load the feed of answers in FOLDER, and book what follows."""
    from fatoura.fees.results import load_results_feed

    tell_loaded(load_results_feed(folder), as_json=as_json)


@fees.command()
@MOST
@UNMASKED
@JSON
def pending(most: int, unmasked: bool, as_json: bool) -> None:
    """Show what waits to be settled: answers that do not count, and rows that could not be read.

    No subscription lapses for want of a charge that one of them names.
    """
    from fatoura.database import connect
    from fatoura.fees.findings import FINDINGS, pending_findings

    with connect() as connection:
        total, found = pending_findings(connection, most=most)
    rows_total, rows = pending_of("fee_results", most)
    if as_json:
        print_json(
            {
                "findings": total,
                "answers": [one._asdict() for one in found],
                "pending": rows_total,
                "rows": [shown_row(row, unmasked=unmasked) for row in rows],
            }
        )
        return
    click.echo(f"{total:,} answer(s) that do not count")
    for one in found:
        click.echo(
            f"  {one.charge} {one.result} {one.amount_millimes} millimes, {local_time(one.at)}, "
            f"{one.told_in}: {FINDINGS[one.finding]}"
        )
    tell_pending(rows_total, rows, unmasked=unmasked)


@fees.command()
@click.argument("charge")
@click.argument("result")
@click.argument("millimes", type=click.IntRange(1))
@click.option("--reason", required=True, help="What became of it, in a few words.")
@by_option("has seen to it")
def settle(charge: str, result: str, millimes: int, reason: str, by: str | None) -> None:
    """Settle the answer RESULT of MILLIMES about CHARGE, which does not count: somebody has seen to it."""
    from fatoura.fees.findings import settle_finding

    settle_finding(charge, result, millimes, reason=reason, by=who(by))
    click.echo(f"{charge} {result} {millimes} is settled")


@fees.command(name="settle-row")
@click.argument("feed")
@click.argument("row", type=click.IntRange(1))
@click.option("--reason", required=True, help="What became of it, in a few words.")
@by_option("has seen to it")
def settle_row(feed: str, row: int, reason: str, by: str | None) -> None:
    """Settle ROW of FEED, which could not be read: somebody has seen to what it says."""
    from fatoura.feeds.set_aside import settle_row

    settle_row("fee_results", feed, row, reason=reason, by=who(by))
    click.echo(f"row {row} of fee_results/{feed} is settled")


# --- The books, the rules


@fees.command()
@JSON
@click.pass_context
def balance(ctx: click.Context, as_json: bool) -> None:
    """Check the books: every charge beside the journal, every file beside what it was made of."""
    from fatoura.fees import words
    from fatoura.fees.balance import check_books
    from fatoura.fees.states import Account

    books = check_books()
    if as_json:
        print_json(books.as_json())
    else:
        for account in Account:
            millimes = books.accounts[account.value]
            click.echo(f"{account.value:<12}{millimes:>16,} millimes  {words.ACCOUNTS[account]}")
        click.echo(f"{books.charges:,} charges beside the journal: " + ("they agree" if books.agree else ""))
        for difference in books.differences:
            click.echo(f"  {difference}", err=True)
    ctx.exit(0 if books.agree else 1)


@fees.command()
@click.option("--on", "day", type=DayType(), help="The rules in force on this day; today if not given.")
@JSON
def rules(day: date | None, as_json: bool) -> None:
    """Say the rules in force, in words."""
    from fatoura import clock
    from fatoura.fees.rules import fee_rules_on
    from fatoura.fees.words import say_rules
    from fatoura.settings import get_settings

    version = fee_rules_on(day or clock.today())
    if as_json:
        print_json(version.model_dump(mode="json", by_alias=True))
        return
    click.echo(f"{get_settings().fee_rules}, on {day or clock.today()}:\n")
    for sentence in say_rules(version):
        click.echo(textwrap.fill(sentence, _WIDTH, initial_indent="- ", subsequent_indent="  "))


@fees.command()
@click.option("--month", default="", help="Only years that begin in this one, such as 2026-07.")
@JSON
def preview(month: str, as_json: bool) -> None:
    """Tell what the monthly run would do now, as counts. Nothing is kept, written or sent."""
    from fatoura.fees.renewing import preview

    counts: dict[str, Any] = preview(month=month)
    if as_json:
        print_json(counts)
        return
    for name, count in counts.items():
        click.echo(f"{count:>12,} {name.replace('_', ' ')}")
