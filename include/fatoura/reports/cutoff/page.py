"""Makes the two pages about cut-off out of their figures: chooses what is said and drawn.

Called by the writer. The words come from the catalogue, shapes and shell from the other reports.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fatoura.notices.states import State
from fatoura.reports import charts
from fatoura.reports.charts import Column, Mark, Part, Tick
from fatoura.reports.cutoff.cases import AGE_EDGES, DAY_EDGES, Debts, LeftOut, Reaction, Stood
from fatoura.reports.cutoff.day import Bucket, Undecided
from fatoura.reports.figures import FEW
from fatoura.reports.page import MESSAGE_STATES, above, flow_bar, group_rows, legend
from fatoura.reports.templates import environment

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date

    from fatoura.reports.cutoff.cycle import CycleFigures
    from fatoura.reports.cutoff.day import DayFigures
    from fatoura.reports.figures import Group
    from fatoura.reports.words import Words

_STYLES = {Bucket.NOTIFIED: "warned", Bucket.SETTLED: "paid", Bucket.LETTERS: "letter", Bucket.WAITING: "due"}
_PARTS_OF_DEBTS = (("gone", "paid"), ("open", "warned"), ("left_out", "left_out"))


def render_day_page(
    figures: DayFigures, words: Words, *, workbook: str, tables: Sequence[str], file_prefix: str = ""
) -> str:
    """Return the page of a day, as one HTML document.

    :param workbook: the workbook's file name, and
    :param tables: the names of the CSV files beside the page, behind
    :param file_prefix: for its links.
    """
    return _render(
        "day.html.j2",
        figures,
        words,
        workbook=workbook,
        tables=tables,
        file_prefix=file_prefix,
        tiles=_day_tiles(figures, words),
        identity=_day_identity(figures, words),
        undecided=_undecided(figures, words),
        reminded=sum(group.states.total() for group in figures.reminders),
    )


def render_cycle_page(
    figures: CycleFigures,
    words: Words,
    *,
    workbook: str,
    tables: Sequence[str],
    file_prefix: str = "",
    day_pages: Collection[date] = (),
) -> str:
    """Return the page of a cycle's cut-off cases, as one HTML document.

    :param day_pages: days whose pages are there, for links to them.
    """
    return _render(
        "cycle.html.j2",
        figures,
        words,
        workbook=workbook,
        tables=tables,
        file_prefix=file_prefix,
        tiles=_cycle_tiles(figures, words),
        identity=_cycle_identity(figures, words),
        day_pages=day_pages,
        handed_over=_handed_over(figures, words),
    )


def _render(template: str, figures: Any, words: Words, **more: Any) -> str:
    return (
        environment(Path(__file__).parent)
        .get_template(template)
        .render(
            f=figures,
            w=words,
            messages=_messages(figures.messages, words),
            few=FEW,
            left_out=_left_out(figures.left_out),
            standings=_standings(figures.standings, words),
            reaction=figures.reaction and _reaction(figures.reaction, words),
            ages=_debts(figures.ages, words, named=lambda one: words.days_overdue(AGE_EDGES, int(one.code))),
            districts=_debts(figures.districts, words, named=lambda one: one.name_fr or one.code),
            **more,
        )
    )


# --- What stands at the top ------------------------------------------------------------------------------


def _dinars(millimes: int, words: Words) -> str:
    """Write an amount for a tile or a chart: whole dinars, but for small sums."""
    return words.money(millimes) if abs(millimes) < 100_000 else words.count(round(millimes / 1000))


def _day_tiles(f: DayFigures, words: Words) -> list[tuple[str, str, str, str]]:
    if not f.due:
        return []
    asked, delivered = sum(one.whole_millimes for one in f.ages), f.states[State.DELIVERED]
    owed = sum(one.owed_millimes for one in f.ages)
    letters = sum(one.cases for one in f.not_warned)
    return [
        (
            words.count(f.due),
            words("cutoff_tile", "due"),
            words("cutoff_tile", "due_note", count=words.count(f.due - f.waiting)),
            "plain",
        ),
        (
            words.count(delivered),
            words("cutoff_tile", "delivered"),
            words("cutoff_tile", "delivered_note", count=words.count(f.buckets[Bucket.NOTIFIED])),
            "delivered",
        ),
        (
            words.count(letters),
            words("cutoff_tile", "letters"),
            words("cutoff_tile", "letters_note", share=words.share(letters, f.due - f.waiting)),
            "undeliverable",
        ),
        _paid_tile(f.reaction, words),
        (
            _dinars(owed, words),
            words("cutoff_tile", "owed"),
            words("cutoff_tile", "owed_note", asked=_dinars(asked, words)),
            "plain",
        ),
    ]


def _paid_tile(reaction: Reaction | None, words: Words) -> tuple[str, str, str, str]:
    settled, told = (reaction.settled, reaction.told) if reaction else (0, 0)
    return (
        words.share(settled, told),
        words("cutoff_tile", "paid_after"),
        words("cutoff_tile", "paid_after_note", count=words.count(settled), told=words.count(told)),
        "accepted",
    )


def _cycle_tiles(f: CycleFigures, words: Words) -> list[tuple[str, str, str, str]]:
    if not f.cases:
        return []
    told = f.reaction.told if f.reaction else 0
    letters = sum(one.cases for one in f.not_warned)
    return [
        (
            words.count(f.bills),
            words("cutoff_tile", "bills"),
            words("cutoff_tile", "bills_note", cases=words.count(f.cases)),
            "plain",
        ),
        (
            words.count(told),
            words("cutoff_tile", "delivered"),
            words("cutoff_tile", "of_cases", share=words.share(told, f.cases)),
            "delivered",
        ),
        (
            words.count(letters),
            words("cutoff_tile", "letters"),
            words("cutoff_tile", "of_cases", share=words.share(letters, f.cases)),
            "undeliverable",
        ),
        _paid_tile(f.reaction, words),
        (
            _dinars(f.owed_millimes, words),
            words("cutoff_tile", "owed"),
            words("cutoff_tile", "owed_note", asked=_dinars(f.billed_millimes, words)),
            "plain",
        ),
    ]


# --- The identity ----------------------------------------------------------------------------------------


def _day_identity(f: DayFigures, words: Words) -> dict[str, Any]:
    buckets = [
        Part(_STYLES.get(bucket, bucket.value), words("cutoff_bucket", bucket.value), f.buckets[bucket])
        for bucket in Bucket
    ]
    states = [Part(state.value, words.state(state), f.states[state]) for state in MESSAGE_STATES]
    if f.unplanned:
        states.append(Part("due", words("cutoff_identity", "unplanned"), f.unplanned))
    if f.identity_holds:
        verdict = ("good", words("cutoff_identity", "holds" if f.due else "nothing_due"))
    else:
        verdict = ("bad", words("cutoff_identity", "broken"))
    return {
        "verdict": verdict,
        "sum": _sum(f.due, buckets, words),
        "buckets": legend(buckets, words, always=True),
        "bucket_bar": flow_bar(buckets, words),
        "states": legend(states, words),
        "state_bar": flow_bar(states, words),
        "funnel": charts.funnel(buckets, "warned"),
    }


def _cycle_identity(f: CycleFigures, words: Words) -> dict[str, Any]:
    parts = [
        Part(one.standing.value, words("cutoff_standing", one.standing.value), one.cases)
        for one in f.standings
    ]
    if f.identity_holds:
        verdict = ("good", words("cutoff_identity", "cycle_holds" if f.cases else "no_cases"))
    else:
        verdict = ("bad", words("cutoff_identity", "broken"))
    return {"verdict": verdict, "sum": _sum(f.cases, parts, words), "bar": flow_bar(parts, words)}


def _sum(whole: int, parts: list[Part], words: Words) -> str:
    if not whole:
        return ""
    sign = "=" if whole == sum(part.value for part in parts) else "≠"
    return f"{words.count(whole)} {sign} {' + '.join(words.count(part.value) for part in parts)}"


def _undecided(f: DayFigures, words: Words) -> str | None:
    if f.undecided is None:
        return None
    stale = ", ".join(words("payment_channel", one.channel.value) for one in f.freshness if one.was_stale)
    if f.undecided is Undecided.STALE:
        return words("cutoff_undecided", "stale", channels=stale)
    return words("cutoff_undecided", f.undecided.value)


# --- Tables and charts -----------------------------------------------------------------------------------


def _messages(groups: Sequence[Group], words: Words) -> list[dict[str, Any]]:
    return group_rows(groups, words, lambda group: (words.of_code("kind", group.code), None))


def _left_out(rows: Sequence[LeftOut]) -> list[tuple[LeftOut, str]]:
    """Return each reason with its colour: what a payment brought about is told apart from what a rule did."""
    return [(one, "paid" if one.settled else "left_out") for one in rows]


def _standings(rows: Sequence[Stood], words: Words) -> dict[str, Any]:
    parts = [
        Part(one.standing.value, words("cutoff_standing", one.standing.value), one.cases) for one in rows
    ]
    total = sum(one.cases for one in rows)
    return {
        "bar": flow_bar(parts, words),
        "rows": [
            (
                one.standing.value,
                words("cutoff_standing", one.standing.value),
                words("cutoff_standing_meaning", one.standing.value),
                words.count(one.cases),
                words.share(one.cases, total),
                words.money(one.millimes),
            )
            for one in rows
        ],
    }


def _reaction(reaction: Reaction, words: Words) -> dict[str, Any]:
    """Return the histogram of days from the warning to the payment, and what to say of it."""
    if not reaction.settled:
        nobody = words("days_after", "nobody", told=words.count(reaction.told))
        return {"chart": "", "said": [nobody, *_partly(reaction, words)]}
    width = 100 / len(reaction.classes)
    names = [words("days_after", "before"), *(words.days(DAY_EDGES, n) for n in range(1, len(DAY_EDGES) + 1))]
    columns = [
        Column(
            cases,
            words(
                "days_after",
                "title",
                days=name,
                cases=words.count(cases),
                amount=words.money(millimes),
            ),
            above(cases / reaction.settled, words),
        )
        for name, (cases, millimes) in zip(names, reaction.classes, strict=True)
    ]
    marks = []
    if reaction.median_days is not None:
        told = words("days_after", "median", days=words.decimal(reaction.median_days))
        marks.append(Mark(_place(reaction.median_days) * width, told))
    said = [
        words(
            "days_after",
            "said",
            settled=words.count(reaction.settled),
            told=words.count(reaction.told),
            amount=words.money(reaction.settled_millimes),
            asked=words.money(reaction.told_millimes),
        ),
        words(
            "days_after",
            "in_time",
            count=words.count(reaction.in_time),
            share=words.share(reaction.in_time, reaction.told),
        ),
    ]
    if reaction.crossed:
        said.append(words("days_after", "crossed", count=words.count(reaction.crossed)))
    return {
        "chart": charts.histogram(
            columns,
            words("days_after", "axis"),
            ticks=[Tick((n + 0.5) * width, names[n]) for n in range(0, len(names), 2)],
            marks=marks,
        ),
        "said": [*said, *_partly(reaction, words)],
    }


def _partly(reaction: Reaction, words: Words) -> list[str]:
    if not reaction.partly:
        return []
    amount = words.money(reaction.partly_millimes)
    return [words("days_after", "partly", count=words.count(reaction.partly), amount=amount)]


def _place(days: float) -> float:
    """Return where a number of days lies on the axis, in classes: a day is the middle of its own."""
    for number, (low, high) in enumerate(pairwise(DAY_EDGES), start=1):
        if days <= high - 1:
            return number + (days - low + 0.5) / (high - low)
    return len(DAY_EDGES) + 0.5


def _debts(rows: Sequence[Debts], words: Words, *, named: Any) -> list[dict[str, Any]]:
    """Return a row for each age or district, with bars that can be compared with each other."""
    most = max((one.whole_millimes for one in rows), default=0)
    shown = []
    for one in rows:
        sums = {"gone": one.gone_millimes, "open": one.open_millimes, "left_out": one.left_out_millimes}
        parts = [
            Part(style, f"{words('debt', name)} {words.money(sums[name])}", sums[name])
            for name, style in _PARTS_OF_DEBTS
        ]
        shown.append(
            {
                "name": named(one),
                "name_ar": one.name_ar,
                "bar": charts.share_bar(parts, ", ".join(part.name for part in parts), most=most),
                "cases": words.count(one.cases),
                "bills": words.count(one.bills),
                "owed": words.money(one.owed_millimes),
                "share": words.share(one.owed_millimes, one.whole_millimes),
            }
        )
    return shown


def _handed_over(f: CycleFigures, words: Words) -> str | None:
    if not f.handed_over.cases:
        return None
    return words(
        "cutoff_lists",
        "handed_over",
        cases=words.count(f.handed_over.cases),
        amount=words.money(f.handed_over.millimes),
        closed=words.count(f.handed_over.closed),
        called_back=words.count(f.handed_over.called_back),
    )
