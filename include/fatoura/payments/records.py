"""Rows of payments, checked one by one. Pure: knows no database and keeps nothing.

What is wrong with a row is told by field and code, never with its values.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fatoura import clock
from fatoura.cutoff.rules import Channel
from fatoura.extracts.values import read_integer
from fatoura.feeds.records import Flaw, Record
from fatoura.feeds.values import InstantError, is_identifier, is_invoice_number, read_instant
from fatoura.money import LARGEST_MILLIMES

if TYPE_CHECKING:
    from fatoura.feeds.content import RowCheck
    from fatoura.payments.manifest import PaymentsManifest

COLUMNS = ("payment_id", "invoice_number", "amount_millimes", "paid_at", "channel", "kind", "reverses")
"""The columns of the contract, in its order."""

TYPED = {
    "payment_id": "text",
    "invoice_number": "text",
    "amount_millimes": "bigint",
    "paid_at": "timestamptz",
    "channel": "text",
    "kind": "text",
    "reverses": "text",
    "known_until": "timestamptz",
}
"""The typed columns of a good row: those of the contract, and its feed's watermark of its channel."""

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=1)
"""Banks date payments by the day on which they are worth something, which may be the next one."""

_CHANNELS = frozenset(channel.value for channel in Channel)


def row_check(manifest: PaymentsManifest) -> RowCheck:
    """Return the check of a feed's rows."""
    known_until = {channel.value: instant for channel, instant in manifest.complete_until.items()}
    latest = clock.now() + _AHEAD

    def check(record: Record) -> tuple[Any, ...] | list[Flaw]:
        if record.flaw is not None:
            return [Flaw("row", record.flaw)]
        payment_id, invoice, amount_text, paid_text, channel, kind, reverses = map(record.text, COLUMNS)
        flaws = []
        if not is_identifier(payment_id):
            flaws.append(Flaw("payment_id", "form"))
        if not is_invoice_number(invoice):
            flaws.append(Flaw("invoice_number", "form"))
        amount = read_integer(amount_text)
        if amount is None:
            flaws.append(Flaw("amount_millimes", "not_an_integer"))
        elif amount <= 0:
            flaws.append(Flaw("amount_millimes", "not_positive"))
        elif amount > LARGEST_MILLIMES:
            flaws.append(Flaw("amount_millimes", "out_of_bounds"))
        paid_at = None
        try:
            paid_at = read_instant(paid_text)
        except InstantError as error:
            flaws.append(Flaw("paid_at", error.code))
        else:
            if paid_at > latest:
                flaws.append(Flaw("paid_at", "in_the_future"))
            elif paid_at < _EARLIEST:
                flaws.append(Flaw("paid_at", "out_of_bounds"))
        if channel not in _CHANNELS:
            flaws.append(Flaw("channel", "unknown"))
        elif channel not in known_until:
            flaws.append(Flaw("channel", "not_in_complete_until"))
        if kind == "reversal":
            if code := _wrong_reversal(payment_id, reverses):
                flaws.append(Flaw("reverses", code))
        elif kind != "payment":
            flaws.append(Flaw("kind", "unknown"))
        elif reverses:
            flaws.append(Flaw("reverses", "given_for_a_payment"))
        if flaws:
            return flaws
        return payment_id, invoice, amount, paid_at, channel, kind, reverses or None, known_until[channel]

    return check


def _wrong_reversal(payment_id: str, reverses: str) -> str | None:
    if not reverses:
        return "missing"
    if not is_identifier(reverses):
        return "form"
    return "itself" if reverses == payment_id else None
