"""Keeps fees up with what happens between two monthly runs: answers, ended contracts, departures, comebacks.

Called after each look for feeds, and by the monthly run. Answers are booked when they are loaded; what waits
is booked here, and whoever is to be told of something gets a message planned.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fatoura.database import locked
from fatoura.fees.booking import book_what_waits
from fatoura.fees.books import LOCK, Moment
from fatoura.fees.closing import Closed, close_ended, take_up_again
from fatoura.fees.rules import fee_rules_on
from fatoura.fees.telling import plan_news
from fatoura.fees.waiving import apply_waivers, give_back_waived

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from fatoura.fees.rules import FeeRules

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """What was kept up with.

    :param closed: what became of subscriptions that have ended, and of comebacks.
    :param booked: charges that moved because an answer could be booked now, by state.
    :param messages: planned, by kind.
    :param cycle: the key of the cycle that these are in; null when there are none.
    """

    closed: Closed
    booked: Mapping[str, int]
    messages: Mapping[str, int]
    cycle: str | None

    @property
    def counts(self) -> dict[str, Any]:
        """What a log or a record holds."""
        told = {**self.closed.counts, **self.booked, **self.messages}
        return {name: count for name, count in told.items() if count}


def keep_up(*, run_id: str | None = None) -> Kept:
    """Take up what has happened since the last time; again, it does nothing.

    :raises FeeRulesError: when the rules cannot be read.
    """
    moment = Moment.now(run_id)
    rules = fee_rules_on(moment.day)
    with locked(LOCK) as connection:
        closed, booked = settle(connection, moment, rules)
        messages, cycle = plan_news(connection, moment, rules, run_id=run_id)
    kept = Kept(closed, booked, messages, cycle)
    if kept.counts:
        log.info("fees: %s", ", ".join(f"{name} {count}" for name, count in kept.counts.items()))
    return kept


def settle(connection: Connection, moment: Moment, rules: FeeRules) -> tuple[Closed, dict[str, int]]:
    """Book what waits, close what has ended, and begin anew what was subscribed again."""
    booked = dict(book_what_waits(connection, moment).moved)
    again = take_up_again(connection, moment)
    waived = apply_waivers(connection, moment, rules)
    given_back_waived = give_back_waived(connection, moment)
    closed = close_ended(connection, moment, rules)
    if waived or given_back_waived:
        booked = {**booked, "waived": waived, "given_back_waived": given_back_waived}
    return replace(closed, subscribed_again=again), booked
