"""Charges and the journal: what all steps have in common when they move one and book the other.

The one place that ends a charge that nobody pays, and that takes something off one. Each entry is put on one
account and taken from another, so that the journal balances by construction; the sums that a charge holds are
moved in the statement that books them. Called by every step; knows no rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.errors import BadInput
from fatoura.fees.states import Account, ChargeState

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection

LOCK = "fees"
"""Whoever moves charges holds this: the monthly run, the answers of the billing system, commands."""

MARK = "F"
"""What the id of a charge begins with outside: no spreadsheet takes it for a number."""

_CHARGE_ID = re.compile(f"{MARK}([1-9][0-9]{{0,17}})")


def is_charge_id(told: str) -> bool:
    """Tell whether this may be the id of a charge: ``F`` and a number."""
    return _CHARGE_ID.fullmatch(told) is not None


def charge_number(told: str) -> int:
    """Return the number of a charge.

    :raises BadInput: when it is not of that form.
    """
    match = _CHARGE_ID.fullmatch(told.strip().upper())
    if match is None:
        raise BadInput(f"a charge is named by {MARK} and its number, such as {MARK}123")
    return int(match[1])


def charge_id(alias: str = "c") -> str:
    """Return, as SQL, how a charge is named outside."""
    return f"('{MARK}' || {alias}.id)"


def number_in(column: str) -> str:
    """Return, as SQL, the number of the charge that a column names; nothing where it names none."""
    return f"CAST(substring({column} FROM '^{MARK}([1-9][0-9]*)$') AS bigint)"


@dataclass(frozen=True)
class Moment:
    """When, and by whom, something is done: what all statements of a step share.

    :param by: a workflow's run, or a person's name.
    """

    day: date
    by: str
    feed_id: int | None = None

    @classmethod
    def now(cls, by: str | None, feed_id: int | None = None) -> Moment:
        """Return the present one."""
        return cls(clock.today(), by or "fatoura", feed_id)

    @property
    def values(self) -> dict[str, Any]:
        """The values that the statements ask for."""
        return {"day": self.day, "now": clock.now(), "by": self.by, "feed": self.feed_id}


BOOK = """
INSERT INTO fee_entry (charge_id, subscription_id, day, booked_at, debit, credit, amount_millimes, because,
    feed_id, booked_by)
"""
BOOKED_AT = "CAST(:day AS date), CAST(:now AS timestamptz)"
BOOKED_BY = "CAST(:feed AS int), CAST(:by AS text)"

_BACK = "s.state = 'lapsed' AND c.lapsed_on IS NOT NULL"
COVERED_FROM = f"CASE WHEN {_BACK} THEN CAST(:day AS date) ELSE c.period_start END"
"""The first day that a charge `c` pays for, of a subscription `s`: who comes back after a lapse by paying
gets a whole year from the day on which that is known, and not the rest of one that went by in silence."""
COVERED_UNTIL = f"""CASE WHEN {_BACK} THEN CAST(CAST(:day AS date) + interval '1 year' AS date) - 1
    ELSE c.period_end END"""

RENEW = """
UPDATE subscription s
SET paid_until = greatest(s.paid_until, covered.until), free_because = covered.free,
    began_on = coalesce(covered.back_on, s.began_on),
    state = CASE WHEN covered.back_on IS NULL THEN s.state ELSE 'active' END,
    state_reason = CASE WHEN covered.back_on IS NULL THEN s.state_reason END,
    changed_at = CASE WHEN covered.back_on IS NULL THEN s.changed_at ELSE CAST(:now AS timestamptz) END
FROM (
    SELECT subscription_id, max(covered_until) AS until, max(free) AS free,
        max(covered_from) FILTER (WHERE covered_from > period_start) AS back_on
    FROM covering GROUP BY subscription_id
) covered
WHERE s.id = covered.subscription_id AND s.state <> 'ended'
"""
"""Moves subscriptions on by charges `covering`: that count as paid now, with `free` where nobody pays."""

_FORGO = """
WITH chosen AS MATERIALIZED (
    {which}
), before AS (
    SELECT c.id, c.state, c.owed_millimes, c.amount_millimes, c.file_id, chosen.because
    FROM fee_charge c JOIN chosen ON chosen.charge_id = c.id
    ORDER BY c.id FOR UPDATE OF c
), covering AS (
    UPDATE fee_charge c
    SET state = :state, because = before.because, state_since = CAST(:now AS timestamptz), owed_millimes = 0,
        covered_from = CASE WHEN :covers THEN {covered_from} END,
        covered_until = CASE WHEN :covers THEN {covered_until} END
    FROM before, subscription s
    WHERE c.id = before.id AND s.id = c.subscription_id
    RETURNING c.id, c.subscription_id, c.period_start, c.covered_from, c.covered_until,
        before.because AS free, before.state AS was, before.owed_millimes AS owed,
        before.amount_millimes AS amount, before.file_id
), booked AS (
    {book}
    SELECT covering.id, subscription_id, {booked_at}, line.debit, line.credit, line.millimes, line.because,
        {booked_by}
    FROM covering CROSS JOIN LATERAL (VALUES
        -- A year that nobody is charged for is income forgone, as those are that had been charged.
        (1, 'receivable', 'income', CASE WHEN :covers AND was = 'announced' THEN amount ELSE 0 END,
            'charged'),
        (2, CAST(:account AS text), 'receivable',
            CASE WHEN :covers AND was = 'announced' THEN amount ELSE owed END, free)
    ) line (number, debit, credit, millimes, because)
    WHERE line.millimes > 0
    ORDER BY covering.id, line.number
), told AS (
    -- What the billing system has refused to take it does not ask for.
    INSERT INTO fee_credit (charge_id, amount_millimes, because, ordered_on, ordered_by)
    SELECT id, owed, free, CAST(:day AS date), :by FROM covering
    WHERE file_id IS NOT NULL AND was <> 'rejected' AND owed > 0
    ORDER BY id
), renewed AS (
    {renew} AND :covers
    RETURNING s.id
)
SELECT count(*), (SELECT count(*) FROM renewed) FROM covering
"""


def waive(connection: Connection, which: str, moment: Moment, **values: Any) -> int:
    """Let nobody pay charges, and let their years count as paid; return how many.

    :param which: a SELECT of `charge_id` and `because`, with `values`: charges in a state that may become
        waived, each once.
    """
    return _forgo(connection, which, moment, ChargeState.WAIVED, Account.WAIVED, values)


def withdraw(connection: Connection, which: str, moment: Moment, **values: Any) -> int:
    """Let nobody pay charges, and let their years not count; return how many. `which` as for `waive`."""
    return _forgo(connection, which, moment, ChargeState.WITHDRAWN, Account.GIVEN_UP, values)


def _forgo(
    connection: Connection,
    which: str,
    moment: Moment,
    state: ChargeState,
    account: Account,
    values: dict[str, Any],
) -> int:
    statement = _FORGO.format(
        which=which,
        covered_from=COVERED_FROM,
        covered_until=COVERED_UNTIL,
        book=BOOK,
        booked_at=BOOKED_AT,
        booked_by=BOOKED_BY,
        renew=RENEW,
    )
    told = {
        **values,
        **moment.values,
        "state": state.value,
        "account": account.value,
        "covers": state is ChargeState.WAIVED,
    }
    return int(connection.execute(text(statement), told).scalar_one())


_TAKE_OFF = f"""
WITH chosen AS MATERIALIZED (
    {{which}}
), before AS (
    SELECT c.id, c.subscription_id, c.state, c.file_id, chosen.because, chosen.millimes,
        c.owed_millimes > 0 AS is_owed
    FROM fee_charge c JOIN chosen ON chosen.charge_id = c.id
    WHERE chosen.millimes > 0
    ORDER BY c.id FOR UPDATE OF c
), moved AS (
    UPDATE fee_charge c
    SET owed_millimes = c.owed_millimes - CASE WHEN before.is_owed THEN before.millimes ELSE 0 END,
        owed_back_millimes = c.owed_back_millimes + CASE WHEN before.is_owed THEN 0 ELSE before.millimes END
    FROM before WHERE c.id = before.id
    RETURNING c.id
), booked AS (
    {BOOK}
    SELECT id, subscription_id, {BOOKED_AT}, '{Account.CREDITED}',
        CASE WHEN is_owed THEN '{Account.RECEIVABLE}' ELSE '{Account.PAYABLE}' END, millimes, because,
        {BOOKED_BY}
    FROM before ORDER BY id
), told AS (
    INSERT INTO fee_credit (charge_id, amount_millimes, because, ordered_on, ordered_by)
    SELECT id, millimes, because, CAST(:day AS date), :by FROM before
    WHERE file_id IS NOT NULL AND state <> 'rejected'
    ORDER BY id
)
SELECT count(*), coalesce(sum(millimes), 0) FROM before
"""


def take_off(connection: Connection, which: str, moment: Moment, **values: Any) -> tuple[int, int]:
    """Take something off charges; return off how many, and how much. Their years stay as they are.

    Off one that is owed, so much less is asked for; what was paid is given back.

    :param which: a SELECT of `charge_id`, `millimes` and `because`, with `values`: less than what is owed, or
        no more than what was paid and is not given back, each charge once.
    """
    count, millimes = connection.execute(
        text(_TAKE_OFF.format(which=which)), {**values, **moment.values}
    ).one()
    return int(count), int(millimes)
