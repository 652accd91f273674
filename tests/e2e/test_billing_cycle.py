"""Billing cycles in real Airflow, from a landed extract to a report, and what operators do in between."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import openpyxl
import pytest
import requests

from tests.e2e.running import DAG, TASKS, RunningStack, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CYCLE = "2026-05-T1"
SAMPLE = (
    *("--invoices", "600", "--subscribed", "0.5", "--seed", "11"),
    *("--defect", "unreadable_amount=0.01", "--defect", "bad_reference=0.01", "--defect", "ragged=0.01"),
    *("--defect", "zero_balance=0.02", "--defect", "credit_balance=0.02", "--defect", "duplicate=0.01"),
)


@pytest.fixture(scope="module")
def running() -> Iterator[RunningStack]:
    """Run the stack for all tests of this file: its start is most of a minute."""
    with tempfile.TemporaryDirectory(prefix="fatoura-e2e-") as folder:
        Path(folder).chmod(0o755)
        stack = RunningStack(Path(folder))
        stack.command("stack", "up")
        try:
            yield stack
        finally:
            stack.command("stack", "down")


@pytest.fixture(scope="module")
def landed(running: RunningStack) -> tuple[str, dict]:
    """Land one extract, and let its cycle run to its end."""
    expected = running.sample(CYCLE, *SAMPLE)
    running.land(CYCLE)
    run_id = running.run_of(CYCLE)
    state = running.finished(run_id)
    assert state == "success", running.states(run_id)
    return run_id, expected


def test_a_landed_extract_runs_by_itself_and_each_row_ends_where_it_must(running, landed):
    _, expected = landed
    ledger = running.ledger(CYCLE)
    buckets = ("extracted", "rejected", "unsubscribed", "suppressed", "held_out", "noticed")
    assert {name: ledger[name] for name in buckets} == {name: expected[name] for name in buckets}
    assert ledger["identity_holds"] is True
    assert ledger["states"]["delivered"] == expected["noticed"] == ledger["segments"]


def test_the_gateway_accepted_each_notice_once(running, landed):
    notices = {str(row[0]) for row in running.query("SELECT id FROM notice")}
    accepted = running.accepted()
    assert set(accepted) == notices
    assert set(accepted.values()) == {1}


def test_one_manifest_starts_one_run(running, landed):
    looks = len(running.stack.api.runs("extract_landing"))
    eventually(lambda: len(running.stack.api.runs("extract_landing")) > looks + 1)
    assert len(running.runs_of(CYCLE)) == 1


def test_each_notified_invoice_leaves_a_cutoff_case(running, landed):
    _, expected = landed
    ((cases, first, due),) = running.query("SELECT count(*), min(warn_from), min(due_date) FROM cutoff_case")
    assert cases == expected["noticed"]
    assert first > due


def test_the_report_is_there_in_the_ui_and_only_behind_the_login(running, landed):
    run_id, _ = landed
    folder = running.folder / "var" / "reports" / CYCLE
    page = (folder / "report.html").read_text()
    assert CYCLE in page
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)  # it loads nothing from anywhere
    assert openpyxl.load_workbook(folder / "report.xlsx").sheetnames
    assert list(folder.glob("*.csv"))

    api = running.stack.api
    links = api._request("GET", f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/report/links")["extra_links"]
    docs = api._request("GET", f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/validate/links")["extra_links"]
    for address in (links["Report"], docs["Data Docs"]):
        assert requests.get(address, timeout=10).status_code == 401
        shown = api._session.get(address, timeout=10)
        assert shown.status_code == 200
        assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    outside = api._session.get(f"{running.stack.environment.ui}/fatoura/reports/../secrets/x", timeout=10)
    assert outside.status_code == 404


def test_every_task_can_be_cleared_twice_and_changes_nothing(running, landed):
    run_id, _ = landed
    ledger, accepted = running.ledger(CYCLE), running.accepted()
    rows = running.query("SELECT (SELECT count(*) FROM attempt), (SELECT count(*) FROM cutoff_case)")
    for _ in range(2):
        for task_id in TASKS:
            running.clear(run_id, task_id)
            assert running.ledger(CYCLE) == ledger, task_id
            assert running.accepted() == accepted, task_id
    assert running.query("SELECT (SELECT count(*) FROM attempt), (SELECT count(*) FROM cutoff_case)") == rows


def test_the_whole_run_can_be_started_again_by_hand(running, landed):
    ledger, accepted = running.ledger(CYCLE), running.accepted()
    run_id = running.stack.api.trigger(DAG, {"cycle": CYCLE})
    assert running.finished(run_id) == "success"
    assert "already" in running.log(run_id, "extract")
    assert running.ledger(CYCLE) == ledger
    assert running.accepted() == accepted


def test_a_dry_run_plans_and_reports_and_sends_nothing_until_the_real_run(running):
    expected = running.sample("2026-05-T2", "--invoices", "100", "--subscribed", "0.5", "--seed", "12")
    with running.nothing_starts_by_itself():
        running.land("2026-05-T2")
        before = running.accepted()
        run_id = running.stack.api.trigger(DAG, {"cycle": "2026-05-T2", "dry_run": True})
        assert running.finished(run_id) == "success"
        assert running.states(run_id)["send"] == "skipped"
        assert running.states(run_id)["report"] == "success"
        assert running.ledger("2026-05-T2")["states"]["planned"] == expected["noticed"]
        assert running.accepted() == before

        run_id = running.stack.api.trigger(DAG, {"cycle": "2026-05-T2"})
        assert running.finished(run_id) == "success"
        assert running.ledger("2026-05-T2")["states"]["delivered"] == expected["noticed"]
        assert len(running.accepted()) == len(before) + expected["noticed"]


def test_a_tripped_guard_rail_asks_a_person_and_goes_on_when_approved(running):
    expected = running.sample(
        "2026-05-T3", "--invoices", "200", "--subscribed", "0.5", "--seed", "13", "--defect", "bad_supply=0.2"
    )
    running.land("2026-05-T3")
    run_id = running.run_of("2026-05-T3")
    form = running.asked(run_id)
    assert form["subject"] == f"Send {expected['noticed']} messages of 2026-05-T3?"
    assert "20.0%" in form["body"]
    assert form["body"].count("`+216 ** ***") == 3
    assert not re.search(r"\+216 ?\d{8}|\d{9}", form["body"])
    # It waits without a worker.
    assert not [
        row
        for row in running.query("SELECT state FROM task_instance WHERE task_id = 'release'", "airflow")
        if row[0] in ("running", "deferred", "queued")
    ]
    assert running.ledger("2026-05-T3")["states"]["planned"] == expected["noticed"]
    running.respond(run_id, "Approve")
    assert running.finished(run_id) == "success"
    assert running.ledger("2026-05-T3")["states"]["delivered"] == expected["noticed"]


def test_a_rejected_run_sends_nothing_and_ends_cleanly_with_its_report(running):
    expected = running.sample("2026-05-T4", "--invoices", "100", "--subscribed", "0.5", "--seed", "14")
    with running.nothing_starts_by_itself():
        running.land("2026-05-T4")
        before = running.accepted()
        run_id = running.stack.api.trigger(DAG, {"cycle": "2026-05-T4", "approval": "always"})
        running.asked(run_id)
        running.respond(run_id, "Reject")
        assert running.finished(run_id) == "success"
        # The decision stands when the task is cleared.
        running.clear(run_id, "release")
        states = running.states(run_id)
        assert (states["send"], states["settle"], states["report"]) == ("skipped", "skipped", "success")
        assert running.ledger("2026-05-T4")["states"]["cancelled"] == expected["noticed"]
        assert running.accepted() == before
    ((decision,),) = running.query(
        "SELECT counts FROM stage WHERE name = 'release' AND run_id = %s", "fatoura", run_id
    )
    assert (decision["decision"], decision["by"]) == ("refused", "admin")


def test_a_broken_extract_stops_with_words_and_its_correction_runs(running):
    expected = running.sample("2026-05-T5", "--invoices", "100", "--subscribed", "0.5", "--seed", "15")
    folder = running.folder / "samples" / "2026-05-T5"
    good = (folder / "manifest.json").read_text()
    bad = json.loads(good)
    bad["total_amount_millimes"] += 1
    (folder / "manifest.json").write_text(json.dumps(bad))
    running.land("2026-05-T5")
    run_id = running.run_of("2026-05-T5")
    assert running.finished(run_id) == "failed"
    log = running.log(run_id, "extract")
    assert "total" in log
    assert f"{bad['total_amount_millimes']:,}" in log
    assert running.task(run_id, "extract")["try_number"] == 1  # what a person must mend is not tried again

    (folder / "manifest.json").write_text(good)
    running.land("2026-05-T5")
    eventually(lambda: len(running.runs_of("2026-05-T5")) == 2)
    again = running.runs_of("2026-05-T5")[0]["dag_run_id"]
    assert running.finished(again) == "success"
    assert running.ledger("2026-05-T5")["states"]["delivered"] == expected["noticed"]


def test_rejected_rows_come_back_corrected_as_a_supplement(running, landed):
    before, accepted = running.ledger(CYCLE), running.accepted()
    rejected = running.folder / "rejected.csv"
    running.command("quality", "export", CYCLE, "--out", str(rejected))
    with rejected.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if row["reasons"] == "amount_unreadable"]
    assert rows
    corrected = running.folder / "corrected.csv"
    with corrected.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"amount_due_millimes": "50000"} for row in rows)
    landing = running.folder / "var" / "landing"
    running.command("quality", "supplement", CYCLE, str(corrected), "--landing", str(landing))

    run_id = running.run_of(f"{CYCLE}/supplement-1")
    assert running.finished(run_id) == "success", running.states(run_id)
    after = running.ledger(CYCLE)
    assert after["identity_holds"] is True
    assert after["extracted"] == before["extracted"] + len(rows)
    assert after["rejected"] == before["rejected"]
    more = running.accepted() - accepted
    assert len(more) == after["noticed"] - before["noticed"]
    assert set(running.accepted().values()) == {1}


def test_outside_the_window_a_cycle_waits_without_a_worker_and_goes_on_when_it_opens(running):
    running.command("calendar", "set", "2026-05-20", "--closed", "--reason", "a test", "--by", "tests")
    try:
        expected = running.sample("2026-05-T6", "--invoices", "100", "--subscribed", "0.5", "--seed", "16")
        before = running.accepted()
        running.land("2026-05-T6")
        run_id = running.run_of("2026-05-T6")
        eventually(lambda: running.states(run_id)["send"] == "deferred")
        assert running.accepted() == before
    finally:
        running.command("calendar", "unset", "2026-05-20")
    assert running.finished(run_id) == "success"
    assert running.ledger("2026-05-T6")["states"]["delivered"] == expected["noticed"]


def test_no_log_and_no_xcom_holds_a_number_a_text_or_a_secret(running, landed):
    secrets = [
        file.read_text().strip() for file in (running.folder / "var" / "secrets").iterdir() if file.is_file()
    ]
    secrets = [secret for secret in secrets if len(secret) > 12 and "{" not in secret]
    assert secrets
    phones = {row[0] for row in running.query("SELECT phone FROM subscription")}
    national = {phone.removeprefix("+216") for phone in phones}
    read = 0
    for file in (running.folder / "var" / "logs").rglob("*.log*"):
        text = file.read_text(errors="replace")
        read += len(text)
        digits = set(re.findall(r"(?<!\d)\d{8}(?!\d)", text)) | set(re.findall(r"216(\d{8})(?!\d)", text))
        assert not digits & national, file.name
        assert not any(words in text for words in ("Montant à payer", "المطلوب", "Mntant")), file.name
        assert not [secret for secret in secrets if secret in text], file.name
    assert read > 10_000
    for key, value in running.query("SELECT key, value::text FROM xcom", "airflow"):
        assert not re.search(r"216\d{8}", value or ""), key
        assert "Montant" not in (value or ""), key
