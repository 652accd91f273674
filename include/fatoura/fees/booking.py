"""Books what the billing system has told of charges: their states, the journal, and who is paid until when.

Called when answers are loaded, and once more for those that could not be booked. What a charge becomes
follows from the set of all answers about it, whatever their order: the state that ranks highest stands, and
of sums the largest that can be right. What cannot be right is a finding, for a person or a better answer:
nothing is booked for it, and nobody lapses meanwhile.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.fees.books import (
    BOOK,
    BOOKED_AT,
    BOOKED_BY,
    COVERED_FROM,
    COVERED_UNTIL,
    MARK,
    RENEW,
    Moment,
    charge_id,
    number_in,
)
from fatoura.fees.rules import fee_rules_on
from fatoura.fees.states import Account

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class Booked:
    """What answers brought about, in charges.

    :param moved: by the state that they have now.
    :param back: subscriptions that had lapsed and are back.
    """

    moved: Counter[str]
    back: int


# All that was told of each touched charge. Of what is paid: what was asked for, or less by what was taken off
# since. Of what is given back: what we have ordered, or all, where the payment itself was taken back.
_ANSWERS = f"""
CREATE TEMPORARY TABLE fee_answer ON COMMIT DROP AS
WITH touched AS MATERIALIZED (
    SELECT DISTINCT number FROM ({{touched}}) told (number) WHERE number IS NOT NULL
), credited AS (
    SELECT t.charge_id, sum(t.amount_millimes) AS millimes
    FROM fee_credit t JOIN touched ON touched.number = t.charge_id GROUP BY t.charge_id
), told AS (
    SELECT c.id, c.subscription_id, c.state, c.told_millimes, c.owed_millimes, c.paid_millimes,
        c.owed_back_millimes, c.given_back_millimes, coalesce(credited.millimes, 0) AS credited,
        bool_or(r.result = 'accepted' AND r.is_asked) AS accepted,
        bool_or(r.result = 'rejected' AND r.is_asked) AS rejected,
        bool_or(r.result = 'refused' AND r.is_asked) AS refused,
        max(r.amount_millimes) FILTER (WHERE r.result = 'paid' AND r.is_asked) AS paid,
        array_agg(r.amount_millimes) FILTER (WHERE r.result = 'refunded') AS refunds
    FROM touched JOIN fee_charge c ON c.id = touched.number AND c.file_id IS NOT NULL
    LEFT JOIN credited ON credited.charge_id = c.id
    JOIN LATERAL (
        SELECT r.*, r.amount_millimes BETWEEN c.told_millimes - coalesce(credited.millimes, 0)
            AND c.told_millimes AS is_asked
        FROM fee_result r WHERE r.charge_id = {charge_id()}
    ) r ON true
    GROUP BY c.id, credited.millimes
), payment AS (
    SELECT told.*, total.paid AS paid_total,
        least(total.paid - told.paid_millimes, told.owed_millimes) AS applied,
        total.paid - told.paid_millimes - least(total.paid - told.paid_millimes, told.owed_millimes) AS excess
    FROM told CROSS JOIN LATERAL (
        SELECT CASE WHEN state = 'taken_back' THEN paid_millimes
            ELSE greatest(paid_millimes, coalesce(told.paid, 0)) END AS paid
    ) total
), refund AS (
    SELECT payment.*, greatest(given_back_millimes, (
        SELECT max(millimes) FROM unnest(refunds) millimes
        WHERE paid_total > 0 AND millimes IN (paid_total, owed_back_millimes + excess + given_back_millimes)
    )) - given_back_millimes AS back
    FROM payment
)
SELECT refund.*, least(back, owed_back_millimes + excess) AS back_ordered,
    back - least(back, owed_back_millimes + excess) AS back_taken,
    CASE
        WHEN state NOT IN ('filed', 'rejected', 'accepted', 'refused') THEN state
        WHEN applied > 0 AND applied = owed_millimes THEN 'paid'
        WHEN refused OR state = 'refused' THEN 'refused'
        WHEN accepted OR state = 'accepted' THEN 'accepted'
        WHEN rejected OR state = 'rejected' THEN 'rejected'
        ELSE state
    END AS next_state
FROM refund
"""
# Accepted late, its customer was asked late: the grace counts from then.
_MOVE = f"""
WITH moved AS (
    UPDATE fee_charge c
    SET state = a.next_state,
        state_since = CASE WHEN c.state = a.next_state THEN c.state_since ELSE CAST(:now AS timestamptz) END,
        owed_millimes = c.owed_millimes - a.applied, paid_millimes = a.paid_total,
        owed_back_millimes = c.owed_back_millimes + a.excess,
        grace_until = CASE WHEN a.next_state = 'accepted' AND a.state <> 'accepted'
                AND c.told_on < CAST(:day AS date) - CAST(:within AS int)
            THEN greatest(c.grace_until, CAST(:day AS date) + CAST(:grace AS int)) ELSE c.grace_until END,
        paid_on = CASE WHEN c.state <> 'paid' AND a.next_state = 'paid' THEN CAST(:day AS date)
            ELSE c.paid_on END,
        covered_from = CASE WHEN c.state <> 'paid' AND a.next_state = 'paid' THEN {COVERED_FROM}
            ELSE c.covered_from END,
        covered_until = CASE WHEN c.state <> 'paid' AND a.next_state = 'paid' THEN {COVERED_UNTIL}
            ELSE c.covered_until END
    FROM fee_answer a, subscription s
    WHERE c.id = a.id AND s.id = c.subscription_id
        AND (a.next_state <> a.state OR a.applied > 0 OR a.excess > 0)
    RETURNING c.id, c.subscription_id, c.period_start, c.state, a.state AS was, a.applied, a.excess,
        c.covered_from, c.covered_until
), covering AS (
    SELECT subscription_id, period_start, covered_from, covered_until, CAST(NULL AS text) AS free
    FROM moved WHERE state = 'paid' AND was <> 'paid'
), booked AS (
    {BOOK}
    SELECT id, subscription_id, {BOOKED_AT}, '{Account.COLLECTED}', line.credit, line.millimes, 'paid',
        {BOOKED_BY}
    FROM moved CROSS JOIN LATERAL (
        VALUES (1, '{Account.RECEIVABLE}', applied), (2, '{Account.PAYABLE}', excess)
    ) line (number, credit, millimes)
    WHERE line.millimes > 0
    ORDER BY id, line.number
), renewed AS (
    {RENEW}
    RETURNING covered.back_on
)
SELECT state, count(*) FILTER (WHERE state <> was), (SELECT count(back_on) FROM renewed)
FROM moved GROUP BY state
"""
# What it had rejected it was told no credits of. When it holds the charge after all, it is told them at once.
_CREDIT = """
INSERT INTO fee_credit (charge_id, amount_millimes, because, ordered_on, ordered_by)
SELECT c.id, missing.millimes, 'held_after_all', CAST(:day AS date), :by
FROM fee_answer a JOIN fee_charge c ON c.id = a.id
CROSS JOIN LATERAL (
    SELECT c.told_millimes - a.credited
        - (c.owed_millimes + c.paid_millimes - c.owed_back_millimes - c.given_back_millimes) AS millimes
) missing
WHERE (a.accepted OR a.refused OR a.paid IS NOT NULL) AND missing.millimes > 0
ORDER BY c.id
"""
# A payment that was taken back leaves the year unpaid, with another grace; what was given back on our order
# does not.
_GIVE_BACK = f"""
WITH moved AS (
    UPDATE fee_charge c
    SET state = CASE WHEN a.next_state <> 'paid' THEN c.state
            WHEN a.back_taken > 0 THEN 'taken_back'
            WHEN c.given_back_millimes + a.back = c.paid_millimes THEN 'refunded' ELSE c.state END,
        state_since = CASE WHEN a.next_state = 'paid'
                AND (a.back_taken > 0 OR c.given_back_millimes + a.back = c.paid_millimes)
            THEN CAST(:now AS timestamptz) ELSE c.state_since END,
        owed_millimes = c.owed_millimes + a.back_taken,
        owed_back_millimes = c.owed_back_millimes - a.back_ordered,
        given_back_millimes = c.given_back_millimes + a.back,
        grace_until = CASE WHEN a.back_taken > 0 THEN CAST(:day AS date) + CAST(:grace AS int)
            ELSE c.grace_until END
    FROM fee_answer a WHERE c.id = a.id AND a.back > 0
    RETURNING c.id, c.subscription_id, c.state, a.back_ordered, a.back_taken, c.covered_from, c.covered_until
), booked AS (
    {BOOK}
    SELECT id, subscription_id, {BOOKED_AT}, line.debit, '{Account.COLLECTED}', line.millimes, line.because,
        {BOOKED_BY}
    FROM moved CROSS JOIN LATERAL (VALUES
        (1, '{Account.PAYABLE}', back_ordered, 'refunded'),
        (2, '{Account.RECEIVABLE}', back_taken, 'taken_back')
    ) line (number, debit, millimes, because)
    WHERE line.millimes > 0
    ORDER BY id, line.number
), unpaid AS (
    UPDATE subscription s
    SET paid_until = CASE WHEN s.paid_until = m.covered_until THEN m.covered_from - 1 ELSE s.paid_until END,
        fees_closed_on = NULL
    FROM moved m WHERE m.back_taken > 0 AND s.id = m.subscription_id
)
SELECT state, count(*) FROM moved GROUP BY state
"""
_FIND = f"""
WITH judged AS (
    SELECT r.charge_id, r.result, r.amount_millimes, CASE
        WHEN c.id IS NULL THEN 'unknown_charge'
        WHEN c.file_id IS NULL THEN 'not_told'
        WHEN r.result = 'refunded' AND r.amount_millimes <= c.given_back_millimes THEN NULL
        WHEN r.result = 'refunded' AND c.paid_millimes = 0 THEN 'waits_for_payment'
        WHEN r.result = 'refunded' OR r.amount_millimes NOT BETWEEN asked.least AND c.told_millimes
            THEN 'wrong_amount'
        WHEN r.result = 'paid' AND r.amount_millimes > c.paid_millimes THEN 'after_taken_back'
        WHEN r.result IN ('refused', 'rejected') AND EXISTS (
            SELECT FROM fee_result o WHERE o.charge_id = r.charge_id AND o.at < r.at
                AND (o.result = 'paid' OR (r.result = 'rejected' AND o.result = 'accepted'))
                AND o.amount_millimes BETWEEN asked.least AND c.told_millimes
        ) THEN 'contradicts'
    END AS finding
    FROM fee_result r
    LEFT JOIN fee_charge c ON c.id = {number_in("r.charge_id")}
    LEFT JOIN LATERAL (
        SELECT c.told_millimes - coalesce(sum(t.amount_millimes), 0) AS least
        FROM fee_credit t WHERE t.charge_id = c.id
    ) asked ON true
    WHERE r.charge_id IN (SELECT '{MARK}' || number FROM ({{touched}}) told (number))
)
UPDATE fee_result r SET finding = j.finding
FROM judged j
WHERE r.charge_id = j.charge_id AND r.result = j.result AND r.amount_millimes = j.amount_millimes
    AND r.finding IS DISTINCT FROM j.finding
"""
# Those that can come right by something else than another answer: a file that is told, a refund that was
# ordered.
_PENDING = f"""
SELECT {number_in("charge_id")} FROM fee_result WHERE finding IS NOT NULL AND settled_at IS NULL
"""


def book(connection: Connection, touched: str, moment: Moment) -> Booked:
    """Book all that is told of charges; again, it books nothing.

    :param touched: a SELECT of the numbers of charges, without values.
    """
    connection.execute(text("DROP TABLE IF EXISTS fee_answer"))
    connection.execute(text(_ANSWERS.format(touched=touched)))
    connection.execute(text("ANALYZE fee_answer"))
    rules = fee_rules_on(moment.day)
    values: dict[str, Any] = {
        **moment.values,
        "grace": rules.grace_days,
        "within": rules.answered_within_days,
    }
    moved: Counter[str] = Counter()
    back = 0
    for state, count, returned in connection.execute(text(_MOVE), values):
        moved[state] += count
        back = returned
    for state, count in connection.execute(text(_GIVE_BACK), values):
        if state in ("refunded", "taken_back"):
            moved[state] += count
    connection.execute(text(_CREDIT), moment.values)
    connection.execute(text(_FIND.format(touched=touched)))
    return Booked(+moved, back)


def book_what_waits(connection: Connection, moment: Moment) -> Booked:
    """Book once more what could not be booked, where something has changed meanwhile."""
    return book(connection, _PENDING, moment)
