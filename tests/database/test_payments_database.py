"""Payments from another system's database: what has changed since the last look, in one snapshot."""

from __future__ import annotations

import uuid
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy
from sqlalchemy import text

from fatoura.database import connect
from fatoura.errors import NotReady
from fatoura.feeds import FeedRefused, take_feeds
from fatoura.feeds.set_aside import settle_row
from fatoura.payments import watermarks
from fatoura.payments.database import PaymentsDatabase
from tests.payments import payment

MORNING, NOON, EVENING = (f"2026-06-28T{hour}:00:00+01:00" for hour in ("08", "12", "18"))


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-06-29T09:00:00+01:00")


@pytest.fixture
def till(postgres):
    """Another system's database, with empty tables."""
    name = f"till_{uuid.uuid4().hex}"
    postgres.create_database(name)
    engine = sqlalchemy.create_engine(postgres.url(name), poolclass=sqlalchemy.NullPool)
    with engine.begin() as db:
        db.execute(
            text(
                "CREATE TABLE payments (payment_id text, invoice_number text, amount_millimes numeric, "
                "paid_at timestamptz, channel text, kind text, reverses text, changed_at timestamptz)"
            )
        )
        db.execute(text("CREATE TABLE payment_watermark (channel text, complete_until timestamptz)"))
    return engine


def write(engine, *rows: dict, at: str, until: str | None = None) -> None:
    with engine.begin() as db:
        for row in rows:
            values = {**row, "reverses": row["reverses"] or None, "changed_at": at}
            db.execute(text("DELETE FROM payments WHERE payment_id = :payment_id"), values)
            names = ", ".join(values)
            db.execute(
                text(f"INSERT INTO payments ({names}) VALUES ({', '.join(f':{n}' for n in values)})"), values
            )
        if until:
            db.execute(text("DELETE FROM payment_watermark"))
            db.execute(text("INSERT INTO payment_watermark VALUES ('counter', :until)"), {"until": until})


def feed_names() -> list[str]:
    with connect() as connection:
        return list(connection.scalars(text("SELECT name FROM feed ORDER BY id")))


def amounts() -> dict[str, int]:
    with connect() as connection:
        return dict(connection.execute(text("SELECT payment_id, counts_millimes FROM payment")).all())


def test_the_first_look_takes_all_and_later_ones_what_has_changed(till):
    place = PaymentsDatabase(till, name="till", overlap=timedelta(0))
    write(till, payment("P1", "F1", 5000), at="2026-06-28T07:00:00+01:00")
    write(till, payment("P2", "F1", 7), at=MORNING, until=MORNING)
    first = place.take()
    assert (first.rows, first.counts) == (2, {"new": 2})
    write(till, payment("P2", "F1", 8), payment("P3", "F2", 9), at=NOON, until=NOON)
    second = place.take()
    assert (second.rows, second.counts) == (2, {"corrected": 1, "new": 1})
    assert amounts() == {"P1": 5000, "P2": 8, "P3": 9}
    with connect() as connection:
        assert f"{watermarks(connection)['counter']:%d %H}" == "28 11"
        feeds = connection.execute(text("SELECT source, location FROM feed")).all()
    assert [tuple(one) for one in feeds] == [("database", "till: payments")] * 2
    assert feed_names()[0].startswith("till-20260629T08")


def test_a_stretch_before_the_last_look_is_read_again(till):
    place = PaymentsDatabase(till, name="till", overlap=timedelta(hours=5))
    write(till, payment("P1", "F1", 5000), at=MORNING, until=MORNING)
    write(till, payment("P2", "F1", 1), at=NOON)
    place.take()
    # Written before the last look, and committed after it.
    write(till, payment("P3", "F1", 2), at="2026-06-28T11:00:00+01:00", until=NOON)
    assert place.take().counts == {"new": 1, "repeated": 2}


def test_a_look_at_which_nothing_is_new_is_no_feed(till):
    place = PaymentsDatabase(till, name="till")
    write(till, payment("P1", "F1", 5000), at=MORNING, until=MORNING)
    place.take()
    assert place.take().outcome == "already loaded"
    write(till, at=MORNING, until=NOON)
    assert place.take().counts == {"repeated": 1}, "the watermark has moved"
    write(till, payment("P1", "F1", 6000), at=MORNING)
    assert place.take().counts == {"corrected": 1}, "the row has changed, and the watermark has not"


def test_bad_rows_are_set_aside(till):
    write(till, payment("P1", "f 1", 5000), payment("P2", "F1", "1.5"), at=MORNING, until=MORNING)
    write(till, payment("P3", "F1", "1.5"), at=MORNING)
    told = PaymentsDatabase(till).take()
    assert told.counts == {"set_aside": 3}


def test_a_query_may_give_the_rows_and_the_watermarks(till):
    write(till, payment("P1", "F1", 5000), at=MORNING, until=MORNING)
    place = PaymentsDatabase(
        till,
        query="SELECT *, changed_at AS changed FROM payments WHERE changed_at >= :since;",
        changed_column="changed",
        watermark_query="SELECT 'web' AS channel, complete_until FROM payment_watermark",
    )
    assert place.take().set_aside[0].reasons == ("channel: not_in_complete_until",)
    write(till, payment("P2", "F1", 1, channel="web"), at=NOON)
    assert place.take().counts == {"new": 1, "repeated": 1}


def test_a_bad_row_that_is_read_again_is_set_aside_once(till):
    place = PaymentsDatabase(till)
    write(till, *(payment(f"P{n}", "f 1", 5) for n in range(8)), at=MORNING, until=MORNING)
    with till.begin() as db:  # two rows of one payment that differ
        for amount in (1, 2):
            row = "'P9', 'F9', :amount, :at, 'counter', 'payment', null, :at"
            db.execute(text(f"INSERT INTO payments VALUES ({row})"), {"amount": amount, "at": MORNING})
    assert place.take().counts == {"set_aside": 10}
    settle_row("payments", feed_names()[0], 1, reason="looked up at the till", by="nadia")
    write(till, payment("P10", "f 1", 5), at=MORNING, until=NOON)
    assert place.take().counts == {"repeated": 10, "set_aside": 1}
    write(till, payment("P1", "F1", 5), at=NOON)
    assert place.take().counts == {"new": 1, "repeated": 10, "settled": 1}


def test_times_without_an_offset_need_a_zone(till):
    write(till, payment("P1", "F1", 5000), at=MORNING, until=MORNING)
    with till.begin() as db:
        for statement in (
            "ALTER TABLE payments ALTER paid_at TYPE timestamp USING paid_at AT TIME ZONE 'Africa/Tunis'",
            "ALTER TABLE payments ALTER changed_at TYPE timestamp USING changed_at AT TIME ZONE 'UTC'",
            "ALTER TABLE payment_watermark ALTER complete_until TYPE timestamp "
            "USING complete_until AT TIME ZONE 'Africa/Tunis'",
        ):
            db.execute(text(statement))
    with pytest.raises(FeedRefused, match="no time with offset"):
        PaymentsDatabase(till).take()
    place = PaymentsDatabase(till, zone=ZoneInfo("Africa/Tunis"))
    assert place.take().counts == {"new": 1}
    assert place.take().outcome == "already loaded"
    with connect() as connection:
        paid_at = connection.scalar(text("SELECT paid_at FROM payment"))
        assert (f"{paid_at:%H}", f"{watermarks(connection)['counter']:%H}") == ("09", "07")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"table": "nowhere"}, "nowhere cannot be read"),
        ({"changed_column": "nothing"}, "nothing"),
        ({"changed_column": "payment_id"}, "payment_id does not hold times"),
        ({"watermark_table": "nowhere"}, "nowhere cannot be read"),
        ({"watermark_query": "SELECT 'till' AS channel, now() AS complete_until"}, "a channel that is none"),
        (
            {"watermark_query": "SELECT 'web' AS channel, 'noon' AS complete_until"},
            "a complete_until that is no time",
        ),
        (
            {"watermark_query": "SELECT 'web' AS channel, complete_until FROM payment_watermark WHERE false"},
            "complete_until names no channel",
        ),
        (
            {"watermark_query": "SELECT 'web' AS channel, timestamptz '2026-07-01 00:00Z' AS complete_until"},
            "lies in the future",
        ),
    ],
)
def test_what_cannot_be_taken_is_refused_in_words(till, change, said):
    write(till, payment("P1", "F1", 5000), at=MORNING, until=MORNING)
    with pytest.raises(FeedRefused, match=said):
        PaymentsDatabase(till, **change).take()
    assert amounts() == {}


def test_a_database_that_does_not_answer_is_told_and_stops_nothing():
    place = PaymentsDatabase("postgresql+psycopg://reader:secret@127.0.0.1:1/till", name="till")
    with pytest.raises(NotReady, match="does not answer") as away:
        place.take()
    assert "secret" not in str(away.value)
    assert list(take_feeds(sources=[place]).unreachable) == ["till"]
