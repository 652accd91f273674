"""The figures of a billing cycle's cut-off cases, over their whole life.

Called by the writer, in one snapshot of the database. Knows nothing of pages and languages.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.cycles.registry import billing_cycle_id
from fatoura.notices.states import State
from fatoura.reports.cutoff.cases import (
    CLOSED_STANDINGS,
    Chosen,
    Debts,
    LeftOut,
    NotWarned,
    Reaction,
    Standing,
    Stood,
    broken_cases,
    count_debts,
    count_reaction,
    count_standings,
    kinds_of_steps,
    lay_out_cycle,
    named,
)
from fatoura.reports.figures import Group

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime

    from sqlalchemy import Connection


class CyclePhase(StrEnum):
    """How far a cycle's cases have come."""

    NO_CASES = "no_cases"
    BEFORE = "before"  # none was due yet
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True)
class DayRow:
    """What was decided on one day about the cycle's cases, in cases."""

    day: date
    reminded: int
    warned: int
    warned_again: int
    left_out: int
    letters: int
    paid: int
    handed_over: int
    reopened: int


@dataclass(frozen=True)
class HandedOver:
    """Cases that were on a team's list: what was owed, how many were closed since, and called back."""

    cases: int
    millimes: int
    closed: int
    called_back: int


@dataclass(frozen=True)
class CycleFigures:
    """Everything that a cycle's page says of cut-off. Instants are UTC.

    :param bills: bills with a case; of some of them several, one after the other.
    :param unscheduled: bills that customers were told of, and that have no case yet.
    :param openings: why cases were opened.
    """

    cycle: str
    cycle_id: int
    issue_date: date
    due_dates: tuple[date, date] | None
    as_of: datetime
    phase: CyclePhase
    rules: list[str]
    cases: int
    bills: int
    unscheduled: int
    billed_millimes: int
    openings: dict[str, int]
    standings: list[Stood]
    left_out: list[LeftOut]
    not_warned: list[NotWarned]
    reaction: Reaction | None
    ages: list[Debts]
    districts: list[Debts]
    messages: list[Group]
    days: list[DayRow]
    handed_over: HandedOver
    missing: tuple[str, ...] = field(default=())

    def standing(self, standing: Standing) -> Stood:
        """Return the cases in one standing."""
        return next((one for one in self.standings if one.standing is standing), Stood(standing, 0, 0))

    @property
    def owed_millimes(self) -> int:
        """What is still owed."""
        return sum(one.owed_millimes for one in self.districts)

    @property
    def identity_holds(self) -> bool:
        """Whether each case is in one standing, and each bill's cases follow each other."""
        return (
            not self.missing
            and self.cases == sum(one.cases for one in self.standings)
            and self.cases == sum(self.openings.values())
        )


def cutoff_cycle_figures(connection: Connection, cycle_key: str, as_of: datetime) -> CycleFigures:
    """Count everything that a cycle's page says of cut-off.

    :param connection: in a transaction of one snapshot, which may make temporary tables.
    :param cycle_key: of a billing cycle.
    :raises BadInput: when there is no such billing cycle.
    :raises RulesError: when the rules cannot be read.
    """
    cycle_id = billing_cycle_id(connection, cycle_key)
    issue_date = connection.scalar(text("SELECT issue_date FROM cycle WHERE id = :id"), {"id": cycle_id})
    today = as_of.astimezone(clock.zone()).date()
    kinds = kinds_of_steps()
    connection.execute(text(_SAID), {"cycle": cycle_id, "since": issue_date})
    connection.execute(text("ANALYZE said"))
    chosen = lay_out_cycle(
        connection,
        _WARNED,
        today=today,
        cycle=cycle_id,
        first=kinds.first,
        second=kinds.second,
        reminders=kinds.reminders,
    )
    cases, bills, billed, first_due, last_due = chosen.rows(
        "SELECT count(*), count(DISTINCT invoice_number), "
        "coalesce(sum(amount_due_millimes) FILTER (WHERE is_last_here), 0), min(due_date), max(due_date) "
        "FROM line"
    )[0]
    standings = count_standings(chosen)
    ages, districts = count_debts(chosen, whole="amount_due_millimes", on=today)
    unscheduled, missing = _unscheduled(chosen)
    return CycleFigures(
        cycle=cycle_key,
        cycle_id=cycle_id,
        issue_date=issue_date,
        due_dates=(first_due, last_due) if first_due else None,
        as_of=as_of,
        phase=_phase(standings),
        rules=[version for (version,) in chosen.rows("SELECT DISTINCT rules_version FROM said ORDER BY 1")],
        cases=cases,
        bills=bills,
        unscheduled=unscheduled,
        billed_millimes=int(billed),
        openings=dict(
            tuple(row)
            for row in chosen.rows("SELECT opened_because, count(*) FROM line GROUP BY 1 ORDER BY 2 DESC, 1")
        ),
        standings=standings,
        left_out=_left_out(chosen),
        not_warned=_not_warned(chosen),
        reaction=count_reaction(chosen),
        ages=[age for age in ages if age.owed_millimes],
        districts=districts,
        messages=_messages(chosen),
        days=[DayRow(*row) for row in chosen.rows(_DAYS)],
        handed_over=_handed_over(chosen),
        missing=(*missing, *_missing(chosen)),
    )


# No decision is older than its bills, and old ones lie together: a few pages of index leave out past years.
_SAID = """
CREATE TEMPORARY TABLE said ON COMMIT DROP AS
SELECT d.invoice_number, d.sequence, d.id, d.day, d.verdict, d.reason, d.notice_kind, d.notice_id,
    n.state AS message_state, n.final_at, d.balance_millimes, d.rules_version
FROM cutoff_decision d JOIN cutoff_case c USING (invoice_number, sequence)
LEFT JOIN notice n ON n.id = d.notice_id AND d.verdict = 'notify'
WHERE c.cycle_id = :cycle AND d.day >= :since
"""

# What a case was told is its first warning: the last one that was planned, for earlier ones never left.
_WARNED = """
SELECT DISTINCT ON (invoice_number, sequence) invoice_number, sequence, notice_id AS message_id,
    message_state, final_at, balance_millimes AS asked_millimes
FROM said WHERE verdict = 'notify' AND notice_id IS NOT NULL AND notice_kind = ANY(:first)
ORDER BY invoice_number, sequence, id DESC
"""


def _phase(standings: list[Stood]) -> CyclePhase:
    found = {one.standing for one in standings}
    if not found:
        return CyclePhase.NO_CASES
    if found <= set(CLOSED_STANDINGS):
        return CyclePhase.CLOSED
    return CyclePhase.BEFORE if found <= {Standing.TO_COME, *CLOSED_STANDINGS} else CyclePhase.OPEN


def _left_out(chosen: Chosen) -> list[LeftOut]:
    """Count the closed cases by reason, those that were simply paid left out."""
    return [
        LeftOut(reason, before, after, int(millimes))
        for reason, before, after, millimes in chosen.rows(
            "SELECT reason, count(*) FILTER (WHERE told_at IS NULL), "
            "count(*) FILTER (WHERE told_at IS NOT NULL), "
            "coalesce(sum(owed_millimes) FILTER (WHERE is_last_here), 0) "
            "FROM line WHERE state = 'excluded' GROUP BY reason ORDER BY count(*) DESC, reason"
        )
    ]


def _not_warned(chosen: Chosen) -> list[NotWarned]:
    return [
        NotWarned(reason, cases, listed, closed, int(millimes))
        for reason, cases, listed, closed, millimes in chosen.rows(
            """
            SELECT letter.reason, count(*), count(listed.invoice_number),
                count(*) FILTER (WHERE l.state <> 'not_warned'), coalesce(sum(l.owed_millimes), 0)
            FROM (
                SELECT DISTINCT ON (invoice_number, sequence) invoice_number, sequence, reason
                FROM said WHERE verdict = 'letter' ORDER BY invoice_number, sequence, id
            ) letter
            JOIN line l USING (invoice_number, sequence)
            LEFT JOIN (
                SELECT DISTINCT x.invoice_number, x.sequence
                FROM cutoff_list_line x JOIN cutoff_list k ON k.id = x.list_id AND k.kind = 'letters'
            ) listed USING (invoice_number, sequence)
            GROUP BY 1 ORDER BY 2 DESC, 1
            """
        )
    ]


def _messages(chosen: Chosen) -> list[Group]:
    """Count the messages about the cycle's cases by kind and state."""
    kinds: dict[str, Counter[State]] = {}
    for kind, state, notices in chosen.rows(
        """
        SELECT notice_kind, message_state, count(*) FROM said WHERE message_state IS NOT NULL GROUP BY 1, 2
        UNION ALL
        SELECT n.kind, n.state, count(*) FROM notice n
        JOIN (SELECT DISTINCT invoice_number, sequence FROM said WHERE verdict = 'withdraw') paid
            ON paid.invoice_number = n.subject AND paid.sequence = n.sequence
        WHERE n.kind = 'payment_received' GROUP BY 1, 2
        """
    ):
        kinds.setdefault(kind, Counter())[State(state)] += notices
    groups = [Group(kind, states) for kind, states in kinds.items()]
    return sorted(groups, key=lambda group: (-group.states.total(), group.code))


_DAYS = """
SELECT day, count(*) FILTER (WHERE verdict = 'notify' AND notice_kind = ANY(:reminders)),
    count(*) FILTER (WHERE verdict = 'warned' AND notice_kind = ANY(:first)),
    count(*) FILTER (WHERE verdict = 'warned' AND notice_kind = ANY(:second)),
    count(*) FILTER (WHERE verdict IN ('leave_out', 'withdraw') AND reason <> 'paid'),
    count(*) FILTER (WHERE verdict = 'letter'),
    count(*) FILTER (WHERE verdict IN ('leave_out', 'withdraw') AND reason = 'paid'),
    count(*) FILTER (WHERE verdict = 'hand_over'), count(*) FILTER (WHERE verdict = 'reopen')
FROM said GROUP BY day ORDER BY day
"""


def _handed_over(chosen: Chosen) -> HandedOver:
    cases, millimes, closed, called_back = chosen.rows(
        """
        SELECT count(*), coalesce(sum(balance_millimes), 0), count(*) FILTER (WHERE closed),
            count(*) FILTER (WHERE called_back)
        FROM (
            SELECT max(x.balance_millimes) FILTER (WHERE k.kind = 'hand_over') AS balance_millimes,
                bool_or(l.state IN ('paid', 'excluded')) AS closed,
                bool_or(k.kind = 'call_back') AS called_back
            FROM line l JOIN cutoff_list_line x USING (invoice_number, sequence)
            JOIN cutoff_list k ON k.id = x.list_id AND k.kind IN ('hand_over', 'call_back')
            GROUP BY l.invoice_number, l.sequence
        ) listed WHERE balance_millimes IS NOT NULL
        """
    )[0]
    return HandedOver(cases, int(millimes), closed, called_back)


# --- What breaks the identity ----------------------------------------------------------------------------


def _unscheduled(chosen: Chosen) -> tuple[int, tuple[str, ...]]:
    """Count bills that customers were told of and that have no case: all is well while a run is under way."""
    told = (
        "SELECT i.invoice_number, 1 AS sequence FROM invoice i JOIN notice n ON n.kind IN "
        "('bill', 'bill_correction') AND n.cycle_id = i.cycle_id AND n.subject = i.invoice_number "
        "AND n.sequence = i.revision + 1 AND n.state <> 'cancelled' "
        "WHERE i.cycle_id = :cycle AND i.bucket = 'noticed' AND i.amount_due_millimes > 0 "
        "AND NOT EXISTS (SELECT FROM invoice later WHERE later.revision > i.revision "
        "AND later.revision > 0 AND later.invoice_number = i.invoice_number) "
        "AND NOT EXISTS (SELECT FROM line l WHERE l.invoice_number = i.invoice_number)"
    )
    (unscheduled,) = chosen.rows(f"SELECT count(*) FROM ({told}) told")[0]
    (done,) = chosen.rows(
        "SELECT count(*) > 0 AND bool_and(EXISTS (SELECT FROM stage s WHERE s.cycle_id = e.cycle_id "
        "AND s.supplement = e.supplement AND s.name = 'schedule_cutoff')) "
        "FROM extract e WHERE e.cycle_id = :cycle AND e.loaded_at IS NOT NULL"
    )[0]
    return unscheduled, tuple(named(chosen, told, "was never opened")) if done and unscheduled else ()


def _missing(chosen: Chosen) -> Iterator[str]:
    yield from broken_cases(chosen)
    yield from named(
        chosen,
        "SELECT invoice_number, max(sequence) FROM line GROUP BY invoice_number "
        "HAVING max(sequence) <> count(*) OR min(sequence) <> 1",
        "does not follow the one before it",
    )
    closed = ", ".join(f"'{standing}'" for standing in CLOSED_STANDINGS)
    yield from named(
        chosen,
        f"SELECT invoice_number, sequence FROM line WHERE NOT is_last_here AND standing NOT IN ({closed})",
        "is open beside a later one of the same bill",
    )
    yield from named(
        chosen,
        "SELECT invoice_number, sequence FROM line l WHERE state <> 'scheduled' AND NOT EXISTS "
        "(SELECT FROM said s WHERE s.invoice_number = l.invoice_number AND s.sequence = l.sequence)",
        "has moved, and nothing says why",
    )
    yield from named(
        chosen,
        "SELECT l.invoice_number, l.sequence FROM line l WHERE state = 'handed_over' AND NOT EXISTS "
        "(SELECT FROM cutoff_list_line x JOIN cutoff_list k ON k.id = x.list_id AND k.kind = 'hand_over' "
        "WHERE x.invoice_number = l.invoice_number AND x.sequence = l.sequence)",
        "was handed over, and is on no list",
    )
    yield from named(
        chosen,
        "SELECT invoice_number, sequence FROM line WHERE state IN ('warned', 'warned_again', 'handed_over') "
        "AND message_state IS DISTINCT FROM 'delivered'",
        "counts as warned, and its warning is not delivered",
    )
