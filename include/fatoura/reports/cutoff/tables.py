"""The figures about cut-off as plain tables: one CSV file and one sheet of the workbook each.

Called by the writer. Codes, integers and millimes for programs; the words for people are the catalogue's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fatoura.notices.states import State
from fatoura.reports.cutoff.cases import AGE_EDGES, DAY_EDGES, Debts, LeftOut, NotWarned, Reaction, Stood
from fatoura.reports.cutoff.day import Bucket
from fatoura.reports.tables import GROUP, Field, Said, Table, of_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fatoura.reports.cutoff.cycle import CycleFigures
    from fatoura.reports.cutoff.day import DayFigures
    from fatoura.reports.figures import Group
    from fatoura.reports.words import Words

_REASON = Field("reason", "text", "cutoff_reason", 46)
_OWED = Field("owed_millimes", "millimes")


def day_tables(f: DayFigures, words: Words) -> list[Table]:
    """Return all tables of a day. Tables without rows are there too: a reader finds the same files."""
    return [
        _summary(_day_summary(f, words)),
        Table(
            "due_cases",
            (Field("decided", "text", "cutoff_bucket", 34), Field("cases")),
            [("due", f.due), *((bucket.value, f.buckets[bucket]) for bucket in Bucket)],
        ),
        Table(
            "steps",
            (
                Field("kind", "text", "kind", 24),
                Field("due"),
                *(Field(bucket.value) for bucket in Bucket if bucket is not Bucket.WAITING),
                Field("unplanned"),
                *GROUP,
            ),
            [
                (
                    step.kind,
                    step.due,
                    *(step.buckets[bucket] for bucket in Bucket if bucket is not Bucket.WAITING),
                    step.unplanned,
                    *of_group(step.messages)[:-1],
                )
                for step in f.steps
            ],
        ),
        _left_out(f.left_out),
        _not_warned(f.not_warned),
        _standings(f.standings),
        _paid_after(f.reaction),
        _debt_ages(f.ages, words),
        _debt_districts(f.districts),
        _messages(f.messages),
        Table(
            "freshness",
            (
                Field("payment_channel", "text", "payment_channel"),
                Field("known_then", "instant"),
                Field("needed", "instant"),
                Field("was_stale", "text"),
                Field("known_now", "instant"),
            ),
            [(one.channel.value, one.then, one.needed, one.was_stale, one.now) for one in f.freshness],
        ),
        Table(
            "movements",
            (
                Field("moment", "text", "cutoff_moment", 34),
                Field("verdict", "text", "cutoff_verdict", 30),
                _REASON,
                Field("cases"),
                _OWED,
            ),
            [(one.moment, one.verdict, one.reason, one.cases, one.millimes) for one in f.movements],
        ),
        Table(
            "lists",
            (
                Field("list", "text", "cutoff_list", 34),
                Field("made_at", "instant"),
                Field("cases"),
                Field("closed_since"),
                _OWED,
            ),
            [(one.kind, one.made_at, one.cases, one.closed, one.millimes) for one in f.lists],
        ),
    ]


def cycle_tables(f: CycleFigures, words: Words) -> list[Table]:
    """Return all tables of a cycle's cut-off cases."""
    return [
        _summary(_cycle_summary(f, words)),
        _standings(f.standings),
        Table(
            "openings",
            (Field("opened_because", "text", "cutoff_reason", 46), Field("cases")),
            list(f.openings.items()),
        ),
        _left_out(f.left_out),
        _not_warned(f.not_warned),
        _paid_after(f.reaction),
        _debt_ages(f.ages, words),
        _debt_districts(f.districts),
        _messages(f.messages),
        Table(
            "days",
            (
                Field("day", "day"),
                *map(Field, ("reminded", "warned", "warned_again", "left_out", "letters", "paid")),
                *map(Field, ("handed_over", "reopened")),
            ),
            [
                (
                    one.day,
                    one.reminded,
                    one.warned,
                    one.warned_again,
                    one.left_out,
                    one.letters,
                    one.paid,
                    one.handed_over,
                    one.reopened,
                )
                for one in f.days
            ],
        ),
    ]


def _summary(facts: list[tuple[str, Any]]) -> Table:
    return Table("summary", (Field("fact", "text", "fact", 52), Field("value", "text", "", 24)), facts)


def _day_summary(f: DayFigures, words: Words) -> list[tuple[str, Any]]:
    return [
        ("day", f.day),
        ("as_of", f.as_of),
        ("phase", Said(f.phase.value, words("cutoff_phase", f.phase.value))),
        ("rules_version", " ".join(f.rules)),
        ("identity_holds", f.identity_holds),
        ("most_warnings_a_day", f.most),
        ("due", f.due),
        *((f"due_{bucket}", f.buckets[bucket]) for bucket in Bucket),
        ("delivered", f.states[State.DELIVERED]),
        ("letters", sum(one.cases for one in f.not_warned)),
        ("reminders", sum(group.states.total() for group in f.reminders)),
        *_reaction_facts(f.reaction),
        ("asked_millimes", sum(one.whole_millimes for one in f.ages)),
        ("owed_millimes", sum(one.owed_millimes for one in f.ages)),
    ]


def _cycle_summary(f: CycleFigures, words: Words) -> list[tuple[str, Any]]:
    return [
        ("cycle", f.cycle),
        ("issue_date", f.issue_date),
        ("as_of", f.as_of),
        ("phase", Said(f.phase.value, words("cutoff_phase", f.phase.value))),
        ("rules_version", " ".join(f.rules)),
        ("identity_holds", f.identity_holds),
        ("bills", f.bills),
        ("cases", f.cases),
        ("unscheduled", f.unscheduled),
        ("letters", sum(one.cases for one in f.not_warned)),
        ("handed_over", f.handed_over.cases),
        ("handed_over_millimes", f.handed_over.millimes),
        ("handed_over_closed", f.handed_over.closed),
        ("called_back", f.handed_over.called_back),
        *_reaction_facts(f.reaction),
        ("billed_millimes", f.billed_millimes),
        ("owed_millimes", f.owed_millimes),
    ]


def _reaction_facts(reaction: Reaction | None) -> list[tuple[str, Any]]:
    return [
        ("told", reaction.told if reaction else 0),
        ("paid_after", reaction.settled if reaction else 0),
        ("paid_after_millimes", reaction.settled_millimes if reaction else 0),
        ("paid_crossed", reaction.crossed if reaction else 0),
        ("paid_in_time", reaction.in_time if reaction else 0),
        ("median_days", reaction.median_days if reaction else None),
        ("partly_paid", reaction.partly if reaction else 0),
        ("partly_paid_millimes", reaction.partly_millimes if reaction else 0),
    ]


def _left_out(rows: Sequence[LeftOut]) -> Table:
    return Table(
        "left_out",
        (_REASON, Field("before_message"), Field("after_message"), _OWED),
        [(one.reason, one.before, one.later, one.millimes) for one in rows],
    )


def _not_warned(rows: Sequence[NotWarned]) -> Table:
    return Table(
        "not_warned",
        (_REASON, Field("cases"), Field("listed"), Field("closed_since"), _OWED),
        [(one.reason, one.cases, one.listed, one.closed, one.millimes) for one in rows],
    )


def _standings(rows: Sequence[Stood]) -> Table:
    return Table(
        "standings",
        (Field("standing", "text", "cutoff_standing", 40), Field("cases"), _OWED),
        [(one.standing.value, one.cases, one.millimes) for one in rows],
    )


def _paid_after(reaction: Reaction | None) -> Table:
    """Return the classes of days. Bounds are inclusive; the first class was paid before the warning came."""
    bounds = zip((None, *DAY_EDGES), (*(edge - 1 for edge in DAY_EDGES), None), strict=True)
    classes = reaction.classes if reaction else ()
    return Table(
        "paid_after",
        (Field("from_days"), Field("to_days"), Field("cases"), Field("asked_millimes", "millimes")),
        [(*bound, *counted) for bound, counted in zip(bounds, classes, strict=False)],
    )


_DEBTS = (
    Field("bills"),
    Field("owing"),
    Field("whole_millimes", "millimes"),
    Field("open_millimes", "millimes"),
    Field("left_out_millimes", "millimes"),
    Field("gone_millimes", "millimes"),
)


def _of_debts(one: Debts) -> tuple[int, ...]:
    return (
        one.bills,
        one.cases,
        one.whole_millimes,
        one.open_millimes,
        one.left_out_millimes,
        one.gone_millimes,
    )


def _debt_ages(rows: Sequence[Debts], words: Words) -> Table:
    def bounds(number: int) -> tuple[int | None, int | None]:
        low = AGE_EDGES[number - 1] if number else None
        return low, AGE_EDGES[number] - 1 if number < len(AGE_EDGES) else None

    return Table(
        "debt_ages",
        (Field("age", "text", "", 22), Field("from_days"), Field("to_days"), *_DEBTS),
        [
            (
                Said(one.code, words.days_overdue(AGE_EDGES, int(one.code))),
                *bounds(int(one.code)),
                *_of_debts(one),
            )
            for one in rows
        ],
    )


def _debt_districts(rows: Sequence[Debts]) -> Table:
    return Table(
        "debt_districts",
        (Field("code", "text"), Field("district", "text"), Field("district_ar", "arabic"), *_DEBTS),
        [(one.code, one.name_fr, one.name_ar, *_of_debts(one)) for one in rows],
    )


def _messages(groups: Sequence[Group]) -> Table:
    return Table(
        "cutoff_messages",
        (Field("kind", "text", "kind", 30), *GROUP, Field("rate", "share")),
        [(group.code, *of_group(group)) for group in groups],
    )
