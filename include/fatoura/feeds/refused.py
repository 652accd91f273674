"""Feeds in the landing folder that are refused as a whole: remembered for as long as they lie there.

Something is missing while one does, so the contents hold back what they say of being complete. Who delivers
takes the folder away, or puts a good feed into it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection

    from fatoura.feeds.content import Content


class Refusal(NamedTuple):
    """A feed that was refused at a look.

    :param channels: that its payments are of; none when that cannot be told.
    """

    name: str
    location: str
    problems: tuple[str, ...]
    channels: tuple[str, ...] | None = None


class StandingRefusal(NamedTuple):
    """A refused feed that lies there still."""

    content: str
    name: str
    location: str
    problems: list[str]
    channels: list[str] | None
    first_refused_at: datetime
    refused_at: datetime


def standing_refusals(connection: Connection) -> list[StandingRefusal]:
    """Return the refused feeds that lay in the landing folder at the last look."""
    found = connection.execute(
        text(
            "SELECT content, name, location, problems, channels, first_refused_at, refused_at "
            "FROM feed_refusal ORDER BY content DESC, name"
        )
    )
    return [StandingRefusal(*row) for row in found]


def remember_refusal(content: Content[Any], refusal: Refusal) -> None:
    """Write down that a look refused a feed: before anything else is loaded, for it holds that back."""
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO feed_refusal (content, name, location, problems, channels, "
                "first_refused_at, refused_at) "
                "VALUES (:content, :name, :location, :problems, :channels, :now, :now) "
                "ON CONFLICT (content, name) DO UPDATE SET location = excluded.location, "
                "problems = excluded.problems, channels = excluded.channels, "
                "refused_at = excluded.refused_at"
            ),
            {
                "content": content.name,
                "name": refusal.name,
                "location": refusal.location,
                "problems": list(refusal.problems),
                "channels": None if refusal.channels is None else list(refusal.channels),
                "now": clock.now(),
            },
        )


def forget_all_but(content: Content[Any], names: Collection[str]) -> None:
    """Forget the refused feeds that do not lie there any more.

    :param names: of those that a look has just refused.
    """
    with begin() as connection:
        gone = connection.execute(
            text("DELETE FROM feed_refusal WHERE content = :content AND NOT name = ANY(:names)"),
            {"content": content.name, "names": list(names)},
        ).rowcount
        if gone:
            content.freed(connection)


def forget_refusal(connection: Connection, content: Content[Any], name: str) -> None:
    """Forget that a feed was refused: it is loaded now."""
    forgotten = connection.execute(
        text("DELETE FROM feed_refusal WHERE content = :content AND name = :name"),
        {"content": content.name, "name": name},
    ).rowcount
    if forgotten:
        content.freed(connection)
