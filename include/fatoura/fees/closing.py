"""What becomes of fees when a subscription ends, and when one that had lapsed is subscribed again.

Called after each look for feeds and by the monthly run. A contract that has ended ends its subscription. What
is unpaid is asked for no more; of what was paid, the rules say what is given back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.fees.books import Moment, take_off, withdraw
from fatoura.fees.rules import GivenBack
from fatoura.fees.states import OPEN, OWED, listed
from fatoura.subscriptions.leaving import Leaver, leave

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.fees.rules import FeeRules

CONTRACT_ENDED = "contract_ended"


@dataclass(frozen=True)
class Closed:
    """What was closed: subscriptions that ended with their contracts, their charges, what is given back."""

    contracts: int = 0
    subscriptions: int = 0
    withdrawn: int = 0
    given_back: int = 0
    given_back_millimes: int = 0
    subscribed_again: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """What a log or a record holds: what is not nought."""
        return {name: count for name, count in vars(self).items() if count}


# A fact about one invoice says nothing of the contract.
_ENDED_CONTRACTS = """
SELECT s.customer_reference, 'fact ' || f.fact_id AS evidence, f.valid_from AS ended_on
FROM account_fact f JOIN subscription s ON s.customer_reference = f.customer_reference AND s.state <> 'ended'
WHERE f.fact = 'contract_ended' AND f.invoice_number IS NULL AND f.valid_from <= :day
    AND (f.valid_until IS NULL OR f.valid_until >= :day)
UNION ALL
SELECT s.customer_reference, 'customers ' || c.told_in, NULL
FROM customer c JOIN subscription s ON s.customer_reference = c.customer_reference AND s.state <> 'ended'
WHERE c.contract = 'closed'
"""


def end_contracts(connection: Connection, moment: Moment) -> int:
    """End the subscriptions of contracts that have ended; return how many."""
    told = connection.execute(text(_ENDED_CONTRACTS), {"day": moment.day})
    leavers = [Leaver(row.customer_reference, row.evidence, moment.by, row.ended_on) for row in told]
    if not leavers:
        return 0
    return len(leave(connection, leavers, channel="utility", reason=CONTRACT_ENDED).ended)


# A contract may have ended before anybody said so: the months count from there.
_ENDED = f"""
CREATE TEMPORARY TABLE fee_ended ON COMMIT DROP AS
SELECT s.id, s.state_reason, least(CAST(s.ended_at AT TIME ZONE :zone AS date), CAST(:day AS date), (
    SELECT min(f.valid_from) FROM account_fact f
    WHERE s.state_reason = '{CONTRACT_ENDED}' AND f.customer_reference = s.customer_reference
        AND f.fact = 'contract_ended' AND f.invoice_number IS NULL
        AND f.valid_from <= :day AND (f.valid_until IS NULL OR f.valid_until >= :day)
)) AS ended_on
FROM subscription s WHERE s.state = 'ended' AND s.began_on IS NOT NULL AND s.fees_closed_on IS NULL
"""
_UNPAID = f"""
SELECT c.id AS charge_id, coalesce(e.state_reason, 'ended') AS because
FROM fee_charge c JOIN fee_ended e ON e.id = c.subscription_id
WHERE c.state IN ({listed(OPEN | OWED)})
"""
# Months begin on the day of the month on which the year began. A month that has begun is used. What is left
# of a millime is the customer's.
_UNUSED = """
SELECT c.id AS charge_id, coalesce(e.state_reason, 'ended') AS because,
    CASE rule.given_back WHEN 'everything' THEN kept.millimes
        WHEN 'unused_months' THEN (kept.millimes * unused.months + 11) / 12 ELSE 0 END AS millimes
FROM fee_ended e
JOIN fee_charge c ON c.subscription_id = e.id AND c.state = 'paid'
JOIN unnest(CAST(:ends AS text[]), CAST(:rules AS text[])) AS rule (ends, given_back)
    ON rule.ends = e.state_reason
CROSS JOIN LATERAL (
    SELECT c.paid_millimes - c.owed_back_millimes - c.given_back_millimes AS millimes
) kept
CROSS JOIN LATERAL (
    SELECT count(*) AS months FROM generate_series(0, 11) month
    WHERE CAST(c.covered_from + make_interval(months => month) AS date) > e.ended_on
) unused
WHERE c.covered_until > e.ended_on
"""
_CLOSE = """
UPDATE subscription s SET fees_closed_on = :day FROM fee_ended e WHERE s.id = e.id
"""

# Somebody has subscribed again: what it lapsed for is asked for no more, and its years count from now on.
_AGAIN = f"""
SELECT c.id AS charge_id, 'subscribed_again' AS because
FROM fee_charge c JOIN subscription s ON s.id = c.subscription_id
WHERE c.state IN ({listed(OWED)}) AND c.lapsed_on IS NOT NULL AND s.state IN ('active', 'suspended')
"""
_BEGIN_AGAIN = f"""
UPDATE subscription s SET began_on = :day, paid_until = CAST(:day AS date) - 1, free_because = NULL
FROM ({_AGAIN}) again JOIN fee_charge c ON c.id = again.charge_id
WHERE s.id = c.subscription_id
"""


def take_up_again(connection: Connection, moment: Moment) -> int:
    """Let the years begin anew of what had lapsed and was subscribed again; return how many subscriptions."""
    again = connection.execute(text(_BEGIN_AGAIN), moment.values).rowcount
    withdraw(connection, _AGAIN, moment)
    return again


def close_ended(connection: Connection, moment: Moment, rules: FeeRules) -> Closed:
    """Close the charges of subscriptions that have ended since the last time."""
    contracts = end_contracts(connection, moment)
    connection.execute(text("DROP TABLE IF EXISTS fee_ended"))
    ended = connection.execute(text(_ENDED), {"zone": clock.zone().key, "day": moment.day}).rowcount
    if not ended:
        return Closed(contracts)
    withdrawn = withdraw(connection, _UNPAID, moment)
    given_back, millimes = take_off(
        connection,
        _UNUSED,
        moment,
        ends=list(rules.at_the_end),
        rules=[GivenBack(one).value for one in rules.at_the_end.values()],
    )
    connection.execute(text(_CLOSE), {"day": moment.day})
    return Closed(contracts, ended, withdrawn, given_back, millimes)
