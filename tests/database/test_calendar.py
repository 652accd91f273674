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
