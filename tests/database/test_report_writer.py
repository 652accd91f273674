"""Reports as files: whole, in place, silent about customers, and written again when there is news."""

import csv
import errno
import json
import os
import re
import threading
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from openpyxl import load_workbook
from sqlalchemy import text

from fatoura import clock
from fatoura.cli import main
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.reports import (
    ReportNotWritten,
    files,
    publishing,
    report_folder,
    stale_reports,
    write_report,
    writer,
)
from tests.database.seeded_cycle import AS_OF, SeededCycle, seed_cycle

pytestmark = pytest.mark.database

# +216 and eight digits in any usual spelling, or a bare mobile number or reference in one piece.
_PHONE = re.compile(r"(?<![\w.])(?:(?:\+|00)216[ .-]?)?[2-59]\d[ .-]?\d{3}[ .-]?\d{3}(?![\w.%])")


@pytest.fixture
def cycle(database, configure) -> SeededCycle:
    configure(database_url=database, now=AS_OF)
    with begin() as connection:
        return seed_cycle(connection)


def contents(folder: Path) -> dict[str, str]:
    """Read every file of a report as text; of a workbook every part."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".xlsx":
            with zipfile.ZipFile(path) as parts:
                found |= {f"{path.name}/{name}": parts.read(name).decode() for name in parts.namelist()}
        else:
            found[path.name] = path.read_text(encoding="utf-8")
    return found


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_report_is_a_page_a_workbook_and_csv_files(cycle):
    page = write_report(cycle.key, run_id="a run")
    folder = report_folder(cycle.key)
    assert page == folder / "report.html"
    names = {path.name for path in folder.iterdir()}
    assert {"report.html", "report.xlsx", "summary.csv", "ledger.csv", "districts.csv"} <= names
    assert not [name for name in names if name.startswith(".")]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    with connect() as connection:
        stage = connection.execute(text("SELECT * FROM stage WHERE name = 'report'")).one()
        states = dict(
            tuple(row) for row in connection.execute(text("SELECT state, count(*) FROM notice GROUP BY 1"))
        )
    assert (stage.run_id, stage.counts) == ("a run", states)


def test_no_file_holds_a_number_a_text_or_a_reference_of_a_customer(cycle):
    for language in ("fr", "en"):
        write_report(cycle.key, language=language)
        for name, content in contents(report_folder(cycle.key)).items():
            words = set(re.findall(r"\d{8,}", content))
            assert not words & set(cycle.secrets), name
            assert "invented text" not in content, name
            assert cycle.key + "-" not in content, name  # an invoice's number
            if name.endswith((".html", ".csv", "sharedStrings.xml")):
                assert not _PHONE.findall(re.sub(r"<style>.*?</style>", "", content, flags=re.DOTALL)), name


def test_the_search_for_numbers_finds_them():
    for number in ("+21620000017", "+216 20 000 017", "21620000017"[3:], "20.000.017", "0021620000017"):
        assert _PHONE.search(f"to:{number} absent"), number


def test_csv_files_hold_what_programs_read(cycle):
    folder = write_report(cycle.key).parent
    ledger = {row["bucket"]: int(row["rows"]) for row in table(folder, "ledger")}
    assert ledger.pop("extracted") == sum(ledger.values())
    summary = {row["fact"]: row["value"] for row in table(folder, "summary")}
    assert summary["identity_holds"] == "true"
    assert summary["issue_date"] == "2026-05-20"
    assert datetime.fromisoformat(summary["as_of"]) - datetime.fromisoformat(AS_OF) < timedelta(minutes=5)
    assert int(summary["cost_millimes"]) == 20 * int(summary["segments"])
    districts = table(folder, "districts")
    assert districts[0]["district_ar"] == "تونس المدينة"
    assert sum(int(row["delivered"]) for row in districts) == int(summary["delivered"])
    assert 0.9 < float(districts[0]["rate"]) < 1
    assert all(row["start"].endswith("+01:00") for row in table(folder, "speed"))
    stages = {row["stage"]: json.loads(row["counts"]) for row in table(folder, "stages")}
    assert stages["send"] == {"accepted": 1944, "segments": 2078, "busy_seconds": 973.4, "refused": 41}
    assert {row["detail"] for row in table(folder, "failures") if row["state"] == "cancelled"} == {"replaced"}
    assert not (folder / "ledger.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_the_workbook_holds_the_same_rows_for_people(cycle):
    folder = write_report(cycle.key, language="fr").parent
    book = load_workbook(folder / "report.xlsx")
    assert book.sheetnames[:3] == ["Résumé", "Le registre du cycle", "État des messages"]
    districts = book["Remise par district"]
    header = [cell.value for cell in districts[1]]
    assert header[:3] == ["Code", "District", "District (arabe)"]
    assert [cell.value for cell in districts[2]][:3] == ["TUNIS", "Tunis Ville", "تونس المدينة"]
    assert districts.cell(2, 3).alignment.readingOrder == 2
    assert isinstance(districts.cell(2, header.index("Remis") + 1).value, int)
    assert {sheet.max_row - 1 for sheet in book if sheet.title == "Remise par district"} == {
        len(table(folder, "districts"))
    }
    cost = book["Segments et coût"]
    assert cost.cell(2, 9).number_format == "#,##0.000"
    summary = {row[0].value: row[1].value for row in book["Résumé"].iter_rows(min_row=2)}
    assert summary["Avancement"] == "Envoyé, accusés attendus"
    assert isinstance(summary["Situation au"], datetime)


def test_words_of_outside_never_become_formulas_or_markup(cycle):
    evil = '=HYPERLINK("http://example.org";"x")'
    with begin() as connection:
        connection.execute(text("UPDATE notice SET reason = :r WHERE state = 'expired'"), {"r": evil})
        connection.execute(
            text("UPDATE notice SET reason = '<script>1</script>' WHERE state = 'undeliverable'")
        )
    folder = write_report(cycle.key).parent
    assert f"'{evil}" in {row["detail"] for row in table(folder, "failures")}
    cells = [cell for row in load_workbook(folder / "report.xlsx")["Échecs et annulations"] for cell in row]
    assert {cell.data_type for cell in cells if cell.value == evil} == {"s"}
    assert "<script>" not in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("module", "step"),
    [(publishing, "write_csv"), (publishing, "workbook"), (writer, "render_page"), (files, "_to_disk")],
)
def test_a_full_disk_leaves_the_earlier_report_as_it_was(cycle, monkeypatch, module, step):
    folder = write_report(cycle.key).parent
    before = contents(folder)
    with begin() as connection:
        connection.execute(text("UPDATE notice SET state = 'delivered' WHERE state = 'accepted'"))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module, step, full)
        with pytest.raises(ReportNotWritten, match=r"No space left on device.*fatoura report 2026-05-T1"):
            write_report(cycle.key)
    assert contents(folder) == before
    with connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM stage WHERE name = 'report'")) == 1
    write_report(cycle.key)
    assert contents(folder)["states.csv"] != before["states.csv"]


def test_a_folder_that_cannot_be_made_is_told(cycle, configure, database, tmp_path):
    (tmp_path / "a-file").write_text("in the way")
    configure(database_url=database, now=AS_OF, reports=tmp_path / "a-file")
    with pytest.raises(ReportNotWritten, match="could not be written"):
        write_report(cycle.key)


def test_what_a_killed_writer_left_is_cleared_away(cycle):
    folder = report_folder(cycle.key)
    (folder / ".new-killed").mkdir(parents=True)
    (folder / ".new-killed" / "report.html").write_text("half")
    write_report(cycle.key)
    assert not list(folder.glob(".new-*"))


def test_what_others_keep_in_the_folder_stays(cycle):
    docs = report_folder(cycle.key) / "data-docs" / "index.html"
    docs.parent.mkdir(parents=True)
    docs.write_text("Data Docs")
    write_report(cycle.key)
    assert docs.read_text() == "Data Docs"


def test_two_writers_at_once_take_turns(cycle):
    failures: list[BaseException] = []

    def write() -> None:
        try:
            write_report(cycle.key)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert "</html>" in (report_folder(cycle.key) / "report.html").read_text()
    with connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM stage WHERE name = 'report'")) == 3


def test_a_later_report_tells_what_has_changed(cycle):
    write_report(cycle.key, language="en")
    with begin() as connection:
        moved = connection.execute(
            text("UPDATE notice SET state = 'delivered' WHERE state = 'in_doubt'")
        ).rowcount
    page = write_report(cycle.key, language="en").read_text()
    assert "Changes since the report before" in page
    assert f"In doubt <b>−{moved}</b>" in page
    assert "(nothing has changed since)" in write_report(cycle.key, language="en").read_text()


def test_a_supplements_key_means_the_report_of_its_cycle(cycle):
    assert write_report(f"{cycle.key}/supplement-1") == write_report(cycle.key)
    with connect() as connection:
        assert connection.scalars(
            text("SELECT supplement FROM stage WHERE name = 'report' ORDER BY id")
        ).all() == [1, 0]


@pytest.mark.parametrize("key", ["2031-01-T1", "../etc", ""])
def test_an_unknown_cycle_is_refused_and_nothing_is_written(cycle, key):
    with pytest.raises(BadInput):
        write_report(key)
    assert not report_folder("2031-01-T1").exists()


def test_reports_are_stale_when_a_notice_or_a_receipt_changed_after_them(cycle):
    assert stale_reports() == []  # no report, nothing to refresh
    write_report(cycle.key)
    assert stale_reports() == []
    receipt = (
        "UPDATE receipt SET matched_at = :now "
        "WHERE id = (SELECT max(id) FROM receipt WHERE match = 'repeated')"
    )
    notice = "UPDATE notice SET state = 'delivered', state_since = :now WHERE state = 'in_doubt'"
    for statement in (receipt, notice):
        with begin() as connection:
            assert connection.execute(text(statement), {"now": clock.now()}).rowcount
        assert stale_reports() == [cycle.key]
        with begin() as connection:  # as if the report had been written a while later
            connection.execute(text("UPDATE notice SET state_since = state_since - interval '5 minutes'"))
            connection.execute(text("UPDATE receipt SET matched_at = matched_at - interval '5 minutes'"))
        assert stale_reports() == []


def test_a_receipt_without_our_id_makes_its_report_stale_too(cycle):
    write_report(cycle.key)
    with begin() as connection:
        connection.execute(text("UPDATE notice SET provider_id = 'P' || id WHERE state = 'delivered'"))
        connection.execute(
            text(
                "INSERT INTO receipt (gateway, raw, provider_id, status, match, matched_at) "
                "SELECT gateway, '{}', provider_id, 'delivered', 'repeated', :now FROM notice "
                "WHERE state = 'delivered' LIMIT 1"
            ),
            {"now": clock.now()},
        )
    assert stale_reports() == [cycle.key]


def test_only_the_cycle_that_changed_is_stale(cycle):
    with begin() as connection:
        seed_cycle(connection, "2026-05-T2", rows=500)
    write_report(cycle.key)
    write_report("2026-05-T2")
    with begin() as connection:
        connection.execute(
            text("UPDATE notice SET state_since = :now WHERE cycle_id <> :id"),
            {"now": clock.now(), "id": cycle.cycle_id},
        )
    assert stale_reports() == ["2026-05-T2"]


def test_of_a_day_s_warnings_there_is_no_report_of_bills(cycle):
    with begin() as connection:
        connection.execute(text("UPDATE cycle SET purpose = 'cutoff', key = 'cutoff-2026-06-29'"))
        connection.execute(
            text(
                "INSERT INTO stage (cycle_id, name, started_at, finished_at, counts) "
                "VALUES (:id, 'report', '2026-05-01', '2026-05-01', '{}')"
            ),
            {"id": cycle.cycle_id},
        )
    assert stale_reports() == []
    with pytest.raises(BadInput, match="cutoff-2026-06-29 is no billing cycle: it holds the reminders"):
        write_report("cutoff-2026-06-29")
    assert not report_folder("cutoff-2026-06-29").exists()


def test_the_command_prints_the_pages_path(cycle):
    done = CliRunner().invoke(main, ["report", cycle.key])
    assert done.exit_code == 0, done.output
    assert Path(done.stdout.strip()) == report_folder(cycle.key) / "report.html"
    assert '<html lang="fr">' in Path(done.stdout.strip()).read_text()


def test_the_command_prints_one_json_document(cycle):
    done = CliRunner().invoke(main, ["report", cycle.key, "--json", "--language", "en"])
    document = json.loads(done.stdout)
    assert document["cycle"] == cycle.key
    assert "report.xlsx" in document["files"]
    assert '<html lang="en">' in Path(document["path"]).read_text()


def test_the_command_refuses_an_unknown_cycle(cycle):
    done = CliRunner().invoke(main, ["report", "2031-01-T1"])
    assert done.exit_code == 1
    assert "no cycle" in done.stderr
