"""Lists of charges for commands, and what commands look up before they change something."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect
from fatoura.fees.books import charge_id

if TYPE_CHECKING:
    from datetime import date


class Listed(NamedTuple):
    """A charge. Money in millimes."""

    charge: str
    subscription_id: int
    customer_reference: str
    state: str
    because: str | None
    period_start: date
    period_end: date
    amount_millimes: int
    owed_millimes: int


def charges_like(
    *, state: str | None, file_name: str | None, most: int
) -> tuple[dict[str, int], list[Listed]]:
    """Return how many charges there are by state, and the latest of those that are asked for."""
    with connect() as connection:
        counted = connection.execute(
            text("SELECT state, count(*) FROM fee_charge GROUP BY state ORDER BY state")
        )
        rows = connection.execute(
            text(
                f"SELECT {charge_id()}, c.subscription_id, c.customer_reference, c.state, c.because, "
                "c.period_start, c.period_end, c.amount_millimes, c.owed_millimes FROM fee_charge c "
                "WHERE (CAST(:state AS text) IS NULL OR c.state = :state) AND (CAST(:file AS text) IS NULL "
                "OR c.file_id = (SELECT id FROM fee_file WHERE name = :file)) ORDER BY c.id DESC LIMIT :most"
            ),
            {"state": state, "file": file_name, "most": most},
        )
        return dict(counted.all()), [Listed(*row) for row in rows]


def first_day_to_waive(reference: str) -> date:
    """Return the first day of a customer's year that is owed or under way; today where there is none."""
    with connect() as connection:
        found: date | None = connection.scalar(
            text(
                "SELECT min(c.period_start) FROM fee_charge c "
                "JOIN subscription s ON s.id = c.subscription_id "
                "WHERE s.customer_reference = :reference AND s.state <> 'ended' "
                "AND (c.period_end >= :today OR c.owed_millimes > 0)"
            ),
            {"reference": reference, "today": clock.today()},
        )
    return found or clock.today()
