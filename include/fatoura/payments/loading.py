"""Payments as a content of feeds: what tells rows apart, which of two stands, what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.feeds.content import Content
from fatoura.feeds.delivery import open_folder
from fatoura.feeds.loading import FeedLoaded, load_feed
from fatoura.landing import landing_path
from fatoura.payments.completeness import advance, advance_all
from fatoura.payments.manifest import FORM, PaymentsManifest
from fatoura.payments.records import COLUMNS, TYPED, row_check
from fatoura.payments.reversals import recount_reversals

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.feeds.content import NewFeed
    from fatoura.landing import LandingPath


def _after(connection: Connection, feed: NewFeed) -> None:
    recount_reversals(connection)
    advance(connection, feed)


# Of the same id, and of the same invoice where the row tells of one. What is later is told by the watermark
# of the row's channel; where that cannot be read, by the feed's latest.
_SETTLES = """
(s.invoice_number IS NULL OR t.invoice_number = s.invoice_number)
AND ROW(t.known_until, t.told_in COLLATE "C") > ROW(
    coalesce(CAST(f.manifest -> 'complete_until' ->> (s.fields ->> 'channel') AS timestamptz),
        (SELECT max(CAST(value AS timestamptz)) FROM jsonb_each_text(f.manifest -> 'complete_until'))),
    f.name COLLATE "C")
"""

PAYMENTS = Content(
    name="payments",
    folder="payments",
    columns=COLUMNS,
    amounts="amount_millimes",
    manifest=PaymentsManifest,
    form=FORM,
    check=row_check,
    table="payment",
    typed=TYPED,
    key=("payment_id", "invoice_number"),
    values=("amount_millimes", "paid_at", "channel", "kind", "reverses"),
    rank=("known_until", "told_in"),
    settles=_SETTLES,
    channels=lambda manifest: tuple(sorted(manifest.complete_until)),
    extras={
        "counts_millimes": "CASE m.kind WHEN 'payment' THEN m.amount_millimes ELSE 0 END",
        "outcome": "CASE m.kind WHEN 'payment' THEN 'counted' ELSE 'waits_for_payment' END",
    },
    after=_after,
    freed=advance_all,
)


def load_payments_feed(folder: str | LandingPath, *, run_id: str | None = None) -> FeedLoaded:
    """Load the feed of payments that lies in a folder, which may be any.

    :param folder: a path object, a path, or a URL such as ``s3://bucket/payments/2026-06-29-0600``.
    :raises FeedRefused: with everything that is wrong.
    """
    path = landing_path(folder)
    return load_feed(PAYMENTS, open_folder(PAYMENTS, path, named=False, subject=str(folder)), run_id=run_id)
