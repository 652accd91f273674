"""How often something may be asked for: by phone, reference, address, and by everybody together.

The counts lie in the database, so that they outlast a restart and hold over several processes; of whom they
are is kept as a keyed hash only. Called where a code or a departure is asked for.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Literal

from sqlalchemy import text

from fatoura import clock
from fatoura.settings import get_settings
from fatoura.site.keys import keyed

if TYPE_CHECKING:
    from sqlalchemy import Connection

What = Literal["phone", "reference", "address", "all"]
Span = Literal["hour", "day"]

_SPANS: dict[str, Span] = {"h": "hour", "d": "day"}
_KEPT = timedelta(days=2)

_COUNT = text(
    """
    INSERT INTO site_count (what, subject, span, began, asked)
    SELECT what, subject, span, began, 1 FROM unnest(
        CAST(:whats AS text[]), CAST(:subjects AS text[]), CAST(:spans AS text[]),
        CAST(:begun AS timestamptz[])
    ) AS asked (what, subject, span, began)
    -- In one order: two who ask at once never wait for each other in a circle.
    ORDER BY what, subject, span
    ON CONFLICT (what, subject, span, began) DO UPDATE SET asked = site_count.asked + 1
    RETURNING what, span, asked
    """
)


def limits_of(what: What) -> dict[Span, int]:
    """Return how many may be asked for in each span."""
    written: str = getattr(get_settings(), f"site_limit_{what}")
    return {_SPANS[unit]: int(most) for most, _, unit in (part.partition("/") for part in written.split(","))}


def network_of(address: str) -> str:
    """Return what of an address one line has to itself: of IPv6 the first 64 bits."""
    try:
        read = ip_address(address)
    except ValueError:
        return address
    if isinstance(read, IPv6Address):
        if read.ipv4_mapped is not None:
            return str(read.ipv4_mapped)
        return f"{read.exploded[:19]}::/64"
    return str(read)


def count(connection: Connection, subjects: dict[What, str]) -> What | None:
    """Count one more of each; return what is beyond its limit now, if anything is.

    :param subjects: a phone, a reference, an address; of everybody an empty text.
    """
    now = clock.now()
    rows = [
        (what, keyed("count", what, subject), span, _began(now, span))
        for what, subject in subjects.items()
        for span in limits_of(what)
    ]
    whats, hashes, spans, begun = (list(column) for column in zip(*rows, strict=True))
    found = connection.execute(
        _COUNT, {"whats": whats, "subjects": hashes, "spans": spans, "begun": begun}
    ).all()
    beyond = {row.what for row in found if row.asked > limits_of(row.what)[row.span]}
    # What the person in front of the screen can do something about is told first.
    order: tuple[What, ...] = ("phone", "reference", "address", "all")
    return next((what for what in order if what in beyond), None)


def prune(connection: Connection) -> int:
    """Forget what no limit asks for any more; return how many counts that were."""
    return connection.execute(
        text("DELETE FROM site_count WHERE began < :before"), {"before": clock.now() - _KEPT}
    ).rowcount


def _began(now: datetime, span: Span) -> datetime:
    if span == "hour":
        return now.replace(minute=0, second=0, microsecond=0)
    local = now.astimezone(clock.zone())
    return local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
