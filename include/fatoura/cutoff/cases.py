"""Moves cases as they were found to stand, and writes down why. Called by whatever has just weighed them.

The one place that closes a case and that opens another one of the same bill. Knows nothing of how a case
stands, and of no message's text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.cutoff.reasons import LETTERS, SETTLED, Reason
from fatoura.cutoff.states import CLOSED, OPEN

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection

LOCK = "cut-off cases"
"""Whoever moves cases in sets holds this: the daily run, the feeds, the lists, a cycle that is corrected."""

OPEN_STATES = ", ".join(f"'{state}'" for state in sorted(OPEN))
CLOSED_STATES = ", ".join(f"'{state}'" for state in sorted(CLOSED))
_LETTERS = ", ".join(f"'{reason}'" for reason in sorted(LETTERS))
_SETTLED = ", ".join(f"'{reason}'" for reason in sorted(SETTLED))

SENT = "('sending', 'in_doubt', 'accepted', 'delivered')"
"""States of a message that has gone out, as far as anybody can know, and may be read."""


@dataclass(frozen=True)
class Moment:
    """When and by what it is decided: what all decisions of one statement share.

    :param moment: on a case's way: ``due``, ``claim``, ``settled``, ``feed``, ``hand_over``.
    """

    moment: str
    day: date
    rules_version: str
    run_id: str | None = None
    cycle_id: int | None = None
    notice_kind: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The values that the statements here ask for."""
        return {
            "moment": self.moment,
            "day": self.day,
            "rules": self.rules_version,
            "run_id": self.run_id,
            "cycle": self.cycle_id,
            "notice_kind": self.notice_kind,
            "now": clock.now(),
        }


# What has not left yet does not leave any more. Whoever claims a message holds it while its case is judged:
# to wait for that before any case is touched keeps the two from waiting for each other, and tells whether the
# message has left. Each is looked up by its id, never among the planned ones: the planner's statistics lag
# behind a day's planning, and it takes for empty an index that holds all of them.
_CALL_BACK = """
WITH held AS (
    SELECT n.id, coalesce(s.reason, s.letter_reason) AS reason
    FROM standing s JOIN cutoff_case c USING (invoice_number, sequence)
    JOIN notice n ON n.id = c.under_way
    WHERE n.state || '' = 'planned' AND (s.reason IS NOT NULL OR (:letters AND s.letter_reason IS NOT NULL))
    ORDER BY n.id FOR UPDATE OF n
)
UPDATE notice n SET state = 'cancelled', reason = held.reason, state_since = :now, final_at = :now
FROM held WHERE n.id = held.id
"""
_CLOSE = f"""
WITH verdict AS (
    SELECT s.*, coalesce(s.reason, s.letter_reason) AS why,
        CASE WHEN s.reason = '{Reason.PAID}' THEN 'paid' WHEN s.reason IS NOT NULL THEN 'excluded'
            ELSE 'not_warned' END AS new_state
    FROM standing s
    WHERE s.reason IS NOT NULL OR (:letters AND s.letter_reason IS NOT NULL)
), closed AS (
    UPDATE cutoff_case c
    SET state = v.new_state, reason = v.why, left_out_until = v.left_out_until, state_since = :now,
        under_way = NULL
    FROM verdict v
    WHERE c.invoice_number = v.invoice_number AND c.sequence = v.sequence AND c.state IN ({OPEN_STATES})
    RETURNING c.invoice_number, c.sequence, c.state, old.under_way, c.warning_id
), decided AS (
    INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, reason,
        notice_kind, notice_id, cycle_id, balance_millimes, evidence, rules_version, run_id)
    SELECT v.invoice_number, v.sequence, :day, :now, :moment,
        CASE WHEN closed.state = 'not_warned' THEN 'letter'
            WHEN closed.warning_id IS NOT NULL
                -- Asked for each: joined, all notices of all years would be read, where none is under way.
                OR (SELECT n.state FROM notice n WHERE n.id = closed.under_way) IN {SENT} THEN 'withdraw'
            ELSE 'leave_out' END,
        v.why, CAST(:notice_kind AS text), closed.under_way, CAST(:cycle AS int), v.balance_millimes,
        v.evidence, :rules, CAST(:run_id AS text)
    FROM closed JOIN verdict v USING (invoice_number, sequence)
    RETURNING invoice_number, sequence, verdict, reason
)
SELECT verdict, reason, count(*) FROM decided GROUP BY verdict, reason
"""


def close_cases(connection: Connection, moment: Moment, *, letters: bool) -> dict[tuple[str, str], int]:
    """Close the cases of `standing` that have a reason; return how many, by verdict and reason.

    A warning of such a case that has not left yet is cancelled. The verdict is ``withdraw`` where one had
    left, ``leave_out`` where none had, ``letter`` where a letter has to warn instead.

    :param letters: also close, as not warned, those that no message can reach.
    """
    values = {**moment.values, "letters": letters}
    connection.execute(text(_CALL_BACK), values)
    rows = connection.execute(text(_CLOSE), values)
    return {(verdict, reason): count for verdict, reason, count in rows}


# Only the last case of a bill, and none whose bill was corrected since: that has to be told first.
_REOPEN = f"""
WITH opened AS (
    INSERT INTO cutoff_case (invoice_number, sequence, cycle_id, subscription_id, customer_reference,
        district, revision, notice_id, amount_due_millimes, issue_date, due_date, warn_from, opened_because,
        state_since, created_at)
    SELECT c.invoice_number, c.sequence + 1, c.cycle_id, coalesce(s.subscription_id, c.subscription_id),
        c.customer_reference, c.district, c.revision, c.notice_id, c.amount_due_millimes, c.issue_date,
        c.due_date, greatest(c.warn_from, :day),
        CASE WHEN c.reason IN ({_SETTLED}) THEN 'reversal' ELSE 'left_out_no_more' END, :now, :now
    FROM standing s JOIN cutoff_case c USING (invoice_number, sequence)
    WHERE s.reason IS NULL AND c.state IN ({CLOSED_STATES})
        AND NOT EXISTS (
            SELECT FROM cutoff_case later
            WHERE later.invoice_number = c.invoice_number AND later.sequence > c.sequence
        )
    ORDER BY c.invoice_number
    RETURNING invoice_number, sequence, opened_because
), unsaid AS (
    -- "Payment received, no cut" is wrong now: it does not leave any more.
    UPDATE notice n SET state = 'cancelled', reason = 'reversed', state_since = :now, final_at = :now
    FROM opened
    WHERE n.kind = 'payment_received' AND n.subject = opened.invoice_number
        AND n.sequence = opened.sequence - 1 AND n.state = 'planned'
    RETURNING n.id
), decided AS (
    INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, reason,
        balance_millimes, evidence, rules_version, run_id)
    SELECT o.invoice_number, o.sequence, :day, :now, :moment, 'reopen', o.opened_because, s.balance_millimes,
        s.evidence, :rules, CAST(:run_id AS text)
    FROM opened o JOIN standing s USING (invoice_number)
    RETURNING invoice_number
)
SELECT count(*) FROM decided
"""


def reopen_cases(connection: Connection, moment: Moment) -> int:
    """Open another case for each closed one of `standing` that has no reason any more; return how many."""
    return int(connection.scalar(text(_REOPEN), moment.values) or 0)
