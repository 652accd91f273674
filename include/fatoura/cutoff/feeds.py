"""Takes up what feeds have told: who has paid is withdrawn, who is left out is, and a bounced cheque reopens.

Called after each look for feeds. Only what the new rows touch is weighed again, and what ends by itself: a
fact's last day. Who had been warned and has paid is told so, once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, Table, Text, literal, select, text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.cutoff.cases import CLOSED_STATES, LOCK, OPEN_STATES, Moment, close_cases, reopen_cases
from fatoura.cutoff.reasons import SETTLED
from fatoura.cutoff.rules import rules_on
from fatoura.cutoff.standing import REACHABLE, weigh
from fatoura.cycles.registry import Purpose, open_cycle
from fatoura.database import locked
from fatoura.notices.kinds import load_kind
from fatoura.notices.rendering import lay_out_values
from fatoura.notices.writing import write_notices

if TYPE_CHECKING:
    from sqlalchemy import Connection

PAYMENT_RECEIVED = "payment_received"
_SEVERAL_DAYS = 3
"""For so many days on which customers are written to, news of a payment is worth sending."""


@dataclass
class FeedsApplied:
    """What feeds brought about.

    :param feeds: how many were taken up now.
    :param verdicts: cases closed, by verdict and reason.
    :param reopened: bills that got another case.
    :param confirmations: messages planned that a payment was received.
    :param cycle: the key of the cycle that these are in; null when there are none.
    """

    feeds: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    reopened: int = 0
    confirmations: int = 0
    cycle: str | None = None

    @property
    def counts(self) -> dict[str, Any]:
        """What a log or a record holds."""
        return {
            "feeds": self.feeds,
            **dict(sorted(self.verdicts.items())),
            "reopened": self.reopened,
            "confirmations": self.confirmations,
        }


_LATELY = timedelta(hours=1)
"""So far before the last look is looked again: what was being written then had an earlier time than that."""

# A payment may touch the customer's other bills too: what is paid too much, or a later bill that is paid. So
# may a corrected bill, which can ask for more than was paid too much.
_TOUCHED = """
CREATE TEMPORARY TABLE touched ON COMMIT DROP AS
WITH invoices AS (
    SELECT invoice_number FROM payment WHERE feed_id = ANY(:feeds)
    UNION SELECT invoice_number FROM set_aside_row
        WHERE (feed_id = ANY(:feeds) OR settled_at > :lately) AND invoice_number IS NOT NULL
    UNION SELECT invoice_number FROM superseded_row
        WHERE (feed_id = ANY(:feeds) OR superseded_by = ANY(:feeds)) AND invoice_number IS NOT NULL
)
SELECT DISTINCT i.customer_reference FROM invoice i JOIN invoices USING (invoice_number)
UNION SELECT customer_reference FROM account_fact WHERE feed_id = ANY(:feeds)
UNION SELECT was ->> 'customer_reference' FROM superseded_row
    WHERE content = 'facts' AND (feed_id = ANY(:feeds) OR superseded_by = ANY(:feeds))
UNION SELECT customer_reference FROM set_aside_row
    WHERE (feed_id = ANY(:feeds) OR settled_at > :lately) AND customer_reference IS NOT NULL
UNION SELECT customer_reference FROM account_fact
    WHERE valid_from > CAST(:since AS date) AND valid_from <= :day
UNION SELECT i.customer_reference FROM invoice i JOIN extract e ON e.id = i.extract_id
    WHERE e.supplement > 0 AND e.matched_at > :lately
UNION SELECT customer_reference FROM cutoff_case WHERE left_out_until < :day
"""
_OF_THE_TOUCHED = f"""c.customer_reference IN (SELECT customer_reference FROM touched)
    AND c.state IN ({OPEN_STATES})"""
_CLOSED_OF_THE_TOUCHED = f"""c.customer_reference IN (SELECT customer_reference FROM touched)
    AND c.state IN ({CLOSED_STATES}) AND NOT EXISTS (
        SELECT FROM cutoff_case later
        WHERE later.invoice_number = c.invoice_number AND later.sequence > c.sequence
    )"""

# What leaves them out by now, also one that was closed for another reason, is looked at again when that ends;
# one that was opened again is not any more.
_LEFT_OUT = """
UPDATE cutoff_case c SET left_out_until = s.left_out_until
FROM standing s
WHERE c.invoice_number = s.invoice_number AND c.sequence = s.sequence
    AND c.left_out_until IS DISTINCT FROM s.left_out_until
"""


def apply_feeds(*, run_id: str | None = None) -> FeedsApplied:
    """Take up the feeds that have been loaded, and what has ended by itself.

    Cases that are paid, or that a rule leaves out now, are closed; closed ones that are owed again get
    another case, with its notice period anew. Customers who had been warned are told of their payment.
    """
    day = clock.today()
    rules = rules_on(day)
    moment = Moment("feed", day, rules.version, run_id)
    with locked(LOCK) as connection:
        feeds = connection.scalars(text("SELECT id FROM feed WHERE applied_at IS NULL ORDER BY id")).all()
        since = connection.scalar(text("SELECT max(applied_at) FROM feed")) or clock.now()
        connection.execute(
            text(_TOUCHED), {"feeds": list(feeds), "day": day, "since": since, "lately": since - _LATELY}
        )
        applied = FeedsApplied(feeds=len(feeds))
        weigh(connection, _OF_THE_TOUCHED, day=day, rules=rules)
        for (verdict, reason), count in close_cases(connection, moment, letters=False).items():
            applied.verdicts[f"{verdict} {reason}"] += count
        _confirm(connection, applied, run_id)
        weigh(connection, _CLOSED_OF_THE_TOUCHED, day=day, rules=rules)
        applied.reopened = reopen_cases(connection, moment)
        connection.execute(text(_LEFT_OUT))
        connection.execute(
            text("UPDATE feed SET applied_at = :now WHERE id = ANY(:feeds)"),
            {"now": clock.now(), "feeds": list(feeds)},
        )
    return applied


_to_confirm = Table(
    "payment_to_confirm",
    MetaData(),
    Column("position", BigInteger),
    Column("subject", Text),
    Column("sequence", Integer),
    Column("customer_reference", Text),
    Column("district", Text),
    Column("subscription_id", BigInteger),
    Column("phone", Text),
    Column("language", Text),
)
# Whatever found it out: a feed, a claim of the second warning, the morning of the cut. Once for each case.
_GATHER = f"""
CREATE TEMPORARY TABLE payment_to_confirm ON COMMIT DROP AS
SELECT row_number() OVER (ORDER BY c.invoice_number) AS position, c.invoice_number AS subject, c.sequence,
    c.customer_reference, c.district, s.id AS subscription_id, s.phone, s.language
FROM (
    SELECT DISTINCT invoice_number, sequence FROM cutoff_decision
    WHERE day >= CAST(:day AS date) - CAST(:days AS int) AND verdict = 'withdraw' AND reason = ANY(:settled)
) withdrawn
JOIN cutoff_case c USING (invoice_number, sequence)
JOIN subscription s ON s.customer_reference = c.customer_reference AND s.state IN {REACHABLE}
    AND s.phone <> ''
WHERE c.state IN ('paid', 'excluded')
    AND NOT EXISTS (
        SELECT FROM cutoff_case later
        WHERE later.invoice_number = c.invoice_number AND later.sequence > c.sequence
    )
    AND NOT EXISTS (
        SELECT FROM notice n
        WHERE n.kind = :kind AND n.subject = c.invoice_number AND n.sequence = c.sequence
    )
    AND NOT EXISTS (
        SELECT FROM account_fact f
        WHERE f.customer_reference = c.customer_reference AND f.fact = 'number_changed'
            AND (f.invoice_number IS NULL OR f.invoice_number = c.invoice_number)
            AND f.valid_from <= :day AND (f.valid_until IS NULL OR f.valid_until >= :day)
    )
ORDER BY 1
"""


def _confirm(connection: Connection, applied: FeedsApplied, run_id: str | None) -> None:
    """Plan "payment received" for those who had been warned, and whom no message has told so."""
    day = clock.today()
    kind = load_kind(PAYMENT_RECEIVED)
    found = connection.execute(
        text(_GATHER),
        {"day": day, "days": _SEVERAL_DAYS, "settled": sorted(SETTLED), "kind": kind.name},
    ).rowcount
    if not found:
        return
    cycle_id, applied.cycle = open_cycle(connection, Purpose.PAYMENT_RECEIVED, day)
    until = load_calendar(connection).last_closing_on_or_before(day + timedelta(days=_SEVERAL_DAYS))
    lay_out_values(connection, [])
    rows = select(_to_confirm, literal(until, DateTime(timezone=True)).label("send_until"))
    applied.confirmations, _ = write_notices(
        connection,
        kind,
        rows.subquery(),
        {"reference": "customer_reference"},
        cycle_id=cycle_id,
        run_id=run_id,
    )
