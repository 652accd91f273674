"""Reports inside Airflow's UI: only after a login, only what lies below the reports folder."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import text

from fatoura.cycles.registry import Purpose, cycle_id_of, open_cycle
from fatoura.cycles.stages import recorded_stage
from fatoura.database import begin
from fatoura.settings import get_settings
from fatoura.statements import Period, compared, import_statement
from fatoura.statements.report import write_statement_report
from operations.links import URL_PREFIX
from tests.statements import GATEWAY, Sent, detail, line, send

if TYPE_CHECKING:
    from pathlib import Path

RUN = "asset_triggered__2026-05-20T10:00:00+01:00_x7"


@pytest.fixture
def app(database):
    """Airflow's own application around the plugin's pages, as the API server mounts them."""
    from fastapi import FastAPI

    from operations.pages import create_app

    pages = create_app()
    around = FastAPI()
    around.mount(URL_PREFIX, pages)
    around.state.pages = pages
    return around


@pytest.fixture
def stranger(app) -> httpx.AsyncClient:
    """Somebody who has not logged in."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://airflow")


@pytest.fixture
def client(app, stranger) -> httpx.AsyncClient:
    """Somebody who has logged in."""
    from airflow.api_fastapi.core_api.security import get_user

    app.state.pages.dependency_overrides[get_user] = lambda: object()
    return stranger


@pytest.fixture
def reports() -> Path:
    """A reports folder with one cycle's report, and secrets beside it."""
    folder = get_settings().reports
    (folder / "2026-05-T1" / "data-docs").mkdir(parents=True)
    (folder / "2026-05-T1" / "report.html").write_text("<h1>تقرير 2026-05-T1</h1>", encoding="utf-8")
    (folder / "2026-05-T1" / "report.xlsx").write_bytes(b"PK")
    (folder / "2026-05-T1" / "data-docs" / "index.html").write_text("<h1>Data Docs</h1>")
    secrets = folder.parent / "secrets"
    secrets.mkdir()
    (secrets / "receipt_secret").write_text("a-secret")
    (folder.parent / "reports-of-others").mkdir()
    (folder.parent / "reports-of-others" / "x.html").write_text("a-secret")
    return folder


def load(key: str, *, reported: bool, run: str | None = RUN) -> None:
    with begin() as connection:
        cycle = connection.scalar(
            text("INSERT INTO cycle (key, issue_date) VALUES (:key, '2026-05-20') RETURNING id"),
            {"key": key},
        )
    for name in ("extract", "report") if reported else ("extract",):
        with recorded_stage(cycle, name, run_id=run):
            pass


def assert_guarded(answer) -> None:
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "private" in answer.headers["cache-control"]


PAGES = [
    f"{URL_PREFIX}/reports",
    f"{URL_PREFIX}/reports/2026-05-T1/report.html",
    f"{URL_PREFIX}/reports/nothing.html",
    f"{URL_PREFIX}/runs/{RUN}/report",
]


@pytest.mark.parametrize("page", PAGES)
async def test_without_a_login_there_is_nothing_to_see(stranger, reports, page):
    load("2026-05-T1", reported=True)
    answer = await stranger.get(page)
    assert answer.status_code == 401
    assert "2026-05-T1" not in answer.text


@pytest.mark.parametrize("credentials", ["Bearer garbage", "Basic YWRtaW46YWRtaW4="])
async def test_with_a_wrong_token_neither(stranger, reports, credentials, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of a test, long enough for its purpose")
    from airflow.api_fastapi.app import init_auth_manager

    init_auth_manager()
    for headers in ({"Authorization": credentials}, {"Cookie": "_token=garbage"}):
        answer = await stranger.get(PAGES[1], headers=headers)
        assert answer.status_code in (401, 403)


def test_every_route_asks_for_the_login():
    from operations.pages import create_app, router

    assert router.dependencies
    guarded = {route.path for route in router.routes}
    assert {route.path for route in create_app().routes} == guarded  # no docs, no openapi.json beside them


async def test_a_report_is_shown_with_headers_that_keep_it_to_itself(client, reports):
    answer = await client.get(f"{URL_PREFIX}/reports/2026-05-T1/report.html")
    assert answer.status_code == 200
    assert "تقرير" in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert_guarded(answer)


async def test_other_files_of_a_report_can_be_fetched_and_a_folder_shows_its_index(client, reports):
    assert (await client.get(f"{URL_PREFIX}/reports/2026-05-T1/report.xlsx")).content == b"PK"
    answer = await client.get(f"{URL_PREFIX}/reports/2026-05-T1/data-docs")
    assert "Data Docs" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "../secrets/receipt_secret",
        "..%2Fsecrets%2Freceipt_secret",
        "%2e%2e/secrets/receipt_secret",
        "%2e%2e%2fsecrets%2freceipt_secret",
        "2026-05-T1/../../secrets/receipt_secret",
        "2026-05-T1%2F..%2F..%2Fsecrets%2Freceipt_secret",
        "..%5Csecrets%5Creceipt_secret",
        "..%2Freports-of-others%2Fx.html",
        "%2Fetc%2Fpasswd",
        "%2F%2Fetc%2Fpasswd",
        "..%2F..%2F..%2F..%2F..%2F..%2Fetc%2Fpasswd",
        "2026-05-T1%00.html",
        "%00",
        "x" * 5000,
        "/".join("x" * 200 for _ in range(30)),
        "2026-05-T1",
        "link/receipt_secret",
        "linked/",
        "",
    ],
)
async def test_nothing_outside_the_reports_folder_is_ever_shown(client, reports, path):
    (reports / "link").symlink_to(reports.parent / "secrets")
    (reports / "linked").mkdir()
    (reports / "linked" / "index.html").symlink_to(reports.parent / "secrets" / "receipt_secret")
    answer = await client.get(f"{URL_PREFIX}/reports/{path}")
    assert answer.status_code in (307, 404)  # 307: to the list of reports
    assert "a-secret" not in answer.text
    assert "root:" not in answer.text


async def test_what_is_not_there_is_not_found(client, reports):
    answer = await client.get(f"{URL_PREFIX}/reports/2026-05-T9/report.html")
    assert answer.status_code == 404
    assert answer.json() == {"detail": "There is no such report"}


async def test_before_the_first_report_there_is_no_folder_and_no_error(client):
    assert (await client.get(f"{URL_PREFIX}/reports/2026-05-T1/report.html")).status_code == 404


async def test_the_list_shows_cycles_with_links_to_what_was_written(client, reports):
    load("2026-05-T1", reported=True)
    load("2026-05-T2", reported=False)
    with begin() as connection:
        open_cycle(connection, Purpose.CUTOFF, date(2026, 6, 29))
    answer = await client.get(f"{URL_PREFIX}/reports")
    assert answer.status_code == 200
    assert "cutoff-2026-06-29" not in answer.text, "of bills there are none in it"
    assert 'href="/fatoura/reports/2026-05-T1/report.html"' in answer.text
    assert 'href="/fatoura/reports/2026-05-T1/report.xlsx"' in answer.text
    assert "2026-05-T2/report.html" not in answer.text
    assert "not yet written" in answer.text
    assert answer.text.index("2026-05-T2") < answer.text.index("2026-05-T1")
    assert_guarded(answer)


async def test_the_list_shows_days_of_warnings_and_where_nothing_was_decided(client, reports):
    load("2026-05-T1", reported=False)
    counts = {"reminders": 5, "due": 12_345, "delivered": 7, "left_out": 1, "letters": 2, "waiting": 12_336}
    record_day("2026-06-29", counts)
    record_day("2026-06-30", None)
    (reports / "cutoff" / "2026-06-28").mkdir(parents=True)
    (reports / "cutoff" / "2026-06-28" / "report.html").write_text("<h1>Sunday</h1>")
    page = (await client.get(f"{URL_PREFIX}/reports")).text
    assert f'href="{URL_PREFIX}/reports/cutoff/2026-06-29/report.html">29/06/2026<' in page
    assert f'href="{URL_PREFIX}/reports/cutoff/2026-06-29/report.xlsx"' in page
    assert "12\u202f345" in page
    assert "cutoff/2026-06-30/report.html" not in page
    sunday = page[page.index("cutoff/2026-06-28/report.html") :]
    assert "nothing was decided" in sunday
    assert page.index("30/06/2026") < page.index("29/06/2026") < page.index("28/06/2026")
    assert "cutoff.html" not in page
    record("2026-05-T1", {"cases": 3})
    assert (
        f'href="{URL_PREFIX}/reports/2026-05-T1/cutoff.html"'
        in (await client.get(f"{URL_PREFIX}/reports")).text
    )


def record_day(day: str, counts: dict[str, int] | None) -> None:
    """Open a day's cycle, and record that its page was written."""
    with begin() as connection:
        _, key = open_cycle(connection, Purpose.CUTOFF, date.fromisoformat(day))
    if counts is not None:
        record(key, counts)


def record(key: str, counts: dict[str, int]) -> None:
    with recorded_stage(cycle_id_of(key), "cutoff_report", run_id=RUN) as stage:
        stage.counts |= counts


async def test_a_run_of_warnings_leads_to_the_page_of_its_day(client, reports):
    record_day("2026-06-29", {})
    assert "no report yet" in (await client.get(f"{URL_PREFIX}/runs/{RUN}/report")).text
    (reports / "cutoff" / "2026-06-29").mkdir(parents=True)
    (reports / "cutoff" / "2026-06-29" / "report.html").write_text("<h1>Monday</h1>")
    answer = await client.get(f"{URL_PREFIX}/runs/{RUN}/report")
    assert answer.headers["location"] == f"{URL_PREFIX}/reports/cutoff/2026-06-29/report.html"
    assert "Monday" in (await client.get(answer.headers["location"])).text


async def test_the_list_leads_to_the_pages_of_subscriptions_the_service_first(client, reports):
    assert "subscriptions/" not in (await client.get(f"{URL_PREFIX}/reports")).text
    for name in ("2026-06", "2026-07", "service"):
        (reports / "subscriptions" / name).mkdir(parents=True)
        (reports / "subscriptions" / name / "report.html").write_text(f"<h1>{name}</h1>")
    page = (await client.get(f"{URL_PREFIX}/reports")).text
    found = re.findall(rf'href="({URL_PREFIX}/reports/subscriptions/[^"]*html)"', page)
    assert [address.split("/")[-2] for address in found] == ["service", "2026-07", "2026-06"]
    assert "<h1>service</h1>" in (await client.get(found[0])).text
    assert f'href="{URL_PREFIX}/reports/subscriptions/2026-07/report.xlsx"' in page


async def test_the_list_leads_to_the_providers_statements(client, tmp_path):
    (one,) = send(Sent())
    import_statement(detail(tmp_path, [line(ref=one)]), GATEWAY, Period(2026, 5))
    with compared(GATEWAY, Period(2026, 5)) as opened:
        write_statement_report(opened)
    page = (await client.get(f"{URL_PREFIX}/reports")).text
    address = f"{URL_PREFIX}/reports/statements/{GATEWAY}/2026-05/report.html"
    assert f'href="{address}"' in page
    assert "0,020" in (await client.get(address)).text


async def test_an_empty_list_says_so(client):
    assert "No cycle has been loaded yet" in (await client.get(f"{URL_PREFIX}/reports")).text


@pytest.mark.parametrize("asked", [RUN, "asset_triggered__2026-05-20T10%3A00%3A00%2B01%3A00_x7"])
async def test_a_run_leads_to_the_report_of_its_cycle(client, reports, asked):
    load("2026-05-T1", reported=True)
    answer = await client.get(f"{URL_PREFIX}/runs/{asked}/report")
    assert answer.status_code == 307
    assert answer.headers["location"] == f"{URL_PREFIX}/reports/2026-05-T1/report.html"
    assert_guarded(answer)
    assert (await client.get(answer.headers["location"])).status_code == 200


async def test_an_address_that_no_run_can_have_is_no_error(client, reports):
    for run in ("%00", "x" * 5000):
        assert (await client.get(f"{URL_PREFIX}/runs/{run}/report")).status_code == 200


@pytest.mark.parametrize("key", ["2026-05-T1", "2026-05-T2"])
async def test_a_run_that_has_written_no_report_says_so(client, reports, key):
    if key == "2026-05-T2":
        load(key, reported=False)
    answer = await client.get(f"{URL_PREFIX}/runs/{RUN}/report")
    assert answer.status_code == 200
    assert "no report yet" in answer.text
    assert_guarded(answer)


async def test_airflow_may_lie_below_a_path_of_its_server(app, client, reports):
    load("2026-05-T1", reported=True)
    app.root_path = "/airflow"
    listed = await client.get(f"/airflow{URL_PREFIX}/reports")
    assert 'href="/airflow/fatoura/reports/2026-05-T1/report.html"' in listed.text
    led = await client.get(f"/airflow{URL_PREFIX}/runs/{RUN}/report")
    assert led.headers["location"] == "/airflow/fatoura/reports/2026-05-T1/report.html"
