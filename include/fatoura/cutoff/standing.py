"""How a case stands: what is owed, and why its customer must not, or cannot, be warned. One statement.

The only place that weighs payments, facts, later bills and consent. Asked when a case is due, when its
message is claimed, when a feed has come, and on the morning of the cut; it changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.cutoff.reasons import Reason

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection

    from fatoura.cutoff.rules import Version

REACHABLE = "('active', 'lapsed')"
"""States of a subscription whose customer may be written to about a bill that a message told of. One that has
lapsed, for its fee was not paid, gets no new bills; a warning that is owed is not dropped for that."""

_MANY = 1000
"""So many rows, and the planner's guesses about a table without statistics cost more than to gather them."""

_LARGE = 1_000_000
"""Bytes. A smaller table is emptied faster row by row."""

# Made once a session and emptied by each commit: to make them for each claim of some messages takes longer
# than to weigh these, and fills the catalogue with what is left of them.
_MAKE = (
    """
    CREATE TEMPORARY TABLE asked (
        invoice_number text, sequence smallint, customer_reference text, revision smallint,
        amount_due_millimes bigint, issue_date date
    ) ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE standing (
        invoice_number text, sequence smallint, customer_reference text, balance_millimes bigint,
        subscription_id bigint, reason text, letter_reason text, left_out_until date, evidence jsonb
    ) ON COMMIT DELETE ROWS
    """,
)
_ASK = """
INSERT INTO asked
SELECT c.invoice_number, c.sequence, c.customer_reference, c.revision, c.amount_due_millimes, c.issue_date
FROM cutoff_case c WHERE {which}
"""

# A bill as issued holds what earlier ones left over: who has paid a later one, or got a later one that asks
# for nothing, owes the earlier one no more. What was paid too much elsewhere, since the bill was issued, is
# set against it too: the utility's books will do so, and until then a warning would be wrong.
_WEIGH = f"""
INSERT INTO standing
WITH paid AS (
    SELECT p.invoice_number, sum(p.counts_millimes) AS millimes
    FROM payment p WHERE p.invoice_number IN (SELECT invoice_number FROM asked)
    GROUP BY p.invoice_number
), revised AS (
    SELECT i.invoice_number, max(i.revision) AS revision
    FROM invoice i WHERE i.revision > 0 AND i.invoice_number IN (SELECT invoice_number FROM asked)
    GROUP BY i.invoice_number
), fact AS (
    SELECT a.invoice_number, a.sequence,
        (array_agg(m.fact ORDER BY m.rank) FILTER (WHERE m.effect = 'leave_out'))[1] AS leaves_out,
        (array_agg(m.fact ORDER BY m.rank) FILTER (WHERE m.effect = 'letter'))[1] AS asks_for_letter,
        CASE WHEN bool_and(f.valid_until IS NOT NULL) FILTER (WHERE m.effect = 'leave_out')
            THEN max(f.valid_until) FILTER (WHERE m.effect = 'leave_out') END AS until,
        array_agg(f.fact_id ORDER BY f.fact_id) AS ids
    FROM asked a
    JOIN account_fact f ON f.customer_reference = a.customer_reference
        AND (f.invoice_number IS NULL OR f.invoice_number = a.invoice_number)
        AND f.valid_from <= :day AND (f.valid_until IS NULL OR f.valid_until >= :day)
    JOIN unnest(CAST(:facts AS text[]), CAST(:effects AS text[])) WITH ORDINALITY AS m (fact, effect, rank)
        ON m.fact = f.fact
    GROUP BY a.invoice_number, a.sequence
), owed AS MATERIALIZED (
    SELECT a.*, a.amount_due_millimes - coalesce(paid.millimes, 0) AS balance_millimes,
        fact.until, fact.ids, fact.asks_for_letter,
        CASE
            WHEN revised.revision > a.revision THEN '{Reason.CORRECTED}'
            WHEN a.amount_due_millimes <= coalesce(paid.millimes, 0) THEN '{Reason.PAID}'
            WHEN fact.leaves_out IS NOT NULL THEN fact.leaves_out
            WHEN a.amount_due_millimes - coalesce(paid.millimes, 0) < :minimum
                THEN '{Reason.UNDER_MINIMUM}'
            WHEN a.invoice_number IN (
                SELECT invoice_number FROM set_aside_row
                WHERE settled_at IS NULL AND invoice_number IS NOT NULL AND content IN ('payments', 'facts')
            ) OR a.customer_reference IN (
                SELECT customer_reference FROM set_aside_row
                WHERE settled_at IS NULL AND customer_reference IS NOT NULL
                    AND content IN ('payments', 'facts')
            ) THEN '{Reason.PAYMENT_PENDING}'
        END AS reason
    FROM asked a
    LEFT JOIN paid USING (invoice_number)
    LEFT JOIN revised USING (invoice_number)
    LEFT JOIN fact USING (invoice_number, sequence)
), other AS (
    SELECT o.invoice_number, o.sequence,
        bool_or(
            bill.issue_date > o.issue_date
            AND bill.amount_due_millimes - coalesce(counted.millimes, 0) < :minimum
        ) AS is_covered,
        sum(CASE WHEN counted.millimes > greatest(bill.amount_due_millimes, 0) THEN least(
            counted.millimes - greatest(bill.amount_due_millimes, 0),
            greatest((
                SELECT sum(p.counts_millimes) FROM payment p
                WHERE p.invoice_number = bill.invoice_number AND p.paid_at >= o.issue_date
            ), 0)
        ) END) AS credit_millimes
    FROM owed o
    JOIN invoice bill ON bill.customer_reference = o.customer_reference
        AND bill.subscription_id IS NOT NULL AND bill.invoice_number <> o.invoice_number
        AND bill.issue_date > o.issue_date - 366
    LEFT JOIN LATERAL (
        SELECT sum(p.counts_millimes) AS millimes FROM payment p WHERE p.invoice_number = bill.invoice_number
    ) counted ON true
    WHERE o.reason IS NULL AND NOT EXISTS (
        SELECT FROM invoice later WHERE later.revision > 0
            AND later.invoice_number = bill.invoice_number AND later.revision > bill.revision
    )
    GROUP BY o.invoice_number, o.sequence
)
SELECT o.invoice_number, o.sequence, o.customer_reference, o.balance_millimes, s.id AS subscription_id,
    coalesce(
        o.reason,
        CASE WHEN other.is_covered THEN '{Reason.PAID_BY_LATER_BILL}'
            WHEN o.balance_millimes - coalesce(other.credit_millimes, 0) < :minimum
                THEN '{Reason.CREDIT_BALANCE}' END
    ) AS reason,
    CASE WHEN o.asks_for_letter IS NOT NULL THEN o.asks_for_letter
        WHEN s.id IS NULL OR s.state NOT IN {REACHABLE} THEN '{Reason.NO_CONSENT}'
        WHEN s.phone IS NULL OR s.phone = '' THEN '{Reason.NO_PHONE}' END AS letter_reason,
    CASE WHEN o.reason = ANY(:facts) THEN o.until END AS left_out_until,
    CASE WHEN o.ids IS NULL THEN '{{}}' ELSE jsonb_build_object('facts', to_jsonb(o.ids)) END AS evidence
FROM owed o
LEFT JOIN other USING (invoice_number, sequence)
LEFT JOIN subscription s ON s.customer_reference = o.customer_reference AND s.state <> 'ended'
"""


def weigh(connection: Connection, which: str, *, day: date, rules: Version, **values: Any) -> int:
    """Weigh the cases that a condition chooses; return how many.

    Leaves them in the table `standing` for the rest of this transaction, one row a case: `balance_millimes`
    (as issued, less what was paid), `reason` why it must not be warned about (null: it may be),
    `letter_reason` why no message can reach its customer, `left_out_until`, the current `subscription_id`,
    and `evidence`.

    :param which: a condition on `cutoff_case c`, with `values`.
    :param day: the local day on which facts have to be valid.
    """
    _make_room(connection)
    asked: int = connection.execute(text(_ASK.format(which=which)), {"day": day, **values}).rowcount
    if asked > _MANY:
        connection.execute(text("ANALYZE asked"))
    connection.execute(
        text(_WEIGH),
        {
            "day": day,
            "minimum": rules.minimum_debt_millimes,
            "facts": list(rules.facts),
            "effects": list(rules.facts.values()),
        },
    )
    if asked > _MANY:
        connection.execute(text("ANALYZE standing"))
    return asked


def _make_room(connection: Connection) -> None:
    """Make the tables, unless this session has them, and empty them of what was weighed before."""
    # Now they hold a few rows, now a million: a plan that is kept for the one is a bad one for the other.
    connection.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
    held: int | None = connection.scalar(text("SELECT pg_relation_size(to_regclass('pg_temp.standing'))"))
    if held is None:
        for table in _MAKE:
            connection.execute(text(table))
    elif held > _LARGE:
        connection.execute(text("TRUNCATE asked, standing"))
    elif held:
        connection.execute(text("DELETE FROM asked"))
        connection.execute(text("DELETE FROM standing"))
