"""Whether a subscription's number works: proven by what was delivered to it, suspended by what was not.

Called once a cycle's receipts are in, and by whoever gives a subscription another number. A number that does
not work is a customer who believes to be told and is not: it goes on a list for clerks.
"""

from __future__ import annotations

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin

UNREACHABLE = "number_unreachable"
"""Why a subscription is suspended whose number does not work."""

TAKEN_BACK = "number_taken_back"
"""Why one is suspended whose coupon with that number was crossed out, while an older consent stands."""

WITHOUT_NUMBER = (UNREACHABLE, TAKEN_BACK)
"""Reasons that another number puts an end to."""


def with_number(phone: str, *, also: str = "false") -> str:
    """Return what follows for a subscription `u` from a number, as assignments of an UPDATE.

    Another number than the one that stands is not proven yet, and takes up what rested for its number's sake.

    :param phone: the number as stored, as SQL.
    :param also: what else takes it up, as SQL.
    """
    reasons = ", ".join(f"'{reason}'" for reason in WITHOUT_NUMBER)
    rests = f"(u.phone IS DISTINCT FROM {phone} AND u.state_reason IN ({reasons}) OR {also})"
    return (
        f"proven_at = CASE WHEN u.phone IS NOT DISTINCT FROM {phone} THEN u.proven_at END, "
        f"state = CASE WHEN {rests} THEN 'active' ELSE u.state END, "
        f"state_reason = CASE WHEN {rests} THEN NULL ELSE u.state_reason END"
    )


# Whatever was delivered to the number that stands proves it.
_PROVE = """
UPDATE subscription u SET proven_at = :now
FROM (
    SELECT DISTINCT n.subscription_id, n.phone FROM notice n
    WHERE n.cycle_id = :cycle AND n.state = 'delivered'
) told
WHERE u.id = told.subscription_id AND u.phone = told.phone AND u.proven_at IS NULL AND u.state <> 'ended'
"""


def prove_numbers(cycle_id: int) -> int:
    """Take the numbers for proven that a message of a cycle was delivered to; return how many are new."""
    with begin() as connection:
        return connection.execute(text(_PROVE), {"cycle": cycle_id, "now": clock.now()}).rowcount
