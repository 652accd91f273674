"""What a cycle's sending waits for: nothing, the window, a back-off, another sender, or a doubt.

Asked by the sender before it gives up its worker, and by the trigger that waits in its stead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.sending.claims import REPEATABLE, SHORTEST_VALIDITY, repeatable_values
from fatoura.settings import get_settings

# A message is handed over only while the window stays open this much longer: its validity period counts
# in minutes, and the provider needs some of them to deliver it.
CLOSING_MARGIN = timedelta(minutes=5)


class Wait(StrEnum):
    """Why a cycle's sending does not go on at once."""

    NOTHING = "nothing"  # there is work now
    DONE = "done"  # there is no more work
    WINDOW = "window"
    BACK_OFF = "back-off"
    OTHERS = "other senders"
    DOUBT = "doubt"


@dataclass(frozen=True)
class Outlook:
    """What comes next for a cycle's sending, and when to look again (UTC; null when done or at once)."""

    wait: Wait
    until: datetime | None = None


def window_closes(connection: Connection, *, takes_validity: bool = True) -> datetime | None:
    """Return when the window that is open now closes for sending, or nothing when it is closed.

    :param takes_validity: whether the provider takes a validity period with each message. Without one
        nothing but time keeps it from delivering at night.
    """
    calendar, now = load_calendar(connection), clock.now()
    if not calendar.is_open(now):
        return None
    margin = CLOSING_MARGIN if takes_validity else get_settings().no_validity_margin
    closes = calendar.closing(now) - margin
    return closes if closes >= now + SHORTEST_VALIDITY else None


def is_all_said(connection: Connection, cycle_id: int) -> bool:
    """Tell whether no notice of a cycle can concern a sender any more, not even to be cancelled."""
    return not connection.scalar(
        text(
            "SELECT EXISTS (SELECT FROM notice "
            "WHERE cycle_id = :cycle AND state IN ('planned', 'sending', 'in_doubt'))"
        ),
        {"cycle": cycle_id},
    )


def sending_outlook(connection: Connection, cycle_id: int) -> Outlook:
    """Tell what a cycle's sending waits for. Looks only at this cycle; changes nothing."""
    settings, now = get_settings(), clock.now()
    row = connection.execute(
        text(
            f"""
            SELECT
                count(*) FILTER (WHERE state = 'planned' AND send_until >= :still) AS planned,
                min(greatest(send_from, coalesce(retry_at, send_from)))
                    FILTER (WHERE state = 'planned' AND send_until >= :still) AS ready_at,
                count(*) FILTER (WHERE state = 'sending') AS sending,
                bool_or(state = 'sending' AND lease_until < clock_timestamp()) AS orphaned,
                min(coalesce(retry_at, submitted_at + CAST(:horizon AS interval)))
                    FILTER (WHERE {REPEATABLE} AND send_until >= :still) AS doubt_until
            FROM notice WHERE cycle_id = :cycle AND state IN ('planned', 'sending', 'in_doubt')
            """
        ),
        {
            "cycle": cycle_id,
            "now": now,
            "still": now + SHORTEST_VALIDITY,
            "horizon": settings.doubt_horizon,
            **repeatable_values(),
        },
    ).one()
    if row.orphaned:
        return Outlook(Wait.NOTHING)  # claims of a sender that is gone: the next one puts them into doubt
    waits: list[tuple[datetime, Wait]] = []
    if row.planned:
        waits.append((row.ready_at, Wait.BACK_OFF))
    if row.doubt_until is not None:
        waits.append((row.doubt_until, Wait.DOUBT))
    if row.sending:
        # Others report their outcomes any moment; their leases are by the machine's clock, not the moved one.
        waits.append((now + timedelta(seconds=5), Wait.OTHERS))
    if not waits:
        return Outlook(Wait.DONE)
    until, why = min(waits)
    if why is Wait.OTHERS:
        return Outlook(why, until)
    calendar = load_calendar(connection)
    # As long as one gateway may be used, it takes the others' messages too.
    validity: bool | None = connection.scalar(
        text("SELECT bool_or(CAST(capabilities ->> 'validity' AS boolean)) FROM gateway WHERE in_use")
    )
    if window_closes(connection, takes_validity=validity is not False) is None:
        after = now if not calendar.is_open(now) else calendar.closing(now)
        opening = calendar.next_opening(max(until, after))
        return Outlook(Wait.WINDOW, opening)
    if until <= now:
        return Outlook(Wait.NOTHING)
    return Outlook(why, until)
