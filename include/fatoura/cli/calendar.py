"""`fatoura calendar`: look at days and hours, and decide single days."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fatoura.calendar import Day, Hours


class DayType(click.ParamType[date]):
    """A day, written like 2026-06-15."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Read a day, or refuse in words."""
        try:
            return value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day: write it like 2026-06-15", param, ctx)


class _HoursType(click.ParamType["Hours"]):
    name = "HH:MM-HH:MM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Hours:
        from fatoura.calendar import Hours

        try:
            return value if isinstance(value, Hours) else Hours.parse(value)
        except ValueError:
            self.fail(f"{value!r} are no hours: write them like 09:00-13:00", param, ctx)


@click.group()
def calendar() -> None:
    """Days and hours in which customers are written to. Rules are in a file; single days are decided here."""


@calendar.command()
@click.option("--from", "first", type=DayType(), help="First day to show; today if not given.")
@click.option("--days", type=click.IntRange(1, 800), default=14, show_default=True, help="How many days.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(first: date | None, days: int, as_json: bool) -> None:
    """Show the sending hours of days, and why."""
    from fatoura import clock
    from fatoura.calendar import load_calendar

    loaded = load_calendar()
    start = first or clock.today()
    shown = [loaded.explain(start + timedelta(days=n)) for n in range(days)]
    if as_json:
        document = {"timezone": loaded.zone.key, "days": [_as_json(day) for day in shown]}
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    for day in shown:
        hours = str(day.hours) if day.hours else "closed"
        working = "working day" if day.working else ""
        click.echo(f"{day.day:%a %Y-%m-%d}  {hours:<11}  {working:<11}  {'; '.join(_why(day))}".rstrip())


@calendar.command(name="set")
@click.argument("day", type=DayType())
@click.option("--closed", is_flag=True, help="Nothing is sent on this day, and it is no working day.")
@click.option("--open", "hours", type=_HoursType(), help="Sending is open in these local hours.")
@click.option("--reason", required=True, help="Why; shown to whoever looks at the calendar.")
@click.option("--by", required=True, help="Who decided.")
def set_(day: date, closed: bool, hours: Hours | None, reason: str, by: str) -> None:
    """Decide a single DAY; the decision wins over every rule, Sundays and holidays included."""
    from fatoura.calendar import decide_day

    if closed == (hours is not None):
        raise click.UsageError("give either --closed or --open HH:MM-HH:MM")
    decide_day(day, hours, reason=reason, by=by)
    click.echo(f"{day} is now {f'open {hours}' if hours else 'closed'}")


@calendar.command()
@click.argument("day", type=DayType())
def unset(day: date) -> None:
    """Give a decided DAY back to the rules."""
    from fatoura.calendar import undo_decision

    undone = undo_decision(day)
    click.echo(f"{day} follows the rules again" if undone else f"nothing was decided about {day}")


@calendar.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--by", required=True, help="Who decided.")
def import_(file: Path, by: str) -> None:
    """Decide all days of FILE at once: a CSV table with the columns day, hours, reason.

    Hours are those in which sending is open (09:00-13:00), `closed`, `open` (the usual hours, also on a
    Sunday or a holiday), or `rules` (give the day back). Days that are not in the table stay as they are.
    When a row is wrong, nothing is taken, and each is named.
    """
    from fatoura.calendar import decide_days, read_table

    decisions = read_table(file, by=by)
    decide_days(decisions)
    given_back = sum(decision is None for decision in decisions.values())
    click.echo(f"{len(decisions) - given_back} days decided, {given_back} given back to the rules")


@calendar.command()
def export() -> None:
    """Print all decisions as a table: edit it, and import it again."""
    from fatoura.calendar import read_decisions, write_table
    from fatoura.database import connect

    with connect() as connection:
        click.echo(write_table(read_decisions(connection)), nl=False)


def _why(day: Day) -> list[str]:
    decided = [f"decided by {day.decision.by}: {day.decision.reason}"] if day.decision else []
    return decided + (["Ramadan"] if day.ramadan else []) + list(day.holidays)


def _as_json(day: Day) -> dict[str, Any]:
    return {
        "day": day.day.isoformat(),
        "opens": f"{day.hours.opens:%H:%M}" if day.hours else None,
        "closes": f"{day.hours.closes:%H:%M}" if day.hours else None,
        "working_day": day.working,
        "ramadan": day.ramadan,
        "holidays": list(day.holidays),
        "decision": {"reason": day.decision.reason, "by": day.decision.by} if day.decision else None,
    }
