"""Wait for a cycle's receipts, and say when it is settled. Asked by the settle task and its trigger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from fatoura import clock
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Settlement:
    """Where a cycle's messages stand.

    :param open: messages without a final word (accepted, in doubt, or still to be sent).
    :param horizon: until when it is worth waiting (UTC); null when nothing was sent.
    """

    states: dict[str, int]
    open: int
    horizon: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether all are final, or the horizon has passed; later receipts still count."""
        return self.open == 0 or self.horizon is None or clock.now() >= self.horizon


def settlement(connection: Connection, cycle_id: int) -> Settlement:
    """Count a cycle's notices by state. One row a state: cheap enough to ask every few seconds."""
    rows = connection.execute(
        text("SELECT state, count(*), max(submitted_at) FROM notice WHERE cycle_id = :c GROUP BY state"),
        {"c": cycle_id},
    ).all()
    unsettled = [row for row in rows if row[0] in ("planned", "sending", "in_doubt", "accepted")]
    submitted = [row[2] for row in unsettled if row[2] is not None]
    return Settlement(
        states={state: count for state, count, _ in rows},
        open=sum(row[1] for row in unsettled),
        horizon=max(submitted) + get_settings().settle_horizon if submitted else None,
    )
