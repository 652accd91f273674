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
from fatoura.cutoff.cases import CLOSED_STATES, LOCK, OPEN_STATES, Moment, close_cases
from fatoura.cutoff.rules import rules_on
from fatoura.cutoff.standing import weigh
from fatoura.cycles.keys import ExtractKey
from fatoura.cycles.stages import recorded_stage
from fatoura.database import connect, lock, locked
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
SELECT i.invoice_number, i.customer_reference, i.district, i.revision, i.issue_date, n.subscription_id,
       n.id AS notice_id, i.amount_due_millimes, i.due_date, d.warn_from
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

# While a warning of it is on its way a case stays as it was told.
_UPDATE = """
UPDATE cutoff_case c
SET subscription_id = t.subscription_id, notice_id = t.notice_id, amount_due_millimes = t.amount_due_millimes,
    revision = t.revision, due_date = t.due_date,
    warn_from = CASE WHEN c.opened_because IN ('billed', 'corrected') THEN t.warn_from ELSE c.warn_from END
FROM told t
WHERE c.invoice_number = t.invoice_number AND c.state = 'scheduled' AND c.under_way IS NULL
  AND (c.subscription_id, c.notice_id, c.amount_due_millimes, c.revision, c.due_date,
       CASE WHEN c.opened_because IN ('billed', 'corrected') THEN c.warn_from END)
      IS DISTINCT FROM (t.subscription_id, t.notice_id, t.amount_due_millimes, t.revision, t.due_date,
       CASE WHEN c.opened_because IN ('billed', 'corrected') THEN t.warn_from END)
"""

# Those of which a warning has been planned, or more. Their bill gets another case once it is told again.
_CORRECTED = f"""
c.cycle_id = :cycle_id AND c.state IN ({OPEN_STATES}) AND (c.state <> 'scheduled' OR c.under_way IS NOT NULL)
AND EXISTS (
    SELECT FROM invoice later WHERE later.revision > 0
        AND later.invoice_number = c.invoice_number AND later.revision > c.revision
)
"""

_WITHDRAW = """
WITH gone AS (
    UPDATE cutoff_case c SET state = 'excluded', reason = 'corrected', state_since = :now
    WHERE c.cycle_id = :cycle_id AND c.state = 'scheduled' AND c.under_way IS NULL
      AND NOT EXISTS (SELECT FROM told t WHERE t.invoice_number = c.invoice_number)
    RETURNING c.invoice_number, c.sequence
)
INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, reason,
                             rules_version, run_id)
SELECT invoice_number, sequence, :day, :now, 'corrected', 'leave_out', 'corrected', :rules, :run_id FROM gone
"""

# A bill that was corrected, and told again, after its case was closed gets another one, whatever closed it:
# an estimate was under review until then, or what was paid does not do any more. In the order of the primary
# key: its index grows at one end.
_ADD = f"""
INSERT INTO cutoff_case (invoice_number, sequence, cycle_id, subscription_id, customer_reference, district,
                         revision, notice_id, amount_due_millimes, issue_date, due_date, warn_from,
                         opened_because, state_since, created_at)
SELECT t.invoice_number, coalesce(last.sequence, 0) + 1, :cycle_id, t.subscription_id, t.customer_reference,
       t.district, t.revision, t.notice_id, t.amount_due_millimes, t.issue_date, t.due_date, t.warn_from,
       CASE WHEN last.sequence IS NULL THEN 'billed' ELSE 'corrected' END, :now, :now
FROM told t
LEFT JOIN (
    SELECT DISTINCT ON (invoice_number) * FROM cutoff_case WHERE cycle_id = :cycle_id
    ORDER BY invoice_number, sequence DESC
) last USING (invoice_number)
WHERE last.sequence IS NULL OR (last.state IN ({CLOSED_STATES}) AND last.revision < t.revision)
ORDER BY t.invoice_number
"""


def schedule_cases(cycle_key: str, *, run_id: str | None = None) -> CasesScheduled:
    """Schedule a cut-off case for each invoice of a cycle that its customer was notified of.

    That is: the latest revision is over zero, and its notice was not cancelled. The first day to warn on is
    the due date plus the posting grace, in working days, moved to a day on which sending is open. A rerun
    adds what is missing, follows corrections and a changed calendar, and leaves out cases whose invoice was
    corrected to nothing or not told again; a case that is past `scheduled`, or that a warning is on its way
    of, is closed when its invoice was corrected. Whose case is closed, and who is told of a corrected bill,
    gets another.

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
            lock(connection, LOCK)
            outcome = _schedule(connection, cycle_id, run_id)
        stage.counts |= {
            "added": outcome.added,
            "updated": outcome.updated,
            "withdrawn": outcome.withdrawn,
            "cases": outcome.cases,
        }
    return outcome


def _schedule(connection: Connection, cycle_id: int, run_id: str | None) -> CasesScheduled:
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
    rules = rules_on(clock.today())
    moment = Moment("corrected", clock.today(), rules.version, run_id)
    weigh(connection, _CORRECTED, day=moment.day, rules=rules, cycle_id=cycle_id)
    close_cases(connection, moment, letters=False)
    withdrawn = connection.execute(text(_WITHDRAW), {**cycle, **moment.values}).rowcount
    added = connection.execute(text(_ADD), {**cycle, "now": clock.now()}).rowcount
    cases = connection.scalar(
        text("SELECT count(*) FROM cutoff_case WHERE cycle_id = :cycle_id AND state = 'scheduled'"), cycle
    )
    return CasesScheduled(added=added, updated=updated, withdrawn=withdrawn, cases=cases or 0)
