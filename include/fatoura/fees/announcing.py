"""Announces years: what each costs, from which day on. Nothing is owed by it. Called by the monthly run.

A year is announced once. Whose message could not leave is told anew (`telling`), and charged later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura.fees.books import withdraw
from fatoura.fees.years import gather_due_years

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection

    from fatoura.fees.books import Moment
    from fatoura.fees.rules import FeeRules

# Of who was suspended meanwhile: the year has gone by.
_OUTDATED = """
SELECT c.id AS charge_id, 'outdated' AS because
FROM fee_charge c JOIN subscription s ON s.id = c.subscription_id
WHERE c.state = 'announced' AND c.period_start < CAST(:day AS date) - CAST(:back_dated AS int)
    AND s.state = 'active'
"""
_MOVE = """
UPDATE subscription s SET began_on = y.anchor
FROM fee_year y WHERE y.moves AND y.free IS NULL AND s.id = y.subscription_id
"""
_ANNOUNCE = """
INSERT INTO fee_charge (subscription_id, customer_reference, period_start, period_end, amount_millimes,
    rules_version, state_since, announced_on)
SELECT subscription_id, customer_reference, period_start, period_end, millimes, version, :now, :day
FROM fee_year WHERE free IS NULL
ORDER BY subscription_id
ON CONFLICT (subscription_id, period_start) DO NOTHING
"""


def announce_years(
    connection: Connection, moment: Moment, rules: FeeRules, *, month: date | None = None
) -> dict[str, int]:
    """Announce the years that begin soon, of subscriptions with no charge that is open; return counts.

    :param month: only years that begin in this one; none: all.
    """
    outdated = withdraw(connection, _OUTDATED, moment, back_dated=rules.back_dated_days)
    gather_due_years(connection, moment.day, rules, month=month)
    moved = connection.execute(text(_MOVE)).rowcount
    announced = connection.execute(text(_ANNOUNCE), moment.values).rowcount
    return {"announced": announced, "counted_anew": moved, "outdated": outdated}
