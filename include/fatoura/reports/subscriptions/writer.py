"""Writes the pages about subscriptions, each with a workbook and CSV files; counts subscribers once a day.

Called by the monthly run of fees, the refresh of reports and `fatoura subscribers report`. A page is written
again at any time: answers, payments and receipts come late. One whose figures do not agree is written too: it
shows what is missing; then the caller hears of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect, locked
from fatoura.errors import BadInput, NeedsAPerson
from fatoura.fees.balance import check_books
from fatoura.fees.figures import count_subscribers, is_counted
from fatoura.reports.publishing import publish
from fatoura.reports.subscriptions.figures import (
    began_on,
    first_of,
    month_figures,
    months_back,
    next_month,
    service_figures,
)
from fatoura.reports.subscriptions.page import render_month_page, render_service_page
from fatoura.reports.subscriptions.tables import month_tables, service_tables
from fatoura.reports.words import ReportLanguage, Words
from fatoura.reports.writer import ReportNotWritten
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from fatoura.reports.subscriptions.figures import MonthFigures, ServiceFigures

_FOLDER = "subscriptions"
_SERVICE = "service"
_MONTH = re.compile("([0-9]{4})-(0[1-9]|1[0-2])")
_PAGE = "report.html"

# What moves is dated when its transaction begins to write, and seen when it commits: a page may just miss
# what is dated before it.
_COMMIT_MARGIN = timedelta(minutes=2)

# The last answer about a year comes within its grace, its lapse and a late payment.
_LOOK_BACK_MONTHS = 15


class SubscriptionFiguresDiffer(NeedsAPerson):
    """Figures of subscriptions or fees do not agree. Nothing outside can cause it: a defect of ours."""


@dataclass(frozen=True)
class StaleSubscriptionPages:
    """Pages that do not say what is known by now: the service's, and months, the oldest first."""

    service: bool = False
    months: list[date] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The pages' names, as a log or a record holds them."""
        return [*([_SERVICE] if self.service else []), *(f"{month:%Y-%m}" for month in self.months)]


def subscription_report_folder(month: date | None = None) -> Path:
    """Return the folder of a month's page, or of the service's, whether it is there or not."""
    return get_settings().reports / _FOLDER / (f"{month:%Y-%m}" if month else _SERVICE)


def subscription_month(text_: str) -> date:
    """Return the first day of a month that is written like ``2026-07``.

    :raises BadInput: when it is none, or has not come yet.
    """
    match = _MONTH.fullmatch(text_.strip())
    if match is None:
        raise BadInput(f"{text_!r} is no month: write it like 2026-07")
    month = date(int(match[1]), int(match[2]), 1)
    if month > clock.today():
        raise BadInput(f"{text_} has not come yet")
    return month


def count_today() -> int:
    """Write down how many subscriptions there are today, by state, channel, language and district.

    What was written down today before is replaced. How things stood on an earlier day nobody can tell.
    """
    with begin() as connection:
        return count_subscribers(connection, clock.today())


def write_month_report(month: date, *, language: ReportLanguage | None = None) -> Path:
    """Write the page of a month as things stand now, over an earlier one, and return its path.

    :param month: any day of it.
    :param language: without one, that of the settings.
    :raises BadInput: when the month has not come yet, or the fee's rules cannot be read.
    :raises SubscriptionFiguresDiffer: when figures do not agree; the page is written and says which.
    :raises ReportNotWritten: when the disk is full, or the folder cannot be written.
    """
    month, today = first_of(month), clock.today()
    if month > today:
        raise BadInput(f"{month:%Y-%m} has not come yet")
    words, folder = Words(language or get_settings().report_language, {}), subscription_report_folder(month)
    with locked(f"report of {_FOLDER}-{month:%Y-%m}"):
        as_of, books = clock.now(), check_books()
        with begin() as connection:
            _one_snapshot(connection)
            figures = month_figures(connection, month, as_of, today, books)
        tables = month_tables(figures, words)
        before, after = months_back(month, 1), next_month(month)
        page = _publish(
            f"fatoura subscribers report --month {month:%Y-%m}",
            folder,
            page=render_month_page(
                figures,
                words,
                workbook="report.xlsx",
                tables=[table.name for table in tables],
                neighbours=(before if _is_there(before) else None, after if _is_there(after) else None),
                has_service=_is_there(None),
            ),
            tables=tables,
            words=words,
            title=f"{words('subscription_page', 'month')} {words.month(month)}",
            created=as_of,
        )
    _insist(figures, f"the subscriptions of {month:%Y-%m}", page)
    return page


def write_service_report(*, language: ReportLanguage | None = None) -> Path:
    """Write the page of the whole service as it stands now, over an earlier one, and return its path.

    :param language: without one, that of the settings.
    :raises BadInput: when the fee's rules cannot be read.
    :raises SubscriptionFiguresDiffer: when figures do not agree; the page is written and says which.
    :raises ReportNotWritten: when the disk is full, or the folder cannot be written.
    """
    words = Words(language or get_settings().report_language, {})
    with locked(f"report of {_FOLDER}"):
        as_of, books = clock.now(), check_books()
        with begin() as connection:
            _one_snapshot(connection)
            figures = service_figures(connection, as_of, clock.today(), books)
        tables = service_tables(figures, words)
        page = _publish(
            "fatoura subscribers report",
            subscription_report_folder(),
            page=render_service_page(
                figures,
                words,
                workbook="report.xlsx",
                tables=[table.name for table in tables],
                month_pages={month for month in figures.months if _is_there(month)},
            ),
            tables=tables,
            words=words,
            title=words("subscription_page", "service"),
            created=as_of,
        )
    _insist(figures, "the figures of subscriptions", page)
    return page


def write_subscription_reports(day: date) -> list[Path]:
    """Count subscribers, and write the page of a day's month and that of the service; return their paths.

    :raises SubscriptionFiguresDiffer: when figures do not agree; after both have been written.
    :raises ReportNotWritten: when the disk is full, or the folder cannot be written.
    """
    count_today()
    return _write_all([first_of(day), None])


def stale_subscription_pages() -> StaleSubscriptionPages:
    """Tell which pages do not say what is known by now.

    The present month's is stale once something has happened, an earlier one's once a day when something that
    it tells of has moved; the service's tells of whole days, and is written once a day.
    """
    today, this = clock.today(), first_of(clock.today())
    with connect() as connection:
        began = began_on(connection)
        if began is None:
            return StaleSubscriptionPages()
        months = [
            month for back in range(_LOOK_BACK_MONTHS, 0, -1) if (month := months_back(this, back)) >= began
        ]
        written = {month: _written(month) for month in (*months, this)}
        moved = _moved(connection, months)
        stale = []
        for month in months:
            at = written[month]
            was_over = at is not None and _day(at) >= next_month(month)
            if at is None or not was_over or (_day(at) < today and _is_later(moved.get(month), at)):
                stale.append(month)
        at = written[this]
        if at is None or _day(at) < today or _has_news(connection, this, at - _COMMIT_MARGIN):
            stale.append(this)
    service = _written(None)
    return StaleSubscriptionPages(service is None or _day(service) < today, stale)


def refresh_subscription_reports() -> StaleSubscriptionPages:
    """Count subscribers, unless today's count is there; write all pages that are stale, and return which.

    :raises SubscriptionFiguresDiffer: when figures of any of them do not agree; after all have been written.
    :raises ReportNotWritten: when the disk is full, or the folder cannot be written.
    """
    with connect() as connection:
        counted = is_counted(connection, clock.today())
    if not counted:
        count_today()
    stale = stale_subscription_pages()
    _write_all([*stale.months, *([None] if stale.service else [])])
    return stale


def _write_all(months: list[date | None]) -> list[Path]:
    """Write the pages of months, and that of the service for none; complain at the end."""
    pages, broken = [], []
    for month in months:
        try:
            pages.append(write_month_report(month) if month else write_service_report())
        except SubscriptionFiguresDiffer as error:
            broken.append(str(error))
    if broken:
        raise SubscriptionFiguresDiffer("; ".join(broken))
    return pages


# --- What has moved --------------------------------------------------------------------------------------

# What a month's page says of the years that begin in it goes on; so do receipts of its messages.
_MOVED = """
SELECT month, max(at) AS at FROM (
    SELECT CAST(date_trunc('month', period_start) AS date) AS month, max(state_since) AS at FROM fee_charge
    WHERE period_start >= :first AND period_start < :this AND state_since >= :since GROUP BY 1
    UNION ALL
    SELECT CAST(date_trunc('month', c.issue_date) AS date), max(n.state_since)
    FROM cycle c JOIN notice n ON n.cycle_id = c.id
    WHERE c.purpose IN ('welcome', 'subscription_news') AND c.issue_date >= :first AND c.issue_date < :this
        AND n.state_since >= :since
    GROUP BY 1
) moved GROUP BY month
"""
_NEWS = """
SELECT EXISTS (SELECT FROM subscription WHERE changed_at > :at OR created_at > :at)
    OR EXISTS (SELECT FROM fee_entry WHERE day >= :first AND booked_at > :at)
    OR EXISTS (SELECT FROM fee_charge WHERE state_since > :at)
    OR EXISTS (SELECT FROM coupon WHERE judged_at > :at)
    OR EXISTS (SELECT FROM attempt WHERE claimed_at > :at)
    OR EXISTS (
        SELECT FROM cycle c JOIN notice n ON n.cycle_id = c.id
        WHERE c.purpose = 'welcome' AND c.issue_date >= :first AND n.state_since > :at
    )
"""


def _moved(connection: Connection, months: list[date]) -> dict[date, datetime]:
    """Return when something moved last that the pages of earlier months tell of, looking back a few days."""
    if not months:
        return {}
    since = min((at for at in map(_written, months) if at is not None), default=clock.now())
    rows = connection.execute(
        text(_MOVED),
        {"first": months[0], "this": next_month(months[-1]), "since": since - _COMMIT_MARGIN},
    )
    return {row.month: row.at for row in rows}


def _is_later(moved: datetime | None, at: datetime) -> bool:
    return moved is not None and moved > at - _COMMIT_MARGIN


def _has_news(connection: Connection, month: date, at: datetime) -> bool:
    return bool(connection.scalar(text(_NEWS), {"first": month, "at": at}))


def _is_there(month: date | None) -> bool:
    return (subscription_report_folder(month) / _PAGE).is_file()


def _written(month: date | None) -> datetime | None:
    """Return when a page was written last, by the business's clock: no cycle could record it."""
    page = subscription_report_folder(month) / _PAGE
    return clock.moved(datetime.fromtimestamp(page.stat().st_mtime, UTC)) if page.is_file() else None


def _day(instant: datetime) -> date:
    return instant.astimezone(clock.zone()).date()


# --- Files -----------------------------------------------------------------------------------------------


def _one_snapshot(connection: Connection) -> None:
    """Let all figures be of one moment: feeds and receipts go on while we count."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))


def _publish(command: str, folder: Path, **report: Any) -> Path:
    try:
        return publish(folder, **report)
    except OSError as error:
        raise ReportNotWritten(
            f"a report could not be written to {folder}: {error.strerror or error}; an earlier one stands as "
            f"it was. Mend that, then run `{command}`"
        ) from error


def _insist(figures: MonthFigures | ServiceFigures, what: str, page: Path) -> None:
    if figures.missing:
        raise SubscriptionFiguresDiffer(f"{what} do not agree ({page}): {'; '.join(figures.missing)}")
