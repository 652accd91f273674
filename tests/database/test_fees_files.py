"""Files for the billing system: whole or not at all, the same to the byte, no charge in two; the books."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.fees import filing, renewing
from fatoura.fees.balance import BooksDiffer, check_books
from fatoura.fees.crediting import correct
from fatoura.fees.filing import FileDiffers, FileNotWritten, files, outbox, write_again, write_files
from fatoura.settings import get_settings
from tests.fees import answer, charges, load_answers, run, subscribe, told
from tests.notices import run_sql

NAME = "2027-06-01-1"


@pytest.fixture(autouse=True)
def _charged(database, configure):
    """Bring two subscriptions to the step before the file."""
    configure(now="2027-05-10T10:00:00+01:00")
    subscribe("000000001")
    subscribe("000000002")
    run()
    configure(now="2027-06-01T10:00:00+01:00")


def step() -> str:
    """Do the steps up to the file's; return the cycle."""
    cycle, _ = renewing.begin_run()
    renewing.charge(cycle)
    return cycle


def content() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (outbox() / NAME).iterdir()}


def test_a_file_has_its_rows_and_the_manifest_their_totals_and_checksum():
    renewing.write_file(step())
    rows = (outbox() / NAME / "charges.csv").read_bytes()
    assert rows == (
        b"charge_id,kind,customer_reference,amount_millimes,period_start,period_end,because\n"
        b"F1,charge,000000001,1000,2027-05-10,2028-05-09,\n"
        b"F2,charge,000000002,1000,2027-05-10,2028-05-09,\n"
    )
    assert json.loads((outbox() / NAME / "manifest.json").read_text()) == {
        "file": NAME,
        "day": "2027-06-01",
        "rows": 2,
        "charges": 2,
        "total_charged_millimes": 2_000,
        "credits": 0,
        "total_credited_millimes": 0,
        "parts": [{"name": "charges.csv", "rows": 2, "sha256": hashlib.sha256(rows).hexdigest()}],
    }
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (outbox() / NAME).iterdir()}
    assert modes == {0o600}


def test_written_again_it_says_the_same_to_the_byte_whatever_has_happened_since(tmp_path):
    renewing.write_file(step())
    first = content()
    load_answers("a", answer("F1", "paid"), answer("F2", "refused"))
    correct("F2", 400, reason="wrong price", by="Sonia")
    run_sql("UPDATE subscription SET customer_reference = '000000009' WHERE id = 2")
    shutil.rmtree(outbox() / NAME)
    write_again(NAME)
    assert content() == first
    assert write_again(NAME, tmp_path / "copy") == tmp_path / "copy"
    assert {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()} == first
    with pytest.raises(BadInput, match="2027-01-01-1"):
        write_again("2027-01-01-1")


def test_a_run_without_anything_to_tell_makes_no_file():
    cycle = step()
    renewing.write_file(cycle)
    assert renewing.write_file(cycle)["files"] == []
    assert [file.name for file in files()] == [NAME]


@pytest.mark.parametrize("died", ["before", "half", "after"])
def test_a_writer_that_is_killed_leaves_a_file_that_the_next_one_writes_whole(monkeypatch, died):
    """Before a byte, half way through, or after the folder is in its place and before that was noted."""
    cycle = step()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    whole = filing._swap
    with monkeypatch.context() as patched:
        if died == "before":
            patched.setattr(renewing, "write_files", killed)
        elif died == "half":
            patched.setattr(filing, "_put", killed)
        else:
            patched.setattr(filing, "_swap", lambda *places: (whole(*places), killed()))
        with pytest.raises(KeyboardInterrupt):
            renewing.write_file(cycle)
    assert charges() == [("filed",), ("filed",)]
    assert (outbox() / NAME).exists() == (died == "after")
    assert renewing.write_file(cycle)["files"] == [NAME]
    assert len(told()) == 2
    assert [path.name for path in outbox().iterdir()] == [NAME]


def test_a_file_that_was_fetched_is_not_put_there_again():
    cycle = step()
    renewing.write_file(cycle)
    shutil.rmtree(outbox() / NAME)
    renewing.write_file(cycle)
    assert not (outbox() / NAME).exists()


def test_what_was_changed_by_hand_is_not_told_under_an_old_name():
    renewing.write_file(step())
    run_sql("ALTER TABLE fee_charge DISABLE TRIGGER USER")
    run_sql("UPDATE fee_charge SET told_millimes = 900 WHERE id = 1")
    run_sql("ALTER TABLE fee_charge ENABLE TRIGGER USER")
    with pytest.raises(FileDiffers, match=NAME):
        write_again(NAME)
    with pytest.raises(BooksDiffer, match=f"file {NAME}"):
        check_books().insist()


def test_an_outbox_that_cannot_be_written_to_is_told_and_nothing_is_lost(configure):
    nowhere = get_settings().var / "file"
    nowhere.parent.mkdir(parents=True, exist_ok=True)
    nowhere.write_text("no folder")
    configure(outbox=nowhere / "outbox")
    cycle = step()
    with pytest.raises(FileNotWritten):
        renewing.write_file(cycle)
    configure(outbox=Path(nowhere.parent / "outbox"))
    assert [file.name for file in write_files()] == [NAME]


# --- What the database refuses


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE fee_entry SET amount_millimes = 1", "never changed"),
        ("DELETE FROM fee_entry", "never changed or removed"),
        ("DELETE FROM fee_charge", "never removed"),
        ("UPDATE fee_charge SET amount_millimes = 1", "how much"),
        ("UPDATE fee_charge SET file_id = 7", "which file"),
        ("UPDATE fee_charge SET state = 'due', owed_millimes = 1000", "may not go from filed to due"),
        ("UPDATE fee_charge SET owed_millimes = 0", "ck_fee_charge_owed"),
        ("UPDATE fee_charge SET paid_millimes = -1", "ck_fee_charge_sums"),
        (
            "INSERT INTO fee_charge (subscription_id, customer_reference, period_start, period_end, "
            "amount_millimes, rules_version, state_since) VALUES (1, '000000001', '2027-05-10', "
            "'2028-05-09', 1000, 'x', now())",
            "uq_fee_charge_subscription_id_period_start",
        ),
        (
            "INSERT INTO fee_charge (subscription_id, customer_reference, period_start, period_end, "
            "amount_millimes, rules_version, state, state_since) VALUES (3, '000000001', '2027-05-10', "
            "'2028-05-09', 1000, 'x', 'paid', now())",
            "begins as announced or waived",
        ),
    ],
)
def test_the_database_keeps_charges_and_the_journal_as_they_are(statement, said):
    renewing.write_file(step())
    with pytest.raises(IntegrityError, match=said), begin() as connection:
        connection.execute(text(statement))


def test_the_report_counts_subscribers_and_asks_for_answers_that_do_not_come(configure):
    cycle = step()
    renewing.write_file(cycle)
    assert renewing.report(cycle)["filed"] == 2
    with connect() as connection:
        counted = connection.execute(text("SELECT day, state, subscribers FROM subscriber_count")).all()
    assert [tuple(row) for row in counted] == [(date(2027, 6, 1), "active", 2)]
    load_answers("a", answer("F1", "accepted"))
    configure(now="2027-07-01T10:00:00+01:00")
    with pytest.raises(renewing.Unanswered, match=f"{NAME}: 1 of 2 charges"):
        renewing.report(cycle)
