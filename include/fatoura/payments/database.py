"""Payments as rows of another system's database: what has changed since the last time, in one snapshot.

Called beside the landing folder. Watermarks are asked of the database itself, in the snapshot that the rows
then come from. What was read last is remembered in the feed's own manifest. Knows nothing of our own tables
but that.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import column, func, select, table, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from fatoura import clock
from fatoura.cutoff.rules import Channel
from fatoura.database import connect
from fatoura.errors import NotReady
from fatoura.feeds.delivery import Delivery
from fatoura.feeds.loading import FeedLoaded, load_feed
from fatoura.feeds.names import name_at
from fatoura.feeds.records import PartUnreadableError, RawRow, is_storable, storable
from fatoura.feeds.refusal import FeedRefused
from fatoura.feeds.values import InstantError, read_instant
from fatoura.outside_databases import engine_of, reason_of, snapshot
from fatoura.payments.loading import PAYMENTS
from fatoura.payments.manifest import PaymentsManifest
from fatoura.payments.records import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from sqlalchemy import ColumnElement, Connection, Engine, FromClause, Select


_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class DatabaseManifest(PaymentsManifest):
    """What a read says of itself; `read_until` is the last change that it has seen, by the other's clock."""

    read_until: datetime | None


class PaymentsDatabase:
    """Payments in a table, view or query of another system, with a column that tells when a row changed.

    Each look reads what has changed since the last one, and a stretch before it again: rows that were
    written before others but committed after them. Repeated rows are harmless.
    """

    def __init__(
        self,
        engine: Engine | str,
        *,
        name: str = "payments",
        table: str = "payments",
        query: str | None = None,
        changed_column: str = "changed_at",
        watermark_table: str = "payment_watermark",
        watermark_query: str | None = None,
        overlap: timedelta = timedelta(hours=1),
        zone: ZoneInfo | None = None,
        fetch: int = 5_000,
    ) -> None:
        """Describe where the rows are.

        :param engine: an engine, or an SQLAlchemy URL.
        :param name: what the place is called in records and messages, such as the connection's id.
        :param table: a table or view with the contract's columns, with or without its schema.
        :param query: a SELECT instead of a table; ``:since`` in it becomes the instant to read from,
            at first 1970.
        :param changed_column: the column that tells when a row was written or changed last.
        :param watermark_table: a table or view of ``channel`` and ``complete_until``.
        :param watermark_query: a SELECT of these two columns instead.
        :param overlap: how much is read again.
        :param zone: of times that the database holds without an offset.
        :param fetch: rows a round trip.
        """
        self.engine = engine_of(engine)
        self.name = name
        self.table = table
        self.query = query
        self.changed_column = changed_column
        self.watermark_table = watermark_table
        self.watermark_query = watermark_query
        self.overlap = overlap
        self.zone = zone
        self.fetch = fetch

    @property
    def location(self) -> str:
        """The connection's name and the table's; never a password."""
        return f"{self.name}: {'a query' if self.query else self.table}"

    def take(self, *, run_id: str | None = None) -> FeedLoaded:
        """Load what has changed since the last time.

        :raises FeedRefused: when a table or column is missing, or what is there cannot be taken.
        :raises NotReady: when the database does not answer.
        """
        try:
            with self._open() as delivery:
                return load_feed(PAYMENTS, delivery, run_id=run_id)
        except _Away as away:
            raise NotReady(f"the database does not answer ({away})") from None

    @contextmanager
    def _open(self) -> Iterator[Delivery[PaymentsManifest]]:
        last = self._last_read()
        try:
            opened = snapshot(self.engine)
            connection = opened.__enter__()
        except OperationalError as error:
            raise _Away(reason_of(error)) from None
        try:
            yield self._delivery(connection, last)
        finally:
            opened.__exit__(None, None, None)

    def _last_read(self) -> datetime | None:
        """Return the last change that was seen, as the other database told it."""
        with connect() as connection:
            told = connection.scalar(
                text(
                    "SELECT manifest ->> 'read_until' FROM feed WHERE content = 'payments' "
                    "AND source = 'database' AND location = :location ORDER BY id DESC LIMIT 1"
                ),
                {"location": self.location},
            )
        return None if told is None else datetime.fromisoformat(told)

    def _delivery(self, connection: Connection, last: datetime | None) -> Delivery[PaymentsManifest]:
        subject = PAYMENTS.called(self.name)
        complete_until = self._watermarks(connection, subject)
        rows = self._rows(last)
        try:
            counted: Select[*tuple[Any, ...]] = select(
                func.count(), func.max(column(self.changed_column))
            ).select_from(rows)
            count, changed = connection.execute(counted).one()
        except OperationalError as error:
            raise _Away(reason_of(error)) from None
        except SQLAlchemyError as error:
            raise FeedRefused(subject, [f"{self.location} cannot be read ({reason_of(error)})"]) from None
        if changed is not None and not isinstance(changed, datetime):
            raise FeedRefused(subject, [f"{self.location}: {self.changed_column} does not hold times"])
        manifest = DatabaseManifest.model_construct(
            feed=name_at(clock.now(), f"{self.name}-"),
            rows=count,
            parts=(),
            total_amount_millimes=0,  # summed while they are read
            complete_until=complete_until,
            read_until=changed or last,
        )
        if problems := list(manifest.problems()):
            raise FeedRefused(subject, [f"{self.name}: {problem}" for problem in problems])
        names: list[ColumnElement[Any]] = [column(name) for name in COLUMNS]
        statement: Select[*tuple[Any, ...]] = select(*names).select_from(rows).order_by(*names)
        part = _DatabasePart(
            self.table if not self.query else "query",
            connection.execution_options(yield_per=self.fetch),
            statement,
            self.zone,
        )
        return Delivery(manifest, "database", self.location, [part], summed=False, recurring=True)

    def _watermarks(self, connection: Connection, subject: str) -> dict[Channel, datetime]:
        where = "the query of watermarks" if self.watermark_query else self.watermark_table
        names: list[ColumnElement[Any]] = [column("channel"), column("complete_until")]
        source = _subquery(self.watermark_query, "watermarks") if self.watermark_query else _table(where)
        try:
            told = connection.execute(select(*names).select_from(source)).all()
        except OperationalError as error:
            raise _Away(reason_of(error)) from None
        except SQLAlchemyError as error:
            raise FeedRefused(
                subject, [f"{self.name}: {where} cannot be read ({reason_of(error)})"]
            ) from None
        found: dict[Channel, datetime] = {}
        for channel, instant in told:
            if channel not in tuple(Channel):
                problem = f"names a channel that is none; they are {', '.join(Channel)}"
            elif (read := self._instant(instant)) is None:
                problem = (
                    "holds a complete_until that is no time with offset; where the database has none, name "
                    "its zone in the connection's extra: timezone"
                )
            elif Channel(channel) in found:
                problem = f"names {channel} twice"
            else:
                found[Channel(channel)] = read
                continue
            raise FeedRefused(subject, [f"{self.name}: {where} {problem}"])
        return found

    def _instant(self, value: object) -> datetime | None:
        try:
            return read_instant(_as_text(value, self.zone))
        except InstantError:
            return None

    def _rows(self, last: datetime | None) -> FromClause:
        since = last - self.overlap if last is not None else None
        if self.query:
            source: FromClause = _subquery(self.query, "payment_query", since=since or _BEGINNING)
        else:
            source = _table(self.table)
        chosen = select(text("*")).select_from(source)
        if since is not None:
            chosen = chosen.where(column(self.changed_column) >= since)
        return chosen.subquery("payment_rows")


class _Away(Exception):
    """The other database does not answer; the text is its driver's."""


@dataclass
class _DatabasePart:
    name: str
    connection: Connection
    statement: Any
    zone: ZoneInfo | None
    sha256: str | None = None

    def rows(self) -> Iterator[RawRow]:
        """Read the rows, in the order of their columns: the same rows always give the same checksum."""
        digest = hashlib.sha256()
        try:
            for rows in self.connection.execute(self.statement).partitions():
                texts = [[_as_text(value, self.zone) for value in row] for row in rows]
                written = io.StringIO()
                csv.writer(written).writerows(texts)
                digest.update(written.getvalue().encode(errors="surrogatepass"))
                for row in texts:
                    fields = dict(zip(COLUMNS, row, strict=True))
                    if all(map(is_storable, row)):
                        yield fields, None
                    else:
                        yield storable(fields), "not_utf8"
        except OperationalError as error:
            raise _Away(reason_of(error)) from None
        except SQLAlchemyError as error:
            raise PartUnreadableError(f"cannot be read ({reason_of(error)})") from None
        self.sha256 = digest.hexdigest()


def _table(name: str) -> FromClause:
    schema, _, plain = name.rpartition(".")
    return table(plain, schema=schema or None)


def _subquery(query: str, name: str, **values: Any) -> FromClause:
    statement = text(re.sub(r";\s*\Z", "", query.strip()))
    named = {key: value for key, value in values.items() if re.search(rf"(?<![:\w]):{key}\b", query)}
    # Its columns are named by the database, so none is declared here.
    return statement.bindparams(**named).columns().subquery(name)


def _as_text(value: object, zone: ZoneInfo | None) -> str:
    """Write a database's value as a CSV would hold it."""
    match value:
        case None:
            return ""
        case str():
            return value
        case datetime():
            aware = value.replace(tzinfo=zone) if value.tzinfo is None and zone is not None else value
            return aware.isoformat()
        case Decimal() if value == value.to_integral_value():
            return str(int(value))
        case bytes():
            return value.decode(errors="replace")
        case _:
            return str(value)
