"""`fatoura cutoff`: who is warned that supply may be cut, who is not, why, and the lists for people."""

from __future__ import annotations

import textwrap
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fatoura.cli.calendar import DayType
from fatoura.cli.printing import print_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date, datetime

    from fatoura.calendar import Calendar
    from fatoura.cutoff.explaining import Explanation
    from fatoura.cutoff.freshness import Freshness
    from fatoura.cutoff.lists import ListKind, ListMade
    from fatoura.cutoff.status import Due, Status
    from fatoura.reports.words import ReportLanguage

_WIDTH = 100
_MARGIN = " " * 20


@click.group()
def cutoff() -> None:
    """Cut-off warnings: why a customer was or was not warned, how things stand, lists, rules and reports."""


_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@cutoff.command()
@click.argument("invoice")
@_json
@click.option("--unmasked", is_flag=True, help="Show the customer's reference, and others' words, in full.")
def explain(invoice: str, as_json: bool, unmasked: bool) -> None:
    """Say why the customer of INVOICE was or was not warned, in the order of time, and what comes next.

    It changes nothing. Times are local. No phone number is shown; `fatoura notices show` tells of messages.
    """
    from fatoura.cutoff.explaining import explain

    explanation = explain(invoice.strip(), unmasked=unmasked)
    if as_json:
        print_json(_as_json(explanation))
        return
    click.echo("\n".join(_explained(explanation)))


def _explained(told: Explanation) -> list[str]:
    """Return an explanation, line by line."""
    from fatoura import clock
    from fatoura.cutoff import words
    from fatoura.dates import say_day

    lines = [
        f"Invoice {told.invoice} of {told.cycle or 'no cycle'}, customer {told.customer_reference}, district "
        f"{told.district}: {words.amount(told.amount_due_millimes)}, to pay by {say_day(told.due_date)}.",
        *textwrap.wrap(told.summary, _WIDTH),
        *_owed_now(told.balance_millimes),
        "",
        "What happened",
    ]
    for event in told.events:
        hour = f" {event.at.astimezone(clock.zone()):%H:%M}" if event.at else ""
        lines += _wrapped(f"{event.day}{hour}", event.sentence)
    lines += ["", "What comes next"]
    for sentence in told.coming:
        lines += textwrap.wrap(sentence, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return lines


def _owed_now(millimes: int | None) -> list[str]:
    from fatoura.cutoff import words

    if millimes is None:
        return []
    if millimes > 0:
        return [f"Owed now: {words.amount(millimes)}."]
    return ["Owed now: nothing" + (f"; {words.amount(-millimes)} was paid too much." if millimes else ".")]


def _wrapped(margin: str, sentence: str) -> list[str]:
    return textwrap.wrap(
        sentence,
        _WIDTH,
        initial_indent=f"  {margin:<18}",
        subsequent_indent=_MARGIN,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _as_json(told: Explanation) -> dict[str, Any]:
    from dataclasses import asdict

    document = asdict(told)
    document["next"] = document.pop("coming")
    return document


# --- How things stand


@cutoff.command()
@_json
def status(as_json: bool) -> None:
    """Show how things stand: cases by state, what is due today and tomorrow, and how fresh the feeds are.

    What is due is counted before anybody has looked who has paid: the daily run leaves out many of them.
    """
    from fatoura.cutoff.status import cutoff_status

    found = cutoff_status()
    if as_json:
        print_json(_status_document(found))
        return
    click.echo("\n".join(_told(found)))


def _told(found: Status) -> list[str]:
    from fatoura.cutoff import words

    lines = [f"{found.day}, by the rules {found.rules_version}", "", "Cases"]
    lines += [f"  {state:<16}{words.count(count):>10}" for state, count in found.states.items()]
    lines += [f"  {'under way':<16}{words.count(found.under_way):>10}  whose message has no last word yet"]
    for title, due in zip(("Due today", "Due tomorrow"), found.due, strict=True):
        lines += ["", f"{title}, {due.day:%a %Y-%m-%d}", *_due_lines(due)]
    lines += ["", "Payments are known"]
    morning = {one.channel: one for one in found.for_hand_over}
    lines += [_fresh_line(one, morning[one.channel]) for one in found.for_warnings]
    run = found.last_run
    if run is None:
        lines += ["", "The daily run has never decided anything."]
    else:
        told = f": {run.closed}" if run.closed else f", {words.count(run.waiting)} left waiting"
        lines += ["", f"The daily run decided last {_local(run.decided_at)}, for {run.day}{told}."]
    return lines


def _due_lines(due: Due) -> list[str]:
    from fatoura.cutoff import words

    lines = [
        f"  {words.count(count):>10}  {words.message(kind).removeprefix('the ')}"
        for kind, count in due.notices.items()
    ]
    if not due.may_write:
        lines.append("  nobody is written to on this day")
    if due.may_cut:
        lines.append(f"  {words.count(due.to_hand_over):>10}  for the field teams")
    else:
        lines.append("  supply is not cut on this day")
    return lines


def _fresh_line(one: Freshness, morning: Freshness) -> str:
    known = f"up to {_local(one.complete_until)}" if one.complete_until else "not at all"
    stale = f"  STALE: nobody is warned; needed up to {_local(one.needed)}" if one.is_stale else ""
    if not stale and morning.is_stale:
        stale = f"  too old for the field teams' list, which needs {_local(morning.needed)}"
    return f"  {one.channel:<10}{known}{stale}"


def _status_document(found: Status) -> dict[str, Any]:
    from dataclasses import asdict

    def channels(several: tuple[Freshness, ...]) -> dict[str, Any]:
        return {
            one.channel.value: {
                "complete_until": one.complete_until,
                "needed": one.needed,
                "stale": one.is_stale,
            }
            for one in several
        }

    return {
        **asdict(found),
        "for_warnings": channels(found.for_warnings),
        "for_hand_over": channels(found.for_hand_over),
    }


def _local(instant: datetime) -> str:
    from fatoura import clock

    return f"{instant.astimezone(clock.zone()):%Y-%m-%d %H:%M}"


# --- Lists for people


def _of_a_list(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that all lists have."""
    for option in (
        _json,
        click.option("--make", is_flag=True, help="Make today's list first, or take up what has come since."),
        click.option(
            "--to",
            "folder",
            type=click.Path(path_type=Path, file_okay=False),
            help="Write the files into this folder, not into that of the day's lists.",
        ),
        click.option("--day", type=DayType(), help="The list of this day; of today if not given."),
    ):
        command = option(command)
    return command


@cutoff.command()
@_of_a_list
def letters(day: date | None, folder: Path | None, make: bool, as_json: bool) -> None:
    """Write the list of letters as files: customers whom no message could warn, each with the reason.

    References stand there in full. A list that was made stays as it is: written again, it is the same.
    """
    from fatoura.cutoff.lists import ListKind, list_letters

    _write_list(ListKind.LETTERS, list_letters if make else None, day, folder, as_json=as_json)


@cutoff.command("hand-over")
@_of_a_list
def hand_over(day: date | None, folder: Path | None, make: bool, as_json: bool) -> None:
    """Write the field teams' list as files, each line with its proof of notice.

    Only with --make is anything handed over: who was warned, is past the day that was told, and owes the
    bill this morning. It is refused while payments are not known up to this morning.
    """
    from fatoura.cutoff.lists import ListKind, hand_over

    _write_list(ListKind.HAND_OVER, hand_over if make else None, day, folder, as_json=as_json)


@cutoff.command("call-back")
@_of_a_list
def call_back(day: date | None, folder: Path | None, make: bool, as_json: bool) -> None:
    """Write the list of those to call back as files: handed over, and settled or left out since."""
    from fatoura.cutoff.lists import ListKind, list_call_backs

    _write_list(ListKind.CALL_BACK, list_call_backs if make else None, day, folder, as_json=as_json)


def _write_list(
    kind: ListKind,
    make: Callable[[], ListMade] | None,
    day: date | None,
    folder: Path | None,
    *,
    as_json: bool,
) -> None:
    from fatoura import clock
    from fatoura.cutoff.list_files import NAMES, write_list_files

    today = clock.today()
    if make and day not in (None, today):
        raise click.UsageError("a list is made on its day: --make goes with no --day but today's")
    made = make() if make else None
    document: dict[str, Any] = {"list": kind.value, "day": day or today, "lines": 0}
    if made:
        document |= {"added": made.added, "closed": made.closed}
    if made and made.list_id is None:
        if as_json:
            print_json({**document, "csv": None, "workbook": None})
        else:
            click.echo(f"there are no {NAMES[kind]} today: nothing was listed, and no file was written")
        return
    files = write_list_files(kind, day or today, folder=folder)
    if as_json:
        print_json({**document, "lines": files.lines, "csv": files.csv, "workbook": files.workbook})
        return
    if made:
        click.echo(f"{made.added} added, {made.lines} on the list; {made.closed} settled or left out instead")
    click.echo(f"{files.lines} {NAMES[kind]} of {files.day}:\n  {files.csv}\n  {files.workbook}")


# --- Rules, days, reports


@cutoff.command()
@click.option("--on", "day", type=DayType(), help="The rules in force on this day; today if not given.")
@_json
def rules(day: date | None, as_json: bool) -> None:
    """Say the rules in force, in words: who is warned when, who is not, and how fresh feeds have to be."""
    from fatoura import clock
    from fatoura.cutoff.rules import rules_on
    from fatoura.cutoff.words import say_rules
    from fatoura.settings import get_settings

    version = rules_on(day or clock.today())
    if as_json:
        print_json(version.model_dump(mode="json", by_alias=True))
        return
    click.echo(f"{get_settings().cutoff_rules}, on {day or clock.today()}:\n")
    for sentence in say_rules(version):
        click.echo(textwrap.fill(sentence, _WIDTH, initial_indent="- ", subsequent_indent="  "))


@cutoff.command("cut-days")
@click.option("--from", "first", type=DayType(), help="First day to show; today if not given.")
@click.option("--days", type=click.IntRange(1, 800), default=21, show_default=True, help="How many days.")
@_json
def cut_days(first: date | None, days: int, as_json: bool) -> None:
    """Show on which days supply may be cut, and why not on the others."""
    from fatoura import clock
    from fatoura.calendar import load_calendar
    from fatoura.cutoff.rules import rules_on

    calendar, start = load_calendar(), first or clock.today()
    shown: list[tuple[date, list[str]]] = []
    for day in (start + timedelta(days=number) for number in range(days)):
        no_cut_on = rules_on(day).no_cut_on
        may_cut = calendar.may_cut(day, no_cut_on)
        shown.append((day, [] if may_cut else _why_no_cut(calendar, day, no_cut_on)))
    if as_json:
        print_json({"days": [{"day": day, "may_cut": not why, "why_not": why} for day, why in shown]})
        return
    for day, why in shown:
        told = f"no cut: {'; '.join(why)}" if why else "supply may be cut"
        click.echo(f"{day:%a %Y-%m-%d}  {told}")


def _why_no_cut(calendar: Calendar, day: date, no_cut_on: tuple[str, ...]) -> list[str]:
    why = [f"no cut on {day:%A}s"] if f"{day:%A}".lower() in no_cut_on else []
    for one, of in ((day, ""), (day + timedelta(days=1), "the day before ")):
        explained = calendar.explain(one)
        if explained.decision is not None:
            why += [f"{of}a day closed by {explained.decision.by}"] if explained.decision.closed else []
        else:
            why += [f"{of}{name}" for name in explained.holidays]
    return why


@cutoff.command()
@click.option("--day", type=DayType(), help="The page of this day's warnings; of today if not given.")
@click.option("--cycle", help="The page of a billing cycle's cut-off cases.")
@click.option(
    "--language", type=click.Choice(["fr", "en"]), help="Language of the page; the setting when left out."
)
@_json
def report(day: date | None, cycle: str | None, language: ReportLanguage | None, as_json: bool) -> None:
    """Write the page of a day's warnings, or of a billing cycle's cases, and print its path."""
    from fatoura import clock
    from fatoura.reports.cutoff import write_cutoff_cycle_report, write_cutoff_day_report

    if day and cycle:
        raise click.UsageError("give --day or --cycle, not both")
    if cycle:
        page = write_cutoff_cycle_report(cycle, language=language)
    else:
        page = write_cutoff_day_report(day or clock.today(), language=language)
    if not as_json:
        click.echo(page)
        return
    files = sorted(path.name for path in page.parent.iterdir() if path.is_file())
    print_json(
        {**({"cycle": cycle} if cycle else {"day": day or clock.today()}), "path": page, "files": files}
    )
