"""Departures as a content of feeds: who is named in one leaves in the transaction that loads it.

Taken by each look for feeds. A customer who has signed again after the day of asking stays: that consent is
the later word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.database import lock
from fatoura.departures.records import COLUMNS, FORM, TYPED, DeparturesManifest, row_check
from fatoura.feeds.content import Content
from fatoura.subscriptions.importing import LOCK
from fatoura.subscriptions.leaving import Leaver, leave

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.feeds.content import NewFeed

# The latest word of each customer; one that is corrected to another customer is judged again.
_TOLD = """
SELECT DISTINCT ON (d.customer_reference) d.customer_reference, d.departure_id, d.told_by, d.asked_on
FROM departure d
LEFT JOIN subscription s ON s.customer_reference = d.customer_reference AND s.state <> 'ended'
WHERE d.feed_id = :feed AND d.outcome IS NULL AND s.consent_date <= d.asked_on
ORDER BY d.customer_reference, d.asked_on DESC, d.departure_id
"""
_CONCLUDE = """
UPDATE departure d SET
    outcome = CASE WHEN ended.subscription_id IS NOT NULL THEN 'left'
        WHEN s.id IS NOT NULL THEN 'signed_again' ELSE 'not_subscribed' END,
    subscription_id = ended.subscription_id,
    applied_at = :now
FROM departure one
LEFT JOIN unnest(CAST(:references AS text[]), CAST(:subscriptions AS bigint[]))
    AS ended (customer_reference, subscription_id) USING (customer_reference)
LEFT JOIN subscription s ON s.customer_reference = one.customer_reference AND s.state <> 'ended'
WHERE one.feed_id = :feed AND one.outcome IS NULL AND d.departure_id = one.departure_id
"""


def _let_them_leave(connection: Connection, feed: NewFeed) -> None:
    # Whoever changes many subscriptions at once does so alone: none waits for another in a circle.
    lock(connection, LOCK)
    told = connection.execute(text(_TOLD), {"feed": feed.id}).all()
    leavers = [
        Leaver(row.customer_reference, f"departure {row.departure_id}", row.told_by, row.asked_on)
        for row in told
    ]
    ended = leave(connection, leavers, channel="clerk").ended
    connection.execute(
        text(_CONCLUDE),
        {
            "feed": feed.id,
            "references": list(ended),
            "subscriptions": list(ended.values()),
            "now": clock.now(),
        },
    )


DEPARTURES = Content(
    name="departures",
    folder="departures",
    columns=COLUMNS,
    amounts=None,
    manifest=DeparturesManifest,
    form=FORM,
    check=row_check,
    table="departure",
    typed=TYPED,
    key=("departure_id",),
    values=("customer_reference", "asked_on", "told_by", "reason"),
    rank=("told_in",),
    extras={"outcome": "NULL"},
    bears_on_warnings=False,
    settles='t.told_in COLLATE "C" > f.name COLLATE "C"',
    after=_let_them_leave,
)
