"""Buttons on tasks in the UI, and the operators that bear them."""

import shutil
from datetime import date
from types import SimpleNamespace

import pytest

from fatoura.errors import BadInput
from fatoura.fees import renewing
from fatoura.fees.balance import BooksDiffer
from fatoura.ledger import LedgerBroken
from fatoura.quality import data_docs_page
from fatoura.reports.cutoff import cutoff_day_folder
from fatoura.reports.subscriptions import subscription_report_folder
from fatoura.reports.writer import report_folder
from fatoura.settings import get_settings
from operations.links import DataDocsLink, ReportLink, report_address
from operations.stages import (
    ValidateExtractOperator,
    WriteCutoffReportOperator,
    WriteReportOperator,
    WriteSubscriptionReportOperator,
)
from tests.deliveries import load, record
from tests.fees import subscribe
from tests.notices import run_sql
from tests.plugins.conftest import RUN

BASE = "http://airflow.example.tn"


@pytest.fixture(autouse=True)
def _address(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"{BASE}/")


def task(cycle: str) -> SimpleNamespace:
    return SimpleNamespace(cycle=cycle)


def test_the_links_lead_to_the_pages_of_the_task_s_cycle():
    key = "2026-05-T1/supplement-2"
    assert ReportLink().get_link(task(key), ti_key=None) == (
        f"{BASE}/fatoura/reports/2026-05-T1/report.html"  # a report is the cycle's
    )
    assert DataDocsLink().get_link(task(key), ti_key=None) == (
        f"{BASE}/fatoura/reports/2026-05-T1/supplement-2/data-docs/index.html"
    )


def test_they_lead_to_where_the_files_are_written(configure):
    configure(now="2026-05-20T10:00:00+01:00")
    from fatoura.cycles.keys import ExtractKey

    key = ExtractKey("2026-05-T1")
    assert report_address(report_folder(str(key)) / "report.html") == ReportLink().get_link(
        task(str(key)), ti_key=None
    )
    assert report_address(data_docs_page(key)) == DataDocsLink().get_link(task(str(key)), ti_key=None)


def test_nothing_outside_the_reports_has_an_address():
    with pytest.raises(ValueError, match="subpath"):
        report_address(get_settings().var / "secrets" / "receipt_secret")


def test_a_key_that_is_none_has_no_link():
    with pytest.raises(BadInput):
        ReportLink().get_link(task("../secrets"), ti_key=None)


@pytest.mark.parametrize("key", ["cutoff-2026-06-29", "payment-received-2026-06-29"])
def test_the_cycles_of_a_day_share_a_report(key):
    address = ReportLink().get_link(task(key), ti_key=None)
    assert address == f"{BASE}/fatoura/reports/cutoff/2026-06-29/report.html"
    assert report_address(cutoff_day_folder(date(2026, 6, 29)) / "report.html") == address


@pytest.mark.parametrize("key", ["subscription-news-2026-07-01", "welcome-2026-07-31", "codes-2026-07-09"])
def test_cycles_about_subscriptions_lead_to_the_page_of_their_month(key):
    address = ReportLink().get_link(task(key), ti_key=None)
    assert address == f"{BASE}/fatoura/reports/subscriptions/2026-07/report.html"
    folder = subscription_report_folder(date(2026, 7, 1))
    assert report_address(folder / "report.html") == address


def test_the_pages_of_subscriptions_are_written_before_the_books_are_insisted_on(
    database, configure, monkeypatch
):
    configure(database_url=database, now="2026-07-01T10:00:00+01:00")
    subscribe()
    cycle, _ = renewing.begin_run()
    operator = WriteSubscriptionReportOperator(task_id="report", cycle=cycle)
    counts = operator.execute({"run_id": RUN})
    assert counts["subscribers"] == 1
    for folder in (subscription_report_folder(date(2026, 7, 1)), subscription_report_folder()):
        assert (folder / "report.html").is_file()

    def insist(*_: object, **__: object) -> None:
        raise BooksDiffer("charge F1: differs")

    monkeypatch.setattr(renewing, "report", insist)
    shutil.rmtree(subscription_report_folder())
    with pytest.raises(BooksDiffer):
        operator.execute({"run_id": RUN})
    assert (subscription_report_folder() / "report.html").is_file()


def test_the_day_of_a_report_is_today_when_nobody_says_another(configure):
    configure(now="2026-06-29T14:30:00+01:00")
    assert WriteCutoffReportOperator(task_id="report").cycle == "cutoff-2026-06-29"
    assert WriteCutoffReportOperator(task_id="report", day="2026-06-28").cycle == "cutoff-2026-06-28"
    with pytest.raises(BadInput, match="is no day"):
        _ = WriteCutoffReportOperator(task_id="report", day="yesterday").cycle


def test_the_page_of_a_day_is_written_where_its_link_leads_to(database, configure, context):
    configure(now="2026-06-29T14:30:00+01:00")
    operator = WriteCutoffReportOperator(task_id="report", day="2026-06-29")
    assert operator.execute(context) == "2026-06-29"
    assert (cutoff_day_folder(date(2026, 6, 29)) / "report.html").is_file()


def test_the_operators_bear_their_links():
    assert [link.name for link in WriteCutoffReportOperator.operator_extra_links] == ["Report"]
    assert [link.name for link in ValidateExtractOperator.operator_extra_links] == ["Data Docs"]
    assert [link.name for link in WriteReportOperator.operator_extra_links] == ["Report"]


def test_validating_returns_the_counts_and_writes_the_page_of_its_link(database, configure, context):
    configure(now="2026-05-20T10:00:00+01:00")
    from fatoura.cycles.keys import ExtractKey

    load(ExtractKey("2026-05-T1"), [record(n) for n in range(1, 31)] + [record(99, district="NOWHERE")])
    operator = ValidateExtractOperator(task_id="validate", cycle="2026-05-T1")
    assert operator.execute(context) == {"rows": 31, "rejected": 1}
    assert data_docs_page(ExtractKey("2026-05-T1")).is_file()


def test_the_report_is_written_before_the_task_fails_for_a_ledger_that_does_not_balance(
    database, configure, context
):
    configure(now="2026-05-20T10:00:00+01:00")
    from fatoura.cycles.keys import ExtractKey
    from fatoura.notices.planning import plan_bills
    from fatoura.subscriptions import match_extract

    key = ExtractKey("2026-05-T1")
    load(key, [record(n) for n in range(1, 6)])
    ValidateExtractOperator(task_id="validate", cycle=str(key)).execute(context)
    match_extract(key)
    plan_bills(key, run_id=RUN)
    operator = WriteReportOperator(task_id="report", cycle=str(key))
    told = operator.execute(context)
    assert (told["extracted"], told["identity_holds"]) == (5, True)
    page = get_settings().reports / "2026-05-T1" / "report.html"
    first = page.stat().st_mtime_ns
    run_sql("DELETE FROM invoice WHERE row_number = 3")
    with pytest.raises(LedgerBroken, match="row 3 is in no bucket"):
        operator.execute(context)
    assert page.stat().st_mtime_ns > first
