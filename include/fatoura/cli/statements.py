"""`fatoura statements`: what a provider says that it counted, beside what the ledger holds."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fatoura.cli.printing import print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

    from fatoura.reports.words import ReportLanguage
    from fatoura.sending.doubts import Resolution
    from fatoura.statements import Comparison, OpenComparison


@click.group()
def statements() -> None:
    """Set a provider's monthly bill or detail file beside the ledger, down to the millime."""


def _of_statement(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the two options that name a statement."""
    command = click.option(
        "--period", "period_key", required=True, metavar="YYYY-MM", help="The month, such as 2026-05."
    )(command)
    return click.option("--gateway", required=True, help="Whose statement: the gateway's name.")(command)


@contextmanager
def _compared(gateway: str, period_key: str) -> Iterator[OpenComparison]:
    from fatoura.statements import Period, compared

    with compared(gateway, Period.parse(period_key)) as opened:
        yield opened


_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_OUTCOME = click.option(
    "--outcome", "outcomes", multiple=True, help="Only messages of this outcome; may be given several times."
)
_BY = click.option("--by", help="Who decides on doubts.  [default: the user who runs this]")
_UNMASKED = click.option("--unmasked", is_flag=True, help="Show numbers in full.")


@statements.command()
@_JSON
def forms(as_json: bool) -> None:
    """Show the forms by which statements can be read; own ones lie in FATOURA_STATEMENT_FORMS."""
    from fatoura.statements.forms import known_forms, load_form

    loaded = {name: load_form(str(path)).form for name, path in known_forms().items()}
    if as_json:
        document = {name: form.model_dump(mode="json") for name, form in loaded.items()}
        print_json({"forms": document})
        return
    for name, form in loaded.items():
        click.echo(f"{name:<16}{form.description}")


@statements.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_of_statement
@click.option("--form", help="A form's name or file; else that of the gateway, or of its adapter.")
@click.option(
    "--resolve-doubts",
    is_flag=True,
    help="Take each notice in doubt that the statement counts for accepted. Without it they are listed.",
)
@_BY
@_JSON
def import_(
    file: Path,
    gateway: str,
    period_key: str,
    form: str | None,
    resolve_doubts: bool,
    by: str | None,
    as_json: bool,
) -> None:
    """Import FILE as the statement of a month, compare it with the ledger, and write the report.

    CSV or XLSX, a line a message or a bill only: what stands where, a form says. The same file again changes
    nothing; another one for the same gateway and month replaces the one before. Lines that cannot be counted
    are set aside, with the line, the column and the reason.
    """
    from fatoura.statements import Period, import_statement

    outcome = import_statement(file, gateway, Period.parse(period_key), form_name=form)
    resolution = _resolve(gateway, period_key, by) if resolve_doubts else None
    with _compared(gateway, period_key) as opened:
        page = _write_report(opened)
        doubts = len(opened.doubts())
        found = opened.comparison
    if as_json:
        document = {
            "import": outcome.as_json(),
            "comparison": found.as_json(),
            "doubts_resolved": resolution and len(resolution.resolved),
            "report": str(page),
        }
        print_json(document)
        return
    click.echo(f"{outcome.outcome}: {outcome.lines:,} lines, {outcome.set_aside:,} set aside")
    for line, field, reason in outcome.first_flaws:
        click.echo(f"  line {line}: {field}: {reason}")
    if resolution is not None:
        _tell_resolution(resolution)
    _tell(found, doubts)
    click.echo(f"\n{page}")


@statements.command(name="list")
@_JSON
def list_(as_json: bool) -> None:
    """List the statements that were imported, the newest month first."""
    from fatoura.statements import imported_statements

    found = imported_statements()
    if as_json:
        print_json({"statements": found})
        return
    for one in found:
        click.echo(
            f"{one['period']}  {one['gateway']:<20}{one['level']:<9}{one['lines']:>10,} lines"
            f"{one['set_aside']:>8,} set aside  {one['file']}"
            + (f" (revision {one['revision']})" if one["revision"] > 1 else "")
        )
    if not found:
        click.echo("none yet")


@statements.command()
@_of_statement
@_OUTCOME
@click.option("--most", default=20, show_default=True, help="Messages shown of each outcome asked for.")
@_UNMASKED
@_JSON
def show(
    gateway: str, period_key: str, outcomes: tuple[str, ...], most: int, unmasked: bool, as_json: bool
) -> None:
    """Compare a statement with the ledger as it stands now, and show the figures.

    With --outcome, also the messages of it: which line, which notice, and what either side counts.
    """
    _demand_outcomes(outcomes)
    with _compared(gateway, period_key) as opened:
        found = opened.comparison
        messages = list(opened.messages(outcomes, most=most)) if outcomes else []
        flaws = opened.set_aside(most=most)
        doubts = opened.doubts()
    from fatoura.statements.report import MESSAGE_COLUMNS, message_cells

    rows = [
        dict(zip(MESSAGE_COLUMNS, message_cells(message, unmasked=unmasked), strict=True))
        for message in messages
    ]
    if as_json:
        document = found.as_json()
        document["doubts"] = [
            {
                "notice_id": str(one["notice_id"]),
                "attempt": one["attempt"],
                "line": one["line"],
                "provider_id": one["provider_id"],
                "matched_by": one["matched_by"],
            }
            for one in doubts
        ]
        document["messages"] = rows
        document["first_set_aside"] = [
            {"line": line, "field": field, "reason": reason} for line, field, reason in flaws
        ]
        print_json(document)
        return
    _tell(found, len(doubts))
    for row in rows:
        click.echo(
            f"  {row['outcome']:<16}line {row['line'] or '–':<8}notice {row['notice_id'] or '–':<38}"
            f"{row['recipient'] or '–':<18}segments {_either(row['their_segments'], row['our_segments']):<9}"
            f"millimes {_either(row['their_millimes'], row['our_millimes'])}"
        )


@statements.command()
@_of_statement
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file: its ending, .csv or .xlsx, says what it becomes.",
)
@_OUTCOME
@_UNMASKED
def export(gateway: str, period_key: str, out: Path, outcomes: tuple[str, ...], unmasked: bool) -> None:
    """Write each message of a comparison to a file, with its outcome: all of them, or those asked for."""
    from fatoura.statements import OUTCOMES
    from fatoura.statements.exporting import export_messages

    _demand_outcomes(outcomes)
    with _compared(gateway, period_key) as opened:
        rows = export_messages(opened, out, outcomes=outcomes or OUTCOMES, unmasked=unmasked)
    click.echo(f"{rows:,} messages: {out}", err=True)


@statements.command()
@_of_statement
@click.option("--language", type=click.Choice(["fr", "en"]), help="Of the page; the setting when left out.")
def report(gateway: str, period_key: str, language: ReportLanguage | None) -> None:
    """Write the report of a comparison again, as the ledger stands now, and print the page's path."""
    with _compared(gateway, period_key) as opened:
        click.echo(_write_report(opened, language))


@statements.command(name="resolve-doubts")
@_of_statement
@_BY
@_JSON
def resolve_doubts_(gateway: str, period_key: str, by: str | None, as_json: bool) -> None:
    """Take each notice in doubt that the statement counts for accepted: the provider says that it has it."""
    resolution = _resolve(gateway, period_key, by)
    if as_json:
        print_json(
            {
                "resolved": list(resolution.resolved),
                "unresolved": [{"id": one.id, "why": one.why} for one in resolution.unresolved],
            }
        )
        return
    _tell_resolution(resolution)


def _resolve(gateway: str, period_key: str, by: str | None) -> Resolution:
    from getpass import getuser

    from fatoura.statements import Period
    from fatoura.statements.doubts import resolve_doubts

    return resolve_doubts(gateway, Period.parse(period_key), by=by or getuser())


def _tell_resolution(resolution: Resolution) -> None:
    click.echo(f"{len(resolution.resolved):,} notices in doubt are now taken for accepted")
    for one in resolution.unresolved:
        click.echo(f"  {one.id}: {one.why}")


def _write_report(opened: OpenComparison, language: ReportLanguage | None = None) -> Path:
    from fatoura.statements.report import write_statement_report

    return write_statement_report(opened, language=language)


def _demand_outcomes(outcomes: tuple[str, ...]) -> None:
    from fatoura.statements import OUTCOMES

    if unknown := sorted(set(outcomes) - set(OUTCOMES)):
        raise click.BadParameter(f"no outcome is named {', '.join(unknown)}; they are {', '.join(OUTCOMES)}")


def _tell(found: Comparison, doubts: int) -> None:
    click.echo(
        f"\n{'':<26}{'messages':>10}{'segments':>10}{'theirs':>16}{'ours':>16}{'difference':>16}  dinars"
    )
    for one in found.findings:
        _row(one.outcome, one.messages, one.difference.segments, one)
    for group in found.groups:
        _row(group.label or "(not on the bill)", group.theirs.messages, group.difference.segments, group)
    _row("total", found.theirs.messages, found.difference.segments, found)
    if not found.priced:
        click.echo("The file says no prices: the contract's was taken.")
    if found.unbilled.messages:
        click.echo(f"{found.unbilled.messages:,} lines are listed and not billed.")
    if found.doubtful.messages:
        click.echo(f"{found.doubtful.messages:,} messages in doubt are not on the statement.")
    if doubts:
        click.echo(
            f"{doubts:,} notices in doubt are on the statement: the provider took them. To resolve them:\n"
            f"  fatoura statements resolve-doubts --gateway {found.gateway} --period {found.period}"
        )


def _row(name: str, messages: int, segments: int, one: Any) -> None:
    click.echo(
        f"{name[:25]:<26}{messages:>10,}{segments:>+10,}{_dinars(one.theirs.millimes):>16}"
        f"{_dinars(one.ours.millimes):>16}{_dinars(one.difference.millimes):>16}"
    )


def _dinars(millimes: Decimal) -> str:
    from fatoura.money import format_exact_amount

    return format_exact_amount(millimes, "fr")


def _either(theirs: object, ours: object) -> str:
    return f"{'–' if theirs is None else theirs} / {'–' if ours is None else ours}"
