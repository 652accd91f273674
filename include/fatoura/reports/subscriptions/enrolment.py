"""Figures of enrolment: coupons, the web site, welcomes and numbers, departures. Counts of a stretch of time.

Called by the figures of the pages. Each query counts in the database; nothing that names a person leaves it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.cycles.registry import Purpose
from fatoura.enrolment.outcomes import Outcome
from fatoura.notices.states import State
from fatoura.reports.figures import Group

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection


class Came(NamedTuple):
    """Subscriptions that began, by how consent was given; `anew`: of customers who had left before."""

    channel: str
    first: int
    anew: int


class Left(NamedTuple):
    """Subscriptions that ended, by why and by how it was told; without a channel, that is not known."""

    reason: str
    channel: str
    subscriptions: int


class Coupons(NamedTuple):
    """Coupons by what became of them; the reason of those that a clerk has to look at."""

    outcome: str
    reason: str | None
    coupons: int


class WebActs(NamedTuple):
    """What was begun on the web site and proven by a code, by what came of it; none: its page was left."""

    action: str
    outcome: str | None
    visits: int


class Counted(NamedTuple):
    """How many of a code."""

    code: str
    number: int


class MonthOfEnrolment(NamedTuple):
    """How subscribers came in a month, and whether their numbers work.

    :param coupons: whose consent was taken; `refused` that a clerk has to look at.
    :param web: subscriptions that were begun or taken up again on the web site.
    :param delivered: welcomes that arrived; `undelivered` that did not.
    """

    month: date
    coupons: int
    refused: int
    web: int
    delivered: int
    undelivered: int
    proven: int


class Enrolment(NamedTuple):
    """Enrolment in a stretch of time, and what waits now.

    :param set_aside: rows of batches that could not be read as coupons.
    :param proven: numbers proven in this time; `unproven` of the subscriptions that stand, by now.
    :param suspended: subscriptions that rest now, by why.
    :param departures: what clerks' files told of who leaves, by what became of it.
    :param inbound: messages that customers sent, by what became of them.
    """

    coupons: list[Coupons]
    set_aside: int
    web: list[WebActs]
    welcomes: Group
    proven: int
    unproven: int
    suspended: list[Counted]
    departures: list[Counted]
    inbound: list[Counted]


_LOCAL = "AT TIME ZONE :zone"
# From the local midnight on which the first day begins up to that on which the day after the last one does.
_WITHIN = (
    "{column} >= CAST(CAST(:first AS date) AS timestamp) AT TIME ZONE :zone "
    "AND {column} < CAST(CAST(:next AS date) AS timestamp) AT TIME ZONE :zone"
)

_CAME = f"""
WITH former AS MATERIALIZED (
    SELECT customer_reference, min(created_at) AS since FROM subscription WHERE state = 'ended' GROUP BY 1
)
SELECT s.channel, count(*) FILTER (WHERE (s.created_at > former.since) IS NOT TRUE),
    count(*) FILTER (WHERE s.created_at > former.since)
FROM subscription s LEFT JOIN former USING (customer_reference)
WHERE {_WITHIN.format(column="s.created_at")} GROUP BY 1 ORDER BY 1
"""
_LEFT = f"""
WITH gone AS MATERIALIZED (
    SELECT id, customer_reference, coalesce(state_reason, '') AS reason FROM subscription
    WHERE state = 'ended' AND {_WITHIN.format(column="ended_at")}
)
SELECT gone.reason, coalesce(revoked.channel, ''), count(*)
FROM gone LEFT JOIN LATERAL (
    SELECT c.channel FROM consent c
    WHERE c.customer_reference = gone.customer_reference AND c.subscription_id = gone.id AND c.act = 'revoked'
    ORDER BY c.id DESC LIMIT 1
) revoked ON true
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""
_COUPONS = f"""
SELECT outcome, CASE WHEN outcome = 'refused' THEN reason END, count(*) FROM coupon
WHERE outcome IS NOT NULL AND {_WITHIN.format(column="judged_at")} GROUP BY 1, 2
"""
_SET_ASIDE = f"""
SELECT count(*) FROM set_aside_row WHERE feed_id IN (
    SELECT id FROM feed WHERE content = 'coupons' AND {_WITHIN.format(column="loaded_at")}
)
"""
# What was never proven is forgotten by the site after two days: it is counted nowhere.
_WEB = f"""
SELECT action, outcome, count(*) FROM verification
WHERE {_WITHIN.format(column="asked_at")} AND (verified_at IS NOT NULL OR outcome = 'left')
GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2
"""
_OF_WELCOMES = f"""
    SELECT id FROM cycle WHERE purpose = '{Purpose.WELCOME}' AND issue_date >= :first AND issue_date < :next
"""
_WELCOMES = f"""
SELECT state, count(*) FROM notice WHERE cycle_id IN ({_OF_WELCOMES}) GROUP BY 1
"""
_NUMBERS = f"""
SELECT count(*) FILTER (WHERE {_WITHIN.format(column="proven_at")}),
    count(*) FILTER (WHERE state <> 'ended' AND proven_at IS NULL)
FROM subscription
"""
_SUSPENDED = """
SELECT coalesce(state_reason, ''), count(*) FROM subscription WHERE state = 'suspended'
GROUP BY 1 ORDER BY 2 DESC, 1
"""
_DEPARTURES = f"""
SELECT outcome, count(*) FROM departure WHERE outcome IS NOT NULL AND {_WITHIN.format(column="applied_at")}
GROUP BY 1 ORDER BY 2 DESC, 1
"""
_INBOUND = f"""
SELECT outcome, count(*) FROM inbound_message WHERE {_WITHIN.format(column="received_at")}
GROUP BY 1 ORDER BY 2 DESC, 1
"""

_BY_MONTH = f"""
WITH month AS (
    SELECT CAST(first AS date) AS first
    FROM generate_series(CAST(:first AS timestamp), CAST(:last AS timestamp), interval '1 month') first
), told AS (
    SELECT CAST(date_trunc('month', judged_at {_LOCAL}) AS date) AS first,
        CASE WHEN outcome = 'refused' THEN 'refused' ELSE 'coupons' END AS what, count(*) AS count
    FROM coupon WHERE outcome IN ('enrolled', 'changed', 'unchanged', 'refused') GROUP BY 1, 2
    UNION ALL
    SELECT CAST(date_trunc('month', ended_at {_LOCAL}) AS date), 'web', count(*)
    FROM verification WHERE outcome IN ('subscribed', 'returned') GROUP BY 1
    UNION ALL
    SELECT CAST(date_trunc('month', c.issue_date) AS date),
        CASE n.state WHEN 'delivered' THEN 'delivered' ELSE 'undelivered' END, count(*)
    FROM cycle c JOIN notice n ON n.cycle_id = c.id
    WHERE c.purpose = '{Purpose.WELCOME}'
        AND n.state IN ('delivered', 'undeliverable', 'expired', 'rejected') GROUP BY 1, 2
    UNION ALL
    SELECT CAST(date_trunc('month', proven_at {_LOCAL}) AS date), 'proven', count(*)
    FROM subscription WHERE proven_at IS NOT NULL GROUP BY 1
)
SELECT month.first, {{counts}} FROM month LEFT JOIN told USING (first) GROUP BY 1 ORDER BY 1
"""
_EACH = ", ".join(
    f"coalesce(sum(told.count) FILTER (WHERE told.what = '{what}'), 0)"
    for what in ("coupons", "refused", "web", "delivered", "undelivered", "proven")
)


def came(connection: Connection, first: date, after: date) -> list[Came]:
    """Return who began from a day on up to the day before `after`."""
    return [Came(*row) for row in connection.execute(text(_CAME), _span(first, after))]


def left(connection: Connection, first: date, after: date) -> list[Left]:
    """Return who ended, by why and how, from a day on up to the day before `after`."""
    return [Left(*row) for row in connection.execute(text(_LEFT), _span(first, after))]


def enrolment(connection: Connection, first: date, after: date) -> Enrolment:
    """Count what enrolment did from a day on up to the day before `after`."""
    span = _span(first, after)

    def counted(statement: str) -> list[Counted]:
        return [Counted(*row) for row in connection.execute(text(statement), span)]

    proven, unproven = connection.execute(text(_NUMBERS), span).one()
    welcomes = Counter({State(code): number for code, number in counted(_WELCOMES)})
    return Enrolment(
        coupons=sorted(
            (Coupons(*row) for row in connection.execute(text(_COUPONS), span)),
            key=lambda one: (list(Outcome).index(Outcome(one.outcome)), -one.coupons, one.reason or ""),
        ),
        set_aside=connection.scalar(text(_SET_ASIDE), span) or 0,
        web=[WebActs(*row) for row in connection.execute(text(_WEB), span)],
        welcomes=Group("welcome", welcomes),
        proven=proven,
        unproven=unproven,
        suspended=counted(_SUSPENDED),
        departures=counted(_DEPARTURES),
        inbound=counted(_INBOUND),
    )


def enrolment_by_month(connection: Connection, first: date, last: date) -> list[MonthOfEnrolment]:
    """Return how subscribers came, by month.

    :param first: the first day of the first month; `last` any day of the last one.
    """
    rows = connection.execute(
        text(_BY_MONTH.format(counts=_EACH)), {"first": first, "last": last, "zone": clock.zone().key}
    )
    return [MonthOfEnrolment(row[0], *map(int, row[1:])) for row in rows]


def _span(first: date, after: date) -> dict[str, Any]:
    return {"first": first, "next": after, "zone": clock.zone().key}
