"""Loads a feed: reads and checks it, sets bad rows aside, merges the good ones. One transaction, or nothing.

Called for every feed, wherever it comes from. What payments or facts mean is known by their contents. Rows
travel by COPY as they are read, in flat memory; everything after that is done in sets.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.database import driver, locked
from fatoura.feeds.content import Content, M, NewFeed
from fatoura.feeds.merging import merge, settle_by_good_rows
from fatoura.feeds.reading import Reading
from fatoura.feeds.records import RowFlaws
from fatoura.feeds.refusal import FeedDiffers, FeedRefused
from fatoura.feeds.refused import forget_refusal
from fatoura.feeds.values import is_identifier, probable_invoice_number, probable_reference
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from fatoura.feeds.delivery import Delivery
    from fatoura.feeds.records import Record

log = logging.getLogger(__name__)

TOLD = 20
"""Rows set aside that an outcome names; all are kept."""

_FEW = 10
"""So many bad rows stop no feed, whatever its size."""


@dataclass(frozen=True)
class FeedLoaded:
    """What became of a feed. Names, counts and codes only: it may pass between tasks.

    :param outcome: ``loaded``, or ``already loaded`` when nothing had to be done.
    :param counts: its rows by what became of them: ``new``, ``repeated``, ``corrected``, ``superseded``
        (a later feed had said otherwise), ``set_aside``; beside them ``settled``, rows of any feed that were
        set aside and are settled now.
    :param set_aside: the first rows that were set aside.
    """

    content: str
    feed: str
    feed_id: int
    outcome: str
    rows: int
    counts: dict[str, int] = field(default_factory=dict)
    set_aside: tuple[RowFlaws, ...] = ()
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            **asdict(self),
            "set_aside": [flaw for row in self.set_aside for flaw in row.as_json()],
            "remarks": list(self.remarks),
        }


def load_feed(content: Content[M], delivery: Delivery[M], *, run_id: str | None = None) -> FeedLoaded:
    """Load a feed: all its rows, each in one bucket, in one transaction.

    The same feed again does nothing. One that dies on the way leaves nothing.

    :param run_id: the run that asks for it, for the log.
    :raises FeedRefused: with everything that is wrong.
    :raises FeedDiffers: when another feed was loaded under its name.
    """
    started = time.monotonic()
    # One after the other: which of two rows stands is looked up and written without a step between.
    with locked(f"feeds of {content.name}") as connection:
        loaded = _load(connection, content, delivery)
    told = ", ".join(f"{how} {count}" for how, count in loaded.counts.items())
    log.info(
        "%s: %s, rows %d%s in %.1f s%s",
        content.called(loaded.feed),
        loaded.outcome,
        loaded.rows,
        f", {told}" if told else "",
        time.monotonic() - started,
        f" ({run_id})" if run_id else "",
    )
    for remark in loaded.remarks:
        log.warning("%s: %s", content.called(loaded.feed), remark)
    return loaded


def allowed_flaws(content: Content[Any], rows: int) -> float:
    """Return how many rows of a feed may break a rule; with more of them, its form is what is wrong."""
    share = content.bad_rows_share() if content.bad_rows_share else get_settings().guard_bad_rows_share
    return max(_FEW, share * rows)


def _load(connection: Connection, content: Content[M], delivery: Delivery[M]) -> FeedLoaded:
    name, subject = delivery.manifest.feed, content.called(delivery.manifest.feed)
    standing = connection.execute(
        text("SELECT id, name, digest, manifest FROM feed WHERE content = :content AND name = :name"),
        {"content": content.name, "name": name},
    ).one_or_none()
    if standing is not None:
        if standing.digest != delivery.manifest.digest:
            raise FeedDiffers(subject, [_DIFFERS])
        forget_refusal(connection, content, name)
        return _already(content, standing)
    reading = Reading(content, delivery)
    unknown = _stage(connection, content, reading)
    if reading.problems:
        raise FeedRefused(subject, reading.problems)
    manifest = reading.manifest()
    last = _last_from(connection, content, delivery.location) if delivery.recurring else None
    if last is not None and last.digest == manifest.digest:
        return _already(content, last)
    _mark_contradictions(connection, content)
    known = _leave_out_known_flaws(connection, content, delivery.location) if delivery.recurring else 0
    set_aside = connection.scalar(text("SELECT count(*) FROM incoming WHERE reasons IS NOT NULL")) or 0
    if set_aside > allowed_flaws(content, reading.rows):
        raise _too_many(connection, content, reading.rows, set_aside, subject)
    feed = _register(connection, content, delivery, manifest)
    values = {"feed": feed.id, "content": content.name, "told": TOLD}
    connection.execute(text(_KEEP_SET_ASIDE), values)
    counts = merge(connection, content, feed)
    counts["set_aside"] = set_aside
    counts["repeated"] += known
    counts["settled"] = settle_by_good_rows(connection, content, feed)
    content.after(connection, feed)
    forget_refusal(connection, content, name)
    told = {how: count for how, count in sorted(counts.items()) if count}
    connection.execute(
        text("UPDATE feed SET counts = CAST(:counts AS jsonb) WHERE id = :feed"),
        {"counts": json.dumps({"rows": reading.rows, **told}), "feed": feed.id},
    )
    return FeedLoaded(
        content.name,
        name,
        feed.id,
        "loaded",
        reading.rows,
        told,
        _first_set_aside(connection),
        (*delivery.remarks, *(f"unknown column {column!r}, read by nobody" for column in unknown)),
    )


_DIFFERS = (
    "another feed was loaded under this name; deliver what has changed under a name that sorts after it, and "
    "take this one away"
)


def _last_from(connection: Connection, content: Content[Any], location: str) -> Row[Any] | None:
    return connection.execute(
        text(
            "SELECT id, name, digest, manifest FROM feed WHERE content = :content AND location = :location "
            "ORDER BY id DESC LIMIT 1"
        ),
        {"content": content.name, "location": location},
    ).one_or_none()


def _already(content: Content[Any], feed: Row[Any]) -> FeedLoaded:
    return FeedLoaded(content.name, feed.name, feed.id, "already loaded", feed.manifest["rows"])


# --- Rows into the database --------------------------------------------------------------------------


def _stage(connection: Connection, content: Content[M], reading: Reading[M]) -> list[str]:
    """Check the rows and COPY them into the temporary table `incoming`; return the unknown columns."""
    typed = ", ".join(f"{column} {kind}" for column, kind in content.typed.items())
    connection.execute(
        text(
            "CREATE TEMPORARY TABLE incoming (row_number bigint, part text, part_row bigint, fields jsonb, "
            f"reasons text[], subject text, probable_invoice text, probable_customer text, {typed}) "
            "ON COMMIT DROP"
        )
    )
    check = content.check(reading.delivery.manifest)
    nothing = (None,) * len(content.typed)
    known = frozenset(content.columns)
    unknown: dict[str, None] = {}
    with driver(connection).cursor().copy("COPY incoming FROM STDIN") as copy:
        for record in reading.records():
            checked = check(record)
            fields = record.fields
            if len(fields) > len(known):
                unknown.update((column, None) for column in fields if column and column not in known)
            row = (
                record.row,
                record.part,
                record.part_row,
                json.dumps(content.kept(fields, record.flaw), ensure_ascii=False),
            )
            if isinstance(checked, list):
                copy.write_row((*row, [str(flaw) for flaw in checked], *_named_by(content, record), *nothing))
            else:
                copy.write_row((*row, None, None, None, None, *checked))
    connection.execute(text("ANALYZE incoming"))
    return list(unknown)


def _named_by(content: Content[Any], record: Record) -> tuple[str | None, str | None, str | None]:
    """Return what a row that breaks a rule is about: id, invoice and customer, as far as it tells."""
    subject = record.text(content.subject).strip()
    if not content.bears_on_warnings:
        return (subject if is_identifier(subject) else None, None, None)
    return (
        subject if is_identifier(subject) else None,
        probable_invoice_number(record.text("invoice_number")),
        probable_reference(record.text("customer_reference")),
    )


def _mark_contradictions(connection: Connection, content: Content[Any]) -> None:
    """Mark rows that contradict each other within the feed as rows that break a rule."""
    key, values = ", ".join(content.key), ", ".join(content.values)
    invoice, customer = (
        column if content.bears_on_warnings and column in content.typed else "NULL"
        for column in ("invoice_number", "customer_reference")
    )
    connection.execute(
        text(
            f"UPDATE incoming SET reasons = ARRAY['{content.subject}: conflicting_rows'], "
            f"subject = {content.subject}, probable_invoice = {invoice}, probable_customer = {customer} "
            f"WHERE reasons IS NULL AND ({key}) IN (SELECT {key} FROM incoming WHERE reasons IS NULL "
            f"GROUP BY {key} HAVING count(*) > 1 AND count(DISTINCT ROW({values})) > 1)"
        )
    )


def _leave_out_known_flaws(connection: Connection, content: Content[Any], location: str) -> int:
    """Leave out bad rows that were set aside before, and return how many: that place tells them each time."""
    return connection.execute(
        text(
            "DELETE FROM incoming i USING set_aside_row s, feed f WHERE i.reasons IS NOT NULL "
            "AND s.content = :content AND f.id = s.feed_id AND f.location = :location AND s.fields = i.fields"
        ),
        {"content": content.name, "location": location},
    ).rowcount


def _too_many(
    connection: Connection, content: Content[Any], rows: int, set_aside: int, subject: str
) -> FeedRefused:
    found = connection.execute(
        text("SELECT reason, count(*) FROM incoming, unnest(reasons) reason GROUP BY 1 ORDER BY 2 DESC, 1")
    ).all()
    told = ", ".join(f"{count:,} × {reason}" for reason, count in found[:5])
    return FeedRefused(
        subject,
        [
            f"{set_aside:,} of {rows:,} rows break a rule ({told}), more than {content.bad_rows_setting} "
            "allows: it is the form that is wrong, not the rows; correct it and deliver it again"
        ],
        _first_set_aside(connection),
    )


def _first_set_aside(connection: Connection) -> tuple[RowFlaws, ...]:
    first = connection.execute(
        text("SELECT row_number, reasons FROM incoming WHERE reasons IS NOT NULL ORDER BY 1 LIMIT :told"),
        {"told": TOLD},
    )
    return tuple(RowFlaws(row, tuple(reasons)) for row, reasons in first)


_KEEP_SET_ASIDE = """
INSERT INTO set_aside_row (feed_id, row_number, part, part_row, content, reasons, fields, subject,
    invoice_number, customer_reference)
SELECT :feed, row_number, part, part_row, :content, reasons, fields, subject, probable_invoice,
    probable_customer
FROM incoming WHERE reasons IS NOT NULL
"""


def _register(
    connection: Connection, content: Content[Any], delivery: Delivery[Any], manifest: Any
) -> NewFeed:
    now = clock.now()
    feed_id = connection.execute(
        text(
            "INSERT INTO feed (content, name, source, location, manifest, digest, loaded_at) VALUES "
            "(:content, :name, :source, :location, CAST(:manifest AS jsonb), :digest, :now) RETURNING id"
        ),
        {
            "content": content.name,
            "name": manifest.feed,
            "source": delivery.source,
            "location": delivery.location,
            "manifest": json.dumps(manifest.document()),
            "digest": manifest.digest,
            "now": now,
        },
    ).scalar_one()
    return NewFeed(feed_id, manifest.feed, manifest, now)
