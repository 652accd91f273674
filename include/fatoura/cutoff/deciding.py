"""Decides, once a day, whom a message goes to: reminders, warnings, second warnings. Nothing is sent here.

Called by the daily run, any number of times: what was decided today stays decided. Each decision about a
warning is written down with what was owed and the rules' version.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.calendar import Calendar, load_calendar
from fatoura.cutoff.cases import LOCK, Moment, close_cases
from fatoura.cutoff.freshness import freshness, insist, is_at_stake, watermarks_document
from fatoura.cutoff.rules import Step, Version, rules_on
from fatoura.cutoff.standing import weigh
from fatoura.cycles.registry import Purpose, open_cycle
from fatoura.cycles.stages import recorded_stage
from fatoura.database import connect, lock, locked
from fatoura.sending.outlook import CLOSING_MARGIN

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection


@dataclass
class DayDecided:
    """What was decided now, in cases.

    :param cycle: the key of the day's cycle.
    :param verdicts: by kind of notice, then by verdict, with the reason where there is one.
    :param waiting: due, and left for another day: the rules' most a day was reached.
    :param closed: why nothing was decided, when the day has no window (any more).
    """

    cycle: str
    day: date
    rules_version: str
    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    waiting: int = 0
    closed: str | None = None

    @property
    def counts(self) -> dict[str, Any]:
        """What the stage's record holds."""
        return {
            "rules": self.rules_version,
            **({"closed": self.closed} if self.closed else {}),
            **{
                f"{kind}: {verdict}": count
                for kind, counted in self.verdicts.items()
                for verdict, count in sorted(counted.items())
            },
            "waiting": self.waiting,
        }


def decide_day(*, run_id: str | None = None) -> DayDecided:
    """Decide today's messages. Cases whose customer must not, or cannot, be warned are closed.

    :raises FeedStale: when the payments of a channel are not known up to now: nothing is decided.
    :raises RulesError: when the rules cannot be read.
    """
    day = clock.today()
    rules = rules_on(day)
    with locked(LOCK) as connection:
        channels = freshness(connection, rules)
        insist(connection, channels, "nobody is warned")
        cycle_id, key = open_cycle(connection, Purpose.CUTOFF, day)
    decided = DayDecided(key, day, rules.version)
    with recorded_stage(cycle_id, "decide", run_id=run_id) as stage, locked(LOCK) as connection:
        _decide_if_open(connection, rules, cycle_id, decided, run_id)
        stage.counts |= decided.counts | {"watermarks": watermarks_document(channels)}
    return decided


def preview_day() -> DayDecided:
    """Tell what `decide_day` would decide now, and leave everything as it is.

    :raises FeedStale: as `decide_day` does.
    """
    day = clock.today()
    rules = rules_on(day)
    with connect() as connection:  # nothing is committed
        lock(connection, LOCK)
        insist(connection, freshness(connection, rules), "nobody is warned")
        cycle_id, key = open_cycle(connection, Purpose.CUTOFF, day)
        decided = DayDecided(key, day, rules.version)
        _decide_if_open(connection, rules, cycle_id, decided, None)
    return decided


def why_idle() -> str | None:
    """Tell why today's run has nothing to do, whatever the feeds say; null when it has something."""
    with connect() as connection:
        if closed := _closed(load_calendar(connection)):
            return closed
    return None if is_at_stake() else "no feed of payments has ever come, and no case is due"


def _decide_if_open(
    connection: Connection, rules: Version, cycle_id: int, decided: DayDecided, run_id: str | None
) -> None:
    calendar = load_calendar(connection)
    decided.closed = _closed(calendar)
    if decided.closed is None:
        _decide(connection, calendar, rules, cycle_id, decided, run_id)


def _closed(calendar: Calendar) -> str | None:
    now = clock.now()
    window = calendar.window(clock.today())
    if window is None:
        return "nobody is written to on this day"
    if window[1] - CLOSING_MARGIN <= now:
        return "the window of this day is over"
    return None


def _decide(
    connection: Connection,
    calendar: Calendar,
    rules: Version,
    cycle_id: int,
    decided: DayDecided,
    run_id: str | None,
) -> None:
    # Second warnings first: their day of the cut stands already. Reminders announce none, and have no limit.
    warnings = [step for step in (rules.second_warning, rules.warning) if step is not None]
    reminders = [step for step in rules.steps_in_force if step.days_before_due is not None]
    room = rules.most_warnings_a_day - _warned_today(connection, cycle_id, [step.notice for step in warnings])
    for step in warnings:
        moment = Moment("due", decided.day, rules.version, run_id, cycle_id, step.notice)
        counted = decided.verdicts[step.notice] = Counter()
        which = _WARNED if step.days_before_cut else _OVERDUE
        weigh(
            connection,
            f"{which} AND {_UNDECIDED}",
            day=decided.day,
            rules=rules,
            days=step.days_before_cut,
            cycle=cycle_id,
            kind=step.notice,
        )
        for (verdict, reason), count in close_cases(connection, moment, letters=True).items():
            counted[f"{verdict} {reason}"] += count
        earliest = calendar.earliest_cut(decided.day, step.notice_days or 0, rules.no_cut_on)
        notified, due = _notify(connection, moment, earliest=earliest, most=max(room, 0))
        counted["notify"] += notified
        decided.waiting += due - notified
        room -= notified
    for step in reminders:
        decided.verdicts[step.notice] = Counter(
            notify=_remind(connection, step, decided.day, rules, cycle_id, run_id)
        )


def _remind(
    connection: Connection, step: Step, day: date, rules: Version, cycle_id: int, run_id: str | None
) -> int:
    weigh(
        connection,
        f"{_NOT_YET_DUE} AND {_UNDECIDED}",
        day=day,
        rules=rules,
        days=step.days_before_due,
        cycle=cycle_id,
        kind=step.notice,
    )
    moment = Moment("due", day, rules.version, run_id, cycle_id, step.notice)
    return _notify(connection, moment, earliest=None, most=None)[0]


_OVERDUE = "c.state = 'scheduled' AND c.warn_from <= :day AND c.under_way IS NULL"
_WARNED = (
    "c.state = 'warned' AND c.under_way IS NULL AND c.cut_from - CAST(:days AS int) <= CAST(:day AS date)"
)
# A bill is reminded of once; on its last day it is too late to be of use.
_NOT_YET_DUE = """c.state = 'scheduled' AND c.due_date > :day
    AND c.due_date <= CAST(:day AS date) + CAST(:days AS int)
    AND NOT EXISTS (
        SELECT FROM notice n
        WHERE n.kind = :kind AND n.subject = c.invoice_number AND n.state <> 'cancelled'
    )"""
# Decided today already, whether or not it has been planned since. What was planned and could not leave in
# time may be decided again on another day.
_UNDECIDED = """NOT EXISTS (
    SELECT FROM cutoff_decision d
    WHERE d.cycle_id = :cycle AND d.invoice_number = c.invoice_number AND d.sequence = c.sequence
        AND d.verdict = 'notify' AND d.notice_kind = :kind
)"""

# The oldest debts first. What was told once never moves nearer.
_NOTIFY = """
WITH due AS (
    SELECT s.*, c.cut_from, row_number() OVER (ORDER BY c.due_date, c.invoice_number) AS place
    FROM standing s JOIN cutoff_case c USING (invoice_number, sequence)
    WHERE s.reason IS NULL AND s.letter_reason IS NULL
), decided AS (
    INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, notice_kind,
        cycle_id, balance_millimes, cut_from, evidence, rules_version, run_id)
    SELECT invoice_number, sequence, :day, :now, :moment, 'notify', :notice_kind, :cycle, balance_millimes,
        CASE WHEN CAST(:earliest AS date) IS NOT NULL THEN greatest(cut_from, :earliest) END, evidence,
        :rules, CAST(:run_id AS text)
    FROM due WHERE CAST(:most AS bigint) IS NULL OR place <= :most ORDER BY place
    RETURNING 1
)
SELECT (SELECT count(*) FROM decided) AS notified, (SELECT count(*) FROM due) AS due
"""


def _notify(
    connection: Connection, moment: Moment, *, earliest: date | None, most: int | None
) -> tuple[int, int]:
    row = connection.execute(text(_NOTIFY), {**moment.values, "earliest": earliest, "most": most}).one()
    return row.notified, row.due


def _warned_today(connection: Connection, cycle_id: int, kinds: list[str]) -> int:
    return int(
        connection.scalar(
            text(
                "SELECT count(*) FROM cutoff_decision "
                "WHERE cycle_id = :cycle AND verdict = 'notify' AND notice_kind = ANY(:kinds)"
            ),
            {"cycle": cycle_id, "kinds": kinds},
        )
        or 0
    )
