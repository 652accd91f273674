"""Loads a provider's statement: reads it by its form, sets bad lines aside, and keeps the rest by COPY.

Called by `fatoura statements import`. The same file again changes nothing; another file for the same gateway
and month replaces the one before. It judges no line by the ledger: that is the matching's work.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from fatoura import clock
from fatoura.database import driver, locked
from fatoura.phones_at_rest import sealed
from fatoura.statements.files import StatementUnreadable, opened
from fatoura.statements.forms import FormError, NamedForm, known_forms, load_form
from fatoura.statements.lines import Line, Reader, Totals
from fatoura.statements.periods import Period, demand_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from fatoura.statements.files import Table

log = logging.getLogger(__name__)

_TOLD = 10  # flaws that the outcome names; all are kept
_MANY_FLAWED = 1000  # so many, and more than good lines: it is the form that is wrong, not the lines

_COLUMNS = (
    "statement_id, line, message, notice_id, attempt, provider_id, recipient, submitted_at, submitted_until, "
    "messages, segments, amount_millimes, status, billed, label, kinds"
)

# Parts of one message have its id: the first of them stands for all.
_JOIN_PARTS = text(
    """
    UPDATE statement_line part SET message = whole.first
    FROM (
        SELECT line, min(line) OVER (PARTITION BY
            coalesce(notice_id::text || '/' || coalesce(attempt, 0), provider_id)) AS first
        FROM statement_line
        WHERE statement_id = :id AND (notice_id IS NOT NULL OR provider_id IS NOT NULL)
    ) whole
    WHERE part.statement_id = :id AND part.line = whole.line AND part.message <> whole.first
    """
)


@dataclass(frozen=True)
class ImportedStatement:
    """What became of a file.

    :param outcome: ``imported``, ``replaced`` (it took the place of an earlier file), or ``unchanged``.
    :param lines: that can be counted; `set_aside` those that cannot. Totals of the file are neither.
    :param reasons: how many flaws of which field and code; a line may have several.
    :param first_flaws: some of them: line, field, reason.
    """

    outcome: str
    statement_id: int
    gateway: str
    period: str
    form: str
    lines: int
    set_aside: int
    reasons: dict[str, int]
    first_flaws: tuple[tuple[int, str, str], ...]
    revision: int

    def as_json(self) -> dict[str, Any]:
        """Return the import's part of the document of `fatoura statements import --json`."""
        return {
            "outcome": self.outcome,
            "gateway": self.gateway,
            "period": self.period,
            "form": self.form,
            "revision": self.revision,
            "lines": self.lines,
            "set_aside": self.set_aside,
            "reasons": self.reasons,
            "first_set_aside": [
                {"line": line, "field": field, "reason": reason} for line, field, reason in self.first_flaws
            ],
        }


def import_statement(
    path: Path, gateway: str, period: Period, *, form_name: str | None = None
) -> ImportedStatement:
    """Load a file as what a provider says that it counted in a month.

    :param gateway: whose statement it is.
    :param form_name: a form's name, or its file's path; without one, the form that is named as the gateway,
        or else the one that is named as its adapter.
    :raises BadInput: for an unknown gateway or form, or a file that cannot be used as a whole.
    """
    started = time.monotonic()
    # One after the other for a gateway: a line of one month may be about a message of another.
    with locked(f"statements of {gateway}") as connection:
        adapter = demand_gateway(connection, gateway)
        named = _form(gateway, adapter, form_name)
        digest = _digest(path, named)
        before = connection.execute(
            text("SELECT id, digest, revision FROM statement WHERE gateway = :gateway AND period = :period"),
            {"gateway": gateway, "period": period.first_day},
        ).one_or_none()
        if before is not None and before.digest == digest:
            return _outcome(connection, before.id, "unchanged")
        try:
            with opened(path, named.form) as table:
                statement_id = _write(connection, gateway, period, named, path.name, digest, table)
        except StatementUnreadable as error:
            raise StatementUnreadable(f"{path}: {error}") from None
        outcome = _outcome(connection, statement_id, "imported" if before is None else "replaced")
    log.info(
        "statement of %s for %s: %d lines, %d set aside in %.1f s",
        gateway,
        period,
        outcome.lines,
        outcome.set_aside,
        time.monotonic() - started,
    )
    return outcome


def _form(gateway: str, adapter: str, asked: str | None) -> NamedForm:
    if asked is not None:
        return load_form(asked)
    known = known_forms()
    name = next((name for name in (gateway, adapter) if name in known), None)
    if name is None:
        raise FormError(
            f"there is no statement form for {gateway!r} ({adapter}); known are {', '.join(known)}. Give one "
            "with --form, or write one (see docs/statements.md)"
        )
    return load_form(name)


def _digest(path: Path, named: NamedForm) -> str:
    digest = hashlib.sha256(named.digest.encode())
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise StatementUnreadable(f"{path}: the file cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _write(
    connection: Connection,
    gateway: str,
    period: Period,
    named: NamedForm,
    name: str,
    digest: str,
    table: Table,
) -> int:
    statement_id = _statement(connection, gateway, period, named, name, digest)
    lines, flaws, flawed, totals = _copy(connection, statement_id, named, table)
    if not lines:
        raise _unfit(named, flaws)
    with (
        driver(connection)
        .cursor()
        .copy("COPY statement_flaw (statement_id, line, field, reason) FROM STDIN") as copy
    ):
        for line, field, reason in flaws:
            copy.write_row((statement_id, line, field, reason))
    if named.form.lines_are == "segments":
        connection.execute(_JOIN_PARTS, {"id": statement_id})
    connection.execute(
        text(
            "UPDATE statement SET lines = :lines, set_aside = :flawed, declared_segments = :segments, "
            "declared_millimes = :amount WHERE id = :id"
        ),
        {
            "id": statement_id,
            "lines": lines,
            "flawed": flawed,
            "segments": totals.segments,
            "amount": totals.amount,
        },
    )
    connection.execute(text("ANALYZE statement_line"))
    return statement_id


def _unfit(named: NamedForm, flaws: list[tuple[int, str, str]]) -> StatementUnreadable:
    reasons = Counter(f"{field}: {reason}" for _, field, reason in flaws)
    told = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common(5))
    return StatementUnreadable(
        f"the form {named.name!r} does not fit the file: {told or 'nothing stands below the heading'}"
    )


def _statement(
    connection: Connection, gateway: str, period: Period, named: NamedForm, name: str, digest: str
) -> int:
    """Write the statement's row, and empty the lines of an earlier file."""
    statement_id: int = connection.execute(
        text(
            """
            INSERT INTO statement (gateway, period, level, file, digest, form, time_window,
                segment_price_millimes, lines, set_aside, imported_at)
            VALUES (:gateway, :period, :level, :file, :digest, :form, :time_window, :price, 0, 0, :now)
            ON CONFLICT (gateway, period) DO UPDATE SET level = excluded.level, file = excluded.file,
                digest = excluded.digest, form = excluded.form, time_window = excluded.time_window,
                segment_price_millimes = excluded.segment_price_millimes,
                imported_at = excluded.imported_at, revision = statement.revision + 1
            RETURNING id
            """
        ),
        {
            "gateway": gateway,
            "period": period.first_day,
            "level": named.form.level,
            "file": name,
            "digest": digest,
            "form": named.name,
            "time_window": named.form.time_window,
            "price": named.form.segment_price_millimes,
            "now": clock.now(),
        },
    ).scalar_one()
    for table in ("statement_line", "statement_match", "statement_flaw"):
        connection.execute(text(f"DELETE FROM {table} WHERE statement_id = :id"), {"id": statement_id})
    return statement_id


def _copy(
    connection: Connection, statement_id: int, named: NamedForm, table: Table
) -> tuple[int, list[tuple[int, str, str]], int, Totals]:
    """Check the rows and COPY the good ones; return their number, the flaws, and the file's own totals."""
    zone = named.form.zone or clock.zone()
    reader = Reader(named.form, table.places, zone)
    one_segment = named.form.lines_are == "segments" and "segments" not in table.places
    lines, flawed, flaws, totals = 0, 0, list[tuple[int, str, str]](), Totals(None, None)
    with driver(connection).cursor().copy(f"COPY statement_line ({_COLUMNS}) FROM STDIN") as copy:
        for row in table.rows:
            read = reader.read(row)
            if isinstance(read, Totals):
                totals = read
            elif isinstance(read, list):
                flawed += 1
                flaws += [(row.line, flaw.field, flaw.code) for flaw in read]
                if flawed > max(lines, _MANY_FLAWED):
                    raise _unfit(named, flaws)
            else:
                lines += 1
                copy.write_row(_values(statement_id, read, one_segment=one_segment))
    return lines, flaws, flawed, totals


def _values(statement_id: int, line: Line, *, one_segment: bool) -> tuple[Any, ...]:
    segments = 1 if one_segment and line.billed else line.segments
    return (
        statement_id,
        line.line,
        line.line,
        line.notice_id,
        line.attempt,
        line.provider_id,
        line.recipient and sealed(line.recipient),
        line.submitted_at,
        line.until,
        line.messages,
        segments,
        line.amount,
        line.status,
        line.billed,
        line.label,
        list(line.kinds) if line.kinds is not None else None,
    )


def _outcome(connection: Connection, statement_id: int, outcome: str) -> ImportedStatement:
    row = connection.execute(text("SELECT * FROM statement WHERE id = :id"), {"id": statement_id}).one()
    reasons = connection.execute(
        text(
            "SELECT field || ': ' || reason, count(*) FROM statement_flaw WHERE statement_id = :id "
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        ),
        {"id": statement_id},
    )
    first = connection.execute(
        text(
            "SELECT line, field, reason FROM statement_flaw WHERE statement_id = :id "
            "ORDER BY line, field LIMIT :told"
        ),
        {"id": statement_id, "told": _TOLD},
    )
    return ImportedStatement(
        outcome=outcome,
        statement_id=statement_id,
        gateway=row.gateway,
        period=str(Period(row.period.year, row.period.month)),
        form=row.form,
        lines=row.lines,
        set_aside=row.set_aside,
        reasons=dict(reasons.all()),
        first_flaws=tuple((one.line, one.field, one.reason) for one in first),
        revision=row.revision,
    )
