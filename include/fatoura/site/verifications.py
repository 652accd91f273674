"""What a browser has asked a code for, and whether the code came back. Called by the pages.

Asking is the same work whoever asks for whatever: one row, written whether or not such a customer exists.
What is due is judged behind the answer (see `judging`), so that no answer can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.phones_at_rest import sealed
from fatoura.site import limits
from fatoura.site.codes import GOOD_FOR, MOST_TRIES, KeptCode, is_right, keep_nobodys

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from fatoura.languages import Language

    Act = Callable[[Connection, Row[Any]], str | None]

Action = Literal["subscribe", "manage", "change_number", "confirm_former", "leave_by_bill"]

SESSION = timedelta(minutes=15)
"""For so long a code that came back opens the subscription, and what came of a visit is shown."""

_TWICE = timedelta(seconds=30)
"""The same asked again so soon is a button that was pressed twice."""

_SAME_CODE_AGAIN = timedelta(minutes=2)

CLOSED = "closed"
"""What came of a visit that was closed by who had opened it: nothing."""

LATEST = "SELECT * FROM verification WHERE visit = :visit ORDER BY asked_at DESC, id DESC LIMIT 1"
_SUPERSEDE = """
UPDATE verification SET outcome = 'superseded', ended_at = :now
WHERE visit = :visit AND verified_at IS NULL AND outcome IS NULL AND action <> 'leave_by_bill'
"""
_ASK = """
INSERT INTO verification (visit, action, customer_reference, invoice_number, phone, language, wording_version,
                          follows, asked_at, expires_at)
VALUES (:visit, :action, :reference, :invoice, :phone, :language, :wording, :follows, :now, :expires)
"""
_SESSION = """
SELECT * FROM verification
WHERE visit = :visit AND action = 'manage' AND verified_at > :since AND outcome IS NULL
ORDER BY verified_at DESC LIMIT 1
"""
# A departure by bill is shown alike whatever came of it.
_ENDED = f"""
SELECT * FROM verification
WHERE visit = :visit AND asked_at > :since AND (
    action = 'leave_by_bill' OR verified_at IS NOT NULL AND outcome IS NOT NULL
        AND outcome NOT IN ('former_asked', '{CLOSED}')
)
ORDER BY coalesce(ended_at, asked_at) DESC LIMIT 1
"""


@dataclass(frozen=True)
class Ask:
    """What somebody asks for.

    :param phone: where the code goes, E.164 or as it is stored; null where none is sent.
    :param follows: the verification that this one completes.
    """

    action: Action
    reference: str
    language: Language
    phone: str | None = None
    invoice: str | None = None
    wording: str | None = None
    follows: UUID | None = None


class Phase(StrEnum):
    """How far a verification is."""

    NONE = "none"  # nothing was asked for, or too long ago
    WAITING = "waiting"  # for its code
    LOCKED = "locked"  # too many wrong codes
    EXPIRED = "expired"  # the code came too late, or not at all
    VERIFIED = "verified"  # the code came back


@dataclass(frozen=True)
class Standing:
    """Where a visit is.

    :param row: its latest verification; null where there is none.
    :param tries_left: how many codes may still be tried.
    """

    phase: Phase
    row: Row[Any] | None
    tries_left: int = 0


@dataclass(frozen=True)
class Tried:
    """What came of a code.

    :param right: whether it was the one.
    :param standing: where the visit is now.
    """

    right: bool
    standing: Standing


class _Beyond(Exception):
    """Takes the counts of what is refused back: who asks too often is not kept out for longer by trying."""

    def __init__(self, what: limits.What) -> None:
        super().__init__(what)
        self.what = what


def ask(visit: str, wanted: Ask, *, address: str) -> limits.What | None:
    """Write down what somebody asks for; return what limit forbids it, if one does.

    The same asked twice within half a minute is asked once.

    :param visit: keyed hash of the browser's cookie.
    :param address: of the client, for the limits only.
    """
    now = clock.now()
    phone = None if wanted.phone is None else sealed(wanted.phone)
    try:
        with begin() as connection:
            last = connection.execute(text(LATEST), {"visit": visit}).one_or_none()
            if last is not None and last.asked_at > now - _TWICE and _is_same(last, wanted, phone, now):
                return None
            if (beyond := limits.count(connection, _counted(wanted, address))) is not None:
                raise _Beyond(beyond)
            ask_in(connection, visit, wanted)
    except _Beyond as limit:
        return limit.what
    return None


def ask_in(connection: Connection, visit: str, wanted: Ask) -> None:
    """Write down what is asked for, in the caller's transaction, without a look at the limits."""
    now = clock.now()
    connection.execute(text(_SUPERSEDE), {"visit": visit, "now": now})
    connection.execute(
        text(_ASK),
        {
            "visit": visit,
            "action": wanted.action,
            "reference": wanted.reference,
            "invoice": wanted.invoice,
            "phone": None if wanted.phone is None else sealed(wanted.phone),
            "language": wanted.language,
            "wording": wanted.wording,
            "follows": wanted.follows,
            "now": now,
            "expires": now + GOOD_FOR,
        },
    )


def standing(visit: str) -> Standing:
    """Tell where a visit is."""
    with connect() as connection:
        row = connection.execute(text(LATEST), {"visit": visit}).one_or_none()
    return _standing(row, clock.now())


def ended(visit: str) -> Row[Any] | None:
    """Return the verification that something came of last, in this visit and lately."""
    since = clock.now() - GOOD_FOR - 2 * SESSION
    with connect() as connection:
        return connection.execute(text(_ENDED), {"visit": visit, "since": since}).one_or_none()


def session_in(connection: Connection, visit: str, *, hold: bool = False) -> Row[Any] | None:
    """Return the verification by which a visit may look into its subscription and change it, if it may.

    :param hold: keep others of this visit waiting until the transaction ends.
    """
    query = text(_SESSION + (" FOR UPDATE" if hold else ""))
    return connection.execute(query, {"visit": visit, "since": clock.now() - SESSION}).one_or_none()


def end(connection: Connection, verification: UUID, outcome: str, subscription: int | None = None) -> None:
    """Write down what came of a verification."""
    connection.execute(
        text(
            "UPDATE verification SET outcome = :outcome, ended_at = :now, "
            "subscription_id = coalesce(:subscription, subscription_id) WHERE id = :id"
        ),
        {"id": verification, "outcome": outcome, "subscription": subscription, "now": clock.now()},
    )


def try_code(visit: str, code: str, act: Act) -> Tried:
    """Try a code. Where it is right, do what it was asked for, in the same transaction.

    A code is right once; the same button pressed twice does no harm, and shows the same.

    :param act: does it; returns what came of it, or nothing where the visit goes on.
    """
    now = clock.now()
    with begin() as connection:
        row = connection.execute(text(LATEST + " FOR UPDATE"), {"visit": visit}).one_or_none()
        before = _standing(row, now)
        if row is None or before.phase not in (Phase.WAITING, Phase.VERIFIED):
            return Tried(False, before)
        kept = keep_nobodys() if row.code_hash is None else KeptCode(row.code_salt, row.code_hash)
        right = is_right(code, kept)
        if before.phase is Phase.VERIFIED:
            again = right and row.verified_at > now - _SAME_CODE_AGAIN
            return Tried(again, before if again else Standing(Phase.NONE, row))
        row = connection.execute(
            text(
                "UPDATE verification SET tries = tries + 1, "
                "verified_at = CASE WHEN :right THEN CAST(:now AS timestamptz) END WHERE id = :id RETURNING *"
            ),
            {"id": row.id, "right": right, "now": now},
        ).one()
        if right and (outcome := act(connection, row)) is not None:
            end(connection, row.id, outcome)
        return Tried(right, _standing(row, now))


def _standing(row: Row[Any] | None, now: datetime) -> Standing:
    if row is None or row.asked_at < now - GOOD_FOR - SESSION:
        return Standing(Phase.NONE, row)
    left = max(MOST_TRIES - row.tries, 0)
    if row.verified_at is not None:
        phase = Phase.VERIFIED if row.verified_at > now - SESSION else Phase.NONE
    elif row.outcome is not None:
        phase = Phase.NONE
    elif not left:
        phase = Phase.LOCKED
    else:
        phase = Phase.WAITING if now < row.expires_at else Phase.EXPIRED
    return Standing(phase, row, left)


def _counted(wanted: Ask, address: str) -> dict[limits.What, str]:
    counted: dict[limits.What, str] = {
        "reference": wanted.reference,
        "address": limits.network_of(address),
        "all": "",
    }
    if wanted.phone is not None:
        counted["phone"] = sealed(wanted.phone)
    return counted


def _is_same(last: Row[Any], wanted: Ask, phone: str | None, now: datetime) -> bool:
    asked = (wanted.action, wanted.reference, wanted.invoice, phone, wanted.language, wanted.follows)
    was = (
        last.action,
        last.customer_reference,
        last.invoice_number,
        last.phone,
        last.language,
        last.follows,
    )
    return asked == was and _standing(last, now).phase is Phase.WAITING
