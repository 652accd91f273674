"""All that is known about one bill and its cut-off cases, read in one snapshot. For whoever explains it.

It only reads, and judges nothing; what may not be shown to everybody is masked here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.errors import BadInput
from fatoura.phones import holds_number
from fatoura.references import format_reference, mask_reference

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from sqlalchemy import Connection, Row


class InvoiceUnknown(BadInput):
    """There is no such invoice; says what is known instead."""


@dataclass(frozen=True)
class Life:
    """The rows about one bill, each kind of them in the order of time.

    :param revisions: of the invoice, with the key of its cycle and when its extract was loaded.
    :param cases: by their sequence.
    :param payments: as they stand, with the name of their feed and when that was loaded.
    :param told_otherwise: payments and facts of it as other feeds told them, which do not stand.
    :param facts: of this bill, or of all bills of its customer, that were valid on its issue day or later.
    :param lists: the lists for people that it is on.
    :param others: the customer's other bills as they stand, with what was paid of them.
    """

    number: str
    revisions: Sequence[Row[Any]]
    cases: Sequence[Row[Any]]
    payments: Sequence[Row[Any]]
    told_otherwise: Sequence[Row[Any]]
    set_aside: Sequence[Row[Any]]
    facts: Sequence[Row[Any]]
    decisions: Sequence[Row[Any]]
    notices: Sequence[Row[Any]]
    lists: Sequence[Row[Any]]
    others: Sequence[Row[Any]]

    @property
    def invoice(self) -> Row[Any]:
        """The invoice as it stands."""
        return self.revisions[-1]

    @property
    def last_case(self) -> Row[Any] | None:
        """The case that counts now."""
        return self.cases[-1] if self.cases else None

    @property
    def reference(self) -> str:
        """The customer's reference, in full."""
        return str((self.last_case or self.invoice).customer_reference)

    def notice(self, notice_id: Any) -> Row[Any] | None:
        """Return a notice about it by its id."""
        return next((one for one in self.notices if one.id == notice_id), None)


@dataclass(frozen=True)
class Shown:
    """Masks what tells who a customer is, unless it was asked for in full."""

    customer: str
    unmasked: bool

    @property
    def reference(self) -> str:
        """The customer's reference, as it is printed."""
        printed = format_reference(self.customer, "fr")
        return printed if self.unmasked else mask_reference(printed)

    def words(self, said: str) -> str:
        """Return what others wrote; a reference, or the number of a phone, is masked in it."""
        if self.unmasked:
            return said
        said = said.replace(self.customer, mask_reference(self.customer))
        return mask_reference(said) if holds_number(said) else said


_REVISIONS = """
SELECT i.*, c.key AS cycle, e.supplement, e.loaded_at
FROM invoice i
LEFT JOIN cycle c ON c.id = i.cycle_id
LEFT JOIN extract e ON e.id = i.extract_id
WHERE i.invoice_number = :number ORDER BY i.revision
"""
_PAYMENTS = """
SELECT p.*, f.name AS feed, f.loaded_at FROM payment p LEFT JOIN feed f ON f.id = p.feed_id
WHERE p.invoice_number = :number ORDER BY f.loaded_at, p.paid_at, p.payment_id
"""
_TOLD_OTHERWISE = """
SELECT s.*, f.name AS feed, f.loaded_at, stands.name AS stands FROM superseded_row s
LEFT JOIN feed f ON f.id = s.feed_id LEFT JOIN feed stands ON stands.id = s.superseded_by
WHERE s.content = 'payments' AND s.invoice_number = :number
    OR s.content = 'facts' AND s.subject = ANY(:facts)
ORDER BY f.loaded_at, s.id
"""
_SET_ASIDE = """
SELECT s.*, f.name AS feed, f.loaded_at FROM set_aside_row s JOIN feed f ON f.id = s.feed_id
WHERE s.invoice_number = :number OR s.customer_reference = :customer
ORDER BY f.loaded_at, s.row_number
"""
# A fact that was taken back ends before it begins.
_FACTS = """
SELECT a.*, f.name AS feed, f.loaded_at FROM account_fact a LEFT JOIN feed f ON f.id = a.feed_id
WHERE a.customer_reference = :customer AND (a.invoice_number IS NULL OR a.invoice_number = :number)
    AND (a.valid_until IS NULL OR a.valid_until >= :issued OR a.valid_until < a.valid_from)
ORDER BY f.loaded_at, a.fact_id
"""
# The receipts that say "delivered", whatever became of them: a letter may have been decided before.
_NOTICES = """
SELECT n.id, n.kind, n.sequence, n.state, n.reason, n.attempts, n.planned_at, n.submitted_at, n.send_until,
    n.final_at, r.receipts
FROM notice n LEFT JOIN LATERAL (
    SELECT array_agg(ARRAY[coalesce(matched_at, received_at), coalesce(happened_at, received_at)] ORDER BY id)
        AS receipts
    FROM receipt WHERE notice_id = n.id AND status = 'delivered'
) r ON true
WHERE n.subject = :number ORDER BY n.planned_at, n.id
"""
_LISTS = """
SELECT k.kind, k.day, k.made_at, l.* FROM cutoff_list_line l JOIN cutoff_list k ON k.id = l.list_id
WHERE l.invoice_number = :number ORDER BY k.day, k.id
"""
_OTHERS = """
SELECT i.invoice_number, i.issue_date, i.amount_due_millimes,
    coalesce((
        SELECT sum(p.counts_millimes) FROM payment p WHERE p.invoice_number = i.invoice_number
    ), 0)::bigint AS paid_millimes
FROM invoice i
WHERE i.customer_reference = :customer AND i.subscription_id IS NOT NULL AND i.invoice_number <> :number
    AND NOT EXISTS (
        SELECT FROM invoice later
        WHERE later.invoice_number = i.invoice_number AND later.revision > i.revision
    )
ORDER BY i.issue_date, i.invoice_number
"""


def read_life(connection: Connection, number: str) -> Life:
    """Read all that is known about a bill. The caller's transaction is one snapshot.

    :raises InvoiceUnknown: when no invoice of that number was loaded and accepted.
    """
    values: dict[str, Any] = {"number": number.replace("\0", "")}

    def rows(statement: str) -> Sequence[Row[Any]]:
        return connection.execute(text(statement), values).all()

    revisions = rows(_REVISIONS)
    if not revisions:
        raise _unknown(connection, values["number"])
    cases = rows("SELECT * FROM cutoff_case WHERE invoice_number = :number ORDER BY sequence")
    issued: date = revisions[0].issue_date
    values |= {"customer": (cases or revisions)[-1].customer_reference, "issued": issued}
    facts = rows(_FACTS)
    values["facts"] = [fact.fact_id for fact in facts]
    return Life(
        number=values["number"],
        revisions=revisions,
        cases=cases,
        payments=rows(_PAYMENTS),
        told_otherwise=rows(_TOLD_OTHERWISE),
        set_aside=rows(_SET_ASIDE),
        facts=facts,
        decisions=rows("SELECT * FROM cutoff_decision WHERE invoice_number = :number ORDER BY id"),
        notices=rows(_NOTICES),
        lists=rows(_LISTS),
        others=rows(_OTHERS),
    )


def _unknown(connection: Connection, number: str) -> InvoiceUnknown:
    values = {"number": number}
    rejected = connection.execute(
        text(
            "SELECT c.key, r.part, r.part_row, r.reasons FROM rejected_row r "
            "JOIN extract e ON e.id = r.extract_id JOIN cycle c ON c.id = e.cycle_id "
            "WHERE r.fields ->> 'invoice_number' = :number ORDER BY e.id DESC LIMIT 1"
        ),
        values,
    ).one_or_none()
    if rejected is not None:
        return InvoiceUnknown(
            f"invoice {number} came with cycle {rejected.key} ({rejected.part}, row {rejected.part_row}) and "
            f"was rejected by the quality gate: {', '.join(rejected.reasons)}. Its customer was told "
            "nothing, so nobody is warned; have the row corrected in a supplement"
        )
    payments = connection.scalar(text("SELECT count(*) FROM payment WHERE invoice_number = :number"), values)
    if payments:
        return InvoiceUnknown(
            f"invoice {number} was never loaded; {payments} payment(s) name it, and will count for it once "
            "it is"
        )
    # What was asked for is not repeated: it may be a customer's number, pasted by mistake.
    return InvoiceUnknown(
        "no invoice of that number was loaded: give it as it stands on the bill, such as FAC-2026-0001"
    )
