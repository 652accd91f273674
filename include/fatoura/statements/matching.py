"""Which attempt each line of a statement is about: by our id, by the provider's, by phone and time.

Called by the comparison, inside its transaction; leaves temporary tables for it. Works in sets; only phone
and time, which a set statement cannot pair one to one, stream through here, a phone at a time.
"""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, text

from fatoura.database import driver
from fatoura.ledger.billing import COUNTED, DOUBTFUL
from fatoura.privacy.sealing import insist_on_one_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from uuid import UUID

    from fatoura.statements.periods import Period

COUNTED_CLASS, DOUBTFUL_CLASS, REFUSED_CLASS = 0, 1, 2
"""How an attempt of ours stands: the provider bills it, may bill it, or has refused it. In this order an
attempt is preferred where several could be meant."""

# Attempts just outside the month may be counted in it: a clock that is a little off, midnight.
_MARGIN = timedelta(days=1)

# Two messages to a phone within the window are told apart by the nearer time first.
_CLOSE = timedelta(minutes=1)

_OURS = f"""
    SELECT a.notice_id, a.number, a.claimed_at, coalesce(a.answered_at, a.claimed_at) AS at,
        -- What came with a receipt only is kept with the notice.
        coalesce(a.provider_id,
            CASE WHEN a.number = n.attempts AND n.gateway = a.gateway THEN n.provider_id END) AS provider_id,
        n.phone, n.kind, n.segments::int AS segments, n.state,
        CASE WHEN {COUNTED} THEN {COUNTED_CLASS} WHEN {DOUBTFUL} THEN {DOUBTFUL_CLASS}
            ELSE {REFUSED_CLASS} END AS class,
        a.claimed_at >= :begins AND a.claimed_at < :ends AS inside
    FROM attempt a JOIN notice n ON n.id = a.notice_id
    WHERE a.gateway = :gateway
"""

# What the lines are about in months before and after: looked for where the month itself has too little.
_EARLIER_AND_LATER = f"""
    WITH wanted AS MATERIALIZED (
        SELECT a.notice_id, a.number
        FROM attempt a JOIN (
            SELECT b.notice_id
            FROM (SELECT notice_id, count(*) AS lines FROM billed WHERE notice_id IS NOT NULL GROUP BY 1) b
            LEFT JOIN (SELECT notice_id, count(*) AS attempts FROM ours GROUP BY 1) o USING (notice_id)
            WHERE b.lines > coalesce(o.attempts, 0)
        ) short ON short.notice_id = a.notice_id
        WHERE a.gateway = :gateway
        UNION
        SELECT a.notice_id, a.number
        FROM attempt a JOIN billed b ON b.provider_id = a.provider_id
        WHERE a.gateway = :gateway AND b.notice_id IS NULL
            AND NOT EXISTS (SELECT FROM ours o WHERE o.provider_id = b.provider_id)
    )
    INSERT INTO ours
    SELECT found.*, EXISTS (
        SELECT FROM statement_match m JOIN statement s ON s.id = m.statement_id
        WHERE m.notice_id = found.notice_id AND m.attempt = found.number AND NOT m.surplus
            AND s.gateway = :gateway AND s.id <> :id
    ) AS elsewhere
    FROM wanted JOIN ({_OURS}) found USING (notice_id, number)
    WHERE NOT EXISTS (SELECT FROM ours o WHERE o.notice_id = found.notice_id AND o.number = found.number)
"""

# So many attempts as there are lines of a key, the best ones; then line by line in the order of time. With
# more lines than attempts, the last lines are left over.
_PAIR = """
    INSERT INTO pair (line, notice_id, number, matched_by, surplus)
    WITH lines AS (
        SELECT line, {line_key} AS key, row_number() OVER same AS place,
            count(*) OVER (PARTITION BY {line_key}) AS most
        FROM billed WHERE {which} AND {line_key} IS NOT NULL
            AND NOT EXISTS (SELECT FROM pair WHERE pair.line = billed.line)
        WINDOW same AS (PARTITION BY {line_key} ORDER BY submitted_at NULLS LAST, line)
    ), ranked AS (
        SELECT {our_key} AS key, notice_id, number, at, row_number() OVER (
            PARTITION BY {our_key} ORDER BY class, NOT inside, at, number, notice_id) AS rank
        FROM ours WHERE {our_key} IS NOT NULL AND NOT elsewhere AND NOT EXISTS (
            SELECT FROM pair WHERE pair.notice_id = ours.notice_id AND pair.number = ours.number
        )
    ), chosen AS (
        SELECT key, notice_id, number, row_number() OVER (
            PARTITION BY key ORDER BY at, number, notice_id) AS place
        FROM ranked JOIN (SELECT DISTINCT key, most FROM lines) asked USING (key) WHERE rank <= most
    )
    SELECT line, notice_id, number, '{by}', false FROM lines JOIN chosen USING (key, place)
"""

# Of what is left over, the attempt is known: another line counts it already, of this statement or another.
_SURPLUS = """
    INSERT INTO pair (line, notice_id, number, matched_by, surplus)
    SELECT line, notice_id, number, '{by}', true
    FROM (
        SELECT line, {line_key} AS key FROM billed
        WHERE {which} AND NOT EXISTS (SELECT FROM pair WHERE pair.line = billed.line)
    ) left_over JOIN (
        SELECT DISTINCT ON (key) {our_key} AS key, notice_id, number FROM ours WHERE {our_key} IS NOT NULL
        ORDER BY key, class, NOT inside, at, number
    ) known USING (key)
"""


class _Step(NamedTuple):
    """A way to tell which attempt is meant."""

    by: str
    line_key: str
    our_key: str
    which: str


_STEPS = (
    _Step("notice_id", "(notice_id::text || '/' || attempt)", "(notice_id::text || '/' || number)",
          "notice_id IS NOT NULL AND attempt IS NOT NULL"),
    _Step("notice_id", "notice_id", "notice_id", "notice_id IS NOT NULL AND attempt IS NULL"),
    _Step("provider_id", "provider_id", "provider_id", "notice_id IS NULL"),
)  # fmt: skip

# Lines and attempts that nothing else has paired, by phone. An attempt with an id of its own is not meant by
# a line with another one.
_BY_PHONE = """
    SELECT recipient AS phone, line::text, NULL::uuid, NULL::smallint, submitted_at, submitted_until,
        NULL::int, provider_id IS NOT NULL
    FROM billed WHERE notice_id IS NULL AND recipient IS NOT NULL AND submitted_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM pair WHERE pair.line = billed.line)
    UNION ALL
    SELECT phone, NULL, notice_id, number, at, NULL, class, provider_id IS NOT NULL
    FROM ours WHERE phone IS NOT NULL AND NOT elsewhere AND phone IN (
            SELECT recipient FROM billed WHERE notice_id IS NULL
        ) AND NOT EXISTS (
            SELECT FROM pair WHERE pair.notice_id = ours.notice_id AND pair.number = ours.number
        )
    ORDER BY 1
"""

# What was paired by a number before that was erased, of the line or of the message, stays paired.
_AS_BEFORE = """
    INSERT INTO pair (line, notice_id, number, matched_by, surplus)
    SELECT m.line, m.notice_id, m.attempt, m.matched_by, m.surplus
    FROM statement_match m
    JOIN billed b ON b.line = m.line
    JOIN ours o ON o.notice_id = m.notice_id AND o.number = m.attempt AND NOT o.elsewhere
    WHERE m.statement_id = :id AND m.matched_by = 'recipient' AND (b.recipient IS NULL OR o.phone IS NULL)
        AND NOT EXISTS (SELECT FROM pair WHERE pair.line = m.line)
        AND NOT EXISTS (SELECT FROM pair WHERE pair.notice_id = m.notice_id AND pair.number = m.attempt)
"""


def match_lines(
    connection: Connection, statement_id: int, gateway: str, period: Period, window: timedelta
) -> None:
    """Pair the lines of a detail with attempts, and keep the pairs.

    Leaves temporary tables until the transaction ends: `billed` (a row a message that the provider counts),
    `ours` (attempts that may be meant, those of the month among them) and `pair`.

    :param window: how far the provider's clock and ours may lie apart.
    """
    values: dict[str, Any] = {
        "id": statement_id,
        "gateway": gateway,
        "begins": period.begins,
        "ends": period.ends,
        "from": period.begins - _MARGIN,
        "to": period.ends + _MARGIN,
    }

    def run(statement: str) -> None:
        connection.execute(text(statement), values)

    run(
        """
        CREATE TEMPORARY TABLE billed ON COMMIT DROP AS
        SELECT message AS line, any_value(notice_id) AS notice_id, any_value(attempt) AS attempt,
            any_value(provider_id) AS provider_id, any_value(recipient) AS recipient,
            min(submitted_at) AS submitted_at, max(submitted_until) AS submitted_until,
            sum(segments)::int AS segments, sum(amount_millimes) AS amount
        FROM statement_line WHERE statement_id = :id AND billed GROUP BY message
        """
    )
    run(
        f"""
        CREATE TEMPORARY TABLE ours ON COMMIT DROP AS
        SELECT found.*, false AS elsewhere
        FROM ({_OURS} AND a.claimed_at >= :from AND a.claimed_at < :to) found
        """
    )
    # Just outside the month, another month's statement may count them, and has the better right.
    run(
        """
        UPDATE ours SET elsewhere = true
        FROM statement_match m JOIN statement s ON s.id = m.statement_id
        WHERE NOT ours.inside AND m.notice_id = ours.notice_id AND m.attempt = ours.number AND NOT m.surplus
            AND s.gateway = :gateway AND s.id <> :id
        """
    )
    run("ANALYZE billed")
    run("ANALYZE ours")
    run(_EARLIER_AND_LATER)
    run("ANALYZE ours")
    run(
        "CREATE TEMPORARY TABLE pair (line int, notice_id uuid, number smallint, matched_by text, "
        "surplus boolean) ON COMMIT DROP"
    )
    for step in _STEPS:
        run(_PAIR.format(**step._asdict()))
        run("ANALYZE pair")
        run(_SURPLUS.format(**step._asdict()))
        run("ANALYZE pair")
    run(_AS_BEFORE)
    run("ANALYZE pair")
    _pair_by_phone(connection, window)
    run("ANALYZE pair")
    _keep(run)


def _keep(run: Any) -> None:
    """Keep the pairs; write only what has changed since the last time."""
    run(
        """
        DELETE FROM statement_match m WHERE m.statement_id = :id AND NOT EXISTS (
            SELECT FROM pair p WHERE p.line = m.line AND p.notice_id = m.notice_id AND p.number = m.attempt
                AND p.matched_by = m.matched_by AND p.surplus = m.surplus
        )
        """
    )
    run(
        """
        INSERT INTO statement_match (statement_id, line, notice_id, attempt, matched_by, surplus)
        SELECT :id, line, notice_id, number, matched_by, surplus FROM pair ON CONFLICT DO NOTHING
        """
    )


# --- By phone and time ---------------------------------------------------------------------------------


class Billed(NamedTuple):
    """A line that has to be found by its time."""

    line: int
    begins: datetime
    ends: datetime
    has_id: bool


class Ours(NamedTuple):
    """An attempt that no line has been found for."""

    notice_id: UUID
    number: int
    at: datetime
    kind: int
    """`COUNTED_CLASS`, `DOUBTFUL_CLASS` or `REFUSED_CLASS`."""
    has_id: bool


def pair_by_time(
    lines: Iterable[Billed], attempts: Iterable[Ours], window: timedelta
) -> Iterator[tuple[Billed, Ours]]:
    """Pair lines and attempts of one phone, one to one, no pair further apart than `window`.

    The nearer ones first; of those, attempts that the provider accepted before those in doubt, and these
    before refused ones.
    """
    lines, attempts = list(lines), list(attempts)
    for reach in dict.fromkeys((min(_CLOSE, window), window)):
        for kind in (COUNTED_CLASS, DOUBTFUL_CLASS, REFUSED_CLASS):
            for ids in (False, True):
                pairs = list(
                    _within(
                        [line for line in lines if not (ids and line.has_id)],
                        [one for one in attempts if one.kind == kind and one.has_id == ids],
                        reach,
                    )
                )
                taken = {line.line for line, _ in pairs}
                gone = {(one.notice_id, one.number) for _, one in pairs}
                lines = [line for line in lines if line.line not in taken]
                attempts = [one for one in attempts if (one.notice_id, one.number) not in gone]
                yield from pairs


def _within(lines: list[Billed], attempts: list[Ours], reach: timedelta) -> Iterator[tuple[Billed, Ours]]:
    """Pair as many as possible (Glover's rule): each attempt, in its order, with the line that ends first."""
    waiting: list[tuple[datetime, int, Billed]] = []
    coming = sorted(lines, key=lambda line: (line.begins, line.line), reverse=True)
    for attempt in sorted(attempts, key=lambda one: (one.at, one.notice_id, one.number)):
        while coming and coming[-1].begins - reach <= attempt.at:
            line = coming.pop()
            heapq.heappush(waiting, (line.ends + reach, line.line, line))
        while waiting and waiting[0][0] < attempt.at:
            heapq.heappop(waiting)
        if waiting:
            yield heapq.heappop(waiting)[2], attempt


def _pair_by_phone(connection: Connection, window: timedelta) -> None:
    """Pair what is left by phone and time: streams out by phone, pairs stream in beside."""
    insist_on_one_form(connection, ("notice", "phone"), ("statement_line", "recipient"))
    session = driver(connection)
    found: list[tuple[Any, ...]] = []

    def write() -> None:
        columns = "line, notice_id, number, matched_by, surplus"
        with session.cursor().copy(f"COPY pair ({columns}) FROM STDIN") as copy:
            for row in found:
                copy.write_row(row)
        found.clear()

    with session.cursor("by_phone") as rows:
        rows.itersize = 2_000
        rows.execute(_BY_PHONE)
        for _, group in groupby(rows, key=itemgetter(0)):
            lines, attempts = list[Billed](), list[Ours]()
            for _, line, notice_id, number, begins, ends, kind, has_id in group:
                if line is not None:
                    lines.append(Billed(int(line), begins, ends, has_id))
                else:
                    attempts.append(Ours(notice_id, number, begins, kind, has_id))
            if lines and attempts:
                found += [
                    (line.line, one.notice_id, one.number, "recipient", False)
                    for line, one in pair_by_time(lines, attempts, window)
                ]
            if len(found) >= 10_000:
                write()
    write()
