"""What a code that came back brings about: a subscription, a change, a look.

Called by the pages, with the verification held. Each act is one customer's, in the transaction that took
the code, and leaves a record of consent whose evidence is the verification. Fees begin by themselves later.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.phones_at_rest import same_phone, sealed
from fatoura.site.judging import BY, LEFT
from fatoura.site.verifications import CLOSED, Ask, ask_in, end
from fatoura.subscriptions.consents import Act, Channel, Consent, record
from fatoura.subscriptions.leaving import Leaver, leave
from fatoura.subscriptions.numbers import UNREACHABLE, WITHOUT_NUMBER

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from fatoura.languages import Language

CHANNEL: Channel = "web"


class Outcome(StrEnum):
    """What came of a verification, as it is kept and shown."""

    SUBSCRIBED = "subscribed"
    RETURNED = "returned"  # the subscription had lapsed, or was suspended because its number did not work
    ALREADY = "already"  # subscribed with this number: nothing has changed
    LANGUAGE_CHANGED = "language_changed"
    NUMBER_CHANGED = "number_changed"
    LEFT = LEFT
    FORMER_ASKED = "former_asked"  # another number is proven: its code is needed too
    PAUSED = "paused"  # a clerk has paused it: only a clerk can end that
    CONTRACT_CLOSED = "contract_closed"
    TOO_SOON = "too_soon"  # after a departure by bill another number waits
    GONE = "gone"  # it has ended meanwhile
    CLOSED = CLOSED


AFTER_DEPARTURE_BY_BILL = timedelta(days=30)
"""So long after a departure without a code the site takes no other number for the contract."""

_CURRENT = """
SELECT * FROM subscription WHERE customer_reference = :reference AND state <> 'ended' FOR UPDATE
"""
_IS_CLOSED = """
SELECT coalesce((SELECT contract = 'closed' FROM customer WHERE customer_reference = :reference), false)
    OR EXISTS (
        SELECT FROM account_fact
        WHERE customer_reference = :reference AND fact = 'contract_ended' AND invoice_number IS NULL
            AND valid_from <= :today AND (valid_until IS NULL OR valid_until >= :today)
    )
"""
_LEFT_BY_BILL = """
SELECT v.ended_at, s.phone FROM verification v JOIN subscription s ON s.id = v.subscription_id
WHERE v.customer_reference = :reference AND v.outcome = 'left' AND v.action = 'leave_by_bill'
    AND v.ended_at > :since AND s.proven_at IS NOT NULL
ORDER BY v.ended_at DESC LIMIT 1
"""
_BEGIN = """
INSERT INTO subscription (customer_reference, phone, language, channel, consent_date, proven_at, created_at,
                          changed_at)
VALUES (:reference, :phone, :language, :channel, :today, :now, :now, :now)
ON CONFLICT (customer_reference) WHERE state <> 'ended' DO NOTHING
RETURNING id
"""
_CHANGE = """
UPDATE subscription SET phone = :phone, language = :language, channel = :channel, consent_date = :today,
    proven_at = :now, changed_at = :now,
    state = CASE WHEN :rests THEN 'active' ELSE state END,
    state_reason = CASE WHEN :rests THEN NULL ELSE state_reason END
WHERE id = :id
"""
_PROVE = f"""
UPDATE subscription SET proven_at = :now, changed_at = :now,
    state = CASE WHEN state_reason = '{UNREACHABLE}' THEN 'active' ELSE state END,
    state_reason = CASE WHEN state_reason = '{UNREACHABLE}' THEN NULL ELSE state_reason END
WHERE id = :id AND (proven_at IS NULL OR state_reason = '{UNREACHABLE}')
"""


def subscribe(connection: Connection, row: Row[Any]) -> str:
    """Begin a subscription, take one up again, or change the number of one that stands; say which it was."""
    reference = row.customer_reference
    if connection.scalar(text(_IS_CLOSED), {"reference": reference, "today": clock.today()}):
        return Outcome.CONTRACT_CLOSED
    current = _current(connection, reference)
    if current is None:
        if number_free_from(connection, reference, row.phone) is not None:
            return Outcome.TOO_SOON
        begun = connection.scalar(
            text(_BEGIN),
            {
                "reference": reference,
                "phone": sealed(row.phone),
                "language": row.language,
                "channel": CHANNEL,
                "today": clock.today(),
                "now": clock.now(),
            },
        )
        if begun is not None:
            _record(connection, Act.GIVEN, begun, reference, row)
            end(connection, row.id, Outcome.SUBSCRIBED, begun)
            return Outcome.SUBSCRIBED
        current = _current(connection, reference)  # a coupon was faster
    if current is None or current.state_reason == "paused_by_clerk":
        return Outcome.GONE if current is None else Outcome.PAUSED
    if not same_phone(current.phone, row.phone):
        if current.proven_at is not None and current.state_reason not in WITHOUT_NUMBER:
            former = Ask("confirm_former", reference, row.language, phone=current.phone, follows=row.id)
            ask_in(connection, row.visit, former)
            return Outcome.FORMER_ASKED
        return _change(connection, current, row, Outcome.NUMBER_CHANGED)
    if current.state != "active":
        return _change(connection, current, row, Outcome.RETURNED)
    if current.language != row.language:
        return _change(connection, current, row, Outcome.LANGUAGE_CHANGED)
    prove(connection, current.id)
    end(connection, row.id, Outcome.ALREADY, current.id)
    return Outcome.ALREADY


def confirm_former(connection: Connection, row: Row[Any]) -> str:
    """Change the number, as the former one has agreed by its code."""
    first = _followed(connection, row.follows)
    current = _current(connection, row.customer_reference)
    if current is None or first is None or first.outcome != Outcome.FORMER_ASKED:
        return Outcome.GONE
    if not same_phone(current.phone, row.phone):
        return Outcome.GONE  # the code came back from a number that is no longer the subscription's
    return _change(connection, current, first, Outcome.NUMBER_CHANGED)


def open_session(connection: Connection, row: Row[Any]) -> str | None:
    """Let the visit look into the subscription: its phone has answered, which proves it as well."""
    current = _current(connection, row.customer_reference)
    if current is None or not same_phone(current.phone, row.phone):
        return Outcome.GONE
    prove(connection, current.id)
    return None


def change_number(connection: Connection, row: Row[Any]) -> str:
    """Change the number: the present one has answered when the visit began, and the new one has now."""
    opened_by = _followed(connection, row.follows)
    current = _current(connection, row.customer_reference)
    if (
        current is None
        or opened_by is None
        or opened_by.outcome is not None
        or not same_phone(current.phone, opened_by.phone)
    ):
        return Outcome.GONE
    if current.state_reason == "paused_by_clerk":
        return Outcome.PAUSED
    changed = _change(connection, current, row, Outcome.NUMBER_CHANGED, language=current.language)
    end(connection, opened_by.id, Outcome.NUMBER_CHANGED, current.id)
    return changed


def change_language(connection: Connection, session: Row[Any], language: Language) -> str:
    """Change the language of messages, in a visit that may."""
    current = look(connection, session)
    if current is None:
        return Outcome.GONE
    if current.language != language:
        connection.execute(
            text(
                "UPDATE subscription SET language = :language, channel = :channel, consent_date = :today, "
                "changed_at = :now WHERE id = :id"
            ),
            {
                "id": current.id,
                "language": language,
                "channel": CHANNEL,
                "today": clock.today(),
                "now": clock.now(),
            },
        )
        _record(connection, Act.CHANGED, current.id, current.customer_reference, session, language=language)
    return Outcome.LANGUAGE_CHANGED


def leave_now(connection: Connection, session: Row[Any]) -> str:
    """End the subscription, in a visit that may."""
    current = look(connection, session)
    if current is None:
        return Outcome.GONE
    leaver = Leaver(current.customer_reference, evidence=str(session.id), by=BY)
    leave(connection, [leaver], channel=CHANNEL)
    end(connection, session.id, Outcome.LEFT, current.id)
    return Outcome.LEFT


def close(connection: Connection, session: Row[Any]) -> str:
    """Let the visit look and change nothing more: somebody else may sit at this screen next."""
    end(connection, session.id, Outcome.CLOSED)
    return Outcome.CLOSED


def look(connection: Connection, session: Row[Any]) -> Row[Any] | None:
    """Return the subscription that a visit may see and change; nothing when it is no longer the same."""
    current = _current(connection, session.customer_reference)
    return current if current is not None and same_phone(current.phone, session.phone) else None


def of_verification(connection: Connection, row: Row[Any]) -> Row[Any] | None:
    """Return the subscription that a verification was about in the end, if it still stands."""
    if row.subscription_id is None:
        return None
    return connection.execute(
        text("SELECT * FROM subscription WHERE id = :id AND state <> 'ended'"), {"id": row.subscription_id}
    ).one_or_none()


def prove(connection: Connection, subscription: int) -> None:
    """Note that the number works and is in its customer's hands."""
    connection.execute(text(_PROVE), {"id": subscription, "now": clock.now()})


def number_free_from(connection: Connection, reference: str, phone: str) -> date | None:
    """Return from which day the site takes this number for the contract; nothing: at once.

    Who leaves without a code may hold no more than somebody's bill. Letters go out then, not messages; but
    another number, which would get the warnings in that customer's place, waits. The same one does not.
    """
    since = clock.now() - AFTER_DEPARTURE_BY_BILL
    row = connection.execute(text(_LEFT_BY_BILL), {"reference": reference, "since": since}).one_or_none()
    if row is None or (row.phone and same_phone(row.phone, phone)):
        return None
    free: date = (row.ended_at + AFTER_DEPARTURE_BY_BILL).astimezone(clock.zone()).date() + timedelta(days=1)
    return free


def _current(connection: Connection, reference: str) -> Row[Any] | None:
    return connection.execute(text(_CURRENT), {"reference": reference}).one_or_none()


def _followed(connection: Connection, verification: UUID | None) -> Row[Any] | None:
    """Return the verification that another one completes; it has come back, or there is none."""
    return connection.execute(
        text("SELECT * FROM verification WHERE id = :id AND verified_at IS NOT NULL FOR UPDATE"),
        {"id": verification},
    ).one_or_none()


def _change(
    connection: Connection,
    current: Row[Any],
    proof: Row[Any],
    outcome: Outcome,
    *,
    language: Language | None = None,
) -> str:
    """Give a subscription the phone that has been proven, and its language, and take it up where it rests."""
    # Whoever subscribes agrees to the price anew: that takes up one that has lapsed; another number does not.
    returns = current.state == "lapsed" and proof.action == "subscribe"
    values = {
        "id": current.id,
        "phone": sealed(proof.phone),
        "language": language or proof.language,
        "channel": CHANNEL,
        "today": clock.today(),
        "now": clock.now(),
        "rests": returns or current.state_reason in WITHOUT_NUMBER,
    }
    connection.execute(text(_CHANGE), values)
    act = Act.GIVEN if proof.action == "subscribe" else Act.CHANGED
    _record(connection, act, current.id, current.customer_reference, proof, language=values["language"])
    end(connection, proof.id, outcome, current.id)
    return outcome


def _record(
    connection: Connection,
    act: Act,
    subscription: int,
    reference: str,
    proof: Row[Any],
    *,
    language: Language | None = None,
) -> None:
    record(
        connection,
        act,
        [
            Consent(
                reference,
                subscription,
                evidence=str(proof.id),
                given_on=clock.today(),
                by=BY,
                wording_version=proof.wording_version,
                language=language or proof.language,
            )
        ],
        channel=CHANNEL,
    )
