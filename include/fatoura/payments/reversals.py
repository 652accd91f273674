"""What a reversal puts back: never more than is left of the payment that it names, on the same invoice.

Called when payments were merged, in the same transaction. The outcome depends on what stands, not on the
order in which it came: several reversals of one payment take their turn by their own time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

# A payment that came or changed touches its reversals; a reversal, the others of the payment that it names,
# and of the one that it named before.
_TOUCHED = """
CREATE TEMPORARY TABLE touched ON COMMIT DROP AS
SELECT payment_id, invoice_number FROM merging WHERE verdict IN ('new', 'corrected')
UNION
SELECT reverses, invoice_number FROM merging
WHERE verdict IN ('new', 'corrected') AND reverses IS NOT NULL
UNION
SELECT was ->> 'reverses', invoice_number FROM merging
WHERE verdict = 'corrected' AND was ->> 'reverses' IS NOT NULL
"""

_RECOUNT = """
UPDATE payment r SET counts_millimes = now.counts, outcome = now.outcome
FROM (
    SELECT r.payment_id, r.invoice_number,
        CASE WHEN p.payment_id IS NULL THEN 0
            ELSE least(p.amount_millimes, r.reversed - r.amount_millimes)
                - least(p.amount_millimes, r.reversed) END AS counts,
        CASE WHEN p.payment_id IS NULL THEN 'waits_for_payment'
            WHEN r.reversed > p.amount_millimes THEN 'exceeds_payment' ELSE 'counted' END AS outcome
    FROM (
        SELECT r.*, sum(r.amount_millimes) OVER (
            PARTITION BY r.reverses, r.invoice_number ORDER BY r.paid_at, r.payment_id COLLATE "C"
            ROWS UNBOUNDED PRECEDING) AS reversed
        FROM payment r JOIN touched t ON t.payment_id = r.reverses AND t.invoice_number = r.invoice_number
    ) r
    LEFT JOIN payment p
        ON p.payment_id = r.reverses AND p.invoice_number = r.invoice_number AND p.kind = 'payment'
) now
WHERE r.payment_id = now.payment_id AND r.invoice_number = now.invoice_number
AND (r.counts_millimes, r.outcome) IS DISTINCT FROM (now.counts, now.outcome)
"""


def recount_reversals(connection: Connection) -> None:
    """Count anew the reversals of every payment that the rows in `merging` touch."""
    connection.execute(text(_TOUCHED))
    connection.execute(text("ANALYZE touched"))
    connection.execute(text(_RECOUNT))
