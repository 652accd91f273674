"""What clerks get, send back and decide. All numbers are invented."""

from __future__ import annotations

import csv
import io
import json
import stat

import openpyxl
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from fatoura.cli import main
from fatoura.database import begin, connect
from fatoura.enrolment.correcting import correct_coupons
from fatoura.enrolment.decisions import accept_coupon, refuse_coupon, welcome_again
from fatoura.enrolment.judging import judge_coupons
from fatoura.enrolment.lists import CORRECTIONS, UNREACHABLE_NUMBERS, are_stale, write_lists
from fatoura.enrolment.welcoming import conclude_welcomes, plan_welcomes
from fatoura.errors import BadInput
from fatoura.feeds.set_aside import settle_row
from tests.coupons import (
    ANNA,
    BOB,
    CORA,
    consents,
    coupon,
    crossed,
    enrol,
    load_coupons,
    load_customers,
    outcomes,
    phone,
    subscribed,
    write_coupons,
    write_customers,
)

MORNING = "2026-05-20T10:00:00+01:00"
KNOWN = {"by": "A. B.", "reason": "called the customer"}


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now=MORNING, phone_contracts=2, report_language="en")
    load_customers()


def corrections() -> list[dict[str, str]]:
    written = write_lists()
    with (written.folder / CORRECTIONS).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == written.corrections
    return rows


def write_back(rows: list[dict[str, str]], path, delimiter: str = ","):
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


# --- Files --------------------------------------------------------------------------------------------


def test_what_needs_a_person_is_in_a_private_file_with_what_is_wrong():
    enrol(
        "b1",
        coupon("C1", phone="71 000 001", wording_version="9"),
        coupon("C2", BOB, phone=phone(2)),
        coupon("C3", BOB, phone=phone(3)),
        coupon("C4", CORA, signed="false", signed_on="", scan_id="=1+1"),
    )
    first, second, third, fourth = corrections()
    assert (first["coupon_id"], first["phone"], first["batch"], first["row"]) == (
        "C1",
        "71 000 001",
        "b1",
        "1",
    )
    assert first["reasons"] == "phone: fixed_line; wording_version: unknown"
    assert first["explanation"] == "The number is a fixed line's. No text of coupons has this version."
    assert (second["coupon_id"], second["scan_id"], second["reasons"]) == (
        "C4",
        "'=1+1",
        "signed: not_signed",
    )
    assert (third["reasons"], third["other_coupons"], third["signed"]) == (
        "conflicting_coupons",
        "C3",
        "true",
    )
    assert (fourth["coupon_id"], fourth["phone"], fourth["signed_on"]) == ("C3", phone(3), "2026-05-01")
    folder = write_lists().folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_the_lists_are_stale_when_something_has_changed_for_a_clerk():
    assert are_stale()
    write_lists()
    assert not are_stale()
    load_coupons("b1", coupon("C1", phone="12"))
    assert are_stale()
    write_lists()
    enrol("b2", coupon("C2", BOB), coupon("C3", BOB, phone=phone(3)))
    assert are_stale()
    write_lists()
    settle_row("coupons", "b1", 1, by="A. B.", reason="the paper is lost")
    assert are_stale()
    assert write_lists().counts == {"corrections": 2, "unreachable": 0}
    assert not are_stale()


def test_numbers_that_failed_are_in_the_other_file():
    enrol("b1", coupon("C1"))
    plan_welcomes()
    with begin() as connection:
        for state in ("sending", "undeliverable"):
            connection.execute(
                text("UPDATE notice SET state = :s, attempts = 1, reason = 'absent subscriber'"), {"s": state}
            )
    conclude_welcomes()
    written = write_lists()
    content = (written.folder / UNREACHABLE_NUMBERS).read_text(encoding="utf-8-sig")
    [row] = csv.DictReader(io.StringIO(content))
    assert (row["customer_reference"], row["phone"], row["coupon_id"], row["provider_said"]) == (
        ANNA,
        phone(1),
        "C1",
        "absent subscriber",
    )
    shown = CliRunner().invoke(main, ["coupons", "unreachable"])
    assert "***** *96 0? " not in shown.output
    assert ANNA not in shown.output
    assert phone(1) not in shown.output
    assert "1 subscription(s)" in shown.output
    document = json.loads(CliRunner().invoke(main, ["coupons", "unreachable", "--json"]).output)
    assert (document["unreachable"], document["subscriptions"][0]["phone"]) == (1, "+216 ** *** 001")


# --- Corrections come back ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["commas", "semicolons", "workbook", "our workbook"])
def test_what_was_mended_is_taken_and_what_was_not_touched_is_left_out(form, tmp_path):
    enrol(
        "b1",
        coupon("C1", phone="12"),
        coupon("C2", BOB, phone="13", scan_id="=x"),
        coupon("?? 3", CORA, scan_id="s3"),
    )
    rows = corrections()
    exported = [list(row.values()) for row in rows]
    rows[0]["phone"] = "20 000 001"
    rows[2]["coupon_id"] = "C3"
    path = tmp_path / ("back.csv" if form in ("commas", "semicolons") else "back.xlsx")
    if form == "our workbook":
        book = openpyxl.load_workbook((write_lists().folder / CORRECTIONS).with_suffix(".xlsx"))
        cells = [[cell.value for cell in row] for row in book.active.iter_rows()]
        assert cells == [list(rows[0]), *exported]
        assert {cell.number_format for row in book.active.iter_rows() for cell in row} == {"@"}
        book.active["D2"], book.active["A4"] = "20 000 001", "C3"
        book.save(path)
    elif form == "workbook":
        book = openpyxl.Workbook()
        book.active.append(list(rows[0]))
        for row in rows:
            book.active.append([int(cell) if name == "row" else cell for name, cell in row.items()])
        book.save(path)
    else:
        write_back(rows, path, "," if form == "commas" else ";")
    corrected = correct_coupons(path, by="A. B.")
    assert (corrected.mended, corrected.untouched, corrected.loaded.counts["new"]) == (2, 1, 2)
    judge_coupons()
    assert outcomes() == {"C1": "enrolled", "C3": "enrolled"}
    assert [row["coupon_id"] for row in corrections()] == ["C2"]
    with pytest.raises(BadInput, match="nothing in it has been mended"):
        correct_coupons(write_back(corrections(), tmp_path / "again.csv"), by="A. B.")


def test_a_row_that_is_still_wrong_is_set_aside_in_the_place_of_the_former(tmp_path):
    enrol("b1", coupon("C1", phone="12"))
    rows = corrections()
    rows[0]["phone"] = "71 000 001"
    correct_coupons(write_back(rows, tmp_path / "back.csv"), by="A. B.")
    [row] = corrections()
    assert row["reasons"] == "phone: fixed_line"
    assert row["batch"].startswith("~")


def test_a_clerk_s_correction_stands_against_what_batches_repeat_and_not_against_a_cross(tmp_path):
    wrong = coupon("C1", BOB), coupon("C2", BOB, phone=phone(2))
    enrol("b1", *wrong)
    rows = corrections()
    rows[1]["phone"] = phone(1)
    corrected = correct_coupons(write_back(rows, tmp_path / "back.csv"), by="A. B.")
    assert (corrected.mended, corrected.untouched) == (1, 1)
    judge_coupons()
    assert outcomes() == {"C1": "enrolled", "C2": "unchanged"}
    enrol("b2", *wrong)
    assert outcomes() == {"C1": "enrolled", "C2": "unchanged"}
    enrol("b3", crossed("C1", BOB), crossed("C2", BOB))
    assert set(outcomes().values()) == {"crossed_out"}
    assert subscribed() == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("coupon_id,phone\nC1,2\n", "the header lacks scan_id"),
        ("coupon_id;phone\nC1;2\n", "the header lacks scan_id"),
    ],
)
def test_another_file_is_refused_in_words(content, said, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text(content)
    with pytest.raises(BadInput, match=said):
        correct_coupons(path, by="A. B.")


# --- Decisions ----------------------------------------------------------------------------------------


def test_a_clerk_s_word_settles_a_conflict_for_one_side():
    enrol("b1", coupon("C1"), coupon("C2", phone=phone(2)))
    decided = accept_coupon("C2", **KNOWN)
    assert (decided.found, decided.outcome) == ("refused (conflicting_coupons)", "enrolled")
    assert decided.others == {"superseded": 1}
    assert outcomes() == {"C1": "superseded", "C2": "enrolled"}
    assert subscribed("phone") == {ANNA: phone(2)}
    assert plan_welcomes().planned == 1
    assert judge_coupons().counts == {}
    with connect() as connection:
        kept = connection.execute(
            text("SELECT decided_by, decision, reason, found FROM coupon_decision")
        ).one()
        by = connection.scalar(text("SELECT recorded_by FROM consent"))
    assert tuple(kept) == ("A. B.", "accepted", "called the customer", "refused (conflicting_coupons)")
    assert by == "A. B."


def test_refusing_one_side_gives_the_other_its_turn():
    enrol("b1", coupon("C1"), coupon("C2", phone=phone(2)))
    assert refuse_coupon("C1", **KNOWN).others == {"enrolled": 1}
    assert outcomes() == {"C1": "refused refused_by_clerk", "C2": "enrolled"}
    assert judge_coupons().counts == {}
    with pytest.raises(BadInput, match="was refused by A"):
        refuse_coupon("C1", **KNOWN)
    assert [row["coupon_id"] for row in corrections()] == []


def test_a_number_of_many_contracts_and_a_signature_of_the_day_of_leaving_can_be_accepted():
    enrol("b1", coupon("C1"), coupon("C2", BOB))
    enrol("b2", coupon("C3", CORA))
    assert outcomes()["C3"] == "refused many_contracts"
    assert accept_coupon("C3", **KNOWN).outcome == "enrolled"
    from datetime import date

    from fatoura.subscriptions.leaving import Leaver, leave

    with begin() as connection:
        leave(connection, [Leaver(ANNA, "letter 7", "A. B.", date(2026, 5, 10))], channel="clerk")
    enrol("b3", coupon("C4", phone=phone(4), signed_on="2026-05-10"))
    assert accept_coupon("C4", **KNOWN).outcome == "enrolled"


def test_a_clerk_overlooks_no_departure_no_closed_contract_and_no_customer_whom_nobody_knows(configure):
    from datetime import date

    from fatoura.subscriptions.leaving import Leaver, leave

    enrol("b1", coupon("C1"), coupon("C0", "000000001"))
    with begin() as connection:
        leave(connection, [Leaver(ANNA, "letter 7", "A. B.", date(2026, 5, 10))], channel="clerk")
    load_customers("c2", **{BOB: "closed"})
    enrol("b2", coupon("C2", phone=phone(2), signed_on="2026-05-02"), coupon("C3", BOB))
    configure(now="2026-06-25T10:00:00+01:00", phone_contracts=2)
    judge_coupons()
    for name, why in (("C2", "has left"), ("C3", "contract is closed"), ("C0", "No customer")):
        with pytest.raises(BadInput, match=why):
            accept_coupon(name, **KNOWN)
    assert outcomes() == {
        "C0": "refused reference_unknown",
        "C1": "enrolled",
        "C2": "refused left_since",
        "C3": "refused contract_closed",
    }
    with connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM coupon_decision")) == 0


def test_there_is_nothing_to_decide_where_nothing_was_refused():
    enrol("b1", coupon("C1"))
    with pytest.raises(BadInput, match="was not refused: it is enrolled"):
        accept_coupon("C1", **KNOWN)
    with pytest.raises(BadInput, match="there is nothing to refuse"):
        refuse_coupon("C1", **KNOWN)
    with pytest.raises(BadInput, match="there is no coupon C9"):
        accept_coupon("C9", **KNOWN)
    with pytest.raises(BadInput, match="did not work"):
        welcome_again("C1", **KNOWN)
    with pytest.raises(BadInput, match="in a few words"):
        refuse_coupon("C1", by="A. B.", reason="no")


def test_a_number_that_works_after_all_is_welcomed_again():
    enrol("b1", coupon("C1"))
    plan_welcomes()
    with begin() as connection:
        for state in ("sending", "expired"):
            connection.execute(text("UPDATE notice SET state = :s, attempts = 1"), {"s": state})
    conclude_welcomes()
    assert welcome_again("C1", **KNOWN).decision == "tried_again"
    assert subscribed("state") == {ANNA: "active"}
    assert conclude_welcomes().unreachable == 0
    assert plan_welcomes().planned == 1
    assert conclude_welcomes().unreachable == 0


# --- The command --------------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["coupons", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_counts_shows_and_decides():
    enrol("b1", coupon("C1"), coupon("C2", phone=phone(2)), coupon("C3", BOB), coupon("C4", BOB, phone="1"))
    listed = json.loads(run("list", "--json"))
    assert listed["counts"] == {"enrolled": 1, "refused conflicting_coupons": 2}
    assert listed["coupons"][0]["phone"] == "+216 ** *** 001"
    assert ANNA not in run("list", "--outcome", "refused")
    assert json.loads(run("pending", "--json"))["pending"] == 1
    assert "2 row(s)" not in run("corrections")
    assert "is enrolled now" in run("accept", "C1", "--by", "A. B.", "--reason", "called the customer")
    shown = run("show", "C1")
    assert "consent given" in shown
    assert "accepted by A. B." in shown
    assert json.loads(run("show", "C1", "--json", "--unmasked"))["customer_reference"] == ANNA
    assert "row 4 of coupons/b1 is settled" in run("settle", "b1", "4", "--reason", "paper lost", "--by", "x")
    refused = CliRunner().invoke(main, ["coupons", "refuse", "C9", "--reason", "does not exist"])
    assert refused.exit_code == 1
    assert consents()[-1][0] == "given"


def test_customers_and_batches_can_be_loaded_by_hand_and_their_rows_settled(tmp_path):
    def customers(*arguments: str) -> str:
        return CliRunner().invoke(main, ["customers", *arguments]).output

    feed = str(write_customers("c2", {"042580499": "open", "12": "open"}, folder=tmp_path / "c2"))
    batch = str(write_coupons("b9", [coupon("C9", "042580499", phone=phone(9))], folder=tmp_path / "b9"))
    assert json.loads(customers("check", feed, "--json"))["set_aside"] == 1
    assert json.loads(customers("import", feed, "--json"))["counts"] == {"new": 1, "set_aside": 1}
    assert json.loads(run("import", batch, "--json"))["outcome"] == "loaded"
    judge_coupons()
    assert outcomes() == {"C9": "enrolled"}
    assert json.loads(customers("pending", "--json"))["pending"] == 1
    assert "is settled" in customers("settle", "c2", "2", "--reason", "a typing error", "--by", "A. B.")
