"""Cut-off cases: one for each invoice that a customer was notified of, with the first day to warn on.

Called at the end of a billing cycle, any number of times. Whether a bill is still unpaid, and whether its
customer may be warned at all, is decided later, when the warning is due: nothing is sent from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.cycles.keys import ExtractKey
from fatoura.cycles.stages import recorded_stage
from fatoura.database import connect, locked
from fatoura.errors import BadInput

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class CasesScheduled:
    """What a run did to the cases of a cycle, and how many there are now."""

    added: int
    updated: int
    withdrawn: int
    cases: int


# Invoices as they stand now whose customers were told of them as they stand: what was corrected and not told
# again is no ground for a warning.
_TOLD = """
CREATE TEMPORARY TABLE told ON COMMIT DROP AS
SELECT i.invoice_number, n.subscription_id, n.id AS notice_id, i.amount_due_millimes, i.due_date, d.warn_from
FROM invoice i
JOIN notice n ON n.kind IN ('bill', 'bill_correction') AND n.cycle_id = i.cycle_id
             AND n.subject = i.invoice_number AND n.sequence = i.revision + 1 AND n.state <> 'cancelled'
JOIN unnest(CAST(:due_dates AS date[]), CAST(:warn_from AS date[])) AS d (due_date, warn_from)
  ON d.due_date = i.due_date
WHERE i.cycle_id = :cycle_id AND i.bucket = 'noticed' AND i.amount_due_millimes > 0
  AND NOT EXISTS (SELECT FROM invoice later
                  WHERE later.invoice_number = i.invoice_number AND later.cycle_id = i.cycle_id
                    AND later.revision > 0 AND later.revision > i.revision)
"""

_UPDATE = """
UPDATE cutoff_case c
SET subscription_id = t.subscription_id, notice_id = t.notice_id, amount_due_millimes = t.amount_due_millimes,
    due_date = t.due_date, warn_from = t.warn_from
FROM told t
WHERE c.invoice_number = t.invoice_number AND c.state = 'scheduled'
  AND (c.subscription_id, c.notice_id, c.amount_due_millimes, c.due_date, c.warn_from)
      IS DISTINCT FROM (t.subscription_id, t.notice_id, t.amount_due_millimes, t.due_date, t.warn_from)
"""

_WITHDRAW = """
DELETE FROM cutoff_case c
WHERE c.cycle_id = :cycle_id AND c.state = 'scheduled'
  AND NOT EXISTS (SELECT FROM told t WHERE t.invoice_number = c.invoice_number)
"""

# In the order of the primary key: its index grows at one end.
_ADD = """
INSERT INTO cutoff_case (invoice_number, cycle_id, subscription_id, notice_id, amount_due_millimes, due_date,
                         warn_from, created_at)
SELECT t.invoice_number, :cycle_id, t.subscription_id, t.notice_id, t.amount_due_millimes, t.due_date,
       t.warn_from, :now
FROM told t
WHERE NOT EXISTS (SELECT FROM cutoff_case c WHERE c.invoice_number = t.invoice_number)
ORDER BY t.invoice_number
"""


def schedule_cases(cycle_key: str, *, run_id: str | None = None) -> CasesScheduled:
    """Schedule a cut-off case for each invoice of a cycle that its customer was notified of.

    That is: the latest revision is over zero, and its notice was not cancelled. The first day to warn on is
    the due date plus the posting grace, in working days, moved to a day on which sending is open. A rerun
    adds what is missing, follows corrections and a changed calendar, and withdraws cases whose invoice was
    corrected to nothing or not told again; a case that is past `scheduled` is left alone.

    :param cycle_key: a cycle's key, or that of one of its supplements, whose run schedules the whole cycle.
    :raises BadInput: when there is no such cycle.
    """
    key = ExtractKey.parse(cycle_key)
    with connect() as connection:
        cycle_id = connection.scalar(text("SELECT id FROM cycle WHERE key = :key"), {"key": key.cycle})
    if cycle_id is None:
        raise BadInput(f"there is no cycle {key.cycle!r}: no extract of it was loaded")
    with recorded_stage(cycle_id, "schedule_cutoff", supplement=key.supplement, run_id=run_id) as stage:
        with locked(f"cycle {key.cycle}") as connection:
            outcome = _schedule(connection, cycle_id)
        stage.counts |= {
            "added": outcome.added,
            "updated": outcome.updated,
            "withdrawn": outcome.withdrawn,
            "cases": outcome.cases,
        }
    return outcome


def _schedule(connection: Connection, cycle_id: int) -> CasesScheduled:
    cycle = {"cycle_id": cycle_id}
    # A fresh cycle is not in the planner's statistics: it takes a million rows for one, and loops.
    connection.execute(text("SET LOCAL enable_nestloop = off"))
    due_dates = (
        connection.execute(
            text(
                "SELECT DISTINCT due_date FROM invoice WHERE cycle_id = :cycle_id AND bucket = 'noticed' "
                "ORDER BY due_date"
            ),
            cycle,
        )
        .scalars()
        .all()
    )
    calendar = load_calendar(connection)
    warn_from = [calendar.warn_from(due_date) for due_date in due_dates]
    connection.execute(text(_TOLD), {**cycle, "due_dates": list(due_dates), "warn_from": warn_from})
    updated = connection.execute(text(_UPDATE)).rowcount
    withdrawn = connection.execute(text(_WITHDRAW), cycle).rowcount
    added = connection.execute(text(_ADD), {**cycle, "now": clock.now()}).rowcount
    cases = connection.scalar(text("SELECT count(*) FROM cutoff_case WHERE cycle_id = :cycle_id"), cycle)
    return CasesScheduled(added=added, updated=updated, withdrawn=withdrawn, cases=cases or 0)
