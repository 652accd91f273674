"""What is looked at again when a message is claimed: whether what it says still holds. Called by the claim.

Knows who can tell, by the name of a kind's check, and nothing of bills or cases. What a check says counts in
the transaction of the claim: what it finds unfounded is cancelled there, and never leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura.cycles.registry import Purpose
from fatoura.notices.kinds import Check, all_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection


def _no_longer_owed(connection: Connection, notices: Sequence[UUID]) -> Mapping[UUID, str]:
    from fatoura.cutoff import claiming

    return claiming.unfounded(connection, notices)


def _owed_again(connection: Connection, notices: Sequence[UUID]) -> Mapping[UUID, str]:
    from fatoura.cutoff import claiming

    return claiming.taken_back(connection, notices)


def _no_longer_so(connection: Connection, notices: Sequence[UUID]) -> Mapping[UUID, str]:
    from fatoura.fees import claiming

    return claiming.no_longer_so(connection, notices)


CHECKS: Mapping[Check, Callable[[Connection, Sequence[UUID]], Mapping[UUID, str]]] = {
    Check.STILL_OWED: _no_longer_owed,
    Check.STILL_SETTLED: _owed_again,
    Check.STILL_SUBSCRIBED: _no_longer_so,
}
"""Who can tell: gets planned notices that the transaction holds, returns those to cancel, each with why."""


def checked_kinds() -> list[str]:
    """Return the kinds that are checked when they are claimed. They are claimed once: never when in doubt."""
    return [kind.name for kind in all_kinds().values() if kind.check]


def are_needed(connection: Connection, cycle_id: int) -> bool:
    """Tell whether a cycle can hold notices of such kinds: not one of bills, which are most there is."""
    purpose: str | None = connection.scalar(
        text("SELECT purpose FROM cycle WHERE id = :cycle"), {"cycle": cycle_id}
    )
    return purpose != Purpose.BILLING


def unfounded(connection: Connection, notices: Iterable[tuple[UUID, str]]) -> dict[UUID, str]:
    """Return which of these notices must not leave, each with the reason as a code.

    :param notices: ids and kinds; the transaction holds their rows.
    """
    by_check: dict[Check, list[UUID]] = {}
    kinds = all_kinds()
    for notice, kind in notices:
        if kind in kinds and (check := kinds[kind].check):
            by_check.setdefault(check, []).append(notice)
    found: dict[UUID, str] = {}
    for check, asked in by_check.items():
        found.update(CHECKS[check](connection, asked))
    return found
