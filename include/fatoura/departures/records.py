"""Departures: the form of their feeds and the check of a row. Pure: knows no database and keeps nothing.

What is wrong with a row is told by field and code, never with its values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fatoura import clock
from fatoura.extracts.values import read_day
from fatoura.feeds.manifest import FeedManifest
from fatoura.feeds.records import Flaw
from fatoura.feeds.values import is_identifier
from fatoura.phones import holds_number
from fatoura.references import is_reference

if TYPE_CHECKING:
    from datetime import date

    from fatoura.feeds.content import RowCheck
    from fatoura.feeds.records import Record

COLUMNS = ("departure_id", "customer_reference", "asked_on", "by", "reason")
"""The columns of the contract, in its order."""

TYPED = {
    "departure_id": "text",
    "customer_reference": "text",
    "asked_on": "date",
    "told_by": "text",
    "reason": "text",
}
"""The typed columns of a good row."""

FORM = '{"feed": "2026-06-29", "rows": 2, "parts": [{"name": "departures.csv", "rows": 2, "sha256": "…"}]}'

_LONGEST = 200


class DeparturesManifest(FeedManifest):
    """What a feed of departures says of itself."""


def row_check(_manifest: DeparturesManifest) -> RowCheck:
    """Return the check of a feed's rows."""
    today = clock.today()
    return lambda record: check(record, today)


def check(record: Record, today: date) -> tuple[Any, ...] | list[Flaw]:
    """Check one row: its typed values, or everything that is wrong with it.

    :param today: local day; nobody has asked in the future.
    """
    if record.flaw is not None:
        return [Flaw("row", record.flaw)]
    departure_id, reference, asked, by, reason = (record.text(column).strip() for column in COLUMNS)
    flaws = []
    if not is_identifier(departure_id):
        flaws.append(Flaw("departure_id", "form"))
    if not is_reference(reference):
        flaws.append(Flaw("customer_reference", "not_nine_digits"))
    asked_on = read_day(asked)
    if asked_on is None:
        flaws.append(Flaw("asked_on", "not_a_date"))
    elif asked_on > today:
        flaws.append(Flaw("asked_on", "in_the_future"))
    if not by:
        flaws.append(Flaw("by", "missing"))
    for column, words in (("by", by), ("reason", reason)):
        if len(words) > _LONGEST:
            flaws.append(Flaw(column, "too_long"))
        elif holds_number(words):
            flaws.append(Flaw(column, "holds_a_phone_number"))
    return flaws or (departure_id, reference, asked_on, by, reason or None)
