"""Merges the rows of a feed with what stands: new, repeated, corrected, or too late to stand.

Called by the load, in its transaction. Which of two rows stands is decided by their rank alone, so that feeds
may arrive in any order. Works in sets, on the temporary table `incoming`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.feeds.content import Content, NewFeed


def merge(connection: Connection, content: Content[Any], feed: NewFeed) -> Counter[str]:
    """Merge the good rows; return how many were new, repeated, corrected and superseded.

    Leaves them in the temporary table `merging`, with their `verdict`, whether they now stand (`stands`), and
    what stood before (`was`).
    """
    statements = _Statements(content)
    values = {"feed": feed.id, "name": feed.name, "content": content.name, "now": feed.at}
    # An instant as JSON is text in the session's zone: what is compared must be written alike.
    connection.execute(text("SET LOCAL timezone = 'UTC'"))
    connection.execute(text(statements.judge), values)
    connection.execute(text("ANALYZE merging"))
    counts = Counter[str]()
    for verdict, rows, alike in connection.execute(
        text("SELECT verdict, count(*), sum(alike - 1) FROM merging GROUP BY verdict")
    ):
        counts[verdict] += rows
        counts["repeated"] += int(alike)
    if counts["new"]:
        connection.execute(text(statements.add), values)
    if counts["corrected"]:
        connection.execute(text(statements.keep_what_stood), values)
        connection.execute(text(statements.correct), values)
    if counts["superseded"]:
        connection.execute(text(statements.keep_what_came_late), values)
    if counts["corrected"] or counts["superseded"]:
        connection.execute(text(statements.count_versions), values)
    if counts["repeated"]:
        connection.execute(text(statements.confirm), values)
    return counts


def settle_by_good_rows(connection: Connection, content: Content[Any], feed: NewFeed) -> int:
    """Settle rows that were set aside earlier, or just now, and about which a later good row stands."""
    subject = content.subject
    done = connection.execute(
        text(
            f"UPDATE set_aside_row s SET settled_at = :now, settled_by = 'feed', settlement = t.told_in "
            f"FROM {content.table} t, feed f WHERE s.content = :content AND s.settled_at IS NULL "
            f"AND f.id = s.feed_id AND t.{subject} = s.subject AND {content.settles} "
            f"AND (s.feed_id = :feed OR s.subject IN (SELECT {subject} FROM merging))"
        ),
        {"now": feed.at, "content": content.name, "feed": feed.id},
    )
    return done.rowcount


class _Statements:
    """The statements of a content. `i` is a row that came, `t` one that stands, `m` one that was judged."""

    def __init__(self, content: Content[Any]) -> None:
        key, values, table = content.key, content.values, content.table
        same_key = " AND ".join(f"t.{column} = {{0}}.{column}" for column in key)
        typed = list(content.typed)

        def row(alias: str) -> str:
            return _row(f"{alias}.{column}" for column in values)

        def rank(alias: str) -> str:
            return _row(f'{alias}.{column} COLLATE "C"' if column == "told_in" else f"{alias}.{column}"
                        for column in content.rank)  # fmt: skip

        def as_json(alias: str, columns: tuple[str, ...]) -> str:
            pairs = ", ".join(f"'{column}', {alias}.{column}" for column in columns)
            return f"jsonb_build_object({pairs})"

        def said(alias: str) -> str:
            return as_json(alias, values)

        # The subject and the invoice have columns of their own where superseded rows are kept.
        further = tuple(column for column in key[1:] if column != "invoice_number")

        def kept(alias: str) -> str:
            return as_json(alias, (*further, *values, "row_number", *content.rank))

        one_invoice = "{0}.invoice_number" if "invoice_number" in typed else "NULL"
        listed = ", ".join(key)
        first = f"DISTINCT ON ({listed})"
        self.judge = (
            f"CREATE TEMPORARY TABLE merging ON COMMIT DROP AS "
            f"SELECT i.*, t.feed_id AS stood_in, "
            f"CASE WHEN t.feed_id IS NULL THEN 'new' WHEN {row('t')} IS NOT DISTINCT FROM {row('i')} "
            f"THEN 'repeated' WHEN {rank('i')} > {rank('t')} THEN 'corrected' ELSE 'superseded' END "
            f"AS verdict, "
            f"t.feed_id IS NULL OR {rank('i')} > {rank('t')} AS stands, "
            f"CASE WHEN t.feed_id IS NOT NULL THEN {said('t')} END AS was "
            f"FROM (SELECT {first} row_number, {', '.join(typed)}, CAST(:name AS text) AS told_in, "
            f"count(*) OVER (PARTITION BY {listed}) AS alike "
            f"FROM incoming WHERE reasons IS NULL ORDER BY {listed}, row_number) i "
            f"LEFT JOIN {table} t ON {same_key.format('i')}"
        )
        columns = [*typed, "told_in", "row_number"]
        extras = content.extras
        self.add = (
            f"INSERT INTO {table} ({', '.join([*columns, 'feed_id', *extras])}) "
            f"SELECT {', '.join([*(f'm.{column}' for column in columns), ':feed', *extras.values()])} "
            "FROM merging m WHERE m.verdict = 'new'"
        )
        changed = {
            **{column: f"m.{column}" for column in columns if column not in key},
            "feed_id": ":feed",
            **extras,
        }
        self.correct = (
            f"UPDATE {table} t SET {', '.join(f'{column} = {value}' for column, value in changed.items())} "
            f"FROM merging m WHERE m.verdict = 'corrected' AND {same_key.format('m')}"
        )
        self.confirm = (
            f"UPDATE {table} t SET {', '.join(f'{column} = m.{column}' for column in content.rank)} "
            f"FROM merging m WHERE m.verdict = 'repeated' AND m.stands AND {same_key.format('m')}"
        )
        into = (
            "INSERT INTO superseded_row "
            "(content, subject, invoice_number, was, feed_id, superseded_by, superseded_at) "
        )
        self.keep_what_stood = (
            f"{into} SELECT :content, t.{key[0]}, {one_invoice.format('t')}, {kept('t')}, "
            f"t.feed_id, :feed, :now "
            f"FROM merging m JOIN {table} t ON {same_key.format('m')} WHERE m.verdict = 'corrected'"
        )
        of_the_key = f"s.content = :content AND s.subject = t.{key[0]}" + "".join(
            f" AND s.was ->> '{column}' = CAST(t.{column} AS text)"
            if column in further
            else f" AND s.{column} = t.{column}"
            for column in key[1:]
        )
        # A file that says every day what a person has set right leaves one trace, not one a day.
        self.keep_what_came_late = (
            f"{into} SELECT :content, m.{key[0]}, {one_invoice.format('m')}, {kept('m')}, "
            f":feed, t.feed_id, :now "
            f"FROM merging m JOIN {table} t ON {same_key.format('m')} WHERE m.verdict = 'superseded' "
            f"AND NOT EXISTS (SELECT FROM superseded_row s WHERE {of_the_key} AND s.was @> {said('m')})"
        )
        # Whatever the order in which they came: all versions but the one that stands are among them.
        versions = _row(f"s.was -> '{column}'" for column in values)
        self.count_versions = (
            f"UPDATE {table} t SET revision = (SELECT least(count(DISTINCT {versions}), 32767) "
            f"FROM superseded_row s WHERE {of_the_key} AND NOT s.was @> {said('t')}) "
            f"FROM merging m WHERE m.verdict IN ('corrected', 'superseded') AND {same_key.format('m')}"
        )


def _row(parts: Any) -> str:
    return f"ROW({', '.join(parts)})"
