"""Match receipts to notices, and move the notices on. Called by the receiver, and by settling.

Each raw receipt stays, with what became of it: it `moved` its notice, was `noted` (an intermediate step),
`repeated` what was known, `contradicted` it (the first final word stays), or is `parked` until the notice
that it speaks of is known.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin

# A receipt for an unknown id is looked at again for so long; it stays stored afterwards.
PARKED_FOR = timedelta(days=7)
_BATCH = 5000

_FINAL_WORDS = "('delivered', 'undeliverable', 'expired', 'rejected')"

_MATCH = text(
    f"""
    WITH batch AS MATERIALIZED (
        SELECT id, gateway, notice_id, provider_id, status, detail, happened_at, received_at
        FROM receipt
        WHERE match = 'new' OR (:parked AND match = 'parked' AND received_at > :parked_since)
        ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
    ), named AS MATERIALIZED (
        SELECT batch.*, coalesce(batch.notice_id, known.id) AS notice
        FROM batch LEFT JOIN LATERAL (
            -- Of any attempt: a receipt can come after the notice was sent once more.
            SELECT attempt.notice_id AS id FROM attempt
            WHERE batch.notice_id IS NULL AND attempt.gateway = batch.gateway
                AND attempt.provider_id = batch.provider_id
            LIMIT 1
        ) known ON true
    ), held AS MATERIALIZED (
        SELECT id, state, attempts, submitted_at FROM notice
        WHERE id IN (SELECT notice FROM named) ORDER BY id FOR UPDATE
    ), judged AS MATERIALIZED (
        SELECT named.id, named.notice, named.provider_id, named.status, named.detail,
            held.state AS before,
            -- A provider's clock may be wrong: outside what is possible, our own time of receiving counts.
            CASE WHEN happened_at BETWEEN held.submitted_at AND received_at THEN happened_at
                ELSE received_at END AS at,
            held.state IN ('sending', 'in_doubt', 'accepted')
                OR (held.state = 'planned' AND held.attempts > 0) AS open,
            min(named.id) FILTER (WHERE status IN {_FINAL_WORDS}) OVER same_notice AS first_final,
            min(named.id) FILTER (WHERE status = 'accepted') OVER same_notice AS first_accepted
        FROM named LEFT JOIN held ON held.id = named.notice
        WINDOW same_notice AS (PARTITION BY named.notice)
    ), winner AS MATERIALIZED (
        SELECT * FROM judged
        WHERE open AND (
            id = first_final
            OR (id = first_accepted AND first_final IS NULL AND before IN ('sending', 'in_doubt'))
        )
    ), moved AS (
        UPDATE notice SET state = winner.status, state_since = :now,
            final_at = CASE WHEN winner.status <> 'accepted' THEN winner.at END,
            reason = CASE WHEN winner.status NOT IN ('accepted', 'delivered') THEN winner.detail END,
            provider_id = coalesce(notice.provider_id, winner.provider_id),
            lease_until = NULL, retry_at = NULL
        FROM winner WHERE notice.id = winner.notice
    ), settled AS (
        UPDATE receipt SET matched_at = :now, match = CASE
            WHEN judged.before IS NULL THEN 'parked'
            WHEN winner.id = receipt.id THEN 'moved'
            WHEN receipt.status IS NULL OR receipt.status = 'accepted' THEN 'noted'
            WHEN receipt.status = coalesce(winner.status, judged.before) THEN 'repeated'
            ELSE 'contradicted'
        END
        FROM judged LEFT JOIN winner ON winner.notice = judged.notice
        WHERE receipt.id = judged.id
        RETURNING receipt.match
    )
    SELECT match, count(*) FROM settled GROUP BY match
    """
)


def match_receipts(*, parked: bool = False) -> Counter[str]:
    """Match what has come in since the last time, in batches of one statement each.

    :param parked: also look again at receipts whose notice was unknown when they came.
    :returns: how many receipts ended how.
    """
    counts: Counter[str] = Counter()
    while True:
        with begin() as connection:
            rows = connection.execute(
                _MATCH,
                {
                    "parked": parked,
                    "parked_since": clock.now() - PARKED_FOR,
                    "most": _BATCH,
                    "now": clock.now(),
                },
            )
            batch: Counter[str] = Counter(dict(rows.all()))
        counts += batch
        parked = False  # once a call: those that stay parked would come again and again
        if batch.total() < _BATCH:
            return counts
