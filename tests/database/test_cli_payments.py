"""`fatoura payments` and `fatoura facts`: what they answer, what they refuse, and what they do not show."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from fatoura.cli import main
from fatoura.cycles.keys import ExtractKey
from fatoura.database import begin
from tests.deliveries import deliver, record
from tests.payments import fact, load_facts, load_payments, payment, reversal, write_facts, write_payments

MORNING, NOON = (f"2026-06-28T{hour}:00:00+01:00" for hour in ("08", "12"))
ONE = "042580496"


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-06-29T09:00:00+01:00")


def fatoura(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    assert done.exit_code == code, done.output + repr(done.exception)
    return done.output


def told(*arguments: str, code: int = 0) -> dict:
    return json.loads(fatoura(*arguments, "--json", code=code))


def bill(number: str, millimes: int) -> None:
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, "
                "customer_reference, district, supply, period_start, period_end, amount_due_millimes, "
                "due_date, issue_date, estimated, bucket) VALUES (1, 1, 1, :number, 0, :reference, 'TUN1', "
                "'electricity', '2026-03-01', '2026-04-30', :millimes, '2026-06-22', '2026-05-20', false, "
                "'noticed')"
            ),
            {"number": number, "reference": ONE, "millimes": millimes},
        )


def test_a_feed_is_loaded_checked_and_refused():
    folder = write_payments("f1", [payment("P1", "F1", 5000), payment("P2", "F1", 0)])
    checked = told("payments", "check", folder)
    assert (checked["accepted"], checked["rows"], checked["set_aside"]) == (True, 2, 1)
    assert checked["first"] == [{"row": 2, "field": "amount_millimes", "reason": "not_positive"}]
    assert "would be loaded" in fatoura("payments", "check", folder)
    assert told("payments", "load", folder)["counts"] == {"new": 1, "set_aside": 1}
    assert "already loaded, 2 rows" in fatoura("payments", "load", folder)
    (folder / "payments.csv").write_text("")
    assert "the file is empty" in fatoura("payments", "check", folder, code=1)
    assert told("payments", "check", folder, code=1)["accepted"] is False
    bad = write_payments("f2", [payment("P1", "F1", 5000)], total_amount_millimes=1)
    assert "difference +4,999" in fatoura("payments", "load", bad, code=1)


def test_a_check_finds_rows_that_contradict_each_other_and_too_many_bad_ones():
    rows = [payment("P1", "F1", 5), payment("P1", "F1", 5), payment("P1", "F1", 6)]
    checked = told("payments", "check", write_payments("f1", rows))
    assert (checked["set_aside"], checked["reasons"]) == (2, {"payment_id: conflicting_rows": 2})
    bad = write_payments("f2", [payment(f"P{n}", "F1", 0) for n in range(11)])
    assert "it is the form that is wrong" in told("payments", "check", bad, code=1)["problems"][0]


def test_all_that_lies_in_the_landing_folder_is_taken():
    write_payments("f1", [payment("P1", "F1", 5000)], until=MORNING)
    write_facts("a", [fact("A1", ONE, "dispute")])
    assert "payments/f1: loaded, 1 rows" in fatoura("payments", "take")
    assert "nothing new" in fatoura("payments", "take")
    write_payments("f2", [payment("P1", "F1", 5000)], until={"web": NOON}, total_amount_millimes=1)
    assert "is refused" in fatoura("payments", "take", code=1)
    assert told("payments", "take", code=1)["refused"][0]["feed"] == "f2"
    assert "payments/f2 in" in fatoura("payments", "refused")
    assert told("payments", "refused")["refused"][0]["channels"] == ["web"]
    marks = told("payments", "watermarks")
    assert marks["watermarks"]["web"].startswith("2026-06-28T08:00:00")
    assert marks["held_by"] == {"web": ["f2"]}
    assert "held by the refused feed(s) f2" in fatoura("payments", "watermarks")


def test_the_payments_of_an_invoice_are_shown_with_the_customer_masked():
    bill("F1", 20_000)
    load_payments("f1", payment("P1", "F1", 5000), payment("P2", "F1", "x"), until=MORNING)
    load_payments("f2", payment("P1", "F1", 6000), reversal("R1", "P1", "F1", 7000), until=NOON)
    shown = fatoura("payments", "show", "F1")
    assert ONE not in shown
    for words in (
        "F1 of ***** *49 6: 20,000 DT due 2026-06-22, paid 0,000 DT, owed 20,000 DT",
        "payment P1: 6,000 DT by counter, counts 6,000 DT",
        "1 other version(s) were told",
        "reversal of P1 R1: 7,000 DT by counter, counts -6,000 DT, exceeds payment",
        "P1 in f1: payment of 5,000 DT",
        "f1 row 2: amount_millimes: not_an_integer (not settled: this invoice is not warned)",
    ):
        assert words in shown
    document = told("payments", "show", "F1", "--unmasked")
    assert (document["customer_reference"], document["balance_millimes"]) == ("04258 049 6", 20_000)
    load_payments("f3", payment("P9", "F9", 1))
    assert "not among the invoices here" in fatoura("payments", "show", "F9")
    assert "neither an invoice" in fatoura("payments", "show", "F8", code=1)


def test_rows_that_wait_are_shown_those_that_name_nobody_first_and_settled_by_a_person():
    load_payments(
        "f1", payment("P1", "F1", "x"), payment("P2", "n°", "x"), reversal("R1", "P7", "F1", 5), until=NOON
    )
    shown = fatoura("payments", "pending")
    assert shown.index("f1 row 2") < shown.index("f1 row 1")
    assert "reversal R1" in shown
    document = told("payments", "pending")
    assert (document["pending"], [row["row"] for row in document["rows"]]) == (2, [2, 1])
    assert "fields" not in document["rows"][0]
    assert "fields" in told("payments", "pending", "--unmasked")["rows"][0]
    settle = ("payments", "settle", "f1", "1")
    assert "say in a few words" in fatoura(*settle, "--reason", "ok", code=1)
    fatoura(*settle, "--reason", "looked up at the till", "--by", "nadia")
    assert "was settled by nadia already" in fatoura(*settle, "--reason", "looked up again", code=1)
    assert "no row 9" in fatoura("payments", "settle", "f1", "9", "--reason", "looked up", code=1)
    assert told("payments", "pending")["pending"] == 1


def test_the_address_of_pushes_names_the_file_of_the_token_and_not_the_token(configure):
    from fatoura.payments.secret import payments_token

    shown = fatoura("payments", "push-address")
    assert payments_token() not in shown
    assert told("payments", "push-address")["address"] == "http://127.0.0.1:8081/payments"


def test_facts_are_set_ended_and_listed_with_the_customer_masked():
    known = told("facts", "set", "04258 049 6", "dispute", "--invoice", "F1", "--by", "nadia")
    assert (known["customer_reference"], known["set_by"], known["in_force"]) == ("***** *49 6", "nadia", True)
    listed = fatoura("facts", "list", ONE)
    assert "dispute of ***** *49 6, invoice F1, from 2026-06-29 until further notice, says nadia" in listed
    assert ONE not in listed
    assert "04258 049 6" in fatoura("facts", "list", "--unmasked")
    assert "known already" in fatoura("facts", "set", ONE, "dispute", "--invoice", "F1", code=1)
    assert "until 2026-06-28" in fatoura("facts", "end", known["fact_id"])
    assert fatoura("facts", "list", ONE) == "none\n"
    assert len(told("facts", "list", "--all")["facts"]) == 1
    assert "no fact is known" in fatoura("facts", "end", "A9", code=1)
    fatoura("facts", "set", ONE, "holiday", code=2)


def test_facts_are_imported_checked_and_settled(tmp_path):
    folder = write_facts("x", [fact("A1", ONE, "dispute"), fact("A2", ONE, "?")], folder=tmp_path / "x")
    assert told("facts", "check", folder)["reasons"] == {"fact: unknown": 1}
    assert told("facts", "import", folder)["feed"] == "x"
    assert told("facts", "import", folder / "facts.csv")["counts"] == {"repeated": 1, "set_aside": 1}
    assert told("facts", "pending")["pending"] == 2
    assert "***** *49 6" in fatoura("facts", "pending")
    fatoura("facts", "settle", "x", "2", "--reason", "asked the agency")
    assert told("facts", "pending")["pending"] == 1


def test_a_list_may_be_cut_short_and_asked_of_another_day():
    load_facts("f1", *(fact(f"A{n}", ONE, "dispute", invoice_number=f"F{n}") for n in range(3)))
    assert len(told("facts", "list", "--limit", "2")["facts"]) == 2
    assert told("facts", "list", "--on", "2026-05-31")["facts"] == []


def test_a_sample_of_payments_is_written_for_an_extract_and_delivered():
    extract = deliver(ExtractKey("2026-05-T1"), [record(n) for n in range(20)])
    out = extract.parent / "payments"
    arguments = (
        "payments",
        "sample",
        out,
        "--extract",
        extract,
        "--until",
        "2026-06-28",
        "--feeds-a-day",
        "1",
    )
    written = told(*arguments, "--share", "in_time=0.8", "--share", "late=0.0", "--land")
    assert len(written["feeds"]) == 38
    assert "38 feeds with" in fatoura(*arguments, "--share", "late=0.0")
    taken = told("payments", "take")
    assert len(taken["loaded"]) == 38
    fatoura(*arguments, "--share", "gift=1", code=2)
    assert "repeated" in fatoura("payments", "sample", "--list-kinds")
