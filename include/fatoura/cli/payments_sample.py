"""`fatoura payments sample`: invented feeds of payments for the invoices of an extract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fatoura.cli.feeds import JSON
from fatoura.cli.printing import print_json

if TYPE_CHECKING:
    from datetime import datetime


class _Share(click.ParamType["tuple[str, float]"]):
    """``KIND=SHARE``, the share between 0 and 1."""

    name = "KIND=SHARE"

    def convert(
        self, value: str | tuple[str, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        from fatoura.payments.sample import SHARES

        if isinstance(value, tuple):
            return value
        kind, equals, share = value.partition("=")
        if kind not in SHARES:
            self.fail(f"{kind!r} is no kind of payment; see --list-kinds", param, ctx)
        try:
            number = float(share)
        except ValueError:
            number = -1
        if not equals or not 0 <= number <= 1:
            self.fail(f"{kind} needs a share between 0 and 1, such as {kind}=0.05", param, ctx)
        return kind, number


def _list_kinds(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from fatoura.payments.sample import MEANINGS, SHARES

    for kind, meaning in MEANINGS.items():
        click.echo(f"  {kind:<12}{SHARES[kind]:<8}{meaning}")
    ctx.exit()


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--extract",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of the extract whose invoices are paid, such as `fatoura sample` writes.",
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="The same seed, the same bytes."
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]),
    help="No feed comes later than this local time.  [default: now]",
)
@click.option(
    "--feeds-a-day", default=2, show_default=True, type=click.IntRange(1, 24), help="Feeds that come a day."
)
@click.option("--share", "shares", multiple=True, type=_Share(), help="A kind of payment and its share.")
@click.option(
    "--list-kinds",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_kinds,
    help="List the kinds of payment, with their usual shares.",
)
@click.option("--land", is_flag=True, help="Also deliver them into the landing folder, manifests last.")
@JSON
def sample(
    directory: Path,
    extract: Path,
    seed: int,
    until: datetime | None,
    feeds_a_day: int,
    shares: tuple[tuple[str, float], ...],
    land: bool,
    as_json: bool,
) -> None:
    """Write invented feeds of payments into DIR, a folder each, for the invoices of an extract.

    They begin on the day after the bills were issued. expected.json tells what must have been paid on each
    invoice once all of them are loaded. Everything is invented, seeded and repeatable; the profile
    `production` refuses to write any.
    """
    from fatoura import clock
    from fatoura.payments.sample import PaymentsSample, deliver_feed, write_payments_sample

    written = write_payments_sample(
        directory,
        PaymentsSample(
            extract=extract,
            seed=seed,
            until=until and until.replace(tzinfo=clock.zone()),
            feeds_a_day=feeds_a_day,
            shares=dict(shares),
        ),
    )
    if land:
        for name in written.feeds:
            deliver_feed(directory / name)
    if as_json:
        print_json({"folder": str(directory), "landed": land, **written.__dict__})
        return
    from fatoura.money import format_amount

    click.echo(f"{len(written.feeds):,} feeds with {written.rows:,} rows in {directory}")
    click.echo(", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in written.kinds.items()))
    click.echo(f"paid in all: {format_amount(written.paid_millimes, 'fr')} DT")
