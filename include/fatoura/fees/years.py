"""Which years of which subscriptions come next: by anniversaries, and by what is charged or free already.

Called by announcing and charging. Years are counted from the day on which a subscription began, so that one
that began on 29 February has its years from 28 February on, and from the 29th in leap years. Changes nothing.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.errors import BadInput
from fatoura.fees.rules import FIRST_YEAR, TRIAL, all_fee_rules
from fatoura.fees.states import OPEN, listed

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.fees.rules import FeeRules

WAIVERS = """
SELECT DISTINCT ON (customer_reference, because) id, customer_reference, because, valid_from, valid_until
FROM fee_waiver ORDER BY customer_reference, because, id DESC
"""
"""Waivers as they stand: of one customer and code the last one that was told."""


def free_because(subscription: str, first_day: str) -> str:
    """Return, as SQL, why a year is free; null when it is not. Asks for the values of `free_values`.

    :param subscription: the alias of a subscription.
    :param first_day: the year's first day, as SQL.
    """
    return f"""coalesce(
        (
            SELECT w.because FROM ({WAIVERS}) w
            WHERE w.customer_reference = {subscription}.customer_reference AND w.valid_from <= {first_day}
                AND (w.valid_until IS NULL OR w.valid_until >= {first_day})
            ORDER BY w.id LIMIT 1
        ),
        CASE WHEN {first_day} <= :trial_until
                AND (:trial_of = 'all' OR (:trial_of = 'study' AND {subscription}.study_arm IS NOT NULL))
            THEN '{TRIAL}' END
    )"""


def free_values(rules: FeeRules) -> dict[str, Any]:
    """Return the values that `free_because` asks for."""
    return {"trial_until": rules.trial.until, "trial_of": rules.trial.of}


def month_of(told: str) -> date | None:
    """Read a month such as ``2026-07``; nothing for an empty text.

    :raises BadInput: for anything else.
    """
    if not told.strip():
        return None
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", told.strip()):
        raise BadInput(f"{told!r} is no month: write it like 2026-07")
    return date.fromisoformat(f"{told.strip()}-01")


IN_MONTH = """(CAST(:month AS date) IS NULL OR ({0} >= CAST(:month AS date)
    AND {0} < CAST(CAST(:month AS date) + interval '1 month' AS date)))"""

_YEARS = "CAST(extract(year FROM {first}) - extract(year FROM {anchor}) AS int)"
_ANNIVERSARY = "CAST({anchor} + make_interval(years => {years}) AS date)"

# The last year that was paid or free tells the next one; one that the billing system refused to charge is
# passed over. A day that is no anniversary, for it comes after a pause, is one from then on.
_GATHER = f"""
CREATE TEMPORARY TABLE fee_year ON COMMIT DROP AS
WITH candidate AS (
    SELECT s.*, greatest(s.paid_until, held.until) + 1 AS next
    FROM subscription s LEFT JOIN LATERAL (
        SELECT bool_or(c.state IN ({listed(OPEN)})) AS is_open,
            max(c.period_end) FILTER (WHERE c.state = 'rejected') AS until
        FROM fee_charge c WHERE c.subscription_id = s.id
    ) held ON true
    WHERE s.state = 'active' AND s.paid_until < CAST(:horizon AS date) AND held.is_open IS NOT TRUE
), dated AS (
    SELECT *, CASE WHEN next < CAST(:earliest AS date) THEN CAST(:day AS date) ELSE next END AS period_start
    FROM candidate
), anchored AS (
    SELECT *, CASE
        WHEN period_start = {
    _ANNIVERSARY.format(anchor="began_on", years=_YEARS.format(first="period_start", anchor="began_on"))
}
            THEN began_on ELSE period_start END AS anchor
    FROM dated
    WHERE period_start <= CAST(:horizon AS date) AND {IN_MONTH.format("period_start")}
)
SELECT a.id AS subscription_id, a.customer_reference, a.period_start,
    {
    _ANNIVERSARY.format(
        anchor="a.anchor", years=_YEARS.format(first="a.period_start", anchor="a.anchor") + " + 1"
    )
}
        - 1 AS period_end,
    a.anchor, a.anchor <> a.began_on AS moves, price.version, price.millimes,
    CASE WHEN :first_is_free AND a.next = a.began_on AND NOT EXISTS (
            SELECT FROM subscription former
            WHERE former.customer_reference = a.customer_reference AND former.id < a.id
        ) THEN '{FIRST_YEAR}' ELSE {free_because("a", "a.period_start")} END AS free
FROM anchored a
JOIN unnest(
    CAST(:versions AS text[]), CAST(:prices AS bigint[]), CAST(:froms AS date[]), CAST(:untils AS date[])
) AS price (version, millimes, valid_from, valid_until)
    ON a.period_start >= price.valid_from AND a.period_start < price.valid_until
"""


def gather_due_years(connection: Connection, day: date, rules: FeeRules, *, month: date | None) -> int:
    """Gather the years that are to be announced, or are free, in the table `fee_year`; return how many.

    It lasts for this transaction, one row a subscription: `period_start` and `period_end`, the `anchor` from
    which its years count and whether that `moves`, what it costs by which `version`, and why it is `free`.

    :param month: only years that begin in this one; none: all.
    """
    versions = all_fee_rules().versions
    froms = [date.min, *(one.valid_from for one in versions[1:])]
    connection.execute(text("DROP TABLE IF EXISTS fee_year"))
    gathered = connection.execute(
        text(_GATHER),
        {
            "day": day,
            "month": month,
            "horizon": date.fromordinal(day.toordinal() + rules.announce_days_ahead),
            "earliest": date.fromordinal(day.toordinal() - rules.back_dated_days),
            "first_is_free": rules.first_year == "free",
            "versions": [one.version for one in versions],
            "prices": [one.price_millimes for one in versions],
            "froms": froms,
            "untils": [*froms[1:], date.max],
            **free_values(rules),
        },
    ).rowcount
    connection.execute(text("ANALYZE fee_year"))
    return gathered
