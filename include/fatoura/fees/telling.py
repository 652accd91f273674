"""Plans what customers are told of their subscription: announced, paid, lapsed; each said once a charge.

Called after each look for feeds and by the monthly run. What could not leave in time is said again as long as
it is so; each message is looked at once more when it leaves (`claiming`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    literal,
    select,
    text,
)

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.cycles.registry import Purpose, open_cycle
from fatoura.fees.books import charge_id
from fatoura.fees.charging import ANNOUNCEMENT
from fatoura.notices.kinds import load_kind
from fatoura.notices.rendering import lay_out_values
from fatoura.notices.writing import write_notices

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.fees.books import Moment
    from fatoura.fees.rules import FeeRules

RENEWED = "subscription_renewed"
LAPSED = "subscription_lapsed"

_NEWS_DAYS = 30
"""So long after it, news is still worth sending."""

_SEVERAL_DAYS = 5
"""Within so many days on which customers are written to a message has to leave."""

_VALUES: dict[str, dict[str, str]] = {
    ANNOUNCEMENT: {"amount": "amount_millimes", "from_day": "day", "reference": "customer_reference"},
    RENEWED: {"until": "day", "reference": "customer_reference"},
    LAPSED: {"reference": "customer_reference"},
}
"""The column that holds each field of a kind."""

_WHAT: dict[str, tuple[str, str]] = {
    # What there is to say, and the day that it names.
    ANNOUNCEMENT: ("c.state = 'announced' AND s.state = 'active'", "c.period_start"),
    RENEWED: (
        "c.state = 'paid' AND s.state = 'active' AND c.paid_on >= CAST(:day AS date) - CAST(:lately AS int)",
        "c.covered_until",
    ),
    LAPSED: (
        "s.state = 'lapsed' AND c.lapsed_on >= CAST(:day AS date) - CAST(:lately AS int)",
        "c.lapsed_on",
    ),
}

_news = Table(
    "fee_news",
    MetaData(),
    Column("position", BigInteger),
    Column("charge", BigInteger),
    Column("subject", Text),
    Column("sequence", Integer),
    Column("customer_reference", Text),
    Column("amount_millimes", BigInteger),
    Column("day", Date),
    Column("district", Text),
    Column("subscription_id", BigInteger),
    Column("phone", Text),
    Column("language", Text),
)
_GATHER = """
CREATE TEMPORARY TABLE fee_news ON COMMIT DROP AS
SELECT CAST(:first AS bigint) + row_number() OVER (ORDER BY c.id) AS position, c.id AS charge,
    {subject} AS subject, coalesce(said.sequence, 0) + 1 AS sequence, c.customer_reference, c.amount_millimes,
    {day} AS day, k.district, s.id AS subscription_id, s.phone, s.language
FROM fee_charge c
JOIN subscription s ON s.id = c.subscription_id AND s.phone <> ''
LEFT JOIN customer k ON k.customer_reference = c.customer_reference
LEFT JOIN LATERAL (
    SELECT max(n.sequence) AS sequence, bool_or(n.state <> 'cancelled') AS stands
    FROM notice n WHERE n.kind = :kind AND n.subject = {subject}
) said ON true
WHERE {what} AND said.stands IS NOT TRUE
"""
# Told anew, it is announced from today on: its charge waits for as long as any other's.
_ANNOUNCED_TODAY = """
UPDATE fee_charge c SET announced_on = :day FROM fee_news n
WHERE c.id = n.charge AND n.sequence > 1 AND c.announced_on < :day
"""


def plan_news(
    connection: Connection, moment: Moment, rules: FeeRules, *, run_id: str | None
) -> tuple[dict[str, int], str | None]:
    """Plan what has not been said yet; return how many messages by kind, and the key of their cycle.

    :raises PlanningRefused: when a message would not fit its segments.
    """
    kinds = [
        kind
        for kind, is_said in ((ANNOUNCEMENT, True), (RENEWED, rules.say.renewed), (LAPSED, rules.say.lapsed))
        if is_said
    ]
    planned: dict[str, int] = dict.fromkeys(kinds, 0)
    cycle: tuple[int, str] | None = None
    position = 0
    for kind in kinds:
        gathered = _gather(connection, kind, position, moment)
        if not gathered:
            continue
        cycle = cycle or open_cycle(connection, Purpose.SUBSCRIPTION_NEWS, moment.day)
        _lay_out(connection)
        if kind == ANNOUNCEMENT:
            connection.execute(text(_ANNOUNCED_TODAY), moment.values)
        planned[kind] = _write(connection, kind, cycle[0], moment, run_id)
        position += gathered
    return planned, cycle[1] if cycle else None


def _gather(connection: Connection, kind: str, position: int, moment: Moment) -> int:
    what, day = _WHAT[kind]
    connection.execute(text("DROP TABLE IF EXISTS fee_news, printed_number, printed_day"))
    gathered: int = connection.execute(
        text(_GATHER.format(subject=charge_id(), what=what, day=day)),
        {"first": position, "kind": kind, "lately": _NEWS_DAYS, **moment.values},
    ).rowcount
    return gathered


def _lay_out(connection: Connection) -> None:
    connection.execute(text("ANALYZE fee_news"))
    lay_out_values(connection, connection.scalars(select(_news.c.day).distinct()).all())


def _write(connection: Connection, kind: str, cycle_id: int, moment: Moment, run_id: str | None) -> int:
    until = load_calendar(connection).last_closing_on_or_before(moment.day + timedelta(days=_SEVERAL_DAYS))
    rows: Any = select(_news, literal(until, DateTime(timezone=True)).label("send_until"))
    count, _ = write_notices(
        connection, load_kind(kind), rows.subquery(), _VALUES[kind], cycle_id=cycle_id, run_id=run_id
    )
    return count


def open_news(connection: Connection) -> str:
    """Open the cycle of today's news, which may stay empty; return its key."""
    return open_cycle(connection, Purpose.SUBSCRIPTION_NEWS, clock.today())[1]
