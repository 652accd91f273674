"""The life of notices, from their planning to the last receipt: what is asked when a customer calls.

Called by `fatoura notices show` and by the page in Airflow's UI. It only reads; it must not know how its
answer is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from sqlalchemy import text

from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.notices.states import DECIDED, Decision, State, may_move
from fatoura.phones import comparable
from fatoura.phones_at_rest import masked, opened, stored_forms
from fatoura.references import format_reference, hide_reference, mask_reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row


class NoticeUnknown(BadInput):
    """There is no such notice; says what is known instead."""


@dataclass(frozen=True)
class Step:
    """A state that the notice was in."""

    at: datetime | None
    """When it was reached; null where nobody saw it: a sender that died leaves only the end of its lease."""
    state: str
    why: str | None


@dataclass(frozen=True)
class Attempt:
    """One time that the notice was claimed, to be handed to the provider."""

    number: int
    gateway: str
    worker: str
    claimed_at: datetime
    valid_until: datetime | None
    """The end of the validity that was handed to the provider."""
    answered_at: datetime | None
    outcome: str | None
    """``accepted``, ``refused``, ``rejected``, ``in_doubt``; null while under way."""
    answer: str | None
    provider_id: str | None


@dataclass(frozen=True)
class ReceivedReceipt:
    """One report of the provider, and what became of it."""

    received_at: datetime
    gateway: str
    attempt: int | None
    """As the receipt says, or as the provider's id tells where it says nothing."""
    status: str | None
    detail: str | None
    provider_id: str | None
    happened_at: datetime | None
    match: str
    matched_at: datetime | None
    raw: dict[str, Any]
    """As it came; masked, only what can be neither a number nor a text."""


@dataclass(frozen=True)
class DoubtDecision:
    """What a person decided while the notice was in doubt."""

    decided_at: datetime
    decided_by: str
    decision: str
    """``accepted``, ``not_accepted``, ``undeliverable``."""
    reason: str
    attempt: int
    """The last one then."""


@dataclass(frozen=True)
class NoticeLife:
    """All that is known of one notice. Times are aware; a phone, reference or text may be masked."""

    id: UUID
    kind: str
    subject: str
    sequence: int
    cycle: str | None
    supplement: int | None
    state: str
    state_since: datetime
    reason: str | None
    phone: str | None
    language: str
    customer_reference: str | None
    district: str | None
    text: str | None
    encoding: str
    segments: int
    priority: int
    planned_at: datetime
    planned_by: str | None
    send_from: datetime
    send_until: datetime
    validity_minutes: int
    retry_at: datetime | None
    lease_until: datetime | None
    gateway: str | None
    provider_id: str | None
    final_at: datetime | None
    history: tuple[Step, ...]
    attempts: tuple[Attempt, ...]
    receipts: tuple[ReceivedReceipt, ...]
    decisions: tuple[DoubtDecision, ...]


@dataclass(frozen=True)
class Lives:
    """The notices that were asked for."""

    asked_by: Literal["id", "invoice", "phone"]
    total: int
    """How many there are; of a phone perhaps more than `notices` holds."""
    notices: tuple[NoticeLife, ...]
    """About an invoice, in the order in which they were planned; to a phone, the newest come first."""


_NOTICES = """
    SELECT n.*, c.key AS cycle, e.supplement, i.customer_reference, count(*) OVER () AS total
    FROM notice n
    LEFT JOIN cycle c ON c.id = n.cycle_id
    LEFT JOIN extract e ON e.id = n.extract_id
    LEFT JOIN subscription s ON s.id = n.subscription_id
    LEFT JOIN LATERAL (
        -- The sequence of a bill tells the revision that it is about. Whatever else is about an invoice is
        -- about the one of its subscriber, should a correction have given it to another customer.
        SELECT customer_reference FROM invoice WHERE invoice_number = n.subject
        ORDER BY n.extract_id IS NOT NULL AND revision = n.sequence - 1 DESC,
            n.extract_id IS NULL AND customer_reference = s.customer_reference DESC NULLS LAST,
            revision DESC
        LIMIT 1
    ) i ON true
    WHERE {which}
"""
_BY_ID = _NOTICES.format(which="n.id = :asked")
_BY_INVOICE = _NOTICES.format(which="n.subject = :asked ORDER BY n.planned_at, n.sequence, n.id")
# No index: it would make planning and each change of state dearer than an answer to a caller is worth. A
# million notices are read in well under a second.
_BY_PHONE = _NOTICES.format(which="n.phone = ANY(:asked) ORDER BY n.planned_at DESC, n.id DESC LIMIT :most")

# A provider that knows only its own id reports with that; our attempt tells whose it is.
_RECEIPTS = """
    SELECT receipt.*, receipt.notice_id AS of_notice, receipt.attempt AS of_attempt
    FROM receipt WHERE notice_id = ANY(:ids)
    UNION ALL
    SELECT receipt.*, attempt.notice_id, coalesce(receipt.attempt, attempt.number)
    FROM attempt JOIN receipt ON receipt.notice_id IS NULL AND receipt.gateway = attempt.gateway
        AND receipt.provider_id = attempt.provider_id AND receipt.received_at >= attempt.claimed_at
    WHERE attempt.notice_id = ANY(:ids)
    ORDER BY received_at, id
"""

_OUTCOMES = {
    "accepted": State.ACCEPTED,
    "refused": State.PLANNED,
    "rejected": State.REJECTED,
    "in_doubt": State.IN_DOUBT,
}


def notice_lives(asked: str, *, most: int = 20, unmasked: bool = False) -> Lives:
    """Return the life of a notice, of all notices about an invoice, or of those that went to a phone.

    :param asked: a notice's id, an invoice number, or a phone in any usual spelling. Digits alone are looked
        up as an invoice number first; with ``+216`` before them they can only be a phone.
    :param most: of a phone's notices return no more than so many.
    :param unmasked: show the phone, the reference, the text and raw receipts in full.
    :raises NoticeUnknown: when there is none; what was asked for is not repeated.
    """
    asked = asked.strip()
    with connect() as connection:
        # One snapshot: senders and receipts go on meanwhile.
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        asked_by, notices = _find(connection, asked, most)
        ids = {"ids": [notice.id for notice in notices]}
        attempts = connection.execute(
            text("SELECT * FROM attempt WHERE notice_id = ANY(:ids) ORDER BY number"), ids
        ).all()
        receipts = connection.execute(text(_RECEIPTS), ids).all()
        decisions = connection.execute(
            text("SELECT * FROM doubt_decision WHERE notice_id = ANY(:ids) ORDER BY attempt"), ids
        ).all()
    lives = [
        _life(
            notice,
            [attempt for attempt in attempts if attempt.notice_id == notice.id],
            [receipt for receipt in receipts if receipt.of_notice == notice.id],
            [decision for decision in decisions if decision.notice_id == notice.id],
            unmasked=unmasked,
        )
        for notice in notices
    ]
    return Lives(asked_by, notices[0].total, tuple(lives))


def _find(
    connection: Connection, asked: str, most: int
) -> tuple[Literal["id", "invoice", "phone"], Sequence[Row[Any]]]:
    if (value := _as_id(asked)) is not None:
        if notices := connection.execute(text(_BY_ID), {"asked": value}).all():
            return "id", notices
        raise NoticeUnknown(f"there is no notice {value}")
    asked = asked.replace("\0", "")
    if notices := connection.execute(text(_BY_INVOICE), {"asked": asked}).all():
        return "invoice", notices
    phone = comparable(asked)
    if phone:
        asked_for = {"asked": stored_forms(phone), "most": most}
        if notices := connection.execute(text(_BY_PHONE), asked_for).all():
            return "phone", notices
    raise _unknown(connection, asked)


def _as_id(asked: str) -> UUID | None:
    try:
        # Without its dashes an id could be an invoice number.
        return UUID(asked) if len(asked) == 36 else None
    except ValueError:
        return None


def _unknown(connection: Connection, asked: str) -> NoticeUnknown:
    invoice = connection.execute(
        text(
            "SELECT i.bucket, i.reason, c.key FROM invoice i JOIN cycle c ON c.id = i.cycle_id "
            "WHERE i.invoice_number = :asked ORDER BY i.revision DESC LIMIT 1"
        ),
        {"asked": asked},
    ).one_or_none()
    if invoice is None:
        # What was asked for is not repeated: it may be a customer's number, pasted by mistake.
        return NoticeUnknown(
            "that is neither the id of a notice, nor the number of an invoice that was loaded and accepted, "
            "nor a phone that a notice was planned for"
        )
    why = "it has to be planned still" if invoice.reason is None else f"{invoice.bucket}, {invoice.reason}"
    return NoticeUnknown(f"invoice {asked} of cycle {invoice.key} has no notice: {why}")


def _life(
    notice: Row[Any],
    attempts: Sequence[Row[Any]],
    receipts: Sequence[Row[Any]],
    decisions: Sequence[Row[Any]],
    *,
    unmasked: bool,
) -> NoticeLife:
    shown = dict(notice._mapping)
    shown |= {"phone": notice.phone and opened(notice.phone)} if unmasked else _masked(notice)
    fields = NoticeLife.__dataclass_fields__
    return NoticeLife(
        **{name: value for name, value in shown.items() if name in fields and name != "attempts"},
        history=tuple(_history(notice, attempts, receipts, decisions)),
        attempts=tuple(Attempt(**_only(Attempt, attempt)) for attempt in attempts),
        receipts=tuple(
            ReceivedReceipt(
                **_only(ReceivedReceipt, receipt)
                | {"attempt": receipt.of_attempt}
                | ({} if unmasked else {"raw": _masked_raw(receipt.raw, {str(notice.id)})})
            )
            for receipt in receipts
        ),
        decisions=tuple(DoubtDecision(**_only(DoubtDecision, decision)) for decision in decisions),
    )


def _only(record: type[Attempt | ReceivedReceipt | DoubtDecision], row: Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name in record.__dataclass_fields__}


def _masked(notice: Row[Any]) -> dict[str, str | None]:
    reference = notice.customer_reference
    message = notice.text
    if message is not None:
        # What a text says of a customer is known only where it is about an invoice of ours.
        message = hide_reference(message, reference, notice.language) if reference else _hidden(message)
    return {
        "phone": notice.phone and masked(notice.phone),
        "customer_reference": reference and mask_reference(format_reference(reference, "fr")),
        "text": message,
    }


# A provider may repeat the number or the message in any field of its report, in any form. A code is too
# short to be either, and seconds or milliseconds of our years are no Tunisian number.
_HARMLESS = re.compile(r"[0-9A-Za-z_.:/+-]{0,6}|1[6-9][0-9]{8}(?:[0-9]{3})?")
_NAME = re.compile(r"[A-Za-z_.-]{1,32}")


def _masked_raw(value: Any, known: set[str]) -> Any:
    if isinstance(value, dict):
        return {
            name if _NAME.fullmatch(name) else _hidden(name): _masked_raw(one, known)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_masked_raw(one, known) for one in value]
    shown = str(value)
    return value if shown in known or _HARMLESS.fullmatch(shown) else _hidden(shown)


def _hidden(words: str) -> str:
    return f"… {len(words)} characters"


def _history(
    notice: Row[Any],
    attempts: Iterable[Row[Any]],
    receipts: Iterable[Row[Any]],
    decisions: Sequence[Row[Any]],
) -> Iterable[Step]:
    """Tell the states that a notice went through, from what was written down on its way.

    The row itself keeps only its last state. Of what attempts, receipts and persons say, the state machine
    tells what moved it: an answer that comes after the final receipt, for one, changes nothing.
    """
    events: list[tuple[datetime, Step]] = []
    disproved = {one.attempt for one in decisions if one.decision == Decision.NOT_ACCEPTED}
    doubtful = False
    for attempt in attempts:
        doubtful = doubtful and attempt.number - 1 not in disproved
        why = f"attempt {attempt.number}"
        events.append((attempt.claimed_at, Step(attempt.claimed_at, State.SENDING, why)))
        if attempt.outcome is not None:
            known = attempt.answered_at or attempt.claimed_at
            state = _OUTCOMES[attempt.outcome]
            if state is State.PLANNED and doubtful:
                state = State.IN_DOUBT  # a refusal proves nothing of an earlier attempt
            events.append((known, Step(attempt.answered_at, state, attempt.answer)))
        doubtful = doubtful or attempt.outcome == "in_doubt"
    for receipt in receipts:
        if receipt.match == "moved":
            events.append(
                (receipt.matched_at, Step(receipt.matched_at, receipt.status, f"receipt: {receipt.detail}"))
            )
    for decision in decisions:
        why = f"decided by {decision.decided_by}: {decision.reason}"
        step = Step(decision.decided_at, DECIDED[Decision(decision.decision)], why)
        events.append((decision.decided_at, step))
    last = Step(notice.planned_at, State.PLANNED, None)
    yield last
    claims = 0
    for _, step in sorted(events, key=lambda event: event[0]):
        claims += step.state == State.SENDING
        if may_move(State(last.state), State(step.state), attempts=claims):
            last = step
            yield step
    if last.state != notice.state:
        yield Step(notice.state_since, notice.state, notice.reason)
