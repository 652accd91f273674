"""Pages about subscriptions as files: of nothing, one and many; whole, silent about customers, refreshed."""

import csv
import errno
import json
import os
import re
import shutil
import zipfile
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from openpyxl import load_workbook
from sqlalchemy import text

from fatoura import clock
from fatoura.cli import main
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.extracts.districts import seed_districts
from fatoura.reports import ReportNotWritten, publishing
from fatoura.reports.subscriptions import (
    SubscriptionFiguresDiffer,
    count_today,
    refresh_subscription_reports,
    stale_subscription_pages,
    subscription_month,
    subscription_report_folder,
    write_month_report,
    write_service_report,
    write_subscription_reports,
)
from tests.database.seeded_subscriptions import TODAY, seed_subscriptions
from tests.database.test_report_page import _FLAWS, browser, check_markup
from tests.database.test_report_writer import _PHONE
from tests.fees import subscribe
from tests.notices import run_sql

__all__ = ["browser"]
pytestmark = pytest.mark.database

NOW = f"{TODAY}T10:30:00+01:00"
MAY, JUNE = date(2026, 5, 1), date(2026, 6, 1)


@pytest.fixture
def nobody(database, configure):
    configure(database_url=database, now=NOW)


@pytest.fixture
def many(nobody):
    """Two years of 400 subscriptions."""
    with begin() as connection:
        seed_districts(connection)
        seed_subscriptions(connection, 400)
    count_today()


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def facts(folder: Path) -> dict[str, str]:
    return {row["fact"]: row["value"] for row in rows(folder, "summary")}


def both(**options: str) -> list[Path]:
    return [write_month_report(JUNE, **options), write_service_report(**options)]  # type: ignore[arg-type]


@pytest.mark.parametrize("language", ["fr", "en"])
def test_pages_are_made_of_nothing(nobody, language):
    for path in both(language=language):
        page = path.read_text()
        check_markup(page)
        assert 'class="verdict good"' in page
        assert ("Rien à montrer" if language == "fr" else "Nothing to show") in page
        load_workbook(path.with_name("report.xlsx"))


@pytest.mark.parametrize("language", ["fr", "en"])
def test_pages_are_made_of_one_subscription(nobody, language):
    subscribe()
    write_subscription_reports(TODAY)
    for path in both(language=language):
        check_markup(path.read_text())
        assert facts(path.parent)["figures_agree"] == "true"
    assert facts(subscription_report_folder())["subscribers"] == "1"
    assert rows(subscription_report_folder(), "over_time_state") == [
        {"day": "2026-06-17", "state": "active", "subscribers": "1"}
    ]


def test_what_the_files_of_a_month_say_agrees(many):
    folder = write_month_report(MAY).parent
    assert folder == subscription_report_folder(MAY)
    assert folder.parts[-2:] == ("subscriptions", "2026-05")
    said = facts(folder)
    assert said["figures_agree"] == "true"
    assert int(said["at_start"]) + int(said["joined"]) - int(said["left"]) == int(said["at_end"])
    assert sum(int(row["subscriptions"]) for row in rows(folder, "left")) == int(said["left"])
    moved = {row["movement"]: int(row["amount_millimes"]) for row in rows(folder, "fee_movements")}
    assert moved["opening"] + moved["charged"] + moved["taken_back"] + moved["refunded"] == (
        moved["closing"] + moved["waived"] + moved["given_up"] + moved["credited"] + moved["paid"]
    )
    assert moved["closing"] == int(said["owed_millimes"]) - int(said["owed_back_millimes"])
    forgone = sum(int(row["amount_millimes"]) for row in rows(folder, "forgone"))
    assert forgone == moved["waived"] + moved["given_up"] + moved["credited"]
    groups = rows(folder, "groups_of_subscribers")
    whole = {
        dimension: sum(int(row["now"]) for row in groups if row["dimension"] == dimension)
        for dimension in ("state", "channel", "language")
    }
    assert len(set(whole.values())) == 1
    assert sum(int(row["now"]) for row in rows(folder, "subscription_districts")) == whole["state"]
    costs = rows(folder, "message_costs")
    assert sum(int(row["cost_millimes"]) for row in costs) == int(said["cost_millimes"]) > 0


def test_the_workbook_opens_and_its_totals_are_those_of_the_csv_files(many):
    for path in both(language="en"):
        folder = path.parent
        book = load_workbook(folder / "report.xlsx", data_only=True)
        assert len(book.sheetnames) == len(list(folder.glob("*.csv")))
        sheets = {sheet.title: sheet for sheet in book.worksheets}
        for title, name in (
            ("Waived, given up, credited", "forgone"),
            ("Cost of messages by kind", "message_costs"),
        ):
            listed = rows(folder, name)
            last = [row[-1].value for row in sheets[title].iter_rows(min_row=2)]
            assert sum(last) * 1000 == pytest.approx(sum(int(list(row.values())[-1]) for row in listed))
    month, _ = both(language="en")
    (sheet,) = [
        one
        for one in load_workbook(month.with_name("report.xlsx"))
        if one.title == "Who left, by reason and way"
    ]
    assert sum(row[2].value for row in sheet.iter_rows(min_row=2)) == int(facts(month.parent)["left"])


def test_the_pages_lead_to_each_other_and_to_their_files(many):
    write_month_report(MAY)
    month, service = both()
    for path in (month, service):
        for link in re.findall(r'href="([^"]*)"', path.read_text()):
            if (path.parent / link).suffix == ".html":
                assert link in {"../2026-05/report.html", "../2026-06/report.html", "../service/report.html"}
            assert link == "../service/report.html" or (path.parent / link).is_file(), link
    assert 'href="../2026-05/report.html"' in month.read_text()
    assert 'href="../2026-05/report.html"' in service.read_text()
    assert "../service/report.html" in write_month_report(JUNE).read_text()


def test_no_file_holds_a_number_or_a_reference(many):
    run_sql("UPDATE subscription SET customer_reference = lpad(CAST(700000000 + id AS text), 9, '0')")
    with connect() as connection:
        found = connection.execute(text("SELECT customer_reference, phone FROM subscription")).all()
    secrets = {told for row in found for told in (row.customer_reference, row.phone, row.phone[4:])}
    for path in both():
        for file in path.parent.iterdir():
            if file.suffix == ".xlsx":
                with zipfile.ZipFile(file) as parts:
                    content = parts.read("xl/sharedStrings.xml").decode()
            else:
                content = re.sub(r"<style>.*?</style>", "", file.read_text(), flags=re.DOTALL)
            assert not set(re.findall(r"\d{8,}", content)) & secrets, file
            assert file.suffix == ".csv" or not _PHONE.findall(content), file  # millimes look like phones


def test_what_does_not_agree_is_shown_and_then_raised(many):
    with begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        wrong = connection.scalar(
            text(
                "UPDATE fee_charge SET owed_millimes = 1 "
                "WHERE id = (SELECT min(id) FROM fee_charge WHERE owed_millimes > 0) RETURNING id"
            )
        )
    for write, folder in (
        (lambda: write_month_report(MAY, language="en"), subscription_report_folder(MAY)),
        (lambda: write_service_report(language="en"), subscription_report_folder()),
    ):
        with pytest.raises(SubscriptionFiguresDiffer, match=rf"do not agree \(.*\): charge F{wrong}: "):
            write()
        page = (folder / "report.html").read_text()
        assert 'class="verdict bad"' in page
        assert f"F{wrong}" in page
        assert facts(folder)["figures_agree"] == "false"
    answer = CliRunner().invoke(main, ["subscribers", "report"])
    assert answer.exit_code == 1
    assert "do not agree" in answer.stderr


def test_the_command_writes_a_month_or_the_whole_service(many):
    answer = CliRunner().invoke(main, ["subscribers", "report", "--month", "2026-05", "--json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told["month"] == "2026-05"
    assert {"report.html", "report.xlsx", "fee_movements.csv"} <= set(told["files"])
    answer = CliRunner().invoke(main, ["subscribers", "report", "--language", "en"])
    assert answer.stdout.strip() == str(subscription_report_folder() / "report.html")
    for wrong in ("2026-13", "2031-01", "May"):
        refused = CliRunner().invoke(main, ["subscribers", "report", "--month", wrong])
        assert refused.exit_code == 1
    with pytest.raises(BadInput):
        subscription_month("../etc")
    with pytest.raises(BadInput):
        write_month_report(date(2031, 1, 1))


def test_a_full_disk_leaves_the_earlier_page_as_it_was(nobody, monkeypatch):
    month, service = both()
    before = month.read_text()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(publishing, "write_csv", full)
    with pytest.raises(ReportNotWritten, match=r"No space left.*fatoura subscribers report --month 2026-06"):
        write_month_report(JUNE)
    with pytest.raises(ReportNotWritten, match=r"fatoura subscribers report`"):
        write_service_report()
    assert month.read_text() == before
    assert service.is_file()


# --- Once a day, and when there is news --------------------------------------------------------------------


def counted() -> list[tuple[date, int]]:
    with connect() as connection:
        return [
            (day, int(count))
            for day, count in connection.execute(
                text("SELECT day, sum(subscribers) FROM subscriber_count GROUP BY 1 ORDER BY 1")
            )
        ]


def let_pass(path: Path, since: timedelta) -> None:
    """Let a page have been written so long ago."""
    at = (datetime.now(tz=clock.zone()) - since).timestamp()
    os.utime(path, (at, at))


def test_nobody_is_reported_where_nobody_ever_was(nobody):
    assert refresh_subscription_reports().names == []
    assert not subscription_report_folder().parent.exists()


def test_subscribers_are_counted_once_a_day(nobody, configure, database):
    subscribe()
    refresh_subscription_reports()
    subscribe("000000002")
    refresh_subscription_reports()
    assert counted() == [(TODAY, 1)]
    write_subscription_reports(TODAY)  # whoever writes the pages counts anew
    assert counted() == [(TODAY, 2)]
    configure(database_url=database, now="2026-06-18T00:15:00+01:00")
    refresh_subscription_reports()
    assert counted() == [(TODAY, 2), (date(2026, 6, 18), 2)]


def test_a_page_is_written_again_when_there_is_news_and_not_else(nobody):
    subscribe(created_at=clock.now() - timedelta(hours=4), changed_at=clock.now() - timedelta(hours=4))
    assert refresh_subscription_reports().names == ["service", "2026-06"]
    page = subscription_report_folder(JUNE) / "report.html"
    assert stale_subscription_pages().names == []
    let_pass(page, timedelta(hours=1))
    assert stale_subscription_pages().names == []
    run_sql("UPDATE subscription SET changed_at = :at", at=clock.now())
    assert refresh_subscription_reports().names == ["2026-06"]
    let_pass(page, timedelta(hours=24))
    let_pass(subscription_report_folder() / "report.html", timedelta(hours=24))
    assert stale_subscription_pages().names == ["service", "2026-06"]


def test_earlier_months_are_written_once_they_are_over_and_when_their_years_move(nobody, configure, database):
    configure(database_url=database, now="2026-05-20T10:00:00+01:00")
    subscribe()
    refresh_subscription_reports()
    configure(database_url=database, now=NOW)
    may = subscription_report_folder(MAY) / "report.html"
    for path in (may, subscription_report_folder() / "report.html"):
        let_pass(path, timedelta(days=28))
    assert stale_subscription_pages().names == ["service", "2026-05", "2026-06"]
    assert "En cours" in may.read_text()
    refresh_subscription_reports()
    assert "Terminé" in may.read_text()
    let_pass(may, timedelta(days=1))
    assert stale_subscription_pages().months == []
    run_sql(
        "INSERT INTO fee_charge (subscription_id, customer_reference, period_start, period_end, "
        "amount_millimes, rules_version, state_since) "
        "VALUES (1, '1', '2026-05-20', '2027-05-19', 1000, 'x', :at)",
        at=clock.now(),
    )
    assert MAY in stale_subscription_pages().months
    shutil.rmtree(may.parent)
    assert MAY in refresh_subscription_reports().months
    # What moves later on the same day waits for the next one.
    run_sql("UPDATE fee_charge SET state_since = :at", at=clock.now() + timedelta(hours=1))
    assert MAY not in stale_subscription_pages().months


# --- In a browser ------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_nothing_sticks_out_or_lies_over_another_thing(many, browser):
    for language in ("fr", "en"):
        for path in both(language=language):
            for width in (360, 760, 1280):
                page = browser.new_page(viewport={"width": width, "height": 900})
                asked: list[str] = []
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.goto(path.as_uri())
                assert page.evaluate(_FLAWS) == [], (language, path.parent.name, width)
                assert asked == [path.as_uri()]
                page.close()
