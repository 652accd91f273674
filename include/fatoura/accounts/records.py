"""Account facts: the form of their feeds and the check of a row. Pure: knows no database and keeps nothing.

What is wrong with a row is told by field and code, never with its values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fatoura.cutoff.rules import Fact
from fatoura.extracts.values import read_day
from fatoura.feeds.manifest import FeedManifest
from fatoura.feeds.records import Flaw, Record
from fatoura.feeds.values import is_identifier, is_invoice_number
from fatoura.references import is_reference

if TYPE_CHECKING:
    from fatoura.feeds.content import RowCheck

COLUMNS = (
    "fact_id",
    "customer_reference",
    "invoice_number",
    "fact",
    "valid_from",
    "valid_until",
    "set_by",
)
"""The columns of the contract, in its order."""

TYPED = {
    "fact_id": "text",
    "customer_reference": "text",
    "invoice_number": "text",
    "fact": "text",
    "valid_from": "date",
    "valid_until": "date",
    "set_by": "text",
}
"""The typed columns of a good row."""

FORM = '{"feed": "2026-06-29", "rows": 2, "parts": [{"name": "facts.csv", "rows": 2, "sha256": "…"}]}'

_FACTS = frozenset(fact.value for fact in Fact)
_LONGEST_NAME = 200


class FactsManifest(FeedManifest):
    """What a feed of account facts says of itself."""


def row_check(_manifest: FactsManifest) -> RowCheck:
    """Return the check of a feed's rows."""
    return check


def check(record: Record) -> tuple[Any, ...] | list[Flaw]:
    """Check one row: its typed values, or everything that is wrong with it.

    A fact that ends before it begins is none that holds: so it is taken back.
    """
    if record.flaw is not None:
        return [Flaw("row", record.flaw)]
    fact_id, reference, invoice, fact, begins, ends, set_by = map(record.text, COLUMNS)
    flaws = []
    if not is_identifier(fact_id):
        flaws.append(Flaw("fact_id", "form"))
    if not is_reference(reference):
        flaws.append(Flaw("customer_reference", "not_nine_digits"))
    if invoice and not is_invoice_number(invoice):
        flaws.append(Flaw("invoice_number", "form"))
    if fact not in _FACTS:
        flaws.append(Flaw("fact", "unknown"))
    valid_from, valid_until = read_day(begins), read_day(ends)
    if valid_from is None:
        flaws.append(Flaw("valid_from", "not_a_date"))
    if ends and valid_until is None:
        flaws.append(Flaw("valid_until", "not_a_date"))
    if not set_by.strip():
        flaws.append(Flaw("set_by", "missing"))
    elif len(set_by) > _LONGEST_NAME:
        flaws.append(Flaw("set_by", "too_long"))
    return flaws or (fact_id, reference, invoice or None, fact, valid_from, valid_until, set_by.strip())
