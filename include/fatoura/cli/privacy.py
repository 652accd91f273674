"""`fatoura privacy`: what one customer may ask for, and what is erased because its time is over."""

from __future__ import annotations

import click

from fatoura.cli.feeds import by_option, who
from fatoura.cli.printing import print_json

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
def privacy() -> None:
    """Give one customer what is held of them, erase it, or erase what is kept no longer."""


@privacy.command()
@click.argument("reference")
@JSON
def access(reference: str, as_json: bool) -> None:
    """Write everything that is held of the customer REFERENCE, 9 digits, into one file, and print its path.

    Numbers and texts stand in it in full; only the service's own account may read it. It is removed with the
    other files for clerks (FATOURA_KEEP_FILES).
    """
    from fatoura.privacy.access import write_access

    path = write_access("".join(reference.split()))
    if as_json:
        print_json({"file": str(path)})
        return
    click.echo(path)


@privacy.command()
@click.argument("reference")
@click.option("--request", required=True, help="The number under which it was asked for.")
@by_option("does it")
@JSON
def erase(reference: str, request: str, by: str | None, as_json: bool) -> None:
    """Erase what may be erased of the customer REFERENCE, 9 digits, and say what is kept and why.

    Their subscription ends and nothing more is sent; bills and what was owed stay, and so does the record of
    consent, without a number. It cannot be undone. Under the same request again it only says what was done.
    """
    from fatoura import clock
    from fatoura.privacy.erasing import erase_person

    receipt = erase_person("".join(reference.split()), request=request, by=who(by))
    document = receipt.as_json()
    if as_json:
        print_json(document)
        return
    done = "was done" if receipt.before else "is done"
    at = f"{receipt.done_at.astimezone(clock.zone()):%Y-%m-%d %H:%M}"
    click.echo(f"request {receipt.request} {done}, {at}, by {receipt.done_by}")
    click.echo("erased:" if receipt.erased else "nothing was left to erase")
    for place, count in receipt.erased.items():
        click.echo(f"  {count:>8,}  {place}")
    click.echo("kept:")
    for table, kept in document["kept"].items():
        click.echo(f"  {kept['rows']:>8,}  {table}: {kept['because']}")


@privacy.command()
@JSON
def retain(as_json: bool) -> None:
    """Erase what is kept no longer, as the workflow `retention` does every night; logs are left to it."""
    from fatoura.privacy.files import remove_due
    from fatoura.privacy.retention import erase_due

    erased, removed = erase_due(), remove_due()
    if as_json:
        print_json({"erased": erased, "removed": removed})
        return
    for what, count in {**erased, **removed}.items():
        click.echo(f"  {count:>10,}  {what}")
    if not erased and not removed:
        click.echo("nothing is due")
