"""Rows of feeds that were set aside and that nobody has settled yet: who they name is not warned meanwhile.

A later good row settles one by itself (see `merging`); everything else is up to a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin
from fatoura.errors import BadInput
from fatoura.sending.doubts import checked_name, checked_reason

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from fatoura.feeds.content import ContentName


class PendingRow(NamedTuple):
    """A row that waits for somebody.

    :param row: in its feed, 1-based; `part_row` in its part, header excluded.
    :param fields: the row as it came.
    """

    feed: str
    row: int
    part: str
    part_row: int
    reasons: list[str]
    fields: dict[str, Any]
    subject: str | None
    invoice_number: str | None
    customer_reference: str | None
    loaded_at: datetime


def pending_rows(connection: Connection, content: ContentName, *, most: int) -> tuple[int, list[PendingRow]]:
    """Return how many rows wait to be settled, and the first of them: those that name nobody first of all.

    Who is meant by those could not be spared; the others are in the order in which they came.
    """
    rows = connection.execute(
        text(
            "SELECT f.name, s.row_number, s.part, s.part_row, s.reasons, s.fields, s.subject, "
            "s.invoice_number, s.customer_reference, f.loaded_at, count(*) OVER () AS total "
            "FROM set_aside_row s JOIN feed f ON f.id = s.feed_id "
            "WHERE s.content = :content AND s.settled_at IS NULL "
            "ORDER BY s.invoice_number IS NULL AND s.customer_reference IS NULL DESC, s.feed_id, "
            "s.row_number LIMIT :most"
        ),
        {"content": content, "most": most},
    ).all()
    return (rows[0].total if rows else 0), [PendingRow(*row[:-1]) for row in rows]


def settle_row(content: ContentName, feed: str, row: int, *, reason: str, by: str) -> None:
    """Settle a row that was set aside: a person has seen to what it says.

    :param reason: in a few words, what became of it.
    :raises BadInput: when there is no such row, it is settled already, or the reason says nothing.
    """
    reason, by = checked_reason(reason), checked_name(by)
    values = {"content": content, "feed": feed, "row": row, "reason": reason, "by": by, "now": clock.now()}
    with begin() as connection:
        found = connection.execute(
            text(
                "SELECT s.settled_at, s.settled_by, s.settlement FROM set_aside_row s "
                "JOIN feed f ON f.id = s.feed_id WHERE f.content = :content AND f.name = :feed "
                "AND s.row_number = :row FOR UPDATE OF s"
            ),
            values,
        ).one_or_none()
        if found is None:
            raise BadInput(f"no row {row} of {content}/{feed} was set aside")
        if found.settled_at is not None:
            raise BadInput(
                f"row {row} of {content}/{feed} was settled by {found.settled_by} already: {found.settlement}"
            )
        connection.execute(
            text(
                "UPDATE set_aside_row s SET settled_at = :now, settled_by = :by, settlement = :reason "
                "FROM feed f WHERE f.id = s.feed_id AND f.content = :content AND f.name = :feed "
                "AND s.row_number = :row"
            ),
            values,
        )
