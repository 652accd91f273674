"""The machine: random lives of a few customers, an action at a time, on the real database.

An action is somebody's: a customer's, a bank's, the utility's systems', the clock's, or one of the product's
own steps, which may be killed on its way and done again later. After each step of the product the judge
looks at what was done.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from fatoura import clock
from fatoura.cutoff.deciding import decide_day
from fatoura.cutoff.feeds import apply_feeds
from fatoura.cutoff.freshness import FeedStale
from fatoura.cutoff.lists import hand_over, list_call_backs, list_letters
from fatoura.cutoff.planning import plan_day
from fatoura.cutoff.settling import conclude_cases
from fatoura.feeds.refusal import FeedRefused
from tests.model.days import FIRST, LAST, ONE_DAY, at, day_of, may_send_at, may_send_on
from tests.model.judge import REMIND_BEFORE_DUE, SECOND_BEFORE_CUT, Judge
from tests.model.kills import Killed, killed_at
from tests.model.world import CHANNELS, FACTS, Bill, Customer, Fact, Feed, Payment, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from fatoura.gateways.interface import Message
    from tests.model.product import Product
    from tests.model.tally import Tally

T = TypeVar("T")

MOST = 8
"""Warnings of one day, by the rules of these lives."""

AMOUNTS = (4_000, 5_000, 12_500, 85_352)
LAGS = (timedelta(), timedelta(minutes=30), timedelta(hours=4), timedelta(hours=20), timedelta(hours=31))

ACTIONS = {
    # Whole stretches of days, which bring a life forward.
    "working_day": 16,
    "early_morning": 12,
    # The product's steps, each at any time.
    "apply": 4,
    "decide": 2,
    "plan": 2,
    "send": 3,
    "answer_late": 1,
    "receive": 4,
    "conclude": 3,
    "hand_over": 2,
    "list_letters": 2,
    "list_call_backs": 2,
    # Customers and their banks.
    "pay": 6,
    "reverse": 4,
    "correct_payment": 3,
    "state_fact": 3,
    "change_fact": 2,
    "change_subscription": 2,
    # The utility's systems.
    "correct_bill": 2,
    "new_bill": 2,
    "export": 5,
    "arrive": 5,
    "arrive_wrong": 1,
    "settle_by_hand": 1,
    # The clock.
    "hours_pass": 3,
    "days_pass": 1,
}
"""What can happen, and how often beside the others."""

MEANWHILE = {
    "pay": 6,
    "reverse": 8,
    "correct_payment": 2,
    "state_fact": 1,
    "change_fact": 2,
    "change_subscription": 1,
}
"""What happens while a life is brought forward, and how often beside the others."""

OUTSIDE = frozenset(list(ACTIONS)[list(ACTIONS).index("pay") :])
"""What happens outside the product. The steps of the product count themselves."""


class Lives(RuleBasedStateMachine):
    """One example is one life. Whoever runs it sets `product` and `tally`."""

    product: Product
    tally: Tally

    def __init__(self) -> None:
        super().__init__()
        self.now = at(FIRST, 8)
        self._clock = clock.now
        clock.now = lambda: self.now  # type: ignore[assignment]
        self.world = World()
        self.product.empty()
        self.judge = Judge(self.world, self.product, lambda: self.now, self.tally, most=MOST)
        self.payments: list[Payment] = []
        self.facts: list[Fact] = []
        self.unsent: list[Payment] = []
        self.unsent_facts: list[Fact] = []
        self.on_its_way: list[Feed] = []
        self.unanswered: list[Message] = []
        self.unreported: list[UUID] = []
        self.number = 0
        self.calm = False
        self._data: st.DataObject

    def teardown(self) -> None:
        clock.now = self._clock  # type: ignore[assignment]
        self.judge.finish()

    # --- How it begins and goes on

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self._data = data
        # Where much happens few cases come to their end: in one life of three they are left alone.
        self.calm = self._one_in(3)
        for number in range(1, self._up_to(24) + 1):
            customer = Customer(f"{number:09d}", phone=f"+2162000{number:04d}")
            self.world.customers[customer.reference] = customer
            self.product.subscribe(customer, customer.phone)
            for _ in range(self._one_of(1, 1, 2, 3)):
                self._bill(customer.reference)
        self._schedule()

    @rule(data=st.data(), action=st.sampled_from([name for name, n in ACTIONS.items() for _ in range(n)]))
    def step(self, data: st.DataObject, action: str) -> None:
        self._data = data
        self.tally.actions[action] += 1
        if action in OUTSIDE:
            self._happens(action)
        else:
            getattr(self, action)()

    def _happens(self, what: str) -> None:
        """Let something happen outside the product: one step."""
        self.tally.steps[what] += 1
        getattr(self, what)()

    # --- Drawing

    def _one_of(self, *values: T) -> T:
        return self._data.draw(st.sampled_from(values))

    def _pick(self, what: Sequence[T]) -> T:
        return what[self._data.draw(st.integers(0, len(what) - 1))]

    def _up_to(self, most: int) -> int:
        return self._data.draw(st.integers(1, most))

    def _one_in(self, times: int) -> bool:
        return self._data.draw(st.integers(0, times - 1)) == times - 1

    def _next(self) -> int:
        self.number += 1
        return self.number

    @property
    def today(self) -> date:
        return day_of(self.now)

    # --- Customers and their banks

    def pay(self) -> None:
        warned = [
            case.invoice_number
            for case in self.judge.sight.cases.values()
            if case.state in ("warned", "warned_again", "handed_over")
        ]
        number = self._pick(warned if warned and self._one_in(2) else sorted(self.world.bills))
        how = self._one_of("all", "all", "all", "most", "part", "over", "two bills", "unknown")
        owed = max(self.world.balance(number, -1), 1_000)
        amount = {"most": max(owed - 4_999, 1), "part": max(owed // 2, 1), "over": owed + 90_000}.get(
            how, owed
        )
        paid_at = self.now - self._one_of(timedelta(minutes=20), timedelta(hours=10))
        payment = Payment(f"P{self._next()}", number, amount, paid_at, self._one_of(*CHANNELS))
        if how == "unknown":
            payment = replace(payment, invoice="Z999")
        self._tell(payment)
        other = self._pick(sorted(self.world.bills)) if how == "two bills" else number
        if other != number:
            self._tell(replace(payment, invoice=other))

    def _tell(self, payment: Payment) -> None:
        note(f"{payment}")
        self.payments.append(payment)
        self.unsent.append(payment)

    def reverse(self) -> None:
        """A cheque bounces; now and then the bank tells of that before it tells of the cheque."""
        whole = [one for one in self.payments if not one.reverses and not one.flawed]
        if not whole:
            return
        payment = self._pick(whole)
        part = self._one_of("all", "all", "half", "more")
        amount = {"half": max(payment.amount // 2, 1), "more": payment.amount + 7_000}.get(
            part, payment.amount
        )
        self._tell(
            Payment(f"R{self._next()}", payment.invoice, amount, self.now, payment.channel, payment.id)
        )
        if payment in self.unsent and self._one_in(2):
            self.unsent.remove(payment)
            self._export()
            self.unsent.append(payment)

    def correct_payment(self) -> None:
        """The same payment is told again: as it was, with another amount, or as nobody can read it."""
        if not self.payments:
            return
        payment = self._pick(self.payments)
        what = self._one_of("amount", "amount", "channel", "same", "flawed", "contradiction")
        if what == "flawed":
            self._tell(replace(payment, flawed=True))
            return
        payment = replace(payment, flawed=False)
        if what in ("amount", "contradiction"):
            self._tell(replace(payment, amount=payment.amount + 3_000))
        if what == "channel":
            self._tell(replace(payment, channel="web"))
        if what in ("same", "contradiction"):
            self._tell(payment)

    def state_fact(self) -> None:
        number = self._pick(sorted(self.world.bills))
        begins = self.today + self._one_of(-3, 0, 0, 1, 3, 6) * ONE_DAY
        lasts = self._one_of(None, 0, 3, 10)
        self._state(
            Fact(
                f"F{self._next()}",
                self.world.latest(number).customer,
                number if self._one_in(2) else None,
                self._one_of(*FACTS),
                begins,
                None if lasts is None else begins + lasts * ONE_DAY,
                flawed=self._one_in(10),
            )
        )

    def change_fact(self) -> None:
        if not self.facts:
            return
        fact = self._pick(self.facts)
        match self._one_of("ends", "taken back", "mended"):
            case "ends":
                fact = replace(fact, valid_until=max(self.today, fact.valid_from))
            case "taken back":
                fact = replace(fact, valid_until=fact.valid_from - ONE_DAY)
            case "mended":
                fact = replace(fact, flawed=False)
        self._state(fact)

    def _state(self, fact: Fact) -> None:
        note(f"{fact}")
        self.facts.append(fact)
        self.unsent_facts.append(fact)

    def change_subscription(self) -> None:
        customer = self.world.customers[self._pick(sorted(self.world.customers))]
        what = self._one_of("leaves", "comes back", "other phone", "no phone")
        if what in ("leaves", "comes back"):
            customer.consents = what == "comes back"
            state = "active" if customer.consents else "suspended"
            self.product.set_subscription(customer, state=state)
        else:
            customer.phone = f"+2162001{self._next():04d}" if what == "other phone" else ""
            self.product.set_subscription(customer, phone=customer.phone)

    # --- The utility's systems

    def _bill(self, customer: str) -> None:
        due = self.today + self._up_to(20) * ONE_DAY
        bill = Bill(
            f"A{self._next():03d}",
            customer,
            self._one_of(*[85_352] * 6, *AMOUNTS),
            due - self._one_of(20, 20, 20, 30) * ONE_DAY,
            due,
            told=True,
        )
        note(f"{bill}")
        self.world.bill(bill)
        self.product.bill(bill, 0)

    def new_bill(self) -> None:
        if len(self.world.bills) < 80 and self.today < LAST - 60 * ONE_DAY:
            self._bill(self._pick(sorted(self.world.customers)))
            self._schedule()

    def _schedule(self) -> None:
        if self._run("schedule", self.product.schedule):
            self.judge.scheduled()
        # No feed tells of what has changed here: nobody looks at it again before it is due.
        self.world.stirred |= {
            self.world.latest(case.invoice_number).customer
            for key, case in self.judge.sight.cases.items()
            if self.before.cases.get(key) != case
        }

    def correct_bill(self) -> None:
        """A supplement comes: the bill says something else from now on, and its customer is told, or not."""
        revisions = self.world.bills[self._pick(sorted(self.world.bills))]
        if len(revisions) > 2:
            return
        amount = self._one_of(0, *AMOUNTS)
        bill = replace(
            revisions[-1],
            amount=amount,
            due=revisions[-1].due + self._one_of(0, 5, 15) * ONE_DAY,
            told=amount > 0 and not self._one_in(5),
        )
        note(f"{bill}")
        self.world.bill(bill)
        self.product.bill(bill, len(revisions) - 1)
        self._schedule()

    def export(self) -> None:
        """A delivery is written. When it arrives is another matter."""
        self._export()

    def _export(self) -> None:
        name = f"{self.now:%Y%m%d-%H%M}-{self._next():04d}"
        until = dict.fromkeys(CHANNELS, self.now - self._one_of(*LAGS))
        if self._one_in(8):
            del until[self._one_of("counter", "post", "bank", "app", "debit")]
        rows = tuple(row for row in self.unsent if row.channel in until)
        self.unsent = [row for row in self.unsent if row.channel not in until]
        self.on_its_way.append(Feed(name, rows, until))
        if self.unsent_facts:
            self.on_its_way.append(Feed(name, tuple(self.unsent_facts)))
            self.unsent_facts = []

    def export_all(self) -> None:
        """The last delivery of a day: all that was told, complete up to now."""
        self._export_all({})

    def _export_all(self, behind: dict[str, timedelta]) -> None:
        name = f"{self.now:%Y%m%d-%H%M}-{self._next():04d}"
        until = {channel: self.now - behind.get(channel, timedelta()) for channel in CHANNELS}
        self.on_its_way.append(Feed(name, tuple(self.unsent), until))
        if self.unsent_facts:
            self.on_its_way.append(Feed(name, tuple(self.unsent_facts)))
        self.unsent, self.unsent_facts = [], []

    def arrive(self) -> None:
        """Deliveries arrive, in any order, some of them a second time, and are taken."""
        if not self.on_its_way:
            return
        some = list(self._data.draw(st.permutations(self.on_its_way)))
        if self._one_in(2):
            some = some[:1]
        self.on_its_way = [one for one in self.on_its_way if one not in some]
        if self.world.feeds and self._one_in(3):
            some.append(self._pick(list(self.world.feeds.values())))
        self._take(some, kill=self._kill())

    def arrive_wrong(self) -> None:
        """A delivery comes that changes one that was taken, or knows the future: it is refused as a whole."""
        payment = Payment(f"P{self._next()}", "A001", 1_000_000, self.now - timedelta(hours=1), "web")
        taken = [one for one in self.world.feeds.values() if one.of_payments]
        if taken and self._one_in(2):
            feed = self._pick(taken)
            wrong = replace(feed, rows=(*feed.rows, payment))
        else:
            wrong = Feed("20991231", (payment,), dict.fromkeys(CHANNELS, self.now + timedelta(hours=1)))
        with pytest.raises(FeedRefused):
            self.product.take(wrong)
        self._do("take feeds", lambda: None)
        self.judge.payments_stand()

    def _take(self, feeds: Sequence[Feed], kill: int = 0) -> None:
        left = list(feeds)

        for feed in feeds:
            note(f"{feed.name} until {feed.complete_until.get('web')}: {[row.key for row in feed.rows]}")

        def step() -> None:
            while left:
                self.product.take(left[0])
                self.world.load(left.pop(0))

        self._do("take feeds", step, kill=kill)
        self.judge.payments_stand()
        self.on_its_way += left

    def settle_by_hand(self) -> None:
        pending = [
            (feed, row)
            for feed, _, bad in self.world.told
            for row in bad
            if not self.world.is_settled(feed, row)
        ]
        if pending:
            feed, row = self._pick(pending)
            self._do("settle by hand", lambda: self.product.settle(feed, row))
            self.world.settle(feed, row)

    # --- The clock

    def hours_pass(self) -> None:
        self._pass_to(self.now + timedelta(hours=self._up_to(9)))

    def days_pass(self) -> None:
        self._pass_to(at(self.today + self._up_to(4) * ONE_DAY, self._one_of(6, 9, 10, 14)))

    def _pass_to(self, instant: datetime) -> None:
        if day_of(instant) < LAST - 30 * ONE_DAY:
            self.now = max(self.now, instant)

    # --- The product's own steps

    def _kill(self) -> int:
        """Before which statement or commit the step is killed; mostly none."""
        return self._up_to(30) if self._one_in(8) else 0

    def _run(self, name: str, step: Callable[[], Any]) -> bool:
        """Do a step that may be done again at any time: now and then it is killed, or done twice."""
        done = self._do(name, step, kill=self._kill())
        if done and self._one_in(8):
            step()
            first = self.before
            self.tally.steps[f"{name}, again"] += 1
            seen = self.judge.look()
            self.judge.check(f"{name}: done again, it changes nothing", seen == self.judge.sight, seen)
            self.before = first
        return done

    def _do(self, name: str, step: Callable[[], Any], *, kill: int = 0) -> bool:
        """Do a step of the product, or kill it on its way; then judge. Tells whether it ran to its end."""
        self.now += timedelta(seconds=1)  # no two steps are at one instant
        note(f"{self.now:%m-%d %H:%M:%S} {name}" + (f", killed before statement {kill}" if kill else ""))
        done = True
        if kill:
            try:
                with killed_at(self.product.engine, kill):
                    step()
            except Killed:
                done = False
                self.tally.met["killed on its way"] += 1
        else:
            step()
        self.tally.steps[name] += 1
        self.before = self.judge.look()
        return done

    def apply(self) -> None:
        if self._run("apply feeds", apply_feeds):
            self.judge.applied(self.before)

    def decide(self) -> None:
        refused = False

        def step() -> None:
            nonlocal refused
            with suppress(FeedStale):
                refused = True
                decide_day()
                refused = False

        if not self._run("decide", step):
            return
        self.judge.check("stale feeds stop the day, and only they", refused != self.world.is_fresh(self.now))
        if not refused and may_send_at(self.now + timedelta(minutes=5)):
            self.judge.decided(self.before)

    def plan(self) -> None:
        key = f"cutoff-{self.today}"
        if self.product.cycle_of(key) is not None and self._do(
            "plan", lambda: plan_day(key), kill=self._kill()
        ):
            self.judge.planned()

    def send(self, *, most: int = 0, outcome: str = "") -> None:
        """Claim what is planned, as a line of a sender does in the hours of sending, and hand it over."""
        most = most or self._one_of(1, 2, 500)
        outcome = outcome or self._one_of("accepted", "accepted", "mixed", "gone", "late")
        planned = {one.cycle_id for one in self.judge.sight.notices.values() if one.state == "planned"}
        for cycle_id in sorted(planned) if may_send_at(self.now) else ():
            claimed: list[Message] = []

            def step(cycle_id: int = cycle_id, claimed: list[Message] = claimed) -> None:
                lease = timedelta(hours=-1) if outcome == "gone" else timedelta(hours=9)
                claimed += self.product.claim(cycle_id, most=most, lease=lease)

            if not self._do("claim", step, kill=self._kill()):
                continue  # who is killed before the commit has claimed nothing
            self.judge.claimed(self.before, cycle_id, most)
            if outcome == "gone":  # or after it: nobody knows whether they went out
                self._do("end leases", self.product.expire_leases)
                self.unreported += [message.id for message in claimed]
            elif outcome == "late":
                self.unanswered += claimed
            else:
                self._answer(claimed, mixed=outcome == "mixed")

    def answer_late(self) -> None:
        messages, self.unanswered = self.unanswered, []
        self._answer(messages, mixed=True)

    def _answer(self, messages: list[Message], *, mixed: bool) -> None:
        kinds = ("accepted", "refused", "rejected", "in_doubt") if mixed else ("accepted",)
        answers = [(message, self._one_of(*kinds)) for message in messages]
        if answers:
            self._do("answers", lambda: self.product.write_outcomes(answers), kill=self._kill())
        self.unreported += [message.id for message, kind in answers if kind in ("accepted", "in_doubt")]

    def receive(self, *, word: str = "") -> None:
        """The provider reports, or never does; its clock may be half an hour behind."""
        if not self.unreported:
            return
        ids = self.unreported if word or self._one_in(2) else [self._pick(self.unreported)]
        word = word or self._one_of(
            "delivered", "delivered", "delivered", "undeliverable", "expired", "never"
        )
        self.unreported = [one for one in self.unreported if one not in ids]
        if word == "never":
            return
        happened = self.now - self._one_of(timedelta(), timedelta(minutes=30))
        self._do("receipts", lambda: self.product.receive([(one, word, happened) for one in ids]))
        for one in ids:
            self.judge.note_delivery(one, happened)

    def conclude(self) -> None:
        if self._run("conclude", conclude_cases):
            self.judge.concluded(self.before)

    def hand_over(self) -> None:
        refused = False

        def step() -> None:
            nonlocal refused
            with suppress(FeedStale):
                refused = True
                hand_over()
                refused = False

        if self._run("hand over", step):
            fresh = self.world.is_fresh_this_morning(self.now)
            self.judge.check("no hand-over without the same morning, and only then", refused != fresh)
            if fresh:
                self.judge.handed_over(self.before)

    def list_letters(self) -> None:
        refused = False

        def step() -> None:
            nonlocal refused
            with suppress(FeedStale):
                refused = True
                list_letters()
                refused = False

        if self._run("letters", step):
            self.judge.check(
                "no letters on stale feeds, and only then", refused != self.world.is_fresh(self.now)
            )
            if not refused:
                self.judge.letters_listed()

    def list_call_backs(self) -> None:
        if self._run("call backs", list_call_backs):
            self.judge.call_backs_listed()

    # --- Whole stretches, as the workflows do them

    def working_day(self) -> None:
        """The day's run on fresh feeds, on the next day or on the one on which something comes due."""
        self._wake_up_at(9, 30)
        self.decide()
        self.plan()
        if self._one_in(4):
            self._news_comes()
        self.send(most=500, outcome="accepted")
        if not self._one_in(4):  # else their word comes another day
            self.receive(word=self._one_of(*["delivered"] * 6, "undeliverable", "never"))
        self.conclude()
        if self._one_in(3):
            self.list_letters()

    def _news_comes(self) -> None:
        """Something is told, and loaded, that nobody has taken up when the next message is claimed."""
        what = (
            "pay",
            "pay",
            "reverse",
            "correct_payment",
            "state_fact",
            "change_fact",
            "change_subscription",
        )
        self._happens(self._one_of(*what))
        self._take_all()

    def early_morning(self) -> None:
        """The hand-over to the field teams, as often as not on the next day that a customer was told."""
        told = [
            case.cut_from
            for case in self.judge.sight.cases.values()
            if case.state == "warned_again" and case.cut_from and case.cut_from > self.today
        ]
        self._wake_up_at(6, 0, min(told, default=None) if self._one_in(2) else None)
        self.hand_over()
        if self._one_in(3):
            self.list_call_backs()

    def _wake_up_at(self, hour: int, minute: int, day: date | None = None) -> None:
        day = day or (self.today + ONE_DAY if self._one_in(4) else self._day_of_interest())
        self._pass_to(at(day, hour, minute))
        for _ in range(self._one_of(0, 0, 0, 1) if self.calm else self._one_of(0, 0, 2, 4, 8, 16)):
            self._happens(self._one_of(*[name for name, n in MEANWHILE.items() for _ in range(n)]))
        match self._one_of(*["fresh"] * 8, "behind", "nothing"):
            case "fresh":
                self._take_all()
            case "behind":  # one channel is not complete up to this morning, or not even to yesterday's
                lag = self._one_of(timedelta(hours=3), timedelta(hours=26), timedelta(hours=31))
                self._take_all({self._one_of(*CHANNELS): lag})
        self.apply()

    def _take_all(self, behind: dict[str, timedelta] | None = None) -> None:
        earlier = len(self.on_its_way)
        self._export_all(behind or {})
        self._take([self.on_its_way.pop() for _ in range(len(self.on_its_way) - earlier)])

    def _day_of_interest(self) -> date:
        """The next day on which a case asks for something, as far as it can be seen."""
        days = []
        for case in self.judge.sight.cases.values():
            if case.state == "scheduled" and not case.under_way:
                days += [case.due_date - REMIND_BEFORE_DUE, case.warn_from]
            elif case.state == "warned" and case.cut_from:
                days.append(case.cut_from - SECOND_BEFORE_CUT)
            elif case.state == "warned_again" and case.cut_from:
                days.append(case.cut_from)
        day = min((day for day in days if day > self.today), default=self.today + ONE_DAY)
        while not may_send_on(day):
            day += ONE_DAY
        return day
