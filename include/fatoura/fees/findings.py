"""Answers of the billing system that do not count, and why: what a person, or a better answer, has to settle.

Called by the command and the report. Rows that could not be read at all are set aside by the feeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin
from fatoura.errors import BadInput
from fatoura.fees.books import MARK, charge_number
from fatoura.sending.doubts import checked_name, checked_reason

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

FINDINGS = {
    "unknown_charge": "there is no such charge",
    "not_told": "the billing system has not been told of this charge",
    "wrong_amount": "the amount is not what was asked for",
    "waits_for_payment": "no payment of it has been told that could be given back",
    "after_taken_back": "the payment had been taken back before",
    "contradicts": "an earlier answer says otherwise, and counts",
}
"""Why an answer does not count: what follows "because"."""


class Finding(NamedTuple):
    """An answer that does not count."""

    charge: str
    result: str
    amount_millimes: int
    at: datetime
    finding: str
    reason: str | None
    told_in: str


def pending_findings(connection: Connection, *, most: int) -> tuple[int, list[Finding]]:
    """Return how many answers wait to be settled, and the first of them, in the order of time."""
    rows = connection.execute(
        text(
            "SELECT charge_id, result, amount_millimes, at, finding, reason, told_in, "
            "count(*) OVER () AS total FROM fee_result WHERE finding IS NOT NULL AND settled_at IS NULL "
            "ORDER BY at, charge_id LIMIT :most"
        ),
        {"most": most},
    ).all()
    return (rows[0].total if rows else 0), [Finding(*row[:-1]) for row in rows]


def settle_finding(charge: str, result: str, amount: int, *, reason: str, by: str) -> None:
    """Settle an answer that does not count: a person has seen to it, and it holds up nothing any more.

    :raises BadInput: when there is no such answer, it counts, or was settled already, or the reason says
        nothing.
    """
    reason, by = checked_reason(reason), checked_name(by)
    values = {
        "charge": f"{MARK}{charge_number(charge)}",
        "result": result,
        "amount": amount,
        "reason": reason,
        "by": by,
        "now": clock.now(),
    }
    with begin() as connection:
        done = connection.execute(
            text(
                "UPDATE fee_result SET settled_at = :now, settled_by = :by, settlement = :reason "
                "WHERE charge_id = :charge AND result = :result AND amount_millimes = :amount "
                "AND finding IS NOT NULL AND settled_at IS NULL"
            ),
            values,
        ).rowcount
    if not done:
        raise BadInput(
            f"no answer {result} of {amount} millimes about {values['charge']} waits to be settled; "
            "`fatoura fees pending` lists them"
        )
