"""Faults put into the product on purpose, one at a time. A judge that lets one pass has not looked there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fatoura.calendar import days as calendar_days
from fatoura.cutoff import deciding, feeds, lists, scheduling, settling, standing
from fatoura.feeds import merging
from fatoura.payments import loading
from fatoura.sending import checks, claims

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType


def _sql(module: ModuleType, name: str, old: str, new: str) -> Callable[[], None]:
    def put_in() -> None:
        text = getattr(module, name)
        if old not in text:
            raise LookupError(f"{module.__name__}.{name} does not hold {old!r} any more")
        setattr(module, name, text.replace(old, new))

    return put_in


def _instead(module: Any, name: str, put: Any) -> Callable[[], None]:
    def put_in() -> None:
        getattr(module, name)  # it has to be there
        setattr(module, name, put)

    return put_in


def _all_of(*faults: Callable[[], None]) -> Callable[[], None]:
    def put_in() -> None:
        for fault in faults:
            fault()

    return put_in


def _shorter_notice() -> None:
    earliest = calendar_days.Calendar.earliest_cut
    calendar_days.Calendar.earliest_cut = (  # type: ignore[method-assign]
        lambda self, day, notice_days, no_cut_on: earliest(self, day, notice_days - 1, no_cut_on)
    )


def _letters_every_day() -> None:
    lists._WHICH[lists.ListKind.LETTERS] = "c.state = 'not_warned'"


def _last_come_stands() -> None:
    made = merging._Statements.__init__

    def init(self: Any, content: Any) -> None:
        made(self, content)
        changed = re.sub(
            r"WHEN ROW\(i[^)]*\) > ROW\(t[^)]*\) THEN 'corrected'", "WHEN true THEN 'corrected'", self.judge
        )
        if changed == self.judge:
            raise LookupError("the rows of a feed are judged otherwise now")
        self.judge = changed

    merging._Statements.__init__ = init  # type: ignore[method-assign]


FAULTS: Mapping[str, Callable[[], None]] = {
    "what is claimed is not looked at again": _instead(checks, "unfounded", lambda *_: {}),
    "what was paid too little of is warned about": _sql(
        standing, "_WEIGH", "< :minimum\n                THEN", "< 1\n                THEN"
    ),
    "reversals are ignored": _instead(loading, "recount_reversals", lambda *_: None),
    "what came last stands": _last_come_stands,
    "nobody waits for rows that were set aside": _sql(
        standing, "_WEIGH", "settled_at IS NULL AND", "false AND"
    ),
    "a fact that has ended still holds": _sql(
        standing, "_WEIGH", "AND (f.valid_until IS NULL OR f.valid_until >= :day)", ""
    ),
    "stale feeds are as good as fresh ones": _all_of(
        _instead(deciding, "insist", lambda *_: None), _instead(lists, "insist", lambda *_: None)
    ),
    "the hand-over takes yesterday's feeds": _instead(lists, "freshness_of_morning", lists.freshness),
    "a notice period is a day short": _shorter_notice,
    "cuts come on any day": _instead(calendar_days.Calendar, "may_cut", lambda *_: True),
    "accepted counts as delivered": _sql(
        settling,
        "_CONCLUDE",
        "WHEN n.state = 'delivered' THEN",
        "WHEN n.state IN ('delivered', 'accepted') THEN",
    ),
    "the notice period counts from the decision": _sql(
        lists, "_MAY_BE_CUT", "<= CAST(:day AS date)", "<= CAST(:day AS date) + 100"
    ),
    "nobody waits for the second warning": _sql(
        lists, "_MAY_BE_CUT", "AND (c.state = :state", "AND (c.state <> :state"
    ),
    "a bounced cheque opens nothing": _instead(feeds, "reopen_cases", lambda *_: 0),
    "who was not warned is thanked too": _sql(
        feeds, "_GATHER", "verdict = 'withdraw'", "verdict <> 'reopen'"
    ),
    "who has paid in time is not thanked": _instead(feeds, "_confirm", lambda *_: None),
    "warnings of a day have no limit": _sql(deciding, "_NOTIFY", "OR place <= :most", "OR true"),
    "letters are written every day": _letters_every_day,
    "reminders go out every day": _sql(deciding, "_NOT_YET_DUE", "AND n.state <> 'cancelled'", "AND false"),
    "a former number is as good": _sql(claims, "_CHOSEN", "OR u.phone <> notice.phone", "OR false"),
    "nobody looks when a fact ends": _sql(feeds, "_TOUCHED", "left_out_until < :day", "false"),
    "a corrected bill gets no other case": _sql(
        scheduling, "_ADD", "AND last.revision < t.revision", "AND false"
    ),
}
"""What is wrong with each mutant, in words, and how it is put in."""
