"""`fatoura demo`: from coupons to bills, in a stack of its own that is stopped afterwards."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option("--invoices", type=click.IntRange(10, 5_000_000), default=2000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed writes another sample.")
@click.option("--keep", is_flag=True, help="Wait for Ctrl-C before stopping, so that one can look around.")
def demo(invoices: int, seed: int, keep: bool) -> None:
    """Let sample customers enrol by coupon, and run a billing cycle of theirs, to its report.

    Uses ports that are free and files below var/demo, so that it disturbs no stack that runs. Its clock is
    set to ten in the morning of the extract's issue date, and its messages reach nobody.
    """
    from rich.console import Console

    from fatoura.settings import get_settings
    from fatoura.stack.demo import Demonstration
    from fatoura.stack.local import interruptible

    try:
        with interruptible():
            shown = Demonstration(get_settings(), invoices, seed, Console(highlight=False))
            shown.run(keep=keep)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
