"""Take receipts that come after their cycles have stopped waiting. Called by the workflow of late reports."""

from __future__ import annotations

from fatoura.receipts.matching import match_receipts, unpark_known
from fatoura.receipts.polling import poll_receipts
from sms_gateway.hooks import open_gateway


def take_late_receipts() -> dict[str, int]:
    """Ask providers that do not report by themselves, and match what has come; return what became of it."""
    poll_receipts(open_gateway)
    unpark_known()
    return dict(match_receipts())
