"""The manifest of payments: beside what every feed says, the control total, and up to when it is complete."""

from __future__ import annotations

from collections.abc import Iterator  # noqa: TC003 - pydantic reads it
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_serializer

from fatoura import clock
from fatoura.cutoff.rules import Channel
from fatoura.feeds.manifest import FeedManifest
from fatoura.feeds.values import InstantError, read_instant
from fatoura.manifests import Part  # noqa: TC001 - pydantic reads it

CLOCKS_DIFFER = timedelta(minutes=15)
"""How far the clock of who delivers may be ahead of ours. Nobody knows of payments still to be made."""

FORM = (
    '{"feed": "2026-06-29-0600", "rows": 2, "total_amount_millimes": 97852, '
    '"parts": [{"name": "payments.csv", "rows": 2, "sha256": "…"}], '
    '"complete_until": {"counter": "2026-06-29T05:00:00+01:00", "post": "2026-06-28T18:00:00+01:00"}}'
)


def _channel(value: Any) -> Channel:
    try:
        return Channel(value)
    except ValueError:
        raise ValueError(f"is not a channel; they are {', '.join(Channel)}") from None


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return read_instant(value if isinstance(value, str) else "")
    except InstantError:
        raise ValueError('is not a time with offset such as "2026-06-29T05:00:00+01:00"') from None


class PaymentsManifest(FeedManifest):
    """What a feed of payments says of itself.

    :ivar total_amount_millimes: sum over the rows whose amount reads as an integer, reversals added as well.
    :ivar complete_until: by channel, the instant before which all its payments are in this feed or in one
        that was delivered before it. Channels that it does not name stay as they are.
    """

    total_amount_millimes: int
    complete_until: Annotated[
        dict[
            Annotated[Channel, BeforeValidator(_channel)],
            Annotated[datetime, BeforeValidator(_instant)],
        ],
        Field(strict=False),
    ]

    @field_serializer("complete_until", when_used="json")
    def _in_utc(self, value: dict[Channel, datetime]) -> dict[str, str]:
        return {channel.value: instant.isoformat() for channel, instant in sorted(value.items())}

    def said(self) -> Iterator[str]:
        """Yield what counts for the sameness beside the parts."""
        yield from super().said()
        yield str(self.total_amount_millimes)
        for channel, instant in sorted(self.complete_until.items()):
            yield f"{channel} {instant.isoformat()}"

    def problems(self) -> Iterator[str]:
        """Yield what is wrong about a manifest of the right form, a sentence each."""
        if not self.complete_until:
            yield "complete_until names no channel"
        latest = clock.now() + CLOCKS_DIFFER
        for channel, instant in sorted(self.complete_until.items()):
            if instant > latest:
                yield (
                    f"complete_until.{channel} is {instant.isoformat()}, which lies in the future; "
                    "nobody can be complete until then: correct it"
                )

    def completed(self, parts: tuple[Part, ...], total: int) -> Self:
        """Return it with the parts that were read, and the sum of their amounts."""
        return self.model_copy(update={"parts": parts, "total_amount_millimes": total})

    @property
    def declared_total(self) -> int | None:
        """The control total of amounts, in millimes."""
        return self.total_amount_millimes
