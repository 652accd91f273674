"""Account facts that people tell by command: each is a feed of its own, whose name sorts after all files.

So what a person has set stands against what files repeat, until a person says otherwise.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.accounts.loading import FACTS
from fatoura.accounts.records import COLUMNS, FactsManifest, check
from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.feeds.delivery import Delivery, FilePart
from fatoura.feeds.loading import FeedLoaded, load_feed
from fatoura.feeds.records import PartUnreadableError, Record
from fatoura.feeds.refusal import FeedRefused
from fatoura.feeds.typed import next_typed_name
from fatoura.landing import landing_path
from fatoura.manifests import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fatoura.feeds.delivery import FeedPart
    from fatoura.feeds.records import RawRow

_WHERE = "command"


class KnownFact(NamedTuple):
    """A fact as it stands. `valid_until` is its last day; `told_in` the feed that said so last."""

    fact_id: str
    customer_reference: str
    invoice_number: str | None
    fact: str
    valid_from: date
    valid_until: date | None
    set_by: str
    told_in: str
    revision: int

    def holds_on(self, day: date) -> bool:
        """Tell whether it is in force on a day."""
        return self.valid_from <= day and (self.valid_until is None or day <= self.valid_until)


def known_facts(
    *,
    fact_id: str | None = None,
    customer_reference: str | None = None,
    invoice_number: str | None = None,
    fact: str | None = None,
    on: date | None = None,
    most: int = 1000,
) -> list[KnownFact]:
    """Return the facts that stand, by customer and day.

    :param invoice_number: facts about this invoice.
    :param on: only those in force on this day.
    """
    with connect() as connection:
        rows = connection.execute(
            text(
                "SELECT fact_id, customer_reference, invoice_number, fact, valid_from, valid_until, set_by, "
                "told_in, revision FROM account_fact "
                "WHERE (CAST(:fact_id AS text) IS NULL OR fact_id = :fact_id) "
                "AND (CAST(:reference AS text) IS NULL OR customer_reference = :reference) "
                "AND (CAST(:invoice AS text) IS NULL OR invoice_number = :invoice) "
                "AND (CAST(:fact AS text) IS NULL OR fact = :fact) "
                "AND (CAST(:on AS date) IS NULL OR (valid_from <= :on "
                "AND (valid_until IS NULL OR valid_until >= :on))) "
                "ORDER BY customer_reference, valid_from, fact_id LIMIT :most"
            ),
            {
                "fact_id": fact_id,
                "reference": customer_reference,
                "invoice": invoice_number,
                "fact": fact,
                "on": on,
                "most": most,
            },
        )
        return [KnownFact(*row) for row in rows]


def set_fact(
    customer_reference: str,
    fact: str,
    *,
    set_by: str,
    invoice_number: str | None = None,
    valid_from: date | None = None,
    valid_until: date | None = None,
    fact_id: str | None = None,
) -> KnownFact:
    """Tell a fact, or tell one anew.

    :param invoice_number: none: of all invoices of the customer.
    :param valid_from: its first day; none: today.
    :param valid_until: its last day; none: until further notice.
    :param fact_id: a fact that is known, to be told anew; none: a new one.
    :raises BadInput: when a value is wrong, or a new fact is known already.
    """
    begins = valid_from or clock.today()
    if valid_until is not None and valid_until < begins:
        raise BadInput("a fact ends on its first day at the earliest; to take one back, end it")
    if fact_id is None:
        alike = [
            one.fact_id
            for one in known_facts(customer_reference=customer_reference, fact=fact)
            if one.invoice_number == invoice_number
            and (one.valid_until is None or one.valid_until >= max(begins, one.valid_from))
            and (valid_until is None or one.valid_from <= valid_until)
        ]
        if alike:
            raise BadInput(f"this is known already as {', '.join(alike)}; give its id to tell it anew")
    elif not known_facts(fact_id=fact_id):
        raise BadInput(f"no fact is known as {fact_id}")
    name = next_typed_name("facts")
    return _tell(
        name,
        {
            "fact_id": fact_id or f"hand-{name.removeprefix('~')}",
            "customer_reference": customer_reference,
            "invoice_number": invoice_number or "",
            "fact": fact,
            "valid_from": begins.isoformat(),
            "valid_until": valid_until.isoformat() if valid_until else "",
            "set_by": set_by,
        },
    )


def end_fact(fact_id: str, *, set_by: str, last_day: date | None = None) -> KnownFact:
    """End a fact. One that ends before its first day was taken back: it has never held.

    :param last_day: on which it still holds; none: yesterday, so that it holds no more from now on.
    :raises BadInput: when there is no such fact, or it has ended before.
    """
    last_day = last_day or clock.today() - timedelta(days=1)
    found = known_facts(fact_id=fact_id)
    if not found:
        raise BadInput(f"no fact is known as {fact_id}")
    known = found[0]
    if known.valid_until is not None and known.valid_until <= last_day:
        raise BadInput(f"{fact_id} has ended on {known.valid_until} already")
    return _tell(
        next_typed_name("facts"),
        {
            "fact_id": fact_id,
            "customer_reference": known.customer_reference,
            "invoice_number": known.invoice_number or "",
            "fact": known.fact,
            "valid_from": known.valid_from.isoformat(),
            "valid_until": last_day.isoformat(),
            "set_by": set_by,
        },
    )


def import_facts(path: Path) -> FeedLoaded:
    """Load a CSV of facts without a manifest, as a person hands it in: it stands against what files say.

    :raises FeedRefused: when it cannot be used as a whole.
    """
    part = FilePart(path.name, landing_path(str(path)), FACTS.columns)
    try:
        rows = sum(1 for _ in part.rows())
    except PartUnreadableError as error:
        raise FeedRefused(str(path), error.problems) from None
    declared = Part.model_construct(name=part.name, rows=rows, sha256=part.sha256 or "")
    return load_feed(FACTS, _delivery(next_typed_name("facts"), [part], [declared]))


@dataclass
class _Typed:
    """One row that a person typed."""

    name: str
    fields: dict[str, Any]
    sha256: str | None

    def rows(self) -> Iterator[RawRow]:
        """Read the row."""
        yield self.fields, None


def _tell(name: str, fields: dict[str, str]) -> KnownFact:
    # Before it becomes a feed: a person is told at once, and nothing is set aside.
    row = {column: " ".join(fields[column].split()) for column in COLUMNS}
    flaws = check(Record(1, _WHERE, 1, row, None))
    if isinstance(flaws, list):
        raise BadInput(f"this is no fact: {'; '.join(map(str, flaws))}")
    sha256 = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    part = _Typed(_WHERE, row, sha256)
    declared = Part(name=_WHERE, rows=1, sha256=sha256)
    load_feed(FACTS, _delivery(name, [part], [declared]))
    return known_facts(fact_id=row["fact_id"])[0]


def _delivery(name: str, parts: Sequence[FeedPart], declared: Sequence[Part]) -> Delivery[FactsManifest]:
    # Not validated: no other system may call its feeds so.
    manifest = FactsManifest.model_construct(
        feed=name, rows=sum(part.rows for part in declared), parts=tuple(declared)
    )
    return Delivery(manifest, "command", _WHERE, parts)
