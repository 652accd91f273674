"""Erases what is kept no longer: numbers, texts, documents as they came, staged rows. Counts stay.

Called once a day by the workflow `retention`. Works in batches, each a transaction of its own; killed at any
time, the next run goes on. Of large tables a part is gone through at a time, and what is done is remembered.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from fatoura.settings import Settings

log = logging.getLogger(__name__)

BATCH = 20_000
"""Rows of a transaction."""

_BLOCK = 100_000  # ids of receipts that are gone through together


@dataclass(frozen=True)
class _Rule:
    """What of a table is erased, and when.

    :param place: table and column, as `fatoura.privacy.personal` names them.
    :param keep: for how long it is kept.
    :param due: which rows, as a condition on the row; `:before` is the end of what is due.
    :param empty: what the column becomes, as SQL.
    """

    place: str
    keep: Callable[[Settings], timedelta]
    due: str
    empty: str = "NULL"

    @property
    def table(self) -> str:
        return self.place.partition(".")[0]

    @property
    def column(self) -> str:
        return self.place.partition(".")[2]

    @property
    def held(self) -> str:
        """The condition for a row in which there is something to erase."""
        if self.place == "superseded_row.was":
            return "was ->> 'phone' IS NOT NULL"
        return f"{self.column} {'IS NOT NULL' if self.empty == 'NULL' else f'<> {self.empty}'}"


# What nobody knows the end of has had its last word too, after so long.
_SPOKEN = "state NOT IN ('planned', 'sending') AND coalesce(final_at, state_since) < :before"

_OF_NOTICES = (
    _Rule("notice.text", lambda settings: settings.keep_texts, f"text IS NOT NULL AND {_SPOKEN}"),
    _Rule("notice.phone", lambda settings: settings.keep_numbers, f"phone IS NOT NULL AND {_SPOKEN}"),
)
_OF_STATEMENTS = _Rule(
    "statement_line.recipient", lambda settings: settings.keep_numbers, "recipient IS NOT NULL"
)
_OF_RECEIPTS = _Rule(
    "receipt.raw",
    lambda settings: settings.keep_receipts,
    "raw <> '{}' AND received_at < :before",
    "'{}'",
)
_SMALL = (
    _Rule(
        "subscription.phone",
        lambda settings: settings.keep_ended,
        "phone IS NOT NULL AND state = 'ended' AND coalesce(ended_at, changed_at) < :before",
    ),
    # One that waits for its customer to become known has given nothing yet.
    _Rule(
        "coupon.phone",
        lambda settings: settings.keep_evidence,
        "phone IS NOT NULL AND judged_at < :before AND outcome <> 'waits'",
    ),
    _Rule(
        "verification.phone",
        lambda settings: settings.keep_evidence,
        "phone IS NOT NULL AND asked_at < :before",
    ),
    _Rule(
        "departure.reason",
        lambda settings: settings.keep_evidence,
        "reason IS NOT NULL AND applied_at < :before",
    ),
    _Rule(
        "rejected_row.fields",
        lambda settings: settings.keep_bad_rows,
        "fields <> '{}' AND extract_id IN (SELECT id FROM extract WHERE validated_at < :before)",
        "'{}'",
    ),
    # Who is named in one that is not settled is still spared: what it says is needed until it is.
    _Rule(
        "set_aside_row.fields",
        lambda settings: settings.keep_bad_rows,
        "fields <> '{}' AND (settled_at < :before OR content IN ('coupons', 'departures') "
        "AND feed_id IN (SELECT id FROM feed WHERE loaded_at < :before))",
        "'{}'",
    ),
    _Rule(
        "superseded_row.was",
        lambda settings: settings.keep_evidence,
        "was ->> 'phone' IS NOT NULL AND superseded_at < :before",
        "was - 'phone'",
    ),
)

RULES: tuple[_Rule, ...] = (*_OF_NOTICES, _OF_STATEMENTS, _OF_RECEIPTS, *_SMALL)
"""One for each column that holds what is personal; a test compares them with the list."""


def erase_due() -> dict[str, int]:
    """Erase what is kept no longer; return how many values, by table and column."""
    counts = Counter[str]()
    _settle_overdue()
    for rule in _SMALL:
        counts[rule.place] += _in_batches(rule)
    for rule in _OF_NOTICES:
        counts[rule.place] += _of_cycles(rule)
    counts[_OF_STATEMENTS.place] += _of_statements(_OF_STATEMENTS)
    counts[_OF_RECEIPTS.place] += _of_receipts(_OF_RECEIPTS)
    counts["staging"] += _drop_staged()
    erased = {place: count for place, count in sorted(counts.items()) if count}
    log.info("erased: %s", ", ".join(f"{place} {count}" for place, count in erased.items()) or "nothing")
    return erased


def _settle_overdue() -> None:
    """Settle rows of coupons and departures that no clerk has seen to in time: what they say is erased."""
    with begin() as connection:
        connection.execute(
            text(
                "UPDATE set_aside_row SET settled_at = :now, settled_by = 'retention', "
                "settlement = 'nobody has seen to it in time' WHERE settled_at IS NULL "
                "AND content IN ('coupons', 'departures') "
                "AND feed_id IN (SELECT id FROM feed WHERE loaded_at < :before)"
            ),
            {"now": clock.now(), "before": clock.now() - get_settings().keep_bad_rows},
        )


def _before(rule: _Rule) -> datetime:
    return clock.now() - rule.keep(get_settings())


def _of_cycles(rule: _Rule) -> int:
    """Go through the notices of each cycle that may hold something due: they lie together."""
    before, erased = _before(rule), 0
    for cycle in _parts("SELECT id FROM cycle WHERE issue_date <= :before", rule, before):
        of_it = {"part": cycle}
        with connect() as connection:
            span = connection.execute(
                text("SELECT min(id::text), max(id::text) FROM notice WHERE cycle_id = :part"), of_it
            ).one()
        if span[0] is not None:
            erased += _by_key(rule, "id", "uuid", tuple(span), "cycle_id = :part", cycle)
        _remember(rule, cycle, f"SELECT FROM notice WHERE cycle_id = :part AND {rule.column} IS NOT NULL")
    return erased


def _of_statements(rule: _Rule) -> int:
    before, erased = _before(rule), 0
    for statement in _parts("SELECT id FROM statement WHERE imported_at < :before", rule, before):
        erased += _by_key(rule, "line", "int", (0, 2**31 - 1), "statement_id = :part", statement)
        _remember(rule, statement, "SELECT WHERE false")
    return erased


def _of_receipts(rule: _Rule) -> int:
    erased = 0
    blocks = f"SELECT generate_series(0, (SELECT max(id) FROM receipt) / {_BLOCK})"
    for block in _parts(blocks, rule, _before(rule)):
        span = (block * _BLOCK, (block + 1) * _BLOCK - 1)
        erased += _by_key(rule, "id", "bigint", span, "true", block)
        left = f"SELECT FROM receipt WHERE id BETWEEN {span[0]} AND {span[1]} AND raw <> '{{}}'"
        to_come = f"SELECT WHERE (SELECT max(id) FROM receipt) <= {span[1]}"
        if not _remember(rule, block, f"{left} UNION ALL {to_come}"):
            break  # they come in the order of time: what follows is younger
    return erased


def _parts(query: str, rule: _Rule, before: datetime) -> Sequence[int]:
    """Return the parts of a table that are to be gone through, the oldest first."""
    with connect() as connection:
        return connection.scalars(
            text(
                f"SELECT part FROM ({query}) AS due (part) WHERE NOT EXISTS (SELECT FROM retention_done d "
                "WHERE d.place = :place AND d.part = due.part) ORDER BY part"
            ),
            {"place": rule.place, "before": before},
        ).all()


def _remember(rule: _Rule, part: int, left: str) -> bool:
    """Remember that nothing is left in a part, if that is so; tell whether it is.

    :param left: a query for what is left of `:part`.
    """
    with begin() as connection:
        done = connection.execute(
            text(
                "INSERT INTO retention_done (place, part, done_at) SELECT :place, :part, :now "
                f"WHERE NOT EXISTS ({left})"
            ),
            {"place": rule.place, "part": part, "now": clock.now()},
        )
    return bool(done.rowcount)


def _by_key(rule: _Rule, key: str, kind: str, span: tuple[object, object], which: str, part: int) -> int:
    """Erase what is due of a part, page after page of its key; return how many values.

    :param kind: the key's SQL type.
    :param span: the first and the last key that may be there.
    :param which: which rows are of the part, as a condition with `:part`.
    """
    statement = text(
        f"""
        WITH page AS (
            SELECT {key} AS at, {rule.due} AS due FROM {rule.table}
            WHERE {key} BETWEEN CAST(:first AS {kind}) AND CAST(:last AS {kind}) AND {which}
                AND (CAST(:after AS {kind}) IS NULL OR {key} > CAST(:after AS {kind}))
            ORDER BY {key} LIMIT {BATCH}
        ), erased AS (
            UPDATE {rule.table} SET {rule.column} = {rule.empty}
            FROM page WHERE page.due AND {key} = page.at AND {which}
            RETURNING 1
        )
        SELECT (SELECT at FROM page ORDER BY at DESC LIMIT 1) AS last, (SELECT count(*) FROM erased) AS erased
        """
    )
    erased, after = 0, None
    values = {"first": span[0], "last": span[1], "part": part, "before": _before(rule)}
    while True:
        with begin() as connection:
            page = connection.execute(statement, {**values, "after": after}).one()
        if page.last is None:
            return erased
        after = page.last
        erased += page.erased


def _in_batches(rule: _Rule) -> int:
    erased = 0
    while True:
        with begin() as connection:
            batch = connection.execute(
                text(
                    f"UPDATE {rule.table} SET {rule.column} = {rule.empty} WHERE ctid = ANY(ARRAY("
                    f"SELECT ctid FROM {rule.table} WHERE {rule.due} LIMIT {BATCH} FOR UPDATE SKIP LOCKED))"
                ),
                {"before": _before(rule)},
            ).rowcount
        erased += batch
        if batch < BATCH:
            return erased


def _drop_staged() -> int:
    """Drop the staged rows of extracts that are done with; return how many extracts these are."""
    with connect() as connection:
        extracts = connection.scalars(
            text(
                "SELECT id FROM extract WHERE matched_at < :before "
                "AND to_regclass('staging.extract_' || id) IS NOT NULL ORDER BY id"
            ),
            {"before": clock.now() - get_settings().keep_staged},
        ).all()
    for extract in extracts:
        with begin() as connection:
            connection.execute(text(f"DROP TABLE IF EXISTS staging.extract_{int(extract)} CASCADE"))
    return len(extracts)
