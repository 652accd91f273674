"""Writes the pages about cut-off warnings, each with a workbook and CSV files.

Called by the daily run, the refresh of reports and `fatoura cutoff report`. A page is written again at any
time: receipts come late, and payments go on. One whose figures do not agree is written too, for it shows what
is missing; then the caller hears of it.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.cycles.keys import ExtractKey
from fatoura.cycles.registry import Purpose
from fatoura.cycles.stages import Stage, recorded_stage
from fatoura.database import begin, connect, locked
from fatoura.errors import NeedsAPerson
from fatoura.notices.states import State
from fatoura.reports.cutoff.cycle import CycleFigures, cutoff_cycle_figures
from fatoura.reports.cutoff.day import Bucket, DayFigures, day_figures
from fatoura.reports.cutoff.page import render_cycle_page, render_day_page
from fatoura.reports.cutoff.tables import cycle_tables, day_tables
from fatoura.reports.publishing import publish
from fatoura.reports.words import ReportLanguage, Words
from fatoura.reports.writer import ReportNotWritten, report_folder
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Connection

STAGE = "cutoff_report"
"""The name of the stage that tells when a page was written last."""

CYCLE_PAGE = "cutoff"
"""The name of a cycle's page and workbook, beside its report, without ending."""

# A decision, a message's state or a payment is dated when its transaction begins to write, and seen when it
# commits: a page may just miss one that is dated before it.
_COMMIT_MARGIN = "2 minutes"
_LOOK_BACK_DAYS = 45


class CutoffBroken(NeedsAPerson):
    """A case or a message is in no state, or in two. Nothing outside can cause it: a defect of ours."""


@dataclass(frozen=True)
class StalePages:
    """What has changed since its page was written, or has none yet: days and billing cycles, oldest first."""

    days: list[date]
    cycles: list[str]


def cutoff_day_folder(day: date) -> Path:
    """Return the folder of a day's page, whether it is there or not."""
    return report_folder(f"cutoff-{day}")


def write_cutoff_day_report(
    day: date, *, run_id: str | None = None, language: ReportLanguage | None = None
) -> Path:
    """Write the page of a day's warnings as they stand now, over an earlier one, and return its path.

    A day on which nothing was decided has a page too: it says why.

    :param run_id: the run that asks for it, for the stage's record.
    :param language: without one, that of the settings.
    :raises BadInput: when the day has not come yet, or the rules cannot be read.
    :raises CutoffBroken: when a case is missing, or counted twice; the page is written and names it.
    :raises ReportNotWritten: when the disk is full, or the folder cannot be written.
    """
    words = Words(language or get_settings().report_language, {})
    key = f"cutoff-{day}"
    with locked(f"report of {key}"), _recorded(key, run_id) as stage:
        figures = _day_figures(day)
        tables = day_tables(figures, words)
        page = _publish(
            f"fatoura cutoff report --day {day}",
            report_folder(key),
            page=render_day_page(
                figures, words, workbook="report.xlsx", tables=[table.name for table in tables]
            ),
            tables=tables,
            words=words,
            title=f"{words('cutoff_page', 'day')} {day}",
            created=figures.as_of,
        )
        stage.counts |= _day_counts(figures)
    _insist(figures, f"the warnings of {day}", page)
    return page


def write_cutoff_cycle_report(
    cycle_key: str, *, run_id: str | None = None, language: ReportLanguage | None = None
) -> Path:
    """Write the page of a billing cycle's cut-off cases as they stand now, and return its path.

    It lies beside the cycle's report.

    :param cycle_key: of a billing cycle, or of a supplement to it.
    :param run_id: the run that asks for it, for the stage's record.
    :param language: without one, that of the settings.
    :raises BadInput: when there is no such billing cycle, or the rules cannot be read.
    :raises CutoffBroken: when a case is missing, or counted twice; the page is written and names it.
    :raises ReportNotWritten: when the disk is full, or the folder cannot be written.
    """
    words = Words(language or get_settings().report_language, {})
    key = ExtractKey.parse(cycle_key).cycle
    with locked(f"report of {key}"), _recorded(key, run_id) as stage:
        figures = _cycle_figures(key)
        tables = cycle_tables(figures, words)
        page = _publish(
            f"fatoura cutoff report --cycle {key}",
            report_folder(key),
            page=render_cycle_page(
                figures,
                words,
                workbook=f"{CYCLE_PAGE}.xlsx",
                tables=[table.name for table in tables],
                file_prefix=f"{CYCLE_PAGE}_",
                day_pages={
                    row.day for row in figures.days if (cutoff_day_folder(row.day) / "report.html").is_file()
                },
            ),
            tables=tables,
            words=words,
            title=f"{words('cutoff_page', 'cycle')} {key}",
            created=figures.as_of,
            name=CYCLE_PAGE,
            prefix=f"{CYCLE_PAGE}_",
        )
        stage.counts |= _cycle_counts(figures)
    _insist(figures, f"the cut-off cases of {key}", page)
    return page


def stale_cutoff_pages() -> StalePages:
    """Tell which pages do not say what is known by now. Looks back 45 days.

    A page that was written within two minutes of a change is called stale once more than it need be; that of
    a day on which nothing was decided, for as long as something still may be.
    """
    today = clock.today()
    with connect() as connection:
        rows = connection.execute(text(_STALE), {"today": today, "days": _LOOK_BACK_DAYS, "stage": STAGE})
        found = [(purpose, key, day) for purpose, key, day in rows]
        undecided = _undecided_days(connection, today)
    return StalePages(
        days=[*(day for purpose, _, day in found if purpose == Purpose.CUTOFF), *undecided],
        cycles=[key for purpose, key, _ in found if purpose == Purpose.BILLING],
    )


def refresh_cutoff_reports(*, run_id: str | None = None) -> StalePages:
    """Write all pages that are stale, and return which.

    :raises CutoffBroken: when figures of any of them do not agree; after all have been written.
    :raises ReportNotWritten: when the disk is full, or the folder cannot be written.
    """
    stale, broken = stale_cutoff_pages(), []
    writes = [
        *(partial(write_cutoff_day_report, day) for day in stale.days),
        *(partial(write_cutoff_cycle_report, cycle) for cycle in stale.cycles),
    ]
    for write in writes:
        try:
            write(run_id=run_id)
        except CutoffBroken as error:
            broken.append(str(error))
    if broken:
        raise CutoffBroken("; ".join(broken))
    return stale


def _undecided_days(connection: Connection, today: date) -> list[date]:
    """Return today and yesterday when sending has opened and nothing was decided: late feeds must be seen."""
    if not connection.scalar(text("SELECT EXISTS (SELECT FROM cutoff_case)")):
        return []
    calendar, now, found = load_calendar(connection), clock.now(), []
    for day in (today - timedelta(days=1), today):
        window = calendar.window(day)
        known = connection.scalar(
            text("SELECT EXISTS (SELECT FROM cycle WHERE purpose = 'cutoff' AND issue_date = :day)"),
            {"day": day},
        )
        if known or window is None or now < window[0]:
            continue
        page = cutoff_day_folder(day) / "report.html"
        written = clock.moved(datetime.fromtimestamp(page.stat().st_mtime, UTC)) if page.is_file() else None
        if now < window[1] or written is None or written < window[1]:
            found.append(day)
    return found


# A decision about a case touches its cycle, and each day on which a message of it was decided. So does a
# payment that decides nothing: it makes a debt smaller.
_STALE = f"""
WITH written AS MATERIALIZED (
    SELECT cycle_id, max(started_at) - interval '{_COMMIT_MARGIN}' AS at FROM stage WHERE name = :stage
    GROUP BY cycle_id
), watched AS MATERIALIZED (
    SELECT c.id, c.purpose, c.key, c.issue_date, written.at FROM cycle c
    LEFT JOIN written ON written.cycle_id = c.id
    WHERE c.purpose = 'cutoff' AND c.issue_date > CAST(:today AS date) - CAST(:days AS int)
        OR c.purpose = 'billing' AND c.issue_date > CAST(:today AS date) - 3 * CAST(:days AS int)
), since AS (
    SELECT min(at) AS at FROM watched WHERE at IS NOT NULL
), changed AS MATERIALIZED (
    SELECT invoice_number, max(at) AS at FROM (
        SELECT d.invoice_number, d.decided_at AS at FROM cutoff_decision d
        WHERE d.day > CAST(:today AS date) - CAST(:days AS int) AND d.decided_at > (SELECT at FROM since)
        UNION ALL
        SELECT p.invoice_number, f.loaded_at FROM payment p JOIN feed f ON f.id = p.feed_id
        WHERE f.loaded_at > (SELECT at FROM since)
    ) news GROUP BY invoice_number
), touched AS (
    SELECT d.cycle_id, max(changed.at) AS at FROM cutoff_decision d JOIN changed USING (invoice_number)
    WHERE d.cycle_id IS NOT NULL GROUP BY 1
    UNION ALL
    SELECT c.cycle_id, max(changed.at) FROM cutoff_case c JOIN changed USING (invoice_number) GROUP BY 1
    UNION ALL
    SELECT w.id, max(n.state_since) FROM watched w
    JOIN cycle c ON c.issue_date = w.issue_date AND c.purpose IN ('cutoff', 'payment_received')
    JOIN notice n ON n.cycle_id = c.id AND n.state_since > (SELECT at FROM since)
    WHERE w.purpose = 'cutoff' GROUP BY 1
)
SELECT purpose, key, issue_date FROM watched w
WHERE EXISTS (SELECT FROM touched WHERE touched.cycle_id = w.id AND touched.at > w.at)
    OR w.at IS NULL AND CASE purpose WHEN 'cutoff' THEN true
        ELSE EXISTS (SELECT FROM cutoff_case c WHERE c.cycle_id = w.id) END
ORDER BY purpose, issue_date, id
"""


def _recorded(cycle_key: str, run_id: str | None) -> AbstractContextManager[Stage]:
    """Record that a page was written; a day on which nothing was decided has no cycle to record it of."""
    with connect() as connection:
        cycle_id = connection.scalar(text("SELECT id FROM cycle WHERE key = :key"), {"key": cycle_key})
    return recorded_stage(cycle_id, STAGE, run_id=run_id) if cycle_id else nullcontext(Stage())


def _day_figures(day: date) -> DayFigures:
    as_of = clock.now()
    with begin() as connection:
        _one_snapshot(connection)
        return day_figures(connection, day, as_of)


def _cycle_figures(cycle_key: str) -> CycleFigures:
    as_of = clock.now()
    with begin() as connection:
        _one_snapshot(connection)
        return cutoff_cycle_figures(connection, cycle_key, as_of)


def _one_snapshot(connection: Connection) -> None:
    """Let all figures be of one moment: feeds and receipts go on moving cases while we count."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def _publish(command: str, folder: Path, **report: Any) -> Path:
    try:
        return publish(folder, **report)
    except OSError as error:
        raise ReportNotWritten(
            f"a report could not be written to {folder}: {error.strerror or error}; an earlier one stands as "
            f"it was. Mend that, then run `{command}`"
        ) from error


def _insist(figures: DayFigures | CycleFigures, what: str, page: Path) -> None:
    if not figures.identity_holds:
        told = "; ".join(figures.missing) or "the sums differ, and no single case could be named"
        raise CutoffBroken(f"{what} do not add up ({page}): {told}")


def _day_counts(f: DayFigures) -> dict[str, int]:
    """Return what the list of pages shows of a day."""
    return {
        "reminders": sum(group.states.total() for group in f.reminders),
        "due": f.due,
        "notified": f.buckets[Bucket.NOTIFIED],
        "delivered": f.states[State.DELIVERED],
        "left_out": f.buckets[Bucket.SETTLED] + f.buckets[Bucket.LEFT_OUT],
        "letters": sum(one.cases for one in f.not_warned),
        "waiting": f.waiting,
    }


def _cycle_counts(f: CycleFigures) -> dict[str, int]:
    """Return what the list of pages shows of a cycle."""
    return {
        "cases": f.cases,
        "told": f.reaction.told if f.reaction else 0,
        "paid_after": f.reaction.settled if f.reaction else 0,
        "letters": sum(one.cases for one in f.not_warned),
        "handed_over": f.handed_over.cases,
        "owed_millimes": f.owed_millimes,
    }
