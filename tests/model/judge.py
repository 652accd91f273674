"""The judge: looks at what the product did after each step, and says whether it may have, or had to.

What it knows comes from the world, as it was told, and from the messages that it delivered itself. It reads
the product's tables to see what was done; why that is right or wrong it reckons by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from tests.model.days import day_of, may_cut_on, next_cut_day
from tests.model.world import BY_PAYMENT, NOTICE_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from tests.model.product import Case, Decision, Notice, Product, Sight
    from tests.model.tally import Tally
    from tests.model.world import World

    Key = tuple[str, int]

MOVES: dict[str, set[str]] = {
    "scheduled": {"warned", "not_warned", "paid", "excluded"},
    "warned": {"warned_again", "handed_over", "not_warned", "paid", "excluded"},
    "warned_again": {"handed_over", "paid", "excluded"},
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
SHORTEST = timedelta(minutes=1)

FAILED = {"undeliverable", "expired", "rejected"}
LEFT = {"sending", "in_doubt", "accepted", "delivered"}
"""A message that may have been read."""


class Violation(AssertionError):
    """The product did what it must not, or left undone what it has to."""


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
        self._paths: dict[Key, list[str]] = {}

    @property
    def today(self) -> date:
        return day_of(self._now())

    def check(self, rule: str, holds: object, *found: object) -> None:
        """Check a rule; what was found is told when it does not hold."""
        self.tally.checked[rule] += 1
        if not holds:
            raise Violation(f"{rule}: {'; '.join(map(str, found))}")

    def note_delivery(self, notice_id: UUID, happened: datetime) -> None:
        """Note what the provider has reported, where the product took it for delivered."""
        notice = self.sight.notices[notice_id]
        if notice.state == "delivered" and notice_id not in self.delivered:
            assert notice.submitted_at is not None
            # A clock that is behind would say that it arrived before it left.
            self.delivered[notice_id] = happened if happened >= notice.submitted_at else self._now()

    def finish(self) -> None:
        """Count how the cases of this life went."""
        for path in self._paths.values():
            self.tally.paths[" → ".join(path)] += 1
        self.tally.lives += 1

    # --- What speaks for and against a case, by the judge's own reckoning

    def _against(self, case: Case) -> set[str]:
        return self.world.reasons(case.invoice_number, case.revision, self.today)

    def _away(self, number: str) -> set[str]:
        return self.world.unreachable(number, self.today)

    def _decision_of(self, notice: Notice) -> Decision | None:
        return next(
            (one for one in self.sight.decisions if one.notice_id == notice.id and one.verdict == "notify"),
            None,
        )

    def _warnings_of(self, sight: Sight, key: Key) -> list[Notice]:
        """Return the warnings of a case, in the order of their planning."""
        ids = [one.notice_id for one in sight.decisions if one.case == key and one.verdict == "notify"]
        found = [sight.notices[one] for one in ids if one in sight.notices]
        return [one for one in found if one.kind in WARNINGS]

    def _was_told(self, sight: Sight, key: Key) -> bool:
        """Whether a warning of a case may have been read, and has not been given up for a letter."""
        given_up = {one.notice_id for one in sight.decisions if one.case == key and one.verdict == "letter"}
        return any(one.state in LEFT and one.id not in given_up for one in self._warnings_of(sight, key))

    # --- After each step

    def look(self) -> Sight:
        """Look at what has changed, and insist that all of it may be; return what was seen before."""
        before, self.sight = self.sight, self._product.look()
        new = self.sight.decisions[len(before.decisions) :]
        self._cases_go_forward(before, new)
        for decision in new:
            self._decision_is_true(before, decision)
        for notice in self.sight.notices.values():
            self._notice_is_founded(before, notice)
        self._lines_are_founded(before)
        return before

    def _cases_go_forward(self, before: Sight, new: list[Decision]) -> None:
        decided: dict[Key, list[Decision]] = defaultdict(list)
        for decision in new:
            decided[decision.case].append(decision)
        cases = self.sight.cases
        self.check("no case vanishes", not before.cases.keys() - cases.keys())
        last = Counter(number for number, _ in cases)
        for key, case in cases.items():
            was = before.cases.get(key)
            if was == case:
                continue
            self.check(
                "each bill has one latest case, and all others are closed",
                case.sequence == last[case.invoice_number]
                or (1 <= case.sequence < last[case.invoice_number] and case.state in CLOSED),
                case,
            )
            if was is None:
                self._paths[key] = [case.opened_because, case.state]
                self.check("cases begin as scheduled", case.state == "scheduled", case)
                if case.opened_because in ("reversal", "left_out_no_more"):
                    self._is_explained(case, decided[key], "reopen", case.opened_because)
            elif was.state != case.state:
                self._paths[key].append(case.state)
                self.check("states go forward", case.state in MOVES[was.state], was, case)
                self._move_is_explained(before, case, decided[key])

    def _move_is_explained(self, before: Sight, case: Case, decided: list[Decision]) -> None:
        if case.reason:
            self.tally.reasons[f"{case.state}: {case.reason}"] += 1
        match case.state:
            case "paid" | "excluded":
                verdict = "withdraw" if self._was_told(before, case.key) else "leave_out"
                self._is_explained(case, decided, verdict, case.reason)
                self.check("paid means paid", (case.state == "paid") == (case.reason == "paid"), case)
            case "not_warned":
                self._is_explained(case, decided, "letter", case.reason)
            case "warned" | "warned_again":
                self._is_explained(case, decided, "warned", None)
            case "handed_over":
                self._is_explained(case, decided, "hand_over", None)

    def _is_explained(self, case: Case, decided: list[Decision], verdict: str, reason: str | None) -> None:
        self.check(
            "each move has a decision that says why",
            [one for one in decided if (one.verdict, one.reason) == (verdict, reason)],
            case,
            decided,
            verdict,
            reason,
        )

    # --- Decisions

    def _decision_is_true(self, before: Sight, decision: Decision) -> None:
        self.tally.met[f"decision: {decision.moment} {decision.verdict}"] += 1
        case = self.sight.cases[decision.case]
        was = before.cases.get(decision.case, case)
        match decision.verdict:
            case "withdraw" | "leave_out":
                against = self._against(was)
                self.check("reasons are true", decision.reason in against, decision, was, against)
            case "letter" if decision.moment == "settled":
                self._message_failed(before, decision, was)
            case "letter":
                away = self._away(was.invoice_number)
                self.check("letters: no message reaches them", decision.reason in away, decision, away)
            case "reopen":
                against = self._against(case)
                self.check("reopened only when owed again", not against, case, against)
            case "notify":
                self._may_be_notified(decision, was)
        # What was decided of a message stands also in what is decided when its word has come.
        if decision.balance_millimes is not None and decision.moment != "settled":
            owed = self.world.balance(case.invoice_number, was.revision)
            self.check("balances are as reckoned", decision.balance_millimes == owed, decision, owed)

    def _message_failed(self, before: Sight, decision: Decision, was: Case) -> None:
        assert was.under_way is not None
        notice = before.notices[was.under_way]
        waited = self._now() - (notice.submitted_at or self._now())
        true = (
            notice.state in FAILED
            if decision.reason == "undelivered"
            else (notice.state == "in_doubt" and waited > DOUBT_HORIZON)
            or (notice.state == "accepted" and waited > SETTLE_HORIZON)
        )
        self.check("not warned: a bad word, or none in time", true, decision, notice, waited)

    def _may_be_notified(self, decision: Decision, case: Case) -> None:
        against = self._against(case) | self._away(case.invoice_number)
        self.check("decided: owed and not left out", not against, decision, against)
        self.check(
            "decided: on fresh feeds only", self.world.is_fresh(self._now()), decision, self.world.watermarks
        )
        if decision.notice_kind == "due_reminder":
            self.check("no cut is announced by a reminder", decision.cut_from is None, decision)
            return
        first = decision.notice_kind == "cutoff_warning"
        earliest = next_cut_day(self.today + (NOTICE_DAYS if first else SECOND_NOTICE))
        if not first and case.cut_from:
            earliest = max(earliest, case.cut_from)
        self.check("the day of the cut is as reckoned", decision.cut_from == earliest, decision, earliest)

    # --- Messages

    def _notice_is_founded(self, before: Sight, notice: Notice) -> None:
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
            key = notice.subject, notice.sequence
            again = [one for one in of_bill if one.sequence == notice.sequence]
            withdrawn = [
                one
                for one in self.sight.decisions
                if one.case == key and one.verdict == "withdraw" and one.reason in BY_PAYMENT
            ]
            self.check("payment received: once", len(again) == 1, again)
            self.check("payment received: only after a withdrawal by payment", withdrawn, notice)
            self.check("payment received: only to who was warned", self._was_told(self.sight, key), notice)
            return
        if notice.kind == "due_reminder":
            alive = [one for one in of_bill if one.state != "cancelled"]
            self.check("reminded once", len(alive) == 1, alive)
            return
        decision = self._decision_of(notice)
        self.check("warned by a decision of the day", decision and decision.day == self.today, notice)
        assert decision is not None
        assert decision.cut_from is not None
        case = self.sight.cases[decision.case]
        alive = [
            one
            for one in self._warnings_of(self.sight, case.key)
            if one.kind == notice.kind and one.state != "cancelled"
        ]
        self.check(
            "each warning of a case is under way once",
            len(alive) == 1 and case.under_way == notice.id,
            case,
            alive,
        )
        self.check(
            "the message tells the day of the cut", f"{decision.cut_from:%d/%m/%Y}" in notice.text, notice
        )
        dinars, millimes = divmod(decision.balance_millimes or 0, 1000)
        self.check("the message tells what is owed", f"{dinars},{millimes:03d}" in notice.text, notice)

    def _may_leave(self, before: Sight, notice: Notice) -> None:
        """Judge what was claimed in this step: the last moment at which it could have been kept back."""
        self.tally.met[f"left: {notice.kind}"] += 1
        number = notice.subject
        if notice.kind == "payment_received":
            against = self._against(self.sight.cases[number, notice.sequence])
            self.check("claimed: payment received is still true", against & BY_PAYMENT, notice, against)
        else:
            decision = self._decision_of(notice)
            assert decision is not None
            case = before.cases[decision.case]
            against = self._against(case)
            self.check("claimed: owed and not left out", not against, notice, case, against)
            self.check(
                "claimed: on fresh feeds only",
                self.world.is_fresh(self._now()),
                notice,
                self.world.watermarks,
            )
            waits = case.state == WARNINGS.get(notice.kind, "scheduled")
            if notice.kind in WARNINGS:
                waits = waits and case.under_way == notice.id
            self.check("claimed: its case waits for it", waits, notice, case)
        away = self._away(number)
        self.check("claimed: reaches its customer", not away, notice, away)
        phone = self.world.customers[self.world.latest(number).customer].phone
        self.check("claimed: goes to the number of today", notice.phone == phone, notice, phone)

    def _may_be_cancelled(self, before: Sight, notice: Notice) -> None:
        self.tally.met[f"cancelled: {notice.kind} {notice.reason}"] += 1
        number = notice.subject
        true = self._away(number)
        if notice.send_until < self._now() + SHORTEST:
            true.add("too_late")
        if notice.phone != self.world.customers[self.world.latest(number).customer].phone:
            true.add("former_number")
        if notice.kind == "payment_received":
            against = self._against(self.sight.cases[number, notice.sequence])
            true |= (against - BY_PAYMENT) or ({"reversed"} if not against else set())
        else:
            decision = self._decision_of(notice)
            assert decision is not None
            case, last = before.cases[decision.case], before.last_case(number)
            true |= self._against(case)
            if last is not None:
                true.add(last.state)
            if case.under_way != notice.id:
                true.add("no_case")
            if not self.world.is_fresh(self._now()):
                true.add("feed_stale")
        self.check("cancelled only for a true reason", notice.reason in true, notice, true)

    # --- Lists

    def _lines_are_founded(self, before: Sight) -> None:
        old = Counter(before.lines)
        self.check("no line vanishes", not old - Counter(self.sight.lines))
        for line in (Counter(self.sight.lines) - old).elements():
            self.tally.met[f"listed: {line.kind}"] += 1
            twice = [one for one in self.sight.lines if (one.kind, one.case) == (line.kind, line.case)]
            self.check("on each list once", len(twice) == 1, twice)
            case = self.sight.cases[line.case]
            owed = self.world.balance(case.invoice_number, case.revision)
            self.check("lists tell what is owed", line.balance_millimes == owed, line, owed)
            if line.kind == "hand_over":
                self._may_be_handed_over(case)
                proven = line.notice_id in self.delivered and line.receipt_id is not None
                self.check("handed over: with the proof of notice", proven, line)
            elif line.kind == "letters":
                against = self._against(case)
                self.check("letters: only to who still owes", not against, line, against)

    def _may_be_handed_over(self, case: Case) -> None:
        against = self._against(case)
        self.check("handed over: owed and not left out", not against, case, against)
        warnings = self._warnings_of(self.sight, case.key)
        came = {one.kind: self.delivered[one.id] for one in warnings if one.id in self.delivered}
        self.check("handed over: both warnings were delivered", came.keys() == WARNINGS.keys(), warnings)
        warned = day_of(came["cutoff_warning"])
        self.check(
            "handed over: the notice period has run in full",
            self.today >= warned + NOTICE_DAYS,
            case,
            warned,
        )
        told = [
            one.cut_from
            for one in self.sight.decisions
            if one.case == case.key and one.notice_id in self.delivered and one.cut_from
        ]
        self.check("handed over: not before the day that was told", self.today >= max(told), case, told)
        self.check("handed over: never on a day of no cut", may_cut_on(self.today), self.today)
        self.check(
            "handed over: all is known up to this morning",
            self.world.is_fresh_this_morning(self._now()),
            self.world.watermarks,
        )

    # --- What was expected of a step that ran to its end

    def payments_stand(self) -> None:
        """Insist that the payments stand as they were told, in whatever order they came."""
        found = self._product.payments()
        expected = {key: row.amount for key, row in self.world.standing.items()}
        self.check(
            "payments stand as they were told, in any order",
            {key: amount for key, (amount, _) in found.items()} == expected,
            found,
            expected,
        )
        counted: dict[str, int] = defaultdict(int)
        for (_, number), (_, counts) in found.items():
            counted[number] += counts
        self.check(
            "invoices are paid as reckoned",
            all(counts == self.world.paid(number) for number, counts in counted.items()),
            dict(counted),
        )

    def scheduled(self) -> None:
        """Insist that each bill has a case of what its customer was told last, and of nothing else."""
        for number, revisions in self.world.bills.items():
            case, last = self.sight.last_case(number), len(revisions) - 1
            if revisions[-1].told:
                self.check(
                    "each bill that was told has its case", case is not None and case.revision == last, case
                )
            else:
                self.check("no case of what was told no more", case is None or case.state in CLOSED, case)

    def decided(self, before: Sight) -> None:
        """Insist that the day's run decided exactly what is due."""
        today = self.today
        asked = {
            (one.case, one.notice_kind)
            for one in before.decisions
            if one.day == today and one.verdict == "notify"
        }
        room = self._most - sum(kind in WARNINGS for _, kind in asked)
        expected: dict[tuple[Key, str | None], set[str]] = {}
        for kind in ("cutoff_second_warning", "cutoff_warning"):
            due = []
            for case in before.cases.values():
                if (case.key, kind) in asked or not self._is_due(case, kind):
                    continue
                if against := self._against(case) or self._away(case.invoice_number):
                    expected[case.key, kind] = against
                else:
                    due.append(case)
            due.sort(key=lambda case: (case.due_date, case.invoice_number))
            expected |= {(case.key, kind): {"notify"} for case in due[: max(room, 0)]}
            if len(due) > max(room, 0):
                self.tally.met["due: left for another day"] += 1
            room -= min(len(due), max(room, 0))
        for case in before.cases.values():
            if (case.key, "due_reminder") not in asked and self._is_to_be_reminded(before, case):
                expected[case.key, "due_reminder"] = {"notify"}
        found = {
            (one.case, one.notice_kind): one.reason or one.verdict
            for one in self.sight.decisions[len(before.decisions) :]
        }
        self.check(
            "decided: exactly what is due",
            found.keys() == expected.keys() and all(found[one] in expected[one] for one in found),
            found,
            expected,
        )
        self.tally.met["days with something due"] += bool(expected)

    def _is_due(self, case: Case, kind: str) -> bool:
        if case.state != WARNINGS[kind] or case.under_way:
            return False
        if case.state == "scheduled":
            return case.warn_from <= self.today
        assert case.cut_from is not None
        return case.cut_from - SECOND_BEFORE_CUT <= self.today

    def _is_to_be_reminded(self, before: Sight, case: Case) -> bool:
        return (
            case.state == "scheduled"
            and self.today < case.due_date <= self.today + REMIND_BEFORE_DUE
            and not any(
                one.kind == "due_reminder" and one.subject == case.invoice_number and one.state != "cancelled"
                for one in before.notices.values()
            )
            and not self._against(case)
            and not self._away(case.invoice_number)
        )

    def applied(self, before: Sight) -> None:
        """Insist that feeds withdrew whom they had to, and opened again what is owed again."""
        for case in before.cases.values():
            last = self.sight.last_case(case.invoice_number)
            customer = self.world.latest(case.invoice_number).customer
            if customer in self.world.stirred or before.last_case(case.invoice_number) != case:
                continue
            assert last is not None
            against, now = self._against(case), self.sight.cases[case.key]
            if case.state not in CLOSED:
                self.check(
                    "withdrawn when settled or left out, and only then",
                    (now.state in CLOSED) == bool(against),
                    case,
                    now,
                    against,
                )
            else:
                self.check(
                    "opened again when owed again, and only then",
                    (last.sequence > case.sequence) == (not against),
                    case,
                    last,
                    against,
                )
        for decision in self.sight.decisions:
            if decision.verdict == "withdraw" and decision.reason in BY_PAYMENT:
                self._was_told_of_payment(before, decision)

    def _was_told_of_payment(self, before: Sight, decision: Decision) -> None:
        number, sequence = decision.case
        last = before.last_case(number)
        if (
            decision.day < self.today - NEWS_FOR
            or last is None
            or last.sequence != sequence
            or self._away(number)
        ):
            return
        told = [
            one
            for one in self.sight.notices.values()
            if one.kind == "payment_received" and (one.subject, one.sequence) == decision.case
        ]
        self.check("payment received: after each withdrawal by payment", len(told) == 1, decision, told)

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
                decision,
                case,
            )

    def claimed(self, before: Sight, cycle_id: int, most: int) -> None:
        """Insist that whatever could go was claimed, or cancelled."""
        ready = [
            one
            for one in before.notices.values()
            if one.cycle_id == cycle_id
            and one.state == "planned"
            and one.send_until >= self._now() + SHORTEST
            and (one.retry_at is None or one.retry_at <= self._now())
        ]
        if len(ready) <= most:
            for notice in ready:
                now = self.sight.notices[notice.id]
                self.check("claimed: all that can go, or cancelled", now.state != "planned", now)

    def concluded(self, before: Sight) -> None:
        """Insist that each case has taken up the last word about its warning."""
        for case in self.sight.cases.values():
            if case.under_way is None or case.state in CLOSED:
                continue
            notice = self.sight.notices[case.under_way]
            waited = self._now() - (notice.submitted_at or self._now())
            self.check(
                "concluded: whatever has its last word",
                (notice.state == "planned" and notice.send_until >= self._now() + SHORTEST)
                or notice.state == "sending"
                or (notice.state == "in_doubt" and waited <= DOUBT_HORIZON)
                or (notice.state == "accepted" and waited <= SETTLE_HORIZON),
                case,
                notice,
            )
        for case in before.cases.values():
            if case.under_way and before.notices[case.under_way].state == "delivered":
                reached = {"scheduled": "warned", "warned": "warned_again"}.get(case.state, case.state)
                now = self.sight.cases[case.key]
                self.check("delivered means warned", now.state == reached, case, now)

    def handed_over(self, before: Sight) -> None:
        """Insist that all were handed over that may be."""
        for case in before.cases.values():
            if case.state != "warned_again" or case.under_way:
                continue
            [warned] = [
                day_of(self.delivered[one.id])
                for one in self._warnings_of(before, case.key)
                if one.kind == "cutoff_warning" and one.id in self.delivered
            ]
            assert case.cut_from is not None
            due = may_cut_on(self.today) and self.today >= max(case.cut_from, warned + NOTICE_DAYS)
            against, now = self._against(case), self.sight.cases[case.key]
            expected = {case.state} if not due else CLOSED if against else {"handed_over"}
            self.check("handed over: all whose day has come", now.state in expected, case, now, against)
        self._all_listed("hand_over", self._now_in("handed_over"))

    def letters_listed(self) -> None:
        """Insist that letters go to all whom no message could warn, and who still owe."""
        waiting = self._now_in("not_warned")
        self._all_listed("letters", [case for case in waiting if not self._against(case)])

    def call_backs_listed(self) -> None:
        """Insist that teams are called back from whoever has been settled or left out."""
        handed = {line.case for line in self.sight.lines if line.kind == "hand_over"}
        closed = [case for case in self.sight.cases.values() if case.state in CLOSED]
        self._all_listed("call_back", [case for case in closed if case.key in handed])

    def _now_in(self, state: str) -> list[Case]:
        return [case for case in self.sight.cases.values() if case.state == state]

    def _all_listed(self, kind: str, cases: list[Case]) -> None:
        listed = {line.case for line in self.sight.lines if line.kind == kind}
        for case in cases:
            self.check(f"{kind}: all of them are listed", case.key in listed, case)
