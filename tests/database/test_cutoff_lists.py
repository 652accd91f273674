"""Lists for people: who is put on which, once; and their files, which come out the same however often."""

import csv
import io
from datetime import date
from pathlib import Path

import pytest
from openpyxl import load_workbook
from sqlalchemy import text

from fatoura.cutoff.deciding import decide_day
from fatoura.cutoff.feeds import apply_feeds
from fatoura.cutoff.freshness import FeedStale
from fatoura.cutoff.list_files import ListNotWritten, ListUnknown, list_folder, write_list_files
from fatoura.cutoff.lists import ListKind, hand_over, list_call_backs, list_letters
from fatoura.cutoff.planning import plan_day
from fatoura.cutoff.settling import conclude_cases
from fatoura.database import connect
from fatoura.settings import get_settings
from tests.cutoff import bill, cases, know, pay, send, watermark
from tests.notices import run_sql

CUT = date(2026, 7, 13)


@pytest.fixture(autouse=True)
def on(database, configure):
    """Move the clock to 09:30, or another hour, of a day; payments are complete up to then."""

    def move(day: str, hour: str = "09:30", *, fresh: bool = True) -> None:
        configure(now=f"{day}T{hour}:00+01:00")
        if fresh:
            watermark()

    move("2026-06-24")
    return move


def warn(on, day: str, outcome: str = "delivered") -> None:
    on(day)
    plan_day(decide_day().cycle)
    send(outcome)
    conclude_cases()


@pytest.fixture
def warned_twice(on):
    """Two customers in two districts who were warned twice, on the morning of the cut."""
    bill("FAC-2", "000000012", amount=1_085_352)
    bill("FAC-1", "012345678")
    run_sql("INSERT INTO district (code, name_fr, name_ar) VALUES ('SFX', 'Sfax/Nord', 'صفاقس')")
    run_sql("UPDATE cutoff_case SET district = 'SFX' WHERE invoice_number = 'FAC-1'")
    for day in ("2026-06-30", "2026-07-09"):
        warn(on, day)
    on("2026-07-13", "07:30")


def lines(kind: ListKind) -> list[tuple]:
    with connect() as connection:
        return [
            tuple(line)
            for line in connection.execute(
                text(
                    "SELECT k.day, l.invoice_number, l.balance_millimes FROM cutoff_list_line l "
                    "JOIN cutoff_list k ON k.id = l.list_id WHERE k.kind = :kind ORDER BY 1, 2"
                ),
                {"kind": kind},
            )
        ]


def in_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


# --- Who is on them


def test_who_pays_before_the_morning_is_not_handed_over(warned_twice):
    pay("FAC-1")
    made = hand_over()
    assert (made.added, made.closed) == (1, 1)
    assert lines(ListKind.HAND_OVER) == [(CUT, "FAC-2", 1_085_352)]
    assert cases("invoice_number, state") == [("FAC-1", "paid"), ("FAC-2", "handed_over")]


def test_who_pays_a_part_is_handed_over_for_the_rest(warned_twice):
    pay("FAC-2", 1_000_000)
    hand_over()
    assert lines(ListKind.HAND_OVER) == [(CUT, "FAC-1", 85_352), (CUT, "FAC-2", 85_352)]


@pytest.mark.parametrize("fact", ["protected", "dispute", "payment_plan"])
def test_whoever_is_left_out_since_the_warning_is_not_handed_over(warned_twice, fact):
    know(fact, "012345678")
    assert hand_over().added == 1
    assert cases("invoice_number, state") == [("FAC-1", "excluded"), ("FAC-2", "handed_over")]


def test_nothing_is_handed_over_before_the_day_that_was_told_nor_on_a_day_without_a_cut(warned_twice, on):
    on("2026-07-09", "18:00")
    assert hand_over().added == 0
    on("2026-07-17", "07:30")  # a Friday
    assert hand_over().list_id is None
    on("2026-07-24", "07:30")  # the eve of Republic Day
    assert hand_over().list_id is None
    on("2026-07-27", "07:30")
    assert hand_over().added == 2


def test_a_list_that_is_made_again_takes_up_what_has_come_since(warned_twice, on):
    bill("FAC-3", "000000013")
    run_sql(
        "UPDATE cutoff_case SET state = 'warned' WHERE invoice_number = 'FAC-3'",
    )
    hand_over()
    run_sql(
        "UPDATE cutoff_case SET state = 'warned_again', cut_from = '2026-07-13', warning_id = uuidv7(), "
        "warned_at = '2026-06-30' WHERE invoice_number = 'FAC-3'"
    )
    again = hand_over()
    assert (again.added, again.lines) == (1, 3)
    assert hand_over().added == 0


def test_without_a_second_warning_in_the_rules_the_first_is_enough(on, configure, tmp_path):
    rules = get_settings().cutoff_rules.read_text(encoding="utf-8")
    path = tmp_path / "rules.yaml"
    path.write_text(rules.replace("days_before_cut: 4", "days_before_cut: 4\n        switched_off: true"))
    configure(cutoff_rules=str(path))
    bill("FAC-1")
    warn(on, "2026-06-30")
    on("2026-07-13", "07:30")
    assert hand_over().added == 1


def test_letters_ask_for_fresh_feeds_and_call_backs_do_not(warned_twice, on):
    hand_over()
    pay("FAC-1")
    apply_feeds()
    on("2026-07-16", fresh=False)
    with pytest.raises(FeedStale, match="no letters are listed"):
        list_letters()
    assert list_call_backs().added == 1
    assert lines(ListKind.CALL_BACK) == [(date(2026, 7, 16), "FAC-1", 0)]


def test_who_pays_before_the_letter_is_listed_gets_none(on):
    bill("FAC-1")
    bill("FAC-2", "000000002")
    warn(on, "2026-06-30", "undeliverable")
    pay("FAC-1")
    made = list_letters()
    assert (made.added, made.closed) == (1, 1)
    assert lines(ListKind.LETTERS) == [(date(2026, 6, 30), "FAC-2", 85_352)]


def test_a_letter_is_listed_once_and_the_next_case_of_the_bill_has_its_own(on):
    bill("FAC-1")
    warn(on, "2026-06-30", "undeliverable")
    assert list_letters().added == 1
    pay("FAC-1")
    apply_feeds()
    pay("FAC-1", -85_352)
    apply_feeds()
    assert list_letters().added == 0
    warn(on, "2026-07-01", "expired")
    assert list_letters().added == 1
    assert [line[:2] for line in lines(ListKind.LETTERS)] == [
        (date(2026, 6, 30), "FAC-1"),
        (date(2026, 7, 1), "FAC-1"),
    ]


# --- Their files


def test_the_field_teams_list_carries_the_proof_of_notice(warned_twice):
    hand_over()
    files = write_list_files(ListKind.HAND_OVER, CUT)
    assert files.lines == 2
    with connect() as connection:
        proof = connection.execute(
            text(
                "SELECT n.id::text, r.id::text FROM notice n JOIN receipt r ON r.notice_id = n.id "
                "WHERE n.kind = 'cutoff_warning' AND n.subject = 'FAC-1'"
            )
        ).one()
    sfax, tunis = in_csv(files.csv)
    delivered = sfax.pop("delivered_at")
    assert delivered.startswith("2026-06-30T09:31:")
    assert delivered.endswith("+01:00")
    assert sfax == {
        "district": "SFX",
        "district_name": "Sfax/Nord",
        "customer_reference": "012345678",
        "invoice": "FAC-1",
        "owed_dinars": "85.352",
        "owed_millimes": "85352",
        "told_cut_from": "2026-07-13",
        "message_id": proof[0],
        "receipt_id": proof[1],
    }
    assert (tunis["invoice"], tunis["customer_reference"]) == ("FAC-2", "000000012")
    book = load_workbook(files.workbook)
    assert book.sheetnames == ["SFX Sfax Nord", "TUN"]
    sheet = book["TUN"]
    assert [cell.value for cell in sheet[1]] == [
        *("District", "Nom du district", "Référence client", "Facture", "Dû (DT)", "Dû (millimes)"),
        *("Coupure annoncée dès le", "Avertissement remis", "Message", "Accusé brut"),
    ]
    row = sheet[2]
    assert (row[2].value, row[2].data_type) == ("000000012", "s")
    assert (row[4].value, row[4].number_format) == (1085.352, "#,##0.000")
    assert row[5].value == 1_085_352
    assert row[6].value.date() == CUT
    assert f"{row[7].value:%Y-%m-%d %H:%M}" == "2026-06-30 09:31"


def test_letters_say_why_and_in_which_language(on):
    bill("FAC-1", language="ar")
    bill("FAC-2", "000000002")
    run_sql("UPDATE subscription SET state = 'ended' WHERE customer_reference = '000000002'")
    warn(on, "2026-06-30", "undeliverable")
    list_letters()
    # What becomes of the case later does not change the list.
    pay("FAC-1")
    apply_feeds()
    files = write_list_files(ListKind.LETTERS, date(2026, 6, 30))
    first, second = in_csv(files.csv)
    assert (first["reason"], first["language"], first["due_date"]) == ("undelivered", "ar", "2026-06-25")
    assert first["message_id"]
    assert (second["reason"], second["message_id"]) == ("no_consent", "")
    [sheet] = load_workbook(files.workbook).worksheets
    assert sheet["E2"].value == "le message n’a pas été remis"


def test_call_backs_say_why_nobody_goes_there_any_more(warned_twice):
    hand_over()
    pay("FAC-1", 90_000)
    apply_feeds()
    list_call_backs()
    [line] = in_csv(write_list_files(ListKind.CALL_BACK, CUT).csv)
    assert (line["reason"], line["handed_over_on"]) == ("paid", "2026-07-13")
    assert (line["owed_dinars"], line["owed_millimes"]) == ("-4.648", "-4648")


def test_written_again_a_list_is_the_same_to_the_byte(warned_twice, on):
    hand_over()
    files = write_list_files(ListKind.HAND_OVER, CUT)
    before = files.csv.read_bytes(), files.workbook.read_bytes()
    pay("FAC-1")
    apply_feeds()
    on("2026-07-20")
    again = write_list_files(ListKind.HAND_OVER, CUT)
    assert (again.csv.read_bytes(), again.workbook.read_bytes()) == before
    assert sorted(path.name for path in files.csv.parent.iterdir()) == ["hand_over.csv", "hand_over.xlsx"]


def test_nobody_but_the_service_can_open_them_and_nothing_in_them_is_a_phone(warned_twice):
    hand_over()
    files = write_list_files(ListKind.HAND_OVER, CUT)
    lists = get_settings().lists
    assert not lists.is_relative_to(get_settings().reports)
    assert files.csv.parent == list_folder(CUT) == lists / "cutoff" / "2026-07-13"
    for folder in (lists, lists / "cutoff", list_folder(CUT)):
        assert folder.stat().st_mode & 0o777 == 0o700
    for path in (files.csv, files.workbook):
        assert path.stat().st_mode & 0o777 == 0o600
    values = [str(value) for line in in_csv(files.csv) for value in line.values()]
    assert not any(value.startswith("+216") or "STEG" in value for value in values)


def test_they_may_be_written_elsewhere(warned_twice, tmp_path):
    hand_over()
    files = write_list_files(ListKind.HAND_OVER, CUT, folder=tmp_path / "for" / "the teams")
    assert files.workbook.parent == tmp_path / "for" / "the teams"
    assert not list_folder(CUT).exists()


def test_a_list_that_was_never_made_is_refused_in_words():
    with pytest.raises(ListUnknown, match="no list of letters was made on 2026-06-24: there was nobody"):
        write_list_files(ListKind.LETTERS, date(2026, 6, 24))


def test_a_folder_that_cannot_be_written_leaves_earlier_files(warned_twice, tmp_path):
    hand_over()
    (tmp_path / "file").write_text("")
    with pytest.raises(ListNotWritten, match=r"could not be written to .*/file: .*; earlier files stand"):
        write_list_files(ListKind.HAND_OVER, CUT, folder=tmp_path / "file")
