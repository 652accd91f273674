"""Judges a case once more when its message is claimed: minutes may have passed since, or a whole queue.

Called by sending, inside the transaction of a claim, through `fatoura.sending.checks`. What it returns is
cancelled there and never leaves; what it does not return is sent on the ground of what it has just seen.
Whether the number is still the customer's, the claim itself sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.cutoff.cases import Moment, close_cases
from fatoura.cutoff.freshness import freshness, refused_facts
from fatoura.cutoff.reasons import SETTLED
from fatoura.cutoff.rules import rules_on
from fatoura.cutoff.standing import weigh

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection

NO_CASE = "no_case"
"""Why a warning is cancelled whose case does not wait for it (any more)."""

FEED_STALE = "feed_stale"
"""Why a message is cancelled while payments, or facts, are not known up to now (any more)."""

# A reminder moves no case: it is only not sent. The last case of its bill tells.
_OF_REMINDERS = """(c.invoice_number, c.sequence) IN (
    SELECT last.invoice_number, max(last.sequence) FROM cutoff_case last
    JOIN notice n ON n.subject = last.invoice_number
    WHERE n.id = ANY(:ids) GROUP BY last.invoice_number
)"""


def unfounded(connection: Connection, notice_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return which reminders and warnings must not go out, and why.

    The cases of such warnings are closed; the decision is written down, with its moment ``claim``. Where only
    the feeds have become too old since the day was decided, cases are due again on another day.

    :param notice_ids: planned notices that this transaction holds.
    """
    day = clock.today()
    rules = rules_on(day)
    ids = list(notice_ids)
    weigh(connection, "c.under_way = ANY(:ids)", day=day, rules=rules, ids=ids)
    warned_for: dict[UUID, str | None] = dict(
        connection.execute(
            text(
                "SELECT c.under_way, coalesce(s.reason, s.letter_reason) FROM standing s "
                "JOIN cutoff_case c USING (invoice_number, sequence)"
            )
        ).all()
    )
    if any(warned_for.values()):
        close_cases(connection, Moment("claim", day, rules.version), letters=True)
    refused = {notice: reason for notice, reason in warned_for.items() if reason}
    others = [notice for notice in ids if notice not in warned_for]
    if others:
        refused |= _unfounded_without_case(
            connection, others, {step.notice for step in rules.steps if step.notice_days}
        )
    if refused_facts(connection) or any(channel.is_stale for channel in freshness(connection, rules)):
        return dict.fromkeys(ids, FEED_STALE) | refused
    return refused


def _unfounded_without_case(connection: Connection, ids: list[UUID], warnings: set[str]) -> dict[UUID, str]:
    day = clock.today()
    weigh(connection, _OF_REMINDERS, day=day, rules=rules_on(day), ids=ids)
    rows = connection.execute(
        text(
            f"""
            SELECT n.id, CASE WHEN n.kind = ANY(:warnings) OR s.invoice_number IS NULL THEN '{NO_CASE}'
                WHEN c.state <> 'scheduled' THEN c.state
                ELSE coalesce(s.reason, s.letter_reason) END
            FROM notice n LEFT JOIN standing s ON s.invoice_number = n.subject
            LEFT JOIN cutoff_case c ON c.invoice_number = s.invoice_number AND c.sequence = s.sequence
            WHERE n.id = ANY(:ids)
            """
        ),
        {"ids": ids, "warnings": list(warnings)},
    )
    return {notice: reason for notice, reason in rows if reason}


def taken_back(connection: Connection, notice_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return which messages "payment received" must not go out: it is not so any more, or nobody reads them.

    Also where the bill is owed again and something else leaves its customer out, or was corrected.

    :param notice_ids: planned notices that this transaction holds; their sequence is their case's.
    """
    day = clock.today()
    ids = list(notice_ids)
    weigh(
        connection,
        "(c.invoice_number, c.sequence) IN (SELECT subject, sequence FROM notice WHERE id = ANY(:ids))",
        day=day,
        rules=rules_on(day),
        ids=ids,
    )
    rows = connection.execute(
        text(
            """
            SELECT n.id, CASE WHEN s.reason IS NULL THEN 'reversed'
                WHEN s.reason <> ALL(:settled) THEN s.reason
                ELSE s.letter_reason END
            FROM notice n
            LEFT JOIN standing s ON s.invoice_number = n.subject AND s.sequence = n.sequence
            WHERE n.id = ANY(:ids)
            """
        ),
        {"ids": ids, "settled": sorted(SETTLED)},
    )
    return {notice: reason for notice, reason in rows if reason}
