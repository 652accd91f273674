"""The queue in the database: which notices a sender holds, and what became of them.

Called by the sender and by whoever waits for it. Any number of senders may work on one cycle: a claim
skips what others hold, and an outcome is written only for the attempt that it belongs to. What a kind wants
checked is checked in the claim's own transaction, by `checks`; whether its customer is still there, and on
that phone, in the very statement that chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, text

from fatoura import clock
from fatoura.gateways.interface import Message
from fatoura.notices.kinds import InDoubt, all_kinds, asked_for_kinds
from fatoura.notices.planning import BILL_KINDS
from fatoura.phones_at_rest import opened, same_phone
from fatoura.sending import checks
from fatoura.sending.routing import BUCKET, WHOLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from fatoura.gateways.interface import Outcome
    from fatoura.sending.routing import Stretch

OPTED_OUT = "opted_out"
"""Why a message is cancelled whose customer has left."""

FORMER_NUMBER = "former_number"
"""Why a message is cancelled whose customer has given another number since."""

SHORTEST_VALIDITY = timedelta(minutes=1)
"""A notice whose time ends earlier is too late: the validity that goes with a message counts in minutes."""

DISPROVED = """EXISTS (
    SELECT FROM doubt_decision d
    WHERE d.notice_id = a.notice_id AND d.attempt >= a.number AND d.decision = 'not_accepted'
)"""
"""Whether a person has proven of an attempt `a` that it was not taken. Its outcome stays as it was seen."""

# A notice in doubt goes out again at most once, only where its kind says that a second copy does less harm
# than none (a bill), and never when a correction of it has been planned since.
REPEATABLE = f"""(
    state = 'in_doubt' AND kind = ANY(:repeatable) AND send_until > :now
    AND (
        SELECT count(*) FROM attempt a
        WHERE a.notice_id = notice.id AND a.outcome = 'in_doubt' AND NOT {DISPROVED}
    ) < 2
    AND NOT EXISTS (
        SELECT FROM notice later WHERE later.kind = ANY(:bill_kinds)
            AND later.subject = notice.subject AND later.sequence > notice.sequence
    )
)"""
# What would go to somebody who has left, or to a number that was given up since, is left alone. Of
# subscriptions nothing is locked: who leaves holds theirs first and the notices after it, a claim would do so
# the other way round. Who leaves either sees what is planned, and waits for the claim that holds it or is
# skipped by it; or it was planned meanwhile, and a claim that begins after they have committed sees that.
_AWAY = """(kind <> ALL(:asked_for) AND EXISTS (
    SELECT FROM subscription u
    WHERE u.id = notice.subscription_id AND (u.state = 'ended' OR u.phone <> notice.phone)
))"""
# Only the gateway that it is in doubt with may have it again, for as long as that one is in use.
_MAY_REPEAT = (
    REPEATABLE + " AND coalesce(retry_at <= :now, submitted_at <= :doubt_before) "
    "AND (gateway = :gateway OR gateway <> ALL(:in_use))"
)
# Where the provider recognises a repeat, one harms nobody, whatever the kind. But if it had not taken the
# first one, the repeat would go out, and what was checked for that one may hold no longer.
_MAY_ASK_AGAIN = (
    "state = 'in_doubt' AND gateway = :gateway AND (retry_at IS NULL OR retry_at <= :now) "
    "AND kind <> ALL(:checked)"
)
_MAY_GO = "state = 'planned' AND send_from <= :now AND (retry_at IS NULL OR retry_at <= :now)"
_MORE_URGENT = " AND priority < :priority"
_EARLIER_IN_DOUBT = f"""EXISTS (
    SELECT FROM attempt a
    WHERE a.notice_id = answer.id AND a.number < answer.attempt AND a.outcome = 'in_doubt' AND NOT {DISPROVED}
)"""
_IN_STRETCH = f" AND {BUCKET} >= :low AND {BUCKET} < :high"
# Without a number: what one who asked for it had erased, when its sender gave it back afterwards.
_CHOSEN = f"""
    SELECT id, kind FROM notice
    WHERE cycle_id = :cycle AND send_until >= :still AND {{candidates}} AND NOT {_AWAY} AND phone IS NOT NULL
    ORDER BY priority, id LIMIT :most FOR UPDATE SKIP LOCKED
"""
_CHECKED = "SELECT id FROM notice WHERE id = ANY(:held) AND state = 'planned'"
_FOUND_AWAY = f"""
    SELECT notice.id, notice.phone, present.phone AS present_phone, present.state AS present_state
    FROM (
        SELECT id, phone, subscription_id FROM notice
        WHERE cycle_id = :cycle AND {{candidates}} AND {_AWAY}
        ORDER BY priority, id LIMIT :most FOR UPDATE SKIP LOCKED
    ) notice JOIN subscription present ON present.id = notice.subscription_id
"""
# By their ids, never among all that is planned, which the planner takes for little.
_WITHDRAW = """
    UPDATE notice SET state = 'cancelled', state_since = :now, final_at = :now, reason = found.reason
    FROM unnest(CAST(:ids AS uuid[]), CAST(:reasons AS text[])) AS found (id, reason)
    WHERE notice.id = found.id AND state || '' = 'planned'
"""
_READDRESS = """
    UPDATE notice SET phone = found.phone
    FROM unnest(CAST(:ids AS uuid[]), CAST(:phones AS text[])) AS found (id, phone)
    WHERE notice.id = found.id AND state || '' = 'planned'
"""
_CLAIM = """
    WITH chosen AS (
        {chosen}
    ), claimed AS (
        UPDATE notice SET state = 'sending', state_since = :now, attempts = attempts + 1,
            lease_until = clock_timestamp() + :lease, gateway = :gateway, provider_id = NULL,
            submitted_at = :now, retry_at = NULL
        FROM chosen WHERE notice.id = chosen.id
        RETURNING notice.id, attempts, phone, text, encoding, segments, validity_minutes, send_until, priority
    ), logged AS (
        INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at)
        SELECT id, attempts, :gateway, :worker, :now FROM claimed
    )
    SELECT * FROM claimed ORDER BY priority, id
"""


@dataclass(frozen=True)
class Claim:
    """One notice that this sender may hand over now; `repr` shows neither number nor text.

    :param priority: lower goes first.
    """

    message: Message
    send_until: datetime
    priority: int


class Batch(list[Claim]):
    """The notices that a claim brought."""

    withdrawn = 0
    """How many more it looked at and cancelled, because what they say holds no longer."""


def repeatable_kinds() -> list[str]:
    """Return the kinds of notice that go out again after the doubt horizon."""
    return [kind.name for kind in all_kinds().values() if kind.in_doubt == InDoubt.RESEND_ONCE]


def repeatable_values() -> dict[str, list[str]]:
    """Return the values that `REPEATABLE` asks for, but for the present instant."""
    return {"repeatable": repeatable_kinds(), "bill_kinds": list(BILL_KINDS)}


def claim(
    connection: Connection,
    cycle_id: int,
    *,
    gateway: str,
    stretch: Stretch,
    in_use: Sequence[str],
    worker: str,
    most: int,
    lease: timedelta,
    doubt_horizon: timedelta,
    sender_id: str,
    recognises_repeats: bool = False,
    more_urgent_than: int | None = None,
    checked: bool = True,
) -> Batch:
    """Claim up to `most` notices of a cycle, the most urgent first. The caller commits before it sends.

    Notices in doubt whose horizon has passed, and whose kind may be repeated, come after the planned ones.
    Of whatever kind, what goes to somebody who has left, or to a number that was given up, is cancelled
    instead. Where nothing is left of those that were chosen, nothing is claimed: what follows them has its
    turn in a transaction of its own.

    :param stretch: which notices go through this gateway now.
    :param in_use: all gateways that messages may go through.
    :param worker: who claims, for the attempt's record.
    :param lease: after this long without an outcome, the claim is in doubt.
    :param recognises_repeats: the provider sends a message once however often it is submitted.
    :param more_urgent_than: only planned ones whose priority is a lower number than this.
    :param checked: false where no kind of the cycle has a check: that makes one statement of it all. See
        `checks.are_needed`.
    """
    values = {
        "cycle": cycle_id,
        "now": clock.now(),
        "still": clock.now() + SHORTEST_VALIDITY,
        "lease": lease,
        "gateway": gateway,
        "worker": worker,
        "most": most,
        "asked_for": asked_for_kinds(),
    }
    candidates = _MAY_GO
    if stretch != WHOLE:
        candidates += _IN_STRETCH
        values |= {"low": stretch.low, "high": stretch.high}
    if more_urgent_than is not None:
        candidates += _MORE_URGENT
        values["priority"] = more_urgent_than
    rows, withdrawn = _of_planned(connection, candidates, values, checked=checked)
    if more_urgent_than is None and len(rows) + withdrawn < most:
        # Only now: while there is enough, what would go to nobody is passed over.
        cancelled, readdressed = _settle_away(connection, candidates, values)
        withdrawn += cancelled
        if readdressed and not rows:
            rows, others = _of_planned(connection, candidates, values, checked=checked)
            withdrawn += others
    if rows or withdrawn or more_urgent_than is not None:
        return _batch(rows, sender_id, withdrawn)
    if recognises_repeats:
        values["checked"] = checks.checked_kinds()
        rows = _claimed(connection, _CHOSEN.format(candidates=_MAY_ASK_AGAIN), values)
    if not rows:
        values |= {
            **repeatable_values(),
            "doubt_before": clock.now() - doubt_horizon,
            "in_use": list(in_use),
        }
        rows = _claimed(connection, _CHOSEN.format(candidates=_MAY_REPEAT), values)
    return _batch(rows, sender_id)


def _claimed(connection: Connection, chosen: str, values: dict[str, Any]) -> Sequence[Row[Any]]:
    return connection.execute(text(_CLAIM.format(chosen=chosen)), values).all()


def _of_planned(
    connection: Connection, candidates: str, values: dict[str, Any], *, checked: bool
) -> tuple[Sequence[Row[Any]], int]:
    """Claim planned notices; return them, and how many a check has cancelled instead."""
    chosen = _CHOSEN.format(candidates=candidates)
    if not checked:
        return _claimed(connection, chosen, values), 0
    held, withdrawn = _checked(connection, chosen, values)
    return _claimed(connection, _CHECKED, {**values, "held": held}), withdrawn


def _settle_away(connection: Connection, candidates: str, values: dict[str, Any]) -> tuple[int, int]:
    """Cancel what would go to somebody who has left, or to a number that was given up; return how many.

    The same number can lie there in two ways while an installation is being sealed: such a notice gets the
    way of its subscription, and may be claimed. How many these are comes second.
    """
    rows = connection.execute(text(_FOUND_AWAY.format(candidates=candidates)), values).all()
    away, same = {}, {}
    for row in rows:
        if row.present_state == "ended":
            away[row.id] = OPTED_OUT
        elif same_phone(row.phone, row.present_phone):
            same[row.id] = row.present_phone
        else:
            away[row.id] = FORMER_NUMBER
    if same:
        connection.execute(text(_READDRESS), {"ids": list(same), "phones": list(same.values())})
    if away:
        connection.execute(text(_WITHDRAW), {**values, "ids": list(away), "reasons": list(away.values())})
    return len(away), len(same)


def _checked(connection: Connection, chosen: str, values: dict[str, Any]) -> tuple[list[UUID], int]:
    """Hold what is chosen and cancel what is unfounded; return the others, and how many were cancelled."""
    rows = connection.execute(text(chosen), values).all()
    found = checks.unfounded(connection, [(row.id, row.kind) for row in rows])
    if found:
        told = {"ids": list(found), "reasons": list(found.values())}
        connection.execute(text(_WITHDRAW), {**values, **told})
    return [row.id for row in rows if row.id not in found], len(found)


def _batch(rows: Sequence[Row[Any]], sender_id: str, withdrawn: int = 0) -> Batch:
    batch = Batch(
        Claim(
            Message(
                id=row.id,
                attempt=row.attempts,
                phone=opened(row.phone),
                text=row.text,
                encoding=row.encoding,
                segments=row.segments,
                validity_minutes=row.validity_minutes,
                sender=sender_id,
                receipt_url="",  # known when it is submitted
            ),
            row.send_until,
            row.priority,
        )
        for row in rows
    )
    batch.withdrawn = withdrawn
    return batch


def give_back(connection: Connection, claims: Sequence[Message]) -> int:
    """Return claims that were never begun, also those whose lease has ended, so that anybody may take them.

    One of which an earlier attempt is in doubt stays in doubt, and may be repeated at once.
    """
    return _write(
        connection,
        f"""
        UPDATE notice SET state_since = :now, lease_until = NULL,
            state = CASE WHEN {_EARLIER_IN_DOUBT} THEN 'in_doubt' ELSE 'planned' END,
            retry_at = CASE WHEN {_EARLIER_IN_DOUBT} THEN CAST(:now AS timestamptz) END
        FROM answer WHERE notice.id = answer.id AND notice.attempts = answer.attempt
            AND state IN ('sending', 'in_doubt')
        """,
        [(message.id, message.attempt, "refused", "not begun", None, None, None) for message in claims],
    )


def write_outcomes(
    connection: Connection, outcomes: Sequence[tuple[Message, Outcome]], *, retry_after: timedelta
) -> int:
    """Write what became of submitted messages, in one statement for the batch.

    A receipt may have settled a notice before its answer is written here: the final state stays, and only
    the provider's id is added. A refusal proves nothing of an earlier attempt: what was in doubt stays so.

    :param retry_after: how long a refused message rests before it is claimed again.
    :returns: how many notices it touched.
    """
    retry_at = clock.now() + retry_after
    return _write(
        connection,
        f"""
        UPDATE notice SET
            state = next.state,
            state_since = CASE WHEN notice.state = next.state THEN state_since ELSE :now END,
            provider_id = coalesce(next.provider_id, notice.provider_id),
            reason = CASE WHEN next.state = 'rejected' THEN next.text ELSE reason END,
            final_at = CASE WHEN next.state = 'rejected' THEN coalesce(final_at, :now) ELSE final_at END,
            retry_at = CASE WHEN outcome IN ('refused', 'stop') THEN CASE next.state
                WHEN 'planned' THEN next.retry_at WHEN 'in_doubt' THEN coalesce(next.retry_at, :now) END END,
            lease_until = NULL
        FROM (
            SELECT answer.*, CASE
                WHEN current.state NOT IN ('sending', 'in_doubt') THEN current.state
                WHEN outcome IN ('refused', 'stop') AND {_EARLIER_IN_DOUBT} THEN 'in_doubt'
                WHEN outcome IN ('refused', 'stop') THEN 'planned'
                ELSE outcome
            END AS state
            FROM answer JOIN notice current ON current.id = answer.id AND current.attempts = answer.attempt
            -- In the order in which receipts lock them too: two batches never wait for each other.
            ORDER BY current.id FOR UPDATE OF current
        ) next
        WHERE notice.id = next.id
        """,
        [
            (
                message.id,
                message.attempt,
                outcome.kind,
                outcome.answer,
                outcome.provider_id,
                # A message that met a stopped gateway may go as soon as that is mended.
                None if outcome.kind == "stop" else retry_at,
                message.validity_minutes,
            )
            for message, outcome in outcomes
        ],
    )


def _write(connection: Connection, update: str, answers: Sequence[tuple[Any, ...]]) -> int:
    ids, attempts, kinds, texts, provider_ids, retries, minutes = (
        zip(*answers, strict=True) if answers else [()] * 7
    )
    return connection.execute(
        text(
            f"""
            WITH answer AS MATERIALIZED (
                SELECT * FROM unnest(
                    CAST(:ids AS uuid[]), CAST(:attempts AS smallint[]), CAST(:outcomes AS text[]),
                    CAST(:texts AS text[]), CAST(:provider_ids AS text[]), CAST(:retries AS timestamptz[]),
                    CAST(:minutes AS int[])
                ) AS a (id, attempt, outcome, text, provider_id, retry_at, minutes)
            ), logged AS (
                UPDATE attempt SET answered_at = :now,
                    valid_until = CAST(:now AS timestamptz) + make_interval(mins => answer.minutes),
                    answer = answer.text, provider_id = answer.provider_id,
                    outcome = CASE answer.outcome WHEN 'stop' THEN 'refused' ELSE answer.outcome END
                FROM answer WHERE attempt.notice_id = answer.id AND attempt.number = answer.attempt
            )
            {update}
            """
        ),
        {
            "now": clock.now(),
            "ids": list(ids),
            "attempts": list(attempts),
            "outcomes": list(kinds),
            "texts": list(texts),
            "provider_ids": list(provider_ids),
            "retries": list(retries),
            "minutes": list(minutes),
        },
    ).rowcount


def expire_leases(connection: Connection) -> int:
    """Put claims whose sender is gone into doubt: it may have been killed after the provider took them."""
    return connection.execute(
        text(
            """
            WITH gone AS (
                UPDATE notice SET state = 'in_doubt', state_since = :now, lease_until = NULL
                WHERE id IN (
                    SELECT id FROM notice WHERE state = 'sending' AND lease_until < clock_timestamp()
                    FOR UPDATE SKIP LOCKED
                )
                RETURNING id, attempts
            )
            UPDATE attempt SET outcome = 'in_doubt', answer = 'no outcome before the lease ended'
            FROM gone WHERE notice_id = gone.id AND number = gone.attempts AND outcome IS NULL
            """
        ),
        {"now": clock.now()},
    ).rowcount


def cancel_late(connection: Connection, cycle_id: int) -> int:
    """Cancel planned notices whose time has passed: "pay before" must not come after the day."""
    return connection.execute(
        text(
            "UPDATE notice SET state = 'cancelled', state_since = :now, final_at = :now, reason = 'too_late' "
            "WHERE cycle_id = :cycle AND state = 'planned' AND send_until < :still"
        ),
        {"now": clock.now(), "still": clock.now() + SHORTEST_VALIDITY, "cycle": cycle_id},
    ).rowcount


def cancel_planned(connection: Connection, cycle_id: int, *, reason: str) -> int:
    """Cancel all that is still planned in a cycle, such as when a person refused to release it."""
    return connection.execute(
        text(
            "UPDATE notice SET state = 'cancelled', state_since = :now, final_at = :now, reason = :reason "
            "WHERE cycle_id = :cycle AND state = 'planned'"
        ),
        {"now": clock.now(), "cycle": cycle_id, "reason": reason},
    ).rowcount
