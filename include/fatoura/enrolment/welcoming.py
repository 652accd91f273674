"""Welcome messages: one for each number that a coupon brought, and what follows from what became of it.

Called by the intake and after the messages' receipts. A message that is delivered proves the number; one that
is not suspends the subscription, and a clerk has to find out the right number.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, Table, Text, literal, select, text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.cycles.registry import Purpose, open_cycle
from fatoura.cycles.stages import recorded_stage
from fatoura.database import begin, locked
from fatoura.fees.rules import fee_rules_on
from fatoura.notices.kinds import load_kind
from fatoura.notices.rendering import lay_out_values
from fatoura.notices.writing import write_notices
from fatoura.subscriptions.importing import LOCK
from fatoura.subscriptions.numbers import UNREACHABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection

WELCOME = "welcome"
"""The kind of the message. Its subject is the coupon; its sequence counts how often it was planned."""

_SEVERAL_DAYS = 14
"""Within so many days it has to leave; else it is planned anew."""

_CONCLUDED_WITHIN = 2 * _SEVERAL_DAYS
"""Days. What becomes of a message later than this after it was planned suspends nobody any more."""

UNWELCOMED = "outcome IN ('enrolled', 'changed') AND welcomed_at IS NULL"
"""Which coupons brought a number that is still to be welcomed."""


@dataclass(frozen=True)
class Welcomed:
    """What planning did: messages and their segments; `unneeded` coupons whose number needs none (any more).

    :param cycle: the key of the cycle that the messages are in; none where there are none.
    """

    planned: int = 0
    segments: int = 0
    unneeded: int = 0
    cycle: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """What a log or a record holds."""
        return {"planned": self.planned, "segments": self.segments, "unneeded": self.unneeded}


@dataclass(frozen=True)
class Concluded:
    """What became of numbers: proven, suspended, or to be welcomed again, because no message left."""

    proven: int = 0
    unreachable: int = 0
    again: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """What a log or a record holds."""
        return {"proven": self.proven, "unreachable": self.unreachable, "again": self.again}


_to_welcome = Table(
    "number_to_welcome",
    MetaData(),
    Column("position", BigInteger),
    Column("subject", Text),
    Column("sequence", Integer),
    Column("district", Text),
    Column("subscription_id", BigInteger),
    Column("phone", Text),
    Column("language", Text),
)
# As things stand now: who has left, changed the number or proven it meanwhile gets none.
_GATHER = f"""
CREATE TEMPORARY TABLE number_to_welcome ON COMMIT DROP AS
SELECT row_number() OVER (ORDER BY c.coupon_id) AS position, c.coupon_id AS subject,
    coalesce(said.sequence, 0) + 1 AS sequence, k.district, c.subscription_id, c.phone, c.language
FROM (
    SELECT DISTINCT ON (u.id) c.coupon_id, u.id AS subscription_id, u.customer_reference, u.phone, u.language
    FROM coupon c JOIN subscription u ON u.id = c.subscription_id AND u.phone = c.phone
    WHERE c.{UNWELCOMED.replace("welcomed_at", "c.welcomed_at")}
        AND u.state = 'active' AND u.proven_at IS NULL
    ORDER BY u.id, c.signed_on DESC, c.coupon_id
) c
LEFT JOIN customer k ON k.customer_reference = c.customer_reference
LEFT JOIN LATERAL (
    SELECT max(n.sequence) AS sequence FROM notice n WHERE n.kind = '{WELCOME}' AND n.subject = c.coupon_id
) said ON true
"""
_PLANNED = f"UPDATE coupon SET welcomed_at = :now WHERE {UNWELCOMED}"

# The last message to a subscription tells, as long as its number stands and no other message is due.
_LAST_WORDS = f"""
CREATE TEMPORARY TABLE last_word ON COMMIT DROP AS
SELECT n.subject, n.subscription_id, n.state, n.reason, n.final_at
FROM (
    SELECT DISTINCT ON (n.subscription_id) n.subject, n.subscription_id, n.phone, n.state, n.reason,
        n.final_at
    FROM notice n
    WHERE n.kind = '{WELCOME}' AND n.cycle_id IN (
        SELECT id FROM cycle WHERE purpose = '{Purpose.WELCOME}'
            AND issue_date >= CAST(:day AS date) - {_CONCLUDED_WITHIN}
    )
    ORDER BY n.subscription_id, n.planned_at DESC, n.id DESC
) n
JOIN coupon c ON c.coupon_id = n.subject AND c.welcomed_at IS NOT NULL
JOIN subscription u ON u.id = n.subscription_id AND u.phone = n.phone
WHERE u.state <> 'ended' AND u.proven_at IS NULL AND (
    n.state = 'delivered'
    OR u.state = 'active' AND n.state IN ('undeliverable', 'expired', 'rejected')
    OR u.state = 'active' AND n.state = 'cancelled' AND n.reason = 'too_late'
)
"""
_PROVE = """
UPDATE subscription u SET proven_at = l.final_at FROM last_word l
WHERE u.id = l.subscription_id AND l.state = 'delivered'
"""
_SUSPEND = f"""
UPDATE subscription u SET state = 'suspended', state_reason = '{UNREACHABLE}', changed_at = :now
FROM last_word l
WHERE u.id = l.subscription_id AND l.state IN ('undeliverable', 'expired', 'rejected') AND u.state = 'active'
"""
_AGAIN = """
UPDATE coupon c SET welcomed_at = NULL FROM last_word l
WHERE c.coupon_id = l.subject AND l.state = 'cancelled'
"""


def plan_welcomes(*, run_id: str | None = None) -> Welcomed:
    """Plan the messages that are still to be planned. Again, it plans nothing.

    :param run_id: the run that plans, kept with each message.
    :raises PlanningRefused: when a message would take more segments than its kind declares.
    """
    day, now = clock.today(), clock.now()
    with locked(LOCK) as connection:
        gathered = connection.execute(text(_GATHER)).rowcount
        planned = segments = 0
        cycle_id, cycle = None, None
        if gathered:
            cycle_id, cycle = open_cycle(connection, Purpose.WELCOME, day)
            planned, segments = _write(connection, cycle_id, run_id)
        settled = connection.execute(text(_PLANNED), {"now": now}).rowcount
    welcomed = Welcomed(planned, segments, settled - planned, cycle)
    if cycle_id is not None:
        with recorded_stage(cycle_id, "plan", run_id=run_id) as stage:
            stage.counts = {"messages": planned, "segments": segments}
    return welcomed


def _write(connection: Connection, cycle_id: int, run_id: str | None) -> tuple[int, int]:
    day = clock.today()
    connection.execute(text("ANALYZE number_to_welcome"))
    until = load_calendar(connection).last_closing_on_or_before(day + timedelta(days=_SEVERAL_DAYS))
    lay_out_values(connection, [])
    rows: Any = select(
        _to_welcome,
        literal(fee_rules_on(day).price_millimes, BigInteger).label("price_millimes"),
        literal(until, DateTime(timezone=True)).label("send_until"),
    )
    return write_notices(
        connection,
        load_kind(WELCOME),
        rows.subquery(),
        {"amount": "price_millimes"},
        cycle_id=cycle_id,
        run_id=run_id,
    )


def conclude_welcomes() -> Concluded:
    """Take up what became of the messages: numbers that are proven, and those that do not work."""
    with locked(LOCK) as connection:
        if not connection.execute(text(_LAST_WORDS), {"day": clock.today()}).rowcount:
            return Concluded()
        now = {"now": clock.now()}
        return Concluded(
            proven=connection.execute(text(_PROVE)).rowcount,
            unreachable=connection.execute(text(_SUSPEND), now).rowcount,
            again=connection.execute(text(_AGAIN)).rowcount,
        )


def are_to_be_concluded() -> bool:
    """Tell whether a message has its last word, and nothing has followed from it yet."""
    with begin() as connection:
        return connection.execute(text(_LAST_WORDS), {"day": clock.today()}).rowcount > 0
