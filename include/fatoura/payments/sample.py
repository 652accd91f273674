"""The generator: realistic, seeded feeds of payments for the invoices of an extract.

Called by `fatoura payments sample`, the demo and tests. Everything in them is invented. Writes files only.
What must have been paid on each invoice in the end is written beside them, by the rules of the contract; the
code that is tested with it is not asked.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping  # noqa: TC003 - a dataclass names it
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as day_time
from pathlib import Path  # noqa: TC003 - a dataclass names it
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fatoura import clock
from fatoura.cutoff.rules import Channel
from fatoura.errors import BadInput
from fatoura.extracts.reading import Reading
from fatoura.extracts.sources import open_folder
from fatoura.feeds.values import is_invoice_number
from fatoura.landing import landing_path
from fatoura.manifests import FILE_NAME, Part
from fatoura.payments.manifest import PaymentsManifest
from fatoura.payments.records import COLUMNS
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from fatoura.landing import LandingPath

SHARES: dict[str, float] = {
    "in_time": 0.60,
    "late": 0.18,
    "partly": 0.05,
    "over": 0.03,
    "reversed": 0.03,
    "together": 0.02,
    "corrected": 0.01,
    "repeated": 0.02,
    "flawed": 0.0,
    "unknown": 0.005,
}
"""Shares of the invoices, by what becomes of them; the rest is not paid at all."""

MEANINGS: dict[str, str] = {
    "in_time": "paid before its last day ends",
    "late": "paid 1 to 25 days after its last day",
    "partly": "a part of it paid in time, the rest never",
    "over": "more paid than was owed",
    "reversed": "paid by cheque in time; it bounces some days later",
    "together": "paid in time, two invoices by one payment",
    "corrected": "paid in time; told with a wrong amount first, with the right one in the next feed",
    "repeated": "paid in time; told in two feeds alike",
    "flawed": "paid in time; told with an unreadable amount first, which is set aside, and right in the next",
    "unknown": "a payment of an invoice that nobody knows, beside the others",
}

_CHANNELS = {
    Channel.COUNTER: (0.50, timedelta(hours=1)),
    Channel.BANK: (0.22, timedelta(hours=20)),
    Channel.POST: (0.07, timedelta(hours=20)),
    Channel.WEB: (0.12, timedelta(minutes=15)),
    Channel.APP: (0.06, timedelta(minutes=15)),
    Channel.DEBIT: (0.03, timedelta(hours=12)),
}
"""The share of each channel (assumed), and how long its payments take until they are known."""

_FIRST_HOUR, _HOURS = 6, 16
"""Feeds come in so many hours of a day, from this local hour on."""


@dataclass(frozen=True)
class PaymentsSample:
    """What to write.

    :param extract: the folder of the extract whose invoices are paid.
    :param until: the last feed comes at this instant at the latest; none: now.
    :param shares: other shares than `SHARES`, by kind.
    """

    extract: Path
    seed: int = 1
    until: datetime | None = None
    feeds_a_day: int = 2
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PaymentsWritten:
    """What was written: the feeds in the order of their names, and what has been paid in them in the end.

    :param rows: of all feeds, repeated ones included.
    :param kinds: how many invoices there are of each kind, as far as the feeds tell of them.
    :param paid_millimes: sum of what counts.
    """

    feeds: list[str]
    rows: int
    kinds: dict[str, int]
    paid_millimes: int


class _Invoice(NamedTuple):
    number: str
    amount: int
    due: date


class _Told(NamedTuple):
    """A row, and when it comes to be known."""

    at: datetime
    row: dict[str, Any]


def write_payments_sample(folder: Path, sample: PaymentsSample) -> PaymentsWritten:
    """Write feeds of payments, a folder each, and `expected.json`, which tells what must have been paid.

    What an earlier sample left in the folder is removed first. The same sample gives the same bytes.

    :raises BadInput: when the sample asks for what cannot be.
    """
    shares = _shares(sample)
    delivery = open_folder(landing_path(str(sample.extract)), None, str(sample.extract))
    until = sample.until or clock.now()
    feeds = list(_feed_times(delivery.issue_date, until, sample.feeds_a_day))
    if not feeds:
        raise BadInput(
            f"no feed lies between the day after {delivery.issue_date} and {until.isoformat()}: give a later "
            "end"
        )
    paying = _Paying(delivery.cycle, delivery.issue_date, sample.seed, shares)
    invoices = list(_invoices(Reading(delivery)))
    by_feed = _sorted_into_feeds(paying.rows(invoices), feeds)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_former(folder)
    names = []
    for at, rows in zip(feeds, by_feed, strict=True):
        names.append(f"{at.astimezone(clock.zone()):%Y-%m-%d-%H%M}-{delivery.cycle}")
        _write_feed(folder / names[-1], names[-1], at, rows)
    counted = _counted(by_feed)
    written = PaymentsWritten(
        names, sum(map(len, by_feed)), dict(paying.kinds), sum(sum(one.values()) for one in counted.values())
    )
    expected = {
        "cycle": delivery.cycle,
        "feeds": names,
        "rows": written.rows,
        "paid_millimes": written.paid_millimes,
        "paid": {invoice: sum(of.values()) for invoice, of in sorted(counted.items())},
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    return written


def deliver_feed(folder: Path, landing: str | LandingPath | None = None) -> LandingPath:
    """Copy the feed of a folder into the landing folder as other systems do: its manifest last."""
    target = landing_path(landing) / "payments" / folder.name
    target.mkdir(parents=True, exist_ok=True)
    files = sorted(folder.iterdir(), key=lambda path: path.name == FILE_NAME)
    for path in files:
        with (target / path.name).open("wb") as copy:
            copy.write(path.read_bytes())
    return target


def _shares(sample: PaymentsSample) -> dict[str, float]:
    problems = []
    if get_settings().profile == "production":
        problems.append("the profile is production: invented payments would clear real debts")
    for kind, share in sample.shares.items():
        if kind not in SHARES:
            problems.append(f"{kind} is no kind of payment; they are {', '.join(SHARES)}")
        elif not 0 <= share <= 1:
            problems.append(f"the share of {kind} lies between 0 and 1")
    shares = {**SHARES, **sample.shares}
    if sum(share for kind, share in shares.items() if kind != "unknown") > 1 + 1e-9:
        problems.append("the shares make more than 1")
    if not 1 <= sample.feeds_a_day <= 24:
        problems.append("1 to 24 feeds come a day")
    if problems:
        raise BadInput("no such sample can be written: " + "; ".join(problems))
    return shares


def _feed_times(issued: date, until: datetime, a_day: int) -> Iterator[datetime]:
    day = issued
    while True:
        day += timedelta(days=1)
        for nth in range(a_day):
            hour = _FIRST_HOUR + nth * _HOURS / a_day
            at = datetime.combine(day, day_time(int(hour), int(hour % 1 * 60)), clock.zone()).astimezone(UTC)
            if at > until:
                return
            yield at


def _invoices(reading: Reading) -> Iterator[_Invoice]:
    """Yield the invoices of an extract that can be paid, each once."""
    seen = set[str]()
    for batch in reading.batches():
        columns = ("invoice_number", "amount_i", "due_date_d", "flaw")
        for number, amount, due, flaw in zip(
            *(batch.column(one).to_pylist() for one in columns), strict=True
        ):
            good = flaw is None and amount and amount > 0 and due and is_invoice_number(number)
            if good and number not in seen:
                seen.add(number)
                yield _Invoice(number, amount, due)
    if reading.problems:
        raise BadInput("the extract cannot be read: " + "; ".join(reading.problems))


class _Paying:
    """Decides who pays what, when and where."""

    def __init__(self, cycle: str, issued: date, seed: int, shares: dict[str, float]) -> None:
        self._random = np.random.default_rng([seed, 5, zlib.crc32(cycle.encode())])
        self._cycle = cycle
        self._issued = issued
        self._shares = shares
        self._zone = clock.zone()
        self._next = 0
        self.kinds: defaultdict[str, int] = defaultdict(int)

    def rows(self, invoices: list[_Invoice]) -> Iterator[_Told]:
        """Yield the rows for all invoices, each with the instant from which a feed can tell it."""
        kinds = [kind for kind in self._shares if kind != "unknown"]
        shares = [self._shares[kind] for kind in kinds]
        chosen = self._random.choice(len(kinds) + 1, len(invoices), p=[*shares, max(1 - sum(shares), 0.0)])
        partner: _Invoice | None = None
        for invoice, at in zip(invoices, chosen.tolist(), strict=True):
            kind = kinds[at] if at < len(kinds) else "unpaid"
            self.kinds[kind] += 1
            if kind == "together":
                if partner is not None:
                    yield from self._pay([partner, invoice])
                partner = invoice if partner is None else None
            elif kind != "unpaid":
                yield from getattr(self, f"_{kind}")(invoice)
        if partner is not None:
            yield from self._pay([partner])
        for number in range(round(len(invoices) * self._shares["unknown"])):
            self.kinds["unknown"] += 1
            yield from self._pay([_Invoice(f"UNKNOWN-{number:07d}", 50_000, self._issued + timedelta(30))])

    def _in_time(self, invoice: _Invoice) -> Iterator[_Told]:
        return self._pay([invoice])

    def _late(self, invoice: _Invoice) -> Iterator[_Told]:
        day = invoice.due + timedelta(days=int(self._random.integers(1, 26)))
        return self._pay([invoice], day=day)

    def _partly(self, invoice: _Invoice) -> Iterator[_Told]:
        part = max(int(invoice.amount * self._random.uniform(0.3, 0.8)), 1)
        return self._pay([invoice._replace(amount=part)])

    def _over(self, invoice: _Invoice) -> Iterator[_Told]:
        more = int(self._random.integers(1, 21)) * 1000
        return self._pay([invoice._replace(amount=invoice.amount + more)])

    def _reversed(self, invoice: _Invoice) -> Iterator[_Told]:
        [paid] = self._pay([invoice], channel=Channel.BANK)
        bounced = datetime.fromisoformat(paid.row["paid_at"]) + timedelta(
            days=int(self._random.integers(3, 9))
        )
        yield paid
        yield _Told(
            bounced,
            {
                **paid.row,
                "payment_id": self._id("R"),
                "paid_at": bounced.isoformat(),
                "kind": "reversal",
                "reverses": paid.row["payment_id"],
            },
        )

    def _corrected(self, invoice: _Invoice) -> Iterator[_Told]:
        [paid] = self._pay([invoice])
        yield _Told(paid.at, {**paid.row, "amount_millimes": paid.row["amount_millimes"] + 9_000})
        yield _Told(paid.at, {**paid.row, _AGAIN: True})

    def _repeated(self, invoice: _Invoice) -> Iterator[_Told]:
        [paid] = self._pay([invoice])
        yield paid
        yield _Told(paid.at, {**paid.row, _AGAIN: True})

    def _flawed(self, invoice: _Invoice) -> Iterator[_Told]:
        [paid] = self._pay([invoice])
        amount = paid.row["amount_millimes"]
        yield _Told(paid.at, {**paid.row, "amount_millimes": f"{amount // 1000},{amount % 1000:03d}"})
        yield _Told(paid.at, {**paid.row, _AGAIN: True})

    def _pay(
        self, invoices: list[_Invoice], *, day: date | None = None, channel: Channel | None = None
    ) -> Iterator[_Told]:
        """Yield the row of a payment for each invoice; by default in time, anywhere."""
        if day is None:
            latest = min(invoice.due for invoice in invoices)
            days = max((latest - self._issued).days, 2)
            day = self._issued + timedelta(days=int(self._random.integers(1, days)))
        if channel is None:
            shares = [share for share, _ in _CHANNELS.values()]
            channel = list(_CHANNELS)[int(self._random.choice(len(shares), p=shares))]
        seconds = int(self._random.integers(8 * 3600, 16 * 3600))
        paid_at = datetime.combine(day, day_time(), self._zone) + timedelta(seconds=seconds)
        payment_id = self._id("P")
        for invoice in invoices:
            yield _Told(
                paid_at,
                {
                    "payment_id": payment_id,
                    "invoice_number": invoice.number,
                    "amount_millimes": invoice.amount,
                    "paid_at": paid_at.isoformat(),
                    "channel": channel.value,
                    "kind": "payment",
                    "reverses": "",
                },
            )

    def _id(self, letter: str) -> str:
        self._next += 1
        return f"{letter}{zlib.crc32(self._cycle.encode()):08X}-{self._next:07d}"


_AGAIN = "again"
"""Marks a row that comes one feed after the one with which it was told first."""


def _complete_until(feed: datetime) -> dict[Channel, datetime]:
    return {
        channel: (feed - delay).replace(minute=0, second=0, microsecond=0)
        for channel, (_, delay) in _CHANNELS.items()
    }


def _sorted_into_feeds(rows: Iterator[_Told], feeds: list[datetime]) -> list[list[dict[str, Any]]]:
    """Put each row into the first feed that is complete beyond it; what none is yet is left out."""
    complete = {channel.value: [_complete_until(feed)[channel] for feed in feeds] for channel in _CHANNELS}
    by_feed: list[list[dict[str, Any]]] = [[] for _ in feeds]
    for at, row in sorted(rows, key=lambda one: (one.at, one.row["payment_id"], _AGAIN in one.row)):
        again = row.pop(_AGAIN, False)
        nth = bisect_right(complete[row["channel"]], at) + bool(again)
        if nth < len(feeds):
            by_feed[nth].append(row)
    return by_feed


def _counted(by_feed: list[list[dict[str, Any]]]) -> dict[str, dict[str, int]]:
    """Return what counts in the end, by invoice and payment: the row told last, if it can be read."""
    counted: dict[str, dict[str, int]] = defaultdict(dict)
    for row in (row for rows in by_feed for row in rows):
        if isinstance(row["amount_millimes"], int):
            sign = -1 if row["kind"] == "reversal" else 1
            counted[row["invoice_number"]][row["payment_id"]] = sign * row["amount_millimes"]
    return counted


def _write_feed(folder: Path, name: str, at: datetime, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    (folder / "payments.csv").write_bytes(content)
    manifest = PaymentsManifest(
        feed=name,
        rows=len(rows),
        parts=(Part(name="payments.csv", rows=len(rows), sha256=hashlib.sha256(content).hexdigest()),),
        total_amount_millimes=sum(
            row["amount_millimes"] for row in rows if isinstance(row["amount_millimes"], int)
        ),
        complete_until=_complete_until(at),
    )
    (folder / FILE_NAME).write_text(json.dumps(manifest.document(), indent=2) + "\n", encoding="utf-8")


def _remove_former(folder: Path) -> None:
    (folder / "expected.json").unlink(missing_ok=True)
    for manifest in folder.glob(f"*/{FILE_NAME}"):
        former = manifest.parent
        if {path.name for path in former.iterdir()} <= {FILE_NAME, "payments.csv"}:
            for path in list(former.iterdir()):
                path.unlink()
            former.rmdir()
