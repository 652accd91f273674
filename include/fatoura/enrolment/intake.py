"""One look: what there is to do about coupons, and taking the feeds of customers and coupons.

Called by the workflow every few seconds, so that an idle look has to cost little. Knows what there is to do;
how it is done, each step's own module knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.customers.loading import CUSTOMERS
from fatoura.cycles.registry import Purpose
from fatoura.database import connect
from fatoura.enrolment import lists, welcoming
from fatoura.enrolment.loading import COUPONS
from fatoura.feeds.folders import find_feeds
from fatoura.feeds.refused import standing_refusals
from fatoura.feeds.taking import FeedsTaken, loaded_at, take_feeds
from fatoura.landing import landing_path
from fatoura.sending.taking_up import cycles_to_send
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from fatoura.landing import LandingPath

CONTENTS: tuple[Any, ...] = (CUSTOMERS, COUPONS)
"""Customers first: a coupon is judged by whether its customer is known."""

_NAMES = frozenset(content.name for content in CONTENTS)

# A customer becomes known by a feed, or by a bill.
_TO_JUDGE = """
SELECT EXISTS (SELECT FROM coupon WHERE outcome IS NULL) OR EXISTS (
    SELECT FROM coupon c JOIN feed f ON f.id = c.feed_id
    WHERE c.outcome = 'waits' AND (
        f.loaded_at < :waited
        OR c.judged_at < (SELECT max(loaded_at) FROM feed WHERE content = 'customers')
        OR c.judged_at < (SELECT max(matched_at) FROM extract)
    )
)
"""


def what_is_to_do(landing: str | LandingPath | None = None) -> list[str]:
    """Return what there is to do now, in words for the log; nothing: this look is over.

    :param landing: the landing folder; none: the one of the settings.
    """
    asked: dict[str, Callable[[], bool]] = {
        "take feeds": lambda: _something_landed(landing),
        "judge coupons": _something_to_judge,
        "plan welcomes": _somebody_to_welcome,
        "conclude welcomes": welcoming.are_to_be_concluded,
        "send welcomes": lambda: bool(cycles_to_welcome()),
        "write lists": lists.are_stale,
    }
    return [what for what, is_to_do in asked.items() if is_to_do()]


def take_customers_and_coupons(
    landing: str | LandingPath | None = None, run_id: str | None = None
) -> FeedsTaken:
    """Take every feed of customers, then every batch of coupons, that lies in the landing folder."""
    return take_feeds(landing, run_id, contents=CONTENTS)


def cycles_to_welcome() -> list[str]:
    """Return the keys of the cycles of welcomes that can go out now, and that no run has taken up."""
    return cycles_to_send(Purpose.WELCOME)


def _something_landed(landing: str | LandingPath | None) -> bool:
    """Tell whether a feed lies there that is to be taken. A refused one is opened again now and then only."""
    folder, now, often = landing_path(landing), clock.now(), get_settings().feed_poll
    with connect() as connection:
        refused = {
            (one.content, one.name): one.refused_at
            for one in standing_refusals(connection)
            if one.content in _NAMES
        }
    for content in CONTENTS:
        loaded = loaded_at(content)
        for feed in find_feeds(folder / content.folder, loaded):
            seen = refused.pop((content.name, feed.name), None)
            known = loaded.get(feed.name)
            is_new = known is None or feed.changed is None or feed.changed > known
            if is_new and (seen is None or seen < now - often):
                return True
    return bool(refused)  # those lie there no more, and are to be forgotten


def _something_to_judge() -> bool:
    with connect() as connection:
        return bool(connection.scalar(text(_TO_JUDGE), {"waited": clock.now() - get_settings().coupon_wait}))


def _somebody_to_welcome() -> bool:
    with connect() as connection:
        return bool(
            connection.scalar(text(f"SELECT EXISTS (SELECT FROM coupon WHERE {welcoming.UNWELCOMED})"))
        )
