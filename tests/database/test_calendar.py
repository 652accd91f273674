"""Decisions about single days, made with the command and seen by everybody who asks the calendar."""

import json
from datetime import date, datetime

import pytest
from click.testing import CliRunner

from fatoura.calendar import closing_time, load_calendar
from fatoura.cli import main
from fatoura.database import begin


@pytest.fixture
def fatoura(database):
    def run(*arguments: str):
        return CliRunner().invoke(main, arguments)

    return run


def shown(fatoura, day: str) -> dict:
    answer = fatoura("calendar", "show", "--from", day, "--days", "1", "--json")
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)["days"][0]


def test_a_day_is_closed_opened_and_given_back(fatoura):
    assert shown(fatoura, "2026-05-20")["opens"] == "09:00"
    by = ("--reason", "the gateway is serviced", "--by", "the duty officer")

    assert fatoura("calendar", "set", "2026-05-20", "--closed", *by).exit_code == 0
    closed = shown(fatoura, "2026-05-20")
    assert (closed["opens"], closed["working_day"]) == (None, False)
    assert closed["decision"] == {"reason": "the gateway is serviced", "by": "the duty officer"}

    assert fatoura("calendar", "set", "2026-05-20", "--open", "10:30-12:00", *by).exit_code == 0
    assert (shown(fatoura, "2026-05-20")["opens"], shown(fatoura, "2026-05-20")["closes"]) == (
        "10:30",
        "12:00",
    )
    assert closing_time(date(2026, 5, 20)) == datetime.fromisoformat("2026-05-20T12:00:00+01:00")

    assert fatoura("calendar", "unset", "2026-05-20").exit_code == 0
    assert shown(fatoura, "2026-05-20")["closes"] == "20:00"
    assert "nothing was decided" in fatoura("calendar", "unset", "2026-05-20").output


def test_a_calendar_sees_the_decisions_of_its_connection(database, fatoura):
    fatoura(
        "calendar", "set", "2026-05-24", "--open", "10:00-12:00", "--reason", "a late cycle", "--by", "me"
    )
    with begin() as connection:
        assert load_calendar(connection).window(date(2026, 5, 24)) is not None
    assert load_calendar().window(date(2026, 5, 31)) is None


def test_showing_the_calendar_says_why_a_day_is_closed(fatoura):
    told = fatoura("calendar", "show", "--from", "2026-03-18", "--days", "7").output.splitlines()
    assert told[0].split() == ["Wed", "2026-03-18", "10:00-16:00", "working", "day", "Ramadan"]
    assert "Independence Day" in told[2]
    assert "closed" in told[2]
    assert "Eid al-Fitr Holiday (provisional)" in told[5]


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "2026-05-20", "--reason", "r", "--by", "b"),
        ("set", "2026-05-20", "--closed", "--open", "09:00-10:00", "--reason", "r", "--by", "b"),
        ("set", "2026-05-20", "--closed", "--by", "b"),
        ("set", "20 May", "--closed", "--reason", "r", "--by", "b"),
        ("set", "2026-05-20", "--open", "9-10", "--reason", "r", "--by", "b"),
    ],
)
def test_wrong_usage_ends_with_2(fatoura, arguments):
    assert fatoura("calendar", *arguments).exit_code == 2


def test_a_decision_without_a_reason_is_refused(fatoura):
    refused = fatoura("calendar", "set", "2026-05-20", "--closed", "--reason", " ", "--by", "b")
    assert refused.exit_code == 1
    assert "needs a reason" in refused.stderr


# --- A table of days


TABLE = """\
day,hours,reason
2026-05-27,closed,"Eid al-Adha, as announced"
2026-05-29,open,the second possible day was none
2026-05-30,09:00-13:00,a cycle is late
"""


def imported(fatoura, tmp_path, text: str):
    path = tmp_path / "days.csv"
    path.write_text(text, encoding="utf-8")
    return fatoura("calendar", "import", str(path), "--by", "the duty officer")


def test_a_table_decides_its_days_and_can_be_taken_out_edited_and_put_back(fatoura, tmp_path):
    done = imported(fatoura, tmp_path, TABLE)
    assert done.exit_code == 0, done.output
    assert "3 days decided" in done.output
    assert shown(fatoura, "2026-05-27")["opens"] is None
    assert shown(fatoura, "2026-05-29")["opens"] == "09:00"
    assert shown(fatoura, "2026-05-30")["closes"] == "13:00"
    assert shown(fatoura, "2026-05-30")["decision"] == {
        "reason": "a cycle is late",
        "by": "the duty officer",
    }
    assert fatoura("calendar", "export").stdout == TABLE

    # As a French spreadsheet writes it; days that are not in it stay.
    edited = "\ufeffday;hours;reason\r\n2026-05-27;rules;\r\n2026-05-29;closed;it was one\r\n"
    done = imported(fatoura, tmp_path, edited)
    assert "1 days decided, 1 given back" in done.output
    with begin() as connection:
        decided = load_calendar(connection).decisions
    assert {day.day: str(decision) for day, decision in decided.items()} == {
        29: "closed",
        30: "open 09:00-13:00",
    }


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("2026-06-31,closed,a day", "line 3, day: '2026-06-31' is no day"),
        ("10/06/2026,closed,a day", "line 3, day: '10/06/2026' is no day"),
        ("2026-06-10,13:00-09:00,hours", "line 3, hours: '13:00-09:00' are none"),
        ("2026-06-10,,no hours", "line 3, hours: '' are none"),
        ("2026-06-10,shut,hours", "line 3, hours: 'shut' are none"),
        ("2026-06-10,closed, ", "line 3, reason: a decision about a day needs one"),
        ("2026-06-10,closed", "line 3, all fields: there must be 3"),
        ("2026-06-10,closed,a,b", "line 3, all fields: there must be 3"),
        ('2026-06-10,closed,"open', "line 3, all fields"),
        ("2026-06-09,closed,again", "line 3, day: 2026-06-09 is there twice"),
    ],
)
def test_a_wrong_row_is_named_with_its_field_and_nothing_is_taken(fatoura, tmp_path, row, told):
    refused = imported(fatoura, tmp_path, f"day,hours,reason\n2026-06-09,closed,good\n{row}\n")
    assert refused.exit_code == 1
    assert str(tmp_path / "days.csv") in refused.stderr
    assert told in refused.stderr
    assert fatoura("calendar", "export").stdout == "day,hours,reason\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "must begin with the line day,hours,reason"),
        (b"date,hours,reason\n", "must begin with the line"),
        ("day,hours,reason\n2026-06-09,closed,fête\n".encode("latin-1"), "not text in UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused(fatoura, tmp_path, content, told):
    if content is not None:
        (tmp_path / "days.csv").write_bytes(content)
    refused = fatoura("calendar", "import", str(tmp_path / "days.csv"), "--by", "b")
    assert refused.exit_code == 1
    assert told in refused.stderr
