"""Plan the bill notices of an extract: each invoice that has to be told about gets its one notice.

The render stage of a billing cycle. Called by the cycle's DAG and, for the samples of the approval form, by
its release. Works in sets inside the database; it sends nothing, and it judges no invoice: matching has.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    insert,
    not_,
    select,
    text,
)

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.cycles.stages import recorded_stage
from fatoura.database import connect, locked
from fatoura.languages import LANGUAGES
from fatoura.notices.kinds import Kind, load_kind
from fatoura.notices.rendering import lay_out_values
from fatoura.notices.writing import PlanningRefused, name_invoices, write_notices
from fatoura.phones_at_rest import masked
from fatoura.references import hide_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from fatoura.cycles.keys import ExtractKey

BILL_KINDS = ("bill", "bill_correction")
"""The kinds that tell about an invoice. They share one sequence: the invoice's revision + 1."""

_NAMED = 5  # how many invoices an error names; the rest is a count


@dataclass(frozen=True)
class PlannedBills:
    """What planning did, in notices."""

    planned: int
    """Written now, corrections included."""
    already_planned: int
    """Written by an earlier run."""
    replaced: int
    """Cancelled unsent, because a later revision of their invoice has come."""
    corrections: int
    """Of those planned now: the customer has been told the wrong figures before."""
    segments: int
    """Of those planned now."""


@dataclass(frozen=True)
class SampleNotice:
    """A notice as it may be shown to people: without a full number or reference."""

    kind: str
    language: str
    phone: str
    text: str
    segments: int


def plan_bills(key: ExtractKey, *, run_id: str | None) -> PlannedBills:
    """Plan the notices of an extract's ``noticed`` invoices. Run again, it plans what is still missing.

    An invoice that was told about before, with other figures, gets a ``bill_correction``; one whose earlier
    notice never left gets a ``bill``, and the earlier notice is cancelled as ``replaced``.

    :param run_id: the run that plans, kept with each notice.
    :raises PlanningRefused: when the extract is not matched yet, when a message would take more segments
        than its kind declares, or when an invoice cannot be told about; names some of the invoices.
    :raises TemplateError: when a kind or its texts are wrong.
    """
    kinds = {name: load_kind(name) for name in BILL_KINDS}
    with connect() as connection:
        extract = _matched_extract(connection, key)
    with (
        recorded_stage(extract.cycle_id, "render", supplement=key.supplement, run_id=run_id) as stage,
        locked(f"cycle {key.cycle}") as connection,
    ):
        done = _plan(connection, extract, kinds, run_id)
        stage.counts = asdict(done)
    return done


def _matched_extract(connection: Connection, key: ExtractKey) -> Row[Any]:
    row = connection.execute(
        text(
            "SELECT e.id, e.cycle_id, e.matched_at IS NOT NULL AS matched FROM extract e "
            "JOIN cycle c ON c.id = e.cycle_id WHERE c.key = :cycle AND e.supplement = :supplement"
        ),
        {"cycle": key.cycle, "supplement": key.supplement},
    ).one_or_none()
    if row is None:
        raise PlanningRefused(f"there is no extract {key}: it has to be loaded, validated and matched first")
    if not row.matched:
        raise PlanningRefused(f"extract {key} is not matched yet: its invoices have no bucket to plan from")
    return row


def _plan(
    connection: Connection, extract: Row[Any], kinds: dict[str, Kind], run_id: str | None
) -> PlannedBills:
    # First what a correction replaces is taken off the queue: whatever of it has been claimed by then has
    # gone out, as far as anybody can know, and makes the new notice a correction.
    replaced = cancel_replaced(connection, extract.cycle_id)
    wanted = _gather(connection, extract)
    _lay_out_days(connection)
    counts = {name: _insert(connection, extract, kind, run_id) for name, kind in kinds.items()}
    planned = sum(count for count, _ in counts.values())
    return PlannedBills(
        planned=planned,
        already_planned=_check_complete(connection, extract.id, wanted) - planned,
        replaced=replaced,
        corrections=counts["bill_correction"][0],
        segments=sum(segments for _, segments in counts.values()),
    )


def cancel_replaced(connection: Connection, cycle_id: int) -> int:
    """Cancel planned bill notices of a cycle whose invoice has been revised since; return how many.

    A notice can also come back to `planned` after its correction was planned, by a refusal: senders call
    this before they claim.
    """
    supplements = connection.scalars(
        text("SELECT id FROM extract WHERE cycle_id = :cycle AND supplement > 0"), {"cycle": cycle_id}
    ).all()
    if not supplements:  # only they revise; this is the way that nearly all cycles take
        return 0
    return connection.execute(
        text(
            """
            UPDATE notice SET state = 'cancelled', reason = 'replaced', state_since = :now, final_at = :now
            FROM invoice later
            WHERE later.extract_id = ANY(:supplements) AND later.revision > 0
                AND notice.kind = ANY(:kinds) AND notice.subject = later.invoice_number
                AND notice.sequence <= later.revision
                AND notice.cycle_id = :cycle AND notice.state = 'planned'
            """
        ),
        {
            "now": clock.now(),
            "cycle": cycle_id,
            "supplements": list(supplements),
            "kinds": list(BILL_KINDS),
        },
    ).rowcount


_metadata = MetaData()

_bill = Table(
    "bill_to_plan",
    MetaData(),
    Column("position", BigInteger),
    Column("subject", Text),
    Column("sequence", Integer),
    Column("told", Boolean),
    Column("district", Text),
    Column("customer_reference", Text),
    Column("amount_due_millimes", BigInteger),
    Column("due_date", Date),
    Column("subscription_id", BigInteger),
    Column("phone", Text),
    Column("language", Text),
)
_due_day = Table(
    "due_day",
    _metadata,
    Column("day", Date),
    Column("closes_at", DateTime(timezone=True)),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)


def _gather(connection: Connection, extract: Row[Any]) -> int:
    """Gather the invoices that need a notice into a table of this transaction; return how many.

    ``told`` marks those of which an earlier revision was told about. They lie in the order of the notices'
    unique index, whose pages are then written one after the other.
    """
    # Rows of a new extract are not in the planner's statistics: it takes a million of them for one, and
    # loops. What is gathered here is counted, and the statements that follow are planned well.
    connection.execute(text("SET LOCAL enable_nestloop = off"))
    gathered = connection.execute(
        text(
            """
            CREATE TEMPORARY TABLE bill_to_plan ON COMMIT DROP AS
            SELECT row_number() OVER (ORDER BY i.invoice_number) AS position,
                i.invoice_number AS subject, i.revision + 1 AS sequence,
                i.revision > 0 AND EXISTS (
                    SELECT FROM notice earlier
                    WHERE earlier.kind = ANY(:kinds) AND earlier.subject = i.invoice_number
                        AND earlier.sequence <= i.revision AND earlier.state <> 'cancelled'
                ) AS told,
                i.district, i.customer_reference, i.amount_due_millimes, i.due_date, i.subscription_id,
                s.phone, s.language
            FROM invoice i JOIN subscription s ON s.id = i.subscription_id
            WHERE i.extract_id = :extract AND i.bucket = 'noticed' AND NOT EXISTS (
                SELECT FROM notice n
                WHERE n.cycle_id = :cycle AND n.extract_id = :extract AND n.kind = ANY(:kinds)
                    AND n.subject = i.invoice_number AND n.sequence = i.revision + 1
            )
            ORDER BY i.invoice_number
            """
        ),
        {"cycle": extract.cycle_id, "extract": extract.id, "kinds": list(BILL_KINDS)},
    ).rowcount
    connection.execute(text("SET LOCAL enable_nestloop = on"))
    connection.execute(text("ANALYZE bill_to_plan"))
    return gathered


def _lay_out_days(connection: Connection) -> None:
    """Write each due date as text, and with the last instant at which sending closes up to its end."""
    days = connection.scalars(select(_bill.c.due_date).distinct()).all()
    lay_out_values(connection, days)
    calendar = load_calendar(connection)
    _metadata.create_all(connection, checkfirst=False)
    if days:
        connection.execute(
            insert(_due_day),
            [{"day": day, "closes_at": calendar.last_closing_on_or_before(day)} for day in days],
        )
    connection.execute(text("ANALYZE due_day"))


def _insert(connection: Connection, extract: Row[Any], kind: Kind, run_id: str | None) -> tuple[int, int]:
    """Write the notices of one kind; return how many, and their segments."""
    bills = (
        select(_bill, _due_day.c.closes_at.label("send_until"))
        .join(_due_day, _due_day.c.day == _bill.c.due_date)
        .where(_bill.c.told if kind.name == "bill_correction" else not_(_bill.c.told))
    )
    return write_notices(
        connection,
        kind,
        bills.subquery(),
        {"amount": "amount_due_millimes", "reference": "customer_reference", "due_date": "due_date"},
        cycle_id=extract.cycle_id,
        extract_id=extract.id,
        run_id=run_id,
    )


def _check_complete(connection: Connection, extract_id: int, wanted: int) -> int:
    """Insist that each noticed invoice of an extract has its notice; return how many these are."""
    values = {"extract": extract_id, "kinds": list(BILL_KINDS)}
    noticed: int = connection.execute(
        text("SELECT count(*) FROM invoice WHERE extract_id = :extract AND bucket = 'noticed'"), values
    ).scalar_one()
    if wanted == noticed:
        return noticed
    missing = connection.execute(
        text(
            "SELECT count(*) OVER () AS total, invoice_number FROM invoice i "
            "WHERE extract_id = :extract AND bucket = 'noticed' AND NOT EXISTS (SELECT FROM notice n "
            "WHERE n.kind = ANY(:kinds) AND n.subject = i.invoice_number AND n.sequence = i.revision + 1) "
            f"ORDER BY invoice_number LIMIT {_NAMED}"
        ),
        values,
    ).all()
    if missing:
        raise PlanningRefused(
            f"{missing[0].total} invoice(s) have to be told about, but their subscription is gone: "
            f"{name_invoices([row.invoice_number for row in missing], missing[0].total)}. "
            "Match the extract again"
        )
    return noticed


def sample_notices(cycle: str, n: int = 3) -> list[SampleNotice]:
    """Return up to `n` notices that are about to go out, of each language in turn, the most urgent first.

    For the form in which a person releases a cycle: numbers and references are masked to three digits.

    :param cycle: the cycle's key.
    """
    with connect() as connection:
        found = [_planned_notices(connection, cycle, language, n) for language in LANGUAGES]
    in_turn = [row for rows in zip_longest(*found) for row in rows if row is not None]
    return [
        SampleNotice(
            kind=row.kind,
            language=row.language,
            phone=masked(row.phone),
            text=hide_reference(row.text, row.customer_reference, row.language),
            segments=row.segments,
        )
        for row in in_turn[:n]
    ]


def _planned_notices(connection: Connection, cycle: str, language: str, n: int) -> Sequence[Row[Any]]:
    return (
        connection.execute(
            text(
                """
                SELECT n.kind, n.language, n.phone, n.text, n.segments, i.customer_reference
                FROM (
                    SELECT * FROM notice
                    WHERE cycle_id = (SELECT id FROM cycle WHERE key = :cycle)
                        AND state = 'planned' AND language = :language AND kind = ANY(:kinds)
                    ORDER BY priority, id LIMIT :n
                ) n
                JOIN invoice i ON i.invoice_number = n.subject AND i.revision = n.sequence - 1
                ORDER BY n.priority, n.id
                """
            ),
            {"cycle": cycle, "language": language, "kinds": list(BILL_KINDS), "n": n},
        )
    ).all()
