"""`fatoura db`: bring the database to this version's schema, or tell which one it has."""

from __future__ import annotations

import json

import click


@click.group()
def db() -> None:
    """Bring the application's database to this version's schema, or tell how it stands."""


@db.command()
def upgrade() -> None:
    """Run the migrations that are missing. Safe at any time, and from several machines at once."""
    from fatoura.database.embedded import wait_until_ready
    from fatoura.database.migrate import upgrade as run_migrations
    from fatoura.database.migrate import versions
    from fatoura.settings import get_settings

    wait_until_ready(get_settings().database_url)
    before, _ = versions()
    run_migrations()
    after, _ = versions()
    click.echo(f"the schema is at {after} already" if before == after else f"the schema is now at {after}")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def status(as_json: bool) -> None:
    """Tell which schema the database has, and whether migrations are missing."""
    from fatoura.database.embedded import wait_until_ready
    from fatoura.database.migrate import versions
    from fatoura.settings import get_settings

    wait_until_ready(get_settings().database_url, 5)
    held, wanted = versions()
    if as_json:
        click.echo(json.dumps({"schema": held, "wanted": wanted, "up_to_date": held == wanted}))
    elif held == wanted:
        click.echo(f"up to date: {held}")
    else:
        click.echo(
            f"the schema is at {held or 'nothing'}, this version wants {wanted}: run `fatoura db upgrade`"
        )
