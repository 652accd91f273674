"""The match stage: every accepted row of an extract becomes an invoice, in exactly one bucket of the ledger.

Called by the cycle once the extract is validated, any number of times. Set statements only; knows nothing
of texts, and of notices only whether there is one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from fatoura import clock
from fatoura.cycles.stages import recorded_stage
from fatoura.database import connect, locked
from fatoura.errors import BadInput, NotReady

if TYPE_CHECKING:
    from fatoura.cycles.keys import ExtractKey

BUCKETS = ("noticed", "unsubscribed", "suppressed", "held_out")


@dataclass(frozen=True)
class MatchOutcome:
    """Where the rows of one extract are now. `buckets` and `reasons` count rows.

    :param matched: rows that this run made invoices of; 0 when an earlier run did.
    :param redecided: rows of an earlier run whose bucket or reason changed now.
    """

    buckets: dict[str, int]
    reasons: dict[str, int]
    matched: int
    redecided: int


# Why there is no notice; NULL for a row that gets one. The first that holds is the reason. Reads an invoice
# (or the staged row that becomes one) as {row} and its customer's current subscription, if any, as u. A
# lapsed one gets no new bills; but who was told of a bill that was wrong is told of its correction.
_REASON = """CASE
    WHEN u.id IS NULL THEN 'not_subscribed'
    WHEN u.state = 'suspended' THEN 'subscription_suspended'
    WHEN u.state = 'lapsed' AND NOT {is_told} THEN 'subscription_lapsed'
    WHEN {amount} < 0 THEN 'credit_balance'
    WHEN {amount} = 0 THEN 'zero_balance'
    WHEN {due_date} < :today THEN 'deadline_passed'
    WHEN u.study_arm = 'control' THEN 'study_control'
END"""

# Whether a message has told of an earlier revision. Looked up for each by itself, never in a hash of all that
# there are: only few ask, the corrections to lapsed subscribers.
_IS_TOLD = """({revision} > 0 AND EXISTS (
    SELECT FROM notice told WHERE told.kind IN ('bill', 'bill_correction')
        AND told.subject = {number} AND told.state NOT IN ('planned', 'cancelled')
    OFFSET 0
))"""

_BUCKET = """CASE
    WHEN reason IS NULL THEN 'noticed'
    WHEN reason = 'not_subscribed' THEN 'unsubscribed'
    WHEN reason = 'study_control' THEN 'held_out'
    ELSE 'suppressed'
END"""

# A row of a supplement follows the last revision that stands. (The cycle's extract comes first: revision 0.)
_LAST_REVISION = """
LEFT JOIN LATERAL (
    SELECT max(i.revision) AS revision FROM invoice i
    WHERE i.invoice_number = s.invoice_number AND i.cycle_id = :cycle_id
) AS earlier ON true"""

# A large extract comes out of the join in the order of its staging table: no sort is needed to write the
# invoices, and the pages of their indexes, one after the other.
_MATCH = """
INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, customer_reference, district,
                     supply, period_start, period_end, amount_due_millimes, due_date, issue_date, estimated,
                     bucket, reason, subscription_id)
SELECT :extract_id, row_number, :cycle_id, invoice_number, revision, customer_reference, district, supply,
       period_start_d, period_end_d, amount_i, due_date_d, issue_date_d, estimated_b,
       {bucket}, reason, subscription_id
FROM (
    SELECT s.*, {revision} AS revision, u.id AS subscription_id, {reason} AS reason
    FROM {staging} s
    LEFT JOIN subscription u ON u.customer_reference = s.customer_reference AND u.state <> 'ended'
    {last_revision}
    WHERE NOT EXISTS (SELECT FROM rejected_row r
                      WHERE r.extract_id = :extract_id AND r.row_number = s.row_number)
) AS decided
"""

# An invoice that is corrected before its first notice was planned gets the correction's notice only.
_SUPERSEDE = """
UPDATE invoice old SET bucket = 'suppressed', reason = 'superseded'
FROM invoice new
WHERE new.extract_id = :extract_id AND new.revision > 0
  AND old.invoice_number = new.invoice_number AND old.revision < new.revision AND old.bucket = 'noticed'
  AND NOT EXISTS (SELECT FROM notice n
                  WHERE n.kind IN ('bill', 'bill_correction') AND n.subject = old.invoice_number
                    AND n.sequence = old.revision + 1)
"""

# A notice that was planned fixes the decision: what was promised or sent is not taken back by a rerun. So
# does a later revision: the decision is made there.
_REDECIDE = """
UPDATE invoice i SET bucket = d.bucket, reason = d.reason, subscription_id = d.subscription_id
FROM (
    SELECT row_number, {bucket} AS bucket, reason, subscription_id
    FROM (
        SELECT row.row_number, u.id AS subscription_id, {reason} AS reason
        FROM invoice row
        LEFT JOIN subscription u ON u.customer_reference = row.customer_reference AND u.state <> 'ended'
        WHERE row.extract_id = :extract_id
          AND NOT EXISTS (SELECT FROM notice n
                          WHERE n.kind IN ('bill', 'bill_correction') AND n.subject = row.invoice_number
                            AND n.sequence = row.revision + 1)
          AND NOT EXISTS (SELECT FROM invoice later
                          WHERE later.invoice_number = row.invoice_number AND later.revision > row.revision)
    ) AS decided
) AS d
WHERE i.extract_id = :extract_id AND i.row_number = d.row_number
  AND (i.bucket, i.reason, i.subscription_id) IS DISTINCT FROM (d.bucket, d.reason, d.subscription_id)
"""


def match_extract(key: ExtractKey, *, run_id: str | None = None) -> MatchOutcome:
    """Match the accepted rows of an extract with the current subscriptions, and give each its bucket.

    A rerun decides again for the rows that have no notice yet: somebody subscribed since, or a deadline
    passed. A row of a supplement that corrects an invoice becomes that invoice's next revision.

    :raises NotReady: when the extract is not validated yet, or an earlier extract of the cycle not matched.
    :raises BadInput: when there is no such extract, when it comes after a later supplement that was matched,
        or when an invoice number was meanwhile billed in another cycle.
    """
    with connect() as connection:
        cycle_id = connection.scalar(text("SELECT id FROM cycle WHERE key = :key"), {"key": key.cycle})
    if cycle_id is None:
        raise BadInput(f"there is no cycle {key.cycle!r}: load its extract first")
    with recorded_stage(cycle_id, "match", supplement=key.supplement, run_id=run_id) as stage:
        with locked(f"cycle {key.cycle}") as connection:
            outcome = _match(connection, key, cycle_id)
        stage.counts |= {"matched": outcome.matched, "redecided": outcome.redecided}
        stage.counts |= outcome.buckets | outcome.reasons
    return outcome


def _match(connection: Connection, key: ExtractKey, cycle_id: int) -> MatchOutcome:
    extract_id, matched_before = _ready_extract(connection, key, cycle_id)
    # A fresh extract is not in the planner's statistics: it takes a million rows for one, and loops.
    connection.execute(text("SET LOCAL enable_nestloop = off"))
    matched = redecided = 0
    if matched_before:
        redecided = connection.execute(
            text(
                _REDECIDE.format(
                    bucket=_BUCKET,
                    reason=_REASON.format(
                        is_told=_IS_TOLD.format(revision="row.revision", number="row.invoice_number"),
                        amount="row.amount_due_millimes",
                        due_date="row.due_date",
                    ),
                )
            ),
            {"extract_id": extract_id, "today": clock.today()},
        ).rowcount
    else:
        matched = _insert_invoices(connection, key, cycle_id, extract_id)
        if key.supplement:
            connection.execute(text(_SUPERSEDE), {"extract_id": extract_id})
        connection.execute(
            text("UPDATE extract SET matched_at = :now WHERE id = :extract_id"),
            {"now": clock.now(), "extract_id": extract_id},
        )
    buckets, reasons = Counter(dict.fromkeys(BUCKETS, 0)), Counter[str]()
    for bucket, reason, rows in connection.execute(
        text(
            "SELECT bucket, reason, count(*) FROM invoice WHERE extract_id = :id GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        {"id": extract_id},
    ):
        buckets[bucket] += rows
        if reason is not None:
            reasons[reason] += rows
    return MatchOutcome(dict(buckets), dict(reasons), matched, redecided)


def _ready_extract(connection: Connection, key: ExtractKey, cycle_id: int) -> tuple[int, bool]:
    """Return the extract's id and whether it was matched before; refuse one whose turn it is not."""
    extracts = {
        supplement: (extract_id, validated, matched)
        for supplement, extract_id, validated, matched in connection.execute(
            text(
                "SELECT supplement, id, validated_at IS NOT NULL, matched_at IS NOT NULL FROM extract "
                "WHERE cycle_id = :cycle_id"
            ),
            {"cycle_id": cycle_id},
        )
    }
    if key.supplement not in extracts:
        raise BadInput(f"there is no extract {key}: load it first")
    extract_id, validated, matched = extracts[key.supplement]
    if matched:
        return extract_id, True
    if not validated:
        raise NotReady(f"{key} is not validated yet")
    # Revisions follow the order of the supplements, so that the last correction wins.
    for supplement, (_, _, other_matched) in sorted(extracts.items()):
        if supplement < key.supplement and not other_matched:
            raise NotReady(f"{key} waits for {_named(key, supplement)}, which is not matched yet")
        if supplement > key.supplement and other_matched:
            raise BadInput(
                f"{key} comes after {_named(key, supplement)}, which was matched already: "
                "send its rows again as a supplement with a higher number"
            )
    if key.supplement and 0 not in extracts:
        raise NotReady(f"{key} waits for the cycle's extract, which is not loaded yet")
    return extract_id, False


def _insert_invoices(connection: Connection, key: ExtractKey, cycle_id: int, extract_id: int) -> int:
    revision = "coalesce(earlier.revision + 1, 0)" if key.supplement else "0"
    statement = _MATCH.format(
        bucket=_BUCKET,
        reason=_REASON.format(
            is_told=_IS_TOLD.format(revision=revision, number="s.invoice_number"),
            amount="s.amount_i",
            due_date="s.due_date_d",
        ),
        revision=revision,
        last_revision=_LAST_REVISION if key.supplement else "",
        staging=f"staging.extract_{extract_id}",
    )
    values = {"extract_id": extract_id, "cycle_id": cycle_id, "today": clock.today()}
    try:
        return connection.execute(text(statement), values).rowcount
    except IntegrityError as error:
        if not isinstance(error.orig, psycopg.errors.UniqueViolation):
            raise
        # Validation refused every number that had been billed by then: another cycle was faster.
        raise BadInput(
            f"{key} holds an invoice number that another cycle has billed since it was validated: "
            "validate it again, then match it"
        ) from None


def _named(key: ExtractKey, supplement: int) -> str:
    return str(type(key)(key.cycle, supplement))
