"""The judge: looks at what the product did after each step, and says whether it may have, and whether it had to.

What it knows comes from the world, as it was told, and from the messages that it delivered itself. It reads
the product's tables to see what was done; why that is right or wrong it reckons by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from tests.model.days import ONE_DAY, at, day_of, may_cut_on, next_cut_day
from tests.model.world import BY_PAYMENT, NOTICE_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from tests.model.product import Case, Decision, Notice, Product, Sight
    from tests.model.world import World

MOVES = {
    "scheduled": {"warned", "not_warned", "paid", "excluded"},
    "warned": {"warned_again", "handed_over", "not_warned", "paid", "excluded"},
    "warned_again": {"handed_over", "not_warned", "paid", "excluded"},
    "handed_over": {"paid", "excluded"},
    "not_warned": {"paid", "excluded"},
    "paid": set(),
    "excluded": set(),
}
CLOSED = {"paid", "excluded"}
WARNINGS = {"cutoff_warning": "scheduled", "cutoff_second_warning": "warned"}
"""Each warning, and where a case stands that waits for it."""
SECOND_BEFORE_CUT = timedelta(days=4)
SECOND_NOTICE = timedelta(days=3)
REMIND_BEFORE_DUE = timedelta(days=3)
NEWS_FOR = timedelta(days=3)
DOUBT_HORIZON, SETTLE_HORIZON = timedelta(hours=6), timedelta(hours=72)
FAILED = {"undeliverable", "expired", "rejected"}
LEFT = {"sending", "in_doubt", "accepted", "delivered"}
"""A message that may have been read."""


class Violation(AssertionError):
    """The product did what it must not, or left undone what it has to."""


@dataclass
class Tally:
    """What a run came to: how often each thing was done, met and checked."""

    actions: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    lives: int = 0

    def add(self, other: Tally) -> None:
        for name in ("actions", "steps", "checked", "met", "paths", "reasons"):
            getattr(self, name).update(getattr(other, name))
        self.lives += other.lives


class Judge:
    """Judges one life: call `look` after each step of the product.

    :param now: the present instant.
    :param most: warnings of one day, by the rules.
    """

    def __init__(
        self, world: World, product: Product, now: Callable[[], datetime], tally: Tally, *, most: int
    ) -> None:
        self.world, self._product, self._now, self.tally, self._most = world, product, now, tally, most
        self.delivered: dict[UUID, datetime] = {}
        self.sight: Sight = product.look()
        self._paths: dict[tuple[str, int], list[str]] = {}

    @property
    def today(self) -> date:
        return day_of(self._now())

    def check(self, rule: str, holds: object, found: Callable[[], object] | str = "") -> None:
        self.tally.checked[rule] += 1
        if not holds:
            raise Violation(f"{rule}: {found() if callable(found) else found}")

    def note_delivery(self, notice_id: UUID, happened: datetime) -> None:
        """Note what the provider has reported, where the product took it for delivered."""
        notice = self.sight.notices[notice_id]
        if notice.state == "delivered" and notice_id not in self.delivered:
            assert notice.submitted_at is not None
            # A clock that is behind would say that it arrived before it left.
            self.delivered[notice_id] = happened if happened >= notice.submitted_at else self._now()

    # --- After each step

    def look(self) -> Sight:
        """Look at what has changed, and insist that all of it may be; return what was seen before."""
        before, self.sight = self.sight, self._product.look()
        sight = self.sight
        new = sight.decisions[len(before.decisions) :]
        self._cases_go_forward(before, new)
        self._decisions_are_true(before, new)
        self._notices_are_founded(before)
        self._lines_are_founded(before)
        return before

    def _cases_go_forward(self, before: Sight, new: list[Decision]) -> None:
        decided: dict[tuple[str, int], list[Decision]] = defaultdict(list)
        for decision in new:
            decided[decision.case].append(decision)
        cases = self.sight.cases
        self.check("no case vanishes", not before.cases.keys() - cases.keys())
        last: dict[str, int] = Counter(number for number, _ in cases)
        for key, case in cases.items():
            was = before.cases.get(key)
            if was == case:
                continue
            self.check(
                "each bill has one latest case",
                1 <= case.sequence <= last[case.invoice_number]
                and (case.sequence == last[case.invoice_number] or case.state in CLOSED),
                lambda case=case: case,
            )
            if was is None:
                self._paths[key] = [case.opened_because, case.state]
                self.check("cases begin as scheduled", case.state == "scheduled", lambda case=case: case)
                if case.opened_because in ("reversal", "left_out_no_more"):
                    self._explained(case, decided[key], "reopen", case.opened_because)
            elif was.state != case.state:
                self._paths[key].append(case.state)
                self.check(
                    "states go forward",
                    case.state in MOVES[was.state],
                    lambda was=was, case=case: f"{was} became {case}",
                )
                if case.reason:
                    self.tally.reasons[f"{case.state}: {case.reason}"] += 1
                match case.state:
                    case "paid" | "excluded":
                        verdict = "withdraw" if self.was_told(before, key) else "leave_out"
                        self._explained(case, decided[key], verdict, case.reason)
                        self.check(
                            "paid means paid", (case.state == "paid") == (case.reason == "paid"), str(case)
                        )
                    case "not_warned":
                        self._explained(case, decided[key], "letter", case.reason)
                    case "warned" | "warned_again":
                        self._explained(case, decided[key], "warned", None)
                    case "handed_over":
                        self._explained(case, decided[key], "hand_over", None)

    def _explained(self, case: Case, decided: list[Decision], verdict: str, reason: str | None) -> None:
        self.check(
            "each move has a decision that says why",
            [one for one in decided if (one.verdict, one.reason) == (verdict, reason)],
            lambda: f"{case} by {decided}, {verdict} {reason} was expected",
        )

    def _decisions_are_true(self, before: Sight, new: list[Decision]) -> None:
        for decision in new:
            self.tally.met[f"decision: {decision.moment} {decision.verdict}"] += 1
            case = self.sight.cases[decision.case]
            was = before.cases.get(decision.case, case)
            if decision.verdict in ("withdraw", "leave_out"):
                true = self.world.reasons(case.invoice_number, was.revision, self.today)
                self.check(
                    "reasons are true",
                    decision.reason in true,
                    lambda decision=decision, true=true: f"{decision}, but only {true} speak against {case}",
                )
            elif decision.verdict == "letter":
                self._letter_is_due(before, decision, was)
            elif decision.verdict == "reopen":
                against = self.world.reasons(case.invoice_number, case.revision, self.today)
                self.check("reopened only when owed again", not against, lambda: f"{case}: {against}")
            elif decision.verdict == "notify":
                self._may_be_notified(decision, was)
            # What was owed when the message was decided stands in the decisions about what became of it.
            if decision.balance_millimes is not None and decision.moment != "settled":
                owed = self.world.balance(case.invoice_number, case.revision)
                self.check(
                    "balances are as reckoned",
                    decision.balance_millimes == owed,
                    lambda decision=decision, owed=owed: f"{decision}, but {owed} is owed",
                )

    def _letter_is_due(self, before: Sight, decision: Decision, was: Case) -> None:
        if decision.moment == "settled":
            notice = before.notices[was.under_way] if was.under_way else None
            waited = self._now() - notice.submitted_at if notice and notice.submitted_at else timedelta()
            self.check(
                "not warned: no word, or a bad one",
                notice is not None
                and (
                    (decision.reason == "undelivered" and notice.state in FAILED)
                    or (
                        decision.reason == "no_final_receipt"
                        and (
                            (notice.state == "in_doubt" and waited > DOUBT_HORIZON)
                            or (notice.state == "accepted" and waited > SETTLE_HORIZON)
                        )
                    )
                ),
                lambda: f"{decision}: {notice} after {waited}",
            )
        else:
            found = self.world.unreachable(was.invoice_number, self.today)
            self.check("letters: unreachable", decision.reason in found, lambda: f"{decision}: {found}")

    def _may_be_notified(self, decision: Decision, case: Case) -> None:
        today, number = self.today, case.invoice_number
        against = self.world.reasons(number, case.revision, today) | self.world.unreachable(number, today)
        self.check("decided: owed and not left out", not against, lambda: f"{decision}: {against}")
        self.check(
            "decided: on fresh feeds only",
            self.world.is_fresh(self._now()),
            lambda: f"{decision} on {self.world.watermarks}",
        )
        if decision.notice_kind == "due_reminder":
            self.check("no cut is announced by a reminder", decision.cut_from is None, lambda: decision)
            return
        first = decision.notice_kind == "cutoff_warning"
        earliest = next_cut_day(today + (NOTICE_DAYS * ONE_DAY if first else SECOND_NOTICE))
        if not first and case.cut_from:
            earliest = max(earliest, case.cut_from)
        self.check(
            "the day of the cut is as reckoned",
            decision.cut_from == earliest,
            lambda: f"{decision}, but {earliest} was expected",
        )

    def _notices_are_founded(self, before: Sight) -> None:
        for notice in self.sight.notices.values():
            was = before.notices.get(notice.id)
            if was is None:
                self._may_be_planned(notice)
            elif was.state == "planned" and notice.state in LEFT:
                self._may_leave(before, notice)
            elif was.state == "planned" and notice.state == "cancelled":
                self._may_be_cancelled(before, notice)

    def _may_be_planned(self, notice: Notice) -> None:
        self.tally.met[f"planned: {notice.kind}"] += 1
        of_bill = [
            one
            for one in self.sight.notices.values()
            if one.kind == notice.kind and one.subject == notice.subject
        ]
        if notice.kind == "payment_received":
            # Who had been warned is told by a separate rule; here: of each case once.
            again = [one for one in of_bill if one.sequence == notice.sequence]
            case = self.sight.cases[notice.subject, notice.sequence]
            self.check("payment received: once", len(again) == 1, lambda: again)
            self.check(
                "payment received: only to who had been warned",
                self.was_told(self.sight, case.key),
                lambda: f"{notice} of {case}",
            )
            self.check(
                "payment received: only when a payment withdrew it",
                [
                    one
                    for one in self.sight.decisions
                    if one.case == case.key and one.verdict == "withdraw" and one.reason in BY_PAYMENT
                ],
                lambda: f"{notice} of {case}",
            )
            return
        alive = [one for one in of_bill if one.state != "cancelled"]
        if notice.kind == "due_reminder":
            self.check("reminded once", len(alive) == 1, lambda: alive)
            return
        decision = self.decision_of(notice)
        self.check(
            "warned by a decision of the same day",
            decision is not None and decision.day == self.today,
            lambda: notice,
        )
        assert decision is not None
        case = self.sight.cases[decision.case]
        mine = [one for one in self.warnings_of(self.sight, case.key) if one.kind == notice.kind]
        self.check(
            "each warning of a case is under way once",
            len([one for one in mine if one.state != "cancelled"]) == 1 and case.under_way == notice.id,
            lambda: f"{case}: {mine}",
        )
        told = f"{decision.cut_from:%d/%m/%Y}"
        self.check("the message tells the day of the cut", told in notice.text, lambda: f"{notice} {told}")
        thousands, rest = divmod(decision.balance_millimes or 0, 1000)
        self.check("the message tells what is owed", f"{thousands},{rest:03d}" in notice.text, lambda: notice)

    def _may_leave(self, before: Sight, notice: Notice) -> None:
        """Judge what was claimed in this step: the last moment at which it could have been kept back."""
        self.tally.met[f"left: {notice.kind}"] += 1
        number, today = notice.subject, self.today
        if not self.world.is_fresh(self._now()):
            self.tally.met["left while a feed had become stale since the decision"] += 1
        if notice.kind == "payment_received":
            case = self.sight.cases[number, notice.sequence]
            against = self.world.reasons(number, case.revision, today)
            self.check(
                "claimed: payment received is still true",
                against & BY_PAYMENT,
                lambda: f"{notice}: {against}",
            )
        else:
            decision = self.decision_of(notice)
            assert decision is not None
            case = before.cases[decision.case]
            against = self.world.reasons(number, case.revision, today)
            self.check(
                "claimed: owed and not left out", not against, lambda: f"{notice} of {case}: {against}"
            )
            if notice.kind in WARNINGS:
                self.check(
                    "claimed: its case waits for it",
                    case.under_way == notice.id and case.state == WARNINGS[notice.kind],
                    lambda: f"{notice} of {case}",
                )
            else:
                self.check("claimed: reminders of bills that wait", case.state == "scheduled", lambda: case)
        away = self.world.unreachable(number, today)
        self.check("claimed: reaches its customer", not away, lambda: f"{notice}: {away}")
        phone = self.world.customers[self.world.latest(number).customer].phone
        self.check("claimed: goes to the number of today", notice.phone == phone, lambda: notice)

    def _may_be_cancelled(self, before: Sight, notice: Notice) -> None:
        self.tally.met[f"cancelled: {notice.kind} {notice.reason}"] += 1
        number, today = notice.subject, self.today
        last = self.sight.last_case(number)
        assert last is not None
        customer = self.world.customers[self.world.latest(number).customer]
        true = self.world.unreachable(number, today)
        if notice.send_until < self._now() + timedelta(minutes=1):
            true.add("too_late")
        if notice.phone != customer.phone:
            true.add("former_number")
        if notice.kind == "payment_received":
            case = self.sight.cases[number, notice.sequence]
            if not self.world.reasons(number, case.revision, today) & BY_PAYMENT:
                true.add("reversed")
        else:
            decision = self.decision_of(notice)
            case = before.cases[decision.case] if decision else last
            true |= self.world.reasons(number, case.revision, today)
            true.add(before.cases[last.key].state if last.key in before.cases else last.state)
            if case.under_way != notice.id:
                true.add("no_case")
        self.check(
            "cancelled only for a true reason", notice.reason in true, lambda: f"{notice}, but only {true}"
        )

    def _lines_are_founded(self, before: Sight) -> None:
        old = Counter(before.lines)
        for line in self.sight.lines:
            if old[line]:
                old[line] -= 1
                continue
            self.tally.met[f"listed: {line.kind}"] += 1
            twice = [one for one in self.sight.lines if one.kind == line.kind and one.case == line.case]
            self.check("on each list once", len(twice) == 1, lambda twice=twice: twice)
            case = self.sight.cases[line.case]
            if line.kind == "hand_over":
                self._may_be_handed_over(line.case, case)
                self.check(
                    "handed over: with the proof of notice",
                    line.notice_id in self.delivered and line.receipt_id is not None,
                    lambda line=line: line,
                )
            owed = self.world.balance(case.invoice_number, case.revision)
            self.check("lists tell what is owed", line.balance_millimes == owed, lambda line=line: line)
        self.check("no line vanishes", not +old, lambda: old)

    def _may_be_handed_over(self, key: tuple[str, int], case: Case) -> None:
        today, now = self.today, self._now()
        against = self.world.reasons(case.invoice_number, case.revision, today)
        self.check("handed over: owed and not left out", not against, lambda: f"{case}: {against}")
        warnings = self.warnings_of(self.sight, key)
        came = {one.kind: self.delivered[one.id] for one in warnings if one.id in self.delivered}
        self.check(
            "handed over: both warnings were delivered", came.keys() == WARNINGS.keys(), lambda: warnings
        )
        first = day_of(came["cutoff_warning"])
        self.check(
            "handed over: the notice period has run in full",
            today >= first + NOTICE_DAYS * ONE_DAY,
            lambda: f"{case}: warned on {first}",
        )
        told = [
            decision.cut_from
            for decision in self.sight.decisions
            if decision.notice_id in self.delivered and decision.case == key and decision.cut_from
        ]
        self.check("handed over: not before the day that was told", today >= max(told), lambda: told)
        self.check("handed over: never on a day of no cut", may_cut_on(today), lambda: today)
        self.check(
            "handed over: all is known up to this morning",
            self.world.is_fresh_this_morning(now),
            lambda: self.world.watermarks,
        )
        if key[1] > 1:
            opened = min(
                (one.id for one in self.sight.decisions if one.case == key), default=0
            )  # what led here came after the case was opened anew
            self.check("handed over: a reopened case by warnings of its own", opened, lambda: case)

    def payments_stand(self) -> None:
        """Insist that the payments stand as they were told, in whatever order they came."""
        found = self._product.payments()
        expected = {key: row.amount for key, row in self.world.standing.items()}
        self.check(
            "payments stand as they were told, in any order",
            {key: amount for key, (amount, _) in found.items()} == expected,
            lambda: f"{found}, but {expected} was expected",
        )
        counted: dict[str, int] = defaultdict(int)
        for (_, number), (_, counts) in found.items():
            counted[number] += counts
        self.check(
            "invoices are paid as reckoned",
            all(counts == self.world.paid(number) for number, counts in counted.items()),
            lambda: f"{dict(counted)}",
        )

    # --- What was expected of a step that ran to its end

    def decided(self, before: Sight) -> None:
        """Insist that the day's run decided what had to be, and no more than that."""
        today = self.today
        decided = [one for one in before.decisions if one.day == today and one.verdict == "notify"]
        asked = {(one.case, one.notice_kind) for one in decided}
        room = self._most - sum(kind in WARNINGS for _, kind in asked)
        expected: dict[tuple[tuple[str, int], str], set[str]] = {}
        for kind in ("cutoff_second_warning", "cutoff_warning"):
            due = []
            for case in before.cases.values():
                if case.state != WARNINGS[kind] or case.under_way or (case.key, kind) in asked:
                    continue
                if case.state == "scheduled" and case.warn_from > today:
                    continue
                if case.state == "warned" and case.cut_from and case.cut_from - SECOND_BEFORE_CUT > today:
                    continue
                if against := self.world.reasons(case.invoice_number, case.revision, today):
                    expected[case.key, kind] = against
                elif away := self.world.unreachable(case.invoice_number, today):
                    expected[case.key, kind] = away
                else:
                    due.append(case)
            due.sort(key=lambda case: (case.due_date, case.invoice_number))
            for case in due[: max(room, 0)]:
                expected[case.key, kind] = {"notify"}
            if len(due) > max(room, 0):
                self.tally.met["due: left for another day"] += 1
            room -= len(due)
        for case in before.cases.values():
            reminded = [
                one
                for one in before.notices.values()
                if one.kind == "due_reminder"
                and one.subject == case.invoice_number
                and one.state != "cancelled"
            ]
            if (
                case.state == "scheduled"
                and today < case.due_date <= today + REMIND_BEFORE_DUE
                and not reminded
                and (case.key, "due_reminder") not in asked
                and not self.world.reasons(case.invoice_number, case.revision, today)
                and not self.world.unreachable(case.invoice_number, today)
            ):
                expected[case.key, "due_reminder"] = {"notify"}
        found = {
            (one.case, one.notice_kind): one.reason or one.verdict
            for one in self.sight.decisions[len(before.decisions) :]
        }
        self.check(
            "decided: exactly what is due",
            found.keys() == expected.keys() and all(found[one] in expected[one] for one in found),
            lambda: f"decided {found}, but {expected} was expected",
        )
        if expected:
            self.tally.met["days with something due"] += 1

    def applied(self, before: Sight) -> None:
        """Insist that feeds withdrew whom they had to, and opened again what is owed again."""
        for case in before.cases.values():
            customer = self.world.latest(case.invoice_number).customer
            if customer in self.world.stirred or before.last_case(case.invoice_number) != case:
                continue
            against = self.world.reasons(case.invoice_number, case.revision, self.today)
            now = self.sight.cases[case.key]
            last = self.sight.last_case(case.invoice_number)
            assert last is not None
            if case.state not in CLOSED:
                self.check(
                    "withdrawn when settled or left out, and only then",
                    (now.state in CLOSED) == bool(against),
                    lambda case=case, against=against: f"{case}: {against}",
                )
            else:
                self.check(
                    "opened again when owed again, and only then",
                    (last.sequence > case.sequence) == (not against),
                    lambda case=case, against=against, last=last: f"{case}, {last}: {against}",
                )
                if last.sequence > case.sequence:
                    self.tally.met[f"opened again: {last.opened_because}"] += 1
        self._told_of_payments(before)

    def _told_of_payments(self, before: Sight) -> None:
        for decision in self.sight.decisions:
            if decision.verdict != "withdraw" or decision.reason not in BY_PAYMENT:
                continue
            number, sequence = decision.case
            told = [
                one
                for one in self.sight.notices.values()
                if one.kind == "payment_received" and (one.subject, one.sequence) == decision.case
            ]
            last = before.last_case(number)
            if (
                decision.day >= self.today - NEWS_FOR
                and last is not None
                and last.sequence == sequence
                and not self.world.unreachable(number, self.today)
            ):
                self.check(
                    "payment received: told after each withdrawal",
                    len(told) == 1,
                    lambda decision=decision, told=told: f"{decision}: {told}",
                )

    def planned(self) -> None:
        """Insist that each decision of today to send something has its notice."""
        for decision in self.sight.decisions:
            if decision.verdict != "notify" or decision.day != self.today or decision.notice_id:
                continue
            case = self.sight.cases[decision.case]
            customer = self.world.customers[self.world.latest(case.invoice_number).customer]
            self.check(
                "planned: all that was decided",
                not customer.consents
                or case.state not in ("scheduled", "warned")
                or (decision.notice_kind in WARNINGS and case.under_way is not None),
                lambda decision=decision, case=case: f"{decision} of {case}",
            )

    def claimed(self, before: Sight, cycle_id: int, most: int) -> None:
        """Insist that whatever still held and could go was claimed."""
        ready = [
            one
            for one in before.notices.values()
            if one.cycle_id == cycle_id
            and one.state == "planned"
            and one.send_until >= self._now() + timedelta(minutes=1)
            and (one.retry_at is None or one.retry_at <= self._now())
        ]
        if len(ready) <= most:
            for notice in ready:
                self.check(
                    "claimed: all that holds, or cancelled for a reason",
                    self.sight.notices[notice.id].state != "planned",
                    lambda notice=notice: notice,
                )

    def concluded(self, before: Sight) -> None:
        """Insist that each case has taken up the last word about its warning."""
        for case in self.sight.cases.values():
            if case.under_way is None or case.state in CLOSED:
                continue
            notice = self.sight.notices[case.under_way]
            waited = self._now() - notice.submitted_at if notice.submitted_at else timedelta()
            self.check(
                "concluded: whatever has its last word",
                notice.state in ("planned", "sending")
                or (notice.state == "in_doubt" and waited <= DOUBT_HORIZON)
                or (notice.state == "accepted" and waited <= SETTLE_HORIZON),
                lambda case=case, notice=notice: f"{case} waits for {notice}",
            )
            self.check(
                "no case waits for a message that can leave no more",
                notice.state != "planned" or notice.send_until > self._now(),
                lambda case=case, notice=notice: f"{case} waits for {notice}",
            )
        for case in before.cases.values():
            if case.under_way and case.state in WARNINGS.values():
                notice = before.notices[case.under_way]
                now = self.sight.cases[case.key]
                if notice.state == "delivered":
                    reached = "warned" if case.state == "scheduled" else "warned_again"
                    self.check("delivered means warned", now.state == reached, lambda now=now: now)

    def handed_over(self, before: Sight) -> None:
        """Insist that all were handed over that may be, and no others."""
        today = self.today
        for case in before.cases.values():
            if case.state != "warned_again" or case.under_way:
                continue
            warned = [
                self.delivered[one.id]
                for one in self.warnings_of(before, case.key)
                if one.kind == "cutoff_warning" and one.id in self.delivered
            ]
            due = (
                may_cut_on(today)
                and case.cut_from is not None
                and case.cut_from <= today
                and day_of(warned[0]) + NOTICE_DAYS * ONE_DAY <= today
            )
            against = self.world.reasons(case.invoice_number, case.revision, today)
            now = self.sight.cases[case.key]
            expected = case.state if not due else "handed_over" if not against else None
            self.check(
                "handed over: all whose day has come",
                now.state == expected or (expected is None and now.state in CLOSED),
                lambda case=case, now=now, against=against: f"{case} became {now}: {against}",
            )
        self._all_listed("hand_over", lambda case: case.state == "handed_over")

    def letters_listed(self) -> None:
        for case in self.sight.cases.values():
            if case.state == "not_warned":
                against = self.world.reasons(case.invoice_number, case.revision, self.today)
                listed = any(l.kind == "letters" and l.case == case.key for l in self.sight.lines)
                self.check(
                    "letters: all who could not be warned and owe", listed or against, lambda case=case: case
                )

    def call_backs_listed(self) -> None:
        handed = {line.case for line in self.sight.lines if line.kind == "hand_over"}
        self._all_listed("call_back", lambda case: case.state in CLOSED and case.key in handed)

    def _all_listed(self, kind: str, which: Callable[[Case], bool]) -> None:
        listed = {line.case for line in self.sight.lines if line.kind == kind}
        for case in self.sight.cases.values():
            if which(case):
                self.check(f"{kind}: all of them", case.key in listed, lambda case=case: case)

    # --- What belongs together

    def decision_of(self, notice: Notice) -> Decision | None:
        return next(
            (one for one in self.sight.decisions if one.notice_id == notice.id and one.verdict == "notify"),
            None,
        )

    def warnings_of(self, sight: Sight, key: tuple[str, int]) -> list[Notice]:
        """The warnings of a case, in the order of their planning."""
        ids = [one.notice_id for one in sight.decisions if one.case == key and one.verdict == "notify"]
        return [
            sight.notices[one] for one in ids if one in sight.notices and sight.notices[one].kind in WARNINGS
        ]

    def was_told(self, sight: Sight, key: tuple[str, int]) -> bool:
        """Whether a warning of a case may have been read, and has not been given up for a letter."""
        given_up = {one.notice_id for one in sight.decisions if one.case == key and one.verdict == "letter"}
        return any(
            one.state in LEFT and (one.id not in given_up or one.id in self.delivered)
            for one in self.warnings_of(sight, key)
        )

    def finish(self) -> None:
        """Count how the cases of this life went."""
        for path in self._paths.values():
            self.tally.paths[" → ".join(path)] += 1
        self.tally.lives += 1
