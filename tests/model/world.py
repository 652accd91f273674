"""What the outside world has told, and what follows from it by the utility's rules.

The judge's own reckoning: plain Python over lists, in which no order of arrival exists. It shares no code
with the product; where both say the same, two people have read the same rules.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from tests.model.days import at, day_of

if TYPE_CHECKING:
    from collections.abc import Iterable

CHANNELS = ("counter", "post", "bank", "web", "app", "debit")
MINIMUM = 5_000
FRESH = timedelta(hours=30)
NOTICE_DAYS = timedelta(days=10)

LEAVES_OUT = frozenset(
    {
        "payment_plan",
        "dispute",
        "direct_debit",
        "protected",
        "estimate_review",
        "cancelled",
        "contract_ended",
    }
)
FACTS = (*sorted(LEAVES_OUT), "number_changed")

BY_PAYMENT = frozenset({"paid", "under_minimum", "paid_by_later_bill", "credit_balance"})
"""Reasons that a payment brings about."""


@dataclass(frozen=True)
class Payment:
    """A row of a payments feed. A flawed one has something that cannot be read where its amount should be."""

    id: str
    invoice: str
    amount: int
    paid_at: datetime
    channel: str
    reverses: str | None = None
    flawed: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.id, self.invoice


@dataclass(frozen=True)
class Fact:
    """A row of a facts feed. A flawed one names a fact that nobody knows."""

    id: str
    customer: str
    invoice: str | None
    fact: str
    valid_from: date
    valid_until: date | None
    flawed: bool = False

    @property
    def key(self) -> str:
        return self.id

    def holds(self, invoice: Bill, day: date) -> bool:
        return (
            self.customer == invoice.customer
            and self.invoice in (None, invoice.number)
            and self.valid_from <= day <= (self.valid_until or date.max)
        )


@dataclass(frozen=True)
class Feed:
    """A delivery: its name sorts in the order of time, its rows come with up to when they are complete."""

    name: str
    rows: tuple[Payment, ...] | tuple[Fact, ...]
    complete_until: dict[str, datetime] = field(default_factory=dict)

    @property
    def of_payments(self) -> bool:
        return bool(self.complete_until)


@dataclass(frozen=True)
class Bill:
    """An invoice as one revision of it says."""

    number: str
    customer: str
    amount: int
    issued: date
    due: date
    told: bool


@dataclass
class Customer:
    """Who may be written to. A consent that was taken back can be given again."""

    reference: str
    consents: bool = True
    phone: str = ""


class World:
    """All that was loaded so far, as the database has to know it."""

    def __init__(self) -> None:
        self.customers: dict[str, Customer] = {}
        self.bills: dict[str, list[Bill]] = {}
        self.feeds: dict[tuple[bool, str], Feed] = {}
        self.settled_by_hand: set[tuple[bool, str, Payment | Fact]] = set()
        self.stirred: set[str] = set()

    # --- What is told

    def load(self, feed: Feed) -> None:
        standing, facts, pending = self.standing, self.facts, self.pending
        self.feeds[feed.of_payments, feed.name] = feed
        self._forget()
        # Whoever something new is known of is looked at again; a repeated row is nothing new.
        named = {number for key, _ in standing.items() ^ self.standing.items() for number in key[1:]}
        named |= {fact.customer for fact in {*facts} ^ {*self.facts}} | (pending ^ self.pending)
        self.stirred -= {self._customer_of(one) for one in named}

    def bill(self, bill: Bill) -> None:
        """A bill is issued, or corrected. Nobody looks at its customer's others for a new one."""
        revisions = self.bills.setdefault(bill.number, [])
        revisions.append(bill)
        if len(revisions) == 1:
            self.stirred.add(bill.customer)

    def settle(self, feed: Feed, row: Payment | Fact) -> None:
        """A person has seen to a row that was set aside."""
        self.settled_by_hand.add((feed.of_payments, feed.name, row))
        self._forget()

    def _customer_of(self, name: str) -> str:
        return self.bills[name][0].customer if name in self.bills else name

    def _forget(self) -> None:
        for name in ("told", "standing", "counted", "facts", "watermarks", "pending"):
            self.__dict__.pop(name, None)

    # --- What follows

    @cached_property
    def told(self) -> list[tuple[Feed, list, list]]:
        """Each feed with its rows that can be taken, and those that cannot."""
        return [(feed, *told_apart(feed.rows)) for feed in self.feeds.values()]

    @cached_property
    def pending(self) -> set[str]:
        """Invoices and customers named by rows that nobody could read, and that nothing has settled."""
        return {
            row.invoice if isinstance(row, Payment) else row.customer
            for feed, _, bad in self.told
            for row in bad
            if not self.is_settled(feed, row)
        }

    def is_settled(self, feed: Feed, row: Payment | Fact) -> bool:
        """Whether a person has seen to a row, or a good one of the same has come by a feed that knew more."""
        return (feed.of_payments, feed.name, row) in self.settled_by_hand or any(
            one.key == row.key and known(later, one) > known(feed, row)
            for later, good, _ in self.told
            if later.of_payments == feed.of_payments
            for one in good
        )

    @cached_property
    def watermarks(self) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        for feed in self.feeds.values():
            for channel, until in feed.complete_until.items():
                found[channel] = max(found.get(channel, until), until)
        return found

    @cached_property
    def standing(self) -> dict[tuple[str, str], Payment]:
        """The payments as they stand: of two that differ, the one from the feed that knew more."""
        best: dict[tuple[str, str], tuple[tuple[datetime, str], Payment]] = {}
        for feed, good, _ in self.told:
            for row in good if feed.of_payments else ():
                if row.key not in best or known(feed, row) > best[row.key][0]:
                    best[row.key] = known(feed, row), row
        return {key: row for key, (_, row) in best.items()}

    @cached_property
    def counted(self) -> dict[str, list[tuple[datetime, int]]]:
        """What each payment takes off its invoice, by invoice: when, and how much."""
        found: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
        left: dict[tuple[str, str], int] = {}
        for row in self.standing.values():
            if row.reverses is None:
                left[row.key] = row.amount
                found[row.invoice].append((row.paid_at, row.amount))
        for row in sorted(self.standing.values(), key=lambda row: (row.paid_at, row.id)):
            if row.reverses is not None:
                back = min(row.amount, left.get((row.reverses, row.invoice), 0))
                if back:
                    left[row.reverses, row.invoice] -= back
                    found[row.invoice].append((row.paid_at, -back))
        return found

    @cached_property
    def facts(self) -> list[Fact]:
        best: dict[str, tuple[str, Fact]] = {}
        for feed, good, _ in self.told:
            for row in good if not feed.of_payments else ():
                if row.id not in best or feed.name > best[row.id][0]:
                    best[row.id] = (feed.name, row)
        return [row for _, row in best.values()]

    def paid(self, number: str) -> int:
        return sum(amount for _, amount in self.counted[number]) if number in self.counted else 0

    def latest(self, number: str) -> Bill:
        return self.bills[number][-1]

    def balance(self, number: str, revision: int) -> int:
        return self.bills[number][revision].amount - self.paid(number)

    def is_fresh(self, now: datetime) -> bool:
        return all(c in self.watermarks and self.watermarks[c] >= now - FRESH for c in CHANNELS)

    def is_fresh_this_morning(self, now: datetime) -> bool:
        five = at(day_of(now), 5)
        return all(c in self.watermarks and self.watermarks[c] >= five for c in CHANNELS)

    def reasons(self, number: str, revision: int, day: date) -> set[str]:
        """All that speaks against a warning about a bill, as that revision says."""
        bill = self.bills[number][revision]
        owed = self.balance(number, revision)
        found = {fact.fact for fact in self.facts if fact.fact in LEAVES_OUT and fact.holds(bill, day)}
        if revision + 1 < len(self.bills[number]):
            found.add("corrected")
        if owed <= 0:
            found.add("paid")
        elif owed < MINIMUM:
            found.add("under_minimum")
        if number in self.pending or bill.customer in self.pending:
            found.add("payment_pending")
        others = [
            bills[-1]
            for bills in self.bills.values()
            if bills[-1].customer == bill.customer and bills[-1].number != number
        ]
        if any(one.issued > bill.issued and one.amount - self.paid(one.number) < MINIMUM for one in others):
            found.add("paid_by_later_bill")
        credit = sum(self._paid_too_much(one, since=bill.issued) for one in others)
        if credit and owed - credit < MINIMUM:
            found.add("credit_balance")
        return found

    def _paid_too_much(self, bill: Bill, *, since: date) -> int:
        too_much = self.paid(bill.number) - max(bill.amount, 0)
        lately = sum(
            amount for paid_at, amount in self.counted.get(bill.number, ()) if day_of(paid_at) >= since
        )
        return max(min(too_much, lately), 0)

    def unreachable(self, number: str, day: date) -> set[str]:
        """Why no message can tell a bill's customer."""
        bill = self.latest(number)
        customer = self.customers[bill.customer]
        found = {fact.fact for fact in self.facts if fact.fact == "number_changed" and fact.holds(bill, day)}
        if not customer.consents:
            found.add("no_consent")
        elif not customer.phone:
            found.add("no_phone")
        return found


def known(feed: Feed, row: Payment | Fact) -> tuple[datetime, str]:
    """How much a feed knew of a row: of two that differ, the one of the feed that knew more is right."""
    until = feed.complete_until[row.channel] if isinstance(row, Payment) else datetime.min
    return until, feed.name


def told_apart(rows: Iterable[Payment | Fact]) -> tuple[list, list]:
    """Tell the rows of one feed that can be taken from the flawed ones, and from those that contradict."""
    said: dict[object, set[Payment | Fact]] = defaultdict(set)
    for row in rows:
        if not row.flawed:
            said[row.key].add(row)
    good = [next(iter(one)) for one in said.values() if len(one) == 1]
    bad = {row for row in rows if row.flawed or len(said[row.key]) > 1}
    return good, list(bad)
