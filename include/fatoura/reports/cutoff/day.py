"""The figures of a day's cut-off warnings: what was decided, what became of it, and on which payments.

Called by the writer, in one snapshot of the database. Knows nothing of pages and languages.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.cutoff.reasons import SETTLED
from fatoura.cutoff.rules import Channel, rules_on
from fatoura.cycles.registry import Purpose
from fatoura.errors import BadInput
from fatoura.notices.states import State
from fatoura.reports.cutoff.cases import (
    Chosen,
    Debts,
    Kinds,
    LeftOut,
    NotWarned,
    Reaction,
    Stood,
    broken_cases,
    count_debts,
    count_reaction,
    count_standings,
    kinds_of_steps,
    lay_out_decided,
    named,
)
from fatoura.reports.figures import Group

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection


class Bucket(StrEnum):
    """What was decided of a case that was due. Each is in exactly one."""

    NOTIFIED = "notified"
    SETTLED = "settled"  # left out, for a payment had brought it about
    LEFT_OUT = "left_out"
    LETTERS = "letters"
    WAITING = "waiting"  # for another day: the most of a day was reached


class DayPhase(StrEnum):
    """How far a day has come."""

    UNDECIDED = "undecided"
    SENDING = "sending"
    AWAITING = "awaiting"
    SETTLED = "settled"


class Undecided(StrEnum):
    """Why nothing was decided on a day."""

    CLOSED = "closed"  # nobody is written to on such a day
    NO_FEED = "no_feed"  # of payments has ever come
    STALE = "stale"
    NOT_YET = "not_yet"
    NOT_RUN = "not_run"  # and nobody knows why


@dataclass(frozen=True)
class Step:
    """One kind of warning: what was decided, and the states of its messages.

    :param due: cases that were due, each once, whatever was decided.
    :param buckets: the same by what was decided; waiting cases are not told apart by kind.
    :param unplanned: to be notified, and not planned (yet).
    """

    kind: str
    due: int
    buckets: Counter[Bucket]
    states: Counter[State]
    unplanned: int

    @property
    def messages(self) -> Group:
        """Its messages, as one group."""
        return Group(self.kind, self.states)


@dataclass(frozen=True)
class Freshness:
    """Up to when a channel's payments were known when the day was decided, had to be, and are known now."""

    channel: Channel
    then: datetime | None
    needed: datetime | None
    now: datetime | None

    @property
    def was_stale(self) -> bool:
        """Whether it was older than the rules allow."""
        return self.needed is not None and (self.then is None or self.then < self.needed)


@dataclass(frozen=True)
class Movement:
    """Cases that moved on this day otherwise than by being due, and what was owed of them."""

    moment: str
    verdict: str
    reason: str | None
    cases: int
    millimes: int


@dataclass(frozen=True)
class ListFacts:
    """A list that was made on this day. `closed` counts its cases that were paid or left out since."""

    kind: str
    made_at: datetime
    cases: int
    millimes: int
    closed: int


@dataclass(frozen=True)
class DayFigures:
    """Everything that a day's page says. Instants are UTC.

    :param waiting: due, and left for another day.
    :param most: the most warnings of a day, by the rules.
    :param decided_at: when the daily run decided, each time.
    :param missing: what breaks the identity, in sentences.
    """

    day: date
    cycle: str | None
    as_of: datetime
    phase: DayPhase
    undecided: Undecided | None
    rules: list[str]
    most: int
    decided_at: list[datetime]
    steps: list[Step]
    reminders: list[Group]
    waiting: int
    left_out: list[LeftOut]
    not_warned: list[NotWarned]
    standings: list[Stood]
    reaction: Reaction | None
    ages: list[Debts]
    districts: list[Debts]
    messages: list[Group]
    freshness: list[Freshness]
    movements: list[Movement]
    lists: list[ListFacts]
    missing: tuple[str, ...] = field(default=())

    @property
    def buckets(self) -> Counter[Bucket]:
        """What was decided, over all kinds of warning."""
        counted = Counter({Bucket.WAITING: self.waiting})
        for step in self.steps:
            counted.update(step.buckets)
        return counted

    @property
    def states(self) -> Counter[State]:
        """The states of the day's warnings."""
        counted = Counter[State]()
        for step in self.steps:
            counted.update(step.states)
        return counted

    @property
    def due(self) -> int:
        """Cases that were due."""
        return sum(step.due for step in self.steps) + self.waiting

    @property
    def unplanned(self) -> int:
        """To be notified, and not planned (yet)."""
        return sum(step.unplanned for step in self.steps)

    @property
    def identity_holds(self) -> bool:
        """Whether each case that was due is in one bucket, and each notified one has one message."""
        return (
            not self.missing
            and self.due == self.buckets.total()
            and self.buckets[Bucket.NOTIFIED] == self.states.total() + self.unplanned
        )


def day_figures(connection: Connection, day: date, as_of: datetime) -> DayFigures:
    """Count everything that a day's page says.

    :param connection: in a transaction of one snapshot, which may make temporary tables.
    :param day: a local day.
    :raises BadInput: when the day has not come yet.
    :raises RulesError: when the rules cannot be read.
    """
    today = as_of.astimezone(clock.zone()).date()
    if day > today:
        raise BadInput(f"{day} has not come yet: there is nothing to report of it")
    kinds, rules = kinds_of_steps(), rules_on(day)
    cycle = connection.execute(
        text("SELECT id, key FROM cycle WHERE purpose = :purpose AND issue_date = :day"),
        {"purpose": Purpose.CUTOFF, "day": day},
    ).one_or_none()
    cycle_id = cycle.id if cycle else None
    chosen = lay_out_decided(
        connection,
        _DUE,
        ("kind", "why", "bucket"),
        today=today,
        cycle=cycle_id,
        day=day,
        warnings=kinds.warnings,
        settled=sorted(SETTLED),
    )
    decided = _decided(chosen)
    window = load_calendar(connection).window(day)
    midnight = datetime.combine(day + timedelta(days=1), time(), clock.zone())
    freshness = _freshness(
        chosen, decided, rules.fresh_within_hours, window[1] if window else midnight, as_of
    )
    steps = _steps(chosen, kinds)
    messages = _messages(chosen)
    ages, districts = count_debts(chosen, whole="asked_millimes", on=day)
    undecided = None
    if not steps and not any(stage.counts.get("closed") is None for stage in decided):
        undecided = _undecided(window, as_of, freshness, decided)
    return DayFigures(
        day=day,
        cycle=cycle.key if cycle else None,
        as_of=as_of,
        phase=_phase(chosen, undecided),
        undecided=undecided,
        rules=[version for (version,) in chosen.rows(_VERSIONS)] or [rules.version],
        most=rules.most_warnings_a_day,
        decided_at=[stage.finished_at for stage in decided if stage.counts.get("closed") is None],
        steps=steps,
        reminders=[group for group in messages if group.code in kinds.reminders],
        waiting=_waiting(decided),
        left_out=_left_out(chosen),
        not_warned=_not_warned(chosen),
        standings=count_standings(chosen, "bucket = 'notified'"),
        reaction=count_reaction(chosen),
        ages=ages,
        districts=districts,
        messages=messages,
        freshness=freshness,
        movements=[
            Movement(moment, verdict, reason, cases, int(millimes))
            for moment, verdict, reason, cases, millimes in chosen.rows(_MOVEMENTS)
        ],
        lists=[
            ListFacts(kind, at, n, int(owed), closed) for kind, at, n, owed, closed in chosen.rows(_LISTS)
        ],
        missing=tuple(_missing(chosen, decided)),
    )


# The last word of the day's runs about each case and kind of warning.
_DUE = """
SELECT DISTINCT ON (d.invoice_number, d.sequence, d.notice_kind)
    d.invoice_number, d.sequence, d.notice_kind AS kind, d.reason AS why, d.notice_id AS message_id,
    n.state AS message_state, n.final_at, d.balance_millimes AS asked_millimes,
    CASE WHEN d.verdict = 'notify' THEN 'notified' WHEN d.verdict = 'letter' THEN 'letters'
        WHEN d.verdict NOT IN ('leave_out', 'withdraw') THEN NULL
        WHEN d.reason = ANY(:settled) THEN 'settled' ELSE 'left_out' END AS bucket
FROM cutoff_decision d LEFT JOIN notice n ON n.id = d.notice_id
WHERE d.cycle_id = :cycle AND d.moment = 'due' AND d.notice_kind = ANY(:warnings)
ORDER BY d.invoice_number, d.sequence, d.notice_kind, d.id DESC
"""

_VERSIONS = "SELECT DISTINCT rules_version FROM cutoff_decision WHERE cycle_id = :cycle ORDER BY 1"


def _decided(chosen: Chosen) -> Sequence[Any]:
    return chosen.rows(
        "SELECT finished_at, counts FROM stage WHERE cycle_id = :cycle AND name = 'decide' ORDER BY id"
    )


def _waiting(decided: Sequence[Any]) -> int:
    """Return how many cases the last run left for another day."""
    runs = [stage.counts for stage in decided if stage.counts.get("closed") is None]
    return int(runs[-1].get("waiting", 0)) if runs else 0


def _steps(chosen: Chosen, kinds: Kinds) -> list[Step]:
    """Count what was decided by kind. What was decided in no known way is in no bucket, and missing."""
    due: Counter[str] = Counter()
    buckets: dict[str, Counter[Bucket]] = {}
    states: dict[str, Counter[State]] = {}
    unplanned: Counter[str] = Counter()
    for kind, bucket, state, cases, distinct in chosen.rows(
        "SELECT kind, bucket, message_state, count(*), count(DISTINCT (invoice_number, sequence)) "
        "FROM line GROUP BY 1, 2, 3"
    ):
        due[kind] += distinct
        if bucket is not None:
            buckets.setdefault(kind, Counter())[Bucket(bucket)] += cases
        if bucket == Bucket.NOTIFIED and state is not None:
            states.setdefault(kind, Counter())[State(state)] += cases
        elif bucket == Bucket.NOTIFIED:
            unplanned[kind] += cases
    return [
        Step(kind, due[kind], buckets.get(kind, Counter()), states.get(kind, Counter()), unplanned[kind])
        for kind in kinds.warnings
        if due[kind]
    ]


def _phase(chosen: Chosen, undecided: Undecided | None) -> DayPhase:
    """Tell how far the day is. What was not planned on its day never is, and is decided anew on another."""
    if undecided:
        return DayPhase.UNDECIDED
    to_send, to_come = chosen.rows(
        """
        SELECT :day = :today AND EXISTS (SELECT FROM line WHERE bucket = 'notified' AND message_id IS NULL)
            OR EXISTS (SELECT FROM notice WHERE cycle_id = :cycle AND state IN ('planned', 'sending')),
            EXISTS (SELECT FROM line WHERE is_awaited)
        """
    )[0]
    if to_send:
        return DayPhase.SENDING
    return DayPhase.AWAITING if to_come else DayPhase.SETTLED


def _undecided(
    window: tuple[datetime, datetime] | None,
    as_of: datetime,
    freshness: list[Freshness],
    decided: Sequence[Any],
) -> Undecided:
    if window is None or decided:
        return Undecided.CLOSED
    if all(channel.then is None for channel in freshness):
        return Undecided.NO_FEED
    if any(channel.was_stale for channel in freshness):
        return Undecided.STALE
    return Undecided.NOT_YET if as_of < window[1] else Undecided.NOT_RUN


def _left_out(chosen: Chosen) -> list[LeftOut]:
    """Count whom a rule or a payment left out: when due, and when the message was about to leave."""
    return [
        LeftOut(reason, before, later, int(millimes))
        for reason, before, later, millimes in chosen.rows(
            """
            SELECT why, count(*) FILTER (WHERE early), count(*) FILTER (WHERE NOT early),
                coalesce(sum(greatest(asked_millimes, 0)), 0)
            FROM (
                SELECT why, true AS early, asked_millimes FROM line WHERE bucket IN ('settled', 'left_out')
                UNION ALL
                SELECT d.reason, false, l.asked_millimes
                FROM line l JOIN cutoff_decision d ON d.invoice_number = l.invoice_number
                    AND d.sequence = l.sequence AND d.notice_id = l.message_id
                WHERE l.message_state = 'cancelled' AND d.verdict IN ('leave_out', 'withdraw')
            ) gone
            GROUP BY why ORDER BY count(*) DESC, why
            """
        )
    ]


def _not_warned(chosen: Chosen) -> list[NotWarned]:
    """Count those that a letter has to tell: known when due, or when their message had failed."""
    return [
        NotWarned(reason, cases, listed, closed, int(millimes))
        for reason, cases, listed, closed, millimes in chosen.rows(
            """
            SELECT reason, count(*),
                count(*) FILTER (WHERE EXISTS (
                    SELECT FROM cutoff_list_line x JOIN cutoff_list k ON k.id = x.list_id
                    WHERE k.kind = 'letters' AND x.invoice_number = letter.invoice_number
                        AND x.sequence = letter.sequence
                )),
                count(*) FILTER (WHERE state <> 'not_warned'), sum(greatest(asked_millimes, 0))
            FROM (
                SELECT DISTINCT ON (l.invoice_number, l.sequence)
                    l.invoice_number, l.sequence, d.reason, l.state, l.asked_millimes
                FROM line l JOIN cutoff_decision d USING (invoice_number, sequence)
                WHERE d.verdict = 'letter' AND (d.cycle_id = :cycle OR d.notice_id = l.message_id)
            ) letter
            GROUP BY reason ORDER BY 2 DESC, 1
            """
        )
    ]


def _messages(chosen: Chosen) -> list[Group]:
    """Count the messages of the day's cycles by kind and state."""
    kinds: dict[str, Counter[State]] = {}
    for kind, state, notices in chosen.rows(
        "SELECT kind, state, count(*) FROM notice WHERE cycle_id IN "
        "(SELECT id FROM cycle WHERE purpose IN ('cutoff', 'payment_received') AND issue_date = :day) "
        "GROUP BY 1, 2"
    ):
        kinds.setdefault(kind, Counter())[State(state)] = notices
    groups = [Group(kind, states) for kind, states in kinds.items()]
    return sorted(groups, key=lambda group: (-group.states.total(), group.code))


def _freshness(
    chosen: Chosen, decided: Sequence[Any], allowed: dict[Channel, int], over: datetime, as_of: datetime
) -> list[Freshness]:
    """Tell up to when payments were known: as the last run wrote down, else as feeds had said in time.

    :param over: from when on it is too late to decide on this day.
    """
    now = dict(chosen.rows("SELECT channel, complete_until FROM watermark"))  # type: ignore[arg-type]
    if decided:
        at = decided[-1].finished_at
        told = {
            channel: datetime.fromisoformat(until)
            for channel, until in decided[-1].counts.get("watermarks", {}).items()
            if until
        }
    else:
        at = min(over, as_of)
        told = now if at == as_of else dict(chosen.rows(_WATERMARKS_THEN, at=at))  # type: ignore[arg-type]
    return [
        Freshness(channel, told.get(channel), at - timedelta(hours=allowed[channel]), now.get(channel))
        for channel in Channel
    ]


_WATERMARKS_THEN = """
SELECT channel, max(until::timestamptz)
FROM feed, jsonb_each_text(manifest -> 'complete_until') AS told (channel, until)
WHERE content = 'payments' AND loaded_at <= :at AND jsonb_typeof(manifest -> 'complete_until') = 'object'
GROUP BY channel
"""

# Who has paid, whose cheque bounced, who was handed over: found on this day, about cases of any day.
_MOVEMENTS = """
SELECT moment, verdict, reason, count(*), coalesce(sum(greatest(balance_millimes, 0)), 0)
FROM cutoff_decision WHERE day = :day AND (moment <> 'due' OR cycle_id IS NULL)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 4 DESC, 3
"""

_LISTS = """
SELECT k.kind, k.made_at, count(x.list_id), coalesce(sum(x.balance_millimes), 0),
    count(*) FILTER (WHERE c.state IN ('paid', 'excluded'))
FROM cutoff_list k LEFT JOIN cutoff_list_line x ON x.list_id = k.id
LEFT JOIN cutoff_case c ON c.invoice_number = x.invoice_number AND c.sequence = x.sequence
WHERE k.day = :day GROUP BY k.id ORDER BY k.kind
"""


# --- What breaks the identity ----------------------------------------------------------------------------


def _missing(chosen: Chosen, decided: Sequence[Any]) -> Iterator[str]:
    yield from named(
        chosen,
        "SELECT invoice_number, sequence FROM line WHERE bucket IS NULL",
        "was decided in a way that is in no bucket",
    )
    yield from named(
        chosen,
        "SELECT invoice_number, sequence FROM line GROUP BY 1, 2 HAVING count(*) > 1",
        "was due for two kinds of warning at once",
    )
    yield from named(
        chosen,
        "SELECT invoice_number, sequence FROM cutoff_decision WHERE cycle_id = :cycle AND moment = 'due' "
        "AND notice_kind = ANY(:warnings) GROUP BY invoice_number, sequence, notice_kind HAVING count(*) > 1",
        "was decided twice",
    )
    yield from named(
        chosen,
        "SELECT invoice_number, sequence FROM cutoff_decision d WHERE cycle_id = :cycle AND NOT EXISTS "
        "(SELECT FROM cutoff_case c WHERE c.invoice_number = d.invoice_number AND c.sequence = d.sequence)",
        "was decided and is not there",
    )
    yield from named(
        chosen,
        "SELECT invoice_number, sequence FROM line WHERE bucket = 'notified' AND message_id IS NOT NULL "
        "AND message_state IS NULL",
        "has lost its message",
    )
    yield from named(
        chosen,
        "SELECT subject, sequence FROM notice n WHERE cycle_id = :cycle AND kind = ANY(:warnings) "
        "AND NOT EXISTS (SELECT FROM line WHERE message_id = n.id)",
        "has a message that nothing decided",
    )
    yield from broken_cases(chosen)
    yield from _recorded(chosen, decided)


def _recorded(chosen: Chosen, decided: Sequence[Any]) -> Iterator[str]:
    """Compare the decisions with what the runs wrote down: one that was killed may have written less."""
    told = Counter[str]()
    for stage in decided:
        told.update({name: count for name, count in stage.counts.items() if ": " in name})
    found = Counter(
        {
            f"{kind}: {verdict}{' ' + reason if reason else ''}": cases
            for kind, verdict, reason, cases in chosen.rows(
                "SELECT notice_kind, verdict, reason, count(*) FROM cutoff_decision "
                "WHERE cycle_id = :cycle AND moment = 'due' GROUP BY 1, 2, 3"
            )
        }
    )
    for name, count in sorted((told - found).items()):
        yield f"{count} of the decisions “{name}” that the runs wrote down are gone"
