"""Figures of subscriptions and fees, in sets: for the report, the command, and whoever plans the service.

Each function asks one thing of the database and changes nothing, but for `count_subscribers`, which writes
down how many there are today: how things stood on a day cannot be told afterwards. Money in millimes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.database import lock
from fatoura.fees.states import Account
from fatoura.ledger.billing import COUNTED, DOUBTFUL
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from sqlalchemy import Connection

DIMENSIONS = ("state", "channel", "language", "district")

# Of the district the register tells; where it says nothing, the customer's last bill.
_COUNT = """
INSERT INTO subscriber_count (day, state, channel, language, district, subscribers)
SELECT :day, s.state, s.channel, s.language, coalesce(k.district, bill.district, ''), count(*)
FROM subscription s
LEFT JOIN customer k ON k.customer_reference = s.customer_reference
LEFT JOIN LATERAL (
    SELECT i.district FROM invoice i
    WHERE k.district IS NULL AND i.customer_reference = s.customer_reference AND i.subscription_id IS NOT NULL
    ORDER BY i.issue_date DESC LIMIT 1
) bill ON true
WHERE s.state <> 'ended'
GROUP BY 2, 3, 4, 5
"""


def count_subscribers(connection: Connection, day: date) -> int:
    """Write down how many subscriptions there are, by state, channel, language and district; return how many.

    :param day: today; what was written on this day before is replaced.
    """
    lock(connection, "count of subscribers")  # two that replace it at once would write it twice
    connection.execute(text("DELETE FROM subscriber_count WHERE day = :day"), {"day": day})
    connection.execute(text(_COUNT), {"day": day})
    return int(
        connection.scalar(
            text("SELECT coalesce(sum(subscribers), 0) FROM subscriber_count WHERE day = :day"), {"day": day}
        )
        or 0
    )


class SubscriberGroup(NamedTuple):
    """How many subscriptions were in a group on a day, such as `state` lapsed."""

    day: date
    group: str
    subscribers: int


def subscribers_by(connection: Connection, dimension: str, first: date, last: date) -> list[SubscriberGroup]:
    """Return the counts that were written down, by one dimension, in the order of days.

    :param dimension: one of `DIMENSIONS`.
    """
    if dimension not in DIMENSIONS:
        raise ValueError(f"{dimension} is none of {', '.join(DIMENSIONS)}")
    rows = connection.execute(
        text(
            f"SELECT day, {dimension}, sum(subscribers) FROM subscriber_count "
            f"WHERE day BETWEEN :first AND :last GROUP BY day, {dimension} ORDER BY day, {dimension}"
        ),
        {"first": first, "last": last},
    )
    return [SubscriberGroup(day, group, int(count)) for day, group, count in rows]


def is_counted(connection: Connection, day: date) -> bool:
    """Tell whether it was written down how many there were on a day."""
    return bool(
        connection.scalar(text("SELECT EXISTS (SELECT FROM subscriber_count WHERE day = :day)"), {"day": day})
    )


class Churn(NamedTuple):
    """Comings and goings of a month, in subscriptions.

    :param at_start: that had begun and had not ended; lapsed ones are among them.
    :param joined: that began; `anew` of them are of customers who had left before.
    :param left: all that ended, by whatever reason; `opted_out`, `contracts_ended` and `left_lapsed` are
        among them, the last those that had lapsed before.
    :param back: that had lapsed, and were paid for or subscribed again.
    """

    month: date
    at_start: int
    joined: int
    left: int
    opted_out: int
    contracts_ended: int
    lapsed: int
    back: int
    anew: int
    left_lapsed: int

    @property
    def at_end(self) -> int:
        """How many had begun and had not ended when the month was over."""
        return self.at_start + self.joined - self.left

    @property
    def lost(self) -> int:
        """Who gets messages no more: who left, or lapsed and did not come back; each counts once."""
        return self.left - self.left_lapsed + self.lapsed - self.back

    @property
    def share(self) -> float | None:
        """What part of those at the start was lost; none of nobody."""
        return self.lost / self.at_start if self.at_start else None


_MONTHS = """
month AS (
    SELECT CAST(first AS date) AS first, CAST(first + interval '1 month' AS date) AS next
    FROM generate_series(CAST(:first AS timestamp), CAST(:last AS timestamp), interval '1 month') first
)
"""
_LAPSED_LAST = """
SELECT subscription_id FROM fee_charge f
WHERE f.lapsed_on IS NOT NULL AND f.covered_from IS NULL AND f.because IS DISTINCT FROM 'subscribed_again'
"""
# Each subscription is looked at once: months are few, and are reckoned from what began and ended in each.
_CHURN = f"""
WITH {_MONTHS}, lapsed_last AS MATERIALIZED (
    {_LAPSED_LAST}
), former AS MATERIALIZED (
    SELECT customer_reference, min(created_at) AS since FROM subscription WHERE state = 'ended' GROUP BY 1
), life AS MATERIALIZED (
    SELECT CAST(date_trunc('month', s.created_at AT TIME ZONE :zone) AS date) AS began,
        CAST(date_trunc('month', s.ended_at AT TIME ZONE :zone) AS date) AS ended, s.state_reason,
        coalesce(s.created_at > former.since, false) AS is_anew,
        s.state = 'ended' AND s.id IN (SELECT subscription_id FROM lapsed_last) AS had_lapsed,
        count(*) AS lives
    FROM subscription s LEFT JOIN former USING (customer_reference)
    GROUP BY 1, 2, 3, 4, 5
), counted AS (
    SELECT m.first, sum(l.lives) FILTER (WHERE l.began < m.first) AS at_start,
        sum(l.lives) FILTER (WHERE l.began = m.first) AS joined,
        sum(l.lives) FILTER (WHERE l.ended = m.first) AS gone,
        sum(l.lives) FILTER (WHERE l.ended = m.first AND l.state_reason = 'left') AS opted_out,
        sum(l.lives) FILTER (WHERE l.ended = m.first AND l.state_reason = 'contract_ended') AS contracts,
        sum(l.lives) FILTER (WHERE l.began = m.first AND l.is_anew) AS anew,
        sum(l.lives) FILTER (WHERE l.ended = m.first AND l.had_lapsed) AS left_lapsed
    FROM month m LEFT JOIN life l ON l.began < m.next AND (l.ended IS NULL OR l.ended >= m.first)
    GROUP BY m.first
), lapse AS (
    SELECT CAST(date_trunc('month', lapsed_on) AS date) AS first, count(*) AS lapsed
    FROM fee_charge WHERE lapsed_on IS NOT NULL GROUP BY 1
), back AS (
    SELECT CAST(date_trunc('month', CASE WHEN covered_from IS NOT NULL THEN CAST(covered_from AS timestamp)
            ELSE state_since AT TIME ZONE :zone END) AS date) AS first, count(*) AS back
    FROM fee_charge
    WHERE lapsed_on IS NOT NULL AND (covered_from > period_start OR because = 'subscribed_again') GROUP BY 1
)
SELECT m.first, coalesce(c.at_start, 0), coalesce(c.joined, 0), coalesce(c.gone, 0), coalesce(c.opted_out, 0),
    coalesce(c.contracts, 0), coalesce(lapse.lapsed, 0), coalesce(back.back, 0), coalesce(c.anew, 0),
    coalesce(c.left_lapsed, 0)
FROM month m JOIN counted c USING (first) LEFT JOIN lapse USING (first) LEFT JOIN back USING (first)
ORDER BY m.first
"""


def churn(connection: Connection, first: date, last: date) -> list[Churn]:
    """Return who came and went, by month.

    :param first: the first day of the first month; `last` any day of the last one.
    """
    rows = connection.execute(text(_CHURN), {"first": first, "last": last, "zone": clock.zone().key})
    return [Churn(row[0], *map(int, row[1:])) for row in rows]


class MonthOfFees(NamedTuple):
    """What was booked in a month.

    :param charged: of which `waived` was forgone at once or later, `given_up` because subscriptions ended.
    :param paid: collected; `taken_back` of it was lost again, `refunded` given back.
    :param credited: taken off by corrections and refunds, whether given back already or not.
    """

    month: date
    charged: int
    waived: int
    given_up: int
    credited: int
    paid: int
    taken_back: int
    refunded: int

    @property
    def change(self) -> int:
        """By how much more customers owe, less what is owed to them."""
        forgone = self.waived + self.given_up + self.credited
        return self.charged - forgone - self.paid + self.taken_back + self.refunded

    @property
    def kept(self) -> int:
        """What was collected and not lost or given back again."""
        return self.paid - self.taken_back - self.refunded


# The journal is looked at once, and summed up by what is on which account before it is told apart.
_FEES = f"""
WITH {_MONTHS}, e AS MATERIALIZED (
    SELECT CAST(date_trunc('month', day) AS date) AS first, debit, credit, sum(amount_millimes) AS millimes
    FROM fee_entry WHERE day >= :first AND day < CAST(:last AS date) + 31
    GROUP BY 1, 2, 3
)
SELECT m.first, {{sums}}
FROM month m LEFT JOIN e USING (first)
GROUP BY m.first ORDER BY m.first
"""
_SUMS = ", ".join(
    f"coalesce(sum(e.millimes) FILTER (WHERE {which}), 0)"
    for which in (
        "e.credit = 'income'",
        "e.debit = 'waived'",
        "e.debit = 'given_up'",
        "e.debit = 'credited'",
        "e.debit = 'collected'",
        "e.debit = 'receivable' AND e.credit = 'collected'",
        "e.debit = 'payable' AND e.credit = 'collected'",
    )
)


def fees_by_month(connection: Connection, first: date, last: date) -> list[MonthOfFees]:
    """Return what was charged, paid, waived and given back, by month in which it was booked."""
    rows = connection.execute(text(_FEES.format(sums=_SUMS)), {"first": first, "last": last})
    return [MonthOfFees(row[0], *map(int, row[1:])) for row in rows]


class Outstanding(NamedTuple):
    """What customers owe, and what is owed to them, by the journal."""

    owed: int
    owed_back: int

    @property
    def balance(self) -> int:
        """What customers owe, less what is owed to them."""
        return self.owed - self.owed_back


_OUTSTANDING = f"""
SELECT coalesce(sum(CASE '{Account.RECEIVABLE}' WHEN debit THEN millimes WHEN credit THEN -millimes END), 0),
    coalesce(sum(CASE '{Account.PAYABLE}' WHEN credit THEN millimes WHEN debit THEN -millimes END), 0)
FROM (
    SELECT debit, credit, sum(amount_millimes) AS millimes FROM fee_entry WHERE day < :day GROUP BY 1, 2
) e
"""


def outstanding_before(connection: Connection, day: date) -> Outstanding:
    """Return what was outstanding when a day began, by what was booked before it."""
    return Outstanding(*map(int, connection.execute(text(_OUTSTANDING), {"day": day}).one()))


class ChargesInState(NamedTuple):
    """How many charges stand in a state, and what they ask for, still ask for, and have brought."""

    state: str
    charges: int
    amount: int
    owed: int
    kept: int


def charges_by_state(
    connection: Connection, first: date | None = None, last: date | None = None
) -> list[ChargesInState]:
    """Return how all charges stand; with days, those of years that begin from `first` to before `last`."""
    rows = connection.execute(
        text(
            "SELECT state, count(*), sum(amount_millimes), sum(owed_millimes), "
            "sum(paid_millimes - given_back_millimes) FROM fee_charge "
            "WHERE (CAST(:first AS date) IS NULL OR period_start >= :first) "
            "AND (CAST(:last AS date) IS NULL OR period_start < :last) GROUP BY state ORDER BY state"
        ),
        {"first": first, "last": last},
    )
    return [ChargesInState(row[0], *map(int, row[1:])) for row in rows]


class Unanswered(NamedTuple):
    """A file of which charges have no answer after the days that the rules give."""

    file: str
    day: date
    charges: int
    unanswered: int


def unanswered_files(connection: Connection, day: date, within_days: int) -> list[Unanswered]:
    """Return the files that the billing system should have answered wholly by a day, and has not."""
    rows = connection.execute(
        text(
            "SELECT f.name, f.day, f.charges, open.charges FROM fee_file f JOIN ("
            "  SELECT file_id, count(*) AS charges FROM fee_charge WHERE state = 'filed' GROUP BY file_id"
            ") open ON open.file_id = f.id WHERE f.day < CAST(:day AS date) - CAST(:within AS int) "
            "ORDER BY f.id"
        ),
        {"day": day, "within": within_days},
    )
    return [Unanswered(*row) for row in rows]


class CostClass(NamedTuple):
    """Subscriptions whose messages of a stretch of time cost at least so much; and what they cost together.

    :param from_millimes: the class's lower bound; it ends before the next one's.
    :param kept_millimes: what was collected and kept of their fees in the same time.
    """

    from_millimes: int
    subscriptions: int
    messages: int
    segments: int
    cost_millimes: int
    kept_millimes: int


COST_BOUNDS = (0, 1, 100, 200, 400, 600, 800, 1_000, 1_500)


class MessageCost(NamedTuple):
    """What messages of a kind cost in a month: what the provider accepted; it may bill what is in doubt, too.

    :param purpose: of the cycle that they were sent in.
    """

    month: date
    purpose: str
    kind: str
    messages: int
    segments: int
    doubtful_segments: int


_KINDS = f"""
SELECT CAST(date_trunc('month', a.claimed_at AT TIME ZONE :zone) AS date), coalesce(c.purpose, ''), n.kind,
    count(*) FILTER (WHERE {COUNTED}), coalesce(sum(n.segments) FILTER (WHERE {COUNTED}), 0),
    coalesce(sum(n.segments) FILTER (WHERE {DOUBTFUL}), 0)
FROM attempt a JOIN notice n ON n.id = a.notice_id LEFT JOIN cycle c ON c.id = n.cycle_id
WHERE a.claimed_at >= :first AND a.claimed_at < :last
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def message_costs(connection: Connection, first: date, last: date) -> list[MessageCost]:
    """Return what was sent, as the reports on bills reckon it: each attempt that the provider accepted.

    :param first: the first local day; `last` the day after the last one.
    """
    rows = connection.execute(
        text(_KINDS), {"first": _beginning(first), "last": _beginning(last), "zone": clock.zone().key}
    )
    return [MessageCost(*row[:3], *map(int, row[3:])) for row in rows]


# Each attempt that a provider has accepted is paid for.
_COSTS = f"""
WITH message AS (
    SELECT n.subscription_id, count(*) AS messages, sum(n.segments) AS segments
    FROM attempt a JOIN notice n ON n.id = a.notice_id
    WHERE n.subscription_id IS NOT NULL AND a.claimed_at >= :first AND a.claimed_at < :last AND {COUNTED}
    GROUP BY n.subscription_id
), fee AS (
    SELECT subscription_id,
        sum(CASE WHEN debit = 'collected' THEN amount_millimes ELSE -amount_millimes END) AS kept
    FROM fee_entry
    WHERE day >= :first_day AND day < :last_day AND (debit = 'collected' OR credit = 'collected')
    GROUP BY subscription_id
), each AS (
    SELECT coalesce(m.messages, 0) AS messages, coalesce(m.segments, 0) AS segments,
        coalesce(m.segments, 0) * :price AS cost, coalesce(f.kept, 0) AS kept
    FROM message m FULL JOIN fee f USING (subscription_id)
), summed AS (
    SELECT width_bucket(cost, CAST(:bounds AS bigint[])) AS number, count(*) AS subscriptions,
        sum(messages) AS messages, sum(segments) AS segments, sum(cost) AS cost, sum(kept) AS kept
    FROM each GROUP BY 1
)
SELECT bound, coalesce(subscriptions, 0), coalesce(messages, 0), coalesce(segments, 0), coalesce(cost, 0),
    coalesce(kept, 0)
FROM unnest(CAST(:bounds AS bigint[])) WITH ORDINALITY AS class (bound, number)
LEFT JOIN summed USING (number)
ORDER BY bound
"""


def costs_against_fees(
    connection: Connection, first: date, last: date, bounds: Sequence[int] = COST_BOUNDS
) -> list[CostClass]:
    """Return what messages cost beside what fees brought, by what each subscription's messages cost.

    :param first: the first local day; `last` the day after the last one.
    """
    rows = connection.execute(
        text(_COSTS),
        {
            "first": _beginning(first),
            "last": _beginning(last),
            "first_day": first,
            "last_day": last,
            "price": get_settings().segment_price_millimes,
            "bounds": list(bounds),
        },
    )
    return [CostClass(*map(int, row)) for row in rows]


def _beginning(day: date) -> object:
    from datetime import datetime, time

    return datetime.combine(day, time(), clock.zone())
