"""Feeds of payments may arrive in any order: what stands in the end is the same, and what the rules say."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from fatoura.database import begin, connect
from fatoura.payments.pushing import load_pushed

START = datetime(2026, 6, 20, tzinfo=UTC)
CHANNELS = ("counter", "post")


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-06-29T09:00:00+01:00")


class Feed(NamedTuple):
    name: str
    until: dict[str, datetime]
    rows: list[dict[str, Any]]


amounts = st.sampled_from([100, 250, 1000])
invoices = st.sampled_from(["F1", "F2"])
common = {
    "invoice_number": invoices,
    "amount_millimes": amounts,
    "paid_at": st.sampled_from(["2026-06-18T10:00:00+00:00", "2026-06-19T10:00:00+00:00"]),
    "channel": st.sampled_from(CHANNELS),
}
good = st.one_of(
    st.fixed_dictionaries(
        {**common, "payment_id": st.sampled_from(["P1", "P2"]), "kind": st.just("payment")}
    ),
    st.fixed_dictionaries(
        {
            **common,
            "payment_id": st.sampled_from(["R1", "R2", "P2"]),
            "kind": st.just("reversal"),
            "reverses": st.sampled_from(["P1", "P3", "R3"]),
        }
    ),
)
bad = st.fixed_dictionaries(
    {
        **common,
        "payment_id": st.sampled_from(["P1", "P2", "R1"]),
        "kind": st.sampled_from(["gift", "payment"]),
        "invoice_number": st.sampled_from(["F1", "F2", "n° 7"]),
        "paid_at": st.just("yesterday"),
    }
)
instants = st.integers(0, 3).map(lambda hours: START + timedelta(hours=hours))


@st.composite
def feeds_in_some_order(draw) -> list[Feed]:
    count = draw(st.integers(2, 4))
    feeds = [
        Feed(
            f"f{number}",
            {channel: draw(instants) for channel in CHANNELS},
            draw(st.lists(st.one_of(good, good, bad), min_size=1, max_size=6)),
        )
        for number in range(count)
    ]
    return draw(st.permutations(feeds))


def push(feed: Feed) -> dict[str, int]:
    body = {
        "feed": feed.name,
        "rows": len(feed.rows),
        "total_amount_millimes": sum(row["amount_millimes"] for row in feed.rows),
        "complete_until": {channel: instant.isoformat() for channel, instant in feed.until.items()},
        "payments": feed.rows,
    }
    return load_pushed(json.dumps(body).encode(), location="test").counts


# --- What the rules say, in a few lines of Python ------------------------------------------------------


def key(row: dict[str, Any]) -> tuple[str, str]:
    return row["payment_id"], row["invoice_number"]


def said(row: dict[str, Any]) -> tuple[Any, ...]:
    return (
        row["amount_millimes"],
        row["paid_at"],
        row["channel"],
        row["kind"],
        row.get("reverses"),
    )


def is_good(row: dict[str, Any]) -> bool:
    return row["paid_at"] != "yesterday"


def split(feed: Feed) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the rows that are taken, and the numbers of those that are set aside."""
    by_key = defaultdict(set)
    for row in filter(is_good, feed.rows):
        by_key[key(row)].add(said(row))
    taken = [row for row in feed.rows if is_good(row) and len(by_key[key(row)]) == 1]
    return taken, [n for n, row in enumerate(feed.rows, 1) if row not in taken]


def expected(feeds: list[Feed]) -> tuple[Any, ...]:
    versions: dict[tuple[str, str], list[tuple[tuple[datetime, str], tuple[Any, ...]]]] = defaultdict(list)
    for feed in feeds:
        for row in split(feed)[0]:
            versions[key(row)].append(((feed.until[row["channel"]], feed.name), said(row)))
    stands = {one: max(told) for one, told in versions.items()}
    payments = {}
    for (payment_id, invoice), (rank, values) in stands.items():
        counts, outcome = values[0], "counted"
        if values[3] == "reversal":
            counts, outcome = reversed_by(stands, payment_id, invoice)
        others = len({one for _, one in versions[payment_id, invoice]}) - 1
        payments[payment_id, invoice] = (*values, *rank, others, counts, outcome)
    watermarks = {channel: max(feed.until[channel] for feed in feeds) for channel in CHANNELS}
    pending = {(feed.name, n) for feed in feeds for n in split(feed)[1] if not settled(feed, n, stands)}
    return payments, watermarks, pending


def reversed_by(stands: dict, payment_id: str, invoice: str) -> tuple[int, str]:
    named = stands[payment_id, invoice][1][4]
    paid = stands.get((named, invoice))
    if paid is None or paid[1][3] != "payment":
        return 0, "waits_for_payment"
    left = paid[1][0]
    same = sorted(
        (values[1], one, values[0])
        for (one, of), (_, values) in stands.items()
        if of == invoice and values[4] == named
    )
    for _, one, amount in same:
        taken = min(amount, left)
        left -= taken
        if one == payment_id:
            return -taken, "counted" if taken == amount else "exceeds_payment"
    raise AssertionError


def settled(feed: Feed, number: int, stands: dict) -> bool:
    row = feed.rows[number - 1]
    rank = feed.until[row["channel"]], feed.name
    for (payment_id, invoice), (other, _) in stands.items():
        if payment_id != row["payment_id"] or other <= rank:
            continue
        names_none = row["invoice_number"] == "n° 7"
        if invoice == row["invoice_number"] or names_none:
            return True
    return False


def stored() -> tuple[Any, ...]:
    with connect() as connection:
        connection.execute(text("SET timezone = 'UTC'"))
        payments = {
            (row[0], row[1]): (*row[2:3], row[3].isoformat(), *row[4:])
            for row in connection.execute(
                text(
                    "SELECT payment_id, invoice_number, amount_millimes, paid_at, channel, kind, reverses, "
                    "known_until, told_in, revision, counts_millimes, outcome FROM payment"
                )
            )
        }
        watermarks = dict(connection.execute(text("SELECT channel, complete_until FROM watermark")).all())
        pending = {
            tuple(row)
            for row in connection.execute(
                text(
                    "SELECT f.name, s.row_number FROM set_aside_row s JOIN feed f ON f.id = s.feed_id "
                    "WHERE s.settled_at IS NULL"
                )
            )
        }
    return payments, watermarks, pending


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(feeds_in_some_order())
def test_what_stands_is_what_the_rules_say_whatever_the_order_of_arrival(feeds):
    with begin() as connection:
        for table in ("watermark", "feed", "payment", "set_aside_row", "superseded_row"):
            connection.execute(text(f"DELETE FROM {table}"))
    for feed in feeds:
        counts = push(feed)
        assert sum(n for what, n in counts.items() if what != "settled") == len(feed.rows)
    assert stored() == expected(feeds)
    for feed in feeds:
        assert push(feed) == {}, "again, nothing"
