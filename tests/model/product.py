"""The product, driven by its own functions on a real database, and looked at from outside.

Nothing here judges. What customers, banks and the provider do to the database is done as their own parts of
the product leave it: bills as a cycle, receipts as the receiver.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg.rows import namedtuple_row, tuple_row

from fatoura import clock
from fatoura.accounts.loading import FACTS
from fatoura.accounts.records import FactsManifest
from fatoura.cutoff.scheduling import schedule_cases
from fatoura.database import begin, get_engine
from fatoura.feeds.delivery import Delivery
from fatoura.feeds.loading import load_feed
from fatoura.feeds.set_aside import settle_row
from fatoura.gateways.interface import Outcome
from fatoura.manifests import Part
from fatoura.payments.pushing import load_pushed
from fatoura.receipts.intake import RawReceipt, store
from fatoura.receipts.matching import match_receipts
from fatoura.sending import claims
from fatoura.sending.routing import WHOLE
from tests.model.world import Fact, Payment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    from fatoura.gateways.interface import Message
    from tests.model.world import Bill, Customer, Feed

GATEWAY = "fatoura_sms"
BILLING, BILLING_ID = "2026-06-T1", 1_000_000

_EMPTIED = (
    "cutoff_list_line",
    "cutoff_list",
    "cutoff_decision",
    "cutoff_case",
    "set_aside_row",
    "superseded_row",
    "account_fact",
    "payment",
    "watermark",
    "feed",
    "receipt",
    "attempt",
    "notice",
    "invoice",
    "subscription",
    "stage",
    "extract",
    "cycle",
)
_REVISED = """
INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, customer_reference, district,
    supply, period_start, period_end, amount_due_millimes, due_date, issue_date, estimated, bucket, reason,
    subscription_id)
SELECT %(extract)s, nextval('pg_temp.row_number'), 1000000, %(number)s, %(revision)s, %(customer)s,
    'TUN1', 'both', '2026-04-01', '2026-05-31', %(amount)s, %(due)s, %(issued)s, false, %(bucket)s,
    %(reason)s, s.id
FROM subscription s WHERE s.customer_reference = %(customer)s ORDER BY s.id DESC LIMIT 1
"""
_EXTRACT = """
INSERT INTO extract (cycle_id, supplement, source, location, manifest, digest, declared_rows,
    declared_total_millimes, matched_at)
SELECT 1000000, count(*), 'landing', 'model', '{}', 'x', 1, 0, %(now)s FROM extract RETURNING id
"""
_TOLD = """
INSERT INTO notice (kind, subject, sequence, cycle_id, extract_id, subscription_id, district, phone, language,
    text, encoding, segments, priority, send_from, send_until, validity_minutes, planned_at)
SELECT %(kind)s, %(number)s, %(revision)s + 1, 1000000, 1, s.id, 'TUN1', s.phone, s.language, 'x', 'gsm7',
    1, 50, %(now)s, %(now)s, 60, %(now)s
FROM subscription s WHERE s.customer_reference = %(customer)s ORDER BY s.id DESC LIMIT 1
"""


class Case(NamedTuple):
    invoice_number: str
    sequence: int
    revision: int
    state: str
    reason: str | None
    warn_from: date
    due_date: date
    under_way: UUID | None
    cut_from: date | None
    amount_due_millimes: int
    opened_because: str

    @property
    def key(self) -> tuple[str, int]:
        return self.invoice_number, self.sequence


class Notice(NamedTuple):
    id: UUID
    kind: str
    subject: str
    sequence: int
    state: str
    reason: str | None
    cycle_id: int
    send_until: datetime
    submitted_at: datetime | None
    retry_at: datetime | None
    text: str
    phone: str


class Decision(NamedTuple):
    id: int
    invoice_number: str
    sequence: int
    day: date
    moment: str
    verdict: str
    reason: str | None
    notice_kind: str | None
    notice_id: UUID | None
    balance_millimes: int | None
    cut_from: date | None

    @property
    def case(self) -> tuple[str, int]:
        return self.invoice_number, self.sequence


class Line(NamedTuple):
    kind: str
    day: date
    invoice_number: str
    sequence: int
    balance_millimes: int
    notice_id: UUID | None
    receipt_id: int | None

    @property
    def case(self) -> tuple[str, int]:
        return self.invoice_number, self.sequence


_CASES = f"SELECT {', '.join(Case._fields)} FROM cutoff_case".encode()
_NOTICES = (
    f"SELECT {', '.join(Notice._fields)} FROM notice WHERE kind NOT IN ('bill', 'bill_correction')".encode()
)
_DECISIONS = f"SELECT {', '.join(Decision._fields)} FROM cutoff_decision ORDER BY id".encode()
_LINES = (
    b"SELECT k.kind, k.day, l.invoice_number, l.sequence, l.balance_millimes, l.notice_id, l.receipt_id "
    b"FROM cutoff_list_line l JOIN cutoff_list k ON k.id = l.list_id"
)


@dataclass(frozen=True)
class Sight:
    """All that can be seen of the product's work at one moment."""

    cases: dict[tuple[str, int], Case]
    notices: dict[UUID, Notice]
    decisions: list[Decision]
    lines: list[Line]

    def last_case(self, number: str) -> Case | None:
        found = [case for case in self.cases.values() if case.invoice_number == number]
        return max(found, key=lambda case: case.sequence, default=None)


def _payment(row: Payment) -> dict[str, Any]:
    return {
        "payment_id": row.id,
        "invoice_number": row.invoice,
        "amount_millimes": "much" if row.flawed else row.amount,
        "paid_at": row.paid_at.isoformat(),
        "channel": row.channel,
        "kind": "reversal" if row.reverses else "payment",
        "reverses": row.reverses or "",
    }


def _fact(row: Fact) -> dict[str, str]:
    return {
        "fact_id": row.id,
        "customer_reference": row.customer,
        "invoice_number": row.invoice or "",
        "fact": "unheard_of" if row.flawed else row.fact,
        "valid_from": row.valid_from.isoformat(),
        "valid_until": row.valid_until.isoformat() if row.valid_until else "",
        "set_by": "model",
    }


class _Facts:
    """A part of a feed of facts, in memory."""

    name = "facts.csv"

    def __init__(self, texts: list[dict[str, str]]) -> None:
        self.texts = texts
        self.sha256: str = hashlib.sha256(json.dumps(texts).encode()).hexdigest()

    def rows(self) -> Iterator[tuple[dict[str, Any], str | None]]:
        return ((dict(one), None) for one in self.texts)


class Product:
    """One database. Use `close` at the end."""

    def __init__(self, url: str) -> None:
        plain = url.replace("postgresql+psycopg://", "postgresql://")
        self._db = psycopg.connect(plain, autocommit=True, row_factory=namedtuple_row)
        self._db.execute("CREATE TEMPORARY SEQUENCE row_number")
        self._db.execute("SET client_min_messages = warning")
        self.engine = get_engine()

    def close(self) -> None:
        self._db.close()

    # --- Before

    def empty(self) -> None:
        # Deleting a few rows is much faster than truncating: no files are made.
        self._db.execute("; ".join(f"DELETE FROM {table}" for table in _EMPTIED).encode())
        self._db.execute(
            "INSERT INTO cycle (id, key, issue_date) OVERRIDING SYSTEM VALUE VALUES (%s, %s, '2026-06-20')",
            [BILLING_ID, BILLING],
        )

    def subscribe(self, customer: Customer, phone: str) -> None:
        self._db.execute(
            "INSERT INTO subscription (customer_reference, phone, language, channel, consent_date) "
            "VALUES (%s, %s, 'fr', 'coupon', '2026-01-01')",
            [customer.reference, phone],
        )

    def bill(self, bill: Bill, revision: int) -> None:
        """Bill a subscriber, or correct a bill, as a cycle leaves it when its notices are delivered."""
        values = {
            "number": bill.number,
            "customer": bill.customer,
            "revision": revision,
            "amount": bill.amount,
            "due": bill.due,
            "issued": bill.issued,
            "bucket": "noticed" if bill.told else "suppressed",
            "reason": None if bill.told else "zero_balance" if bill.amount <= 0 else "deadline_passed",
            "kind": "bill_correction" if revision else "bill",
            "now": clock.now(),
        }
        with self._db.transaction():
            row = self._db.execute(_EXTRACT, values).fetchone()
            assert row is not None
            self._db.execute(_REVISED, {**values, "extract": row.id})
            if bill.told:
                self._db.execute(_TOLD, values)

    def schedule(self) -> None:
        schedule_cases(BILLING)

    # --- Customers

    def set_subscription(self, customer: Customer, **columns: Any) -> None:
        told = ", ".join(f"{name} = %({name})s" for name in columns)
        self._db.execute(
            f"UPDATE subscription SET {told} WHERE customer_reference = %(who)s".encode(),
            {**columns, "who": customer.reference},
        )

    # --- Sending, as a line of a sender does it

    def claim(self, cycle_id: int, *, most: int, lease: timedelta) -> list[Message]:
        with begin() as connection:
            claims.expire_leases(connection)
            batch = claims.claim(
                connection,
                cycle_id,
                gateway=GATEWAY,
                stretch=WHOLE,
                in_use=[GATEWAY],
                worker="model",
                most=most,
                lease=lease,
                doubt_horizon=timedelta(hours=6),
                sender_id="STEG",
            )
            claims.cancel_late(connection, cycle_id)
        return [one.message for one in batch]

    def expire_leases(self) -> None:
        with begin() as connection:
            claims.expire_leases(connection)

    def write_outcomes(self, outcomes: Sequence[tuple[Message, str]]) -> None:
        with begin() as connection:
            claims.write_outcomes(
                connection,
                [(message, Outcome(kind, None, kind)) for message, kind in outcomes],  # type: ignore[arg-type]
                retry_after=timedelta(minutes=5),
            )

    def receive(self, receipts: Iterable[tuple[UUID, str, datetime]]) -> None:
        """Store the provider's receipts and match them: of which notice, what it says, and since when."""
        store(
            [
                RawReceipt(
                    gateway=GATEWAY,
                    received_at=clock.now(),
                    raw={"query": {}},
                    notice_id=notice,
                    attempt=1,
                    status=status,
                    happened_at=happened_at,
                )
                for notice, status, happened_at in receipts
            ]
        )
        match_receipts()

    # --- Feeds

    def take(self, feed: Feed) -> None:
        """Take a feed as it is pushed: payments as one document, facts by the same load."""
        if feed.of_payments:
            payments = [_payment(row) for row in feed.rows if isinstance(row, Payment)]
            document = {
                "feed": feed.name,
                "rows": len(payments),
                "total_amount_millimes": sum(
                    row.amount for row in feed.rows if isinstance(row, Payment) and not row.flawed
                ),
                "complete_until": {channel: at.isoformat() for channel, at in feed.complete_until.items()},
                "payments": payments,
            }
            load_pushed(json.dumps(document).encode(), location="model")
        else:
            part = _Facts([_fact(row) for row in feed.rows if isinstance(row, Fact)])
            told = Part(name=part.name, rows=len(part.texts), sha256=part.sha256)
            manifest = FactsManifest(feed=feed.name, rows=len(part.texts), parts=(told,))
            load_feed(FACTS, Delivery(manifest, "push", "model", [part]))

    def settle(self, feed: Feed, row: Payment | Fact) -> None:
        """Have a person settle a row that was set aside, and each that says the same in its feed."""
        content: Any = "payments" if feed.of_payments else "facts"
        for number, one in enumerate(feed.rows, 1):
            if one == row:
                settle_row(content, feed.name, number, reason="seen to, by the model", by="model")

    # --- Looking

    def payments(self) -> dict[tuple[str, str], tuple[int, int]]:
        """What stands of each payment, by its id and invoice: its amount, and what it takes off."""
        rows = self._db.execute(
            "SELECT payment_id, invoice_number, amount_millimes, counts_millimes FROM payment"
        )
        return {(one, number): (amount, counts) for one, number, amount, counts in rows}

    def cycle_of(self, key: str) -> int | None:
        row = self._db.execute("SELECT id FROM cycle WHERE key = %s", [key]).fetchone()
        return row.id if row else None

    def look(self) -> Sight:
        with self._db.cursor(row_factory=tuple_row) as cursor:
            cases = [Case(*row) for row in cursor.execute(_CASES)]
            notices = [Notice(*row) for row in cursor.execute(_NOTICES)]
            decisions = [Decision(*row) for row in cursor.execute(_DECISIONS)]
            lines = [Line(*row) for row in cursor.execute(_LINES)]
        return Sight({case.key: case for case in cases}, {one.id: one for one in notices}, decisions, lines)
