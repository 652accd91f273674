"""Up to when the payments of each channel are complete. Read by whoever warns, before he warns anybody.

A watermark moves forward only, and not past a feed that lies in the landing folder and is refused: what is in
that feed is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from fatoura.feeds.content import NewFeed

_ADVANCE = """
INSERT INTO watermark (channel, complete_until, feed_id)
SELECT DISTINCT ON (said.channel) said.channel, CAST(said.instant AS timestamptz), f.id
FROM feed f, jsonb_each_text(f.manifest -> 'complete_until') AS said (channel, instant)
WHERE f.content = 'payments' AND {which} AND NOT EXISTS (
    SELECT FROM feed_refusal r WHERE r.content = 'payments'
    AND (r.channels IS NULL OR said.channel = ANY(r.channels)))
ORDER BY said.channel, CAST(said.instant AS timestamptz) DESC, f.id
ON CONFLICT (channel) DO UPDATE SET complete_until = excluded.complete_until, feed_id = excluded.feed_id
WHERE watermark.complete_until < excluded.complete_until
"""


def watermarks(connection: Connection) -> dict[str, datetime]:
    """Return, by channel, the instant before which all its payments are in the database.

    A channel of which no feed has said anything is not among them.
    """
    rows = connection.execute(text("SELECT channel, complete_until FROM watermark ORDER BY channel"))
    return {row.channel: row.complete_until for row in rows}


def advance(connection: Connection, feed: NewFeed) -> None:
    """Move the watermarks to where a feed says that they are, but for channels of which a feed is refused."""
    connection.execute(text(_ADVANCE.format(which="f.id = :feed")), {"feed": feed.id})


def advance_all(connection: Connection) -> None:
    """Move the watermarks to where any feed said that they are: a refused feed was taken away."""
    connection.execute(text(_ADVANCE.format(which="true")))
