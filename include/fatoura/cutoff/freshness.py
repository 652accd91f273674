"""Whether the payments are known up to now: the gate before anybody is warned, or a team is sent.

Called by the workflows before they decide. A channel that was never heard of is as stale as one can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.cutoff.rules import Channel, Version, rules_on
from fatoura.database import connect
from fatoura.errors import NeedsAPerson
from fatoura.feeds.refused import standing_refusals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


FACTS = "facts"
"""The content of feeds of account facts."""


class FeedStale(NeedsAPerson):
    """Payments of a channel are not known up to when they have to be: nobody is warned on such ground."""


@dataclass(frozen=True)
class Freshness:
    """Up to when one channel's payments are known, and up to when they have to be.

    :param complete_until: null: no feed has ever told.
    """

    channel: Channel
    complete_until: datetime | None
    needed: datetime

    @property
    def is_stale(self) -> bool:
        """Whether it is too old."""
        return self.complete_until is None or self.complete_until < self.needed

    def __str__(self) -> str:
        """Return it as a clause for a person."""
        known = (
            f"complete until {_local(self.complete_until)}"
            if self.complete_until
            else "never told by any feed"
        )
        return f"{self.channel} is {known}, needed until {_local(self.needed)}"


def freshness(connection: Connection, rules: Version) -> list[Freshness]:
    """Return how fresh each channel is, for warnings."""
    now = clock.now()
    return [
        Freshness(channel, known, now - timedelta(hours=rules.fresh_within_hours[channel]))
        for channel, known in _known(connection)
    ]


def freshness_of_morning(connection: Connection, rules: Version) -> list[Freshness]:
    """Return how fresh each channel is, for lists that send people out this day."""
    needed = datetime.combine(clock.today(), rules.hand_over_complete_from, clock.zone())
    return [Freshness(channel, known, needed) for channel, known in _known(connection)]


def check_freshness() -> None:
    """Insist that all channels are fresh enough to warn.

    :raises FeedStale: names each channel that is not.
    """
    with connect() as connection:
        insist(connection, freshness(connection, rules_on(clock.today())), "nobody is warned")


def is_at_stake() -> bool:
    """Tell whether a feed that is missing keeps anybody from a message.

    Not where none has ever come and no case is due yet: before payments are connected there is no alarm.
    """
    day = clock.today()
    ahead = max((step.days_before_due or 0 for step in rules_on(day).steps_in_force), default=0)
    with connect() as connection:
        found: bool = connection.scalar(
            text(
                "SELECT EXISTS (SELECT FROM watermark) OR EXISTS (SELECT FROM cutoff_case "
                "WHERE state = 'scheduled' AND due_date <= CAST(:day AS date) + CAST(:ahead AS int))"
            ),
            {"day": day, "ahead": ahead},
        )
    return found


def refused_facts(connection: Connection) -> list[str]:
    """Return the names of the feeds of account facts that lie in the landing folder and were refused.

    What they say is not known: it may protect a customer.
    """
    return [one.name for one in standing_refusals(connection) if one.content == FACTS]


def insist(connection: Connection, channels: list[Freshness], consequence: str) -> None:
    """Insist that all channels are fresh, and that no facts of accounts have been told and not understood.

    :param consequence: what does not happen otherwise, in words.
    :raises FeedStale: names each channel, or each feed, that is not.
    """
    if refused := refused_facts(connection):
        raise FeedStale(
            f"{consequence}: what is known of accounts is not complete. Refused, and still in the landing "
            f"folder: {', '.join(refused)} (`fatoura payments refused` says why). Have each taken away, or a "
            "good one put into its place, then clear this task"
        )
    if stale := [channel for channel in channels if channel.is_stale]:
        raise FeedStale(
            f"{consequence}: the payments are not known up to now. {'; '.join(map(str, stale))}. Have "
            "the feed delivered (`fatoura payments watermarks` shows where it stands), then clear this task"
        )


def watermarks_document(channels: list[Freshness]) -> dict[str, str | None]:
    """Return the watermarks as a JSON object, for records."""
    return {
        one.channel.value: one.complete_until.isoformat() if one.complete_until else None for one in channels
    }


def _known(connection: Connection) -> Iterator[tuple[Channel, datetime | None]]:
    told: dict[str, datetime] = dict(
        connection.execute(text("SELECT channel, complete_until FROM watermark")).all()
    )
    return ((channel, told.get(channel.value)) for channel in Channel)


def _local(instant: datetime) -> str:
    return f"{instant.astimezone(clock.zone()):%Y-%m-%d %H:%M}"
