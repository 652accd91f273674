"""The one way out of a subscription: it ends, its consent is revoked, and nothing planned for it leaves.

Called by whoever is told that a customer leaves: the web site, clerks' files, keywords, the command, coupons
that are crossed out, erasure. What is claimed in the same moment is looked at again there (see
`fatoura.sending.claims`), so that it does not matter who is first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin
from fatoura.errors import BadInput
from fatoura.notices.kinds import asked_for_kinds
from fatoura.references import is_reference
from fatoura.sending.claims import OPTED_OUT
from fatoura.sending.doubts import checked_name, checked_reason
from fatoura.subscriptions.consents import Act, Consent, record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from sqlalchemy import Connection

    from fatoura.subscriptions.consents import Channel


class Leaver(NamedTuple):
    """A customer who leaves.

    :param evidence: a scan id, the id of a code's verification, a feed and row, a letter's number; it is kept
        for ever and holds no phone number.
    :param by: who says so: a workflow's run, the site, or a person's name.
    :param asked_on: the local day on which it was asked for; none: today.
    """

    customer_reference: str
    evidence: str
    by: str
    asked_on: date | None = None


@dataclass(frozen=True)
class Left:
    """What became of those who leave.

    :param ended: the subscriptions that ended now, by their customers' references; who is not among them had
        none (any more).
    :param cancelled: how many planned notices were cancelled.
    """

    ended: dict[str, int]
    cancelled: int


# In the order of ids, here and below: two that leave at once never wait for each other in a circle.
_END = """
UPDATE subscription s SET state = 'ended', state_reason = :reason, ended_at = :now, changed_at = :now
FROM (
    SELECT id FROM subscription WHERE customer_reference = ANY(:references) AND state <> 'ended'
    ORDER BY id FOR UPDATE
) leaver
WHERE s.id = leaver.id
RETURNING s.customer_reference, s.id
"""
_CANCEL = """
UPDATE notice SET state = 'cancelled', reason = :reason, state_since = :now, final_at = :now
FROM (
    SELECT id FROM notice
    WHERE subscription_id = ANY(:ended) AND state = 'planned' AND kind <> ALL(:asked_for)
    ORDER BY id FOR UPDATE
) unsent
WHERE notice.id = unsent.id
"""


def leave(
    connection: Connection, leavers: Sequence[Leaver], *, channel: Channel, reason: str = "left"
) -> Left:
    """End the current subscriptions of these customers, in the caller's transaction.

    The revocation is recorded, and what is planned for them is cancelled as ``opted_out``. Who has no current
    subscription is passed over. Takes effect with the commit: no claim that begins after it takes a message
    of theirs.

    :param channel: of the revocation: ``coupon``, ``web``, ``clerk``, ``keyword`` or ``utility``.
    :param reason: of the end: ``left``, ``contract_ended``, ``crossed_out`` or ``erased``.
    """
    now, today = clock.now(), clock.today()
    told = {leaver.customer_reference: leaver for leaver in leavers}
    rows = connection.execute(text(_END), {"references": list(told), "reason": reason, "now": now})
    ended = {row.customer_reference: row.id for row in rows}
    if not ended:
        return Left({}, 0)
    revoked = [
        Consent(
            reference,
            subscription,
            told[reference].evidence,
            told[reference].asked_on or today,
            told[reference].by,
        )
        for reference, subscription in ended.items()
    ]
    record(connection, Act.REVOKED, revoked, channel=channel)
    cancelled = connection.execute(
        text(_CANCEL),
        {"ended": list(ended.values()), "asked_for": asked_for_kinds(), "reason": OPTED_OUT, "now": now},
    ).rowcount
    return Left(ended, cancelled)


def leave_by_clerk(reference: str, evidence: str, *, by: str, asked_on: date | None = None) -> Left:
    """Let one customer leave whom a clerk has heard, in a transaction of its own.

    :param evidence: in one line; not shorter than a few characters, and without a phone number.
    :raises BadInput: when there is no current subscription, or the evidence says nothing.
    """
    if not is_reference(reference):
        raise BadInput("a customer's reference has 9 digits")
    if asked_on is not None and asked_on > clock.today():
        raise BadInput("the day of asking lies ahead")
    leaver = Leaver(reference, checked_reason(evidence), checked_name(by), asked_on)
    with begin() as connection:
        left = leave(connection, [leaver], channel="clerk")
    if not left.ended:
        raise BadInput("this customer has no subscription (any more), so there is nothing to end")
    return left
