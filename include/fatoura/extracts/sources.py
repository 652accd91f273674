"""Where extracts come from: the landing folder, or a billing database. Both hand over records as text.

Called by `load_extract` and by `fatoura extracts check`. A source says what an extract declares of itself
and gives its parts; whether the two agree is found by the reader. Knows nothing of our own database.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from datetime import time as day_time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import column, false, func, select, table, text
from sqlalchemy.exc import SQLAlchemyError

from fatoura.extracts.columns import COLUMNS, Header, Records
from fatoura.extracts.csv_records import PartUnreadableError, as_json, read_csv
from fatoura.extracts.landing import (
    Announcement,
    extract_folder,
    manifest_digest,
)
from fatoura.extracts.manifest import read_manifest
from fatoura.extracts.parquet_records import clean_text, read_parquet
from fatoura.extracts.refusal import ExtractRefused
from fatoura.extracts.values import read_day
from fatoura.landing import landing_path
from fatoura.manifests import FILE_NAME, LARGEST
from fatoura.manifests import Part as PartDeclared
from fatoura.outside_databases import engine_of, reason_of, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine, FromClause, Select

    from fatoura.cycles.keys import ExtractKey
    from fatoura.landing import LandingPath

_CHUNK = 524_288


class Part(Protocol):
    """A part of an extract. `header` and `sha256` are known when its records have been read to the end."""

    name: str
    header: Header | None
    sha256: str | None

    def records(self) -> Iterator[Records]:
        """Read the records, in order.

        :raises PartUnreadableError: when it cannot be cut into the contract's columns.
        """


@dataclass
class Delivery:
    """An extract that is open for reading.

    :param declared_rows: the control total of records, of all parts.
    :param declared_total: the control total of amounts, in millimes.
    :param declared: what the manifest says of each part, in the order of `parts`; none for a database,
        whose manifest is made of what was read.
    :param remarks: what is odd about it and does no harm.
    """

    cycle: str
    issue_date: date
    declared_rows: int
    declared_total: int
    parts: list[Part]
    declared: tuple[PartDeclared, ...] | None
    remarks: list[str] = field(default_factory=list)


class Source(Protocol):
    """Where an extract comes from."""

    kind: Literal["landing", "database"]

    def location(self, key: ExtractKey) -> str:
        """Say where the extract lies: a folder, or a connection and table; never a password."""

    def open(self, key: ExtractKey) -> AbstractContextManager[Delivery]:
        """Open an extract for reading.

        :raises ExtractRefused: when there is none, or it cannot be read at all.
        """


# --- The landing folder ------------------------------------------------------------------------------


@dataclass
class FilePart:
    """A file of an extract, CSV or Parquet by its name. Its checksum is taken while it is read."""

    name: str
    path: LandingPath
    header: Header | None = None
    sha256: str | None = None

    def records(self) -> Iterator[Records]:
        """Read the records, in order.

        :raises PartUnreadableError: when the file is missing, or no file of the contract.
        """
        found: list[Header] = []
        try:
            with self.path.open("rb") as file:
                read = self._csv if self.name.lower().endswith(".csv") else self._parquet
                for records in read(file, found):
                    self.header = found[0]
                    yield records
        except FileNotFoundError:
            raise PartUnreadableError("named in the manifest, but not there; deliver it") from None
        except IsADirectoryError:
            raise PartUnreadableError("a folder, not a file") from None
        self.header = found[0] if found else None

    def _csv(self, file: Any, found: list[Header]) -> Iterator[Records]:
        digest = hashlib.sha256()

        def chunks() -> Iterator[bytes]:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                yield chunk

        stream = chunks()
        try:
            yield from read_csv(stream, found)
        except PartUnreadableError:
            for _ in stream:  # what cannot be cut has a checksum all the same
                pass
            raise
        finally:
            self.sha256 = digest.hexdigest()

    def _parquet(self, file: Any, found: list[Header]) -> Iterator[Records]:
        # Parquet is read from its end: the checksum takes a pass of its own.
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        self.sha256 = digest.hexdigest()
        file.seek(0)
        yield from read_parquet(file, found)


class LandingSource:
    """Extracts as files below ``<landing>/billing``."""

    kind: Literal["landing", "database"] = "landing"

    def __init__(self, landing: str | LandingPath | None = None) -> None:
        self.landing = landing_path(landing)

    def location(self, key: ExtractKey) -> str:
        """Return the extract's folder."""
        return str(extract_folder(self.landing, key))

    def announcement(self, key: ExtractKey) -> Announcement:
        """Return the manifest of an extract as the landing folder remembers it.

        :raises ExtractRefused: when there is no manifest.
        """
        content = _manifest_bytes(extract_folder(self.landing, key), str(key))
        return Announcement(str(key), manifest_digest(content))

    @contextmanager
    def open(self, key: ExtractKey) -> Iterator[Delivery]:
        """Open an extract for reading.

        :raises ExtractRefused: when there is no manifest, or it is wrong.
        """
        yield open_folder(extract_folder(self.landing, key), key, str(key))


def open_folder(folder: LandingPath, key: ExtractKey | None, subject: str) -> Delivery:
    """Open the extract that lies in a folder.

    :param key: the extract it must be; none takes what the manifest says.
    :param subject: how a refusal names the extract.
    :raises ExtractRefused: when there is no manifest, or it is wrong.
    """
    manifest = read_manifest(_manifest_bytes(folder, subject), key, subject)
    named = {part.name for part in manifest.parts}
    others = sorted(
        path.name
        for path in folder.iterdir()
        if path.name and path.name != FILE_NAME and path.name not in named and not _is_supplement(path)
    )
    return Delivery(
        manifest.cycle,
        manifest.issue_date,
        manifest.rows,
        manifest.total_amount_millimes,
        [FilePart(part.name, folder / part.name) for part in manifest.parts],
        manifest.parts,
        [f"{name}: not named in the manifest, left alone" for name in others],
    )


def _manifest_bytes(folder: LandingPath, subject: str) -> bytes:
    try:
        with (folder / FILE_NAME).open("rb") as stream:
            content: bytes = stream.read(LARGEST + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise ExtractRefused(
            subject, [f"there is no {FILE_NAME} in {folder}; an extract is complete when it is written"]
        ) from None
    return content


def _is_supplement(path: LandingPath) -> bool:
    return path.name.startswith("supplement-") and path.is_dir()


# --- A billing database ------------------------------------------------------------------------------


class DatabaseSource:
    """Extracts as rows of a billing database: the same columns, by SQLAlchemy, in one snapshot.

    Count and total are asked of the database itself, in the snapshot that the rows then come from: they
    are the control totals that a manifest would give. A supplement's rows bear the key of the supplement
    (``2026-05-T1/supplement-1``) where others bear the cycle's.
    """

    kind: Literal["landing", "database"] = "database"

    def __init__(
        self,
        engine: Engine | str,
        *,
        name: str = "billing",
        table: str = "invoices",
        query: str | None = None,
        cycle_column: str = "cycle",
        fetch: int = 5_000,
    ) -> None:
        """Describe where the rows are.

        :param engine: an engine, or an SQLAlchemy URL; an Airflow connection is resolved by the DAG.
        :param name: what the source is called in records and messages, such as the connection's id.
        :param table: a table or view, with or without its schema (``billing.invoices``).
        :param query: a SELECT instead of a table; ``:cycle`` in it becomes the extract's key.
        :param cycle_column: the column of `table` that holds the extract's key.
        :param fetch: rows a round trip.
        """
        self.engine = engine_of(engine)
        self.name = name
        self.table = table
        self.query = query
        self.cycle_column = cycle_column
        self.fetch = fetch

    def location(self, key: ExtractKey) -> str:
        """Return the connection's name and the table's; never a password."""
        return f"{self.name}: {'a query' if self.query else self.table}, {key}"

    @contextmanager
    def open(self, key: ExtractKey) -> Iterator[Delivery]:
        """Open an extract for reading: take the snapshot, and ask it for its control totals.

        :raises ExtractRefused: when the table, a column or every row is missing, or amounts cannot be
            summed.
        """
        with snapshot(self.engine) as connection:
            yield self._delivery(connection, key)

    def _delivery(self, connection: Connection, key: ExtractKey) -> Delivery:
        subject = str(key)
        rows = self._rows(key)
        try:
            names = tuple(connection.execute(select(text("*")).select_from(rows).where(false())).keys())
        except SQLAlchemyError as error:
            raise ExtractRefused(
                subject, [f"{self.name}: {self.table} cannot be read ({reason_of(error)})"]
            ) from None
        header = Header(tuple(name for name in names if self.query or name != self.cycle_column))
        if problems := header.problems():
            raise ExtractRefused(subject, [f"{self.name}: {problem}" for problem in problems])
        try:
            sums: Select[*tuple[Any, ...]] = select(
                func.count(), func.sum(column("amount_due_millimes"))
            ).select_from(rows)
            count, total = connection.execute(sums).one()
        except SQLAlchemyError as error:
            raise ExtractRefused(
                subject,
                [
                    f"{self.name}: amount_due_millimes cannot be summed by the database "
                    f"({reason_of(error)}); make it an integer"
                ],
            ) from None
        if not count:
            raise ExtractRefused(subject, [f"{self.name}: {self.table} holds no row of {key}"])
        if total is not None and total != int(total):
            raise ExtractRefused(
                subject,
                [f"{self.name}: amount_due_millimes does not hold integers (their sum is no integer)"],
            )
        issued = connection.execute(
            select(column("issue_date"))
            .select_from(rows)
            .group_by(column("issue_date"))
            .order_by(func.count().desc(), column("issue_date"))
        ).scalar()
        issue_date = read_day(_as_text("issue_date", issued))
        if issue_date is None:
            raise ExtractRefused(subject, [f"{self.name}: most rows have an issue_date that is no day"])
        statement: Select[*tuple[Any, ...]] = select(*(column(name) for name in header.names)).select_from(
            rows
        )
        part = _DatabasePart(
            self.table if not self.query else "query",
            connection.execution_options(yield_per=self.fetch),
            statement.order_by(*(column(name) for name in COLUMNS)),
            header,
        )
        return Delivery(key.cycle, issue_date, count, int(total or 0), [part], None)

    def _rows(self, key: ExtractKey) -> FromClause:
        if self.query:
            query = text(re.sub(r";\s*\Z", "", self.query.strip()))
            if re.search(r"(?<![:\w]):cycle\b", self.query):
                query = query.bindparams(cycle=str(key))
            # Its columns are named by the database, so none is declared here.
            return query.columns().subquery("extract_rows")
        schema, _, name = self.table.rpartition(".")
        source = table(name, schema=schema or None)
        chosen = select(text("*")).select_from(source).where(column(self.cycle_column) == str(key))
        return chosen.subquery("extract_rows")


@dataclass
class _DatabasePart:
    name: str
    connection: Connection
    statement: Any
    header: Header | None
    sha256: str | None = None

    def records(self) -> Iterator[Records]:
        """Read the records, in the order of their columns: the same rows always give the same checksum."""
        assert self.header is not None
        digest = hashlib.sha256()
        names = self.header.names
        known = [names.index(name) for name in COLUMNS]
        unknown = [(at, names[at]) for at in range(len(names)) if names[at] not in COLUMNS]
        try:
            for rows in self.connection.execute(self.statement).partitions():
                texts = [[_as_text(names[at], value) for at, value in enumerate(row)] for row in rows]
                written = io.StringIO()
                csv.writer(written).writerows(texts)
                digest.update(written.getvalue().encode(errors="surrogatepass"))
                yield _records(texts, known, unknown)
        except SQLAlchemyError as error:
            raise PartUnreadableError(f"the database broke off ({reason_of(error)})") from None
        self.sha256 = digest.hexdigest()


def _records(texts: list[list[str]], known: list[int], unknown: list[tuple[int, str]]) -> Records:
    fields, broken = [], None
    for at in known:
        values = [row[at].encode(errors="surrogatepass") for row in texts]
        cleaned, bad = clean_text(pa.array(values, pa.binary()))
        fields.append(cleaned)
        if bad is not None:
            broken = bad if broken is None else pc.or_(broken, bad)
    kept = (
        as_json({name: row[at].replace("\0", "") for at, name in unknown} for row in texts)
        if unknown
        else None
    )
    flaw = None if broken is None else pc.if_else(broken, "not_utf8", pa.scalar(None, pa.string()))
    return Records(tuple(fields), kept, flaw)


def _as_text(name: str, value: object) -> str:
    """Write a database's value as a CSV would hold it."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() if name == "estimated" and value in {0, 1}:
            return "true" if value else "false"  # a database without booleans
        case datetime() if value.timetz() == day_time():
            return value.date().isoformat()  # a database without plain days
        case date():
            return value.isoformat()
        case Decimal() if value == value.to_integral_value():
            return str(int(value))
        case bytes():
            return value.decode(errors="replace")
        case _:
            return str(value)
