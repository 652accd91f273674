"""A service of subscriptions with two years behind it, written straight into the tables: to look at.

All invented, and the same for the same numbers. What the journal holds follows from the charges, so that the
books agree; states follow from what is unpaid. It is no run of the workflows: those have tests of their own.

As a script it fills the application's database and writes all pages:
``FATOURA_DATABASE_URL=… python -m tests.database.seeded_subscriptions 20000``.
"""

from __future__ import annotations

import sys
from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

TODAY = date(2026, 6, 17)
_LIFE = """
CREATE TEMPORARY TABLE life AS
WITH place AS MATERIALIZED (
    SELECT code, row_number() OVER (ORDER BY md5(code)) - 1 AS number, count(*) OVER () AS places
    FROM district
), drawn AS MATERIALIZED (
    SELECT i, random() AS a, random() AS b, random() AS c, random() AS d, random() AS e, random() AS f,
        random() AS g, random() AS h
    FROM generate_series(1, :subscribers) i
), began AS (
    SELECT *, CAST(:today AS date) - CAST(
        -- A third came with the launch, the rest ever more slowly.
        CASE WHEN a < 0.34 THEN :days - 75 * b ELSE :days * power(b, 0.8) END AS int) AS began
    FROM drawn
)
SELECT i AS id, lpad(CAST(i AS text), 9, '0') AS reference, began,
    CASE WHEN c < 0.85 - 0.55 * (1 - CAST(CAST(:today AS date) - began AS float) / :days) THEN 'coupon'
        ELSE 'web' END AS channel,
    CASE WHEN d < 0.71 THEN 'ar' ELSE 'fr' END AS language,
    (SELECT code FROM place WHERE number = CAST(floor(power(e, 2.2) * places) AS int)) AS district,
    CASE WHEN f < 0.11 AND began + CAST(20 + 500 * g AS int) < CAST(:today AS date)
        THEN began + CAST(20 + 500 * g AS int) END AS ended,
    CASE WHEN h < 0.62 THEN 'left' WHEN h < 0.92 THEN 'contract_ended' WHEN h < 0.97 THEN 'crossed_out'
        ELSE 'erased' END AS why,
    CASE WHEN f > 0.965 THEN began + 3 END AS unreachable, g, h
FROM began
"""
_YEAR = """
CREATE TEMPORARY TABLE year AS
SELECT l.id, l.reference, l.began, l.ended, k, random() AS u, random() AS v,
    CAST(l.began + make_interval(years => k) AS date) AS starts,
    CAST(l.began + make_interval(years => k + 1) AS date) - 1 AS ends
FROM life l CROSS JOIN generate_series(0, 3) k
WHERE l.began + make_interval(years => k) < CAST(:today AS date) + 20
    AND (l.ended IS NULL OR l.began + make_interval(years => k) < l.ended)
"""
# What became of each year's charge: most are paid within weeks.
_CHARGE = """
CREATE TEMPORARY TABLE way AS
SELECT y.*, CASE
        WHEN u < 0.09 THEN 'waived'
        WHEN starts - 15 > CAST(:today AS date) THEN 'announced'
        WHEN u < 0.10 THEN 'rejected'
        WHEN u < 0.88 AND starts + CAST(5 + 70 * v AS int)
            < least(CAST(:today AS date), coalesce(ended, CAST(:today AS date))) THEN 'paid'
        WHEN ended IS NOT NULL THEN 'withdrawn'
        WHEN starts + 12 > CAST(:today AS date) THEN 'filed'
        WHEN u > 0.96 AND starts + 40 < CAST(:today AS date) THEN 'refused'
        ELSE 'accepted' END AS state,
    starts + CAST(5 + 70 * v AS int) AS paid_on, starts - 15 AS charged_on
FROM year y
"""
_STEPS = (
    """
    INSERT INTO customer (customer_reference, district, contract, told_in, feed_id, row_number)
    SELECT reference, district, CASE WHEN ended IS NOT NULL AND why = 'contract_ended' THEN 'closed'
        ELSE 'open' END, 'seed', 0, id FROM life
    """,
    """
    INSERT INTO subscription (customer_reference, phone, language, state, state_reason, channel, consent_date,
        proven_at, began_on, created_at, changed_at, ended_at)
    SELECT reference, '+21620' || lpad(CAST(id % 1000000 AS text), 6, '0'), language,
        CASE WHEN ended IS NOT NULL THEN 'ended' WHEN unreachable IS NOT NULL THEN 'suspended'
            ELSE 'active' END,
        CASE WHEN ended IS NOT NULL THEN why
            WHEN unreachable IS NOT NULL THEN CASE WHEN h < 0.9 THEN 'number_unreachable'
                ELSE 'paused_by_clerk' END END,
        channel, began, CASE WHEN unreachable IS NULL THEN began + interval '30 hours' END, began,
        began + interval '9 hours', began + interval '9 hours', ended + interval '10 hours'
    FROM life ORDER BY id
    """,
    """
    INSERT INTO consent (customer_reference, subscription_id, act, channel, evidence, given_on, recorded_at,
        recorded_by)
    SELECT reference, s.id, 'revoked', CASE WHEN why = 'contract_ended' THEN 'utility'
            WHEN why = 'crossed_out' THEN 'coupon' WHEN g < 0.5 THEN 'web' WHEN g < 0.85 THEN 'clerk'
            ELSE 'keyword' END,
        'seed', ended, ended + interval '10 hours', 'seed'
    FROM life l JOIN subscription s ON s.customer_reference = l.reference WHERE ended IS NOT NULL
    """,
    """
    INSERT INTO fee_file (name, day, charges, charged_millimes, credits, credited_millimes, made_at)
    SELECT to_char(charged_on, 'YYYY-MM-01-1'), min(charged_on), count(*), count(*) * 1000, 0, 0,
        min(charged_on) + interval '11 hours'
    FROM way WHERE state NOT IN ('announced', 'waived') GROUP BY 1 ORDER BY 1
    """,
    """
    INSERT INTO fee_charge (subscription_id, customer_reference, period_start, period_end, amount_millimes,
        rules_version, state, because, state_since, announced_on, charged_on, told_on, told_millimes, file_id,
        grace_until, owed_millimes, paid_millimes, paid_on, covered_from, covered_until, lapsed_on)
    SELECT s.id, w.reference, starts, w.ends, 1000, '2026-1', w.state,
        CASE w.state WHEN 'waived' THEN CASE WHEN v < 0.6 THEN 'trial' WHEN v < 0.9 THEN 'social'
            ELSE 'staff' END WHEN 'withdrawn' THEN coalesce(s.state_reason, 'left') END,
        starts + interval '12 hours', starts - 45,
        CASE WHEN w.state NOT IN ('announced', 'waived') THEN charged_on END,
        f.day, CASE WHEN f.id IS NOT NULL THEN 1000 END, f.id, starts + 90,
        CASE WHEN w.state IN ('rejected', 'filed', 'accepted', 'refused') THEN 1000 ELSE 0 END,
        CASE WHEN w.state = 'paid' THEN 1000 ELSE 0 END, CASE WHEN w.state = 'paid' THEN paid_on END,
        CASE WHEN w.state IN ('paid', 'waived') THEN starts END,
        CASE WHEN w.state IN ('paid', 'waived') THEN w.ends END,
        CASE WHEN w.state IN ('accepted', 'refused') AND starts + 90 < CAST(:today AS date)
            AND s.state = 'active' THEN starts + 91 END
    FROM way w JOIN subscription s ON s.customer_reference = w.reference
    LEFT JOIN fee_file f ON w.state NOT IN ('announced', 'waived')
        AND f.name = to_char(charged_on, 'YYYY-MM-01-1')
    ORDER BY w.charged_on, s.id
    """,
    # Some have paid late, and are back.
    """
    UPDATE fee_charge c SET state = 'paid', owed_millimes = 0, paid_millimes = 1000, paid_on = lapsed_on + 20,
        covered_from = lapsed_on + 20, covered_until = lapsed_on + 384
    WHERE lapsed_on + 20 < CAST(:today AS date) AND id % 3 = 0
    """,
    """
    UPDATE subscription s SET state = 'lapsed', state_reason = 'fee_unpaid'
    FROM fee_charge c WHERE c.subscription_id = s.id AND c.lapsed_on IS NOT NULL AND c.state <> 'paid'
        AND s.state = 'active'
    """,
    """
    INSERT INTO fee_entry (charge_id, subscription_id, day, booked_at, debit, credit, amount_millimes,
        because)
    SELECT charge_id, subscription_id, day, day + interval '12 hours', debit, credit, 1000, because FROM (
        SELECT id AS charge_id, subscription_id, coalesce(charged_on, period_start - 15) AS day,
            'receivable' AS debit, 'income' AS credit, 'charged' AS because, 1 AS n
        FROM fee_charge WHERE state <> 'announced'
        UNION ALL SELECT id, subscription_id, period_start - 15, 'waived', 'receivable', because, 2
        FROM fee_charge WHERE state = 'waived'
        UNION ALL SELECT id, subscription_id, paid_on, 'collected', 'receivable', 'paid', 3
        FROM fee_charge WHERE state = 'paid'
        UNION ALL SELECT id, subscription_id, least(period_start + 60, CAST(:today AS date)), 'given_up',
            'receivable', because, 4
        FROM fee_charge WHERE state = 'withdrawn'
    ) entry ORDER BY day, n, charge_id
    """,
    # A few were given back.
    """
    WITH given AS (
        UPDATE fee_charge SET state = 'refunded', given_back_millimes = 1000
        WHERE state = 'paid' AND id % 90 = 0 AND paid_on + 9 < CAST(:today AS date)
        RETURNING id, subscription_id, paid_on
    ), told AS (
        INSERT INTO fee_credit (charge_id, amount_millimes, because, ordered_on, ordered_by)
        SELECT id, 1000, 'contract_ended', paid_on + 5, 'seed' FROM given
    )
    INSERT INTO fee_entry (charge_id, subscription_id, day, booked_at, debit, credit, amount_millimes,
        because)
    SELECT id, subscription_id, paid_on + 5, paid_on + 5, 'credited', 'payable', 1000, 'contract_ended'
    FROM given
    UNION ALL SELECT id, subscription_id, paid_on + 9, paid_on + 9, 'payable', 'collected', 1000, 'refunded'
    FROM given
    """,
    """
    INSERT INTO fee_result (charge_id, result, amount_millimes, at, feed_id, row_number, told_in)
    SELECT 'F' || id, result, 1000, at, 0, id, 'seed' FROM (
        SELECT id, 'accepted' AS result, charged_on + interval '3 days' AS at FROM fee_charge
        WHERE state IN ('accepted', 'paid', 'refused', 'refunded')
        UNION ALL SELECT id, 'paid', paid_on + interval '8 hours' FROM fee_charge
        WHERE state IN ('paid', 'refunded')
        UNION ALL SELECT id, 'rejected', charged_on + interval '3 days' FROM fee_charge
        WHERE state = 'rejected'
        UNION ALL SELECT id, 'refused', period_start + interval '40 days' FROM fee_charge
        WHERE state = 'refused'
        UNION ALL SELECT id, 'refunded', paid_on + interval '9 days' FROM fee_charge WHERE state = 'refunded'
    ) told
    """,
    """
    INSERT INTO coupon (coupon_id, scan_id, customer_reference, language, signed_on, wording_version,
        crossed_out, told_in, feed_id, row_number, outcome, reason, judged_at)
    SELECT 'C' || id || extra.kind, 'S' || id, reference, language, began - 9, 'c-1', false, 'seed', 0, id,
        extra.outcome, extra.reason, began + interval '8 hours'
    FROM life CROSS JOIN LATERAL (VALUES
        ('a', 'enrolled', CAST(NULL AS text), true), ('b', 'unchanged', NULL, g < 0.02),
        ('c', 'changed', NULL, g BETWEEN 0.02 AND 0.05), ('d', 'refused', 'reference_unknown', h < 0.015),
        ('e', 'refused', 'conflicting_coupons', h BETWEEN 0.015 AND 0.022),
        ('f', 'refused', 'many_contracts', h BETWEEN 0.022 AND 0.025), ('g', 'superseded', NULL, h > 0.99),
        ('h', 'crossed_out', NULL, ended IS NOT NULL AND why = 'crossed_out'),
        ('i', 'waits', NULL, h BETWEEN 0.98 AND 0.983 AND began + 20 > CAST(:today AS date))
    ) extra (kind, outcome, reason, told)
    WHERE channel = 'coupon' AND extra.told
    """,
    """
    INSERT INTO verification (visit, action, customer_reference, language, asked_at, expires_at, verified_at,
        outcome, ended_at)
    SELECT 'seed', act.action, reference, language, act.at, act.at + interval '10 minutes',
        act.at + interval '1 minute', act.outcome, act.at + interval '2 minutes'
    FROM life CROSS JOIN LATERAL (VALUES
        ('subscribe', 'subscribed', began + interval '9 hours', channel = 'web'),
        ('manage', 'language_changed', began + interval '50 days', g < 0.03),
        ('manage', NULL, began + interval '70 days', g BETWEEN 0.03 AND 0.12),
        ('change_number', 'number_changed', began + interval '90 days', h < 0.04),
        ('manage', 'left', ended + interval '10 hours', ended IS NOT NULL AND why = 'left' AND g < 0.5)
    ) act (action, outcome, at, told)
    WHERE act.told AND act.at < CAST(:today AS date)
    """,
    """
    INSERT INTO departure (departure_id, customer_reference, asked_on, told_by, feed_id, row_number, told_in,
        outcome, applied_at)
    SELECT 'D' || id, reference, ended, 'seed', 0, id, 'seed', CASE WHEN h < 0.05 THEN 'not_subscribed'
        ELSE 'left' END, ended + interval '10 hours'
    FROM life WHERE ended IS NOT NULL AND why = 'left' AND g BETWEEN 0.5 AND 0.85
    """,
    """
    INSERT INTO inbound_message (gateway, received_at, act, outcome, subscriptions)
    SELECT 'seed', ended + interval '10 hours', 'leave', 'left', 1
    FROM life WHERE ended IS NOT NULL AND why = 'left' AND g > 0.85
    """,
)
_MESSAGES = (
    """
    INSERT INTO cycle (key, purpose, issue_date)
    SELECT 'seed-' || purpose || '-' || CAST(CAST(month AS date) AS text), purpose, CAST(month AS date) + 14
    FROM generate_series(date_trunc('month', CAST(:today AS date) - :days),
        CAST(:today AS date) - interval '15 days', interval '1 month') month
    CROSS JOIN unnest(ARRAY['billing', 'cutoff', 'payment_received', 'subscription_news', 'welcome']) purpose
    """,
    # A bill every other month; the rest by chance, once a month at most.
    """
    INSERT INTO notice (kind, subject, sequence, cycle_id, subscription_id, language, encoding, segments,
        priority, send_from, send_until, validity_minutes, state, attempts, state_since, submitted_at,
        final_at)
    SELECT kind, CAST(c.id AS text) || '-' || CAST(l.id AS text), 1, c.id, l.id, language, 'ucs2',
        CASE WHEN language = 'ar' AND l.h < 0.2 THEN 2 ELSE 1 END, 5, c.issue_date, c.issue_date + 2, 600,
        CASE WHEN random() < 0.955 THEN 'delivered' WHEN random() < 0.7 THEN 'undeliverable'
            ELSE 'expired' END, 1, c.issue_date + 1, c.issue_date + interval '10 hours', c.issue_date + 1
    FROM cycle c JOIN life l ON (l.ended IS NULL OR l.ended > c.issue_date) AND CASE
            WHEN c.purpose = 'welcome' THEN l.began >= date_trunc('month', c.issue_date)
                AND l.began < date_trunc('month', c.issue_date) + interval '1 month'
            ELSE l.began < c.issue_date END
    CROSS JOIN LATERAL (SELECT CASE c.purpose
        WHEN 'billing' THEN CASE WHEN (l.id + CAST(extract(month FROM c.issue_date) AS int)) % 2 = 0
            THEN 'bill' END
        WHEN 'cutoff' THEN CASE WHEN random() < 0.045 THEN 'cutoff_warning'
            WHEN random() < 0.1 THEN 'due_reminder' END
        WHEN 'payment_received' THEN CASE WHEN random() < 0.02 THEN 'payment_received' END
        WHEN 'welcome' THEN CASE WHEN l.channel = 'coupon' THEN 'welcome' END
        ELSE CASE WHEN extract(month FROM l.began) = extract(month FROM c.issue_date + interval '45 days')
            THEN 'fee_announced' WHEN extract(month FROM l.began) = extract(month FROM c.issue_date)
            AND l.g < 0.85 THEN 'subscription_renewed' END END AS kind) said
    WHERE kind IS NOT NULL AND c.key LIKE 'seed-%'
    ORDER BY c.id, l.id
    """,
    """
    INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at, answered_at, outcome)
    SELECT id, 1, 'seed', 'seed', submitted_at, submitted_at,
        CASE WHEN random() < 0.999 OR state = 'delivered' THEN 'accepted' ELSE 'in_doubt' END
    FROM notice ORDER BY submitted_at
    """,
)
# The last day of each month, and each of the last eighty.
_COUNTS = """
INSERT INTO subscriber_count (day, state, channel, language, district, subscribers)
WITH counted AS MATERIALIZED (
    SELECT CAST(day AS date) AS day
    FROM generate_series(CAST(:today AS date) - :days, CAST(:today AS timestamp), '1 day') day
    WHERE day > CAST(:today AS date) - 80 OR extract(day FROM day + interval '1 day') = 1
), lapse AS MATERIALIZED (
    SELECT DISTINCT day, customer_reference AS reference FROM counted
    JOIN fee_charge ON lapsed_on <= day AND (state <> 'paid' OR covered_from > day)
)
SELECT day, CASE WHEN lapse.reference IS NOT NULL THEN 'lapsed' WHEN unreachable <= day THEN 'suspended'
        ELSE 'active' END,
    l.channel, l.language, l.district, count(*)
FROM counted JOIN life l ON l.began <= day AND (l.ended IS NULL OR l.ended > day)
LEFT JOIN lapse USING (day, reference)
GROUP BY 1, 2, 3, 4, 5
"""


def seed_subscriptions(
    connection: Connection, subscribers: int, *, days: int = 715, today: date = TODAY, counted: bool = True
) -> None:
    """Fill an empty, migrated database with a service that began so many days ago.

    :param counted: whether counts of days are written down; for large numbers, where they are not looked at.
    """
    values = {"subscribers": subscribers, "days": days, "today": today}
    connection.execute(text("SELECT setseed(0.42)"))
    # The state machines watch steps, and these are ends.
    connection.execute(text("SET LOCAL session_replication_role = replica"))
    for statement in (_LIFE, _YEAR, _CHARGE, *_STEPS, *_MESSAGES, *([_COUNTS] if counted else [])):
        connection.execute(text(statement), values)
    connection.execute(text("DROP TABLE life, year, way"))
    connection.execute(text("SET LOCAL session_replication_role = DEFAULT"))


if __name__ == "__main__":
    from fatoura.database import begin
    from fatoura.extracts.districts import seed_districts
    from fatoura.reports.subscriptions import count_today, write_month_report, write_service_report

    with begin() as filled:
        seed_districts(filled)
        seed_subscriptions(filled, int(sys.argv[1]))
    count_today()
    for written in (date(2026, 4, 1), date(2026, 5, 1), TODAY):
        write_month_report(written)
    sys.stdout.write(f"{write_service_report()}\n")
