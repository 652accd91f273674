"""Pages about cut-off warnings as files: whole, in place, silent about customers, refreshed on news."""

import csv
import errno
import os
import re
import shutil
import time
import zipfile
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from openpyxl import load_workbook
from sqlalchemy import text

from fatoura import clock
from fatoura.cutoff.reasons import Reason
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.reports import ReportNotWritten, files, publishing, write_report
from fatoura.reports.cutoff import (
    CutoffBroken,
    cutoff_day_folder,
    page,
    refresh_cutoff_reports,
    stale_cutoff_pages,
    write_cutoff_cycle_report,
    write_cutoff_day_report,
)
from fatoura.reports.cutoff.cycle import cutoff_cycle_figures
from fatoura.reports.cutoff.day import DayFigures, Movement, Undecided, day_figures
from fatoura.reports.words import Words
from tests.database.test_report_page import _FLAWS, browser, check_markup
from tests.database.test_report_writer import _PHONE

__all__ = ["browser"]
pytestmark = pytest.mark.database

CYCLE, LAST = "2026-05-T1", date(2026, 7, 3)
WARNED_ON, STALE, SUNDAY, REMINDED = (
    date(2026, 6, 22),
    date(2026, 6, 25),
    date(2026, 6, 28),
    date(2026, 6, 12),
)


def stages() -> list:
    with connect() as connection:
        return connection.execute(
            text(
                "SELECT c.key, s.counts, s.run_id FROM stage s JOIN cycle c ON c.id = s.cycle_id "
                "WHERE s.name = 'cutoff_report' ORDER BY s.id"
            )
        ).all()


def table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def change(statement: str, **values: object) -> int:
    with begin() as connection:
        return connection.execute(text(statement), values).rowcount


def test_a_day_is_a_page_a_workbook_and_csv_files(own_weeks):
    path = write_cutoff_day_report(WARNED_ON, run_id="a run")
    folder = cutoff_day_folder(WARNED_ON)
    assert path == folder / "report.html"
    assert folder.parts[-2:] == ("cutoff", "2026-06-22")
    names = {one.name for one in folder.iterdir()}
    assert {
        "report.html",
        "report.xlsx",
        "summary.csv",
        "due_cases.csv",
        "left_out.csv",
        "freshness.csv",
    } <= names
    ((key, counts, run),) = stages()
    assert (key, run) == ("cutoff-2026-06-22", "a run")
    summary = {row["fact"]: row["value"] for row in table(folder / "summary.csv")}
    assert counts["due"] == int(summary["due"])
    assert summary["identity_holds"] == "true"
    buckets = {row["decided"]: int(row["cases"]) for row in table(folder / "due_cases.csv")}
    assert buckets.pop("due") == sum(buckets.values())
    districts = table(folder / "debt_districts.csv")
    assert sum(int(row["open_millimes"]) + int(row["left_out_millimes"]) for row in districts) == int(
        summary["owed_millimes"]
    )
    assert {row["known_then"] for row in table(folder / "freshness.csv")} == {"2026-06-22T05:30:00+01:00"}
    days = table(folder / "paid_after.csv")
    assert (days[0]["from_days"], days[0]["to_days"], days[-1]["from_days"]) == ("", "-1", "22")
    assert sum(int(row["cases"]) for row in days) == int(summary["paid_after"])


def test_a_cycle_s_page_lies_beside_its_report_and_neither_touches_the_other(own_weeks):
    path = write_cutoff_cycle_report(f"{CYCLE}/supplement-1")
    folder = path.parent
    assert (path.name, folder.name) == ("cutoff.html", CYCLE)
    before = {one.name: one.stat().st_mtime_ns for one in folder.iterdir()}
    assert all(name.startswith("cutoff") for name in before)
    assert {"cutoff.xlsx", "cutoff_summary.csv", "cutoff_standings.csv", "cutoff_days.csv"} <= set(before)
    write_report(CYCLE)
    assert before.items() <= {one.name: one.stat().st_mtime_ns for one in folder.iterdir()}.items()
    assert set(re.findall(r'href="([^"]*)"', path.read_text())) <= set(before)
    summary = {row["fact"]: row["value"] for row in table(folder / "cutoff_summary.csv")}
    assert sum(int(row["cases"]) for row in table(folder / "cutoff_standings.csv")) == int(summary["cases"])
    ((key, counts, _),) = stages()
    assert (key, counts["cases"]) == (CYCLE, int(summary["cases"]))


def test_a_cycle_s_page_leads_to_the_pages_of_its_days_that_are_there(own_weeks):
    write_cutoff_day_report(WARNED_ON)
    page = write_cutoff_cycle_report(CYCLE)
    links = [link for link in re.findall(r'href="([^"]*)"', page.read_text()) if "cutoff/" in link]
    assert links == ["../cutoff/2026-06-22/report.html"]
    assert (page.parent / links[0]).resolve().is_file()


def test_the_workbook_holds_the_same_rows_in_words(own_weeks):
    folder = write_cutoff_day_report(WARNED_ON, language="en").parent
    book = load_workbook(folder / "report.xlsx")
    assert len(book.sheetnames) == len(list(folder.glob("*.csv")))
    sheet = book["Not warned, a letter is due"]
    assert [cell.value for cell in sheet[1]] == ["Reason", "Cases", "On a list", "Closed since", "Owed (TND)"]
    assert sheet.cell(2, 1).value in ("the message was not delivered", "no consent to messages in force")
    assert sheet.cell(2, 5).number_format == "#,##0.000"
    summary = {row[0].value: row[1].value for row in book["Summary"].iter_rows(min_row=2)}
    assert summary["Phase"] == "Settled"
    assert isinstance(summary["Day"], datetime)
    cycle = load_workbook(write_cutoff_cycle_report(CYCLE, language="fr").with_suffix(".xlsx"))
    assert cycle["Jour par jour"].cell(2, 1).value == datetime(2026, 6, 12)


def test_no_file_holds_a_number_a_text_a_reference_or_an_invoice(own_weeks):
    for language in ("fr", "en"):
        for path in (
            write_cutoff_day_report(WARNED_ON, language=language),
            write_cutoff_day_report(LAST),
            write_cutoff_cycle_report(CYCLE, language=language),
        ):
            for file in path.parent.iterdir():
                if file.suffix == ".xlsx":
                    with zipfile.ZipFile(file) as parts:
                        content = parts.read("xl/sharedStrings.xml").decode()
                else:
                    content = re.sub(r"<style>.*?</style>", "", file.read_text(), flags=re.DOTALL)
                assert not set(re.findall(r"\d{8,}", content)) & set(own_weeks.secrets), file
                assert file.suffix == ".csv" or not _PHONE.findall(content), file  # millimes look like phones
                assert "+216" not in content, file
                assert f"{CYCLE}-" not in content, file
                assert "invented text" not in content, file


@pytest.mark.parametrize("day", [SUNDAY, STALE])
def test_a_day_without_decisions_has_a_page_and_no_record(own_weeks, day):
    page = write_cutoff_day_report(day, language="en").read_text()
    check_markup(page)
    said = {
        STALE: "Nobody was warned: payments were not known up to the hour that is needed (Bank).",
        SUNDAY: "No sending on this day",
    }
    assert said[day] in page
    assert stages() == []


def test_what_does_not_add_up_is_shown_and_then_raised(own_weeks):
    change("UPDATE cutoff_case SET reason = NULL WHERE state = 'paid' AND cycle_id = 1")
    with pytest.raises(
        CutoffBroken, match=r"cut-off cases of 2026-05-T1 do not add up.*is closed without a reason"
    ):
        write_cutoff_cycle_report(CYCLE, language="en")
    page = (cutoff_day_folder(LAST).parents[1] / CYCLE / "cutoff.html").read_text()
    assert 'class="verdict bad"' in page
    assert "is closed without a reason" in page
    assert len(stages()) == 1


def test_days_that_have_not_come_and_cycles_that_are_not_there_are_refused(own_weeks):
    for refused in (
        lambda: write_cutoff_day_report(LAST + timedelta(days=1)),
        lambda: write_cutoff_cycle_report("2031-01-T1"),
        lambda: write_cutoff_cycle_report(f"cutoff-{WARNED_ON}"),
        lambda: write_cutoff_cycle_report("../etc"),
    ):
        with pytest.raises(BadInput):
            refused()
    assert not cutoff_day_folder(LAST).parent.exists()


@pytest.mark.parametrize(("module", "step"), [(publishing, "write_csv"), (files, "_to_disk")])
def test_a_full_disk_leaves_the_earlier_page_as_it_was(own_weeks, monkeypatch, module, step):
    path = write_cutoff_day_report(WARNED_ON)
    before = path.read_text()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, step, full)
    with pytest.raises(ReportNotWritten, match=r"No space left.*fatoura cutoff report --day 2026-06-22"):
        write_cutoff_day_report(WARNED_ON)
    with pytest.raises(ReportNotWritten, match=r"fatoura cutoff report --cycle 2026-05-T1"):
        write_cutoff_cycle_report(CYCLE)
    assert path.read_text() == before
    assert len(stages()) == 1


def test_pages_are_written_for_the_first_time_and_again_when_there_is_news(own_weeks):
    stale = stale_cutoff_pages()
    assert stale.cycles == [CYCLE, "2026-05-T2"]
    assert stale.days[0] == REMINDED
    assert stale.days[-1] == LAST
    assert STALE not in stale.days
    assert refresh_cutoff_reports(run_id="a run") == stale
    assert (cutoff_day_folder(LAST) / "report.html").is_file()
    wait = "UPDATE stage SET started_at = started_at + interval '5 minutes' WHERE name = 'cutoff_report'"
    change(wait)
    assert stale_cutoff_pages() == replace(stale, days=[], cycles=[])

    # A part payment decides nothing, and makes a debt smaller: its cycle's, and that of each of its days.
    with connect() as connection:
        invoice = connection.scalar(
            text(
                "SELECT invoice_number FROM cutoff_case WHERE state = 'warned_again' AND cycle_id = 1 LIMIT 1"
            )
        )
        days = connection.scalars(
            text(
                "SELECT DISTINCT c.issue_date FROM cutoff_decision d JOIN cycle c ON c.id = d.cycle_id "
                "WHERE invoice_number = :i AND c.purpose = 'cutoff' ORDER BY 1"
            ),
            {"i": invoice},
        ).all()
    later = clock.now() + timedelta(minutes=6)
    change("UPDATE feed SET loaded_at = :at WHERE id = (SELECT max(id) FROM feed)", at=later)
    change("UPDATE payment SET feed_id = feed_id - 1 WHERE feed_id = (SELECT max(id) FROM feed)")
    change(
        "INSERT INTO payment (payment_id, invoice_number, amount_millimes, paid_at, channel, kind, feed_id, "
        "row_number, known_until, counts_millimes, outcome) SELECT 'part', :i, 1000, :at, 'web', 'payment', "
        "max(id), "
        "1, :at, 1000, 'counted' FROM feed",
        i=invoice,
        at=later,
    )
    assert stale_cutoff_pages() == replace(stale, days=days, cycles=[CYCLE])

    change("UPDATE feed SET loaded_at = loaded_at - interval '1 day'")
    change(
        "UPDATE notice SET state = 'delivered', state_since = :at WHERE state = 'accepted' AND cycle_id = "
        "(SELECT id FROM cycle WHERE key = :key)",
        at=later,
        key=f"cutoff-{LAST}",
    )
    assert stale_cutoff_pages() == replace(stale, days=[LAST], cycles=[])


def test_a_day_whose_feed_is_late_has_a_page_by_itself(own_weeks, configure):
    refresh_cutoff_reports()
    saturday, sunday = LAST + timedelta(days=1), LAST + timedelta(days=2)
    configure(now=f"{saturday}T08:00:00+01:00")
    assert saturday not in stale_cutoff_pages().days  # sending has not opened
    configure(now=f"{saturday}T18:00:00+01:00")
    assert saturday in refresh_cutoff_reports().days
    assert "Personne n’a été averti" in (cutoff_day_folder(saturday) / "report.html").read_text()
    assert saturday in stale_cutoff_pages().days  # something may still be decided
    configure(now=f"{sunday}T08:00:00+01:00")
    page = cutoff_day_folder(saturday) / "report.html"
    os.utime(page, times=(time.time() - 14 * 3600,) * 2)  # at 18:00 by the clock that was moved
    days = stale_cutoff_pages().days
    assert saturday in days  # the page was written before the day was over
    assert sunday not in days
    os.utime(page)
    assert saturday not in stale_cutoff_pages().days


def test_all_stale_pages_are_written_although_one_does_not_add_up(own_weeks):
    change("UPDATE cutoff_case SET reason = NULL WHERE state = 'paid' AND cycle_id = 1")
    with pytest.raises(CutoffBroken, match="2026-05-T1"):
        refresh_cutoff_reports()
    keys = {key for key, _, _ in stages()}
    assert {CYCLE, "2026-05-T2", f"cutoff-{LAST}"} <= keys


# --- The pages -------------------------------------------------------------------------------------------


def figures_of(day: date) -> DayFigures:
    with begin() as connection:
        return day_figures(connection, day, clock.now())


def render(f: DayFigures, language: str = "en") -> str:
    return page.render_day_page(f, Words(language, {}), workbook="report.xlsx", tables=["summary"])  # type: ignore[arg-type]


@pytest.mark.parametrize("language", ["fr", "en"])
def test_pages_stand_alone_in_both_languages(weeks, language):
    with begin() as connection:
        cycle = cutoff_cycle_figures(connection, CYCLE, clock.now())
    words = Words(language, {})
    pages = [render(figures_of(day), language) for day in (REMINDED, WARNED_ON, SUNDAY, STALE, LAST)]
    pages.append(page.render_cycle_page(cycle, words, workbook="cutoff.xlsx", tables=["summary"]))
    for one in pages:
        check_markup(one)
        assert f'<html lang="{language}">' in one
        assert "<script" not in one
        assert not re.findall(r"(?:src|url\(|@import|<link)", one)
    assert 'class="verdict good"' in pages[1]
    assert '<bdi class="arabic" lang="ar" dir="rtl">' in pages[-1]


def test_a_page_says_everything_that_decisions_may_hold(weeks):
    f = figures_of(WARNED_ON)
    moments = ("claim", "settled", "feed", "hand_over", "corrected")
    verdicts = ("leave_out", "letter", "warned", "hand_over", "withdraw", "reopen")
    every = [Movement(m, v, r, 1, 1) for m in moments for v in verdicts for r in (None, *Reason)]
    for language in ("fr", "en"):
        check_markup(render(replace(f, movements=every), language))


def test_each_reason_for_an_undecided_day_is_said(weeks):
    f = figures_of(SUNDAY)
    said = {
        render(replace(f, undecided=why)).split('class="verdict')[1].split("</p>")[0] for why in Undecided
    }
    assert len(said) == len(Undecided)


def test_when_nobody_has_paid_yet_the_page_says_so_and_draws_nothing(weeks):
    f = figures_of(WARNED_ON)
    assert f.reaction is not None
    nobody = replace(f.reaction, classes=((0, 0),) * len(f.reaction.classes), median_days=None, partly=0)
    shown = render(replace(f, reaction=nobody))
    assert f"Of the {f.reaction.told} warned nobody has settled everything yet." in shown
    assert "days from the warning" not in shown


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the Debian package chromium")
def test_nothing_sticks_out_or_lies_over_another_thing(own_weeks, browser):
    # Ten thousand times the amounts: as wide as the figures of the whole country.
    change(
        "UPDATE payment SET amount_millimes = amount_millimes * 10000, counts_millimes = counts_millimes * "
        "10000"
    )
    change("UPDATE cutoff_case SET amount_due_millimes = amount_due_millimes * 10000")
    change("UPDATE cutoff_decision SET balance_millimes = balance_millimes * 10000")
    for language, widths in (("fr", (390, 760, 1280)), ("en", (390,))):
        for path in (
            write_cutoff_day_report(WARNED_ON, language=language),
            write_cutoff_day_report(STALE, language=language),
            write_cutoff_cycle_report(CYCLE, language=language),
        ):
            shown = browser.new_page()
            shown.goto(path.as_uri())
            for width in widths:
                shown.set_viewport_size({"width": width, "height": 900})
                assert shown.evaluate(_FLAWS) == [], (path, width)
            printed = shown.pdf(prefer_css_page_size=True, print_background=True)
            assert 1 <= len(re.findall(rb"/MediaBox", printed)) <= 6
            shown.close()
