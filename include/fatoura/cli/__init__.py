"""The command of the project: `fatoura`. One file a group; a group is imported only when it is called.

Exit codes: 0 done, 1 refused (bad input; standard error says why), 2 wrong usage.
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from typing import Any

import click

from fatoura.errors import FatouraError

# Command -> module:attribute. Imported late: `fatoura ledger` must not wait for Great Expectations.
_COMMANDS = {
    "calendar": "fatoura.cli.calendar:calendar",
    "coupons": "fatoura.cli.coupons:coupons",
    "customers": "fatoura.cli.customers:customers",
    "cutoff": "fatoura.cli.cutoff:cutoff",
    "db": "fatoura.cli.database:db",
    "demo": "fatoura.cli.demo:demo",
    "departures": "fatoura.cli.departures:departures",
    "extracts": "fatoura.cli.extracts:extracts",
    "facts": "fatoura.cli.facts:facts",
    "fees": "fatoura.cli.fees:fees",
    "gateway": "fatoura.cli.gateway:gateway",
    "ledger": "fatoura.cli.ledger:ledger",
    "notices": "fatoura.cli.notices:notices",
    "payments": "fatoura.cli.payments:payments",
    "phones": "fatoura.cli.phones:phones",
    "privacy": "fatoura.cli.privacy:privacy",
    "quality": "fatoura.cli.quality:quality",
    "receiver": "fatoura.cli.receiver:receiver",
    "report": "fatoura.cli.report:report",
    "sample": "fatoura.cli.sample:sample",
    "site": "fatoura.cli.site:site",
    "stack": "fatoura.cli.stack:stack",
    "statements": "fatoura.cli.statements:statements",
    "subscribers": "fatoura.cli.subscribers:subscribers",
}


class _LateGroup(click.Group):
    """A group whose commands are imported when they are asked for, and whose refusals end with code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = _COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, attribute = target.split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FatouraError as refusal:
            click.echo(f"fatoura: {refusal}", err=True)
            sys.exit(1)
        except Exception as error:
            import psycopg
            from sqlalchemy.exc import OperationalError

            if not isinstance(error, (OperationalError, psycopg.OperationalError)):
                raise
            # Only the first line of the driver's own words: SQLAlchemy's hold the statement.
            why = (str(getattr(error, "orig", error)).splitlines() or ["no reason given"])[0]
            click.echo(
                f"fatoura: the database does not answer: {why}. Start it (`make up`), or set "
                "FATOURA_DATABASE_URL to one that runs",
                err=True,
            )
            sys.exit(1)


@click.group(
    cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="fatoura")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done, on standard error.")
def main(verbose: bool) -> None:
    """Electricity and gas bills by SMS: extracts, subscribers, notices, reports, and the local stack."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
