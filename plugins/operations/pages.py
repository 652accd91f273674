"""Reports, Data Docs and messages in doubt inside Airflow's UI.

Every route asks for Airflow's login: plugin pages have none.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.core_api.security import requires_authenticated
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from sqlalchemy import text
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse

from fatoura import clock
from fatoura.cycles.keys import report_place
from fatoura.database import connect
from fatoura.settings import get_settings
from operations import doubt_pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

# Pages are ours, but what they show came from outside: nothing in them may load or send anything elsewhere.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache, private",
}
_CYCLES = text(
    """
    SELECT c.key, c.issue_date, s.reported_at, s.cutoff_at
    FROM cycle c LEFT JOIN LATERAL (
        SELECT max(finished_at) FILTER (WHERE name = 'report') AS reported_at,
            max(finished_at) FILTER (WHERE name = 'cutoff_report') AS cutoff_at
        FROM stage WHERE cycle_id = c.id AND name IN ('report', 'cutoff_report')
    ) s ON true
    WHERE c.purpose = 'billing'
    ORDER BY c.issue_date DESC, c.key DESC LIMIT 500
    """
)
_DAYS = text(
    """
    SELECT c.issue_date, s.finished_at AS reported_at, s.counts
    FROM cycle c LEFT JOIN LATERAL (
        SELECT finished_at, counts FROM stage WHERE cycle_id = c.id AND name = 'cutoff_report'
        ORDER BY id DESC LIMIT 1
    ) s ON true
    WHERE c.purpose = 'cutoff'
    ORDER BY c.issue_date DESC LIMIT 500
    """
)
_CYCLE_OF_RUN = text(
    "SELECT c.key FROM stage s JOIN cycle c ON c.id = s.cycle_id WHERE s.run_id = :run "
    "ORDER BY s.id DESC LIMIT 1"
)

router = APIRouter(dependencies=[Depends(requires_authenticated())])
router.include_router(doubt_pages.router)


@router.get("/reports")
def list_reports(request: Request) -> Response:
    """List cycles, days of warnings, months of subscriptions and statements, newest first, with reports."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    from fatoura.statements import imported_statements

    with connect() as connection:
        cycles = connection.execute(_CYCLES).all()
        days = connection.execute(_DAYS).all()
    environment = Environment(
        loader=PackageLoader("fatoura.reports", "."), autoescape=select_autoescape(["j2"])
    )
    page = environment.get_template("cycles.html.j2").render(
        cycles=cycles,
        days=_with_undecided(days),
        months=_subscription_months(),
        statements=imported_statements(),
        prefix=f"{_root(request)}/reports",
        zone=clock.zone(),
    )
    return HTMLResponse(page, headers=_HEADERS)


@router.get("/runs/{run_id}/report")
def show_report_of_run(request: Request, run_id: str) -> Response:
    """Lead from a run to the report of its cycle, or of its day."""
    with connect() as connection:
        cycle = connection.scalar(_CYCLE_OF_RUN, {"run": run_id.replace("\0", "")})
    place = report_place(cycle) if cycle else None
    if place is None or not (get_settings().reports / place / "report.html").is_file():
        return HTMLResponse(
            "<p style='font: 16px system-ui; margin: 2rem'>This run has written no report yet.</p>",
            headers=_HEADERS,
        )
    return RedirectResponse(f"{_root(request)}/reports/{place}/report.html", headers=_HEADERS)


@router.get("/reports/{path:path}")
def show_file(path: str) -> Response:
    """Show a file below the reports folder, and nothing outside it."""
    folder = get_settings().reports.resolve()
    try:
        file = (folder / path).resolve()
        if file.is_dir():
            file = (file / "index.html").resolve()
        there = file.is_relative_to(folder) and file.is_file()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or a link to itself
        there = False
    if not there:
        raise HTTPException(status_code=404, detail="There is no such report")
    return FileResponse(file, headers=_HEADERS)


def _with_undecided(days: Sequence[Any]) -> list[tuple[str, datetime | None, dict[str, int] | None]]:
    """Return days with their figures, the latest first; one of which only a page is there decided nothing."""
    known = {one.issue_date.isoformat(): (one.reported_at, one.counts) for one in days}
    for page in (get_settings().reports / "cutoff").glob("????-??-??/report.html"):
        known.setdefault(
            page.parent.name, (clock.moved(datetime.fromtimestamp(page.stat().st_mtime, UTC)), None)
        )
    return [(day, *known[day]) for day in sorted(known, reverse=True)]


def _subscription_months() -> list[tuple[str, datetime]]:
    """Return which pages about subscriptions are there, the service's first, and when they were written."""
    folder = get_settings().reports / "subscriptions"
    pages = [*folder.glob("service/report.html"), *sorted(folder.glob("????-??/report.html"), reverse=True)]
    return [
        (page.parent.name, clock.moved(datetime.fromtimestamp(page.stat().st_mtime, UTC))) for page in pages
    ]


def _root(request: Request) -> str:
    """Return where these pages lie: Airflow itself may lie below a path of its server."""
    return str(request.scope["root_path"])


def create_app() -> FastAPI:
    """Return the plugin's pages."""
    app = FastAPI(title="Fatoura", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    return app
