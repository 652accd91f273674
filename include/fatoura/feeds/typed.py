"""Names of feeds that people tell by command: each sorts after all files, and all commands before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect
from fatoura.feeds.names import name_at

if TYPE_CHECKING:
    from fatoura.feeds.content import ContentName

_STEP = timedelta(microseconds=1)


def next_typed_name(content: ContentName) -> str:
    """Return a name that sorts after those of all commands before, also of a machine with another clock."""
    with connect() as connection:
        last = connection.scalar(
            text("SELECT max(name COLLATE \"C\") FROM feed WHERE content = :content AND source = 'command'"),
            {"content": content},
        )
    now = clock.now().astimezone(UTC)
    if last is not None:
        before = datetime.strptime(last, "~%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
        now = max(now, before + _STEP)
    return name_at(now)
