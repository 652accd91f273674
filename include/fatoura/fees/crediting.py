"""Sets single charges right: one that was too high is lowered, what was paid too much is given back.

Called by commands. A charge is never raised: what was asked for too little stays so. What the billing system
was told of it is told of the difference, in the next file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura.database import locked
from fatoura.errors import BadInput
from fatoura.fees.books import LOCK, MARK, Moment, charge_number, take_off, waive
from fatoura.fees.states import OWED, ChargeState
from fatoura.sending.doubts import checked_name, checked_reason

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row


@dataclass(frozen=True)
class Credited:
    """What was taken off a charge, in millimes, and the state that it has now."""

    charge: str
    millimes: int
    state: str


def correct(charge: str, new_millimes: int, *, reason: str, by: str) -> Credited:
    """Lower a charge, because it was wrong. Its year stays as it is; lowered to nothing, it is waived.

    :param new_millimes: what it should have been.
    :param reason: in a few words, for the books.
    :raises BadInput: when there is no such charge, it is no higher than that, or nobody owes or has paid it.
    """
    reason, by = checked_reason(reason), checked_name(by)
    with locked(LOCK) as connection:
        found = _find(connection, charge)
        held = found.owed_millimes or _kept(found)
        if found.state not in (*OWED, ChargeState.PAID) or not held:
            raise BadInput(f"{charge} is {found.state}: nobody owes it, so there is nothing to correct")
        if not 0 <= new_millimes < held:
            raise BadInput(f"{charge} stands at {held} millimes: it can only be lowered, to 0 at the least")
        off = held - new_millimes
        if found.owed_millimes and not new_millimes:
            waive(connection, _ONE, Moment.now(by), charge=found.id, reason=reason)
        else:
            _take_off(connection, found.id, off, reason, by)
        return Credited(charge, off, _find(connection, charge).state)


def refund(charge: str, millimes: int | None, *, reason: str, by: str) -> Credited:
    """Give back what was paid, or a part of it. The year stays paid.

    :param millimes: none: all that is left of it.
    :raises BadInput: when there is no such charge, or not so much was paid.
    """
    reason, by = checked_reason(reason), checked_name(by)
    with locked(LOCK) as connection:
        found = _find(connection, charge)
        kept = _kept(found)
        if found.state != ChargeState.PAID or not kept:
            raise BadInput(f"{charge} is {found.state}, and nothing that was paid is left to be given back")
        off = kept if millimes is None else millimes
        if not 0 < off <= kept:
            raise BadInput(f"{kept} millimes of {charge} were paid and are kept: give back no more than that")
        _take_off(connection, found.id, off, reason, by)
        return Credited(charge, off, found.state)


_ONE = "SELECT CAST(:charge AS bigint) AS charge_id, CAST(:reason AS text) AS because"
_SO_MUCH = f"{_ONE}, CAST(:off AS bigint) AS millimes"


def _take_off(connection: Connection, number: int, off: int, reason: str, by: str) -> None:
    take_off(connection, _SO_MUCH, Moment.now(by), charge=number, off=off, reason=reason)


def _kept(found: Row[tuple[int, ...]]) -> int:
    return int(found.paid_millimes - found.owed_back_millimes - found.given_back_millimes)


def _find(connection: Connection, charge: str) -> Row[tuple[int, ...]]:
    found = connection.execute(
        text("SELECT * FROM fee_charge WHERE id = :id FOR UPDATE"), {"id": charge_number(charge)}
    ).one_or_none()
    if found is None:
        raise BadInput(f"there is no charge {MARK}{charge_number(charge)}")
    return found
