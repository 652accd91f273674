"""What is left of providers' accounts, and whether it will do for a cycle.

Called by the sender before it begins. What was told is kept with the gateway, for commands and metrics. A
provider that cannot be asked, or does not answer, holds nothing up.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from fatoura.database import begin, connect
from fatoura.errors import FatouraError
from fatoura.sending import routing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from fatoura.gateways.interface import Balance

log = logging.getLogger(__name__)

ASKED_EVERY = timedelta(minutes=10)
"""So far apart at least are two questions to one provider, however many senders there are."""

COUNTS_SEGMENTS = "SMS"
"""The unit of a balance that can be compared with what is planned."""

_PATIENCE_SECONDS = 5


async def look_up(askable: Mapping[str, Callable[[], Awaitable[Balance]]]) -> dict[str, Balance]:
    """Ask those providers that were not asked lately; keep what they say.

    :param askable: asks the provider, by gateway.
    :returns: what was told just now, by gateway.
    """
    if not askable:
        return {}
    due = await asyncio.to_thread(_claim, list(askable))
    answers = await asyncio.gather(*(_ask(name, askable[name]) for name in sorted(due)))
    told = {name: balance for name, balance in answers if balance is not None}
    if told:
        await asyncio.to_thread(_keep, told)
    return told


def shortages(cycle_id: int, balances: dict[str, Balance]) -> dict[str, str]:
    """Return which accounts will not do for what is planned of a cycle, and in words by how much."""
    counted = {name: one.amount for name, one in balances.items() if one.unit == COUNTS_SEGMENTS}
    if not counted:
        return {}
    with connect() as connection:
        planned = _planned_segments(connection, cycle_id)
        in_use = connection.scalars(text("SELECT name FROM gateway WHERE in_use")).all()
        parts = routing.shares(routing.standings(connection, in_use))
    return {
        name: f"{left:,.0f} SMS are left, and about {needed:,.0f} segments of this cycle are to go through it"
        for name, left in counted.items()
        if left < (needed := planned * parts.get(name, 0.0))
    }


async def _ask(name: str, ask: Callable[[], Awaitable[Balance]]) -> tuple[str, Balance | None]:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            balance = await ask()
    except TimeoutError:
        log.warning("the balance at %s is not known: no answer within %d s", name, _PATIENCE_SECONDS)
        return name, None
    except FatouraError as error:
        log.warning("the balance at %s is not known: %s", name, error)
        return name, None
    log.info("the balance at %s is %s %s", name, f"{balance.amount:,}", balance.unit)
    return name, balance


def _claim(names: list[str]) -> set[str]:
    """Return whose turn it is to be asked; whoever else comes now finds that they were."""
    with begin() as connection:
        return set(
            connection.scalars(
                text(
                    "UPDATE gateway SET balance_asked_at = clock_timestamp() WHERE name = ANY(:names) "
                    "AND coalesce(balance_asked_at < clock_timestamp() - CAST(:every AS interval), true) "
                    "RETURNING name"
                ),
                {"names": names, "every": ASKED_EVERY},
            )
        )


def _keep(told: dict[str, Balance]) -> None:
    with begin() as connection:
        connection.execute(
            text(
                "UPDATE gateway SET balance = :amount, balance_unit = :unit, "
                "balance_told_at = clock_timestamp() WHERE name = :name"
            ),
            [{"name": name, "amount": one.amount, "unit": one.unit} for name, one in told.items()],
        )


def _planned_segments(connection: Connection, cycle_id: int) -> int:
    found: int | None = connection.scalar(
        text("SELECT sum(segments) FROM notice WHERE cycle_id = :cycle AND state = 'planned'"),
        {"cycle": cycle_id},
    )
    return found or 0
