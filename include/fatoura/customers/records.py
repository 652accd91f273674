"""Customers: the form of their feeds and the check of a row. Pure: knows no database and keeps nothing.

What is wrong with a row is told by field and code, never with its values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fatoura.extracts.districts import read_districts
from fatoura.feeds.manifest import FeedManifest
from fatoura.feeds.records import Flaw
from fatoura.references import is_reference

if TYPE_CHECKING:
    from fatoura.feeds.content import RowCheck
    from fatoura.feeds.records import Record

COLUMNS = ("customer_reference", "district", "contract")
"""The columns of the contract, in its order."""

TYPED = dict.fromkeys(COLUMNS, "text")
"""The typed columns of a good row."""

FORM = '{"feed": "2026-06-29", "rows": 2, "parts": [{"name": "customers.csv", "rows": 2, "sha256": "…"}]}'

_CONTRACTS = frozenset(("open", "closed"))


class CustomersManifest(FeedManifest):
    """What a feed of customers says of itself."""


def row_check(_manifest: CustomersManifest) -> RowCheck:
    """Return the check of a feed's rows: the districts' file is read once."""
    districts = frozenset(district.code for district in read_districts())

    def check(record: Record) -> tuple[Any, ...] | list[Flaw]:
        if record.flaw is not None:
            return [Flaw("row", record.flaw)]
        reference, district, contract = map(record.text, COLUMNS)
        flaws = []
        if not is_reference(reference):
            flaws.append(Flaw("customer_reference", "not_nine_digits"))
        if district not in districts:
            flaws.append(Flaw("district", "unknown"))
        if contract not in _CONTRACTS:
            flaws.append(Flaw("contract", "unknown"))
        return flaws or (reference, district, contract)

    return check
