"""Invented customers and coupons for the subscribers of a sample, with chosen shares of what can be wrong.

Called by the sample of extracts, which invents the subscribers. Each of them has one good coupon; what is
wrong is on further coupons, of customers who get no bill, so that who is subscribed in the end is the same.
What must become of each is known by how it was made, not by asking the code that is tested with it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from fatoura.customers.records import COLUMNS as CUSTOMER_COLUMNS
from fatoura.enrolment.records import COLUMNS
from fatoura.landing import landing_path
from fatoura.manifests import FILE_NAME
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from fatoura.landing import LandingPath

COUPON_DEFECTS: dict[str, str] = {
    "unsigned": "coupon without a signature",
    "bad_phone": "phone that is a fixed line, foreign, or too short",
    "short_reference": "customer reference of 8 digits",
    "unknown_wording": "wording version that no coupon was printed with",
    "future_signature": "signed in more than a year from now",
    "conflicting_copies": "the same coupon twice in the batch, with different phones",
    "repeated_coupon": "the same coupon twice in the batch, alike: no defect",
    "unknown_customer": "reference that nobody has: it waits",
    "closed_contract": "customer whose contract is closed",
    "conflicting_coupons": "two coupons of one customer and day with different phones",
    "many_contracts": "phone that is on the coupons of too many customers",
    "crossed_out": "coupon that is crossed out",
    "older_signature": "second coupon of a subscriber, with an older signature and another phone",
}
"""Kinds of defect of coupons whose share counts subscribers, and what each looks like."""

CONTENTS = ("customers", "coupons")
"""The folders of the feeds: coupons are judged by whether their customer is known."""

Customers = Callable[[np.ndarray], pa.StringArray]
"""Gives the references of customers by their numbers."""

_NEW_WORDING = np.datetime64("2026-01-01")
_OLDEST = np.datetime64("2020-01-01")


@dataclass
class CouponsWritten:
    """The batch, and what must become of its rows.

    :param rows: of the batch, copies and bad ones included.
    :param outcomes: of coupons: how many, by outcome and reason.
    :param set_aside: of rows: how many, by reason.
    :param each: where the coupons or rows of each end lie in the batch: first and last row.
    """

    name: str
    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    each: dict[str, list[list[int]]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it for `expected.json`."""
        return {
            "batch": self.name,
            "rows": self.rows,
            "outcomes": dict(sorted(self.outcomes.items())),
            "set_aside": dict(sorted(self.set_aside.items())),
            "each": [{"end": end, "row_numbers": ranges} for end, ranges in self.each.items()],
        }

    def add(self, rows: int, *, outcome: str = "", coupons: int | None = None, flaw: str = "") -> None:
        """Note what must become of the next rows."""
        if not rows:
            return
        first, self.rows = self.rows + 1, self.rows + rows
        if outcome:
            self.outcomes[outcome] += rows if coupons is None else coupons
        if flaw:
            self.set_aside[flaw] += rows
        ranges = self.each.setdefault(outcome or flaw, [])
        if ranges and ranges[-1][1] == first - 1:
            ranges[-1][1] = self.rows
        else:
            ranges.append([first, self.rows])


@dataclass
class Enrolment:
    """What to write.

    :param name: of the feed and the batch.
    :param issued: the day of the extract: nobody has signed later.
    :param subscribers: tables of subscribers, as in `subscribers.csv`.
    :param count: how many subscribers there are.
    :param next_customer: number of the first customer whom the extract does not know.
    :param next_phone: number of the first phone that no subscriber has.
    :param references: of customers by their numbers.
    :param register: tables of all customers whom the extract knows, in the columns of their feed.
    :param defects: share of subscribers by kind.
    """

    name: str
    issued: date
    subscribers: Iterable[pa.Table]
    count: int
    next_customer: int
    next_phone: int
    references: Customers
    register: Iterable[pa.Table]
    district: str
    defects: Mapping[str, float]


def write_enrolment(folder: Path, enrolment: Enrolment) -> CouponsWritten:
    """Write the feed of customers and the batch of coupons below a folder, each with its manifest."""
    return _Writing(enrolment).write(folder)


def deliver_enrolment(folder: Path, name: str, landing: str | LandingPath | None = None) -> list[LandingPath]:
    """Copy the customers and coupons of a sample into the landing folder: customers first, manifests last.

    :param name: of the feed and the batch.
    """
    delivered = []
    for content in CONTENTS:
        target = landing_path(landing) / content / name
        target.mkdir(parents=True, exist_ok=True)
        for file in (f"{content}.csv", FILE_NAME):
            with (folder / content / name / file).open("rb") as original, (target / file).open("wb") as copy:
                while chunk := original.read(1 << 20):
                    copy.write(chunk)
        delivered.append(target)
    return delivered


class _Part:
    """A CSV file that counts its rows and takes its checksum while it is written."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self.file, self.columns = file, columns
        self.digest = hashlib.sha256()
        self.rows = 0
        self._write((",".join(columns) + "\n").encode())

    def table(self, table: pa.Table) -> None:
        """Write the rows of a table."""
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
        written = pa.BufferOutputStream()
        pyarrow.csv.write_csv(table.select(list(self.columns)), written, options)
        self._write(written.getvalue().to_pybytes())
        self.rows += table.num_rows

    def row(self, values: Mapping[str, str]) -> None:
        """Write one row."""
        self._write((",".join(values[column] for column in self.columns) + "\n").encode())
        self.rows += 1

    def _write(self, content: bytes) -> None:
        self.digest.update(content)
        self.file.write(content)


class _Writing:
    """A sample of coupons under way."""

    def __init__(self, enrolment: Enrolment) -> None:
        self.enrolment = enrolment
        self.written = CouponsWritten(enrolment.name)
        self.customer = enrolment.next_customer
        self.phone = enrolment.next_phone
        self.further: list[dict[str, str]] = []
        self.closed: set[str] = set()
        self.register: list[str] = []

    def write(self, folder: Path) -> CouponsWritten:
        """Write both feeds."""
        first: list[dict[str, str]] = []
        with _written(folder / "coupons" / self.enrolment.name, "coupons", "batch", COLUMNS) as coupons:
            for table in self.enrolment.subscribers:
                good = _good(table)
                if len(first) < self._wanted("older_signature"):
                    first += good.to_pylist()[: self._wanted("older_signature") - len(first)]
                coupons.table(good)
            self.written.add(coupons.rows, outcome="enrolled")
            self._add_defects(first)
            for row in self.further:
                coupons.row(row)
        with _written(
            folder / "customers" / self.enrolment.name, "customers", "feed", CUSTOMER_COLUMNS
        ) as customers:
            for table in self.enrolment.register:
                customers.table(table)
            for reference in self.register:
                contract = "closed" if reference in self.closed else "open"
                values = (reference, self.enrolment.district, contract)
                customers.row(dict(zip(CUSTOMER_COLUMNS, values, strict=True)))
        return self.written

    def _wanted(self, kind: str) -> int:
        return round(self.enrolment.count * self.enrolment.defects.get(kind, 0))

    def _add_defects(self, subscribers: Sequence[Mapping[str, str]]) -> None:
        for kind in COUPON_DEFECTS:
            getattr(self, f"_{kind}")(self._wanted(kind), subscribers)

    def _next_customer(self) -> str:
        reference: str = self.enrolment.references(np.array([self.customer]))[0].as_py()
        self.customer += 1
        return reference

    def _coupon(self, *, reference: str = "", **changed: str) -> dict[str, str]:
        """Return a good coupon of another customer, or of this one."""
        if not reference:
            reference = self._next_customer()
            self.register.append(reference)
        self.phone += 1
        return {
            "coupon_id": f"X{len(self.further) + 1:08d}",
            "scan_id": f"SX{len(self.further) + 1:08d}",
            "customer_reference": reference,
            "phone": f"+216{self.phone:08d}",
            "language": "ar",
            "signed": "true",
            "signed_on": str(self.enrolment.issued - timedelta(days=40)),
            "wording_version": "2020-1",
            "crossed_out": "false",
            **changed,
        }

    def _set_aside(self, count: int, flaw: str, *, reference: str = "", **wrong: str) -> None:
        for _ in range(count):
            self.further.append(self._coupon(reference=reference, **wrong))
        self.written.add(count, flaw=flaw)

    def _unsigned(self, count: int, _: object) -> None:
        self._set_aside(count, "signed: not_signed", signed="false", signed_on="")

    def _bad_phone(self, count: int, _: object) -> None:
        kinds = (("71000001", "fixed_line"), ("+33612345678", "foreign"), ("2000001", "too_short"))
        for number, (phone, flaw) in enumerate(kinds):
            share = count // len(kinds) + (number < count % len(kinds))
            self._set_aside(share, f"phone: {flaw}", phone=phone)

    def _short_reference(self, count: int, _: object) -> None:
        self._set_aside(count, "customer_reference: not_nine_digits", reference="12345678")

    def _unknown_wording(self, count: int, _: object) -> None:
        self._set_aside(count, "wording_version: unknown", wording_version="draft")

    def _future_signature(self, count: int, _: object) -> None:
        day = str(self.enrolment.issued + timedelta(days=800))
        self._set_aside(count, "signed_on: in_the_future", signed_on=day)

    def _conflicting_copies(self, count: int, _: object) -> None:
        for _ in range(count):
            one = self._coupon()
            self.further += [one, {**one, "phone": self._coupon(reference="x")["phone"]}]
        self.written.add(2 * count, flaw="coupon_id: conflicting_rows")

    def _repeated_coupon(self, count: int, _: object) -> None:
        for _ in range(count):
            self.further += [self._coupon()] * 2
        self.written.add(2 * count, outcome="enrolled", coupons=count)

    def _unknown_customer(self, count: int, _: object) -> None:
        for _ in range(count):
            self.further.append(self._coupon(reference=self._next_customer()))
        self.written.add(count, outcome="waits")

    def _closed_contract(self, count: int, _: object) -> None:
        for _ in range(count):
            one = self._coupon()
            self.closed.add(one["customer_reference"])
            self.further.append(one)
        self.written.add(count, outcome="refused contract_closed")

    def _conflicting_coupons(self, count: int, _: object) -> None:
        for _ in range(count):
            one = self._coupon()
            self.further.append(one)
            self.further.append(self._coupon(reference=one["customer_reference"]))
        self.written.add(2 * count, outcome="refused conflicting_coupons")

    def _many_contracts(self, count: int, _: object) -> None:
        most = get_settings().phone_contracts + 1
        groups = round(count / most) or int(count > 0)
        for _ in range(groups):
            phone = self._coupon(reference="x")["phone"]
            for _ in range(most):
                self.further.append(self._coupon(phone=phone))
        self.written.add(groups * most, outcome="refused many_contracts")

    def _crossed_out(self, count: int, _: object) -> None:
        for _ in range(count):
            self.further.append(self._coupon(crossed_out="true", signed="false", signed_on=""))
        self.written.add(count, outcome="crossed_out")

    def _older_signature(self, count: int, subscribers: Sequence[Mapping[str, str]]) -> None:
        for one in subscribers[:count]:
            self.further.append(
                self._coupon(
                    reference=one["customer_reference"],
                    signed_on=str(np.datetime64(one["signed_on"]) - 1),
                )
            )
        self.written.add(min(count, len(subscribers)), outcome="superseded")


def _good(subscribers: pa.Table) -> pa.Table:
    """Return a good coupon for each subscriber, as texts."""
    references = subscribers["customer_reference"]
    days = np.maximum(subscribers["consent_date"].to_numpy().astype("datetime64[D]"), _OLDEST + 2)
    size = subscribers.num_rows
    return pa.table(
        {
            "coupon_id": pc.binary_join_element_wise("K", references, ""),
            "scan_id": pc.binary_join_element_wise("S", references, ""),
            "customer_reference": references,
            "phone": subscribers["phone"],
            "language": subscribers["language"],
            "signed": pa.array(["true"] * size),
            "signed_on": pa.array(days.astype(str)),
            "wording_version": pa.array(np.where(days < _NEW_WORDING, "2020-1", "2026-1")),
            "crossed_out": pa.array(["false"] * size),
        }
    )


@contextmanager
def _written(folder: Path, content: str, named: str, columns: Sequence[str]) -> Iterator[_Part]:
    """Write the one part of a feed and, when all is well, the manifest after it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE_NAME).unlink(missing_ok=True)
    with (folder / f"{content}.csv").open("wb") as file:
        part = _Part(file, columns)
        yield part
    declared = {"name": f"{content}.csv", "rows": part.rows, "sha256": part.digest.hexdigest()}
    manifest = {named: folder.name, "rows": part.rows, "parts": [declared]}
    (folder / FILE_NAME).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
