"""The figures of an extract that batch rules look at: counts, totals, shares, and earlier cycles' medians.

Called by the gate once the rows have been sorted into kept and rejected. Money in millimes; days are local
days. Knows what a figure is, and nothing of what it should be.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.money import format_amount

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from sqlalchemy import Connection

NUMBERS = frozenset(
    {
        "rows",
        "declared_rows",
        "rows_difference",  # staged less declared
        "total_difference",  # staged less declared, in millimes, over all amounts that read as integers
        "rejected_rows",
        "kept_rows",
        "bad_rows_share",
        "total_millimes",  # of the kept rows, as is the median
        "median_millimes",
        "open_rows",  # kept rows that are due today or later
        "due_before_tomorrow",
        "due_before_tomorrow_share",
        "due_on_closed_day",
        "due_on_closed_day_share",
        "earlier_cycles",
        "earlier_rows",  # the median over the earlier cycles, as are the next two
        "earlier_total_millimes",
        "earlier_median_millimes",
        "rows_to_earlier",
        "total_to_earlier",
        "median_to_earlier",
    }
)
"""The figures that a rule can bound."""

WORDS = frozenset({"last_due_date", "most_broken"})
"""What a rule's sentence can name besides."""

_NOT_REJECTED = (
    "WHERE NOT EXISTS (SELECT FROM rejected_row AS x "
    "WHERE x.extract_id = :extract AND x.row_number = r.row_number)"
)


@dataclass(frozen=True)
class Earlier:
    """What earlier cycles looked like: medians over their main extracts; None when they are too few.

    :param cycles: how many there are to compare with.
    :param total_millimes: of the kept rows, as is `median_millimes`.
    """

    cycles: int
    rows: float | None = None
    total_millimes: float | None = None
    median_millimes: float | None = None


def earlier_cycles(
    connection: Connection, *, cycle_id: int, issue_date: date, at_least: int, at_most: int
) -> Earlier:
    """Return the medians over the validated cycles issued last before a cycle, if they are enough."""
    found = connection.execute(
        text(
            """
            SELECT counts FROM (
              SELECT DISTINCT ON (c.id) c.id, c.issue_date, s.counts
              FROM stage AS s
              JOIN cycle AS c ON c.id = s.cycle_id
              JOIN extract AS e ON e.cycle_id = c.id AND e.supplement = 0 AND e.validated_at IS NOT NULL
              WHERE s.name = 'validate' AND s.supplement = 0
                AND s.counts ->> 'median_millimes' IS NOT NULL
                AND c.id <> :cycle AND c.issue_date <= :issued
              ORDER BY c.id, s.id DESC
            ) AS validated
            ORDER BY issue_date DESC, id DESC LIMIT :at_most
            """
        ),
        {"cycle": cycle_id, "issued": issue_date, "at_most": at_most},
    ).scalars()
    counts = list(found)
    if len(counts) < at_least:
        return Earlier(len(counts))
    return Earlier(
        len(counts),
        median(one["rows"] for one in counts),
        median(one["total_millimes"] for one in counts),
        median(one["median_millimes"] for one in counts),
    )


def measure(
    connection: Connection,
    *,
    extract_id: int,
    rows_view: str,
    staging: str,
    declared_rows: int,
    declared_total: int,
    rejected_by_code: Mapping[str, int],
    rejected_rows: int,
    earlier: Earlier,
) -> dict[str, Any]:
    """Measure an extract whose rejected rows have been set aside.

    :param rows_view: the view of the readable records, with the contract's columns as values.
    :param staging: the table of all records as they came.
    :returns: `NUMBERS` and `WORDS` by name; None for what cannot be had, such as the median of no rows.
    """
    bind = {"extract": extract_id} if rejected_rows else {}
    kept = f"FROM {rows_view} AS r {_NOT_REJECTED if rejected_rows else ''}"
    staged, total = connection.execute(
        text(
            # Integers of more than 64 bits have no typed value; they count in the manifest's total as well.
            "SELECT count(*), coalesce(sum(amount_i), 0) + coalesce(sum(CASE WHEN amount_i IS NULL "
            "AND amount_due_millimes ~ '^[+-]?[0-9]+$' THEN amount_due_millimes::numeric END), 0) "
            f"FROM {staging}"
        )
    ).one()
    due = connection.execute(
        text(f"SELECT r.due_date, count(*), sum(r.amount_due_millimes) {kept} GROUP BY r.due_date"), bind
    ).all()
    middle = connection.scalar(
        text(f"SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY r.amount_due_millimes) {kept}"), bind
    )
    today, calendar = clock.today(), load_calendar(connection)
    kept_rows = sum(count for _, count, _ in due)
    soon = sum(count for day, count, _ in due if day <= today)
    closed = sum(count for day, count, _ in due if calendar.window(day) is None)
    figures: dict[str, Any] = dict.fromkeys(NUMBERS | WORDS)
    figures |= {
        "rows": staged,
        "declared_rows": declared_rows,
        "rows_difference": staged - declared_rows,
        "total_difference": int(total) - declared_total,
        "rejected_rows": rejected_rows,
        "kept_rows": kept_rows,
        "bad_rows_share": rejected_rows / staged if staged else None,
        "total_millimes": int(sum(amount for _, _, amount in due)),
        "median_millimes": middle,
        "earlier_cycles": earlier.cycles,
        "earlier_rows": earlier.rows,
        "earlier_total_millimes": earlier.total_millimes,
        "earlier_median_millimes": earlier.median_millimes,
        "most_broken": max(rejected_by_code, key=lambda code: rejected_by_code[code], default="none"),
    }
    if kept_rows:
        figures |= {
            "open_rows": sum(count for day, count, _ in due if day >= today),
            "due_before_tomorrow": soon,
            "due_before_tomorrow_share": soon / kept_rows,
            "due_on_closed_day": closed,
            "due_on_closed_day_share": closed / kept_rows,
            "last_due_date": max(day for day, _, _ in due),
            "rows_to_earlier": _ratio(staged, earlier.rows),
            "total_to_earlier": _ratio(figures["total_millimes"], earlier.total_millimes),
            "median_to_earlier": _ratio(middle, earlier.median_millimes),
        }
    return figures


def sentence(template: str, figures: Mapping[str, Any], bounds: Mapping[str, Any]) -> str:
    """Fill figures into a rule's sentence; amounts of money as dinars."""
    told = {
        name: format_amount(round(value), "fr") if name.endswith("_millimes") and value is not None else value
        for name, value in figures.items()
    }
    return template.format(**told, **bounds)


def _ratio(value: float, to: float | None) -> float | None:
    # Against nothing, or a credit, there is no saying how many times as much it is.
    return value / to if to is not None and to > 0 else None
