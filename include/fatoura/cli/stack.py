"""`fatoura stack`: the local stack, started, stopped, looked at."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fatoura.stack.local import LocalStack

_DAGS = click.option(
    "--dags",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Airflow's DAG folder, instead of the project's.",
)


def _stack(dags: Path | None = None) -> LocalStack:
    from rich.console import Console

    from fatoura.settings import get_settings
    from fatoura.stack.local import LocalStack

    console = Console(stderr=True, highlight=False)
    return LocalStack(get_settings(), dags=dags, say=lambda line: console.print(f"[dim]·[/] {line}"))


@click.group()
def stack() -> None:
    """Run PostgreSQL, Airflow, a sandbox gateway, the receipt receiver and the web site here, on loopback."""


@stack.command()
@click.option("--foreground", is_flag=True, help="Stay, and stop everything at Ctrl-C or when a part ends.")
@_DAGS
def up(foreground: bool, dags: Path | None) -> None:
    """Start what does not run yet, and print the UI's address and login."""
    from fatoura.stack.local import interruptible

    local = _stack(dags)
    try:
        with interruptible():
            if foreground:
                with local.guarded():
                    local.up()
                    _welcome(local)
                    click.echo("Ctrl-C stops everything.")
                    local.watch()
            else:
                local.up()
                _welcome(local)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
        sys.exit(130)


@stack.command()
def down() -> None:
    """Stop everything that belongs to the stack, also what a crash left behind."""
    click.echo("stopped; no process is left" if _stack().down() else "nothing was running")


@stack.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def status(as_json: bool) -> None:
    """Show how each part of the stack does."""
    local = _stack()
    parts = local.status()
    if as_json:
        found = {
            part.name: {"running": part.running, "ready": part.ready, "pid": part.pid, "port": part.port}
            for part in parts
        }
        click.echo(json.dumps({"running": all(part.ready for part in parts), "parts": found}))
        return
    for part in parts:
        state = "ready" if part.ready else "starting or unwell" if part.running else "stopped"
        details = [f"process {part.pid}"] if part.pid else []
        details += [f"port {part.port}"] if part.port and part.running else []
        if part.started:
            details.append(f"since {datetime.fromtimestamp(part.started):%Y-%m-%d %H:%M:%S}")
        click.echo(f"{part.name:<15}{state:<20}{', '.join(details)}".rstrip())
    if all(part.running for part in parts):
        _welcome(local)


@stack.command()
@_DAGS
def env(dags: Path | None) -> None:
    """Print the stack's environment for a shell: eval "$(fatoura stack env)", then call airflow."""
    click.echo(_stack(dags).environment.as_shell())


def _welcome(local: LocalStack) -> None:
    from fatoura.stack.keys import ADMIN

    click.echo(
        f"Airflow: {local.environment.ui}   user: {ADMIN}   password: {local.environment.keys.admin_password}"
    )
    click.echo(f"Web site: {local.settings.site_url}")
    click.echo(f"Landing folder: {local.settings.landing}")
