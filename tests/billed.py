"""Bills from their extract to the cut, by the real functions: for tests that tell of whole lives.

Extracts are staged, feeds are files, messages are claimed and answered and their receipts matched, as in a
cycle; only the provider is played. Phones are invented.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.cutoff.deciding import decide_day
from fatoura.cutoff.feeds import apply_feeds
from fatoura.cutoff.planning import plan_day
from fatoura.cutoff.scheduling import schedule_cases
from fatoura.cycles.keys import ExtractKey
from fatoura.database import begin, connect
from fatoura.gateways.interface import Outcome
from fatoura.notices.planning import plan_bills
from fatoura.receipts.intake import RawReceipt, store
from fatoura.receipts.matching import match_receipts
from fatoura.sending import claims, routing
from fatoura.subscriptions import match_extract
from tests.notices import run_sql
from tests.payments import load_payments
from tests.staging import row, stage_extract, subscribe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from fatoura.gateways.interface import Message

CYCLE = "2026-05-T1"
CUSTOMER = "042580496"


def invoice(number: str, customer: str = CUSTOMER, **changed: Any) -> dict[str, Any]:
    """Return a bill of an extract: 85.352 dinars to pay by Thursday 25 June."""
    return row(number, customer, amount_due_millimes=changed.pop("amount", 85_352), **changed)


def bill(*bills: Mapping[str, Any], supplement: int = 0, cycle: str = CYCLE, deliver: bool = True) -> None:
    """Bill customers as a cycle does, subscribed where they are not: told, delivered, cases scheduled."""
    key = ExtractKey(cycle, supplement)
    for customer in {str(one["customer_reference"]) for one in bills}:
        if not _is_subscribed(customer):
            subscribe(customer, language="fr", phone=f"+21620{int(customer) % 1_000_000:06d}")
    extract_id = stage_extract(key, bills)
    run_sql("UPDATE extract SET loaded_at = :now WHERE id = :id", now=clock.now(), id=extract_id)
    match_extract(key)
    plan_bills(key, run_id="cycle")
    if deliver:
        send()
    schedule_cases(str(key))


def _is_subscribed(customer: str) -> bool:
    with connect() as connection:
        found = connection.scalar(
            text("SELECT count(*) FROM subscription WHERE customer_reference = :customer"),
            {"customer": customer},
        )
    return bool(found)


def claim() -> list[Message]:
    """Claim all that may leave now, of every cycle, with what is checked at the claim."""
    with connect() as connection:
        cycles = connection.scalars(text("SELECT id FROM cycle ORDER BY id")).all()
    found = []
    for cycle in cycles:
        with begin() as connection:
            batch = claims.claim(
                connection,
                cycle,
                gateway="fatoura_sms",
                stretch=routing.WHOLE,
                in_use=["fatoura_sms"],
                worker="test",
                most=500,
                lease=timedelta(minutes=5),
                doubt_horizon=timedelta(hours=6),
                sender_id="STEG",
            )
        found += [one.message for one in batch]
    return found


def send(outcome: str | None = "delivered", *, accepted: str = "accepted") -> list[UUID]:
    """Send what may leave; return the messages that did.

    :param outcome: what a receipt says of each a minute later; none: no receipt comes.
    :param accepted: the provider's answer, or ``in_doubt`` for none.
    """
    sent = claim()
    with begin() as connection:
        claims.write_outcomes(
            connection,
            [(message, Outcome(accepted, "77", "0: Accepted for delivery")) for message in sent],
            retry_after=timedelta(0),
        )
    if outcome:
        receive(outcome, *(message.id for message in sent))
    return [message.id for message in sent]


def receive(status: str, *notices: UUID, after: timedelta = timedelta(minutes=1)) -> None:
    """Receive a receipt of each message, and match it.

    :param after: by the provider's clock it happened so much later than now.
    """
    at = clock.now() + after
    store(
        [RawReceipt("fatoura_sms", at, {}, notice, 1, "77", status, status.upper(), at) for notice in notices]
    )
    match_receipts()


def fresh(*payments: Mapping[str, Any], name: str | None = None) -> None:
    """Deliver a feed of payments that is complete up to now, and have the cases take it up."""
    load_payments(name or f"{clock.local_now():%Y-%m-%d-%H%M%S}", *payments)
    apply_feeds()


def run_day() -> None:
    """Decide and plan as the daily run does."""
    plan_day(decide_day().cycle)


LATER_BILL = {"issue_date": date(2026, 6, 20), "due_date": date(2026, 7, 25)}
"""What a bill of the next cycle has otherwise."""
