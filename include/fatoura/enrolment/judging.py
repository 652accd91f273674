"""Judges coupons in sets: all coupons of a customer together, against the consent that stands.

Called by the intake, and by a clerk's decision for one customer. What a customer's coupons come to depends
on what they say, not on the order in which batches arrive; what was taken for a coupon is taken back when it
turns out to be crossed out or to say something else. Knows no file and sends nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.database import locked
from fatoura.enrolment.outcomes import COUNTED, Outcome, Reason
from fatoura.errors import NotReady
from fatoura.privacy.sealing import insist_on_one_form
from fatoura.settings import get_settings
from fatoura.subscriptions.consents import Act, record_set
from fatoura.subscriptions.importing import LOCK
from fatoura.subscriptions.leaving import Leaver, leave
from fatoura.subscriptions.numbers import TAKEN_BACK, with_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

CROSSED_OUT = "crossed_out"
"""Why a subscription ended whose coupon gives no consent (any more). Its customer has not left."""

_BILLED_WITHIN = 400
"""Days. Who got no bill for longer is no customer by that bill."""

_COUNTED = ", ".join(f"'{outcome}'" for outcome in COUNTED)


@dataclass
class Judged:
    """What became of coupons that were judged now; those that are as they were are not counted.

    :param outcomes: by outcome, and by reason where they are refused.
    :param taken_back: subscriptions that ended, or rest, because their coupon gives no consent any more.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    taken_back: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """What a log or a record holds."""
        told = dict(sorted(self.outcomes.items()))
        return told | ({"taken_back": self.taken_back} if self.taken_back else {})


def evidence_of(alias: str) -> str:
    """Return what the record of consent holds of a coupon, as SQL: the scan, and the coupon on it."""
    return f"{alias}.scan_id || '{_OF}' || {alias}.coupon_id"


_OF = " of coupon "  # no id holds a space

# --- Whom it is about ---------------------------------------------------------------------------------

_ALL_TOUCHED = """
CREATE TEMPORARY TABLE touched ON COMMIT DROP AS
SELECT customer_reference FROM coupon
WHERE (outcome IS NULL OR outcome = 'waits') AND customer_reference IS NOT NULL
UNION
SELECT s.customer_reference FROM coupon c JOIN subscription s ON s.id = c.subscription_id
WHERE c.outcome IS NULL
"""
_THESE_TOUCHED = """
CREATE TEMPORARY TABLE touched ON COMMIT DROP AS
SELECT DISTINCT reference AS customer_reference FROM unnest(CAST(:references AS text[])) AS told (reference)
"""
_HOLD = """
SELECT count(*) FROM (
    SELECT id FROM subscription
    WHERE state <> 'ended' AND customer_reference IN (SELECT customer_reference FROM touched)
    ORDER BY id FOR UPDATE
) held
"""

# The consent that stands, and whether the coupon that gave it says something else by now. What remains then
# is what was agreed to elsewhere before: an older coupon is looked at as any other.
_STANDING = f"""
CREATE TEMPORARY TABLE consent_standing ON COMMIT DROP AS
SELECT u.id, u.customer_reference, u.phone, u.language, u.state, by_coupon.coupon_id AS by_coupon,
    by_coupon.judged_by IS NOT NULL AS by_clerk,
    last.act AS last_act, last.evidence, last.given_on AS last_given_on,
    by_coupon.is_void IS TRUE AS is_void,
    CASE WHEN by_coupon.is_void THEN other.given_on ELSE u.consent_date END AS given_on,
    CASE WHEN by_coupon.is_void THEN other.channel ELSE u.channel END AS channel
FROM touched
JOIN subscription u USING (customer_reference)
LEFT JOIN LATERAL (
    SELECT c.act, c.channel, c.evidence, c.given_on FROM consent c
    WHERE c.customer_reference = u.customer_reference AND c.subscription_id = u.id AND c.act <> 'revoked'
        AND NOT EXISTS (
            SELECT FROM consent r WHERE r.customer_reference = c.customer_reference
                AND r.subscription_id = c.subscription_id AND r.act = 'revoked'
                AND r.evidence = c.evidence AND r.id > c.id
        )
    ORDER BY c.id DESC LIMIT 1
) last ON true
LEFT JOIN LATERAL (
    SELECT k.coupon_id, k.judged_by, k.outcome IS NULL AS is_void FROM coupon k
    WHERE last.channel = 'coupon' AND k.coupon_id = split_part(last.evidence, '{_OF}', 2)
) by_coupon ON true
LEFT JOIN LATERAL (
    SELECT c.given_on, CASE c.channel WHEN 'web' THEN 'web' ELSE u.channel END AS channel FROM consent c
    WHERE by_coupon.is_void AND c.customer_reference = u.customer_reference AND c.subscription_id = u.id
        AND c.act <> 'revoked' AND c.channel <> 'coupon'
    ORDER BY c.id DESC LIMIT 1
) other ON true
WHERE u.state <> 'ended'
"""

# Those whose register says nothing may have got a bill.
_KNOWN = """
CREATE TEMPORARY TABLE known ON COMMIT DROP AS
SELECT t.customer_reference, k.customer_reference IS NOT NULL AS is_known,
    coalesce(k.contract = 'closed', false) OR EXISTS (
        SELECT FROM account_fact f
        WHERE f.customer_reference = t.customer_reference AND f.fact = 'contract_ended'
            AND f.invoice_number IS NULL AND f.valid_from <= :day
            AND (f.valid_until IS NULL OR f.valid_until >= :day)
    ) AS is_closed,
    greatest(gone.left_on, asked.asked_on) AS left_on
FROM touched t
LEFT JOIN customer k USING (customer_reference)
LEFT JOIN (
    SELECT s.customer_reference, max(coalesce(
        (SELECT max(c.given_on) FROM consent c WHERE c.customer_reference = s.customer_reference
            AND c.subscription_id = s.id AND c.act = 'revoked'),
        CAST(coalesce(s.ended_at, s.changed_at) AT TIME ZONE :zone AS date)
    )) AS left_on
    FROM subscription s JOIN touched USING (customer_reference)
    WHERE s.state = 'ended' AND s.state_reason IS DISTINCT FROM :crossed_out
    GROUP BY s.customer_reference
) gone USING (customer_reference)
LEFT JOIN (
    SELECT d.customer_reference, max(d.asked_on) AS asked_on
    FROM departure d JOIN touched USING (customer_reference) GROUP BY d.customer_reference
) asked USING (customer_reference)
"""
_KNOWN_BY_A_BILL = f"""
UPDATE known k SET is_known = true FROM (
    SELECT DISTINCT i.customer_reference FROM invoice i
    WHERE i.cycle_id IN (
        SELECT id FROM cycle WHERE purpose = 'billing'
            AND issue_date > CAST(:day AS date) - {_BILLED_WITHIN}
    ) AND i.customer_reference IN (SELECT customer_reference FROM known WHERE NOT is_known)
) billed
WHERE k.customer_reference = billed.customer_reference
"""

# --- What each coupon comes to ------------------------------------------------------------------------

# A number that was refused long after nobody knew its customer is not taken up by itself: by then the
# reference may have become another customer's.
_LOOK = f"""
CREATE TEMPORARY TABLE looked_at ON COMMIT DROP AS
SELECT c.coupon_id, c.scan_id, c.customer_reference, c.phone, c.language, c.signed_on, c.wording_version,
    c.judged_by IS NOT NULL AS is_accepted, u.id AS subscription_id, u.is_void,
    CASE
        WHEN NOT k.is_known AND f.loaded_at < :waited THEN 'refused'
        WHEN NOT k.is_known THEN 'waits'
        WHEN k.is_closed THEN 'refused'
        WHEN u.given_on > c.signed_on THEN 'superseded'
        WHEN k.left_on > c.signed_on THEN 'refused'
        WHEN k.left_on = c.signed_on AND c.judged_by IS NULL THEN 'refused'
    END AS outcome,
    CASE
        WHEN NOT k.is_known THEN '{Reason.REFERENCE_UNKNOWN}'
        WHEN k.is_closed THEN '{Reason.CONTRACT_CLOSED}'
        WHEN u.given_on > c.signed_on THEN NULL
        WHEN k.left_on > c.signed_on THEN '{Reason.LEFT_SINCE}'
        WHEN k.left_on = c.signed_on AND c.judged_by IS NULL THEN '{Reason.LEFT_SAME_DAY}'
    END AS reason
FROM coupon c
JOIN known k USING (customer_reference)
JOIN feed f ON f.id = c.feed_id
LEFT JOIN consent_standing u USING (customer_reference)
WHERE NOT c.crossed_out AND c.phone IS NOT NULL AND (
    c.outcome IS NULL OR c.outcome IN ('waits', 'superseded')
    OR c.outcome = 'refused' AND c.judged_by IS NULL AND c.reason <> '{Reason.REFERENCE_UNKNOWN}'
    OR u.is_void AND c.outcome IN ({_COUNTED})
)
"""

# Of what is left, the newest signature counts. On the day of the consent that stands nothing is newer.
_COMPARE = f"""
CREATE TEMPORARY TABLE compared ON COMMIT DROP AS
SELECT l.coupon_id, l.customer_reference, l.phone, l.is_accepted,
    CASE
        WHEN l.signed_on < l.newest OR l.other_accepted THEN 'superseded'
        WHEN l.is_same AND u.given_on = l.signed_on AND NOT u.is_void THEN 'unchanged'
        WHEN u.given_on = l.signed_on AND u.by_clerk AND NOT l.is_accepted THEN 'superseded'
        WHEN u.given_on = l.signed_on AND NOT l.is_accepted THEN 'refused'
        WHEN l.lowest <> l.highest AND NOT l.is_accepted THEN 'refused'
        WHEN l.place > 1 THEN 'unchanged'
        WHEN u.id IS NULL OR u.state = 'lapsed' THEN 'enrolled'
        WHEN l.is_same THEN 'unchanged'
        ELSE 'changed'
    END AS outcome,
    CASE
        WHEN l.signed_on < l.newest OR l.other_accepted THEN NULL
        WHEN l.is_same AND u.given_on = l.signed_on AND NOT u.is_void THEN NULL
        WHEN u.given_on = l.signed_on AND u.by_clerk AND NOT l.is_accepted THEN NULL
        WHEN u.given_on = l.signed_on AND NOT l.is_accepted THEN
            CASE WHEN u.by_coupon IS NOT NULL AND NOT u.is_void THEN '{Reason.CONFLICTING_COUPONS}'
                ELSE '{Reason.OTHER_CHANNEL_SAME_DAY}' END
        WHEN l.lowest <> l.highest AND NOT l.is_accepted THEN '{Reason.CONFLICTING_COUPONS}'
    END AS reason,
    l.signed_on = l.newest AND NOT l.other_accepted AND l.place = 1
        AND (u.given_on IS NULL OR u.given_on < l.signed_on OR l.is_accepted)
        AND (l.lowest = l.highest OR l.is_accepted) AS is_winner,
    u.id IS NULL OR u.is_void OR u.phone IS DISTINCT FROM l.phone AS is_new_number
FROM (
    SELECT l.*, u.phone = l.phone AND u.language = l.language AS is_same,
        max(l.signed_on) OVER customer AS newest,
        bool_or(l.is_accepted) OVER day AND NOT l.is_accepted AS other_accepted,
        min(l.said) OVER day AS lowest, max(l.said) OVER day AS highest,
        row_number() OVER (
            PARTITION BY l.customer_reference, l.signed_on ORDER BY l.is_accepted DESC, l.coupon_id
        ) AS place
    FROM (SELECT *, concat_ws(' ', phone, language) AS said FROM looked_at WHERE outcome IS NULL) l
    LEFT JOIN consent_standing u USING (customer_reference)
    WINDOW customer AS (PARTITION BY l.customer_reference),
        day AS (PARTITION BY l.customer_reference, l.signed_on)
) l
LEFT JOIN consent_standing u USING (customer_reference)
"""

# With those who have the number already, and all that come with it now: none of them is told from the others.
_TOO_MANY = f"""
UPDATE compared c SET outcome = 'refused', reason = '{Reason.MANY_CONTRACTS}', is_winner = false
FROM (
    SELECT phone FROM (
        SELECT phone, customer_reference FROM compared WHERE is_winner AND is_new_number
        UNION
        SELECT s.phone, s.customer_reference FROM subscription s
        WHERE s.state <> 'ended' AND s.phone IN (
            SELECT phone FROM compared WHERE is_winner AND is_new_number
        )
    ) served GROUP BY phone HAVING count(*) > :most
) crowded
WHERE c.phone = crowded.phone AND c.is_winner AND c.is_new_number AND NOT c.is_accepted
"""

_WINNERS = """
CREATE TEMPORARY TABLE winner ON COMMIT DROP AS
SELECT c.coupon_id, c.outcome, l.scan_id, l.customer_reference, l.phone, l.language, l.signed_on,
    l.wording_version, l.subscription_id
FROM compared c JOIN looked_at l USING (coupon_id) WHERE c.is_winner
"""

# --- What follows -------------------------------------------------------------------------------------

_REVOKED = """
SELECT customer_reference, id AS subscription_id, CAST(NULL AS text) AS wording_version,
    CAST(NULL AS text) AS language, evidence, CAST(:day AS date) AS given_on, :by AS recorded_by
FROM consent_standing u WHERE u.is_void AND ({which})
"""
_IS_REPLACED = "EXISTS (SELECT FROM winner w WHERE w.customer_reference = u.customer_reference)"
_REMAINS = f"u.given_on IS NOT NULL AND NOT {_IS_REPLACED}"
_WITHOUT_CONSENT = f"""
SELECT customer_reference, evidence FROM consent_standing u
WHERE u.is_void AND u.given_on IS NULL AND NOT {_IS_REPLACED}
"""
# A coupon that only confirmed what had been agreed to elsewhere has changed no number.
_FALL_BACK = f"""
UPDATE subscription s SET consent_date = u.given_on, channel = u.channel, changed_at = :now,
    phone = CASE WHEN u.last_act = 'given' THEN s.phone ELSE '' END,
    proven_at = CASE WHEN u.last_act = 'given' THEN s.proven_at END,
    state = CASE WHEN u.last_act = 'given' THEN s.state ELSE 'suspended' END,
    state_reason = CASE WHEN u.last_act = 'given' THEN s.state_reason
        WHEN s.state_reason = 'paused_by_clerk' THEN s.state_reason ELSE '{TAKEN_BACK}' END
FROM consent_standing u WHERE s.id = u.id AND u.is_void AND {_REMAINS}
"""
_ENROL = """
INSERT INTO subscription (customer_reference, phone, language, channel, consent_date, created_at, changed_at)
SELECT customer_reference, phone, language, 'coupon', signed_on, :now, :now
FROM winner WHERE subscription_id IS NULL ORDER BY customer_reference
ON CONFLICT (customer_reference) WHERE state <> 'ended' DO NOTHING
"""
_CHANGE = f"""
UPDATE subscription u SET phone = w.phone, language = w.language, channel = 'coupon',
    consent_date = w.signed_on, changed_at = :now, {with_number("w.phone", also="u.state = 'lapsed'")}
FROM winner w WHERE u.id = w.subscription_id AND u.state <> 'ended'
"""
_GIVEN = f"""
SELECT w.customer_reference, u.id AS subscription_id, w.wording_version, w.language,
    {evidence_of("w")} AS evidence, w.signed_on AS given_on, :by AS recorded_by
FROM winner w JOIN subscription u ON u.customer_reference = w.customer_reference AND u.state <> 'ended'
WHERE (w.outcome = 'changed') = :changed
"""

# Looked at and compared, each coupon has its outcome; only what is new is written. Another number than the
# one that stood is welcomed.
_CONCLUDE = f"""
WITH decided AS (
    SELECT coupon_id, customer_reference, outcome, reason, is_winner, is_new_number FROM compared
    UNION ALL
    SELECT l.coupon_id, l.customer_reference,
        CASE WHEN w.signed_on > l.signed_on THEN 'superseded' ELSE l.outcome END,
        CASE WHEN w.signed_on > l.signed_on THEN NULL ELSE l.reason END, false, false
    FROM looked_at l LEFT JOIN winner w USING (customer_reference) WHERE l.outcome IS NOT NULL
), written AS (
    UPDATE coupon c SET outcome = d.outcome, judged_at = :now,
        reason = CASE d.outcome WHEN 'refused' THEN d.reason END,
        subscription_id = CASE WHEN d.outcome IN ({_COUNTED}) THEN u.id ELSE c.subscription_id END,
        welcomed_at = CASE WHEN NOT d.is_winner THEN c.welcomed_at WHEN NOT d.is_new_number THEN :now END
    FROM decided d
    LEFT JOIN subscription u ON u.customer_reference = d.customer_reference AND u.state <> 'ended'
    WHERE c.coupon_id = d.coupon_id AND (
        c.outcome IS DISTINCT FROM d.outcome OR d.outcome = 'waits' OR d.is_winner
        OR c.reason IS DISTINCT FROM CASE d.outcome WHEN 'refused' THEN d.reason END
    )
    RETURNING c.outcome, c.reason, old.outcome AS was
)
SELECT outcome, reason, count(*) FROM written WHERE was IS DISTINCT FROM outcome OR outcome <> 'waits'
GROUP BY outcome, reason
"""
_CROSS_OUT = """
UPDATE coupon SET outcome = 'crossed_out', judged_at = :now WHERE crossed_out AND outcome IS NULL
"""


def judge_coupons(*, run_id: str | None = None) -> Judged:
    """Judge all coupons that are new, told otherwise, or waiting; give, change and take back what follows.

    :param run_id: the run that judges, for the record of consent.
    :raises NotReady: when a subscription began elsewhere in the same moment; try again.
    """
    with locked(LOCK) as connection:
        return judge(connection, by=run_id or "intake")


def judge(connection: Connection, *, by: str, references: Sequence[str] | None = None) -> Judged:
    """Judge in the caller's transaction, which holds the lock of subscribers.

    :param by: who judges, for the record of consent.
    :param references: of these customers; none: of all whose coupons are new or wait.
    :raises NotReady: when a subscription began elsewhere in the same moment; try again.
    """
    insist_on_one_form(connection, ("subscription", "phone"), ("coupon", "phone"))
    now, settings = clock.now(), get_settings()
    values: dict[str, Any] = {
        "now": now,
        "day": clock.today(),
        "zone": clock.zone().key,
        "by": by,
        "waited": now - settings.coupon_wait,
        "most": settings.phone_contracts,
        "crossed_out": CROSSED_OUT,
    }
    touched = text(_ALL_TOUCHED) if references is None else text(_THESE_TOUCHED)
    connection.execute(touched, {"references": list(references or ())})
    connection.execute(text("ANALYZE touched"))
    connection.execute(text(_HOLD))
    connection.execute(text(_STANDING))
    connection.execute(text(_KNOWN), values)
    connection.execute(text("ANALYZE consent_standing, known"))
    if connection.scalar(text("SELECT EXISTS (SELECT FROM known WHERE NOT is_known)")):
        connection.execute(text(_KNOWN_BY_A_BILL), values)
    connection.execute(text(_LOOK), values)
    connection.execute(text("ANALYZE looked_at"))
    connection.execute(text(_COMPARE))
    connection.execute(text("ANALYZE compared"))
    connection.execute(text(_TOO_MANY), values)
    connection.execute(text(_WINNERS))
    connection.execute(text("ANALYZE winner"))
    judged = Judged(taken_back=_take_back(connection, values))
    _enrol(connection, values)
    for outcome, reason, count in connection.execute(text(_CONCLUDE), values):
        judged.outcomes[f"{outcome} {reason}" if reason else outcome] += count
    crossed = connection.execute(text(_CROSS_OUT), values).rowcount
    if crossed:
        judged.outcomes[Outcome.CROSSED_OUT] += crossed
    for table in ("touched", "consent_standing", "known", "looked_at", "compared", "winner"):
        connection.execute(text(f"DROP TABLE {table}"))
    return judged


def _take_back(connection: Connection, values: dict[str, Any]) -> int:
    """Take back the consents whose coupons say something else by now; return how many subscriptions rest."""
    void = connection.scalar(text("SELECT count(*) FROM consent_standing WHERE is_void"))
    if not void:
        return 0
    for which in (_IS_REPLACED, _REMAINS):
        told = {"day": values["day"], "by": values["by"]}
        record_set(connection, Act.REVOKED, _REVOKED.format(which=which), channel="coupon", **told)
    fallen = connection.execute(text(_FALL_BACK), values).rowcount
    leavers = [
        Leaver(row.customer_reference, row.evidence, values["by"])
        for row in connection.execute(text(_WITHOUT_CONSENT))
    ]
    return fallen + len(leave(connection, leavers, channel="coupon", reason=CROSSED_OUT).ended)


def _enrol(connection: Connection, values: dict[str, Any]) -> None:
    """Begin and change subscriptions as the coupons say that count, and record their consents."""
    wanted = connection.scalar(text("SELECT count(*) FROM winner WHERE subscription_id IS NULL"))
    if connection.execute(text(_ENROL), values).rowcount != wanted:
        raise NotReady("a customer subscribed elsewhere in the same moment; the coupons are judged again")
    connection.execute(text(_CHANGE), values)
    for act, changed in ((Act.GIVEN, False), (Act.CHANGED, True)):
        record_set(connection, act, _GIVEN, channel="coupon", changed=changed, by=values["by"])
