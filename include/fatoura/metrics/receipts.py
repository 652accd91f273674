"""What became of receipts, as metrics. Called by the intake and by the matching."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from fatoura.metrics import names
from fatoura.metrics.statsd import Point

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Row

    from fatoura.receipts.intake import RawReceipt


def received_points(receipts: Sequence[RawReceipt]) -> Iterable[Point]:
    """Give the points of receipts that were stored."""
    found = Counter(
        (receipt.gateway, "no" if receipt.match == "unreadable" else "yes") for receipt in receipts
    )
    for labels, count in found.items():
        yield Point(names.RECEIVED, count, labels)


def matched_points(rows: Sequence[Row[Any]]) -> Iterable[Point]:
    """Give the points of a batch that was matched.

    :param rows: by gateway, match and state: `receipts`, how many; `waits`, the seconds from their arrival;
        `took`, of those that ended a message, the seconds since it was handed over.
    """
    for row in rows:
        yield Point(names.MATCHED, row.receipts, (row.gateway, row.match))
        yield Point(names.WAIT, row.waits, (row.gateway,))
        if row.took:
            yield Point(names.DELIVERY, row.took, (row.gateway, row.state))
