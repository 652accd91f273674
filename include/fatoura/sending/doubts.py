"""Messages in doubt, for the people who answer for them: which there are, what becomes of them, decisions.

Called by the command, by the page in Airflow's UI and by the cycle's report. It sends nothing: what it says
will happen follows from the rule by which senders claim. It must not know who may decide.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from fatoura import clock
from fatoura.cycles.registry import SENT_BY, Purpose
from fatoura.errors import BadInput
from fatoura.notices.states import DECIDED, Decision, State
from fatoura.phones import holds_number
from fatoura.phones_at_rest import masked
from fatoura.sending.checks import checked_kinds
from fatoura.sending.claims import DISPROVED, REPEATABLE, SHORTEST_VALIDITY, repeatable_values
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

log = logging.getLogger(__name__)

BY_HAND = "decided_by_hand"
"""The reason that a notice keeps which a person has taken for undeliverable."""

LONGEST_REASON = 500
_SHORTEST_REASON = 5
_LONGEST_NAME = 200


class Next(StrEnum):
    """What becomes of a notice in doubt when nobody decides."""

    RESEND = "resend"  # it goes out once more, from `due` on
    WAIT = "wait"  # until `due` its receipt is waited for; then it is on the list
    LISTED = "listed"  # nothing more: somebody has to find out


class Why(StrEnum):
    """Why that becomes of it."""

    HARMLESS = "harmless"  # its kind says that a second copy does less harm than none
    RECOGNISED = "recognised"  # the provider sends a message once, however often it is submitted
    GIVES_UP = "gives_up"  # its kind says that none does less harm than two
    REPLACED = "replaced"  # a correction of it has been planned since
    REPEATED = "repeated"  # two of its attempts ended in doubt, which is once more than its kind allows
    TOO_LATE = "too_late"  # its time is over before it could go out again


HAPPENS: dict[Next, str] = {
    Next.RESEND: "goes out once more",
    Next.WAIT: "waits for its receipt, then stays on the list",
    Next.LISTED: "is on the list: nothing more happens by itself",
}
"""What becomes of a notice, for screens."""

BECAUSE: dict[Why, str] = {
    Why.HARMLESS: "a second copy does less harm than none",
    Why.RECOGNISED: "the provider recognises a repeat",
    Why.GIVES_UP: "its kind is never sent twice",
    Why.REPLACED: "a correction has been planned since",
    Why.REPEATED: "two of its attempts ended in doubt",
    Why.TOO_LATE: "its time is over before it could go out again",
}
"""Why, for screens."""


@dataclass(frozen=True)
class Which:
    """A choice among the notices in doubt; nothing chosen means all.

    :param before: those whose last attempt was handed over no later than this instant.
    :param ids: no others than these.
    """

    gateway: str | None = None
    kind: str | None = None
    next: Next | None = None
    before: datetime | None = None
    cycle_id: int | None = None
    ids: tuple[UUID, ...] | None = None


@dataclass(frozen=True)
class Doubt:
    """One notice in doubt. Its phone is masked; instants are UTC.

    :param subject: what it is about: the invoice number of a bill.
    :param attempt: the last one. It is in doubt, or it was refused and an earlier one is in doubt.
    :param since: when that attempt was handed over, or claimed.
    :param answer: what was seen of the attempt in doubt instead of an answer, in short.
    :param due: when `next` happens; null when it has no time: nothing will, or any moment.
    :param by_receipt: whether a receipt can settle it: only of a provider that reports with our own id, or
        that has told its id. Null where the provider's interface is not known.
    :param by_asking: whether the provider can be asked; only where it has told its id. Null as above.
    """

    id: UUID
    kind: str
    subject: str
    sequence: int
    cycle: str | None
    gateway: str
    phone: str | None
    attempt: int
    since: datetime
    answer: str | None
    next: Next
    why: Why
    due: datetime | None
    by_receipt: bool | None
    by_asking: bool | None


@dataclass(frozen=True)
class DoubtCount:
    """How many notices in doubt share a gateway, a kind, and what becomes of them."""

    gateway: str
    kind: str
    next: Next
    why: Why
    notices: int
    oldest: datetime


@dataclass(frozen=True)
class Unresolved:
    """A notice that a decision could not be applied to, and why, in a sentence."""

    id: UUID
    why: str


@dataclass(frozen=True)
class Resolution:
    """What became of a decision.

    :param cancelled: how many of the resolved ones go out no more, for their time is over or they are
        replaced; only after `Decision.NOT_ACCEPTED`.
    :param cycles: the cycles whose send tasks take the others again, each with its workflow.
    """

    resolved: tuple[UUID, ...]
    cancelled: int
    cycles: Mapping[str, str]
    unresolved: tuple[Unresolved, ...]


_DOUBTS = f"""
    SELECT notice.*, last.answer, asked.by_receipt, asked.by_asking,
        CASE WHEN asked.recognised OR judged.again THEN 'resend'
            WHEN notice.submitted_at > :doubt_before THEN 'wait'
            ELSE 'listed' END AS next,
        CASE WHEN asked.recognised THEN 'recognised'
            WHEN judged.again THEN 'harmless'
            WHEN notice.kind <> ALL(:repeatable) THEN 'gives_up'
            WHEN judged.replaced THEN 'replaced'
            WHEN judged.copies > 1 THEN 'repeated'
            ELSE 'too_late' END AS why
    FROM notice
    LEFT JOIN LATERAL (
        -- A repeat of it may have been refused since, which proves nothing of the attempt before.
        SELECT answer, provider_id FROM attempt
        WHERE notice_id = notice.id AND outcome = 'in_doubt' ORDER BY number DESC LIMIT 1
    ) last ON true
    LEFT JOIN gateway ON gateway.name = notice.gateway
    CROSS JOIN LATERAL (SELECT
        {REPEATABLE} AND notice.send_until
            > greatest(:still, coalesce(notice.retry_at, notice.submitted_at + CAST(:horizon AS interval)))
            AS again,
        (
            SELECT count(*) FROM attempt a
            WHERE a.notice_id = notice.id AND a.outcome = 'in_doubt' AND NOT {DISPROVED}
        ) AS copies,
        EXISTS (
            SELECT FROM notice later WHERE later.kind = ANY(:bill_kinds)
                AND later.subject = notice.subject AND later.sequence > notice.sequence
        ) AS replaced
    ) judged
    CROSS JOIN LATERAL (SELECT
        coalesce(CAST(capabilities ->> 'idempotency' AS boolean), false)
            AND gateway.in_use AND notice.send_until >= :still AND notice.kind <> ALL(:checked) AS recognised,
        CAST(capabilities ->> 'client_reference' AS boolean) OR last.provider_id IS NOT NULL AS by_receipt,
        CAST(capabilities ->> 'status_query' AS boolean) AND last.provider_id IS NOT NULL AS by_asking
    ) asked
    WHERE notice.state = 'in_doubt'
        AND (CAST(:gateway AS text) IS NULL OR notice.gateway = :gateway)
        AND (CAST(:kind AS text) IS NULL OR notice.kind = :kind)
        AND (CAST(:before AS timestamptz) IS NULL OR notice.submitted_at <= :before)
        AND (CAST(:cycle AS int) IS NULL OR notice.cycle_id = :cycle)
        AND (CAST(:ids AS uuid[]) IS NULL OR notice.id = ANY(:ids))
"""
_CHOSEN = f"(SELECT * FROM ({_DOUBTS}) judged WHERE CAST(:next AS text) IS NULL OR next = :next) doubt"


def count_doubts(connection: Connection, which: Which | None = None) -> list[DoubtCount]:
    """Count the notices in doubt by gateway, kind and what becomes of them, in this order."""
    rows = connection.execute(
        text(
            f"SELECT gateway, kind, next, why, count(*), min(submitted_at) FROM {_CHOSEN} "
            "GROUP BY gateway, kind, next, why ORDER BY gateway, kind, next, why"
        ),
        _values(which),
    )
    return [
        DoubtCount(gateway, kind, Next(next_), Why(why), notices, oldest)
        for gateway, kind, next_, why, notices, oldest in rows
    ]


def list_doubts(
    connection: Connection, which: Which | None = None, *, most: int, skip: int = 0
) -> list[Doubt]:
    """Return notices in doubt, the oldest first.

    :param most: no more than so many, after
    :param skip: so many.
    """
    rows = connection.execute(
        text(
            f"SELECT doubt.*, c.key AS cycle FROM {_CHOSEN} "
            "LEFT JOIN cycle c ON c.id = doubt.cycle_id "
            "ORDER BY submitted_at, doubt.id LIMIT :most OFFSET :skip"
        ),
        {**_values(which), "most": most, "skip": skip},
    )
    horizon = get_settings().doubt_horizon
    return [
        Doubt(
            id=row.id,
            kind=row.kind,
            subject=row.subject,
            sequence=row.sequence,
            cycle=row.cycle,
            gateway=row.gateway,
            phone=row.phone and masked(row.phone),
            attempt=row.attempts,
            since=row.submitted_at,
            answer=row.answer,
            next=Next(row.next),
            why=Why(row.why),
            due=None
            if row.next == "listed" or row.why == "recognised"
            else row.retry_at or row.submitted_at + horizon,
            by_receipt=row.by_receipt,
            by_asking=row.by_asking,
        )
        for row in rows
    ]


def chosen_doubts(connection: Connection, which: Which) -> dict[UUID, int]:
    """Return the notices that a choice takes in, each with its attempt in doubt: what `resolve` asks for."""
    rows = connection.execute(text(f"SELECT id, attempts FROM {_CHOSEN}"), _values(which))
    return {row.id: row.attempts for row in rows}


def _values(which: Which | None) -> dict[str, Any]:
    which, now, horizon = which or Which(), clock.now(), get_settings().doubt_horizon
    return {
        **repeatable_values(),
        "checked": checked_kinds(),
        "now": now,
        "still": now + SHORTEST_VALIDITY,
        "horizon": horizon,
        "doubt_before": now - horizon,
        "gateway": which.gateway,
        "kind": which.kind,
        "before": which.before,
        "cycle": which.cycle_id,
        "next": which.next and which.next.value,
        "ids": None if which.ids is None else list(which.ids),
    }


# The rows are locked before they are judged: a receipt or a sender that was faster has moved them on, and one
# that is slower waits, and finds them decided. Always in the order of ids, as receipts lock them too.
_RESOLVE = text(
    """
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS smallint[])) AS a (id, attempt)
    ), held AS MATERIALIZED (
        SELECT id, state, attempts FROM notice WHERE id IN (SELECT id FROM asked) ORDER BY id FOR UPDATE
    ), judged AS MATERIALIZED (
        SELECT asked.id, asked.attempt, held.state, held.attempts,
            held.state = 'in_doubt' AND held.attempts = coalesce(asked.attempt, held.attempts) AS open
        FROM asked LEFT JOIN held USING (id)
    ), moved AS (
        UPDATE notice SET state = :state, state_since = :now, lease_until = NULL, retry_at = NULL,
            reason = CASE WHEN :final THEN :by_hand ELSE reason END,
            final_at = CASE WHEN :final THEN CAST(:now AS timestamptz) END
        FROM judged WHERE notice.id = judged.id AND judged.open
    ), recorded AS (
        INSERT INTO doubt_decision (notice_id, attempt, decided_at, decided_by, decision, reason)
        SELECT id, attempts, :now, :by, :decision, :reason FROM judged WHERE open
    )
    SELECT id, attempt, state, attempts, coalesce(open, false) AS open FROM judged ORDER BY id
    """
)

# What is planned again although its time is over would stay so for ever when no send task runs any more.
_CANCEL = text(
    """
    UPDATE notice SET state = 'cancelled', state_since = :now, final_at = :now,
        reason = CASE WHEN send_until < :still THEN 'too_late' ELSE 'replaced' END
    WHERE id = ANY(:ids) AND (send_until < :still OR kind = ANY(:bill_kinds) AND EXISTS (
        SELECT FROM notice later WHERE later.kind = ANY(:bill_kinds)
            AND later.subject = notice.subject AND later.sequence > notice.sequence
    ))
    """
)


def resolve(
    connection: Connection, asked: Mapping[UUID, int | None], decision: Decision, *, reason: str, by: str
) -> Resolution:
    """Apply a person's decision to notices in doubt, and record it. The caller commits.

    :param asked: the notices, each with the attempt that was looked at when it was decided; null: the last.
        One that has gone out again since is not touched.
    :param reason: how the person knows, in a few words; recorded, and shown in the notice's life.
    :param by: who decided.
    :raises BadInput: when the reason or the name is missing, too long, or holds a phone number.
    """
    values = {
        "ids": list(asked),
        "attempts": list(asked.values()),
        "now": clock.now(),
        "by": checked_name(by),
        "decision": decision.value,
        "reason": checked_reason(reason),
        "state": DECIDED[decision].value,
        "final": decision is Decision.UNDELIVERABLE,
        "by_hand": BY_HAND,
    }
    rows = connection.execute(_RESOLVE, values).all()
    resolved = tuple(row.id for row in rows if row.open)
    cancelled, cycles = 0, {}
    if decision is Decision.NOT_ACCEPTED and resolved:
        now = clock.now()
        again = {**repeatable_values(), "ids": list(resolved), "now": now, "still": now + SHORTEST_VALIDITY}
        cancelled = connection.execute(_CANCEL, again).rowcount
        rows_of_cycles = connection.execute(
            text(
                "SELECT key, purpose FROM cycle WHERE id IN "
                "(SELECT cycle_id FROM notice WHERE id = ANY(:ids) AND state = 'planned') ORDER BY key"
            ),
            again,
        )
        cycles = {key: SENT_BY[Purpose(purpose)] for key, purpose in rows_of_cycles}
    unresolved = tuple(
        Unresolved(row.id, _why_not(row.state, row.attempts, row.attempt)) for row in rows if not row.open
    )
    log.info(
        "%d notices in doubt resolved as %s by %s; %d could not be",
        len(resolved),
        decision,
        by,
        len(unresolved),
    )
    return Resolution(resolved, cancelled, cycles, unresolved)


def _why_not(state: str | None, attempts: int, asked: int | None) -> str:
    if state is None:
        return "there is no such notice"
    if state == State.IN_DOUBT:
        return f"it has gone out again since: attempt {attempts} is in doubt now, not attempt {asked}"
    if state == State.SENDING:
        return f"it is being sent again, as attempt {attempts}"
    if state == State.PLANNED:
        return "it is planned, and not in doubt"
    return f"it is {state} already"


def checked_reason(reason: str) -> str:
    """Return a reason in one line.

    :raises BadInput: when it is missing, too long, or holds a phone number.
    """
    line = " ".join(reason.replace("\0", " ").split())
    if len(line) < _SHORTEST_REASON:
        raise BadInput("say in a few words how you know: the reason is recorded with the decision")
    if len(line) > LONGEST_REASON:
        raise BadInput(f"the reason is longer than {LONGEST_REASON} characters")
    if holds_number(line):
        raise BadInput(
            "the reason seems to hold a phone number, and reasons are shown unmasked: leave it out, or put "
            "letters before the number of a ticket (REF20123456)"
        )
    return line


def checked_name(by: str) -> str:
    """Return the name of who decides, in one line.

    :raises BadInput: when it is missing or too long.
    """
    name = " ".join(by.replace("\0", " ").split())
    if not 0 < len(name) <= _LONGEST_NAME:
        raise BadInput(f"say who decides, in at most {_LONGEST_NAME} characters")
    return name


def summed(counts: Iterable[DoubtCount]) -> Counter[Next]:
    """Sum counts by what becomes of the notices."""
    total: Counter[Next] = Counter()
    for count in counts:
        total[count.next] += count.notices
    return total
