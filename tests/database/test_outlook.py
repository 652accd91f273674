"""What sending waits for at night, on Sundays and holidays, in Ramadan, and when an operator decides."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from fatoura.calendar import Hours, decide_day, undo_decision
from fatoura.database import connect
from fatoura.sending.outlook import Outlook, Wait, sending_outlook, window_closes
from tests.notices import plan_notices, run_sql

TODAY = date(2026, 5, 20)
BY = {"reason": "a trial", "by": "the tests"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+01:00")


def look(cycle: int) -> Outlook:
    with connect() as connection:
        return sending_outlook(connection, cycle)


def closes(**how: bool) -> datetime | None:
    with connect() as connection:
        return window_closes(connection, **how)


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-05-20T20:30:00", "2026-05-21T09:00:00"),  # in the evening
        ("2026-05-21T03:00:00", "2026-05-21T09:00:00"),  # after midnight
        ("2026-05-20T19:56:00", "2026-05-21T09:00:00"),  # open, and too late for a last message
        ("2026-05-23T21:00:00", "2026-05-25T09:00:00"),  # before a Sunday
        ("2026-12-31T21:00:00", "2027-01-02T09:00:00"),  # before a holiday
        ("2026-07-24T21:00:00", "2026-07-27T09:00:00"),  # before a holiday and a Sunday
        ("2026-05-25T21:00:00", "2026-06-01T09:00:00"),  # before a feast, its second possible day, a Sunday
        ("2026-02-25T16:30:00", "2026-02-26T10:00:00"),  # in Ramadan
    ],
)
def test_sending_goes_on_with_the_next_window(database, configure, now, opens):
    configure(now=at(now).isoformat())
    assert look(plan_notices(1)) == Outlook(Wait.WINDOW, at(opens))


def test_the_last_message_leaves_time_for_its_delivery(database, configure):
    configure(now=at("2026-05-20T19:53:00").isoformat())
    assert closes() == at("2026-05-20T19:55:00")
    configure(now=at("2026-05-20T19:54:01").isoformat())
    assert closes() is None  # less than a minute's validity would be left
    configure(now=at("2026-05-20T17:58:00").isoformat())
    assert closes(takes_validity=False) == at("2026-05-20T18:00:00")
    configure(now=at("2026-05-20T18:01:00").isoformat())
    assert closes(takes_validity=False) is None


def test_only_where_no_gateway_takes_a_validity_the_evening_begins_early(database, configure):
    configure(now=at("2026-05-20T18:30:00").isoformat())
    cycle = plan_notices(1)
    for name, takes in (("one", "false"), ("other", "true")):
        run_sql(
            "INSERT INTO gateway (name, adapter, capabilities, position, in_use) "
            f"""VALUES (:name, 'kannel', '{{"validity": {takes}}}', 0, true)""",
            name=name,
        )
    assert look(cycle).wait is Wait.NOTHING
    run_sql("UPDATE gateway SET in_use = false WHERE name = 'other'")
    assert look(cycle) == Outlook(Wait.WINDOW, at("2026-05-21T09:00:00"))


def test_whatever_an_operator_decides_is_taken_up_at_the_next_look(database, configure):
    configure(now=at("2026-05-20T12:00:00").isoformat())
    cycle = plan_notices(1)
    assert look(cycle).wait is Wait.NOTHING
    decide_day(TODAY, None, **BY)
    assert look(cycle) == Outlook(Wait.WINDOW, at("2026-05-21T09:00:00"))
    decide_day(TODAY + timedelta(days=1), Hours.parse("07:30-12:00"), **BY)
    assert look(cycle) == Outlook(Wait.WINDOW, at("2026-05-21T07:30:00"))
    decide_day(TODAY, Hours.parse("11:00-14:00"), **BY)
    assert look(cycle).wait is Wait.NOTHING
    assert closes() == at("2026-05-20T13:55:00")
    undo_decision(TODAY)
    assert closes() == at("2026-05-20T19:55:00")


def test_a_changed_file_is_taken_up_too(database, configure, tmp_path):
    shipped = configure().calendar_file.read_text(encoding="utf-8")
    file = tmp_path / "calendar.yaml"
    file.write_text(shipped, encoding="utf-8")
    configure(now=at("2026-05-20T20:30:00").isoformat(), calendar_file=file)
    cycle = plan_notices(1)
    assert look(cycle).wait is Wait.WINDOW
    file.write_text(shipped.replace('"09:00-20:00"', '"09:00-21:00"'), encoding="utf-8")
    assert look(cycle).wait is Wait.NOTHING
