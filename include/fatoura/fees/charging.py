"""Charges what was announced, once a subscription and year; and lets years pass that are free.

Called by the monthly run. Nobody is charged whose announcement has not left, or left only just now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura.fees.books import BOOK, BOOKED_AT, BOOKED_BY, RENEW, charge_id
from fatoura.fees.states import Account
from fatoura.fees.waiving import apply_waivers
from fatoura.fees.years import IN_MONTH, gather_due_years

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection

    from fatoura.fees.books import Moment
    from fatoura.fees.rules import FeeRules

ANNOUNCEMENT = "fee_announced"

_CHARGE = f"""
WITH charged AS (
    UPDATE fee_charge c
    SET state = 'due', owed_millimes = c.amount_millimes, charged_on = :day, state_since = :now
    FROM subscription s
    WHERE c.state = 'announced' AND c.announced_on <= CAST(:day AS date) - CAST(:announced_for AS int)
        AND c.period_start <= CAST(:day AS date) + CAST(:ahead AS int) AND {IN_MONTH.format("c.period_start")}
        AND s.id = c.subscription_id AND s.state = 'active'
        AND EXISTS (
            SELECT FROM notice n
            WHERE n.kind = '{ANNOUNCEMENT}' AND n.subject = {charge_id()}
                AND n.state NOT IN ('planned', 'cancelled')
        )
    RETURNING c.id, c.subscription_id, c.amount_millimes
), booked AS (
    {BOOK}
    SELECT id, subscription_id, {BOOKED_AT}, '{Account.RECEIVABLE}', '{Account.INCOME}', amount_millimes,
        'charged', {BOOKED_BY}
    FROM charged ORDER BY id
)
SELECT count(*), coalesce(sum(amount_millimes), 0) FROM charged
"""

# A free year is charged and waived at once: what the service forgoes stands in its books.
_LET_PASS = f"""
WITH covering AS (
    INSERT INTO fee_charge (subscription_id, customer_reference, period_start, period_end, amount_millimes,
        rules_version, state, because, state_since, charged_on, covered_from, covered_until)
    SELECT subscription_id, customer_reference, period_start, period_end, millimes, version, 'waived', free,
        :now, :day, period_start, period_end
    FROM fee_year
    WHERE free IS NOT NULL AND period_start <= CAST(:day AS date) + CAST(:ahead AS int)
    ORDER BY subscription_id
    ON CONFLICT (subscription_id, period_start) DO NOTHING
    RETURNING id, subscription_id, period_start, amount_millimes, because AS free, covered_from, covered_until
), booked AS (
    {BOOK}
    SELECT covering.id, subscription_id, {BOOKED_AT}, line.debit, line.credit, amount_millimes, line.because,
        {BOOKED_BY}
    FROM covering CROSS JOIN LATERAL (VALUES
        (1, '{Account.RECEIVABLE}', '{Account.INCOME}', 'charged'),
        (2, '{Account.WAIVED}', '{Account.RECEIVABLE}', free)
    ) line (number, debit, credit, because)
    ORDER BY covering.id, line.number
), renewed AS (
    {RENEW}
)
SELECT count(*) FROM covering
"""
_MOVE = """
UPDATE subscription s SET began_on = y.anchor
FROM fee_year y
WHERE y.moves AND y.free IS NOT NULL AND y.period_start <= CAST(:day AS date) + CAST(:ahead AS int)
    AND s.id = y.subscription_id
"""


def charge_years(
    connection: Connection, moment: Moment, rules: FeeRules, *, month: date | None = None
) -> dict[str, int]:
    """Charge what was announced long enough ago, and waive the years that are free; return counts.

    :param month: only years that begin in this one; none: all.
    """
    waived = apply_waivers(connection, moment, rules)
    values = {
        **moment.values,
        "month": month,
        "ahead": rules.charge_days_ahead,
        "announced_for": rules.announced_for_days,
    }
    charged, millimes = connection.execute(text(_CHARGE), values).one()
    gather_due_years(connection, moment.day, rules, month=month)
    connection.execute(text(_MOVE), values)
    passed = connection.execute(text(_LET_PASS), values).scalar_one()
    return {"charged": charged, "charged_millimes": int(millimes), "waived": waived + int(passed)}
