"""`fatoura ledger`: the contract's document, and the same for people."""

import json
from datetime import date

import pytest
from click.testing import CliRunner

from fatoura.cli import main
from fatoura.cycles.keys import ExtractKey
from fatoura.cycles.registry import Purpose, open_cycle
from fatoura.database import begin
from fatoura.subscriptions import match_extract
from tests.notices import run_sql
from tests.staging import plan_notice, row, stage_extract, subscribe

KEY = ExtractKey("2026-05-T1")
STATES = {
    *("planned", "sending", "in_doubt", "accepted", "delivered", "undeliverable", "expired", "rejected"),
    "cancelled",
}


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


@pytest.fixture
def cycle() -> int:
    """Return an extract with a row in each bucket, and notices in three states."""
    for reference in ("000000001", "000000002", "000000003", "000000004"):
        subscribe(reference)
    subscribe("000000005", study_arm="control")
    rows = [row(f"F-{n}", f"{n:09d}", district="TUN1") for n in range(1, 8)]
    rows[3]["amount_due_millimes"] = 0
    extract_id = stage_extract(KEY, rows, rejected={7: ["district_unknown"]})
    match_extract(KEY)
    for number, state in ((1, "planned"), (2, "accepted"), (3, "cancelled")):
        plan_notice(extract_id, f"F-{number}", state=state)
    return extract_id


def ledger(*arguments: str):
    return CliRunner().invoke(main, ["ledger", *arguments])


def test_the_document_has_exactly_the_names_of_the_contract(cycle):
    done = ledger("2026-05-T1", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        "cycle": "2026-05-T1",
        "extracted": 7,
        "rejected": 1,
        "unsubscribed": 1,
        "suppressed": 1,
        "held_out": 1,
        "noticed": 3,
        "states": {**dict.fromkeys(STATES, 0), "planned": 1, "accepted": 1, "cancelled": 1},
        "segments": 2,
        "identity_holds": True,
    }
    assert done.stdout.count("\n") == 1


def test_people_get_the_same_figures(cycle):
    done = ledger("2026-05-T1")
    assert done.exit_code == 0
    lines = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["extracted"] == "7"
    assert lines["  accepted"] == "1"
    assert done.stdout.endswith("identity holds\n")


@pytest.mark.parametrize(
    ("purpose", "key", "told"),
    [
        (Purpose.CUTOFF, "cutoff-2026-06-29", "it holds the reminders and warnings of a day"),
        (Purpose.PAYMENT_RECEIVED, "payment-received-2026-06-29", "messages that a payment was received"),
    ],
)
def test_a_cycle_without_an_extract_has_no_ledger_and_says_why(purpose, key, told):
    with begin() as connection:
        open_cycle(connection, purpose, date(2026, 6, 29))
    for more in ((), ("--json",)):
        done = ledger(key, *more)
        assert (done.exit_code, done.stdout) == (1, "")
        assert f"{key} is no billing cycle" in done.stderr
        assert told in done.stderr


def test_an_identity_that_is_broken_is_told_with_the_missing_row(cycle):
    run_sql("DELETE FROM invoice WHERE row_number = 2")
    told = json.loads(ledger("2026-05-T1", "--json").stdout)
    assert told["identity_holds"] is False
    assert "extract row 2 is in no bucket" in told["missing"]
    assert "IDENTITY BROKEN: extract row 2 is in no bucket" in ledger("2026-05-T1").stdout


def test_a_cycle_that_nobody_loaded_is_refused():
    done = ledger("2026-05-T9", "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no cycle '2026-05-T9'" in done.stderr
