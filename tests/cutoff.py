"""Cut-off cases for tests that begin after a billing cycle, and the steps of their days. Phones are invented.

Payments and facts are written straight into the tables, as the feeds leave them.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.sending import claims
from fatoura.sending.routing import WHOLE
from fatoura.settings import get_settings
from tests.notices import run_sql

if TYPE_CHECKING:
    from uuid import UUID

CHANNELS = ("counter", "post", "bank", "web", "app", "debit")


def bill(
    number: str = "A1",
    customer: str = "000000001",
    *,
    amount: int = 85_352,
    due: date = date(2026, 6, 25),
    warn_from: date = date(2026, 6, 30),
    issued: date = date(2026, 5, 20),
    language: str = "fr",
    **case: Any,
) -> None:
    """Bill a subscriber, with the notice delivered and the case scheduled."""
    values = {
        "number": number,
        "customer": customer,
        "amount": amount,
        "due": due,
        "warn_from": warn_from,
        "issued": issued,
        "language": language,
        "phone": f"+21620{int(customer) % 1_000_000:06d}",
        "now": clock.now(),
    }
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO subscription (customer_reference, phone, language, channel, consent_date) "
                "SELECT :customer, :phone, :language, 'coupon', '2026-01-01' WHERE NOT EXISTS "
                "(SELECT FROM subscription WHERE customer_reference = :customer)"
            ),
            values,
        )
        connection.execute(
            text(
                "INSERT INTO cycle (key, issue_date) VALUES ('2026-05-T1', '2026-05-20') "
                "ON CONFLICT DO NOTHING"
            )
        )
        connection.execute(
            text(
                "INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, "
                "customer_reference, district, supply, period_start, period_end, amount_due_millimes, "
                "due_date, issue_date, estimated, bucket, subscription_id) "
                "SELECT 1, 1 + (SELECT count(*) FROM invoice), c.id, :number, 0, :customer, 'TUN', 'both', "
                "'2026-03-01', '2026-04-30', :amount, :due, :issued, false, 'noticed', s.id "
                "FROM cycle c, subscription s WHERE c.key = '2026-05-T1' AND s.customer_reference = :customer"
            ),
            values,
        )
        connection.execute(
            text(
                "INSERT INTO cutoff_case (invoice_number, cycle_id, subscription_id, customer_reference, "
                "district, revision, notice_id, amount_due_millimes, issue_date, due_date, warn_from, "
                "created_at, state_since) "
                "SELECT :number, c.id, s.id, :customer, 'TUN', 0, uuidv7(), :amount, :issued, :due, "
                ":warn_from, :now, :now FROM cycle c, subscription s "
                "WHERE c.key = '2026-05-T1' AND s.customer_reference = :customer AND s.state <> 'ended'"
            ),
            values,
        )


def feed(content: str = "payments", name: str | None = None) -> int:
    """Register a feed that cases have not taken up yet; return its id."""
    return int(
        run_sql(
            "INSERT INTO feed (content, name, source, location, manifest, digest, loaded_at) "
            "SELECT :content, coalesce(:name, 'feed-' || count(*)), 'landing', 'x', '{}', 'x', :now "
            "FROM feed RETURNING id",
            content=content,
            name=name,
            now=clock.now(),
        ).scalar()
    )


def watermark(until: datetime | None = None, channels: tuple[str, ...] = CHANNELS) -> None:
    """Say up to when payments are complete; none: up to now."""
    feed_id = feed()
    for channel in channels:
        run_sql(
            "INSERT INTO watermark (channel, complete_until, feed_id) VALUES (:channel, :until, :feed) "
            "ON CONFLICT (channel) DO UPDATE SET complete_until = excluded.complete_until",
            channel=channel,
            until=until or clock.now(),
            feed=feed_id,
        )


def pay(number: str = "A1", amount: int = 85_352, **payment: Any) -> None:
    """Take a payment, or a reversal with a negative amount."""
    feed_id = feed()
    run_sql(
        "INSERT INTO payment (payment_id, invoice_number, amount_millimes, paid_at, channel, kind, reverses, "
        "feed_id, row_number, known_until, counts_millimes, outcome) VALUES ('P' || :feed, :number, "
        "abs(:amount), :paid_at, 'counter', CASE WHEN :amount < 0 THEN 'reversal' ELSE 'payment' END, "
        "CASE WHEN :amount < 0 THEN 'P' END, :feed, 1, :paid_at, :amount, 'counted')",
        feed=feed_id,
        number=number,
        amount=amount,
        paid_at=payment.get("paid_at", clock.now()),
    )


def know(fact: str, customer: str = "000000001", **values: Any) -> None:
    """Note a fact of an account, from today on."""
    feed_id = feed("facts")
    run_sql(
        "INSERT INTO account_fact (fact_id, customer_reference, invoice_number, fact, valid_from, "
        "valid_until, set_by, feed_id, row_number, told_in) VALUES ('F' || :feed, :customer, :invoice, "
        ":fact, :valid_from, :valid_until, 'test', :feed, 1, 'x')",
        feed=feed_id,
        customer=customer,
        invoice=values.get("invoice"),
        fact=fact,
        valid_from=values.get("valid_from", clock.today()),
        valid_until=values.get("valid_until"),
    )


def planned() -> list[Any]:
    """Return the notices that have been planned and not sent."""
    with connect() as connection:
        return list(
            connection.execute(text("SELECT * FROM notice WHERE state = 'planned' ORDER BY kind, subject"))
        )


def send(outcome: str = "delivered", after: timedelta = timedelta(minutes=1)) -> dict[UUID, str]:
    """Claim what is planned as a sender does, and settle what was claimed; return what the claim cancelled.

    :param outcome: a final state, or one without a final word.
    """
    with begin() as connection:
        planned_now = connection.execute(
            text("SELECT id, cycle_id FROM notice WHERE state = 'planned'")
        ).all()
        sent = [
            one.message.id
            for cycle in {row.cycle_id for row in planned_now}
            for one in claims.claim(
                connection,
                cycle,
                gateway="fatoura_sms",
                stretch=WHOLE,
                in_use=["fatoura_sms"],
                worker="test",
                most=10_000,
                lease=timedelta(minutes=5),
                doubt_horizon=timedelta(hours=6),
                sender_id="STEG",
            )
        ]
        cancelled = connection.execute(
            text("SELECT id, reason FROM notice WHERE id = ANY(:ids) AND state = 'cancelled'"),
            {"ids": [row.id for row in planned_now]},
        )
        refused = {row.id: row.reason for row in cancelled}
        values = {"at": clock.now() + after, "sent": sent, "outcome": outcome}
        if outcome != "in_doubt":
            connection.execute(text("UPDATE notice SET state = 'accepted' WHERE id = ANY(:sent)"), values)
        connection.execute(
            text(
                "UPDATE notice SET state = :outcome, "
                "final_at = CASE WHEN :outcome NOT IN ('in_doubt', 'accepted') "
                "THEN CAST(:at AS timestamptz) END WHERE id = ANY(:sent)"
            ),
            values,
        )
        if outcome == "delivered":
            connection.execute(
                text(
                    "INSERT INTO receipt (gateway, raw, notice_id, attempt, status, happened_at, match) "
                    "SELECT 'fatoura_sms', '{}', id, 1, 'delivered', :at, 'moved' FROM notice "
                    "WHERE id = ANY(:sent)"
                ),
                values,
            )
    return refused


def cases(columns: str = "state") -> list[tuple[Any, ...]]:
    """Return all cases, in order."""
    with connect() as connection:
        return [
            tuple(row)
            for row in connection.execute(
                text(f"SELECT {columns} FROM cutoff_case ORDER BY invoice_number, sequence")
            )
        ]


def horizon() -> timedelta:
    """Return how long a message without a final word is waited for."""
    return get_settings().settle_horizon
