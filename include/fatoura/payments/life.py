"""All that is known of the payments of one invoice: what stands, what it stands against, what waits.

Called by `fatoura payments show`. A customer's reference is masked unless asked for in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.references import format_reference, mask_reference

if TYPE_CHECKING:
    from datetime import date, datetime


@dataclass(frozen=True)
class KnownPayment:
    """A payment or reversal as it stands.

    :param counts_millimes: what it takes off the invoice; of a reversal what it puts back, below zero.
    :param feed: the feed that brought what stands.
    :param revision: how many other versions of it were told.
    """

    payment_id: str
    kind: str
    amount_millimes: int
    paid_at: datetime
    channel: str
    reverses: str | None
    counts_millimes: int
    outcome: str
    revision: int
    feed: str
    row: int
    known_until: datetime


@dataclass(frozen=True)
class FormerVersion:
    """A row that stood before, or came too late to stand; `was` holds its values."""

    payment_id: str
    was: dict[str, Any]
    feed: str
    superseded_by: str
    superseded_at: datetime


@dataclass(frozen=True)
class RowSetAside:
    """A row about this invoice that broke a rule."""

    payment_id: str | None
    feed: str
    row: int
    reasons: list[str]
    settled_at: datetime | None
    settlement: str | None


@dataclass(frozen=True)
class InvoicePayments:
    """The payments of an invoice.

    :param amount_due_millimes: of its latest revision; none when the invoice is not known here.
    :param balance_millimes: what is still owed; below zero when too much was paid.
    """

    invoice_number: str
    customer_reference: str | None
    amount_due_millimes: int | None
    due_date: date | None
    paid_millimes: int
    balance_millimes: int | None
    payments: list[KnownPayment]
    former: list[FormerVersion]
    set_aside: list[RowSetAside]


def invoice_payments(invoice_number: str, *, unmasked: bool = False) -> InvoicePayments:
    """Return what is known of an invoice's payments, in the order of their time.

    :raises BadInput: when neither the invoice nor a payment of it is known.
    """
    asked = {"invoice": invoice_number}
    with connect() as connection:
        invoice = connection.execute(
            text(
                "SELECT customer_reference, amount_due_millimes, due_date FROM invoice "
                "WHERE invoice_number = :invoice ORDER BY revision DESC LIMIT 1"
            ),
            asked,
        ).one_or_none()
        payments = connection.execute(
            text(
                "SELECT p.payment_id, p.kind, p.amount_millimes, p.paid_at, p.channel, p.reverses, "
                "p.counts_millimes, p.outcome, p.revision, f.name, p.row_number, p.known_until "
                "FROM payment p JOIN feed f ON f.id = p.feed_id WHERE p.invoice_number = :invoice "
                "ORDER BY p.paid_at, p.payment_id"
            ),
            asked,
        ).all()
        former = connection.execute(
            text(
                "SELECT s.subject, s.was, f.name, b.name, s.superseded_at FROM superseded_row s "
                "JOIN feed f ON f.id = s.feed_id JOIN feed b ON b.id = s.superseded_by "
                "WHERE s.content = 'payments' AND s.invoice_number = :invoice "
                "AND s.subject = ANY(:payments) ORDER BY s.id"
            ),
            {**asked, "payments": [row.payment_id for row in payments]},
        ).all()
        set_aside = connection.execute(
            text(
                "SELECT s.subject, f.name, s.row_number, s.reasons, s.settled_at, s.settlement "
                "FROM set_aside_row s JOIN feed f ON f.id = s.feed_id "
                "WHERE s.content = 'payments' AND s.invoice_number = :invoice "
                "ORDER BY s.feed_id, s.row_number"
            ),
            asked,
        ).all()
    if invoice is None and not payments and not set_aside:
        raise BadInput(f"neither an invoice {invoice_number!r} nor a payment of it is known")
    paid = sum(row.counts_millimes for row in payments)
    printed = None if invoice is None else format_reference(invoice.customer_reference, "fr")
    return InvoicePayments(
        invoice_number,
        printed if unmasked or printed is None else mask_reference(printed),
        None if invoice is None else invoice.amount_due_millimes,
        None if invoice is None else invoice.due_date,
        paid,
        None if invoice is None else invoice.amount_due_millimes - paid,
        [KnownPayment(*row) for row in payments],
        [FormerVersion(*row) for row in former],
        [RowSetAside(*row) for row in set_aside],
    )


def waiting_reversals(*, most: int) -> list[tuple[str, str, str, datetime]]:
    """Return reversals of payments that are not known: id, the payment's, invoice, time; the oldest first."""
    with connect() as connection:
        rows = connection.execute(
            text(
                "SELECT payment_id, reverses, invoice_number, paid_at FROM payment "
                "WHERE outcome = 'waits_for_payment' AND reverses IS NOT NULL ORDER BY paid_at LIMIT :most"
            ),
            {"most": most},
        )
        return [(row.payment_id, row.reverses, row.invoice_number, row.paid_at) for row in rows]
