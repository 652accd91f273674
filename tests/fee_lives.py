"""Random lives of fees: what happens to a few subscriptions, and a judge who reckons what has to follow.

The judge is plain Python over lists, and shares no code with the product: where both say the same, two have
read the same rules. After each action he compares every charge and subscription, the journal, the files and
what customers were told.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from fatoura import clock
from fatoura.database import begin, get_engine
from fatoura.errors import BadInput
from fatoura.fees import renewing
from fatoura.fees.balance import check_books
from fatoura.fees.crediting import correct, refund
from fatoura.fees.keeping import keep_up
from fatoura.fees.waiving import Waiver, grant
from fatoura.subscriptions.leaving import Leaver, leave
from tests.cutoff import know
from tests.fees import answer, load_answers, send_news, subscribe, told
from tests.model.kills import Killed, killed_at
from tests.notices import run_sql

if TYPE_CHECKING:
    from collections.abc import Callable

PRICE = 1_000
ANNOUNCE, ANNOUNCED_FOR, CHARGE, BACK, GRACE, ANSWERED = 60, 14, 31, 90, 90, 10
OPEN = ("announced", "due", "filed", "accepted", "refused", "taken_back")
OWED = ("due", "filed", "rejected", "accepted", "refused", "taken_back")
LAPSES = ("accepted", "refused", "taken_back")
RANK = ("filed", "rejected", "accepted", "refused")
AT_THE_END = {"left": "nothing", "contract_ended": "months", "crossed_out": "everything", "erased": "nothing"}


def later(day: date, days: int) -> date:
    return day + timedelta(days=days)


def year_on(day: date, years: int) -> date:
    """The same day so many years on; of 29 February the 28th where there is no 29th."""
    last = 29 if (day.year + years) % 4 == 0 else 28
    return date(day.year + years, day.month, min(day.day, last) if day.month == 2 else day.day)


def month_on(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    lengths = [31, 29 if year % 4 == 0 else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    return date(year, month + 1, min(day.day, lengths[month]))


@dataclass
class Charge:
    """What a year costs, as the judge has it."""

    start: date
    end: date
    announced: date | None
    state: str = "announced"
    left: bool = False
    told: int | None = None
    told_on: date | None = None
    grace: date | None = None
    owed: int = 0
    paid: int = 0
    back: int = 0
    given: int = 0
    credits: int = 0
    covered: tuple[date, date] | None = None
    lapsed: date | None = None
    answers: dict[tuple[str, int], datetime] = field(default_factory=dict)
    known: set[tuple[str, int]] = field(default_factory=set)
    number: int = 0
    planned: bool = False
    tried: bool = False
    books: Counter[str] = field(default_factory=Counter)

    def entry(self, debit: str, credit: str, millimes: int) -> None:
        """Write into the judge's own books."""
        self.books[debit] += millimes
        self.books[credit] -= millimes

    def credit(self, millimes: int) -> None:
        """The billing system is told, if it holds the charge."""
        if self.told is not None and self.state != "rejected":
            self.credits += millimes

    def credit_what_is_missing(self) -> None:
        """It holds what it had rejected before: it is told what was taken off meanwhile."""
        assert self.told is not None
        self.credits = max(self.credits, self.told - (self.owed + self.paid - self.back - self.given))

    def asked(self, amount: int) -> bool:
        assert self.told is not None
        return self.told - self.credits <= amount <= self.told

    def finding(self, result: str, amount: int) -> str | None:
        """Why an answer does not count."""
        if self.told is None:
            return "not_told"
        if result == "refunded":
            if amount <= self.given:
                return None
            return "wrong_amount" if self.paid else "waits_for_payment"
        if not self.asked(amount):
            return "wrong_amount"
        if result == "paid" and amount > self.paid:
            return "after_taken_back"
        overruled = {"refused": ("paid",), "rejected": ("paid", "accepted")}.get(result, ())
        at = self.answers[result, amount]
        if any(one in overruled and self.asked(much) and told < at
               for (one, much), told in self.answers.items()):  # fmt: skip
            return "contradicts"
        return None


@dataclass
class Subscription:
    id: int
    reference: str
    created: date
    state: str = "active"
    reason: str | None = None
    began: date | None = None
    paid_until: date | None = None
    charges: list[Charge] = field(default_factory=list)
    ended: date | None = None
    closed: bool = False

    def charge_of(self, start: date) -> Charge | None:
        return next((one for one in self.charges if one.start == start), None)


class Judge:
    """What has to be so, by the rules."""

    def __init__(self, today: Callable[[], date]) -> None:
        self.today = today
        self.subscriptions: list[Subscription] = []
        self.waivers: dict[tuple[str, str], tuple[date, date | None]] = {}
        self.contracts_ended: dict[str, date] = {}
        self.known: date | None = None

    # --- Rules

    def free(self, one: Subscription, day: date) -> bool:
        return any(
            reference == one.reference and first <= day and (last is None or day <= last)
            for (reference, _), (first, last) in self.waivers.items()
        )

    def cover(self, one: Subscription, charges: list[Charge]) -> None:
        """Charges count as paid: the subscription moves on, or comes back."""
        day = self.today()
        was = one.state
        for charge in charges:
            back = was == "lapsed" and charge.lapsed is not None
            charge.covered = (day, later(year_on(day, 1), -1)) if back else (charge.start, charge.end)
            if one.state == "ended":
                continue
            assert one.paid_until is not None
            one.paid_until = max(one.paid_until, charge.covered[1])
            if back:
                one.state, one.reason, one.began = "active", None, day

    def forgo(self, charge: Charge, state: str) -> None:
        account = "waived" if state == "waived" else "given_up"
        if charge.owed:
            charge.credit(charge.owed)
            charge.entry(account, "receivable", charge.owed)
        elif state == "waived":
            charge.entry("receivable", "income", PRICE)
            charge.entry(account, "receivable", PRICE)
        charge.state, charge.owed = state, 0

    def next_year(self, one: Subscription) -> tuple[date, date, date] | None:
        """First and last day of the year that comes next, and the day that its years count from."""
        day = self.today()
        if one.state != "active" or one.began is None or any(c.state in OPEN for c in one.charges):
            return None
        assert one.paid_until is not None
        if one.paid_until >= later(day, ANNOUNCE):
            return None
        start = later(max([one.paid_until, *(c.end for c in one.charges if c.state == "rejected")]), 1)
        start = day if start < later(day, -BACK) else start
        if start > later(day, ANNOUNCE):
            return None
        anchor = one.began if year_on(one.began, start.year - one.began.year) == start else start
        return start, later(year_on(anchor, start.year - anchor.year + 1), -1), anchor

    # --- Steps of the product

    def take_up(self) -> None:
        for one in self.subscriptions:
            if one.state != "ended" and one.began is None:
                one.began, one.paid_until = one.created, later(one.created, -1)

    def announce(self) -> None:
        day = self.today()
        for one in self.subscriptions:
            for charge in one.charges:
                if charge.state == "announced" and charge.start < later(day, -BACK) and one.state == "active":
                    self.forgo(charge, "withdrawn")
            year = self.next_year(one)
            if year and not self.free(one, year[0]):
                one.began = year[2]
                if one.charge_of(year[0]) is None:
                    one.charges.append(Charge(year[0], year[1], day))

    def charge(self) -> None:
        day = self.today()
        self.waive_what_is_free()
        for one in self.subscriptions:
            for charge in one.charges:
                if (
                    charge.state == "announced"
                    and one.state == "active"
                    and charge.left
                    and charge.announced <= later(day, -ANNOUNCED_FOR)
                    and charge.start <= later(day, CHARGE)
                ):
                    charge.state, charge.owed = "due", PRICE
                    charge.entry("receivable", "income", PRICE)
            year = self.next_year(one)
            if year and self.free(one, year[0]) and year[0] <= later(day, CHARGE):
                one.began = year[2]
                if one.charge_of(year[0]) is None:
                    one.charges.append(Charge(year[0], year[1], None))
                    self.forgo(one.charges[-1], "waived")
                    self.cover(one, one.charges[-1:])

    def file(self) -> None:
        for one in self.subscriptions:
            for charge in one.charges:
                if charge.state == "due":
                    charge.state, charge.told, charge.told_on = "filed", charge.owed, self.today()
                    charge.grace = later(max(later(charge.start, -1), self.today()), GRACE)

    def waive_what_is_free(self) -> None:
        for one in self.subscriptions:
            free = [
                charge
                for charge in one.charges
                if one.state != "ended"
                and (charge.state in OPEN or charge.state == "rejected")
                and self.free(one, charge.start)
            ]
            for charge in free:
                self.forgo(charge, "waived")
            self.cover(one, free)

    def give_back_waived(self) -> None:
        for one in self.subscriptions:
            for charge in one.charges:
                under_way = one.state != "ended" and charge.state == "paid" and charge.end >= self.today()
                if under_way and self.free(one, charge.start):
                    self.give_back(charge, charge.paid - charge.back - charge.given)

    def give_back(self, charge: Charge, millimes: int) -> None:
        if millimes > 0:
            charge.back += millimes
            charge.credit(millimes)
            charge.entry("credited", "payable", millimes)

    def settle(self) -> None:
        for one in self.subscriptions:
            waits = [c for c in one.charges if any(c.finding(*told) for told in c.answers)]
            self.book(one, waits)
        for one in self.subscriptions:
            for charge in one.charges:
                if charge.state in OWED and charge.lapsed and one.state in ("active", "suspended"):
                    one.began, one.paid_until = self.today(), later(self.today(), -1)
                    self.forgo(charge, "withdrawn")
        self.waive_what_is_free()
        self.give_back_waived()
        self.close()

    def close(self) -> None:
        day = self.today()
        for one in self.subscriptions:
            since = self.contracts_ended.get(one.reference)
            if since is not None and since <= day and one.state != "ended":
                one.state, one.reason, one.ended = "ended", "contract_ended", day
            if one.state != "ended" or one.began is None or one.closed:
                continue
            assert one.ended is not None
            assert one.reason is not None
            ended = min(one.ended, day)
            if one.reason == "contract_ended" and since is not None and since <= day:
                ended = min(ended, since)
            for charge in one.charges:
                if charge.state in OPEN or charge.state in OWED:
                    self.forgo(charge, "withdrawn")
                elif charge.state == "paid" and charge.covered and charge.covered[1] > ended:
                    kept = charge.paid - charge.back - charge.given
                    unused = sum(month_on(charge.covered[0], n) > ended for n in range(12))
                    self.give_back(
                        charge,
                        {"nothing": 0, "months": -(-kept * unused // 12), "everything": kept}[
                            AT_THE_END[one.reason]
                        ],
                    )
            one.closed = True

    def lapse(self) -> None:
        day = self.today()
        for one in self.subscriptions:
            for charge in one.charges:
                if (
                    one.state == "active"
                    and charge.state in LAPSES
                    and charge.lapsed is None
                    and self.known is not None
                    and charge.grace < min(day, self.known)
                    and not any(charge.finding(*told) for told in charge.answers)
                ):
                    one.state = "lapsed"
                    one.reason = "fee_refused" if charge.state == "refused" else "fee_unpaid"
                    charge.lapsed = day

    # --- Answers

    def book(self, one: Subscription, charges: list[Charge]) -> None:
        """All that is known of charges counts, whatever its order."""
        covering = [charge for charge in charges if charge.told is not None and self._book(one, charge)]
        taken_back = [charge for charge in covering if charge.state == "taken_back"]
        self.cover(one, covering)
        for charge in taken_back:
            self._uncover(one, charge)

    def _book(self, one: Subscription, charge: Charge) -> bool:
        assert charge.told is not None
        said = {result for result, amount in charge.answers if charge.asked(amount)} - {"refunded", "paid"}
        paid = [amount for result, amount in charge.answers if result == "paid" and charge.asked(amount)]
        more = 0 if charge.state == "taken_back" else max(0, max(paid, default=0) - charge.paid)
        applied = min(more, charge.owed)
        charge.paid += more
        charge.owed -= applied
        charge.back += more - applied
        charge.entry("collected", "receivable", applied)
        charge.entry("collected", "payable", more - applied)
        newly = False
        if charge.state in RANK:
            if applied and not charge.owed:
                charge.state, newly = "paid", True
            else:
                was, charge.state = charge.state, max([charge.state, *said], key=_rank)
                assert charge.told_on is not None
                assert charge.grace is not None
                if was != charge.state == "accepted" and charge.told_on < later(self.today(), -ANSWERED):
                    charge.grace = max(charge.grace, later(self.today(), GRACE))
        if paid or said & {"accepted", "refused"}:
            charge.credit_what_is_missing()
        right = (charge.paid, charge.back + charge.given)
        given = max(
            [a for r, a in charge.answers if r == "refunded" and a in right and charge.paid], default=0
        )
        more = max(0, given - charge.given)
        if more:
            ordered = min(more, charge.back)
            charge.back -= ordered
            charge.given += more
            charge.entry("payable", "collected", ordered)
            charge.entry("receivable", "collected", more - ordered)
            if more > ordered:
                charge.owed += more - ordered
                charge.grace = later(self.today(), GRACE)
                charge.state = "taken_back"
                if not newly:
                    self._uncover(one, charge)
            elif charge.state == "paid" and charge.given == charge.paid:
                charge.state = "refunded"
        return newly

    def _uncover(self, one: Subscription, charge: Charge) -> None:
        assert charge.covered is not None
        if one.paid_until == charge.covered[1]:
            one.paid_until = later(charge.covered[0], -1)
        one.closed = False


def _rank(state: str) -> int:
    return RANK.index(state)


ACTIONS = {
    # The clock, and the product's steps.
    **{"month_passes": 16, "days_pass": 2, "leap": 1, "run_killed": 1, "keep": 2},
    # The billing system.
    **{"answers": 24, "deliver": 4, "after_all": 2},
    # Customers and clerks.
    **{"subscribe": 2, "subscribe_again": 3, "suspend": 1, "leave": 1, "contract_ends": 2},
    **{"waive": 2, "end_waiver": 1, "give_back": 4, "correct": 4},
}
"""What can happen, and how often beside the others."""


class FeeLives(RuleBasedStateMachine):
    """One example is one life of a few subscriptions. Needs an empty database, and empties it afterwards."""

    reached: ClassVar[Counter[str]] = Counter()
    """What lives have come to, over all of them: states of charges and subscriptions, findings, actions."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2027, 5, 10, 9, tzinfo=UTC)
        self._clock = clock.now
        clock.now = lambda: self.now  # type: ignore[assignment]
        self.judge = Judge(lambda: clock.today())
        self.unsent: list[dict[str, Any]] = []
        self.feeds = 0
        self._data: st.DataObject

    def teardown(self) -> None:
        clock.now = self._clock  # type: ignore[assignment]
        empty()

    # --- Drawing

    def _one_of(self, *values: Any) -> Any:
        return self._data.draw(st.sampled_from(values))

    def _subscription(self) -> Subscription:
        return self._data.draw(st.sampled_from(self.judge.subscriptions))

    def _charge(self, *states: str) -> tuple[Subscription, Charge] | None:
        found = [(one, c) for one in self.judge.subscriptions for c in one.charges if c.state in states]
        return self._data.draw(st.sampled_from(found)) if found else None

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self._data = data
        self._subscribe("000000001")
        self._subscribe("000000002")

    @rule(data=st.data(), action=st.sampled_from([name for name, n in ACTIONS.items() for _ in range(n)]))
    def step(self, data: st.DataObject, action: str) -> None:
        self._data = data
        note(f"{clock.today()} {action}")
        self.reached[action] += 1
        getattr(self, action)()
        self.compare()

    # --- Time

    def month_passes(self) -> None:
        """To the first of the next month, and its run; what it tells is accepted soon, or not."""
        today = clock.today()
        self._go(month_on(today.replace(day=1), 1))
        self._load([])
        self.run(news=self._one_of("sent", "sent", "too late", "waits"))
        self._count_charges()
        filed = [c for one in self.judge.subscriptions for c in one.charges if c.state == "filed"]
        for charge in filed if self._one_of(True, True, True, False) else ():
            self._tell(charge, self._one_of("accepted", "accepted", "refused", "rejected"), charge.told or 0)
        if filed:
            self.deliver()

    def days_pass(self) -> None:
        self._go(later(clock.today(), self._one_of(1, 13, 45, 100)))

    def leap(self) -> None:
        """To a 29 February, on which somebody subscribes, or comes back."""
        year = clock.today().year
        days = [date(one, 2, 29) for one in range(year, year + 5) if one % 4 == 0]
        self._go(next(day for day in days if day >= clock.today()))
        lapsed = [one for one in self.judge.subscriptions if one.state == "lapsed"]
        if lapsed:
            owed = next(c for c in lapsed[0].charges if c.lapsed and c.state in OWED)
            if owed.told is not None and owed.state in LAPSES and owed.state != "taken_back":
                self._tell(owed, "paid", owed.owed)
                self.deliver()
        elif len(self.judge.subscriptions) < 3:
            self._subscribe(f"{len(self.judge.subscriptions) + 1:09d}")

    def _go(self, day: date) -> None:
        self.now = datetime(day.year, day.month, day.day, 9, tzinfo=UTC)

    # --- The product's steps

    def run(self, *, news: str = "sent") -> None:
        self._steps(plan=True)
        self._judge_run()
        self._send(news)

    def _steps(self, *, plan: bool) -> None:
        """Each step leaves books that balance."""
        keep_up()
        cycle, _ = renewing.begin_run()
        for step in (renewing.announce, renewing.charge, renewing.write_file, renewing.renew):
            step(cycle)
            self.balance()
        if plan:
            renewing.plan(cycle)

    def _judge_run(self) -> None:
        judge = self.judge
        judge.settle()
        self._plan()
        judge.take_up()
        judge.announce()
        judge.charge()
        judge.file()
        judge.settle()
        judge.lapse()
        self._plan()

    def _plan(self) -> None:
        """What has not been said is planned; an announcement that is told anew counts from today."""
        for one in self.judge.subscriptions:
            for charge in one.charges:
                if charge.state == "announced" and one.state == "active" and not charge.left:
                    if charge.tried and not charge.planned:
                        charge.announced = clock.today()
                    charge.tried = charge.planned = True

    def _send(self, news: str = "sent") -> None:
        """What is planned leaves, is cancelled, or waits for an open window."""
        self.reached[f"news {news}"] += 1
        if news == "waits":
            return
        if news == "sent":
            send_news()
        else:
            run_sql("UPDATE notice SET state = 'cancelled', reason = 'too_late' WHERE state = 'planned'")
        for one in self.judge.subscriptions:
            for charge in one.charges:
                if charge.planned:
                    charge.planned = False
                    if news == "sent" and charge.state == "announced" and one.state == "active":
                        charge.left = True

    def run_killed(self) -> None:
        """A run is killed somewhere on its way, and done again until there is nothing left to do."""
        moment = self._data.draw(st.integers(1, 120))
        try:
            with killed_at(get_engine(), moment):
                self._steps(plan=False)
        except Killed:
            self.reached["killed"] += 1
        self.balance()
        self.run()
        self.run()
        self.compare_told()

    def keep(self) -> None:
        keep_up()
        self.judge.settle()
        self._plan()
        self._send()

    # --- Customers and clerks

    def _subscribe(self, reference: str) -> None:
        number = subscribe(reference)
        self.judge.subscriptions.append(Subscription(number, reference, clock.today()))

    def subscribe(self) -> None:
        """Somebody new, or somebody who has left."""
        ended = [one for one in self.judge.subscriptions if one.state == "ended"]
        current = {one.reference for one in self.judge.subscriptions if one.state != "ended"}
        free = [
            one.reference for one in ended if one.reference not in current | set(self.judge.contracts_ended)
        ]
        if free:
            self._subscribe(free[0])
        elif len(current) < 3:
            self._subscribe(f"{len({one.reference for one in self.judge.subscriptions}) + 1:09d}")

    def subscribe_again(self) -> None:
        for one in self.judge.subscriptions:
            if one.state == "lapsed":
                run_sql(
                    "UPDATE subscription SET state = 'active', state_reason = NULL WHERE id = :id", id=one.id
                )
                one.state, one.reason = "active", None
                return

    def suspend(self) -> None:
        one = self._subscription()
        if one.state in ("active", "suspended"):
            one.state = "active" if one.state == "suspended" else "suspended"
            run_sql("UPDATE subscription SET state = :state WHERE id = :id", state=one.state, id=one.id)

    def leave(self) -> None:
        one = self._subscription()
        if one.state != "ended":
            one.reason = self._one_of("left", "crossed_out")
            one.state, one.ended = "ended", clock.today()
            with begin() as connection:
                leave(connection, [Leaver(one.reference, "x", "Sonia")], channel="clerk", reason=one.reason)

    def contract_ends(self) -> None:
        one = self._subscription()
        if one.state != "ended" and one.reference not in self.judge.contracts_ended:
            day = later(clock.today(), self._one_of(-40, 0, 20))
            know("contract_ended", one.reference, valid_from=day)
            self.judge.contracts_ended[one.reference] = day

    def waive(self) -> None:
        one = self._subscription()
        first = later(clock.today(), self._one_of(-200, -20, 0, 40))
        last = self._one_of(None, later(first, 30), later(first, 300))
        self._grant(one.reference, self._one_of("staff", "social"), first, last)

    def end_waiver(self) -> None:
        standing = sorted(self.judge.waivers)
        if standing:
            reference, because = self._data.draw(st.sampled_from(standing))
            first, _ = self.judge.waivers[reference, because]
            self._grant(reference, because, first, later(max(first, clock.today()), -1))

    def _grant(self, reference: str, because: str, first: date, last: date | None) -> None:
        grant([Waiver(reference, because, first, last)], by="Sonia")
        self.judge.waivers[reference, because] = first, last
        self.judge.waive_what_is_free()
        self.judge.give_back_waived()

    def give_back(self) -> None:
        if found := self._charge("paid"):
            _, charge = found
            kept = charge.paid - charge.back - charge.given
            if kept:
                millimes = self._one_of(kept, max(kept // 3, 1))
                refund(f"F{charge.number}", millimes, reason="complaint", by="Sonia")
                self.judge.give_back(charge, millimes)

    def correct(self) -> None:
        if found := self._charge(*OWED, "paid", "refunded", "waived"):
            self._lower(*found)

    def _lower(self, one: Subscription, charge: Charge) -> None:
        held = charge.owed or charge.paid - charge.back - charge.given
        new = self._one_of(0, max(held // 2, 1))
        try:
            correct(f"F{charge.number}", new, reason="wrong price", by="Sonia")
        except BadInput:
            assert charge.state not in (*OWED, "paid") or new >= held
            return
        if charge.owed and not new:
            self.judge.forgo(charge, "waived")
            self.judge.cover(one, [charge])
        elif charge.owed:
            charge.owed = new
            charge.credit(held - new)
            charge.entry("credited", "receivable", held - new)
        else:
            self.judge.give_back(charge, held - new)

    # --- The billing system

    def answers(self) -> None:
        """Answers about a charge come into being; they are delivered in any order, some twice."""
        asked = self._charge(*RANK) if self._one_of(True, True, True, True, False) else None
        found = asked or self._charge("due", "taken_back", "paid", "paid", "waived", "withdrawn", "refunded")
        if found is None:
            return
        _, charge = found
        for result in self._one_of(
            ["accepted"], ["paid"], ["paid"], ["accepted", "paid"], ["refused"], ["refused", "paid"],
            ["rejected"], ["rejected", "accepted"], ["paid", "refunded"], ["refunded"], ["refunded"],
        ):  # fmt: skip
            right = charge.told if charge.told is not None else PRICE
            if result == "refunded":
                right = self._one_of(charge.paid or right, charge.back + charge.given or right)
            amount = self._one_of(*[right] * 6, max(right - charge.credits, 1), right + 7, 333)
            self._tell(charge, result, amount)
        if self._one_of(True, True, False):
            self.deliver()

    def after_all(self) -> None:
        """The billing system rejects a charge, a clerk lowers it, and it is charged after all."""
        if found := self._charge("filed", "rejected"):
            _, charge = found
            assert charge.told is not None
            if charge.state == "filed":
                self.now += timedelta(minutes=1)
                self._load([answer(f"F{charge.number}", "rejected", charge.told)])
            self._lower(*found)
            self._tell(charge, self._one_of("accepted", "paid", "refused"), charge.told)
            self.deliver()

    def _tell(self, charge: Charge, result: str, amount: int) -> None:
        self.now += timedelta(minutes=1)
        self.reached[f"answer {result}"] += 1
        self.unsent.append(answer(f"F{charge.number}", result, amount))

    def deliver(self) -> None:
        """Some of the answers arrive, in another order than that in which they came into being."""
        if self.unsent:
            some = self._data.draw(st.permutations(self.unsent))[: self._one_of(1, 9, 9)]
            for row in some:
                if not self._one_of(False, False, False, False, True):
                    self.unsent.remove(row)
            self._load(some)

    def _load(self, rows: list[dict[str, Any]]) -> None:
        self.feeds += 1
        # Told again with another hour it is the same answer, corrected: contradictions go by the last one.
        rows = list({(row["charge_id"], row["result"], row["amount_millimes"]): row for row in rows}.values())
        load_answers(f"{self.feeds:05d}", *rows)
        self.judge.known = clock.today()
        numbers = {row["charge_id"] for row in rows}
        for row in rows:
            for one in self.judge.subscriptions:
                for charge in one.charges:
                    if f"F{charge.number}" == row["charge_id"]:
                        told = row["result"], row["amount_millimes"]
                        charge.answers[told] = datetime.fromisoformat(row["at"])
        for one in self.judge.subscriptions:
            self.judge.book(one, [c for c in one.charges if f"F{c.number}" in numbers])

    # --- Comparing

    def _count_charges(self) -> None:
        """What the product calls each charge."""
        rows = run_sql("SELECT id, subscription_id, period_start FROM fee_charge")
        numbers = {(row.subscription_id, row.period_start): row.id for row in rows}
        for one in self.judge.subscriptions:
            for charge in one.charges:
                charge.number = numbers.get((one.id, charge.start), 0)

    def compare(self) -> None:
        self._count_charges()
        rows = run_sql(
            "SELECT id, subscription_id, period_start, period_end, state, owed_millimes, paid_millimes, "
            "owed_back_millimes, given_back_millimes, covered_from, covered_until FROM fee_charge ORDER BY id"
        ).all()
        expected = {
            one.id: (one.state, one.began, one.paid_until if one.state != "ended" else None)
            for one in self.judge.subscriptions
        }
        found = {
            row.id: (row.state, row.began_on, row.paid_until if row.state != "ended" else None)
            for row in run_sql("SELECT id, state, began_on, paid_until FROM subscription")
        }
        assert found == expected
        assert {(row.subscription_id, row.period_start): tuple(row)[3:9] for row in rows} == {
            (one.id, c.start): (c.end, c.state, c.owed, c.paid, c.back, c.given)
            for one in self.judge.subscriptions
            for c in one.charges
        }
        self.compare_findings()
        self.look_at_the_books(rows)
        self.reached.update(row.state for row in rows)
        self.reached.update(f"subscription {one.state}" for one in self.judge.subscriptions)

    def compare_findings(self) -> None:
        findings = {
            (row.charge_id, row.result, row.amount_millimes): row.finding
            for row in run_sql("SELECT charge_id, result, amount_millimes, finding FROM fee_result")
        }
        for one in self.judge.subscriptions:
            for charge in one.charges:
                for told_so in charge.answers:
                    found = findings[f"F{charge.number}", *told_so]
                    # It is looked at again by the next look; until then what it was found to be stands.
                    if found != charge.finding(*told_so):
                        assert found is not None or told_so in charge.known, (told_so, found)
                    charge.known.add(told_so)
                    self.reached[f"finding {found}"] += 1

    def balance(self) -> None:
        """At any time: the journal of each subscription says of it what its charges say."""
        journal: dict[int, Counter[str]] = {}
        for row in run_sql("SELECT subscription_id, debit, credit, amount_millimes FROM fee_entry"):
            books = journal.setdefault(row.subscription_id, Counter())
            books[row.debit] += row.amount_millimes
            books[row.credit] -= row.amount_millimes
        expected: dict[int, Counter[str]] = {}
        for row in run_sql("SELECT * FROM fee_charge"):
            books = expected.setdefault(row.subscription_id, Counter())
            books["receivable"] += row.owed_millimes
            books["payable"] -= row.owed_back_millimes
            books["collected"] += row.paid_millimes - row.given_back_millimes
            if row.charged_on or row.state == "waived":
                books["income"] -= row.amount_millimes
        for number, stands in expected.items():
            books = journal.pop(number, Counter())
            assert Counter({account: books[account] for account in stands}) == stands, (number, books, stands)
            forgone = books.total() - sum(books[account] for account in stands)
            assert forgone == -stands.total(), (number, books, stands)
            assert all(books[account] >= 0 for account in set(books) - set(stands)), (number, books)
        assert not journal, journal

    def look_at_the_books(self, rows: Any) -> None:
        """The journal is the judge's, account by account; the product finds its own in order."""
        self.balance()
        found: dict[int, Counter[str]] = {}
        for row in run_sql("SELECT charge_id, debit, credit, amount_millimes FROM fee_entry"):
            books = found.setdefault(row.charge_id, Counter())
            books[row.debit] += row.amount_millimes
            books[row.credit] -= row.amount_millimes
        credited = dict(run_sql("SELECT charge_id, sum(amount_millimes) FROM fee_credit GROUP BY 1").all())
        for one in self.judge.subscriptions:
            for charge in one.charges:
                assert found.get(charge.number, Counter()) == charge.books, charge
                assert credited.get(charge.number, 0) == charge.credits, charge
        checked = check_books()
        assert checked.agree, checked.differences
        covered: dict[int, list[tuple[date, date]]] = {}
        for row in rows:
            if row.covered_from and row.state in ("paid", "refunded", "waived"):
                covered.setdefault(row.subscription_id, []).append((row.covered_from, row.covered_until))
        for years in covered.values():
            years.sort()
            assert all(one[1] < other[0] for one, other in pairwise(years)), years

    def compare_told(self) -> None:
        """No charge in two files, and nothing said twice."""
        lines = told()
        charged = Counter(row["charge_id"] for row in lines if row["kind"] == "charge")
        assert all(count == 1 for count in charged.values()), charged
        net: Counter[str] = Counter()
        for row in lines:
            net[row["charge_id"]] += int(row["amount_millimes"]) * (1 if row["kind"] == "charge" else -1)
        for one in self.judge.subscriptions:
            for charge in one.charges:
                if charge.told is not None:
                    assert net[f"F{charge.number}"] == charge.told - charge.credits, charge
        said = run_sql(
            "SELECT kind, subject FROM notice WHERE state <> 'cancelled' GROUP BY 1, 2 HAVING count(*) > 1"
        ).all()
        assert said == []


def empty() -> None:
    """Empty all tables that a life fills."""
    run_sql(
        "TRUNCATE subscription, consent, fee_charge, fee_credit, fee_entry, fee_file, fee_result, "
        "fee_waiver, subscriber_count, notice, cycle, stage, feed, account_fact, set_aside_row, "
        "superseded_row, feed_refusal RESTART IDENTITY CASCADE"
    )
