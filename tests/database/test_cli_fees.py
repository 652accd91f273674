"""`fatoura fees`: what a clerk asks and does."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from fatoura.cli import main
from tests.fees import ONE, answer, charges, load_answers, run, subscribe, write_answers
from tests.notices import run_sql


@pytest.fixture
def fees(database):
    """Run a command; return its exit code and output."""

    def run_command(*arguments: object) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["fees", *map(str, arguments)])
        return done.exit_code, done.output

    return run_command


@pytest.fixture
def charged(database, configure) -> str:
    """Bring a subscription to a charge that was told; return its id."""
    configure(now="2027-05-10T10:00:00+01:00")
    subscribe()
    run()
    configure(now="2027-06-01T10:00:00+01:00")
    run()
    return "F1"


def test_a_life_is_told_in_sentences(fees, charged):
    accepted = answer(charged, "accepted", reason="on the bill of July")
    load_answers("a", accepted, answer(charged, "paid", 400))
    code, said = fees("show", ONE)
    assert code == 0
    assert all(len(line) <= 100 for line in said.splitlines())
    message = run_sql("SELECT id FROM notice").scalar()
    assert " ".join(said.split()) == (
        "Subscription 1, customer ***** *00 1. Active, its years counted from 10 May 2027; nothing has been "
        "paid yet. 1,000 DT is owed. What happened "
        "2027-05-10 10:00 Subscribed (coupon). "
        "2027-05-10 10:00 Charge F1: the year from 10 May 2027 to 9 May 2028 is announced at 1,000 DT (rules "
        "2026-1). "
        f"2027-05-10 10:00 The announcement is delivered (message {message}). "
        "2027-06-01 10:00 Charge F1: 1,000 DT was charged (by fatoura). "
        "2027-06-01 10:00 Charge F1: the billing system is told to charge 1,000 DT, in file 2027-06-01-1. "
        "2027-06-01 10:00 Charge F1: The billing system has put the charge on the customer's account (“on "
        "the bill of July”), on 1 June 2027 at 10:00: feed a. "
        "2027-06-01 10:00 Charge F1: The billing system was paid 0,400 DT, on 1 June 2027 at 10:00: feed a. "
        "That does not count, because the amount is not what was asked for. "
        "What comes next If charge F1 is unpaid after 30 August 2027, the subscription lapses; the billing "
        "system's answers are known up to 1 June 2027."
    )
    assert "00000 000 1" in fees("show", charged, "--unmasked")[1]
    [told] = json.loads(fees("show", "1", "--json")[1])["subscriptions"]
    assert told["accounts"] == {"income": -1_000, "receivable": 1_000}


def test_what_is_not_there_is_refused(fees):
    assert fees("show", "12") == (1, "fatoura: there is no such subscription\n")
    assert fees("show", "nobody")[0] == 1
    assert fees("refund", "F9", "--reason", "complaint")[0] == 1
    assert fees("file", "2027-01-01-1")[0] == 1
    assert fees("charges", "--state", "lost")[0] == 2
    assert fees("file")[0] == 2


def test_a_clerk_waives_refunds_and_corrects(fees, charged, tmp_path):
    assert fees("correct", charged, "600", "--reason", "wrong price", "--by", "Sonia")[0] == 0
    load_answers("a", answer(charged, "paid", 600))
    assert "100 millimes" in fees("refund", charged, "--millimes", "100", "--reason", "complaint")[1]
    code, said = fees("waive", "00000 000 1", "--because", "goodwill", "--by", "Sonia")
    assert (code, said) == (0, "1 recorded, 0 stood already; 0 charges waived, 1 to be given back\n")
    assert charges("state, owed_back_millimes") == [("paid", 600)]
    assert fees("waive", ONE, "--because", "holiday")[0] == 1
    assert fees("waive")[0] == 2
    file = tmp_path / "staff.csv"
    file.write_text("customer_reference,because,valid_from\n000000002,staff,2027-01-01\nx,staff,2027-01-01\n")
    _, said = fees("waive", "--file", file, "--by", "Sonia")
    assert said.splitlines()[1] == "  row 2 refused: customer_reference: not_nine_digits"


def test_charges_files_and_the_books_are_shown(fees, charged, tmp_path):
    _, said = fees("charges")
    assert said.startswith("         1 filed\n  F1")
    assert json.loads(fees("charges", "--state", "paid", "--json")[1])["charges"] == []
    assert "2027-06-01-1" in fees("file", "--list")[1]
    assert fees("file", "2027-06-01-1", "--to", tmp_path / "copy")[0] == 0
    assert (tmp_path / "copy" / "manifest.json").exists()
    code, said = fees("balance")
    assert code == 0
    assert "1,000 millimes  what customers owe" in said
    assert "1 charges beside the journal: they agree" in said
    run_sql("ALTER TABLE fee_entry DISABLE TRIGGER USER")
    run_sql("UPDATE fee_entry SET amount_millimes = 999")
    run_sql("ALTER TABLE fee_entry ENABLE TRIGGER USER")
    code, said = fees("balance", "--json")
    document = json.loads(said)
    assert code == 1
    assert document["differences"] == ["charge F1: 1000 owed, 999 in the journal, 999 charged in the journal"]


def test_answers_are_checked_loaded_and_settled(fees, charged, tmp_path):
    folder = write_answers("a", [answer(charged, "paid", 400), answer("F0", "paid")], folder=tmp_path / "a")
    assert fees("check", folder)[0] == 0
    assert fees("import", folder)[0] == 0
    _, said = fees("pending")
    assert "F1 paid 400 millimes" in said
    assert "1 row(s) set aside" in said
    assert fees("settle", charged, "paid", "400", "--reason", "it was another one")[0] == 0
    assert fees("settle", charged, "paid", "400", "--reason", "it was another one")[0] == 1
    assert fees("settle-row", "a", "2", "--reason", "it was another one")[0] == 0
    document = json.loads(fees("pending", "--json")[1])
    assert (document["findings"], document["pending"]) == (0, 0)


def test_the_rules_are_said_and_a_run_is_previewed(fees, configure):
    configure(now="2027-05-10T10:00:00+01:00")
    _, said = fees("rules")
    assert "- A year costs 1,000 DT; the first one is charged as any other." in said
    assert json.loads(fees("rules", "--json")[1])["price_millimes"] == 1_000
    subscribe()
    assert json.loads(fees("preview", "--json")[1])["announced"] == 1
    assert charges() == []
    assert fees("preview", "--month", "July")[0] == 1
