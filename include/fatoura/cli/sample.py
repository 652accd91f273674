"""`fatoura sample`: an invented extract, its subscribers, and what must become of each row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime


class _Defect(click.ParamType["tuple[str, float]"]):
    """``KIND=SHARE``, the share between 0 and 1."""

    name = "KIND=SHARE"

    def kinds(self) -> Collection[str]:
        """Return what KIND may be."""
        from fatoura.extracts.sample import BATCH_DEFECTS, ROW_DEFECTS

        return {*ROW_DEFECTS, *BATCH_DEFECTS}

    def convert(
        self, value: str | tuple[str, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        kind, equals, share = value.partition("=")
        if kind not in self.kinds():
            self.fail(f"{kind!r} is no kind of defect; see --list-defects", param, ctx)
        try:
            number = float(share)
        except ValueError:
            number = -1
        if not equals or not 0 <= number <= 1:
            self.fail(f"{kind} needs a share between 0 and 1, such as {kind}=0.01", param, ctx)
        return kind, number


class _CouponDefect(_Defect):
    """The same for what coupons have wrong."""

    def kinds(self) -> Collection[str]:
        """Return what KIND may be."""
        from fatoura.enrolment.sample import COUPON_DEFECTS

        return COUPON_DEFECTS


def _list_defects(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from fatoura.enrolment.sample import COUPON_DEFECTS
    from fatoura.extracts.sample import BATCH_DEFECTS, ROW_DEFECTS

    click.echo("In this share of the records:")
    for kind, said in ROW_DEFECTS.items():
        click.echo(f"  {kind:<22} {said}")
    click.echo("In the extract as a whole, which must then be refused:")
    for kind, said in BATCH_DEFECTS.items():
        click.echo(f"  {kind:<22} {said}")
    click.echo("With --coupon-defect, on so many further coupons, as a share of the subscribers:")
    for kind, said in COUPON_DEFECTS.items():
        click.echo(f"  {kind:<22} {said}")
    ctx.exit()


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False))
@click.option("--cycle", required=True, help="The cycle's key, such as 2026-05-T1.")
@click.option("--invoices", default=2000, show_default=True, type=click.IntRange(0), help="Records to write.")
@click.option(
    "--subscribed",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the customers who subscribed.",
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="The same seed, the same bytes."
)
@click.option("--defect", "defects", multiple=True, type=_Defect(), help="A kind of defect and its share.")
@click.option(
    "--coupon-defect",
    "coupon_defects",
    multiple=True,
    type=_CouponDefect(),
    help="What coupons have wrong, and its share.",
)
@click.option(
    "--list-defects",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_defects,
    help="List the kinds of defect.",
)
@click.option(
    "--issue-date",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Default: the 20th of the month that the cycle's key begins with, or today.",
)
@click.option("--format", "form", default="csv", show_default=True, type=click.Choice(["csv", "parquet"]))
@click.option(
    "--parts", default=1, show_default=True, type=click.IntRange(1), help="Files to spread it over."
)
@click.option("--land", is_flag=True, help="Also deliver it into the landing folder, manifest last.")
@click.option("--land-coupons", is_flag=True, help="Also deliver its customers and coupons there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def sample(
    directory: str,
    cycle: str,
    invoices: int,
    subscribed: float,
    seed: int,
    defects: tuple[tuple[str, float], ...],
    coupon_defects: tuple[tuple[str, float], ...],
    issue_date: datetime | None,
    form: str,
    parts: int,
    land: bool,
    land_coupons: bool,
    as_json: bool,
) -> None:
    """Write an invented extract into DIR: its parts, manifest.json, subscribers.csv and expected.json.

    Below DIR, customers/ and coupons/ hold the feeds by which the same subscribers enrol. expected.json
    tells in which bucket of the ledger, and why, each row must end, and what must become of the coupons.
    Everything is invented, seeded and repeatable. The phones are Tunisian mobiles in form, counted upwards
    from +216 20 000 000: some may belong to somebody, so a sample is for a sandbox and never for a real
    provider; the profile `production` refuses to write one.
    """
    from pathlib import Path

    from fatoura.enrolment.sample import deliver_enrolment
    from fatoura.extracts.sample import Sample, deliver, write_sample

    folder = Path(directory)
    written = write_sample(
        folder,
        Sample(
            cycle=cycle,
            invoices=invoices,
            subscribed=subscribed,
            seed=seed,
            issue_date=issue_date.date() if issue_date else None,
            defects=dict(defects),
            format="parquet" if form == "parquet" else "csv",
            parts=parts,
            coupon_defects=dict(coupon_defects),
        ),
    )
    landed = str(deliver(folder)) if land else None
    coupons_landed = [str(target) for target in deliver_enrolment(folder, cycle)] if land_coupons else []
    if as_json:
        click.echo(
            json.dumps(
                {
                    "cycle": cycle,
                    "folder": str(folder),
                    "landed": landed,
                    "manifest": written.manifest.document(),
                    "subscribers": written.subscribers,
                    "extracted": invoices,
                    **written.buckets,
                    "refused": written.refused,
                    "coupons": written.coupons.document() | {"landed": coupons_landed},
                }
            )
        )
        return
    counts = ", ".join(f"{count:,} {bucket.replace('_', ' ')}" for bucket, count in written.buckets.items())
    click.echo(f"{invoices:,} records of {cycle} and {written.subscribers:,} subscribers in {folder}")
    if written.refused:
        click.echo(f"must be refused: {', '.join(written.refused)}")
    else:
        click.echo(f"must become: {counts}")
    ends = ", ".join(f"{count:,} {end}" for end, count in sorted(written.coupons.outcomes.items()))
    click.echo(f"{written.coupons.rows:,} rows of coupons must become: {ends or 'nothing'}")
    for target in (*([landed] if landed else []), *coupons_landed):
        click.echo(f"delivered to {target}")
