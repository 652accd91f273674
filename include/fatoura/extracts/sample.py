"""The generator: realistic, seeded extracts of any size, with chosen shares of each defect.

Called by `fatoura sample`, the demo, tests and the bench. Everything in a sample is invented. Writes files
only; what must become of each row is written beside them, by the rules of the contract and not by asking
the code that is tested with it.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import IO, TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from fatoura import clock
from fatoura.cycles.keys import ExtractKey
from fatoura.enrolment.sample import COUPON_DEFECTS, CouponsWritten, Enrolment, write_enrolment
from fatoura.errors import BadInput
from fatoura.extracts.columns import COLUMNS
from fatoura.extracts.districts import read_districts
from fatoura.extracts.landing import extract_folder
from fatoura.extracts.manifest import Manifest
from fatoura.landing import landing_path
from fatoura.manifests import FILE_NAME, Part
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fatoura.landing import LandingPath

ROW_DEFECTS: dict[str, str] = {
    "bad_reference": "customer reference of 8 or 10 digits, with a letter or spaces",
    "bad_invoice_number": "invoice number with characters that none has, or too long",
    "unreadable_amount": "amount with a point, a space, letters or an underscore",
    "amount_out_of_bounds": "amount of a million dinars or more, either way",
    "unreadable_date": "period, due or issue date in another form, or a day that no calendar has",
    "period_reversed": "period that ends before it starts, or on the same day",
    "period_too_long": "period of more than 200 days",
    "due_before_issue": "due date on the issue date or before",
    "due_too_late": "due date more than 120 days after the issue date",
    "wrong_issue_date": "issue date other than the manifest's",
    "unknown_district": "district code that is not known",
    "bad_supply": "supply that is none",
    "bad_estimated": "estimated neither true nor false",
    "missing_value": "one value left out",
    "ragged": "record with too few or too many fields (CSV only)",
    "not_utf8": "record in Latin-1 (CSV only)",
    "duplicate": "record twice, alike",
    "conflicting_duplicate": "two records with one invoice number and two amounts",
    "zero_balance": "nothing to pay: no defect, but no notice either",
    "credit_balance": "a credit: no defect, but no notice either",
    "unknown_column": "a further column `remark`, filled in this share of the records",
}
"""Kinds of defect whose share counts records, and what each looks like."""

BATCH_DEFECTS: dict[str, str] = {
    "wrong_rows": "manifest's row count too high by this share",
    "wrong_total": "manifest's total too high by this share",
    "wrong_sha256": "manifest's checksum of the last part wrong",
    "truncated": "last part cut short by this share after its checksum was taken",
    "missing_column": "column `estimated` missing",
}
"""Kinds of defect for which the whole extract must be refused."""

Format = Literal["csv", "parquet"]

_CSV_ONLY = ("ragged", "not_utf8")

_CHUNK = 50_000

_NO_INVOICE_SHARE = 0.02
_SHARED_PHONE_SHARE = 0.03
_ARABIC_SHARE = 0.8
_COUPON_SHARE = 0.75

FIRST_PHONE = 20_000_000
"""Phones are counted upwards from +216 20 000 000: Tunisian mobiles in form, taken from nobody."""

_LAST_PHONE = 29_999_999

_MEAN_AMOUNT = 85_352
"""Millimes."""

_FIRST_DEADLINE = 21
"""Days from the issue date to the earliest due date."""


@dataclass(frozen=True)
class Sample:
    """What to write.

    :param invoices: records, duplicates and bad ones included.
    :param subscribed: share of the customers who subscribed.
    :param seed: customers depend on it alone; amounts and dates also on the cycle.
    :param issue_date: none: the 20th of the month that the cycle's key begins with, or today.
    :param defects: share by kind; a row bears one defect at most.
    :param coupon_defects: share of subscribers by kind: so many further coupons are wrong.
    """

    cycle: str
    invoices: int = 2000
    subscribed: float = 0.5
    seed: int = 1
    issue_date: date | None = None
    defects: Mapping[str, float] = field(default_factory=dict)
    format: Format = "csv"
    parts: int = 1
    coupon_defects: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleWritten:
    """What was written: the manifest's figures, and how many rows must end in each bucket of the ledger."""

    manifest: Manifest
    subscribers: int
    buckets: dict[str, int]
    refused: list[str]
    coupons: CouponsWritten


def issue_date_of(cycle: str) -> date:
    """Return the issue date of a sample whose cycle's key begins with a month, else today."""
    match = re.match(r"(\d{4})-(0[1-9]|1[0-2])(?!\d)", cycle)
    if match is None or match[1] == "0000":
        return clock.today()
    return date(int(match[1]), int(match[2]), 20)


def write_sample(folder: Path, sample: Sample) -> SampleWritten:
    """Write an extract, its manifest, `subscribers.csv` and `expected.json` into a folder.

    The manifest comes last. What an earlier sample left in the folder is removed first. Below it, in
    `customers/` and `coupons/`, lie the feeds by which the same subscribers enrol, in folders of the cycle's
    name. The same sample gives the same bytes.

    :raises BadInput: when the sample asks for what cannot be.
    """
    _check(sample)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE_NAME).unlink(missing_ok=True)
    for stale in folder.iterdir():
        if re.fullmatch(r"invoices(-\d{4,})?\.(csv|parquet)", stale.name):
            stale.unlink()
    writing = _Writing(sample)
    parts = [_write_part(folder / name, writing, rows) for name, rows in _part_rows(sample)]
    subscribers = _write_subscribers(folder / "subscribers.csv", writing)
    coupons = _write_enrolment(folder, writing, subscribers)
    manifest = _manifest(folder, sample, writing, parts)
    buckets = _write_expected(folder / "expected.json", writing, coupons)
    (folder / FILE_NAME).write_text(json.dumps(manifest.document(), indent=2) + "\n", encoding="utf-8")
    return SampleWritten(manifest, subscribers, buckets, writing.refused, coupons)


def deliver(folder: Path, landing: str | LandingPath | None = None) -> LandingPath:
    """Copy the extract of a folder into the landing folder as the billing system does: its manifest last.

    :raises BadInput: when the manifest's cycle is no key.
    """
    content = (folder / FILE_NAME).read_bytes()
    manifest = Manifest.model_validate_json(content)
    target = extract_folder(landing_path(landing), ExtractKey.parse(manifest.cycle))
    target.mkdir(parents=True, exist_ok=True)
    for part in manifest.parts:
        with (folder / part.name).open("rb") as source, (target / part.name).open("wb") as copy:
            while chunk := source.read(1 << 20):
                copy.write(chunk)
    with (target / FILE_NAME).open("wb") as copy:
        copy.write(content)
    return target


def _check(sample: Sample) -> None:
    problems = []
    if get_settings().profile == "production":
        problems.append("the profile is production: invented phones could belong to somebody")
    if ExtractKey.parse(sample.cycle).supplement:
        problems.append("a sample is a cycle's own extract, not a supplement")
    if sample.invoices < 0 or sample.parts < 1:
        problems.append("there are no fewer than 0 invoices and 1 part")
    if not 0 <= sample.subscribed <= 1:
        problems.append("the share of subscribers lies between 0 and 1")
    for kind, share in sample.defects.items():
        if kind not in ROW_DEFECTS and kind not in BATCH_DEFECTS:
            problems.append(f"{kind} is no kind of defect")
        elif not 0 <= share <= 1:
            problems.append(f"the share of {kind} lies between 0 and 1")
        elif share and kind in _CSV_ONLY and sample.format != "csv":
            problems.append(f"{kind} is a defect of CSV files; Parquet has no such thing")
    for kind, share in sample.coupon_defects.items():
        if kind not in COUPON_DEFECTS:
            problems.append(f"{kind} is no kind of defect of coupons")
        elif not 0 <= share <= 1:
            problems.append(f"the share of {kind} lies between 0 and 1")
    if problems:
        raise BadInput("no such sample can be written: " + "; ".join(problems))


def _part_rows(sample: Sample) -> list[tuple[str, int]]:
    if sample.parts == 1:
        return [(f"invoices.{sample.format}", sample.invoices)]
    size, more = divmod(sample.invoices, sample.parts)
    return [(f"invoices-{n:04d}.{sample.format}", size + (n <= more)) for n in range(1, sample.parts + 1)]


# --- Customers: they depend on the seed alone ---------------------------------------------------------


def _references(customers: np.ndarray) -> pa.StringArray:
    # A step that shares no factor with 10**9: all different, and scattered like real ones.
    numbers = (customers.astype(np.int64) * 387_420_489 + 42_580_496) % 10**9
    return _padded(numbers, 9)


def _are_subscribed(customers: np.ndarray, share: float) -> np.ndarray:
    # Spread evenly, so that the share is exact: 0.5 of 2,000 is 1,000.
    return np.floor((customers + 1) * share + 1e-9) > np.floor(customers * share + 1e-9)


def _padded(numbers: np.ndarray, width: int) -> pa.StringArray:
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")


def _customer_count(sample: Sample) -> int:
    """Return how many customers a sample has: some subscribers get no bill."""
    return sample.invoices + round(sample.invoices * sample.subscribed * _NO_INVOICE_SHARE)


def _write_subscribers(path: Path, writing: _Writing) -> int:
    count = 0
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("wb") as file:
        file.write(b"customer_reference,phone,language,channel,consent_date\n")
        for table in _subscribers(writing):
            pyarrow.csv.write_csv(table, file, options)
            count += table.num_rows
    return count


def _subscribers(writing: _Writing) -> Iterator[pa.Table]:
    sample, customers_in_all = writing.sample, _customer_count(writing.sample)
    count = 0
    for start in range(0, customers_in_all, _CHUNK):
        customers = np.arange(start, min(start + _CHUNK, customers_in_all))
        chosen = customers[_are_subscribed(customers, sample.subscribed) | (customers >= sample.invoices)]
        size = len(chosen)
        if not size:
            continue
        random = np.random.default_rng([sample.seed, 1, start])
        phones = FIRST_PHONE + (count + np.arange(size)) % (_LAST_PHONE - FIRST_PHONE + 1)
        # Some households have the contract of a shop or a parent on the same phone.
        shared = random.random(size) < _SHARED_PHONE_SHARE
        shared[0] = False
        phones[shared] = phones[np.flatnonzero(shared) - 1]
        days = np.datetime64(writing.issue_date) - random.integers(30, 900, size)
        yield pa.table(
            {
                "customer_reference": _references(chosen),
                "phone": pc.binary_join_element_wise("+216", _padded(phones, 8), ""),
                "language": np.where(random.random(size) < _ARABIC_SHARE, "ar", "fr"),
                "channel": np.where(random.random(size) < _COUPON_SHARE, "coupon", "web"),
                "consent_date": pa.array(days),
            }
        )
        count += size


def _register(writing: _Writing) -> Iterator[pa.Table]:
    """Yield all customers, with the districts that their invoices say."""
    sample = writing.sample
    for start in range(0, _customer_count(sample), _CHUNK):
        customers = np.arange(start, min(start + _CHUNK, _customer_count(sample)))
        yield pa.table(
            {
                "customer_reference": _references(customers),
                "district": pa.array(writing.districts_of(start, len(customers))),
                "contract": pa.array(["open"] * len(customers)),
            }
        )


def _write_enrolment(folder: Path, writing: _Writing, subscribers: int) -> CouponsWritten:
    sample = writing.sample
    return write_enrolment(
        folder,
        Enrolment(
            name=sample.cycle,
            issued=writing.issue_date,
            subscribers=_subscribers(writing),
            count=subscribers,
            next_customer=_customer_count(sample),
            next_phone=FIRST_PHONE + subscribers % (_LAST_PHONE - FIRST_PHONE + 1),
            references=_references,
            register=_register(writing),
            district=str(writing.districts[0]),
            defects=sample.coupon_defects,
        ),
    )


# --- Invoices ----------------------------------------------------------------------------------------


class _Writing:
    """A sample under way: which row bears which defect, and what has become of the rows so far."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.issue_date = sample.issue_date or issue_date_of(sample.cycle)
        self.prefix = _number_prefix(sample.cycle)
        self.entropy = [sample.seed, 2, zlib.crc32(sample.cycle.encode())]
        self.districts = np.array([district.code for district in read_districts()], object)
        weights = np.random.default_rng([sample.seed, 3]).dirichlet(np.full(len(self.districts), 2.0))
        self.district_edges = np.cumsum(weights)[:-1]
        self.done = 0
        self.total = 0
        shares = {kind: share for kind, share in sample.defects.items() if share > 0}
        self.refused = [kind for kind in BATCH_DEFECTS if kind in shares]
        self.remark_share = shares.pop("unknown_column", 0.0)
        self.kinds = [kind for kind in ROW_DEFECTS if kind in shares]
        self.needs_text = bool(_NEED_TEXT & set(self.kinds))
        self.columns = [name for name in COLUMNS if "missing_column" not in shares or name != "estimated"]
        self.defect = self._scatter(shares)
        # Where each row must end: an index into `ends`, in the order of the rows.
        self.end = np.zeros(sample.invoices, np.uint8)
        self.ends: list[tuple[str, str | None]] = [("noticed", None)]

    def _scatter(self, shares: dict[str, float]) -> np.ndarray:
        """Give each row its kind of defect, as an index into `kinds` plus one; 0 for none."""
        count = self.sample.invoices
        wanted = [round(shares[kind] * count) for kind in self.kinds]
        # A conflict takes two rows: the second is one without any other defect.
        wanted = [
            n // 2 if kind == "conflicting_duplicate" else n
            for kind, n in zip(self.kinds, wanted, strict=True)
        ]
        if sum(wanted) > count:
            raise BadInput("no such sample can be written: the shares of defects make more than 1")
        rows = np.random.default_rng([*self.entropy, 0]).permutation(count)
        defect = np.zeros(count, np.uint8)
        at = 0
        for index, n in enumerate(wanted, 1):
            defect[rows[at : at + n]] = index
            at += n
        return defect

    def districts_of(self, start: int, count: int) -> np.ndarray:
        """Return the districts of some consecutive customers."""
        place = np.random.default_rng([self.sample.seed, 4, start]).random((count, 2)).T[0]
        districts: np.ndarray = self.districts[np.searchsorted(self.district_edges, place)]
        return districts

    def ends_at(self, bucket: str, reason: str | None) -> int:
        """Return the index of a bucket and reason."""
        if (bucket, reason) not in self.ends:
            self.ends.append((bucket, reason))
        return self.ends.index((bucket, reason))

    def chunk(self, count: int) -> _Chunk:
        """Make the next records."""
        chunk = _Chunk(self, self.done, count)
        self.end[self.done : self.done + count] = chunk.end
        self.done += count
        self.total += chunk.total
        return chunk


def _number_prefix(cycle: str) -> str:
    """Return what invoice numbers of a cycle begin with: unlike those of any other cycle, 22 at most."""
    plain = cycle.upper()
    if len(plain) <= 22 and re.fullmatch(r"[A-Z0-9-]+", plain) and plain == cycle:
        return plain
    return hashlib.sha256(cycle.encode()).hexdigest()[:16].upper()


# A record keeps its row and what must become of it: the reason code of the quality gate.
_Bad = Iterator[tuple[int, str]]

# Which code a column's rule has when its value is missing.
_MISSING = {
    "invoice_number": "invoice_number_form",
    "customer_reference": "customer_reference_form",
    "district": "district_unknown",
    "supply": "supply_unknown",
    "period_start": "period_unreadable",
    "period_end": "period_unreadable",
    "amount_due_millimes": "amount_unreadable",
    "due_date": "due_date_unreadable",
    "issue_date": "issue_date_unreadable",
    "estimated": "estimated_unreadable",
}

# Kinds after which a typed Parquet column could not hold its values.
_NEED_TEXT = {"unreadable_amount", "unreadable_date", "bad_estimated", "missing_value"}


class _Chunk:
    """Some consecutive records: good ones first, then each defect put into the rows that are to bear it."""

    def __init__(self, writing: _Writing, start: int, count: int) -> None:
        self.writing = writing
        self.random = np.random.default_rng([*writing.entropy, 1, start])
        self.issued = np.datetime64(writing.issue_date)
        self.values = self._good_values(start, count)
        self.texts: dict[str, dict[int, str]] = {name: {} for name in COLUMNS}
        self.bytes: dict[int, Callable[[bytes], bytes]] = {}
        marks = writing.defect[start : start + count]
        self.partners = list(self.random.permutation(np.flatnonzero(marks == 0)))
        rejected: dict[int, str] = {}
        for index, kind in enumerate(writing.kinds, 1):
            rows = np.flatnonzero(marks == index)
            rejected |= dict(getattr(self, f"_{kind}")(rows))
        self.end = self._ends(rejected)
        amounts = self.values["amount_due_millimes"]
        replaced = list(self.texts["amount_due_millimes"])
        self.total = int(amounts.sum()) - int(amounts[replaced].sum())

    def _good_values(self, start: int, count: int) -> dict[str, np.ndarray]:
        customers = np.arange(start, start + count)
        home = np.random.default_rng([self.writing.sample.seed, 4, start])
        place, supply = home.random((count, 2)).T
        supplies = np.array(["electricity", "both", "gas"], object)
        spread = 0.55
        amounts = self.random.lognormal(np.log(_MEAN_AMOUNT) - spread**2 / 2, spread, count)
        period_end = self.issued - self.random.integers(3, 13, count)
        due = self.issued + self.random.integers(_FIRST_DEADLINE, _FIRST_DEADLINE + 12, count)
        return {
            "number": customers + 1,
            "customer": customers,
            "district": self.writing.districts[np.searchsorted(self.writing.district_edges, place)],
            "supply": supplies[np.searchsorted([0.7, 0.95], supply)],
            "period_start": period_end - self.random.integers(54, 67, count),
            "period_end": period_end,
            "amount_due_millimes": np.maximum(amounts.astype(np.int64), 500),
            # Nobody is asked to pay by a Saturday or Sunday.
            "due_date": np.busday_offset(due, 0, roll="forward"),
            "issue_date": np.full(count, self.issued),
            "estimated": self.random.random(count) < 0.12,
        }

    def _ends(self, rejected: dict[int, str]) -> np.ndarray:
        writing, amounts = self.writing, self.values["amount_due_millimes"]
        end = np.full(len(amounts), writing.ends_at("noticed", None), np.uint8)
        end[amounts == 0] = writing.ends_at("suppressed", "zero_balance")
        end[amounts < 0] = writing.ends_at("suppressed", "credit_balance")
        subscribed = _are_subscribed(self.values["customer"], writing.sample.subscribed)
        end[~subscribed] = writing.ends_at("unsubscribed", "not_subscribed")
        for row, code in rejected.items():
            end[row] = writing.ends_at("rejected", code)
        return end

    def table(self) -> pa.Table:
        """Return the records as columns, typed as long as no defect needs text."""
        values = self.values
        number = pc.binary_join_element_wise(self.writing.prefix, _padded(values["number"], 7), "-")
        columns = {
            name: pa.array(values[name], pa.string() if values[name].dtype == object else None)
            for name in COLUMNS
            if name in values
        }
        columns |= {"invoice_number": number, "customer_reference": _references(values["customer"])}
        for name, replaced in self.texts.items():
            if self.writing.needs_text:
                columns[name] = columns[name].cast(pa.string())
            if replaced:
                texts = columns[name].to_pylist()
                for row, text in replaced.items():
                    texts[row] = text
                columns[name] = pa.array(texts, pa.string())
        ordered = {name: columns[name] for name in self.writing.columns}
        if self.writing.remark_share:
            ordered = self._with_remark(ordered)
        return pa.table(ordered)

    def _with_remark(self, columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
        remarks = np.array(["", 'relevé "estimé", à vérifier', "compteur inaccessible", "عداد مغلق"], object)
        filled = self.random.random(len(self.values["number"])) < self.writing.remark_share
        chosen = np.where(filled, self.random.integers(1, len(remarks), len(filled)), 0)
        # In the middle: the last columns are those that a ragged record loses.
        remark = {"remark": pa.array(remarks[chosen], pa.string())}
        first = list(columns)[:3]
        return {name: columns[name] for name in first} | remark | columns

    def _pick(self, *texts: str) -> str:
        return str(self.random.choice(texts))

    def _partners(self, rows: np.ndarray) -> np.ndarray:
        if len(self.partners) < len(rows):
            raise BadInput("no such sample can be written: too few good records are left to be doubled")
        return np.array([self.partners.pop() for _ in rows], int)

    # One method a kind of defect: it puts the defect into rows of the chunk, and says which are rejected.

    def _bad_reference(self, rows: np.ndarray) -> _Bad:
        references = _references(self.values["customer"]).to_pylist()
        for row in rows:
            good = references[row]
            self.texts["customer_reference"][row] = self._pick(
                good[1:], good + "0", f"{good[:5]} {good[5:8]} {good[8]}", "O" + good[1:]
            )
            yield row, "customer_reference_form"

    def _bad_invoice_number(self, rows: np.ndarray) -> _Bad:
        for row in rows:
            good = f"{self.writing.prefix}-{self.values['number'][row]:07d}"
            self.texts["invoice_number"][row] = self._pick(
                good.lower() + "a", good.replace("-", "_"), good + "#", good.ljust(33, "0")
            )
            yield row, "invoice_number_form"

    def _unreadable_amount(self, rows: np.ndarray) -> _Bad:
        for row in rows:
            good = int(self.values["amount_due_millimes"][row])
            self.texts["amount_due_millimes"][row] = self._pick(
                f"{good / 1000:.3f}", f" {good}", f"{good} DT", f"{good:_}", "12O50", "--", "1e5"
            )
            yield row, "amount_unreadable"

    def _amount_out_of_bounds(self, rows: np.ndarray) -> _Bad:
        sizes = np.array([10**9, -(10**9), 10**9 + 85_352, 10**12])
        self.values["amount_due_millimes"][rows] = self.random.choice(sizes, len(rows))
        return ((row, "amount_out_of_bounds") for row in rows)

    def _unreadable_date(self, rows: np.ndarray) -> _Bad:
        codes = {
            "due_date": "due_date_unreadable",
            "issue_date": "issue_date_unreadable",
            "period_start": "period_unreadable",
            "period_end": "period_unreadable",
        }
        for row in rows:
            column = self._pick(*codes)
            day = self.values[column][row].item()
            self.texts[column][row] = self._pick(
                f"{day:%d/%m/%Y}", f"{day:%Y%m%d}", f"{day:%Y}-13-01", f"{day:%Y}-02-30", f"{day} 00:00"
            )
            yield row, codes[column]

    def _period_reversed(self, rows: np.ndarray) -> _Bad:
        values = self.values
        starts, ends = values["period_start"][rows], values["period_end"][rows]
        same_day = self.random.random(len(rows)) < 0.3
        values["period_start"][rows] = ends
        values["period_end"][rows] = np.where(same_day, ends, starts)
        return ((row, "period_reversed") for row in rows)

    def _period_too_long(self, rows: np.ndarray) -> _Bad:
        days = self.random.integers(201, 400, len(rows))
        self.values["period_start"][rows] = self.values["period_end"][rows] - days
        return ((row, "period_too_long") for row in rows)

    def _due_before_issue(self, rows: np.ndarray) -> _Bad:
        self.values["due_date"][rows] = self.issued - self.random.integers(0, 30, len(rows))
        return ((row, "due_date_not_after_issue") for row in rows)

    def _due_too_late(self, rows: np.ndarray) -> _Bad:
        self.values["due_date"][rows] = self.issued + self.random.integers(121, 400, len(rows))
        return ((row, "due_date_too_late") for row in rows)

    def _wrong_issue_date(self, rows: np.ndarray) -> _Bad:
        self.values["issue_date"][rows] = self.issued - self.random.integers(1, 30, len(rows))
        return ((row, "issue_date_not_of_manifest") for row in rows)

    def _unknown_district(self, rows: np.ndarray) -> _Bad:
        for row in rows:
            self.texts["district"][row] = self._pick("XXX9", "0", self.values["district"][row].lower())
            yield row, "district_unknown"

    def _bad_supply(self, rows: np.ndarray) -> _Bad:
        for row in rows:
            self.texts["supply"][row] = self._pick("water", "Electricity", "elec", "gaz")
            yield row, "supply_unknown"

    def _bad_estimated(self, rows: np.ndarray) -> _Bad:
        for row in rows:
            self.texts["estimated"][row] = self._pick("oui", "1", "TRUE", "yes", "E")
            yield row, "estimated_unreadable"

    def _missing_value(self, rows: np.ndarray) -> _Bad:
        for row in rows:
            column = self._pick(*self.writing.columns)
            self.texts[column][row] = ""
            yield row, _MISSING[column]

    def _ragged(self, rows: np.ndarray) -> _Bad:
        for row in rows:
            self.bytes[row] = _RAGGED[self.random.integers(0, len(_RAGGED))]
            yield row, "ragged"

    def _not_utf8(self, rows: np.ndarray) -> _Bad:
        for row in rows:
            self.bytes[row] = _in_latin_1
            yield row, "not_utf8"

    def _duplicate(self, rows: np.ndarray) -> _Bad:
        partners = self._partners(rows)
        for values in self.values.values():
            values[rows] = values[partners]
        return ((max(pair), "duplicate_in_extract") for pair in zip(rows, partners, strict=True))

    def _conflicting_duplicate(self, rows: np.ndarray) -> _Bad:
        partners = self._partners(rows)
        for values in self.values.values():
            values[rows] = values[partners]
        self.values["amount_due_millimes"][rows] += self.random.integers(1, 50, len(rows)) * 1000
        return ((row, "conflicting_duplicates") for row in (*rows, *partners))

    def _zero_balance(self, rows: np.ndarray) -> _Bad:
        self.values["amount_due_millimes"][rows] = 0
        return iter(())

    def _credit_balance(self, rows: np.ndarray) -> _Bad:
        self.values["amount_due_millimes"][rows] *= -1
        return iter(())


_RAGGED: tuple[Callable[[bytes], bytes], ...] = (
    lambda line: line + b",0",
    lambda line: line.rpartition(b",")[0],
    lambda line: line.rsplit(b",", 3)[0],
)


def _in_latin_1(line: bytes) -> bytes:
    # As when a district's name is written where its code belongs, by a program of another age.
    fields = line.split(b",", 2)
    return b",".join([*fields[:2], "Béja".encode("latin-1"), fields[2].partition(b",")[2]])


# --- Files -------------------------------------------------------------------------------------------


class _Summed:
    """A file that takes its own checksum while it is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self.file.write(content)


def _write_part(path: Path, writing: _Writing, rows: int) -> Part:
    if writing.sample.format == "csv":
        with path.open("wb") as file:
            summed = _Summed(file)
            _write_csv(summed, writing, rows)
            checksum = summed.digest.hexdigest()
    else:
        _write_parquet(path, writing, rows)
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(name=path.name, rows=rows, sha256=checksum)


def _chunks(writing: _Writing, rows: int) -> Iterator[_Chunk]:
    for start in range(0, rows, _CHUNK):
        yield writing.chunk(min(_CHUNK, rows - start))


def _write_csv(file: _Summed, writing: _Writing, rows: int) -> None:
    header = list(writing.columns)
    if writing.remark_share:
        header.insert(3, "remark")
    file.write(",".join(header).encode() + b"\n")
    # Quotes only where a remark needs them: the rest of a real extract has none.
    style = "needed" if writing.remark_share else "none"
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style=style)
    for chunk in _chunks(writing, rows):
        written = pa.BufferOutputStream()
        pyarrow.csv.write_csv(chunk.table(), written, options)
        content = written.getvalue().to_pybytes()
        if chunk.bytes:
            lines = content.split(b"\n")
            for row, change in chunk.bytes.items():
                lines[row] = change(lines[row])
            content = b"\n".join(lines)
        file.write(content)


def _write_parquet(path: Path, writing: _Writing, rows: int) -> None:
    writer = None
    for chunk in _chunks(writing, rows):
        table = chunk.table()
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is None:
        table = writing.chunk(0).table()
        writer = pq.ParquetWriter(path, table.schema)
    writer.close()


def _manifest(folder: Path, sample: Sample, writing: _Writing, parts: list[Part]) -> Manifest:
    """Make the manifest, with what is to be wrong about it."""
    rows, total, defects = sample.invoices, writing.total, sample.defects
    if share := defects.get("wrong_rows", 0):
        more = max(round(rows * share), 1)
        rows += more
        parts[-1] = parts[-1].model_copy(update={"rows": parts[-1].rows + more})
    if share := defects.get("wrong_total", 0):
        total += max(round(total * share), 1)
    if defects.get("wrong_sha256", 0):
        parts[-1] = parts[-1].model_copy(update={"sha256": hashlib.sha256(b"another file").hexdigest()})
    if share := defects.get("truncated", 0):
        path = folder / parts[-1].name
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(size - max(round(size * share), 1))
    return Manifest(
        cycle=sample.cycle,
        issue_date=writing.issue_date,
        rows=rows,
        total_amount_millimes=total,
        parts=tuple(parts),
    )


_BUCKETS = ("rejected", "unsubscribed", "suppressed", "held_out", "noticed")


def _write_expected(path: Path, writing: _Writing, coupons: CouponsWritten) -> dict[str, int]:
    """Write what must become of each row; return how many rows end in each bucket."""
    order = sorted(range(len(writing.ends)), key=lambda at: (_BUCKETS.index(writing.ends[at][0]), at))
    buckets = dict.fromkeys(_BUCKETS, 0)
    found = {at: np.flatnonzero(writing.end == at) + 1 for at in order}
    for at, rows in found.items():
        buckets[writing.ends[at][0]] += len(rows)
    head = {
        "cycle": writing.sample.cycle,
        "extracted": writing.sample.invoices,
        **buckets,
        # Which defects make the extract as a whole be refused; the counts are then what they would have been.
        "refused": writing.refused,
        # The counts hold for a run between these days: later, deadlines have passed.
        "holds_from": writing.issue_date.isoformat(),
        "holds_until": (writing.issue_date + timedelta(days=_FIRST_DEADLINE)).isoformat(),
        # What must become of the coupons below `coupons/`, with the customers below `customers/`.
        "coupons": coupons.document(),
    }
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, indent=2)[:-2] + ',\n  "rows": [')
        first = True
        for at, rows in found.items():
            if not len(rows):
                continue
            bucket, reason = writing.ends[at]
            file.write("\n    " if first else ",\n    ")
            first = False
            file.write(f'{{"bucket": "{bucket}", "reason": {json.dumps(reason)}, "row_numbers": [')
            for start in range(0, len(rows), _CHUNK):
                file.write(", " if start else "")
                file.write(", ".join(map(str, rows[start : start + _CHUNK].tolist())))
            file.write("]}")
        file.write("\n  ]\n}\n")
    return buckets
