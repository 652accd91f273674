"""Says of a round whether each message was sent once, or why not. Pure: evidence in, verdict out.

It believes the gateway, not the sender: what counts is what the proxy saw the gateway accept. The database's
own account is then held against it, row by row.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from tests.chaos.evidence import AttemptRow, Evidence, Handed, NoticeRow, ReceiptRow

FIGURES = (
    "planned",
    "seen",
    "refused",
    "unseen",
    "twice",
    "repeated by policy",
    "lost",
    "in doubt",
    "by receipt",
    "by answer",
    "by repeat",
    "on the list",
    "unconfirmed",
    "gateway's repeats",
    "gateway's losses",
)
"""`seen`: notices that the gateway accepted. `refused`, `unseen`: those that it never did, because it would
not, or so that they are on the list. `in doubt`: notices that ever were, and after it how each was
resolved. `unconfirmed`: accepted, without a final receipt. The last two are the gateway's own doing."""

_FINAL = frozenset({"delivered", "undeliverable", "expired", "rejected"})
# A request is some way under way before it is seen, and a claim asks for the time more than once.
_SLACK = timedelta(seconds=0.75)
_NAMED = 5


@dataclass
class Verdict:
    """The figures of a round, and in words whatever must not be."""

    figures: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    ledger_holds: bool = True

    @property
    def clean(self) -> bool:
        return not self.violations


def judge(evidence: Evidence) -> Verdict:
    """Judge a round that is over: nothing under way, nothing left to wait for."""
    return _Judge(evidence).judge()


class _Judge:
    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.found: defaultdict[str, list[object]] = defaultdict(list)
        self.figures: Counter[str] = Counter(dict.fromkeys(FIGURES, 0))
        self.notices: dict[UUID, NoticeRow] = {row.id: row for row in evidence.notices}
        self.attempts: defaultdict[UUID, list[AttemptRow]] = defaultdict(list)
        for attempt in sorted(evidence.attempts, key=lambda row: row.number):
            self.attempts[attempt.notice].append(attempt)
        self.handed: defaultdict[UUID, list[Handed]] = defaultdict(list)
        for handed in sorted(evidence.handed, key=lambda one: one.at):
            if handed.notice is None or handed.attempt is None:
                self.found["a request without our id"].append(handed.gateway)
            else:
                self.handed[handed.notice].append(handed)
        self.receipts: defaultdict[UUID, list[ReceiptRow]] = defaultdict(list)
        for receipt in evidence.receipts:
            if receipt.notice is not None:
                self.receipts[receipt.notice].append(receipt)

    def judge(self) -> Verdict:
        known = {planned.id for planned in self.evidence.planned}
        for planned in self.evidence.planned:
            self._once(planned.id, planned.repeatable)
            self._account(planned.id)
            self._standing(planned.id, planned.repeatable)
        for stray in (set(self.handed) | set(self.notices)) - known:
            self.found["a notice that was never planned"].append(stray)
        self._receipts_kept()
        for words in self.evidence.ledger:
            self.found["the ledger does not balance"].append(words)
        for name in self.evidence.leaked:
            self.found["a number or a text in a log"].append(name)
        self.figures["planned"] = len(self.evidence.planned)
        return Verdict(
            figures=self.figures,
            faults=self.evidence.faults,
            violations=[_told(what, those) for what, those in self.found.items()],
            ledger_holds=not self.evidence.ledger,
        )

    # --- Sent once

    def _once(self, notice: UUID, repeatable: bool) -> None:
        """Hold what the gateway saw of a notice against what may be."""
        claims = {attempt.number: attempt for attempt in self.attempts[notice]}
        seen = self.handed[notice]
        for number, requests in Counter(one.attempt for one in seen).items():
            if requests > 1:
                self.found["one attempt went out more than once"].append(f"{notice}/{number}")
        for one in seen:
            claim = claims.get(one.attempt or 0)
            if claim is None:
                self.found["sent without a claim"].append(f"{notice}/{one.attempt}")
            elif self._instant(one.at) > claim.claimed_at + self.evidence.lease + _SLACK:
                self.found["sent after its lease had ended"].append(f"{notice}/{one.attempt}")
        taken = sorted({one.attempt for one in seen if one.result in ("accepted", "open") and one.attempt})
        accepted = [one for one in seen if one.result == "accepted"]
        repeats = 0
        for earlier, later in pairwise(taken):
            if self._was_policy(claims.get(earlier), claims.get(later), repeatable) and not repeats:
                repeats += 1
            else:
                self.figures["twice"] += 1
                self.found["sent twice"].append(f"{notice}, attempts {earlier} and {later}")
        self.figures["repeated by policy"] += repeats
        self._handed_over_in_doubt(notice)
        if self.evidence.reached_network is not None:
            reached = self.evidence.reached_network[notice]
            opened = sum(one.result == "open" for one in seen)
            self.figures["gateway's repeats"] += max(0, reached - len(accepted) - opened)
            self.figures["gateway's losses"] += bool(accepted) and not reached

    def _was_policy(self, earlier: AttemptRow | None, later: AttemptRow | None, repeatable: bool) -> bool:
        """Tell whether a second request is the one repeat that the kind of notice declares."""
        if earlier is None or later is None or not repeatable:
            return False
        return _in_doubt_at(later.claimed_at, earlier) and self._horizon_between(earlier, later)

    def _horizon_between(self, earlier: AttemptRow, later: AttemptRow) -> bool:
        return later.claimed_at - earlier.claimed_at >= self.evidence.horizon - _SLACK

    def _handed_over_in_doubt(self, notice: UUID) -> None:
        doubtful: set[str] = set()
        for attempt in self.attempts[notice]:
            if doubtful - {attempt.gateway}:
                self.found["in doubt with one gateway and handed to another"].append(notice)
                return
            if attempt.outcome == "in_doubt":
                doubtful.add(attempt.gateway)

    # --- The database's account

    def _account(self, notice: UUID) -> None:
        """Hold each attempt's outcome against the gateway's own answer."""
        results = {one.attempt: one.result for one in self.handed[notice]}
        attempts = self.attempts[notice]
        for attempt in attempts:
            result = results.get(attempt.number)
            where = f"{notice}/{attempt.number}"
            if attempt.outcome == "refused" and result in ("accepted", "open"):
                self.found["believed refused, and accepted"].append(where)
            if attempt.outcome == "accepted" and result != "accepted":
                self.found["believed accepted, and never was"].append(where)
            if attempt.outcome is None and not self._settled_by_receipt(notice):
                self.found["an attempt without an outcome"].append(where)
        for earlier, later in pairwise(attempts):
            early = not self._horizon_between(earlier, later)
            if earlier.outcome == "in_doubt" and early:
                self.found["repeated before the horizon"].append(f"{notice}/{later.number}")
            if earlier.outcome in ("accepted", "rejected") and early:
                self.found["sent again after its answer"].append(f"{notice}/{later.number}")

    def _decides(self, notice: UUID, receipt: ReceiptRow) -> bool:
        """Tell whether a receipt must settle its notice: a failure of one attempt says nothing of a later one
        that the gateway may have taken too."""
        if receipt.status not in _FINAL:
            return False
        later = [one for one in self.attempts[notice] if one.number > (receipt.attempt or 0)]
        return receipt.status == "delivered" or all(one.outcome in ("refused", "rejected") for one in later)

    def _settled_by_receipt(self, notice: UUID) -> bool:
        """Tell whether a receipt came before the answer: then nobody misses a killed sender's answer."""
        return any(receipt.match == "moved" for receipt in self.receipts[notice])

    def _standing(self, notice: UUID, repeatable: bool) -> None:
        """See where a notice stands in the end, and how its doubt was resolved."""
        row = self.notices.get(notice)
        if row is None:
            self._lost("no such notice any more", notice)
            return
        results = {one.result for one in self.handed[notice]}
        decisive = any(self._decides(notice, one) for one in self.receipts[notice])
        moved = [one.status for one in self.receipts[notice] if one.match == "moved" and one.status in _FINAL]
        doubts = sum(attempt.outcome == "in_doubt" for attempt in self.attempts[notice])
        if row.state in ("planned", "sending", "cancelled"):
            self._lost(f"left {row.state}", notice)
        elif row.state in _FINAL | {"accepted"} and not results & {"accepted", "open"}:
            if not (row.state == "rejected" and not moved):
                self._lost(f"{row.state}, and no gateway ever took it", notice)
        elif row.state == "in_doubt" and repeatable and doubts < 2:
            self._lost("left in doubt, and not repeated", notice)
        elif row.state == "in_doubt" and notice not in self.evidence.listed:
            self._lost("left in doubt, and on no list", notice)
        if decisive and row.state not in _FINAL:
            self.found["a final receipt did not settle its notice"].append(notice)
        if len(moved) > 1 or (moved and moved[0] != row.state):
            self.found["settled by more than one final word, or by another one"].append(notice)
        # Who dies before it answers may have accepted: a receipt tells, an intermediate one too.
        if "accepted" in results or ("open" in results and self._settled_by_receipt(notice)):
            self.figures["seen"] += 1
        elif row.state == "rejected":
            self.figures["refused"] += 1
        elif row.state == "in_doubt":
            self.figures["unseen"] += 1
        elif "open" in results:
            self.found["neither seen, nor refused, nor on the list"].append(notice)
        self.figures["unconfirmed"] += row.state == "accepted"
        if doubts:
            self.figures["in doubt"] += 1
            last = self.attempts[notice][-1]
            if row.state == "in_doubt":
                self.figures["on the list"] += 1
            elif any(attempt.outcome == "in_doubt" for attempt in self.attempts[notice][:-1]):
                self.figures["by repeat"] += 1
            elif last.outcome == "in_doubt":
                self.figures["by receipt"] += 1
            else:
                self.figures["by answer"] += 1

    def _receipts_kept(self) -> None:
        """See that each receipt that was taken is there, and that nothing else is."""
        kept: defaultdict[int, list[ReceiptRow]] = defaultdict(list)
        for row in self.evidence.receipts:
            if row.match == "new":
                self.found["a receipt that nobody matched"].append(row.id)
            if row.relay is not None:
                kept[row.relay].append(row)
        known = {planned.id for planned in self.evidence.planned}
        for row in self.evidence.receipts:
            if row.match == "parked" and row.notice in known:
                self.found["a receipt parked although its notice is known"].append(row.id)
        for delivery in self.evidence.deliveries:
            rows = kept.get(delivery.number, [])
            if delivery.kind == "wrong secret":
                if rows or delivery.taken:
                    self.found["a receipt with a wrong secret was taken"].append(delivery.number)
            elif delivery.taken and not rows:
                self.found["a receipt was taken and not kept"].append(delivery.number)
                self.figures["lost"] += 1
            elif not delivery.taken:
                self.found["a receipt could not be delivered"].append(
                    f"{delivery.number} ({delivery.kind}, last answer {delivery.status})"
                )
            expected = {"garbage": "unreadable", "unknown id": "parked"}.get(delivery.kind)
            if expected and any(row.match != expected for row in rows):
                self.found[f"{delivery.kind}: not {expected}"].append(delivery.number)

    def _lost(self, how: str, notice: UUID) -> None:
        self.figures["lost"] += 1
        self.found[f"lost: {how}"].append(notice)

    def _instant(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, UTC) + self.evidence.clock_offset


def _in_doubt_at(instant: datetime, attempt: AttemptRow) -> bool:
    """Tell whether an attempt counted as in doubt: its answer may have been written later, over the doubt."""
    late = attempt.answered_at is not None and attempt.answered_at > instant
    return attempt.outcome == "in_doubt" or late


def _told(what: str, those: list[object]) -> str:
    named = ", ".join(map(str, those[:_NAMED]))
    more = f" and {len(those) - _NAMED} more" if len(those) > _NAMED else ""
    return f"{what}: {named}{more}"
