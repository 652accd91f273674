"""Writes a cycle's report: one page, one workbook, CSV files. Called by the report task and `fatoura report`.

A report is written again at any time, for receipts come late. A reader sees the old files or the new ones,
never half a file, and a full disk leaves the old ones as they are.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.cycles.keys import ExtractKey, report_place
from fatoura.cycles.registry import cycle_id_of
from fatoura.cycles.stages import recorded_stage
from fatoura.database import connect, locked
from fatoura.errors import NotReady
from fatoura.quality.suite import load_suite
from fatoura.reports.figures import Figures, cycle_figures
from fatoura.reports.page import render_page
from fatoura.reports.publishing import publish
from fatoura.reports.tables import report_tables
from fatoura.reports.words import ReportLanguage, Words
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

WORKBOOK = "report.xlsx"

# A change is dated when its transaction begins to write, and seen when it commits: a report may just miss
# one that is dated before it. So changes of the last moments before a report count as not yet reported.
_COMMIT_MARGIN = timedelta(minutes=2)

# Providers give up on a receipt after about a day and we look for its notice for a week: what changes later
# than this after all is not looked for, and the search stays cheap.
_LOOK_BACK = timedelta(days=45)


class ReportNotWritten(NotReady):
    """The files could not be written (a full disk, a folder without permission); an earlier report stands."""


def report_folder(cycle_key: str) -> Path:
    """Return the folder of the report of a cycle of any purpose, whether it is there or not.

    :raises BadInput: when the key is none.
    """
    return get_settings().reports / report_place(cycle_key)


def write_report(
    cycle_key: str, *, run_id: str | None = None, language: ReportLanguage | None = None
) -> Path:
    """Write the report of a cycle as it stands now, over an earlier one, and return the page's path.

    :param cycle_key: the cycle's key; of a supplement's key the cycle counts, for a report is the cycle's.
    :param run_id: the run that asks for it, for the stage's record.
    :param language: without one, that of the settings.
    :raises BadInput: when there is no such cycle.
    :raises ReportNotWritten: when the disk is full, or the folder cannot be written.
    """
    key = ExtractKey.parse(cycle_key)
    words = Words(language or get_settings().report_language, load_suite().words())
    with (
        locked(f"report of {key.cycle}"),
        recorded_stage(cycle_id_of(key.cycle), "report", supplement=key.supplement, run_id=run_id) as stage,
    ):
        figures = _figures(key.cycle)
        page = _write_files(figures, words)
        # The next report tells what has changed since.
        stage.counts.update({state: count for state, count in figures.ledger.states.items() if count})
    return page


def stale_reports() -> list[str]:
    """Return the keys of billing cycles with notices or receipts newer than their last report, oldest first.

    Cycles that never had a report are not among them. Looks back 45 days. A report that was written within
    two minutes of a change is called stale once more than it need be.
    """
    with connect() as connection:
        return list(
            connection.scalars(
                text(
                    """
                    WITH last AS MATERIALIZED (
                        SELECT cycle_id, max(started_at) - CAST(:margin AS interval) AS at
                        FROM stage WHERE name = 'report' GROUP BY cycle_id
                    ), late AS MATERIALIZED (
                        SELECT notice_id, gateway, provider_id, matched_at FROM receipt
                        WHERE matched_at > greatest((SELECT min(at) FROM last), :since)
                    ), changed AS (
                        SELECT cycle_id, max(state_since) AS at FROM notice
                        WHERE state_since > greatest((SELECT min(at) FROM last), :since) GROUP BY cycle_id
                        UNION ALL
                        SELECT n.cycle_id, max(r.matched_at) FROM late r JOIN notice n ON n.id = r.notice_id
                        GROUP BY n.cycle_id
                        UNION ALL
                        SELECT n.cycle_id, max(r.matched_at) FROM late r
                        JOIN notice n ON n.gateway = r.gateway AND n.provider_id = r.provider_id
                        WHERE r.notice_id IS NULL GROUP BY n.cycle_id
                    )
                    SELECT key FROM cycle c JOIN last ON last.cycle_id = c.id AND c.purpose = 'billing'
                    WHERE EXISTS (SELECT FROM changed WHERE changed.cycle_id = c.id AND changed.at > last.at)
                    ORDER BY c.issue_date, c.id
                    """
                ),
                {"margin": _COMMIT_MARGIN, "since": clock.now() - _LOOK_BACK},
            )
        )


def _figures(cycle: str) -> Figures:
    as_of = clock.now()
    with connect() as connection:
        # One snapshot: senders and receipts go on moving notices while we count.
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        return cycle_figures(connection, cycle, as_of)


def _write_files(figures: Figures, words: Words) -> Path:
    """Write all files of a report; return the page's path."""
    folder = report_folder(figures.cycle)
    tables = report_tables(figures, words)
    try:
        page = render_page(figures, words, workbook=WORKBOOK, tables=[table.name for table in tables])
        return publish(
            folder,
            page=page,
            tables=tables,
            words=words,
            title=f"{words('page', 'title')} {figures.cycle}",
            created=figures.as_of,
        )
    except OSError as error:
        raise ReportNotWritten(
            f"the report of {figures.cycle} could not be written to {folder}: {error.strerror or error}; "
            f"an earlier one stands as it was. Mend that, then run `fatoura report {figures.cycle}`"
        ) from error
