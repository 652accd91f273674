"""The same deliveries in two orders: whatever was decided after the one has to be decided after the other.

Beside the lives, in which the judge reckons without any order, this compares the product with itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from fatoura.cutoff.deciding import decide_day
from fatoura.cutoff.feeds import apply_feeds
from tests.model.days import FIRST, ONE_DAY, at
from tests.model.judge import Violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.model.machine import Lives
    from tests.model.world import Feed

_TOLD = ("pay", "pay", "pay", "reverse", "correct_payment", "state_fact", "change_fact", "export", "export")


def compare_orders(machine: type[Lives], examples: int, number: int, *, shrink: bool) -> None:
    """Compare so many sets of deliveries.

    :param number: of their seed.
    :raises Violation: when two orders lead to different decisions.
    """

    @seed(number)
    @settings(
        max_examples=examples,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def compare(data: st.DataObject) -> None:
        life = machine()
        try:
            _compare(life, data)
        finally:
            life.teardown()

    compare()


def _compare(life: Lives, data: st.DataObject) -> None:
    life.begin(data)
    life.now = at(FIRST + 21 * ONE_DAY, 10)
    for _ in range(12):
        getattr(life, data.draw(st.sampled_from(_TOLD)))()
    life.export_all()
    feeds = life.on_its_way
    other = data.draw(st.permutations(feeds))
    at_once, again = (_decided(life, order, apply_each=False) for order in (feeds, other))
    note(f"{[feed.name for feed in feeds]}\n{[feed.name for feed in other]}")
    life.tally.checked["the same decisions in any order"] += 1
    if at_once != again:
        raise Violation(f"the same decisions in any order: {at_once}; {again}")
    # Taken up one by one, a case may be closed and opened again on the way: the messages are the same.
    one_by_one = _decided(life, other, apply_each=True)
    life.tally.checked["the same messages, taken up at once or one by one"] += 1
    if _messages(one_by_one) != _messages(at_once):
        raise Violation(f"the same messages, at once or one by one: {at_once}; {one_by_one}")


def _decided(life: Lives, feeds: Sequence[Feed], *, apply_each: bool) -> list[tuple[object, ...]]:
    """Return what is decided on this day, after deliveries that came in this order."""
    life.product.empty()
    for customer in life.world.customers.values():
        life.product.subscribe(customer, customer.phone)
    for revisions in life.world.bills.values():
        life.product.bill(revisions[0], 0)
    life.product.schedule()
    for feed in feeds:
        life.product.take(feed)
        if apply_each:
            apply_feeds()
    apply_feeds()
    decide_day()
    life.tally.steps["orders of deliveries"] += 1
    return sorted(
        (
            one.case,
            one.moment,
            one.verdict,
            str(one.reason),
            str(one.notice_kind),
            one.balance_millimes,
            str(one.cut_from),
        )
        for one in life.product.look().decisions
    )


def _messages(decided: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return sorted(
        (case[0], *rest)
        for case, _, verdict, _, *rest in decided
        if verdict == "notify"  # type: ignore[index]
    )
