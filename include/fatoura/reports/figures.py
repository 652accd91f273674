"""The figures of a cycle's report, by set queries in one snapshot of the database.

Called by the writer. What leaves this module is counts, codes and instants: no number, text, reference or
id of a customer. It knows nothing of pages, languages of reports, or files.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from fatoura.ledger import Ledger, count_ledger
from fatoura.ledger.billing import COUNTED, DOUBTFUL
from fatoura.notices.states import Decision, State
from fatoura.sending.doubts import DoubtCount, Which, count_doubts
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED = frozenset({State.UNDELIVERABLE, State.EXPIRED, State.REJECTED})
"""Final, and the customer did not get it."""

UNCONFIRMED = frozenset({State.ACCEPTED, State.IN_DOUBT, State.SENDING})
"""Handed over, or perhaps: the provider's last word is missing."""

FEW = 30
"""Below so many messages a rate says little, and the page shows it paler."""

DELIVERY_EDGES = (1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 1800, 3600, 14_400, 43_200, 86_400)
"""Bounds between the classes of time to delivery, in seconds: about a factor of two each."""

AGE_EDGES = (3600, 6 * 3600, 86_400, 3 * 86_400, 7 * 86_400)
"""Bounds between the classes of age of what is unconfirmed, in seconds."""

UNMATCHED = ("new", "parked", "unreadable")
"""What has become of receipts that belong to no known message."""

_DETAILS = 25  # the provider's words shown for failures; the rest is one line

# A pause this long between two messages is a closed window or a stop: the time axis leaves it out.
_PAUSE = timedelta(minutes=20)
_MOST_BINS = 120
_BIN_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)


class Phase(StrEnum):
    """How far a cycle has come, as its rows tell."""

    PREPARING = "preparing"
    NOTHING_TO_SEND = "nothing_to_send"
    DRY_RUN = "dry_run"
    PLANNED = "planned"
    SENDING = "sending"
    AWAITING = "awaiting"
    SETTLED = "settled"


@dataclass(frozen=True)
class ExtractFacts:
    """One delivery of the billing system. `total_millimes` is its manifest's total."""

    supplement: int
    rows: int
    total_millimes: int
    rejected: int | None
    unknown_columns: tuple[str, ...]
    loaded_at: datetime | None


@dataclass(frozen=True)
class Group:
    """The notices of one district, language, kind or gateway, by state."""

    code: str
    states: Counter[State]
    name_fr: str | None = None
    name_ar: str | None = None

    @property
    def sent(self) -> int:
        """Notices that were tried: neither planned nor cancelled."""
        return self.states.total() - self.states[State.PLANNED] - self.states[State.CANCELLED]

    @property
    def delivered(self) -> int:
        """Notices that reached the phone, by the provider's word."""
        return self.states[State.DELIVERED]

    @property
    def failed(self) -> int:
        """Notices that ended without reaching the phone."""
        return sum(self.states[state] for state in FAILED)

    @property
    def unconfirmed(self) -> int:
        """Notices whose final word is missing."""
        return sum(self.states[state] for state in UNCONFIRMED)

    @property
    def rate(self) -> float | None:
        """Delivered among the sent, from 0 to 1; nothing when none was sent."""
        return self.delivered / self.sent if self.sent else None


@dataclass(frozen=True)
class GatewayGroup(Group):
    """The notices that were handed to one gateway, by state, and what its provider's interface can do.

    :param lacks: what it cannot do and others can: ``validity``, ``push``, ``client_reference``.
    """

    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rejection:
    """How many rows broke a rule, and how many of them no other rule."""

    code: str
    rows: int
    alone: int


@dataclass(frozen=True)
class Unnoticed:
    """How many sound rows got no notice, and why."""

    bucket: str
    reason: str
    rows: int


@dataclass(frozen=True)
class Failure:
    """How many notices ended in a state with the provider's word; `detail` is masked, null for the rest."""

    state: State
    detail: str | None
    notices: int


@dataclass(frozen=True)
class Spend:
    """Messages of one language, encoding and length, over all attempts.

    The provider bills what it accepted; what is in doubt it may bill too; what it refused it does not.
    """

    language: str
    encoding: str
    segments_each: int
    accepted: int
    doubtful: int
    refused: int

    @property
    def segments(self) -> int:
        """Segments of the accepted messages."""
        return self.accepted * self.segments_each

    @property
    def doubtful_segments(self) -> int:
        """Segments of the messages that may have been accepted."""
        return self.doubtful * self.segments_each


@dataclass(frozen=True)
class DeliveryTime:
    """Seconds from handing over to delivery. `classes` has one count more than `DELIVERY_EDGES`."""

    delivered: int
    median: float
    p90: float
    p99: float
    longest: float
    classes: tuple[int, ...]


@dataclass(frozen=True)
class OpenAges:
    """Unconfirmed notices of one state, by age. `classes` has one count more than `AGE_EDGES`."""

    state: State
    notices: int
    oldest: datetime | None
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Bin:
    """What was answered in a stretch of `seconds`; the first and last of a session may be shorter."""

    start: datetime
    seconds: float
    messages: int
    segments: int

    @property
    def rate(self) -> float:
        """Segments a second."""
        return self.segments / self.seconds


@dataclass(frozen=True)
class Speed:
    """How fast messages went out, by the provider's answers.

    :param sessions: stretches without a long pause, each a list of adjoining bins of `bin_seconds`.
    :param active_seconds: seconds of the sessions, pauses left out.
    """

    bin_seconds: int
    sessions: tuple[tuple[Bin, ...], ...]
    messages: int
    segments: int
    active_seconds: float

    @property
    def mean(self) -> float:
        """Segments a second while sending."""
        return self.segments / self.active_seconds


@dataclass(frozen=True)
class StageFacts:
    """A stage's last run, and how many times it ran. Of sending all runs, for each does a part of it."""

    name: str
    supplement: int
    runs: int
    started_at: datetime
    seconds: float
    counts: dict[str, Any]


@dataclass(frozen=True)
class Release:
    """What was decided before an extract's notices went out.

    :param decision: ``released``, ``approved``, ``refused`` or ``dry run``.
    :param by: who decided; nothing when nobody was asked.
    :param reasons: why somebody was asked, in sentences.
    """

    supplement: int
    decision: str
    at: datetime
    by: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """Everything that a report says of one cycle. Instants are UTC."""

    cycle: str
    cycle_id: int
    issue_date: date
    as_of: datetime
    phase: Phase
    ledger: Ledger
    extracts: list[ExtractFacts]
    districts: list[Group]
    languages: list[Group]
    kinds: list[Group]
    gateways: list[GatewayGroup]
    rejections: list[Rejection]
    unnoticed: list[Unnoticed]
    failures: list[Failure]
    spends: list[Spend]
    segment_price_millimes: int
    delivery_time: DeliveryTime | None
    open: list[OpenAges]
    doubts: list[DoubtCount]
    decisions: dict[Decision, int]
    """How many doubts a person decided, and how."""
    speed: Speed | None
    contract_rate: float
    receipts: dict[str, int]
    receipts_until: datetime | None
    receipts_unmatched: dict[str, int]
    stages: list[StageFacts]
    releases: list[Release]
    warnings: int
    first_warning: date | None
    reported_before: datetime | None = None
    changes: dict[State, int] = field(default_factory=dict)

    @property
    def overall(self) -> Group:
        """All notices of the cycle, as one group."""
        return Group("", Counter({State(state): count for state, count in self.ledger.states.items()}))

    @property
    def segments(self) -> int:
        """Segments that the provider accepted."""
        return sum(spend.segments for spend in self.spends)

    @property
    def doubtful_segments(self) -> int:
        """Segments that it may have accepted."""
        return sum(spend.doubtful_segments for spend in self.spends)

    @property
    def cost_millimes(self) -> int:
        """What the accepted segments cost."""
        return self.segments * self.segment_price_millimes

    @property
    def doubtful_cost_millimes(self) -> int:
        """What the doubtful ones would add."""
        return self.doubtful_segments * self.segment_price_millimes


def cycle_figures(connection: Connection, cycle_key: str, as_of: datetime) -> Figures:
    """Count everything that a report says.

    :param connection: in a transaction of one snapshot, or the figures may not agree with each other.
    :param as_of: the instant that ages are counted to.
    :raises BadInput: when there is no such cycle.
    """
    ledger = count_ledger(connection, cycle_key)
    cycle_id, issue_date = connection.execute(
        text("SELECT id, issue_date FROM cycle WHERE key = :key"), {"key": cycle_key}
    ).one()
    query = _Query(connection, cycle_id)
    extracts = _extracts(query)
    districts, languages, kinds = _groups(query)
    stages = _stages(query)
    releases = _releases(stages)
    receipts, receipts_until = _receipts(query)
    warnings, first_warning = query.rows(
        "SELECT count(*), min(warn_from) FROM cutoff_case WHERE cycle_id = :cycle"
    )[0]
    reported_before, changes = _changes(query, ledger)
    settings = get_settings()
    return Figures(
        cycle=cycle_key,
        cycle_id=cycle_id,
        issue_date=issue_date,
        as_of=as_of,
        phase=_phase(query, ledger, releases),
        ledger=ledger,
        extracts=extracts,
        districts=districts,
        languages=languages,
        kinds=kinds,
        gateways=_gateways(query),
        rejections=_rejections(query),
        unnoticed=_unnoticed(query),
        failures=_failures(query, ledger),
        spends=_spends(query),
        segment_price_millimes=settings.segment_price_millimes,
        delivery_time=_delivery_time(query),
        open=_open(query, as_of),
        doubts=count_doubts(connection, Which(cycle_id=cycle_id)),
        decisions=_decisions(query),
        speed=_speed(query),
        contract_rate=settings.segments_per_second,
        receipts=receipts,
        receipts_until=receipts_until,
        receipts_unmatched=_receipts_unmatched(query),
        stages=stages,
        releases=releases,
        warnings=warnings,
        first_warning=first_warning,
        reported_before=reported_before,
        changes=changes,
    )


@dataclass(frozen=True)
class _Query:
    """Runs statements about one cycle, bound as ``:cycle``."""

    connection: Connection
    cycle_id: int

    def rows(self, statement: str, **values: Any) -> Sequence[Any]:
        return self.connection.execute(text(statement), {"cycle": self.cycle_id, **values}).all()


def _extracts(query: _Query) -> list[ExtractFacts]:
    return [
        ExtractFacts(supplement, rows, int(total), rejected, tuple(unknown), loaded_at)
        for supplement, rows, total, rejected, unknown, loaded_at in query.rows(
            "SELECT supplement, declared_rows, declared_total_millimes, rejected_rows, unknown_columns, "
            "loaded_at FROM extract WHERE cycle_id = :cycle ORDER BY supplement"
        )
    ]


def _phase(query: _Query, ledger: Ledger, releases: list[Release]) -> Phase:
    states = ledger.states
    if not sum(states.values()):
        matched = query.rows("SELECT FROM extract WHERE cycle_id = :cycle AND matched_at IS NOT NULL LIMIT 1")
        return Phase.NOTHING_TO_SEND if matched else Phase.PREPARING
    planned = states[State.PLANNED]
    if planned and planned + states[State.CANCELLED] == sum(states.values()):
        return Phase.DRY_RUN if releases and releases[-1].decision == "dry run" else Phase.PLANNED
    if planned or states[State.SENDING]:
        return Phase.SENDING
    if states[State.ACCEPTED] or states[State.IN_DOUBT]:
        return Phase.AWAITING
    return Phase.SETTLED


def _groups(query: _Query) -> tuple[list[Group], list[Group], list[Group]]:
    """Count notices by district, language and kind: one pass, a few hundred combinations."""
    districts: dict[str, Counter[State]] = {}
    languages: dict[str, Counter[State]] = {}
    kinds: dict[str, Counter[State]] = {}
    for district, language, kind, state, notices in query.rows(
        "SELECT coalesce(district, ''), language, kind, state, count(*) FROM notice WHERE cycle_id = :cycle "
        "GROUP BY district, language, kind, state"
    ):
        for groups, code in ((districts, district), (languages, language), (kinds, kind)):
            groups.setdefault(code, Counter())[State(state)] += notices
    names = {code: (fr, ar) for code, fr, ar in query.rows("SELECT code, name_fr, name_ar FROM district")}

    def listed(groups: dict[str, Counter[State]]) -> list[Group]:
        found = [Group(code, states, *names.get(code, ())) for code, states in groups.items()]
        return sorted(found, key=lambda group: (-group.states.total(), group.code))

    return listed(districts), listed(languages), listed(kinds)


def _gateways(query: _Query) -> list[GatewayGroup]:
    """Count the notices that were tried by the gateway of their last attempt."""
    counts: dict[str, Counter[State]] = {}
    lacks: dict[str, tuple[str, ...]] = {}
    for name, capabilities, state, notices in query.rows(
        """
        SELECT n.gateway, g.capabilities, n.state, n.notices FROM (
            SELECT gateway, state, count(*) AS notices FROM notice
            WHERE cycle_id = :cycle AND gateway IS NOT NULL GROUP BY gateway, state
        ) n LEFT JOIN gateway g ON g.name = n.gateway
        """
    ):
        counts.setdefault(name, Counter())[State(state)] = notices
        can = capabilities or {}
        lacks[name] = tuple(
            what
            for what, lacking in (
                ("validity", can.get("validity") is False),
                ("push", can.get("receipts") == "poll"),
                ("client_reference", can.get("client_reference") is False),
            )
            if lacking
        )
    found = [GatewayGroup(name, states, lacks=lacks[name]) for name, states in counts.items()]
    return sorted(found, key=lambda group: (-group.states.total(), group.code))


def _rejections(query: _Query) -> list[Rejection]:
    return [
        Rejection(code, rows, alone)
        for code, rows, alone in query.rows(
            """
            SELECT reason, count(*), count(*) FILTER (WHERE cardinality(reasons) = 1)
            FROM rejected_row r JOIN extract e ON e.id = r.extract_id CROSS JOIN unnest(r.reasons) reason
            WHERE e.cycle_id = :cycle GROUP BY reason ORDER BY 2 DESC, 1
            """
        )
    ]


def _unnoticed(query: _Query) -> list[Unnoticed]:
    return [
        Unnoticed(bucket, reason, rows)
        for bucket, reason, rows in query.rows(
            "SELECT bucket, reason, count(*) FROM invoice WHERE cycle_id = :cycle AND bucket <> 'noticed' "
            "GROUP BY bucket, reason ORDER BY 3 DESC, 1, 2"
        )
    ]


def _failures(query: _Query, ledger: Ledger) -> list[Failure]:
    """Count failures and cancellations by the provider's word.

    A provider may quote the number in its word, and then each word is another: whatever looks like a
    number or a reference is masked before words are grouped. Codes in hexadecimal (0x00000045) stay.
    """
    failures = [
        Failure(State(state), detail, notices)
        for state, detail, notices in query.rows(
            r"""
            SELECT state, left(regexp_replace(coalesce(reason, ''),
                '(?<![0-9])(?<!0x)\+?[0-9](?:[ .()/-]?[0-9]){7,}', '***', 'g'), 100) AS detail, count(*)
            FROM notice
            WHERE cycle_id = :cycle AND state IN ('undeliverable', 'expired', 'rejected', 'cancelled')
            GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT :most
            """,
            most=_DETAILS,
        )
    ]
    shown = Counter[State]()
    for failure in failures:
        shown[failure.state] += failure.notices
    for state in (State.UNDELIVERABLE, State.EXPIRED, State.REJECTED, State.CANCELLED):
        if rest := ledger.states[state] - shown[state]:
            failures.append(Failure(state, None, rest))
    return failures


def _spends(query: _Query) -> list[Spend]:
    """Count attempts by what they cost."""
    return [
        Spend(*row)
        for row in query.rows(
            f"""
            SELECT language, encoding, segments,
                count(*) FILTER (WHERE sure), count(*) FILTER (WHERE doubtful),
                count(*) FILTER (WHERE NOT sure AND NOT doubtful)
            FROM (
                SELECT n.language, n.encoding, n.segments, {COUNTED} AS sure, {DOUBTFUL} AS doubtful
                FROM notice n JOIN attempt a ON a.notice_id = n.id
                WHERE n.cycle_id = :cycle
            ) attempts
            GROUP BY language, encoding, segments ORDER BY 4 DESC, 1, 2, 3
            """
        )
    ]


def _delivery_time(query: _Query) -> DeliveryTime | None:
    taken = """
        SELECT greatest(extract(epoch FROM final_at - submitted_at), 0)::double precision AS seconds
        FROM notice
        WHERE cycle_id = :cycle AND state = 'delivered' AND final_at IS NOT NULL AND submitted_at IS NOT NULL
    """
    delivered, shares, longest = query.rows(
        f"""
        SELECT count(*), percentile_cont(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY seconds), max(seconds)
        FROM ({taken}) taken
        """
    )[0]
    if not delivered:
        return None
    classes = _classes(
        query.rows(
            f"SELECT width_bucket(seconds, CAST(:edges AS double precision[])), count(*) "
            f"FROM ({taken}) taken GROUP BY 1",
            edges=list(DELIVERY_EDGES),
        ),
        DELIVERY_EDGES,
    )
    median, p90, p99 = shares
    return DeliveryTime(delivered, median, p90, p99, longest, classes)


def _classes(rows: Sequence[Any], edges: tuple[int, ...]) -> tuple[int, ...]:
    counts = dict(tuple(row) for row in rows)
    return tuple(counts.get(number, 0) for number in range(len(edges) + 1))


def _open(query: _Query, as_of: datetime) -> list[OpenAges]:
    rows = query.rows(
        """
        SELECT state,
            width_bucket(extract(epoch FROM :as_of - since)::double precision,
                CAST(:edges AS double precision[])),
            count(*), min(since)
        FROM (SELECT state, coalesce(submitted_at, state_since) AS since FROM notice
              WHERE cycle_id = :cycle AND state IN ('sending', 'in_doubt', 'accepted')) open
        GROUP BY 1, 2
        """,
        as_of=as_of,
        edges=list(AGE_EDGES),
    )
    ages = []
    for state in (State.ACCEPTED, State.IN_DOUBT, State.SENDING):
        mine = [row for row in rows if row[0] == state]
        if mine:
            classes = _classes([row[1:3] for row in mine], AGE_EDGES)
            ages.append(OpenAges(state, sum(classes), min(row[3] for row in mine), classes))
    return ages


def _decisions(query: _Query) -> dict[Decision, int]:
    rows = query.rows(
        "SELECT decision, count(*) FROM doubt_decision d JOIN notice n ON n.id = d.notice_id "
        "WHERE n.cycle_id = :cycle GROUP BY decision"
    )
    return {Decision(decision): count for decision, count in sorted(tuple(row) for row in rows)}


def _speed(query: _Query) -> Speed | None:
    """Count what the provider accepted or refused for good, over time.

    A minute is fine enough for all but short sends; those are counted again by the second.
    """
    by_second = """
        SELECT date_trunc('second', a.answered_at) AS second,
            count(*) AS messages, sum(n.segments) AS segments
        FROM notice n JOIN attempt a ON a.notice_id = n.id
        WHERE n.cycle_id = :cycle AND a.answered_at IS NOT NULL AND a.outcome IN ('accepted', 'rejected')
        GROUP BY 1
    """
    counted = query.rows(
        f"""
        SELECT date_trunc('minute', second) AS at, sum(messages)::bigint, sum(segments)::bigint,
            min(second), max(second)
        FROM ({by_second}) seconds GROUP BY 1 ORDER BY 1
        """
    )
    if not counted:
        return None
    step = timedelta(minutes=1)
    stretches = _stretches([(row[3], row[4]) for row in counted])
    active = sum((last - first).total_seconds() + 1 for first, last in stretches)
    if active <= 20 * 60:
        counted = query.rows(f"SELECT second, messages, segments::bigint FROM ({by_second}) s ORDER BY 1")
        step = timedelta(seconds=1)
    width = next(
        (w for w in _BIN_SECONDS if w >= step.total_seconds() and active / w <= _MOST_BINS), _BIN_SECONDS[-1]
    )
    return Speed(
        bin_seconds=width,
        sessions=_sessions(counted, stretches, width),
        messages=sum(row[1] for row in counted),
        segments=sum(row[2] for row in counted),
        active_seconds=active,
    )


def _stretches(spans: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Join spans of activity that no long pause separates."""
    stretches = [spans[0]]
    for first, last in spans[1:]:
        if first - stretches[-1][1] > _PAUSE:
            stretches.append((first, last))
        else:
            stretches[-1] = (stretches[-1][0], last)
    return stretches


def _sessions(
    counted: Sequence[Any], stretches: list[tuple[datetime, datetime]], width: int
) -> tuple[tuple[Bin, ...], ...]:
    """Gather counts into adjoining bins of `width` seconds, one list of them a stretch."""
    sessions = []
    position = 0
    for first, last in stretches:
        begin, end = first.timestamp(), last.timestamp() + 1
        start = begin // width * width
        bins = [[0, 0] for _ in range(int((end - start - 1) // width) + 1)]
        while position < len(counted) and counted[position][0] <= last:
            at, messages, segments, *_ = counted[position]
            # A minute's count is dated at its start, which may lie before the stretch's first second.
            chosen = bins[int(max(0, at.timestamp() - start) // width)]
            chosen[0] += messages
            chosen[1] += segments
            position += 1
        edges = [max(begin, start + width * i) for i in range(len(bins))] + [end]
        sessions.append(
            tuple(
                Bin(datetime.fromtimestamp(at, first.tzinfo), until - at, messages, segments)
                for at, until, (messages, segments) in zip(edges, edges[1:], bins, strict=False)
            )
        )
    return tuple(sessions)


def _receipts(query: _Query) -> tuple[dict[str, int], datetime | None]:
    """Count the cycle's receipts by what became of them. One without our id is known by the provider's."""
    rows = query.rows(
        """
        SELECT match, sum(receipts)::bigint, max(latest) FROM (
            SELECT r.match, count(*) AS receipts, max(r.received_at) AS latest
            FROM receipt r JOIN notice n ON n.id = r.notice_id WHERE n.cycle_id = :cycle GROUP BY 1
            UNION ALL
            SELECT r.match, count(*), max(r.received_at)
            FROM receipt r JOIN attempt a ON a.gateway = r.gateway AND a.provider_id = r.provider_id
            JOIN notice n ON n.id = a.notice_id
            WHERE n.cycle_id = :cycle AND r.notice_id IS NULL GROUP BY 1
        ) found GROUP BY match
        """
    )
    return {match: count for match, count, _ in rows}, max((row[2] for row in rows), default=None)


def _receipts_unmatched(query: _Query) -> dict[str, int]:
    """Count receipts that cannot be told to belong to any cycle."""
    rows = query.rows(
        "SELECT match, count(*) FROM receipt WHERE match = ANY(:unmatched) GROUP BY match",
        unmatched=list(UNMATCHED),
    )
    return dict(tuple(row) for row in rows)


def _stages(query: _Query) -> list[StageFacts]:
    """Tell each stage once. A sender's stay is a stage run: of sending, all stays count together."""
    runs: dict[tuple[int, str], list[Any]] = {}
    for row in query.rows(
        """
        SELECT * FROM (
            SELECT *, row_number() OVER (PARTITION BY supplement, name ORDER BY id DESC) AS age,
                count(*) OVER (PARTITION BY supplement, name) AS runs
            FROM stage WHERE cycle_id = :cycle
        ) stage
        WHERE age = 1 OR name = 'send' ORDER BY supplement, id
        """
    ):
        runs.setdefault((row.supplement, row.name), []).append(row)
    facts = []
    for (supplement, name), rows in runs.items():
        counts = rows[-1].counts
        if name == "send":
            summed = Counter[str]()
            for row in rows:
                summed.update({key: value for key, value in row.counts.items() if key != "lane"})
            counts = {key: round(value, 1) for key, value in summed.items()}
        started, finished = min(row.started_at for row in rows), max(row.finished_at for row in rows)
        facts.append(
            StageFacts(name, supplement, rows[0].runs, started, (finished - started).total_seconds(), counts)
        )
    return sorted(facts, key=lambda stage: (stage.supplement, stage.started_at))


def _releases(stages: list[StageFacts]) -> list[Release]:
    return [
        Release(
            stage.supplement,
            stage.counts["decision"],
            stage.started_at + timedelta(seconds=stage.seconds),
            stage.counts.get("by"),
            tuple(stage.counts.get("reasons", ())),
        )
        for stage in stages
        if stage.name == "release"
    ]


def _changes(query: _Query, ledger: Ledger) -> tuple[datetime | None, dict[State, int]]:
    """Compare the states with those that the last report recorded."""
    rows = query.rows(
        "SELECT started_at, counts FROM stage WHERE cycle_id = :cycle AND name = 'report' "
        "ORDER BY id DESC LIMIT 1"
    )
    if not rows:
        return None, {}
    started_at, counts = rows[0]
    changes = {state: ledger.states[state] - int(counts.get(state, 0)) for state in State}
    return started_at, {state: change for state, change in changes.items() if change}
