"""Departures that clerks deliver: who is named leaves, once, unless they have signed again since."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from fatoura.cli import main
from fatoura.database import connect
from fatoura.feeds.taking import take_feeds
from tests.departures import departure, write_departures
from tests.notices import plan_notices, run_sql, states

ONE, TWO, THREE = "000000001", "000000002", "000000003"


@pytest.fixture(autouse=True)
def _clock(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


def subscribe(*references: str, consent: str = "2026-01-02") -> None:
    for reference in references:
        run_sql(
            "INSERT INTO subscription (customer_reference, phone, language, channel, consent_date) "
            "VALUES (:reference, '+21620000000', 'fr', 'coupon', :consent)",
            reference=reference,
            consent=consent,
        )


def rows(statement: str) -> list[tuple]:
    with connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def outcomes() -> dict[str, str]:
    return dict(rows("SELECT departure_id, outcome FROM departure"))


def test_who_is_named_leaves_and_what_is_planned_is_cancelled():
    subscribe(ONE, TWO)
    cycle = plan_notices(1)
    run_sql(
        "UPDATE notice SET subscription_id = (SELECT id FROM subscription WHERE customer_reference = :r)",
        r=ONE,
    )
    write_departures("2026-05-20", departure("D1", ONE), departure("D3", THREE))
    [loaded] = take_feeds().loaded
    assert loaded.counts == {"new": 2}
    assert outcomes() == {"D1": "left", "D3": "not_subscribed"}
    assert rows("SELECT customer_reference, state FROM subscription ORDER BY 1") == [
        (ONE, "ended"),
        (TWO, "active"),
    ]
    assert states(cycle) == {"cancelled": 1}
    assert rows("SELECT act, channel, evidence, recorded_by, given_on::text FROM consent") == [
        ("revoked", "clerk", "departure D1", "A. Clerk", "2026-05-19")
    ]


def test_who_has_signed_again_since_stays():
    subscribe(ONE, consent="2026-05-20")
    subscribe(TWO, consent="2026-05-19")
    write_departures("2026-05-20", departure("D1", ONE), departure("D2", TWO))
    take_feeds()
    assert outcomes() == {"D1": "signed_again", "D2": "left"}


def test_the_same_word_again_changes_nothing_and_one_that_is_corrected_is_judged_again():
    subscribe(ONE, TWO)
    write_departures("2026-05-20", departure("D1", ONE))
    take_feeds()
    write_departures("2026-05-20-b", departure("D1", ONE))
    take_feeds()
    assert outcomes() == {"D1": "left"}
    write_departures("2026-05-20-c", departure("D1", TWO))
    take_feeds()
    assert rows("SELECT customer_reference, outcome FROM departure") == [(TWO, "left")]
    assert rows("SELECT DISTINCT state FROM subscription") == [("ended",)]
    assert len(rows("SELECT FROM consent")) == 2


def test_a_row_that_breaks_a_rule_waits_for_a_clerk():
    write_departures(
        "2026-05-20",
        departure("D1", "12"),
        departure("D 2", ONE),
        departure("D3", ONE, asked_on="2026-05-21"),
        departure("D4", ONE, asked_on="soon"),
        departure("D5", ONE, by=""),
        departure("D6", ONE, reason="calls from 20 000 012"),
        departure("D7", ONE, reason="x" * 201),
    )
    [loaded] = take_feeds().loaded
    assert {row.row: row.reasons for row in loaded.set_aside} == {
        1: ("customer_reference: not_nine_digits",),
        2: ("departure_id: form",),
        3: ("asked_on: in_the_future",),
        4: ("asked_on: not_a_date",),
        5: ("by: missing",),
        6: ("reason: holds_a_phone_number",),
        7: ("reason: too_long",),
    }
    told = CliRunner().invoke(main, ["departures", "pending", "--json"])
    assert '"pending": 7' in told.output
    assert "20 000 012" not in told.output


def test_a_clerk_lets_one_customer_leave_by_command():
    subscribe(ONE)
    call = ["subscribers", "leave", ONE, "--evidence", "letter 12/2026", "--by", "A. Clerk", "--json"]
    assert '"ended": 1' in CliRunner().invoke(main, call).output
    again = CliRunner().invoke(main, call)
    assert again.exit_code == 1
    assert "nothing to end" in again.output
    assert ONE not in again.output


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["12345"], "9 digits"),
        ([ONE, "--on", "2026-05-21"], "lies ahead"),
        ([ONE, "--evidence", "20000012 called"], "phone number"),
    ],
)
def test_a_departure_by_command_that_cannot_be_is_refused(changed, words):
    subscribe(ONE)
    told = CliRunner().invoke(main, ["subscribers", "leave", "--evidence", "letter 12", *changed])
    assert told.exit_code == 1
    assert words in told.output
