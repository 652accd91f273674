"""Lets subscriptions lapse whose fee was not paid when the grace is over. Called by the monthly run.

A lapsed subscription gets no new bills; what it was told of is still warned about. Nobody lapses for a charge
that the billing system has not taken on, nor as long as it is not known whether a payment is under way:
before the billing system has said that its answers are complete beyond the grace, while a feed of them is
refused, or while an answer about the charge waits for somebody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.fees.books import charge_id
from fatoura.fees.states import LAPSES, listed

if TYPE_CHECKING:
    from datetime import date, datetime

    from sqlalchemy import Connection

    from fatoura.fees.books import Moment

_KNOWN_UNTIL = """
SELECT max(CAST(manifest ->> 'complete_until' AS timestamptz)) FROM feed WHERE content = 'fee_results'
"""
_REFUSED = "SELECT EXISTS (SELECT FROM feed_refusal WHERE content = 'fee_results')"

UNDECIDED = f"""(
    EXISTS (
        SELECT FROM fee_result r
        WHERE r.charge_id = {charge_id()} AND r.finding IS NOT NULL AND r.settled_at IS NULL
    ) OR EXISTS (
        SELECT FROM set_aside_row w
        WHERE w.content = 'fee_results' AND w.subject = {charge_id()} AND w.settled_at IS NULL
    )
)"""
"""Whether an answer about a charge `c` waits for somebody."""

_LAPSE = f"""
WITH over AS (
    SELECT c.id, c.subscription_id, c.state
    FROM fee_charge c JOIN subscription s ON s.id = c.subscription_id
    WHERE c.state IN ({listed(LAPSES)}) AND c.lapsed_on IS NULL AND s.state = 'active'
        AND c.grace_until < least(CAST(:day AS date), CAST(:known AS date)) AND NOT {UNDECIDED}
    ORDER BY s.id FOR NO KEY UPDATE OF s
), lapsed AS (
    UPDATE subscription s
    SET state = 'lapsed', changed_at = :now,
        state_reason = CASE WHEN over.state = 'refused' THEN 'fee_refused' ELSE 'fee_unpaid' END
    FROM over WHERE s.id = over.subscription_id AND s.state = 'active'
    RETURNING s.id
), marked AS (
    UPDATE fee_charge c SET lapsed_on = :day
    FROM over JOIN lapsed ON lapsed.id = over.subscription_id
    WHERE c.id = over.id
)
SELECT count(*) FROM lapsed
"""


def results_known_until(connection: Connection) -> datetime | None:
    """Return up to when the billing system's answers are complete; nothing where it has never answered."""
    known: datetime | None = connection.scalar(text(_KNOWN_UNTIL))
    return known


def known_day(connection: Connection) -> date | None:
    """Return the local day up to whose beginning all answers are known; none while a feed is refused."""
    known = results_known_until(connection)
    if known is None or connection.scalar(text(_REFUSED)):
        return None
    return known.astimezone(clock.zone()).date()


def lapse(connection: Connection, moment: Moment) -> int:
    """Let lapse what is unpaid after its grace; return how many subscriptions."""
    known = known_day(connection)
    if known is None:
        return 0
    return int(connection.execute(text(_LAPSE), {**moment.values, "known": known}).scalar_one())
