"""Takes up what became of the warnings: delivered means warned, anything else that is final does not.

Called after receipts have come, and by each feed's run; any number of times. A letter is the last word of a
case that no message could tell: a receipt that says otherwise days later changes nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import text

from fatoura import clock
from fatoura.cutoff.cases import LOCK, Moment
from fatoura.cutoff.reasons import Reason
from fatoura.cutoff.rules import rules_on
from fatoura.database import locked
from fatoura.sending.claims import SHORTEST_VALIDITY
from fatoura.settings import get_settings


@dataclass
class CasesConcluded:
    """What became of cases, by their new state; `returned` wait for another day: their message never left."""

    states: Counter[str] = field(default_factory=Counter)

    @property
    def counts(self) -> dict[str, int]:
        """What the stage's record holds."""
        return dict(sorted(self.states.items()))


# Where the sending of a day died and nobody took it up again, its messages wait for nothing: their time is
# over, and their cases are due anew.
_CANCEL_LATE = """
UPDATE notice n SET state = 'cancelled', reason = 'too_late', state_since = :now, final_at = :now
FROM cutoff_case c
WHERE n.id = c.under_way AND n.state = 'planned' AND n.send_until < :still
"""

# A message in doubt is given up after the doubt's horizon (its kind says so), one that was accepted after the
# horizon of settling. The instant of the notice is the provider's word where it gives one.
_CONCLUDE = f"""
WITH last_word AS (
    SELECT c.invoice_number, c.sequence, c.state, n.id AS notice_id, n.kind, n.state AS notice_state,
        d.cut_from, d.rules_version, d.balance_millimes, d.cycle_id,
        CASE
            WHEN n.state = 'delivered' THEN CASE c.state WHEN 'warned' THEN 'warned_again' ELSE 'warned' END
            WHEN n.state IN ('undeliverable', 'expired', 'rejected') THEN 'not_warned'
            WHEN n.state = 'in_doubt' AND n.submitted_at < :doubt_before THEN 'not_warned'
            WHEN n.state = 'accepted' AND n.submitted_at < :open_before THEN 'not_warned'
            WHEN n.state = 'cancelled' THEN 'returned'
        END AS new_state,
        CASE WHEN n.state IN ('in_doubt', 'accepted') THEN '{Reason.NO_FINAL_RECEIPT}'
            WHEN n.state <> 'delivered' THEN '{Reason.UNDELIVERED}' END AS reason,
        coalesce((
            SELECT min(r.happened_at) FROM receipt r
            WHERE r.notice_id = n.id AND r.status = 'delivered' AND r.match = 'moved'
                AND r.happened_at BETWEEN n.submitted_at - interval '1 hour' AND :now
        ), n.final_at) AS told_at
    FROM cutoff_case c
    JOIN notice n ON n.id = c.under_way
    JOIN cutoff_decision d ON d.notice_id = n.id AND d.verdict = 'notify'
    WHERE c.state IN ('scheduled', 'warned')
), moved AS (
    UPDATE cutoff_case c SET
        under_way = NULL,
        state = CASE l.new_state WHEN 'returned' THEN c.state ELSE l.new_state END,
        state_since = CASE l.new_state WHEN 'returned' THEN c.state_since ELSE :now END,
        reason = CASE l.new_state WHEN 'not_warned' THEN l.reason END,
        warning_id = CASE l.new_state WHEN 'warned' THEN l.notice_id ELSE c.warning_id END,
        warned_at = CASE l.new_state WHEN 'warned' THEN l.told_at ELSE c.warned_at END,
        second_warning_id =
            CASE l.new_state WHEN 'warned_again' THEN l.notice_id ELSE c.second_warning_id END,
        warned_again_at = CASE l.new_state WHEN 'warned_again' THEN l.told_at ELSE c.warned_again_at END,
        cut_from = CASE WHEN l.new_state IN ('warned', 'warned_again') THEN l.cut_from ELSE c.cut_from END
    FROM last_word l
    WHERE c.invoice_number = l.invoice_number AND c.sequence = l.sequence AND l.new_state IS NOT NULL
    RETURNING l.*
), decided AS (
    INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, reason,
        notice_kind, notice_id, cycle_id, balance_millimes, cut_from, rules_version, run_id)
    SELECT invoice_number, sequence, :day, :now, :moment,
        CASE new_state WHEN 'not_warned' THEN 'letter' ELSE 'warned' END, reason, kind, notice_id, cycle_id,
        balance_millimes, cut_from, :rules, CAST(:run_id AS text)
    FROM moved WHERE new_state <> 'returned'
)
SELECT new_state, count(*) FROM moved GROUP BY new_state
"""


def conclude_cases(*, run_id: str | None = None) -> CasesConcluded:
    """Move the cases whose warning has its final word, or will get none any more."""
    day, now, settings = clock.today(), clock.now(), get_settings()
    moment = Moment("settled", day, rules_on(day).version, run_id)
    with locked(LOCK) as connection:
        connection.execute(text(_CANCEL_LATE), {"now": now, "still": now + SHORTEST_VALIDITY})
        rows = connection.execute(
            text(_CONCLUDE),
            {
                **moment.values,
                "doubt_before": now - settings.doubt_horizon,
                "open_before": now - settings.settle_horizon,
            },
        )
        states: dict[str, int] = dict(rows.all())
        return CasesConcluded(Counter(states))
