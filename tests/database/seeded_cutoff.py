"""Builds weeks of cut-off warnings straight in the tables, seeded, of any size, to test their reports on.

A small stand-in of the daily runs: feeds, decisions, messages, letters and teams, day after day. Cases and
notices take only the steps that the state machines allow: the database would refuse others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from fatoura.calendar import load_calendar
from tests.database.seeded_cycle import _RANDOM, DISTRICTS

FIRST_DUE = date(2026, 6, 15)
CHANNELS = ("counter", "post", "bank", "web", "app", "debit")
MINIMUM = 5_000


@dataclass(frozen=True)
class SeededCutoff:
    """What was built, and the words that must be in no file of a report."""

    cycles: list[str]
    days: list[date]
    secrets: list[str] = field(repr=False)


def seed_cutoff(
    connection: Connection,
    *,
    cycles: tuple[str, ...] = ("2026-05-T1",),
    cases: int = 400,
    days: int = 30,
    spread: int = 3,
    most: int = 25,
    stale: tuple[date, ...] = (),
    in_the_middle: bool = True,
) -> SeededCutoff:
    """Build `cases` cases of each cycle and live through `days` days, from three days before the deadline.

    :param spread: on how many days the deadlines lie.
    :param most: warnings of one day.
    :param stale: days whose feed of the bank is late: nobody is warned.
    :param in_the_middle: the last day ends while its messages are on their way.
    """
    seeding = _Seeding(connection, most)
    seeding.settle_the_ground(cycles, cases, spread)
    lived = [FIRST_DUE - timedelta(days=3) + timedelta(days=n) for n in range(days)]
    late = set(stale)
    for day in lived:
        seeding.live(day, stale=day in late, halfway=in_the_middle and day == lived[-1])
    secrets = connection.execute(
        text("SELECT customer_reference FROM cutoff_case UNION SELECT phone FROM subscription LIMIT 8000")
    )
    return SeededCutoff(list(cycles), lived, list(secrets.scalars()))


class _Seeding:
    def __init__(self, connection: Connection, most: int) -> None:
        self.connection = connection
        self.calendar = load_calendar(connection)
        self.values: dict[str, Any] = {"most": most, "minimum": MINIMUM, "rules": "2026-1"}

    def run(self, statement: str, **more: Any) -> Any:
        return self.connection.execute(text(statement), self.values | more)

    # --- Before the first day: bills, customers, and what each of them will do ---------------------------

    def settle_the_ground(self, cycles: tuple[str, ...], cases: int, spread: int) -> None:
        self.run(_RANDOM)
        self.connection.execute(
            text(
                "INSERT INTO district (code, name_fr, name_ar) VALUES (:code, :fr, :ar) "
                "ON CONFLICT DO NOTHING"
            ),
            [{"code": code, "fr": fr, "ar": ar} for code, fr, ar, _ in DISTRICTS],
        )
        total, edge, edges = sum(weight for *_, weight in DISTRICTS), 0.0, []
        for *_, weight in DISTRICTS:
            edge += weight / total
            edges.append(edge)
        dues = [FIRST_DUE + timedelta(days=n) for n in range(spread)]
        self.values |= {
            "codes": [code for code, *_ in DISTRICTS],
            "edges": edges[:-1],
            "dues": dues,
            "warn_from": [self.calendar.warn_from(due) for due in dues],
            "cases": cases,
        }
        self.run(_LIVES_TABLE)
        for number, key in enumerate(cycles):
            cycle = self.run(
                "INSERT INTO cycle (key, issue_date) VALUES (:key, :issued) RETURNING id",
                key=key,
                issued=FIRST_DUE - timedelta(days=26),
            ).scalar_one()
            more = {"key": key, "cycle_of_bills": cycle, "first": number * cases}
            self.run(_LIVES, **more)
            self.run(_BILLS, **more)
        if cases > 5000:  # the planner takes tables that were filled just now for small ones, and loops
            self.run("SET LOCAL enable_nestloop = off")
        self.run("ANALYZE life")
        self.run("ANALYZE cutoff_case")
        self.run(_MONEY)
        self.run("CREATE INDEX ON money (posted_on)")
        self.run("ANALYZE money")

    # --- A day -------------------------------------------------------------------------------------------

    def live(self, day: date, *, stale: bool, halfway: bool) -> None:
        def at(hour: float) -> datetime:
            return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 1)  # Tunis

        self.values |= {"day": day, "morning": at(6.2), "now": at(6.3)}
        self._feed(day, at(5.5), stale=stale)
        self._apply()
        if day.weekday() < 4:
            self._hand_over(at(7.5))
        if stale or self.calendar.window(day) is None:
            return
        self.values["now"] = at(9.5)
        self._decide(at(9.5), at(5.5))
        self._plan_and_send(at(9.6), halfway=halfway)
        if halfway:
            return
        self.values["now"] = at(13)
        self._conclude(at(13))
        self._letters(at(14.5))

    def _feed(self, day: date, complete_until: datetime, *, stale: bool) -> None:
        told = {
            channel: (complete_until - timedelta(days=3 if stale and channel == "bank" else 0)).isoformat()
            for channel in CHANNELS
        }
        feed = self.run(
            """
            INSERT INTO feed (content, name, source, location, manifest, digest, loaded_at, applied_at)
            VALUES ('payments', :name, 'landing', 'payments/' || :name, CAST(:manifest AS jsonb), :name,
                :morning, :morning) RETURNING id
            """,
            name=f"{day}T0600",
            manifest=json.dumps({"feed": f"{day}T0600", "complete_until": told}),
        ).scalar_one()
        self.values["feed"] = feed
        self.run(
            """
            INSERT INTO watermark (channel, complete_until, feed_id)
            SELECT channel, until, :feed FROM unnest(CAST(:channels AS text[]), CAST(:untils AS
                timestamptz[]))
                AS told (channel, until)
            ON CONFLICT (channel) DO UPDATE SET complete_until =
                greatest(watermark.complete_until, excluded.complete_until), feed_id = excluded.feed_id
            """,
            channels=list(told),
            untils=list(told.values()),
        )
        self.run(
            """
            INSERT INTO payment (payment_id, invoice_number, amount_millimes, paid_at, channel, kind,
                reverses,
                feed_id, row_number, known_until, counts_millimes, outcome)
            SELECT payment_id, invoice_number, amount, paid_at, channel, kind, reverses, :feed,
                row_number() OVER (ORDER BY payment_id), :morning,
                CASE kind WHEN 'payment' THEN amount ELSE -amount END, 'counted'
            FROM money WHERE posted_on = :day
            """
        )

    def _weigh(self, which: str, *, letters: bool) -> None:
        self.run("DROP TABLE IF EXISTS weighed")
        self.run(_WEIGH.format(which=which, letters="true" if letters else "false"))

    def _close(self, moment: str, *, kind: str | None = None, cycle: int | None = None) -> None:
        self.run(_CLOSE, moment=moment, kind=kind, cycle=cycle)

    def _apply(self) -> None:
        self._weigh(
            "c.state NOT IN ('paid', 'excluded') AND (c.invoice_number IN (SELECT invoice_number FROM money "
            "WHERE posted_on = :day) OR life.fact_from = :day)",
            letters=False,
        )
        self._close("feed")
        self.run(_REOPEN)
        self.run(_CONFIRM)
        for state in ("sending", "accepted", "delivered"):
            self.run(
                "UPDATE notice SET state = :state, attempts = 1, gateway = 'fatoura_sms', "
                "submitted_at = :now, final_at = CASE WHEN :state = 'delivered' THEN :now END "
                "WHERE kind = 'payment_received' AND state NOT IN (:state, 'delivered')",
                state=state,
            )

    def _hand_over(self, made_at: datetime) -> None:
        self._weigh("c.state IN ('warned', 'warned_again') AND c.cut_from <= :day", letters=False)
        self._close("hand_over")
        self.values["now"] = made_at
        self.run(_HAND_OVER, made_at=made_at)

    def _decide(self, decided_at: datetime, complete_until: datetime) -> None:
        cycle = self.run(
            "INSERT INTO cycle (key, purpose, issue_date) VALUES ('cutoff-' || :day, 'cutoff', :day) "
            "RETURNING id"
        ).scalar_one()
        self.values["cutoff"] = cycle
        counts: dict[str, Any] = {"rules": "2026-1"}
        waiting, room = 0, self.values["most"]
        for kind, which, notice_days in (
            (
                "cutoff_second_warning",
                "c.state = 'warned' AND c.under_way IS NULL AND c.cut_from - 4 <= :day",
                3,
            ),
            ("cutoff_warning", "c.state = 'scheduled' AND c.under_way IS NULL AND c.warn_from <= :day", 10),
        ):
            self._weigh(which, letters=True)
            self._close("due", kind=kind, cycle=cycle)
            earliest = self.values["day"] + timedelta(days=notice_days)
            while earliest.weekday() in (4, 5, 6):
                earliest += timedelta(days=1)
            notified, due = self.run(_NOTIFY, kind=kind, room=room, earliest=earliest).one()
            waiting += due - notified
            room -= notified
        self._weigh(
            "c.state = 'scheduled' AND c.due_date > :day AND c.due_date <= CAST(:day AS date) + 3 "
            "AND NOT EXISTS (SELECT FROM notice n WHERE n.kind = 'due_reminder' "
            "AND n.subject = c.invoice_number)",
            letters=True,
        )
        self.run(_NOTIFY, kind="due_reminder", room=10**9, earliest=None)
        counts |= {
            f"{kind}: {verdict}{' ' + reason if reason else ''}": n
            for kind, verdict, reason, n in self.run(
                "SELECT notice_kind, verdict, reason, count(*) FROM cutoff_decision "
                "WHERE cycle_id = :cutoff AND moment = 'due' GROUP BY 1, 2, 3"
            )
        }
        counts |= {"waiting": waiting, "watermarks": dict.fromkeys(CHANNELS, complete_until.isoformat())}
        self._stage("decide", decided_at, counts)

    def _stage(self, name: str, at: datetime, counts: dict[str, Any]) -> None:
        self.run(
            "INSERT INTO stage (cycle_id, name, run_id, started_at, finished_at, counts) VALUES "
            "(:cutoff, :name, 'run of ' || :day, :at, :until, CAST(:counts AS jsonb))",
            name=name,
            at=at,
            until=at + timedelta(seconds=4),
            counts=json.dumps(counts),
        )

    def _plan_and_send(self, start: datetime, *, halfway: bool) -> None:
        self.run(_PLAN, start=start)
        # A few have paid meanwhile: their message is claimed, judged once more, and never leaves.
        self._weigh(
            "c.under_way IN (SELECT id FROM notice WHERE cycle_id = :cutoff) AND pg_temp.random_of("
            "'claim' || CAST(:day AS date), life.n) < 0.02 AND life.pays_late",
            letters=False,
        )
        self.run("UPDATE weighed SET reason = 'paid'")
        self.run(
            """
            WITH paid AS (
                UPDATE money SET posted_on = CAST(:day AS date) - 400
                WHERE invoice_number IN (SELECT invoice_number FROM weighed) AND kind = 'payment'
                    AND posted_on > :day
                RETURNING payment_id, invoice_number, amount, channel
            )
            INSERT INTO payment (payment_id, invoice_number, amount_millimes, paid_at, channel, kind, feed_id,
                row_number, known_until, counts_millimes, outcome)
            SELECT payment_id, invoice_number, amount, :morning, channel, 'payment', :feed, 900000,
                :morning, amount,
                'counted' FROM paid
            """
        )
        self._close("claim")
        self.run(_SEND, start=start, part=0.55 if halfway else 2.0)
        self.run(_ANSWER, start=start, part=0.45 if halfway else 2.0)
        self.run(_RECEIVE, start=start, part=0.4 if halfway else 2.0)
        self._stage("send", start, {"lane": 1})

    def _conclude(self, at: datetime) -> None:
        self.run(_CONCLUDE, at=at)

    def _letters(self, made_at: datetime) -> None:
        self.run(_LETTERS, made_at=made_at)


_LIVES_TABLE = """
CREATE TEMPORARY TABLE life (
    n bigint, invoice_number text PRIMARY KEY, cycle_id int, district text, language text, due_date date,
    warn_from date, amount bigint, pays_on date, pays_late boolean, lag int, pays_share numeric, channel text,
    bounces boolean, fact text, fact_from date, fact_until date, unreachable text, fate float, second_fate
        float,
    seconds float
) ON COMMIT DROP
"""

# More than half pay in time; of those that are warned most pay within days, and some never do.
_LIVES = """
INSERT INTO life
SELECT n, :key || '-' || n, :cycle_of_bills, district, language, due, warn_from, amount,
    CASE WHEN pay < 0.52 THEN due - (late * 14)::int
        WHEN pay < 0.62 THEN due + (late * 4)::int
        WHEN pay < 0.90 THEN warn_from + least(-ln(late) * 6, 60)::int END,
    pay BETWEEN 0.62 AND 0.90,
    CASE WHEN lag < 0.6 THEN 0 WHEN lag < 0.9 THEN 1 ELSE 3 END,
    CASE WHEN share < 0.05 THEN 0.5 WHEN share < 0.07 THEN 0.97 ELSE 1 END,
    (ARRAY['counter', 'counter', 'counter', 'post', 'bank', 'web', 'app'])[1 + (lag * 7)::int % 7],
    pg_temp.random_of('bounce', n) < 0.012,
    CASE WHEN fact < 0.10 THEN (ARRAY['payment_plan', 'payment_plan', 'payment_plan', 'dispute',
        'direct_debit',
        'protected', 'estimate_review', 'cancelled', 'contract_ended'])[1 + (fact * 90)::int % 9] END,
    CASE WHEN fact < 0.08 THEN due - 10 WHEN fact < 0.10 THEN warn_from + 3 END,
    CASE WHEN fact < 0.012 THEN warn_from + 8 END,
    CASE WHEN reach < 0.012 THEN 'no_consent' WHEN reach < 0.016 THEN 'no_phone'
        WHEN reach < 0.022 THEN 'number_changed' END,
    pg_temp.random_of('fate', n), pg_temp.random_of('second', n), exp(1.4 + 2 * pg_temp.random_of('slow', n))
FROM (
    SELECT n, (CAST(:codes AS text[]))[1 + width_bucket(pg_temp.random_of('where', n),
            CAST(:edges AS double precision[]))] AS district,
        CASE WHEN pg_temp.random_of('language', n) < 0.81 THEN 'ar' ELSE 'fr' END AS language,
        (CAST(:dues AS date[]))[1 + n % cardinality(CAST(:dues AS date[]))] AS due,
        (CAST(:warn_from AS date[]))[1 + n % cardinality(CAST(:dues AS date[]))] AS warn_from,
        18000 + (pg_temp.random_of('amount', n) ^ 3 * 420000)::bigint AS amount,
        pg_temp.random_of('pay', n) AS pay, pg_temp.random_of('late', n) AS late,
        pg_temp.random_of('lag', n) AS lag, pg_temp.random_of('share', n) AS share,
        pg_temp.random_of('fact', n) AS fact, pg_temp.random_of('reach', n) AS reach
    FROM generate_series(CAST(:first AS bigint) + 1, CAST(:first AS bigint) + :cases) n
) drawn
"""

_BILLS = """
WITH customers AS (
    INSERT INTO subscription (customer_reference, phone, language, state, channel, consent_date)
    SELECT lpad((n + 400000000)::text, 9, '0'), CASE unreachable WHEN 'no_phone' THEN ''
            ELSE '+2165' || lpad(n::text, 7, '0') END,
        language, CASE unreachable WHEN 'no_consent' THEN 'suspended' ELSE 'active' END, 'coupon',
            '2026-01-05'
    FROM life WHERE cycle_id = :cycle_of_bills
    RETURNING id, customer_reference, phone
), bills AS (
    INSERT INTO notice (kind, subject, sequence, cycle_id, subscription_id, district, phone, language, text,
        encoding, segments, priority, send_from, send_until, validity_minutes, planned_at, state_since)
    SELECT 'bill', invoice_number, 1, :cycle_of_bills, customers.id, district, phone, language,
        'invented text', 'ucs2', 1, 50, '2026-05-20', '2026-06-10', 600, '2026-05-20', '2026-05-20'
    FROM life JOIN customers ON customer_reference = lpad((n + 400000000)::text, 9, '0')
    RETURNING id, subject, subscription_id
)
INSERT INTO cutoff_case (invoice_number, cycle_id, subscription_id, customer_reference, district, revision,
    notice_id, amount_due_millimes, issue_date, due_date, warn_from, created_at)
SELECT invoice_number, :cycle_of_bills, subscription_id, lpad((n + 400000000)::text, 9, '0'), life.district,
    0,
    bills.id, amount, '2026-05-20', due_date, warn_from, '2026-05-21'
FROM life JOIN bills ON subject = invoice_number ORDER BY n
"""

_MONEY = """
CREATE TEMPORARY TABLE money ON COMMIT DROP AS
SELECT 'P' || n AS payment_id, invoice_number, (amount * pays_share)::bigint AS amount,
    pays_on + time '10:30' + make_interval(mins => (n % 500)::int) AS paid_at, channel, 'payment' AS kind,
    CAST(NULL AS text) AS reverses,
    greatest(pays_on + lag + 1, (SELECT min(due_date) - 3 FROM life)) AS posted_on
FROM life WHERE pays_on IS NOT NULL AND amount * pays_share >= 1
UNION ALL
SELECT 'R' || n, invoice_number, (amount * pays_share)::bigint, pays_on + 6 + time '12:00', channel,
    'reversal',
    'P' || n, greatest(pays_on + 7, (SELECT min(due_date) FROM life))
FROM life WHERE pays_on IS NOT NULL AND bounces
"""

_WEIGH = """
CREATE TEMPORARY TABLE weighed ON COMMIT DROP AS
SELECT c.invoice_number, c.sequence, c.state, c.under_way, c.warning_id, owed.millimes AS balance,
    CASE WHEN owed.millimes <= 0 THEN 'paid'
        WHEN life.fact_from <= :day AND (life.fact_until IS NULL OR life.fact_until >= :day) THEN life.fact
        WHEN owed.millimes < :minimum THEN 'under_minimum'
        WHEN {letters} AND NOT c.state = 'warned' THEN life.unreachable END AS reason
FROM cutoff_case c JOIN life USING (invoice_number)
CROSS JOIN LATERAL (
    SELECT c.amount_due_millimes - coalesce(sum(p.counts_millimes), 0) AS millimes FROM payment p
    WHERE p.invoice_number = c.invoice_number
) owed
WHERE {which}
"""

_CLOSE = """
WITH closed AS (
    UPDATE cutoff_case c SET reason = w.reason, state_since = :now, under_way = NULL,
        state = CASE WHEN w.reason = 'paid' THEN 'paid'
            WHEN w.reason IN ('no_consent', 'no_phone', 'number_changed') THEN 'not_warned' ELSE 'excluded'
                END
    FROM weighed w
    WHERE c.invoice_number = w.invoice_number AND c.sequence = w.sequence AND w.reason IS NOT NULL
    RETURNING c.*, w.under_way AS was_under_way, w.balance
), called_back AS (
    UPDATE notice n SET state = 'cancelled', reason = closed.reason, state_since = :now, final_at = :now
    FROM closed WHERE n.id = closed.was_under_way AND n.state = 'planned'
)
INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, reason, notice_kind,
    notice_id, cycle_id, balance_millimes, rules_version)
SELECT invoice_number, sequence, :day, :now, :moment,
    CASE WHEN state = 'not_warned' THEN 'letter' WHEN warning_id IS NOT NULL THEN 'withdraw' ELSE
        'leave_out' END,
    reason, CAST(:kind AS text), was_under_way, CAST(:cycle AS int), balance, :rules
FROM closed
"""

_REOPEN = """
WITH opened AS (
    INSERT INTO cutoff_case (invoice_number, sequence, cycle_id, subscription_id, customer_reference,
        district,
        revision, notice_id, amount_due_millimes, issue_date, due_date, warn_from, opened_because,
            state_since,
        created_at)
    SELECT c.invoice_number, c.sequence + 1, c.cycle_id, c.subscription_id, c.customer_reference, c.district,
        c.revision, c.notice_id, c.amount_due_millimes, c.issue_date, c.due_date, greatest(c.warn_from, :day),
        CASE WHEN c.state = 'paid' THEN 'reversal' ELSE 'left_out_no_more' END, :now, :now
    FROM cutoff_case c JOIN life USING (invoice_number)
    WHERE (c.state = 'paid' AND c.invoice_number IN (
            SELECT invoice_number FROM money WHERE kind = 'reversal' AND posted_on = :day)
        OR c.state = 'excluded' AND c.reason = life.fact AND life.fact_until = CAST(:day AS date) - 1)
        AND NOT EXISTS (SELECT FROM cutoff_case later
            WHERE later.invoice_number = c.invoice_number AND later.sequence > c.sequence)
        AND c.amount_due_millimes - coalesce((
            SELECT sum(counts_millimes) FROM payment p WHERE p.invoice_number = c.invoice_number), 0) >=
                :minimum
    RETURNING *
)
INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, reason,
    balance_millimes, rules_version)
SELECT invoice_number, sequence, :day, :now, 'feed', 'reopen', opened_because, amount_due_millimes, :rules
FROM opened
"""

_CONFIRM = """
WITH cycle AS (
    INSERT INTO cycle (key, purpose, issue_date) SELECT 'payment-received-' || :day, 'payment_received', :day
    WHERE EXISTS (SELECT FROM cutoff_decision WHERE day = :day AND moment = 'feed' AND verdict = 'withdraw')
    RETURNING id
)
INSERT INTO notice (kind, subject, sequence, cycle_id, subscription_id, district, phone, language, text,
    encoding,
    segments, priority, send_from, send_until, validity_minutes, planned_at, state_since)
SELECT 'payment_received', c.invoice_number, c.sequence, cycle.id, c.subscription_id, c.district,
    '+21650000000',
    'ar', 'invented text', 'ucs2', 1, 30, :now, CAST(:now AS timestamptz) + interval '3 days', 600, :now, :now
FROM cutoff_decision d JOIN cutoff_case c USING (invoice_number, sequence), cycle
WHERE d.day = :day AND d.moment = 'feed' AND d.verdict = 'withdraw' AND d.reason IN ('paid', 'under_minimum')
"""

_HAND_OVER = """
WITH moved AS (
    UPDATE cutoff_case c SET state = 'handed_over', state_since = :now FROM weighed w
    WHERE c.invoice_number = w.invoice_number AND c.sequence = w.sequence AND w.reason IS NULL
        AND c.under_way IS NULL
    RETURNING c.*, w.balance
), list AS (
    INSERT INTO cutoff_list (kind, day, made_at, watermarks, rules_version)
    SELECT 'hand_over', :day, :made_at, '{}', :rules WHERE EXISTS (SELECT FROM moved) RETURNING id
), lines AS (
    INSERT INTO cutoff_list_line (list_id, invoice_number, sequence, balance_millimes, notice_id,
        delivered_at)
    SELECT list.id, invoice_number, sequence, balance, warning_id, warned_at FROM moved, list
), call_back AS (
    INSERT INTO cutoff_list (kind, day, made_at, watermarks, rules_version)
    SELECT 'call_back', :day, :made_at, '{}', :rules WHERE EXISTS (
        SELECT FROM cutoff_list_line x JOIN cutoff_decision d USING (invoice_number, sequence)
        JOIN cutoff_list k ON k.id = x.list_id AND k.kind = 'hand_over'
        WHERE d.day = :day AND d.moment = 'feed') RETURNING id
), called_back AS (
    INSERT INTO cutoff_list_line (list_id, invoice_number, sequence, balance_millimes)
    SELECT DISTINCT call_back.id, x.invoice_number, x.sequence, 0 FROM call_back, cutoff_list_line x
    JOIN cutoff_decision d USING (invoice_number, sequence)
    JOIN cutoff_list k ON k.id = x.list_id AND k.kind = 'hand_over'
    WHERE d.day = :day AND d.moment = 'feed'
)
INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, balance_millimes,
    cut_from, rules_version)
SELECT invoice_number, sequence, :day, :now, 'hand_over', 'hand_over', balance, cut_from, :rules FROM moved
"""

_NOTIFY = """
WITH due AS (
    SELECT w.*, c.cut_from, row_number() OVER (ORDER BY c.due_date, c.invoice_number) AS place
    FROM weighed w JOIN cutoff_case c USING (invoice_number, sequence) WHERE w.reason IS NULL
), decided AS (
    INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, notice_kind,
        cycle_id,
        balance_millimes, cut_from, rules_version)
    SELECT invoice_number, sequence, :day, :now, 'due', 'notify', :kind, :cutoff, balance,
        CASE WHEN CAST(:earliest AS date) IS NOT NULL THEN greatest(cut_from, :earliest) END, :rules
    FROM due WHERE place <= :room RETURNING 1
)
SELECT (SELECT count(*) FROM decided), (SELECT count(*) FROM due)
"""

_PLAN = """
WITH planned AS (
    INSERT INTO notice (kind, subject, sequence, cycle_id, subscription_id, district, phone, language, text,
        encoding, segments, priority, send_from, send_until, validity_minutes, planned_at, state_since)
    SELECT d.notice_kind, c.invoice_number, c.sequence, :cutoff, c.subscription_id, c.district,
        '+2165' || lpad(life.n::text, 7, '0'), life.language, 'invented text',
        CASE life.language WHEN 'ar' THEN 'ucs2' ELSE 'gsm7' END, CASE life.language WHEN 'ar' THEN 2 ELSE 1
            END,
        20, :start, CAST(:start AS timestamptz) + interval '10 hours', 600, :start, :start
    FROM cutoff_decision d JOIN cutoff_case c USING (invoice_number, sequence) JOIN life USING
        (invoice_number)
    WHERE d.cycle_id = :cutoff AND d.verdict = 'notify'
    ORDER BY d.id
    RETURNING id, kind, subject, sequence
), linked AS (
    UPDATE cutoff_decision d SET notice_id = p.id FROM planned p
    WHERE d.cycle_id = :cutoff AND d.verdict = 'notify' AND d.notice_kind = p.kind
        AND d.invoice_number = p.subject AND d.sequence = p.sequence
)
UPDATE cutoff_case c SET under_way = p.id FROM planned p
WHERE c.invoice_number = p.subject AND c.sequence = p.sequence AND p.kind <> 'due_reminder'
"""

_OF_THE_DAY = """
    SELECT n.id, n.kind, row_number() OVER (ORDER BY n.id) AS place, count(*) OVER () AS total,
        CASE n.kind WHEN 'cutoff_warning' THEN life.fate ELSE life.second_fate END AS fate, life.seconds
    FROM notice n JOIN life ON life.invoice_number = n.subject
    WHERE n.cycle_id = :cutoff AND n.state <> 'cancelled'
"""

_SEND = f"""
WITH sent AS (
    UPDATE notice SET state = 'sending', attempts = 1, gateway = 'fatoura_sms', state_since = :start,
        submitted_at = CAST(:start AS timestamptz) + make_interval(secs => o.place / 45.0)
    FROM ({_OF_THE_DAY}) o WHERE notice.id = o.id AND o.place <= o.total * CAST(:part AS float)
    RETURNING notice.id, submitted_at
)
INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at, answered_at, outcome)
SELECT id, 1, 'fatoura_sms', 'lane-1', submitted_at, submitted_at, 'accepted' FROM sent
"""

_ANSWER = f"""
UPDATE notice SET state_since = submitted_at,
    state = CASE WHEN fate BETWEEN 0.05 AND 0.058 THEN 'in_doubt' ELSE 'accepted' END
FROM ({_OF_THE_DAY}) o WHERE notice.id = o.id AND state = 'sending' AND o.place <= o.total * CAST(:part AS
    float)
"""

_RECEIVE = f"""
WITH told AS (
    UPDATE notice SET state_since = submitted_at + make_interval(secs => seconds),
        final_at = submitted_at + make_interval(secs => seconds),
        reason = CASE WHEN fate < 0.05 THEN 'Absent subscriber, err:027' END,
        state = CASE WHEN fate < 0.04 THEN 'undeliverable' WHEN fate < 0.05 THEN 'expired' ELSE 'delivered'
            END
    FROM ({_OF_THE_DAY}) o
    WHERE notice.id = o.id AND state = 'accepted' AND NOT fate BETWEEN 0.058 AND 0.061
        AND o.place <= o.total * CAST(:part AS float)
    RETURNING notice.id, notice.state, final_at
)
INSERT INTO receipt (gateway, received_at, raw, notice_id, attempt, status, happened_at, match, matched_at)
SELECT 'fatoura_sms', final_at, '{{}}', id, 1, state, final_at, 'moved', final_at FROM told
"""

# Of what has no final word, the doubtful are given up on the same day and the rest after three.
_CONCLUDE = """
WITH last_word AS (
    SELECT c.invoice_number, c.sequence, n.id, n.kind, n.state AS notice_state, n.final_at, d.cut_from,
        d.balance_millimes, d.cycle_id,
        CASE WHEN n.state = 'delivered' THEN CASE c.state WHEN 'warned' THEN 'warned_again' ELSE 'warned' END
            WHEN n.state IN ('undeliverable', 'expired', 'in_doubt') THEN 'not_warned'
            WHEN n.submitted_at < CAST(:at AS timestamptz) - interval '3 days' THEN 'not_warned' END AS
                new_state
    FROM cutoff_case c JOIN notice n ON n.id = c.under_way JOIN cutoff_decision d ON d.notice_id = n.id
        AND d.verdict = 'notify' AND d.invoice_number = c.invoice_number
), moved AS (
    UPDATE cutoff_case c SET under_way = NULL, state = l.new_state, state_since = :at,
        reason = CASE WHEN l.new_state = 'not_warned' THEN
            CASE WHEN l.notice_state IN ('in_doubt', 'accepted') THEN 'no_final_receipt' ELSE 'undelivered'
                END END,
        warning_id = CASE l.new_state WHEN 'warned' THEN l.id ELSE c.warning_id END,
        warned_at = CASE l.new_state WHEN 'warned' THEN l.final_at ELSE c.warned_at END,
        second_warning_id = CASE l.new_state WHEN 'warned_again' THEN l.id ELSE c.second_warning_id END,
        warned_again_at = CASE l.new_state WHEN 'warned_again' THEN l.final_at ELSE c.warned_again_at END,
        cut_from = CASE WHEN l.new_state = 'not_warned' THEN c.cut_from ELSE l.cut_from END
    FROM last_word l
    WHERE c.invoice_number = l.invoice_number AND c.sequence = l.sequence AND l.new_state IS NOT NULL
    RETURNING c.invoice_number, c.sequence, c.state, c.reason, l.id, l.kind, l.cycle_id, l.balance_millimes,
        l.cut_from
)
INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, reason, notice_kind,
    notice_id, cycle_id, balance_millimes, cut_from, rules_version)
SELECT invoice_number, sequence, :day, :at, 'settled', CASE state WHEN 'not_warned' THEN 'letter' ELSE
    'warned' END,
    reason, kind, id, cycle_id, balance_millimes, cut_from, :rules
FROM moved
"""

_LETTERS = """
WITH needed AS (
    SELECT c.* FROM cutoff_case c WHERE state = 'not_warned' AND NOT EXISTS (
        SELECT FROM cutoff_list_line x JOIN cutoff_list k ON k.id = x.list_id AND k.kind = 'letters'
        WHERE x.invoice_number = c.invoice_number AND x.sequence = c.sequence)
), list AS (
    INSERT INTO cutoff_list (kind, day, made_at, watermarks, rules_version)
    SELECT 'letters', :day, :made_at, '{}', :rules WHERE EXISTS (SELECT FROM needed) RETURNING id
)
INSERT INTO cutoff_list_line (list_id, invoice_number, sequence, balance_millimes)
SELECT list.id, invoice_number, sequence, amount_due_millimes FROM needed, list
"""
