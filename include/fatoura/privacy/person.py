"""Where everything lies that is held of one customer: rows of tables, and lines of files for clerks.

Called by access and erasure. A test sees to it that every table is either here or said to hold nothing of one
person.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.errors import BadInput
from fatoura.fees.books import MARK
from fatoura.phones_at_rest import PREFIX, opened, stored_forms
from fatoura.privacy.files import clerks_folders, files_in
from fatoura.references import is_reference
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from uuid import UUID

    from sqlalchemy import Connection

_BY_REFERENCE = "customer_reference = :reference"
_BY_NOTICE = "notice_id = ANY(:notices)"
_BY_INVOICE = "invoice_number = ANY(:invoices)"
_BY_CHARGE = "charge_id = ANY(:charges)"

# Of a row that broke a rule the reference may be wrong too: then its number tells, unless it names somebody
# else.
_NAMED = "{0} ->> 'customer_reference' = ANY(:references)"
_BY_NUMBER = (
    "({0} ->> 'phone' = ANY(:numbers) AND coalesce({0} ->> 'customer_reference', '') !~ '^[0-9]{{9}}$')"
)

ROWS: dict[str, str] = {
    **dict.fromkeys(
        (
            "customer",
            "subscription",
            "consent",
            "coupon",
            "departure",
            "verification",
            "invoice",
            "account_fact",
            "cutoff_case",
            "fee_charge",
            "fee_waiver",
            "erasure",
        ),
        _BY_REFERENCE,
    ),
    "coupon_decision": "coupon_id = ANY(:coupons)",
    "notice": "id = ANY(:notices)",
    **dict.fromkeys(("attempt", "doubt_decision", "statement_match"), _BY_NOTICE),
    "receipt": f"{_BY_NOTICE} OR notice_id IS NULL AND (gateway, provider_id) IN ("
    f"SELECT gateway, provider_id FROM attempt WHERE {_BY_NOTICE} AND provider_id IS NOT NULL)",
    # A message of several parts has a line for each; one that no message of ours fits tells by its number.
    "statement_line": f"{_BY_NOTICE} OR (statement_id, message) IN ("
    f"SELECT statement_id, line FROM statement_match WHERE {_BY_NOTICE}) "
    "OR notice_id IS NULL AND recipient = ANY(:numbers) AND NOT EXISTS ("
    "SELECT FROM statement_match m "
    "WHERE (m.statement_id, m.line) = (statement_line.statement_id, statement_line.message))",
    **dict.fromkeys(("payment", "cutoff_decision", "cutoff_list_line"), _BY_INVOICE),
    "fee_credit": _BY_CHARGE,
    "fee_result": "charge_id = ANY(:told_charges)",
    "fee_entry": f"{_BY_CHARGE} OR subscription_id = ANY(:subscriptions)",
    "rejected_row": _NAMED.format("fields"),
    "set_aside_row": f"{_BY_REFERENCE} OR {_BY_INVOICE} OR {_NAMED.format('fields')} "
    f"OR {_BY_NUMBER.format('fields')} "
    "OR content = 'fee_results' AND fields ->> 'charge_id' = ANY(:told_charges)",
    "superseded_row": f"{_BY_INVOICE} OR {_NAMED.format('was')}",
}
"""The rows of one customer, by table: a condition on `Person.values`."""

OF_NOBODY = frozenset(
    {
        *(
            "announcement",
            "calendar_day",
            "complaint",
            "cutoff_list",
            "cycle",
            "district",
            "extract",
            "fee_file",
        ),
        *("feed", "feed_refusal", "gateway", "inbound_message", "retention_done", "site_count", "stage"),
        *("statement", "statement_flaw", "subscriber_count", "watermark"),
    }
)
"""Tables that hold nothing of one person: counts, names of files, hashes that nobody can follow back."""


_TELLING = 7
"""Digits. A shorter number stands for many things in a file."""


@dataclass(frozen=True)
class Person:
    """A customer, and the keys under which something of theirs lies. `repr` shows none of it."""

    reference: str = field(repr=False)
    subscriptions: list[int] = field(repr=False)
    invoices: list[str] = field(repr=False)
    notices: list[UUID] = field(repr=False)
    coupons: list[str] = field(repr=False)
    charges: list[int] = field(repr=False)
    numbers: frozenset[str] = field(repr=False)
    """Every number that is known of them, in E.164."""

    @property
    def values(self) -> dict[str, Any]:
        """What the conditions of `ROWS` ask for."""
        forms = [form for number in self.numbers for form in _written(number)]
        return {
            "reference": self.reference,
            "references": [*stored_forms(self.reference), self.reference.lstrip("0") or "0"],
            "subscriptions": self.subscriptions,
            "invoices": self.invoices,
            "notices": self.notices,
            "coupons": self.coupons,
            "charges": self.charges,
            "told_charges": [f"{MARK}{one}" for one in self.charges],
            "numbers": [stored for form in forms for stored in stored_forms(form)],
        }

    @cached_property
    def needles(self) -> frozenset[str]:
        """The words by which a line of a file is known to be theirs: the reference, and each number."""
        written = (form for number in self.numbers for form in _written(number))
        bare = self.reference.lstrip("0")  # as spreadsheets write it
        return frozenset({self.reference, *([bare] if len(bare) >= _TELLING else []), *written})


def find_person(connection: Connection, reference: str) -> Person:
    """Find the keys under which something of a customer lies.

    :param reference: 9 digits.
    :raises BadInput: when it is none.
    """
    if not is_reference(reference):
        raise BadInput("a customer's reference has 9 digits")
    named = {"reference": reference}

    def column(statement: str, **values: Any) -> list[Any]:
        return list(connection.scalars(text(statement), {**named, **values}))

    subscriptions = column("SELECT id FROM subscription WHERE customer_reference = :reference ORDER BY id")
    verifications = column("SELECT id::text FROM verification WHERE customer_reference = :reference")
    invoices = column("SELECT DISTINCT invoice_number FROM invoice WHERE customer_reference = :reference")
    # Codes belong to no subscription; their subject is what they verify. A corrected bill may have gone to
    # another customer: it is theirs then, and only what was sent for a subscription of this one is this
    # one's.
    notices = column(
        "SELECT id FROM notice WHERE subscription_id = ANY(:subscriptions) "
        "OR subscription_id IS NULL AND subject = ANY(:verifications) ORDER BY id",
        subscriptions=subscriptions,
        verifications=verifications,
    )
    stored = column(
        "SELECT phone FROM subscription WHERE customer_reference = :reference "
        "UNION SELECT phone FROM coupon WHERE customer_reference = :reference "
        "UNION SELECT phone FROM verification WHERE customer_reference = :reference "
        "UNION SELECT phone FROM notice WHERE id = ANY(:notices)",
        notices=notices,
    )
    return Person(
        reference=reference,
        subscriptions=subscriptions,
        invoices=invoices,
        notices=notices,
        coupons=column("SELECT coupon_id FROM coupon WHERE customer_reference = :reference"),
        charges=column("SELECT id FROM fee_charge WHERE customer_reference = :reference"),
        numbers=frozenset(opened(one) for one in stored if one),
    )


def opened_document(value: Any) -> Any:
    """Return what a document said before it was sealed."""
    if isinstance(value, dict):
        return {name: opened_document(one) for name, one in value.items()}
    if isinstance(value, list):
        return [opened_document(one) for one in value]
    return opened(value) if isinstance(value, str) and value.startswith(PREFIX) else value


def lines_in_files(person: Person) -> Iterator[tuple[Path, list[str]]]:
    """Give the files for people that hold lines of this customer, each with those lines as they are."""
    settings = get_settings()
    for folder in (*clerks_folders(), settings.lists, settings.outbox):
        for path in files_in(folder):
            if path.suffix.lower() == ".csv" and (lines := [",".join(row) for row in _theirs(path, person)]):
                yield path, lines


def rows_of_file(path: Path) -> Iterator[list[str]]:
    """Read a file for clerks, cell by cell, whatever was in it when it came."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        yield from csv.reader(stream)


def is_theirs(row: list[str], person: Person) -> bool:
    """Tell whether a row of a file names this customer, or one of their numbers."""
    # A cell that a spreadsheet would take for a formula was written with a mark before it.
    return any("".join(cell.split()).lstrip("'") in person.needles for cell in row)


def _theirs(path: Path, person: Person) -> Iterator[list[str]]:
    return (row for row in rows_of_file(path) if is_theirs(row, person))


def _written(number: str) -> tuple[str, ...]:
    """Return the usual ways of writing a number without blanks."""
    digits = number.removeprefix("+")
    return (number, digits, f"00{digits}", digits.removeprefix("216"))
