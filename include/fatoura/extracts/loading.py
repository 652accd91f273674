"""Loads an extract into its staging table, whole or not at all: the first stage of a billing cycle.

Called by the workflow's extract task and by the bench. Reads through `reading`, writes by COPY as the
records come, in flat memory. Knows the rules for an extract that comes again; judges no single record.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
from sqlalchemy import text

from fatoura import clock
from fatoura.cycles.keys import ExtractKey, is_of_a_day
from fatoura.cycles.stages import recorded_stage
from fatoura.database import begin, driver, locked
from fatoura.errors import NotReady
from fatoura.extracts.districts import seed_districts
from fatoura.extracts.landing import remember_announced
from fatoura.extracts.reading import STAGED, Reading
from fatoura.extracts.refusal import ExtractRefused
from fatoura.extracts.sources import LandingSource, Source

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from fatoura.extracts.manifest import Manifest
    from fatoura.landing import LandingPath

log = logging.getLogger(__name__)

_SQL_TYPES = {pa.int64(): "bigint", pa.string(): "text", pa.date32(): "date", pa.bool_(): "boolean"}

_DEFINITION = ", ".join(
    f"{column.name} {'jsonb' if column.name == 'unknown' else _SQL_TYPES[column.type]}"
    f"{'' if column.nullable else ' NOT NULL'}"
    for column in STAGED
)

# Empty texts stay empty texts; an empty field without quotes is a null, and only typed columns have those.
_COPY = "COPY {table} FROM STDIN (FORMAT csv)"
_WRITE = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")


@dataclass(frozen=True)
class ExtractLoaded:
    """What a load did. Counts and short words only: it may pass between tasks.

    :param outcome: ``loaded``; ``replaced``, when it took the place of an earlier extract of the same
        key; ``already loaded``, when nothing had to be done.
    :param total_amount_millimes: sum of all amounts that read as an integer.
    :param flaws: records that came broken, by kind; they are in the staging table, with their flaw.
    :param remarks: unknown columns, files that the manifest does not name.
    """

    partition_key: str
    extract_id: int
    cycle_id: int
    outcome: str
    rows: int
    total_amount_millimes: int
    parts: int
    flaws: dict[str, int] = field(default_factory=dict)
    unknown_columns: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def staging_table(extract_id: int) -> str:
    """Return the name of an extract's staging table."""
    return f"staging.extract_{int(extract_id)}"


def load_extract(
    key: ExtractKey,
    *,
    run_id: str | None,
    landing: str | LandingPath | None = None,
    source: Source | None = None,
) -> ExtractLoaded:
    """Load an extract into ``staging.extract_<id>``, and check it against its manifest.

    All in one transaction: a load that fails or is killed leaves nothing. Loading the same extract again
    does nothing. A changed one replaces what stands as long as none of its notices has gone out and no
    supplement rests on it; afterwards it is refused, for corrections come as a supplement.

    :param run_id: the run that asks for it, for the record.
    :param landing: the landing folder; none: the one of the settings.
    :param source: where to read from instead of the landing folder.
    :raises ExtractRefused: with everything that is wrong.
    :raises NotReady: for a supplement whose cycle has no extract yet.
    """
    if is_of_a_day(key.cycle):
        raise ExtractRefused(str(key), ["the days' cycles of warnings are called so: give it another key"])
    if source is None:
        source = LandingSource(landing)
    if isinstance(source, LandingSource):
        remember_announced([source.announcement(key)])
    with begin() as connection:
        seed_districts(connection)
    with (
        recorded_stage(None, "extract", supplement=key.supplement, run_id=run_id) as stage,
        locked(f"cycle {key.cycle}") as connection,
    ):
        loaded = _load(connection, key, source)
        stage.cycle_id = loaded.cycle_id
        stage.counts |= {"rows": loaded.rows, "parts": loaded.parts, "outcome": loaded.outcome}
        stage.counts |= loaded.flaws
        if loaded.unknown_columns:
            stage.counts["unknown columns"] = len(loaded.unknown_columns)
    for remark in loaded.remarks:
        log.warning("%s: %s", key, remark)
    return loaded


def _load(connection: Connection, key: ExtractKey, source: Source) -> ExtractLoaded:
    standing = _standing(connection, key)
    with source.open(key) as delivery:
        reading = Reading(delivery)
        # A manifest tells its digest beforehand; a database's is known once its rows have been read.
        known = delivery.declared is not None
        if known and _stands_already(connection, key, standing, reading.manifest()):
            return _already(key, standing)
        loading = f"staging.loading_{driver(connection).info.backend_pid}"
        _copy(connection, loading, reading)
    if reading.problems:
        raise ExtractRefused(str(key), reading.problems)
    manifest = reading.manifest()
    if not known and _stands_already(connection, key, standing, manifest):
        connection.execute(text(f"DROP TABLE {loading}"))
        return _already(key, standing)
    if standing is not None:
        _take_back(connection, standing.id)
    cycle_id, extract_id = _register(connection, key, source, manifest, reading.unknown_columns)
    _refuse_if_loaded_elsewhere(connection, key, extract_id, manifest)
    table = staging_table(extract_id)
    connection.execute(text(f"DROP TABLE IF EXISTS {table} CASCADE"))
    connection.execute(text(f"ALTER TABLE {loading} RENAME TO {table.rpartition('.')[2]}"))
    connection.execute(text(f"ANALYZE {table}"))
    return ExtractLoaded(
        str(key),
        extract_id,
        cycle_id,
        "loaded" if standing is None or standing.digest == manifest.digest else "replaced",
        reading.rows,
        reading.total,
        len(manifest.parts),
        dict(reading.flaws),
        reading.unknown_columns,
        reading.remarks,
    )


def _copy(connection: Connection, table: str, reading: Reading) -> None:
    connection.execute(text(f"CREATE UNLOGGED TABLE {table} ({_DEFINITION})"))
    # One batch is read while the one before it is written. The writing goes to the other thread: a source
    # may hold a connection that must stay in its own.
    with (
        driver(connection).cursor() as cursor,
        cursor.copy(_COPY.format(table=table).encode()) as copy,
        ThreadPoolExecutor(1) as writer,
    ):
        under_way: Future[None] | None = None
        for batch in reading.batches():
            written = pa.BufferOutputStream()
            pyarrow.csv.write_csv(batch, written, _WRITE)
            if under_way is not None:
                under_way.result()
            under_way = writer.submit(copy.write, memoryview(written.getvalue()))
        if under_way is not None:
            under_way.result()


# --- An extract that comes again ---------------------------------------------------------------------


def _standing(connection: Connection, key: ExtractKey) -> Row[Any] | None:
    """Find what was loaded under this key.

    :raises NotReady: for a supplement whose cycle has no extract.
    """
    loaded = {
        row.supplement: row
        for row in connection.execute(
            text("SELECT e.*, c.key FROM extract e JOIN cycle c ON c.id = e.cycle_id WHERE c.key = :cycle"),
            {"cycle": key.cycle},
        )
    }
    if key.supplement and 0 not in loaded:
        raise NotReady(f"{key} corrects an extract that has not been loaded: load that of {key.cycle} first")
    return loaded.get(key.supplement)


def _stands_already(
    connection: Connection, key: ExtractKey, standing: Row[Any] | None, manifest: Manifest
) -> bool:
    """Tell whether this very extract is loaded.

    :raises ExtractRefused: when another one is, and it cannot be replaced any more.
    """
    if standing is None:
        return False
    if standing.digest == manifest.digest:
        return _has_its_rows(connection, standing)
    _refuse_if_built_upon(connection, key, standing)
    return False


def _has_its_rows(connection: Connection, standing: Row[Any]) -> bool:
    """Tell whether the staged rows are still there, as long as they are needed.

    Staging is not logged: after a crash of the server it is empty, and is loaded again.
    """
    if standing.matched_at is not None or not standing.declared_rows:
        return True
    table = staging_table(standing.id)
    if connection.scalar(text("SELECT to_regclass(:table)"), {"table": table}) is None:
        return False
    return bool(connection.scalar(text(f"SELECT EXISTS (SELECT FROM {table})")))


def _already(key: ExtractKey, standing: Row[Any] | None) -> ExtractLoaded:
    assert standing is not None
    return ExtractLoaded(
        str(key),
        standing.id,
        standing.cycle_id,
        "already loaded",
        standing.declared_rows,
        int(standing.declared_total_millimes),
        len(standing.manifest.get("parts", ())),
    )


def _refuse_if_built_upon(connection: Connection, key: ExtractKey, standing: Row[Any]) -> None:
    values = {"extract": standing.id, "cycle": standing.cycle_id, "supplement": standing.supplement}
    gone = connection.scalar(text(f"SELECT count(*) FROM notice WHERE {_GONE_OUT}"), values)
    last = connection.scalar(text("SELECT max(supplement) FROM extract WHERE cycle_id = :cycle"), values)
    corrected = connection.scalar(
        text("SELECT count(*) FROM invoice WHERE extract_id = :extract AND revision > 0"), values
    )
    why = None
    if gone:
        why = f"{gone:,} of its notices have gone out"
    elif last > standing.supplement:
        why = f"supplement-{last} rests on it"
    elif corrected:
        # What it put in place of earlier invoices and notices cannot be put back.
        why = f"it has corrected {corrected:,} invoices"
    if why:
        raise ExtractRefused(
            str(key),
            [
                f"it differs from the one that was loaded, and {why}; deliver what has changed as "
                f"{key.cycle}/supplement-{last + 1}"
            ],
        )


# A cancelled notice never left; a planned one has not yet.
_GONE_OUT = "extract_id = :extract AND state NOT IN ('planned', 'cancelled')"


def _take_back(connection: Connection, extract_id: int) -> None:
    """Delete everything that came of an extract which is about to be replaced.

    :raises ExtractRefused: when a notice was claimed for sending meanwhile.
    """
    values = {"extract": extract_id}
    for statement in (
        "DELETE FROM cutoff_case USING notice WHERE notice_id = notice.id AND extract_id = :extract",
        "DELETE FROM attempt USING notice WHERE notice_id = notice.id AND extract_id = :extract",
        "DELETE FROM notice WHERE extract_id = :extract AND state IN ('planned', 'cancelled')",
        "DELETE FROM invoice WHERE extract_id = :extract",
        "DELETE FROM rejected_row WHERE extract_id = :extract",
    ):
        connection.execute(text(statement), values)
    if connection.scalar(text(f"SELECT EXISTS (SELECT FROM notice WHERE {_GONE_OUT})"), values):
        raise NotReady("a notice of this extract was taken for sending just now: its run has to end first")


def _refuse_if_loaded_elsewhere(
    connection: Connection, key: ExtractKey, extract_id: int, manifest: Manifest
) -> None:
    """Refuse a file that another extract was loaded from: an invoice is issued once."""
    checksums = {part.sha256.lower(): part.name for part in manifest.parts if part.rows}
    found = connection.execute(
        text(
            "SELECT c.key, e.supplement, lower(p ->> 'sha256') AS sha256 FROM extract e "
            "JOIN cycle c ON c.id = e.cycle_id, jsonb_array_elements(e.manifest -> 'parts') p "
            "WHERE e.id <> :extract AND lower(p ->> 'sha256') = ANY(:checksums) ORDER BY e.id"
        ),
        {"extract": extract_id, "checksums": list(checksums)},
    ).all()
    if found:
        raise ExtractRefused(
            str(key),
            [
                f"{checksums[row.sha256]}: the same file as was loaded for "
                f"{ExtractKey(row.key, row.supplement)}; deliver the file of this cycle"
                for row in found
            ],
        )


def _register(
    connection: Connection, key: ExtractKey, source: Source, manifest: Manifest, unknown_columns: list[str]
) -> tuple[int, int]:
    """Write down the cycle and the extract; return their ids."""
    now = clock.now()
    if not key.supplement:
        connection.execute(
            text(
                "INSERT INTO cycle (key, issue_date, created_at) VALUES (:key, :issue_date, :now) "
                "ON CONFLICT (key) DO UPDATE SET issue_date = excluded.issue_date"
            ),
            {"key": key.cycle, "issue_date": manifest.issue_date, "now": now},
        )
    row = connection.execute(
        text(
            "INSERT INTO extract (cycle_id, supplement, source, location, manifest, digest, declared_rows, "
            "declared_total_millimes, unknown_columns, loaded_at) "
            "SELECT id, :supplement, :source, :location, CAST(:manifest AS jsonb), :digest, :rows, :total, "
            ":unknown_columns, :now FROM cycle WHERE key = :cycle "
            "ON CONFLICT (cycle_id, supplement) DO UPDATE SET source = excluded.source, "
            "location = excluded.location, manifest = excluded.manifest, digest = excluded.digest, "
            "declared_rows = excluded.declared_rows, "
            "declared_total_millimes = excluded.declared_total_millimes, "
            "unknown_columns = excluded.unknown_columns, loaded_at = excluded.loaded_at, "
            "validated_at = NULL, rejected_rows = NULL, matched_at = NULL RETURNING cycle_id, id"
        ),
        {
            "cycle": key.cycle,
            "supplement": key.supplement,
            "source": source.kind,
            "location": source.location(key),
            "manifest": json.dumps(manifest.document()),
            "digest": manifest.digest,
            "rows": manifest.rows,
            "total": manifest.total_amount_millimes,
            "unknown_columns": unknown_columns,
            "now": now,
        },
    ).one()
    return row.cycle_id, row.id
