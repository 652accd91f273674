"""A statement beside the ledger: what agrees, what either side counts alone, and the difference.

Called by the command, the page and the exports. Everything is counted in one transaction, so that the figures
add up: the difference in money is exactly the sum of its causes. It knows no file and no page.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from fatoura import clock
from fatoura.database import connect, driver, locked
from fatoura.errors import BadInput
from fatoura.ledger.billing import COUNTED
from fatoura.settings import get_settings
from fatoura.statements.matching import DOUBTFUL_CLASS, REFUSED_CLASS, match_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from fatoura.statements.periods import Period

PAIRED = ("agreed", "segments_differ", "price_differs")
"""Both sides count the message in this month."""

THEIRS_ALONE = ("unknown", "in_doubt", "refused", "twice", "outside_period")
"""They count it in this month and we do not."""

OURS_ALONE = ("uncounted", "other_period")
"""We count it in this month and they do not."""

OUTCOMES = (*PAIRED, *THEIRS_ALONE, *OURS_ALONE, "unbilled")

_JUDGED = f"""
    CREATE TEMPORARY TABLE judged ON COMMIT DROP AS
    SELECT b.line, p.notice_id, p.number, p.matched_by, b.amount AS stated_amount,
        coalesce(b.segments, o.segments, 1) AS segments,
        coalesce(b.amount, coalesce(b.segments, o.segments, 1) * CAST(:price AS numeric)) AS amount,
        o.segments AS our_segments,
        CASE
            WHEN p.surplus THEN 'twice'
            WHEN p.line IS NULL AND (b.submitted_at < :begins OR b.submitted_at >= :ends)
                THEN 'outside_period'
            WHEN p.line IS NULL THEN 'unknown'
            WHEN NOT o.inside THEN 'outside_period'
            WHEN o.class = {REFUSED_CLASS} THEN 'refused'
            WHEN o.class = {DOUBTFUL_CLASS} THEN 'in_doubt'
            WHEN b.segments <> o.segments THEN 'segments_differ'
            WHEN b.amount <> coalesce(b.segments, o.segments) * CAST(:price AS numeric) THEN 'price_differs'
            ELSE 'agreed'
        END AS outcome
    FROM billed b
    LEFT JOIN pair p ON p.line = b.line
    LEFT JOIN ours o ON o.notice_id = p.notice_id AND o.number = p.number
"""

_ALONE = """
    CREATE TEMPORARY TABLE alone ON COMMIT DROP AS
    SELECT o.notice_id, o.number, o.at, o.phone, o.kind, o.segments, o.provider_id, o.class,
        CASE WHEN EXISTS (
            SELECT FROM statement_match m JOIN statement s ON s.id = m.statement_id
            WHERE m.notice_id = o.notice_id AND m.attempt = o.number AND NOT m.surplus
                AND s.gateway = :gateway AND s.id <> :id
        ) THEN 'other_period' ELSE 'uncounted' END AS outcome
    FROM ours o
    WHERE o.inside AND o.class < 2 AND NOT EXISTS (
        SELECT FROM pair p WHERE p.notice_id = o.notice_id AND p.number = o.number AND NOT p.surplus
    )
"""


@dataclass(frozen=True)
class Sum:
    """Messages, their segments, and what these cost, in millimes (exact, to a thousandth)."""

    messages: int = 0
    segments: int = 0
    millimes: Decimal = Decimal()

    def __add__(self, other: Sum) -> Sum:
        return Sum(
            self.messages + other.messages, self.segments + other.segments, self.millimes + other.millimes
        )

    def __sub__(self, other: Sum) -> Sum:
        return Sum(
            self.messages - other.messages, self.segments - other.segments, self.millimes - other.millimes
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for a JSON document."""
        return {"messages": self.messages, "segments": self.segments, "millimes": number(self.millimes)}


@dataclass(frozen=True)
class Finding:
    """All messages of one outcome, and how the provider's count of them lies above ours."""

    outcome: str
    theirs: Sum
    ours: Sum

    @property
    def messages(self) -> int:
        """How many messages have this outcome."""
        return max(self.theirs.messages, self.ours.messages)

    @property
    def difference(self) -> Sum:
        """Theirs minus ours."""
        return self.theirs - self.ours


@dataclass(frozen=True)
class Group:
    """A line of a summary, and what we count of its kinds. Without a label: what the bill does not have."""

    label: str | None
    kinds: tuple[str, ...]
    theirs: Sum
    ours: Sum

    @property
    def difference(self) -> Sum:
        """Theirs minus ours."""
        return self.theirs - self.ours


@dataclass(frozen=True)
class Comparison:
    """A statement beside the ledger.

    All sums are exact; ``theirs - ours`` is the sum of the findings' differences, or of the groups' where the
    statement is a summary.

    :param doubtful: attempts of the month in doubt that no line counts; in neither sum.
    :param unbilled: lines that the provider lists and does not bill; in neither sum.
    :param price_effect: how much of the difference comes from prices, in messages that both count; the rest
        of their difference comes from segments.
    :param priced: whether the file says what anything costs; if not, the contract's price was taken.
    :param declared: what the file itself gives as its total: segments, millimes.
    """

    gateway: str
    period: Period
    level: str
    file: str
    form: str
    revision: int
    imported_at: datetime
    compared_at: datetime
    price: Decimal
    lines: int
    set_aside: int
    theirs: Sum
    ours: Sum
    findings: tuple[Finding, ...]
    groups: tuple[Group, ...] = ()
    unbilled: Sum = field(default_factory=Sum)
    doubtful: Sum = field(default_factory=Sum)
    price_effect: Decimal = Decimal()
    matched_by: dict[str, int] = field(default_factory=dict)
    priced: bool = True
    declared: tuple[int | None, Decimal | None] = (None, None)
    flaws: dict[str, int] = field(default_factory=dict)

    @property
    def difference(self) -> Sum:
        """Theirs minus ours: above nothing, they count more."""
        return self.theirs - self.ours

    def finding(self, outcome: str) -> Finding:
        """Return the finding of an outcome, also where there is none of it."""
        return next((one for one in self.findings if one.outcome == outcome), Finding(outcome, Sum(), Sum()))

    def as_json(self) -> dict[str, Any]:
        """Return the document of `fatoura statements show --json`."""
        segments, millimes = self.declared
        return {
            "gateway": self.gateway,
            "period": str(self.period),
            "level": self.level,
            "file": self.file,
            "form": self.form,
            "revision": self.revision,
            "imported_at": self.imported_at.isoformat(),
            "compared_at": self.compared_at.isoformat(),
            "segment_price_millimes": number(self.price),
            "priced": self.priced,
            "lines": self.lines,
            "set_aside": self.set_aside,
            "flaws": self.flaws,
            "declared": {"segments": segments, "millimes": None if millimes is None else number(millimes)},
            "theirs": self.theirs.as_json(),
            "ours": self.ours.as_json(),
            "difference": self.difference.as_json(),
            "price_effect_millimes": number(self.price_effect),
            "findings": {
                one.outcome: {
                    "theirs": one.theirs.as_json(),
                    "ours": one.ours.as_json(),
                    "difference": one.difference.as_json(),
                }
                for one in self.findings
            },
            "groups": [
                {
                    "label": one.label,
                    "kinds": list(one.kinds),
                    "theirs": one.theirs.as_json(),
                    "ours": one.ours.as_json(),
                    "difference": one.difference.as_json(),
                }
                for one in self.groups
            ],
            "unbilled": self.unbilled.as_json(),
            "doubtful_and_not_counted": self.doubtful.as_json(),
            "matched_by": self.matched_by,
        }


def number(exact: Decimal) -> int | float:
    """Return an amount for a JSON document: a whole number where it is one. Three decimals stay exact."""
    return int(exact) if exact == exact.to_integral_value() else float(exact)


class OpenComparison:
    """A comparison whose messages can still be listed: only inside `compared`.

    :param connection: its transaction.
    :param comparison: its figures.
    """

    def __init__(self, connection: Connection, statement_id: int, comparison: Comparison) -> None:
        self.connection = connection
        self._statement_id = statement_id
        self.comparison = comparison

    def messages(
        self, outcomes: tuple[str, ...] = OUTCOMES, *, most: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Give the messages of some outcomes as a stream, in the order of the file, then those of our own.

        Rows hold full numbers: who shows them masks them.

        :param most: of each outcome at most so many.
        """
        if self.comparison.level == "summary":
            return
        values = {
            "id": self._statement_id,
            "outcomes": list(outcomes),
            "most": most,
            "price": self.comparison.price,
        }
        with driver(self.connection).cursor("messages") as rows:
            rows.itersize = 2_000
            rows.execute(_MESSAGES, values)
            names = [column.name for column in rows.description or ()]
            for row in rows:
                yield dict(zip(names, row, strict=True))

    def doubts(self) -> list[dict[str, Any]]:
        """Return the notices in doubt that a line counts: evidence that the provider accepted them."""
        if self.comparison.level == "summary":
            return []
        return [
            dict(row._mapping)
            for row in self.connection.execute(
                text(
                    """
                    SELECT j.notice_id, j.number AS attempt, j.line, b.provider_id, b.submitted_at,
                        j.matched_by
                    FROM judged j JOIN billed b USING (line)
                    JOIN ours o ON o.notice_id = j.notice_id AND o.number = j.number
                    WHERE j.outcome = 'in_doubt' AND o.state = 'in_doubt'
                    ORDER BY j.line
                    """
                )
            )
        ]

    def set_aside(self, *, most: int | None = None) -> list[tuple[int, str, str]]:
        """Return lines that could not be counted: line, field, reason."""
        rows = self.connection.execute(
            text(
                "SELECT line, field, reason FROM statement_flaw WHERE statement_id = :id "
                "ORDER BY line, field LIMIT :most"
            ),
            {"id": self._statement_id, "most": most},
        )
        return [(row.line, row.field, row.reason) for row in rows]


# psycopg's own placeholders: it goes through a cursor of the server.
_MESSAGES = """
    SELECT outcome, line, notice_id, attempt, provider_id, recipient, at, segments, our_segments,
        amount, our_amount, status, matched_by
    FROM (
        SELECT *, row_number() OVER (PARTITION BY outcome ORDER BY line NULLS LAST, at, notice_id) AS place
        FROM (
            SELECT j.outcome, j.line, j.notice_id, j.number AS attempt, l.provider_id,
                coalesce(l.recipient, o.phone) AS recipient, coalesce(l.submitted_at, o.at) AS at,
                j.segments, j.our_segments, j.amount, j.our_segments * %(price)s::numeric AS our_amount,
                l.status, j.matched_by
            FROM judged j JOIN statement_line l ON l.statement_id = %(id)s AND l.line = j.line
            LEFT JOIN ours o ON o.notice_id = j.notice_id AND o.number = j.number
            UNION ALL
            SELECT 'unbilled', line, notice_id, attempt, provider_id, recipient, submitted_at, segments, NULL,
                amount_millimes, NULL, status, NULL
            FROM statement_line WHERE statement_id = %(id)s AND NOT billed
            UNION ALL
            SELECT outcome, NULL, notice_id, number, provider_id, phone, at, NULL, segments, NULL,
                segments * %(price)s::numeric, NULL, NULL
            FROM alone WHERE class = 0
        ) everything
        WHERE outcome = ANY(%(outcomes)s)
    ) placed
    WHERE %(most)s::int IS NULL OR place <= %(most)s
    ORDER BY line NULLS LAST, at, notice_id
"""


def imported_statements() -> list[dict[str, Any]]:
    """Return what was imported, the newest month first."""
    with connect() as connection:
        rows = connection.execute(
            text(
                "SELECT to_char(period, 'YYYY-MM') AS period, gateway, level, form, file, revision, lines, "
                "set_aside, imported_at FROM statement ORDER BY statement.period DESC, gateway"
            )
        )
        return [dict(row._mapping) for row in rows]


@contextmanager
def compared(gateway: str, period: Period) -> Iterator[OpenComparison]:
    """Compare a statement with the ledger as it stands now.

    :raises BadInput: when there is none.
    """
    with locked(f"statements of {gateway}") as connection:
        statement = connection.execute(
            text("SELECT * FROM statement WHERE gateway = :gateway AND period = :period"),
            {"gateway": gateway, "period": period.first_day},
        ).one_or_none()
        if statement is None:
            raise _nothing_imported(connection, gateway, period)
        price = statement.segment_price_millimes
        if price is None:
            price = Decimal(get_settings().segment_price_millimes)
        compare = _detail if statement.level == "detail" else _summary
        yield OpenComparison(
            connection, statement.id, compare(connection, statement, gateway, period, Decimal(price))
        )


def _nothing_imported(connection: Connection, gateway: str, period: Period) -> BadInput:
    there = [
        f"{row.gateway} {row.period:%Y-%m}"
        for row in connection.execute(
            text("SELECT gateway, period FROM statement ORDER BY period DESC, gateway LIMIT 12")
        )
    ]
    return BadInput(
        f"no statement of {gateway!r} for {period} was imported; there are: {', '.join(there) or 'none yet'}"
    )


def _described(connection: Connection, statement: Any, period: Period, price: Decimal) -> dict[str, Any]:
    flaws = connection.execute(
        text(
            "SELECT field || ': ' || reason, count(*) FROM statement_flaw WHERE statement_id = :id "
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        ),
        {"id": statement.id},
    )
    return {
        "gateway": statement.gateway,
        "period": period,
        "level": statement.level,
        "file": statement.file,
        "form": statement.form,
        "revision": statement.revision,
        "imported_at": statement.imported_at,
        "compared_at": clock.now(),
        "price": price,
        "lines": statement.lines,
        "set_aside": statement.set_aside,
        "declared": (statement.declared_segments, statement.declared_millimes),
        "flaws": dict(flaws.all()),
    }


def _detail(
    connection: Connection, statement: Any, gateway: str, period: Period, price: Decimal
) -> Comparison:
    match_lines(connection, statement.id, gateway, period, statement.time_window)
    values = {
        "id": statement.id,
        "gateway": gateway,
        "price": price,
        "begins": period.begins,
        "ends": period.ends,
    }
    connection.execute(text(_JUDGED), values)
    connection.execute(text(_ALONE), values)
    connection.execute(text("ANALYZE judged"))
    judged = {
        row.outcome: row
        for row in connection.execute(
            text(
                "SELECT outcome, count(*) AS messages, sum(segments) AS segments, sum(amount) AS amount, "
                "sum(our_segments) AS our_segments, "
                "sum(amount - segments * CAST(:price AS numeric)) AS dearer FROM judged GROUP BY outcome"
            ),
            values,
        )
    }
    findings = []
    for outcome in (*PAIRED, *THEIRS_ALONE):
        if (row := judged.get(outcome)) is None:
            continue
        both = outcome in PAIRED
        ours = Sum(row.messages, row.our_segments, row.our_segments * price) if both else Sum()
        findings.append(Finding(outcome, Sum(row.messages, row.segments, Decimal(row.amount)), ours))
    doubtful = Sum()
    for row in connection.execute(
        text(
            "SELECT class, outcome, count(*) AS messages, sum(segments) AS segments FROM alone GROUP BY 1, 2"
        )
    ):
        ours = Sum(row.messages, row.segments, row.segments * price)
        if row._mapping["class"] == DOUBTFUL_CLASS:
            doubtful += ours
        else:
            findings.append(Finding(row.outcome, Sum(), ours))
    findings.sort(key=lambda finding: OUTCOMES.index(finding.outcome))
    unbilled = connection.execute(
        text(
            "SELECT count(*) AS messages, coalesce(sum(segments), 0) AS segments FROM statement_line "
            "WHERE statement_id = :id AND NOT billed"
        ),
        values,
    ).one()
    matched_by = connection.execute(
        text("SELECT matched_by, count(*) FROM pair WHERE NOT surplus GROUP BY 1 ORDER BY 2 DESC")
    )
    priced = connection.scalar(text("SELECT bool_or(stated_amount IS NOT NULL) FROM judged"))
    return Comparison(
        **_described(connection, statement, period, price),
        theirs=sum((one.theirs for one in findings), Sum()),
        ours=sum((one.ours for one in findings), Sum()),
        findings=tuple(findings),
        unbilled=Sum(unbilled.messages, unbilled.segments),
        doubtful=doubtful,
        price_effect=sum((Decimal(judged[one].dearer) for one in PAIRED if one in judged), Decimal()),
        matched_by=dict(matched_by.all()),
        priced=bool(priced),
    )


def _summary(
    connection: Connection, statement: Any, gateway: str, period: Period, price: Decimal
) -> Comparison:
    counted = {
        row.kind: Sum(row.messages, row.segments, row.segments * price)
        for row in connection.execute(
            text(
                f"""
                SELECT n.kind, count(*) AS messages, sum(n.segments) AS segments
                FROM attempt a JOIN notice n ON n.id = a.notice_id
                WHERE a.gateway = :gateway AND a.claimed_at >= :begins AND a.claimed_at < :ends AND {COUNTED}
                GROUP BY n.kind ORDER BY n.kind
                """
            ),
            {"gateway": gateway, "begins": period.begins, "ends": period.ends},
        )
    }
    lines = connection.execute(
        text(
            """
            SELECT label, kinds, sum(messages) AS messages, sum(segments) AS segments,
                sum(amount_millimes) AS amount, min(line) AS line
            FROM statement_line WHERE statement_id = :id GROUP BY label, kinds ORDER BY min(line)
            """
        ),
        {"id": statement.id},
    ).all()
    named = {kind for line in lines for kind in line.kinds or ()}
    rest = [kind for kind in counted if kind not in named]
    groups, told = [], set[str]()
    for line in lines:
        # What a label counts is set against it once: a second line of it is more of the same.
        kinds = tuple(kind for kind in (rest if line.kinds is None else line.kinds) if kind not in told)
        told.update(kinds)
        ours = sum((counted.get(kind, Sum()) for kind in kinds), Sum())
        messages = line.messages if line.messages is not None else ours.messages
        # Where a bill counts messages only, each one more or less counts as a segment; where it has no
        # amounts, segments cost the contract's price.
        segments = line.segments if line.segments is not None else ours.segments + messages - ours.messages
        amount = line.amount if line.amount is not None else segments * price
        groups.append(Group(line.label, kinds, Sum(messages, segments, Decimal(amount)), ours))
    if missing := tuple(kind for kind in counted if kind not in told):
        ours = sum((counted[kind] for kind in missing), Sum())
        groups.append(Group(None, missing, Sum(), ours))
    return Comparison(
        **_described(connection, statement, period, price),
        theirs=sum((one.theirs for one in groups), Sum()),
        ours=sum((one.ours for one in groups), Sum()),
        findings=(),
        groups=tuple(groups),
        priced=any(line.amount is not None for line in lines),
    )
