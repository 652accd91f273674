"""Writes planned notices with their final texts, a set at a time. Called by whoever plans a kind of notice.

The one place that inserts notices. Knows kinds and rendering; not why a customer is written to.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    FromClause,
    Integer,
    Text,
    Uuid,
    cast,
    func,
    literal,
    not_,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from fatoura import clock
from fatoura.database.schema import notice
from fatoura.errors import BadInput
from fatoura.notices.rendering import fits, rendered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import ColumnElement, Connection

    from fatoura.notices.kinds import Kind

_NAMED = 5  # how many invoices an error names; the rest is a count


class PlanningRefused(BadInput):
    """Notices cannot be planned. Nothing of what was to be planned with them was written."""


def write_notices(
    connection: Connection,
    kind: Kind,
    rows: FromClause,
    values: Mapping[str, str],
    *,
    cycle_id: int,
    extract_id: int | None = None,
    run_id: str | None,
) -> tuple[int, int]:
    """Write the notices of one kind; return how many, and their segments.

    :param rows: one a notice: `position` (counting from 1, of no other call's in this transaction),
        `subject`, `sequence`, `subscription_id`, `district`, `phone`, `language`, `send_until`, and the
        columns that hold the kind's fields. `lay_out_values` has run in the same transaction.
    :param values: the column of `rows` that holds each field of the kind.
    :param run_id: the run that plans, kept with each notice.
    :raises PlanningRefused: when a message would take more segments than its kind declares, or holds a value
        that cannot be printed; names some of the subjects.
    """
    now = literal(clock.now(), DateTime(timezone=True))
    message = rendered(kind, rows, values).subquery("message")
    columns: dict[Column[Any], Any] = {
        notice.c.id: _new_ids(message.c.position),
        notice.c.kind: literal(kind.name),
        notice.c.subject: message.c.subject,
        notice.c.sequence: message.c.sequence,
        notice.c.cycle_id: literal(cycle_id),
        notice.c.extract_id: literal(extract_id, Integer),
        notice.c.subscription_id: message.c.subscription_id,
        notice.c.district: message.c.district,
        notice.c.phone: message.c.phone,
        notice.c.language: message.c.language,
        notice.c.text: message.c.text,
        notice.c.encoding: message.c.encoding,
        notice.c.segments: message.c.segments,
        notice.c.priority: literal(kind.priority),
        notice.c.send_from: now,
        notice.c.send_until: message.c.send_until,
        notice.c.validity_minutes: literal(kind.validity_minutes),
        notice.c.planned_by: literal(run_id, Text),
        notice.c.planned_at: now,
        notice.c.state_since: now,
    }
    stored = insert(notice).from_select(list(columns), select(*columns.values()))
    written = stored.returning(notice.c.language, notice.c.segments).cte("written")
    count, segments, unfit = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(written.c.segments), 0),
            func.count().filter(not_(fits(kind, written))),
        ).select_from(written)
    ).one()
    if unfit:
        raise _unfit(connection, kind, cycle_id, unfit)
    return count, segments


def _new_ids(position: ColumnElement[int]) -> ColumnElement[UUID]:
    """Return the ids of a batch: UUIDs of version 7, counting up from a random one (RFC 9562, 6.2).

    The database's own uuidv7() asks the operating system for random bits for each row, which took as long
    as writing the rows. Nothing relies on an id being hard to guess.
    """
    head = f"{time.time_ns() // 1_000_000:012x}7{secrets.randbits(12):03x}"
    # The upper half of a signed 64-bit number is the variant, binary 10, when it is this far below zero.
    first = -(2**63) + secrets.randbits(61)
    return cast(literal(head, Text) + func.to_hex(literal(first, BigInteger) + position), Uuid)


def _unfit(connection: Connection, kind: Kind, cycle_id: int, count: int) -> PlanningRefused:
    subjects = connection.scalars(
        select(notice.c.subject)
        .where(notice.c.cycle_id == cycle_id, notice.c.kind == kind.name, not_(fits(kind, notice)))
        .order_by(notice.c.subject)
        .limit(_NAMED)
    ).all()
    return PlanningRefused(
        f"{count} message(s) of kind {kind.name} would take more segments than the kind declares, or hold a "
        f"value that cannot be printed: {name_invoices(subjects, count)}. Nothing was planned. Shorten the "
        "text, or declare more segments in the kind's kind.toml"
    )


def name_invoices(invoices: Sequence[str], count: int) -> str:
    """Name some of `count` invoices in an error."""
    return f"invoice {', '.join(invoices)}{' and others' if count > len(invoices) else ''}"
