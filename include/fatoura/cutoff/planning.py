"""Plans the notices that a day's decisions ask for, each with its final text. Called by the daily run.

Run again, it plans what is still missing. A decision whose customer has left, or whose day has passed, is
not planned any more: its case is judged anew on the next day.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    literal,
    select,
    text,
    union,
)

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.cutoff.cases import LOCK
from fatoura.cutoff.rules import rules_on
from fatoura.cutoff.standing import REACHABLE
from fatoura.cycles.registry import Purpose, cycle_id_of
from fatoura.cycles.stages import recorded_stage
from fatoura.database import locked
from fatoura.errors import BadInput
from fatoura.notices.kinds import load_kind
from fatoura.notices.rendering import lay_out_values
from fatoura.notices.writing import write_notices

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection

_VALUES = {
    "amount": "balance_millimes",
    "reference": "customer_reference",
    "due_date": "due_date",
    "cut_date": "cut_date",
}
"""The column that holds each field that a kind of this workflow may have."""


@dataclass(frozen=True)
class DayPlanned:
    """What was planned now, in notices and segments."""

    planned: int
    segments: int


_to_plan = Table(
    "notice_to_plan",
    MetaData(),
    Column("position", BigInteger),
    Column("decision_id", BigInteger),
    Column("kind", Text),
    Column("subject", Text),
    Column("case_sequence", Integer),
    Column("sequence", Integer),
    Column("customer_reference", Text),
    Column("district", Text),
    Column("balance_millimes", BigInteger),
    Column("due_date", Date),
    Column("cut_date", Date),
    Column("subscription_id", BigInteger),
    Column("phone", Text),
    Column("language", Text),
)
# A warning has the sequence after the last of its kind about the bill, whatever became of that.
_GATHER = f"""
CREATE TEMPORARY TABLE notice_to_plan ON COMMIT DROP AS
SELECT row_number() OVER (ORDER BY d.notice_kind, d.invoice_number) AS position, d.id AS decision_id,
    d.notice_kind AS kind, d.invoice_number AS subject, d.sequence AS case_sequence,
    coalesce((
        SELECT max(n.sequence) FROM notice n WHERE n.kind = d.notice_kind AND n.subject = d.invoice_number
    ), 0) + 1 AS sequence,
    c.customer_reference, c.district, d.balance_millimes, c.due_date, d.cut_from AS cut_date,
    s.id AS subscription_id, s.phone, s.language
FROM cutoff_decision d
JOIN cutoff_case c USING (invoice_number, sequence)
JOIN subscription s ON s.customer_reference = c.customer_reference AND s.state IN {REACHABLE}
WHERE d.cycle_id = :cycle AND d.verdict = 'notify' AND d.notice_id IS NULL
    AND c.state IN ('scheduled', 'warned') AND (c.under_way IS NULL OR NOT d.notice_kind = ANY(:warnings))
ORDER BY 1
"""
_LINK = """
WITH planned AS (
    UPDATE cutoff_decision d SET notice_id = n.id
    FROM notice_to_plan p JOIN notice n
        ON n.kind = p.kind AND n.subject = p.subject AND n.sequence = p.sequence AND n.cycle_id = :cycle
    WHERE d.id = p.decision_id
    RETURNING d.invoice_number, d.sequence, d.notice_id, d.notice_kind
)
UPDATE cutoff_case c SET under_way = planned.notice_id
FROM planned
WHERE c.invoice_number = planned.invoice_number AND c.sequence = planned.sequence
    AND planned.notice_kind = ANY(:warnings)
"""


def plan_day(cycle_key: str, *, run_id: str | None = None) -> DayPlanned:
    """Plan a notice for each decision of a day to send one.

    A warning's day of the cut counts from today, so a day that has passed is not planned any more.

    :param cycle_key: of the day's cycle, such as ``cutoff-2026-06-29``.
    :raises PlanningRefused: when a message would not fit its segments; nothing is planned then.
    :raises BadInput: when there is no such cycle, or it is not one of warnings.
    """
    cycle_id = cycle_id_of(cycle_key)
    with recorded_stage(cycle_id, "plan", run_id=run_id) as stage, locked(LOCK) as connection:
        day = _day_of(connection, cycle_id, cycle_key)
        planned = DayPlanned(0, 0)
        if day == clock.today():
            planned = _plan(connection, cycle_id, day, run_id)
        else:
            stage.counts["day is over"] = str(day)
        stage.counts |= asdict(planned)
    return planned


def _day_of(connection: Connection, cycle_id: int, cycle_key: str) -> date:
    row = connection.execute(
        text("SELECT purpose, issue_date FROM cycle WHERE id = :cycle"), {"cycle": cycle_id}
    ).one()
    if row.purpose != Purpose.CUTOFF:
        raise BadInput(f"{cycle_key} is no cycle of warnings: these are called cutoff-<day>")
    found: date = row.issue_date
    return found


def _plan(connection: Connection, cycle_id: int, day: date, run_id: str | None) -> DayPlanned:
    calendar = load_calendar(connection)
    window = calendar.window(day)
    if window is None:
        return DayPlanned(0, 0)
    warnings = [step.notice for step in rules_on(day).steps_in_force if step.notice_days]
    connection.execute(text(_GATHER), {"cycle": cycle_id, "warnings": warnings})
    connection.execute(text("ANALYZE notice_to_plan"))
    lay_out_values(connection, _days(connection))
    # What has not left by this evening is decided anew tomorrow, with a later day of the cut.
    rows = select(_to_plan, literal(window[1], DateTime(timezone=True)).label("send_until"))
    done = DayPlanned(0, 0)
    for name in connection.scalars(select(_to_plan.c.kind).distinct().order_by(_to_plan.c.kind)).all():
        kind = load_kind(name)
        count, segments = write_notices(
            connection,
            kind,
            rows.where(_to_plan.c.kind == name).subquery(),
            {field: _VALUES[field] for field in kind.fields},
            cycle_id=cycle_id,
            run_id=run_id,
        )
        done = DayPlanned(done.planned + count, done.segments + segments)
    connection.execute(text(_LINK), {"cycle": cycle_id, "warnings": warnings})
    return done


def _days(connection: Connection) -> list[date]:
    days = union(select(_to_plan.c.due_date), select(_to_plan.c.cut_date)).subquery()
    return [day for day in connection.scalars(select(days)).all() if day is not None]
