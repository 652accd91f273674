"""What clerks decide of coupons: accept one over what speaks against it, refuse one, welcome a number again.

Called by the command. A decision is recorded with the clerk's name and words, and what follows from it is
done in the same transaction; the welcome message goes out with the next intake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.database import locked
from fatoura.enrolment.judging import judge
from fatoura.enrolment.outcomes import ACCEPTABLE, COUNTED, Outcome, Reason
from fatoura.enrolment.words import say
from fatoura.errors import BadInput
from fatoura.sending.doubts import checked_name, checked_reason
from fatoura.subscriptions.importing import LOCK
from fatoura.subscriptions.numbers import UNREACHABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row


@dataclass(frozen=True)
class Decided:
    """What a decision came to.

    :param found: the outcome before it, with its reason.
    :param outcome: the coupon's outcome now.
    :param others: outcomes of other coupons of the same customer that changed with it.
    """

    coupon_id: str
    decision: str
    found: str
    outcome: str
    others: dict[str, int]


def accept_coupon(coupon_id: str, *, by: str, reason: str) -> Decided:
    """Take a coupon that was refused, as if nothing spoke against it.

    :param reason: in a few words, how the clerk knows.
    :raises BadInput: when there is no such coupon, it was not refused, or what speaks against it is nothing
        that a clerk may overlook: a customer who has left, a closed contract, a customer whom nobody knows.
    """
    reason, by = checked_reason(reason), checked_name(by)
    with locked(LOCK) as connection:
        judge(connection, by=by)  # what has come since may have settled it
        coupon = _find(connection, coupon_id)
        if coupon.outcome != Outcome.REFUSED:
            raise BadInput(f"{coupon_id} was not refused: it is {_said(coupon)}; there is nothing to accept")
        if coupon.reason not in ACCEPTABLE:
            raise BadInput(f"{coupon_id} cannot be accepted: {say(coupon.reason, 'en')}")
        found = _decide(connection, coupon, "accepted", by, reason)
        # It is looked at with the others, and what was only for a clerk to decide stands in its way no more.
        _set(connection, coupon_id, Outcome.SUPERSEDED, None, by)
        others = _judge_again(connection, coupon, by)
        now = _find(connection, coupon_id)
        if now.outcome not in COUNTED:
            raise BadInput(
                f"{coupon_id} cannot be accepted: it would be {_said(now)}; a later consent stands against "
                "it, or its customer has left or is not known"
            )
    return Decided(coupon_id, "accepted", found, now.outcome, others)


def refuse_coupon(coupon_id: str, *, by: str, reason: str) -> Decided:
    """Refuse a coupon for good that waits or was refused; others of its customer get their turn.

    :param reason: in a few words, why.
    :raises BadInput: when there is no such coupon, or its consent was taken already.
    """
    reason, by = checked_reason(reason), checked_name(by)
    with locked(LOCK) as connection:
        judge(connection, by=by)
        coupon = _find(connection, coupon_id)
        if coupon.outcome not in (Outcome.REFUSED, Outcome.WAITS):
            raise BadInput(
                f"{coupon_id} is {_said(coupon)}: there is nothing to refuse. Whoever wants no messages "
                "leaves by `fatoura subscribers leave`; a coupon that is void is told crossed out"
            )
        if coupon.judged_by is not None:
            raise BadInput(f"{coupon_id} was refused by {coupon.judged_by} already")
        found = _decide(connection, coupon, "refused", by, reason)
        _set(connection, coupon_id, Outcome.REFUSED, Reason.REFUSED_BY_CLERK, by)
        others = _judge_again(connection, coupon, by)
    return Decided(coupon_id, "refused", found, Outcome.REFUSED, others)


def welcome_again(coupon_id: str, *, by: str, reason: str) -> Decided:
    """Take a subscription up again whose number did not work, and send its welcome once more.

    :param coupon_id: the coupon that brought the number.
    :param reason: in a few words, how the clerk knows that it works.
    :raises BadInput: when there is no such coupon, or its number is not the one that rests.
    """
    reason, by = checked_reason(reason), checked_name(by)
    with locked(LOCK) as connection:
        coupon = _find(connection, coupon_id)
        taken_up = connection.execute(
            text(
                "UPDATE subscription u SET state = 'active', state_reason = NULL, changed_at = :now "
                "FROM coupon c WHERE c.coupon_id = :coupon AND u.id = c.subscription_id "
                f"AND u.phone = c.phone AND u.state = 'suspended' AND u.state_reason = '{UNREACHABLE}'"
            ),
            {"now": clock.now(), "coupon": coupon_id},
        ).rowcount
        if not taken_up:
            raise BadInput(
                f"no subscription rests because the number of {coupon_id} did not work: "
                "`fatoura coupons unreachable` lists those that do"
            )
        found = _decide(connection, coupon, "tried_again", by, reason)
        connection.execute(
            text(
                "UPDATE coupon SET welcomed_at = NULL, outcome = CASE outcome WHEN 'unchanged' "
                "THEN 'changed' ELSE outcome END WHERE coupon_id = :coupon"
            ),
            {"coupon": coupon_id},
        )
        now = _find(connection, coupon_id)
    return Decided(coupon_id, "tried_again", found, now.outcome, {})


def _find(connection: Connection, coupon_id: str) -> Row[Any]:
    coupon = connection.execute(
        text(
            "SELECT coupon_id, customer_reference, outcome, reason, judged_by FROM coupon "
            "WHERE coupon_id = :coupon FOR UPDATE"
        ),
        {"coupon": coupon_id},
    ).one_or_none()
    if coupon is None:
        raise BadInput(
            f"there is no coupon {coupon_id}: none was loaded, or its row was set aside "
            "(`fatoura coupons pending`)"
        )
    return coupon


def _said(coupon: Row[Any]) -> str:
    """Return an outcome with its reason: ``refused (many_contracts)``."""
    outcome = coupon.outcome or "not judged yet"
    return f"{outcome} ({coupon.reason})" if coupon.reason else outcome


def _decide(connection: Connection, coupon: Row[Any], decision: str, by: str, reason: str) -> str:
    found = _said(coupon)
    connection.execute(
        text(
            "INSERT INTO coupon_decision (coupon_id, decided_at, decided_by, decision, reason, found) "
            "VALUES (:coupon, :now, :by, :decision, :reason, :found)"
        ),
        {
            "coupon": coupon.coupon_id,
            "now": clock.now(),
            "by": by,
            "decision": decision,
            "reason": reason,
            "found": found,
        },
    )
    return found


def _set(connection: Connection, coupon_id: str, outcome: Outcome, reason: Reason | None, by: str) -> None:
    connection.execute(
        text(
            "UPDATE coupon SET outcome = :outcome, reason = :reason, judged_by = :by, judged_at = :now "
            "WHERE coupon_id = :coupon"
        ),
        {"coupon": coupon_id, "outcome": outcome, "reason": reason, "by": by, "now": clock.now()},
    )


def _judge_again(connection: Connection, coupon: Row[Any], by: str) -> dict[str, int]:
    """Judge the customer's coupons together; return what became of the others."""
    if coupon.customer_reference is None:
        return {}
    outcomes = judge(connection, by=by, references=[coupon.customer_reference]).outcomes
    now = _find(connection, coupon.coupon_id)
    own = f"{now.outcome} {now.reason}" if now.reason else now.outcome
    if now.outcome in COUNTED:
        outcomes[own] -= 1
    return {outcome: count for outcome, count in sorted(outcomes.items()) if count > 0}
