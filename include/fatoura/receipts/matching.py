"""Match receipts to notices, and move the notices on. Called by the receiver, and by settling.

Each raw receipt stays, with what became of it: it `moved` its notice, was `noted` (an intermediate step),
`repeated` what was known, `contradicted` it (the first final word stays), or is `parked` until the notice
that it speaks of is known: of a provider that knows only its own id, until the answer that told us that id
is written.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from sqlalchemy import text

from fatoura import clock, metrics
from fatoura.database import begin
from fatoura.metrics.receipts import matched_points

# A receipt for an unknown id is looked at again for so long; it stays stored afterwards.
PARKED_FOR = timedelta(days=7)
_BATCH = 5000

# A notice that may have been taken twice has arrived when either did, and is lost only when the last one is.
_DECISIVE = """(
    status = 'delivered'
    OR status IN ('undeliverable', 'expired', 'rejected') AND (
        coalesce(number, attempts) >= attempts
        OR NOT EXISTS (
            SELECT FROM attempt later WHERE later.notice_id = notice AND later.number > named.number
                AND (outcome IS NULL OR outcome IN ('accepted', 'in_doubt'))
        )
    )
)"""

# A provider that knows only its own id may begin its ids anew: the message that was sent last counts, and
# none that was sent after the receipt came, as far as two machines' clocks can tell.
_SENT_UNDER_ITS_ID = """
    SELECT attempt.notice_id AS id, attempt.number FROM attempt
    WHERE receipt.notice_id IS NULL AND attempt.gateway = receipt.gateway
        AND attempt.provider_id = receipt.provider_id
        AND attempt.claimed_at < receipt.received_at + interval '1 hour'
    ORDER BY attempt.claimed_at DESC LIMIT 1
"""

_MATCH = text(
    f"""
    WITH batch AS MATERIALIZED (
        SELECT id, gateway, notice_id, attempt, provider_id, status, detail, happened_at, received_at
        FROM receipt WHERE match = 'new' ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
    ), named AS MATERIALIZED (
        SELECT receipt.*, coalesce(receipt.notice_id, known.id) AS notice,
            coalesce(receipt.attempt, known.number) AS number
        FROM batch receipt LEFT JOIN LATERAL ({_SENT_UNDER_ITS_ID}) known ON true
    ), held AS MATERIALIZED (
        SELECT id, state, attempts, submitted_at FROM notice
        WHERE id IN (SELECT notice FROM named) ORDER BY id FOR UPDATE
    ), judged AS (
        SELECT named.*, held.state AS before, held.submitted_at,
            coalesce(number, attempts) >= attempts AS of_last,
            -- A provider's clock may be wrong: outside what is possible, our own time of receiving counts.
            CASE WHEN happened_at BETWEEN held.submitted_at AND received_at THEN happened_at
                ELSE received_at END AS at,
            {_DECISIVE} AS decisive,
            held.state IN ('sending', 'in_doubt', 'accepted')
                OR (held.state = 'planned' AND held.attempts > 0) AS open
        FROM named LEFT JOIN held ON held.id = named.notice
    ), ranked AS (
        SELECT judged.*, CASE
            WHEN open AND decisive THEN 1
            WHEN status = 'accepted' AND before IN ('sending', 'in_doubt') THEN 2
        END AS rank
        FROM judged
    ), told AS MATERIALIZED (
        -- Each beside the one that moves its notice: the first of the best rank, if any has one. No join, for
        -- the planner expects few rows here and would compare each with each.
        SELECT ranked.*, first_value(id) OVER best = id AND rank IS NOT NULL AS moves,
            CASE WHEN first_value(rank) OVER best IS NOT NULL THEN first_value(status) OVER best END
                AS moved_to
        FROM ranked WINDOW best AS (PARTITION BY notice ORDER BY rank, id)
    ), moved AS (
        UPDATE notice SET state = told.status, state_since = :now,
            final_at = CASE WHEN told.status <> 'accepted' THEN told.at END,
            reason = CASE WHEN told.status NOT IN ('accepted', 'delivered') THEN told.detail END,
            provider_id = coalesce(notice.provider_id, CASE WHEN of_last THEN told.provider_id END),
            lease_until = NULL, retry_at = NULL
        FROM told WHERE told.moves AND notice.id = told.notice
    ), settled AS (
        UPDATE receipt SET matched_at = :now,
            notice_id = told.notice, attempt = told.number, match = CASE
            WHEN told.before IS NULL THEN 'parked'
            WHEN told.moves THEN 'moved'
            WHEN receipt.status IS NULL OR receipt.status = 'accepted' THEN 'noted'
            WHEN receipt.status = coalesce(told.moved_to, told.before) THEN 'repeated'
            WHEN NOT told.decisive THEN 'noted'
            ELSE 'contradicted'
        END
        FROM told WHERE receipt.id = told.id
        RETURNING receipt.gateway, receipt.match, receipt.status AS state,
            CAST(extract(epoch FROM :now - receipt.received_at) AS double precision) AS waited,
            CASE WHEN told.moves AND receipt.status <> 'accepted'
                THEN CAST(extract(epoch FROM told.at - told.submitted_at) AS double precision) END AS took
    )
    SELECT gateway, match, state, count(*) AS receipts, array_agg(waited) AS waits,
        coalesce(array_agg(took) FILTER (WHERE took IS NOT NULL), '{{}}') AS took
    FROM settled GROUP BY gateway, match, state
    """
)


# Only looks, but for those that it finds: what stays unknown costs nothing but the look. The limits keep the
# planner from reading a whole table instead of looking up one row.
_KNOWN_NOW = text(
    f"""
    WITH known AS (
        SELECT receipt.id FROM receipt
        LEFT JOIN LATERAL (SELECT id FROM notice WHERE notice.id = receipt.notice_id LIMIT 1) ours ON true
        LEFT JOIN LATERAL ({_SENT_UNDER_ITS_ID}) theirs ON true
        WHERE match = 'parked' AND received_at > :since AND coalesce(ours.id, theirs.id) IS NOT NULL
        FOR UPDATE OF receipt SKIP LOCKED
    )
    UPDATE receipt SET match = 'new' FROM known WHERE receipt.id = known.id
    """
)


def match_receipts() -> Counter[str]:
    """Match what has come in since the last time, in batches of one statement each.

    :returns: how many receipts ended how.
    """
    counts: Counter[str] = Counter()
    while True:
        with begin() as connection:
            rows = connection.execute(_MATCH, {"most": _BATCH, "now": clock.now()}).all()
        metrics.send(matched_points, rows)
        batch: Counter[str] = Counter()
        for row in rows:
            batch[row.match] += row.receipts
        counts += batch
        if batch.total() < _BATCH:
            return counts


def unpark_known(received_within: timedelta = PARKED_FOR) -> int:
    """Have parked receipts matched whose notice is known by now; return how many.

    :param received_within: look only at those that came in so lately.
    """
    with begin() as connection:
        return connection.execute(_KNOWN_NOW, {"since": clock.now() - received_within}).rowcount
