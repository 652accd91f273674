"""Builds an invented billing cycle straight in the tables, seeded, of any size: what reports are tested on.

Notices take only the steps that the state machine allows: the database would refuse others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

SENT_FROM = datetime(2026, 5, 20, 17, 50, tzinfo=UTC)  # 18:50 in Tunis
AS_OF = "2026-05-22T10:30:00+01:00"

# Code, French name, Arabic name, weight. The last ones are so small that a rate says nothing.
DISTRICTS = [
    ("TUNIS", "Tunis Ville", "تونس المدينة", 30),
    ("ARIANA", "Ariana", "أريانة", 22),
    ("BENAROUS", "Ben Arous", "بن عروس", 20),
    ("MANOUBA", "Manouba", "منوبة", 11),
    ("BIZERTE", "Bizerte", "بنزرت", 15),
    ("BEJA", "Béja", "باجة", 6),
    ("JENDOUBA", "Jendouba", "جندوبة", 7),
    ("KEF", "Le Kef", "الكاف", 5),
    ("SILIANA", "Siliana", "سليانة", 4),
    ("ZAGHOUAN", "Zaghouan", "زغوان", 4),
    ("NABEUL", "Nabeul", "نابل", 19),
    ("SOUSSE", "Sousse", "سوسة", 20),
    ("MONASTIR", "Monastir", "المنستير", 14),
    ("MAHDIA", "Mahdia", "المهدية", 9),
    ("SFAX", "Sfax", "صفاقس", 24),
    ("KAIROUAN", "Kairouan", "القيروان", 10),
    ("KASSERINE", "Kasserine", "القصرين", 6),
    ("SIDIBOUZID", "Sidi Bouzid", "سيدي بوزيد", 6),
    ("GAFSA", "Gafsa", "قفصة", 7),
    ("GABES", "Gabès", "قابس", 9),
    ("MEDENINE", "Médenine", "مدنين", 8),
    ("KEBILI", "Kébili", "قبلي", 2),
    ("TOZEUR", "Tozeur", "توزر", 0.5),
    ("TATAOUINE", "Tataouine", "تطاوين", 0.1),
]

_RANDOM = """
    CREATE OR REPLACE FUNCTION pg_temp.random_of(salt text, n bigint) RETURNS double precision
    IMMUTABLE LANGUAGE sql
    RETURN (('x' || substr(md5(salt || n), 1, 8))::bit(32)::bigint + 0.5) / 4294967296.0
"""


@dataclass(frozen=True)
class SeededCycle:
    """What was built, and the words that must be in no file of a report."""

    key: str
    cycle_id: int
    secrets: list[str] = field(repr=False)


def seed_cycle(
    connection: Connection,
    key: str = "2026-05-T1",
    *,
    rows: int = 6000,
    rejected_share: float = 0.01,
    subscribed_share: float = 0.35,
    sent: bool = True,
    per_second: float = 45,
    supplement: bool = True,
) -> SeededCycle:
    """Build a cycle of `rows` records, its notices, attempts, receipts and stages.

    :param sent: otherwise nothing leaves `planned`, as in a dry run.
    :param per_second: how fast the messages went out; half in the evening, half the next morning.
    """

    def run(statement: str, **more: Any) -> Any:
        return connection.execute(text(statement), values | more)

    values: dict[str, Any] = {
        "key": key,
        "rows": rows,
        "rejected": rejected_share,
        "subscribed": subscribed_share,
        "start": SENT_FROM,
        "per_second": per_second,
    }
    connection.execute(text(_RANDOM))
    connection.execute(
        text("INSERT INTO district (code, name_fr, name_ar) VALUES (:code, :fr, :ar) ON CONFLICT DO NOTHING"),
        [{"code": code, "fr": fr, "ar": ar} for code, fr, ar, _ in DISTRICTS],
    )
    values["codes"] = [code for code, *_ in DISTRICTS]
    total, edge, edges = sum(weight for *_, weight in DISTRICTS), 0.0, []
    for *_, weight in DISTRICTS:
        edge += weight / total
        edges.append(edge)
    values["edges"] = edges[:-1]
    values["cycle"] = run(
        "INSERT INTO cycle (key, issue_date) VALUES (:key, '2026-05-20') RETURNING id"
    ).scalar_one()
    values["extract"] = run(
        """
        INSERT INTO extract (cycle_id, source, location, manifest, digest, declared_rows,
            declared_total_millimes, unknown_columns, loaded_at, validated_at, matched_at)
        VALUES (:cycle, 'landing', 'billing/' || :key, '{}', 'invented', :rows, CAST(:rows AS bigint) * 85352,
            '{tariff_code}', :start - interval '3 hours', :start - interval '3 hours',
                :start - interval '3 hours')
        RETURNING id
        """
    ).scalar_one()
    _reject_and_match(run)
    run(
        "UPDATE extract SET rejected_rows = "
        "(SELECT count(*) FROM rejected_row WHERE extract_id = extract.id) WHERE id = :extract"
    )
    _plan(run)
    if supplement:
        _supplement(run)
    if sent:
        _send(run)
        _receive(run)
    _stages(run, sent=sent)
    found = run("SELECT phone FROM notice WHERE cycle_id = :cycle LIMIT 5000").scalars().all()
    references = run("SELECT customer_reference FROM invoice WHERE cycle_id = :cycle LIMIT 5000").scalars()
    return SeededCycle(key, values["cycle"], [*found, *(phone[4:] for phone in found), *references])


def _reject_and_match(run: Any) -> None:
    run(
        """
        INSERT INTO rejected_row (extract_id, row_number, part, part_row, reasons, fields)
        SELECT :extract, n, 'invoices.csv', n,
            CASE WHEN u < 0.30 THEN '{due_date_not_after_issue}'::text[] WHEN u < 0.5
                THEN '{amount_unreadable}'
                WHEN u < 0.65 THEN '{duplicate_in_extract}' WHEN u < 0.78 THEN '{district_unknown}'
                WHEN u < 0.90 THEN '{customer_reference_form}'
                ELSE '{amount_unreadable,district_unknown}' END,
            jsonb_build_object('customer_reference', lpad((n + 300000000)::text, 9, '0'))
        FROM (SELECT n, pg_temp.random_of('why', n) AS u FROM generate_series(1, :rows) n
              WHERE pg_temp.random_of('rejected', n) < :rejected) bad
        """
    )
    run(
        """
        INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, customer_reference,
            district, supply, period_start, period_end, amount_due_millimes, due_date, issue_date, estimated,
            bucket, reason, subscription_id)
        SELECT :extract, n, :cycle, :key || '-' || n, 0, lpad((n + 300000000)::text, 9, '0'),
            (CAST(:codes AS text[]))[1 + width_bucket(pg_temp.random_of('where', n),
                                                      CAST(:edges AS double precision[]))],
            'electricity', '2026-03-15', '2026-05-14', 20000 + (pg_temp.random_of('amount', n) * 150000)::int,
            '2026-06-15', '2026-05-20', pg_temp.random_of('estimated', n) < 0.2,
            bucket, CASE bucket
                WHEN 'unsubscribed' THEN 'not_subscribed'
                WHEN 'held_out' THEN 'study_control'
                WHEN 'suppressed' THEN (ARRAY['zero_balance', 'zero_balance', 'credit_balance',
                    'subscription_suspended', 'deadline_passed'])[1 + (pg_temp.random_of('reason',
                        n) * 5)::int % 5]
            END,
            CASE WHEN bucket <> 'unsubscribed' THEN n END
        FROM (
            SELECT n, CASE
                WHEN pg_temp.random_of('subscribed', n) >= :subscribed THEN 'unsubscribed'
                WHEN pg_temp.random_of('bucket', n) < 0.03 THEN 'suppressed'
                WHEN pg_temp.random_of('bucket', n) < 0.07 THEN 'held_out'
                ELSE 'noticed' END AS bucket
            FROM generate_series(1, :rows) n WHERE pg_temp.random_of('rejected', n) >= :rejected
        ) good
        """
    )


def _plan(run: Any, kind: str = "bill") -> None:
    run(
        """
        INSERT INTO notice (kind, subject, sequence, cycle_id, extract_id, subscription_id, district, phone,
            language, text, encoding, segments, priority, send_from, send_until, validity_minutes, planned_at,
            state_since)
        SELECT :kind, invoice_number, revision + 1, :cycle, extract_id, subscription_id, district,
            '+2162' || lpad(row_number::text, 7, '0'), language, 'invented text for ' || customer_reference,
            CASE language WHEN 'ar' THEN 'ucs2' ELSE 'gsm7' END,
            CASE WHEN language = 'ar' AND pg_temp.random_of('long', row_number) < 0.08 THEN 2 ELSE 1 END,
            5, CAST(:start AS timestamptz) - interval '2 hours', CAST(:start AS timestamptz)
                + interval '10 days', 600,
            CAST(:start AS timestamptz) - interval '2 hours', CAST(:start AS timestamptz) - interval '2 hours'
        FROM (SELECT *, CASE WHEN pg_temp.random_of('language', row_number) < 0.81 THEN 'ar' ELSE 'fr' END
            AS language
              FROM invoice WHERE extract_id = :extract AND bucket = 'noticed') i
        ORDER BY row_number
        """,
        kind=kind,
    )


def _supplement(run: Any) -> None:
    """Correct up to twelve bills that have a notice: the earlier notice of each is cancelled, unsent."""
    run(
        """
        WITH added AS (
            INSERT INTO extract (cycle_id, supplement, source, location, manifest, digest, declared_rows,
                declared_total_millimes, loaded_at, validated_at, rejected_rows, matched_at)
            SELECT :cycle, 1, 'landing', 'supplement-1', '{}', 'invented too', count(*), 1000000, :start,
                :start, 0,
                :start
            FROM (SELECT FROM invoice WHERE extract_id = :extract AND bucket = 'noticed' LIMIT 12) corrected
            RETURNING id
        ), corrected AS (
            SELECT * FROM invoice WHERE extract_id = :extract AND bucket = 'noticed' ORDER BY row_number
                LIMIT 12
        ), again AS (
            INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision,
                customer_reference,
                district, supply, period_start, period_end, amount_due_millimes, due_date, issue_date,
                    estimated,
                bucket, subscription_id)
            SELECT added.id, row_number() OVER (ORDER BY row_number), cycle_id, invoice_number, 1,
                customer_reference, district, supply, period_start, period_end, 30000, due_date,
                    issue_date, false,
                'noticed', subscription_id
            FROM corrected, added RETURNING *
        ), replaced AS (
            UPDATE notice SET state = 'cancelled', reason = 'replaced', state_since = :start,
                final_at = :start
            WHERE cycle_id = :cycle AND subject IN (SELECT invoice_number FROM corrected)
        )
        INSERT INTO notice (kind, subject, sequence, cycle_id, extract_id, subscription_id, district, phone,
            language, text, encoding, segments, priority, send_from, send_until, validity_minutes, planned_at,
            state_since)
        SELECT 'bill', invoice_number, 2, cycle_id, extract_id, subscription_id, district,
            '+21629' || lpad(row_number::text, 6, '0'), 'ar', 'invented correction', 'ucs2', 1, 5, :start,
            CAST(:start AS timestamptz) + interval '10 days', 600, :start, :start
        FROM again
        """
    )


def _send(run: Any) -> None:
    """Hand over all that is planned: half in the evening, the rest from nine the next morning."""
    run(
        """
        CREATE TEMP TABLE sent ON COMMIT DROP AS
        WITH ranked AS (
            SELECT id, row_number() OVER (ORDER BY id) AS n, count(*) OVER () AS total
            FROM notice WHERE cycle_id = :cycle AND state = 'planned'
        )
        SELECT id, n, pg_temp.random_of('fate', n) AS fate, pg_temp.random_of('late', n) AS late,
            CASE WHEN n <= total / 2 THEN CAST(:start AS timestamptz) + make_interval(secs => n / :per_second)
                ELSE CAST(:start AS timestamptz) + interval '14 hours 10 minutes'
                    + make_interval(secs => (1.3 * (n - total / 2)
                        + total / 40.0 * sin((n - total / 2) * 12.0 / total))
                        / :per_second)
            END AS at,
            exp(1.3 + 0.9 * sqrt(-2 * ln(pg_temp.random_of('a',
                n))) * cos(6.2831853 * pg_temp.random_of('b', n)))
                + CASE WHEN pg_temp.random_of('tail', n) < 0.04
                    THEN exp(9.5 * pg_temp.random_of('longer', n)) ELSE 0 END AS seconds
        FROM ranked
        """
    )
    run(
        "UPDATE notice SET state = 'sending', attempts = 1, gateway = 'fatoura_sms', submitted_at = sent.at, "
        "state_since = sent.at FROM sent WHERE sent.id = notice.id"
    )
    # One in fifty meets a refusal that proves nothing was accepted, and goes again.
    run(
        """
        INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at, answered_at, outcome, answer)
        SELECT id, 1, 'fatoura_sms', 'lane-' || n % 2, at - interval '30 seconds', at - interval '29 seconds',
            'refused',
            '503 temporary failure'
        FROM sent WHERE n % 50 = 0
        """
    )
    run(
        """
        INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at, answered_at, outcome, answer,
            provider_id)
        SELECT id, 1 + (n % 50 = 0)::int, 'fatoura_sms', 'lane-' || n % 2, at,
            at + interval '20 milliseconds',
            CASE WHEN fate < 0.0015 THEN 'in_doubt' WHEN fate < 0.003 THEN 'rejected' ELSE 'accepted' END,
            CASE WHEN fate < 0.003 THEN 'time-out' ELSE '0: Accepted for delivery' END, NULL
        FROM sent
        """
    )
    run("UPDATE notice SET attempts = 2 FROM sent WHERE sent.id = notice.id AND n % 50 = 0")
    run(
        """
        UPDATE notice SET
            state = CASE WHEN fate < 0.0015 THEN 'in_doubt' WHEN fate < 0.003
                THEN 'rejected' ELSE 'accepted' END,
            reason = CASE WHEN fate BETWEEN 0.0015 AND 0.003 THEN '400 Receiver +' || ltrim(phone,
                '+') || ' refused' END,
            final_at = CASE WHEN fate BETWEEN 0.0015 AND 0.003 THEN at END,
            state_since = at + interval '1 second'
        FROM sent WHERE sent.id = notice.id
        """
    )
    run(
        """
        UPDATE notice SET
            state = CASE WHEN fate < 0.04 THEN 'undeliverable' WHEN fate < 0.05
                THEN 'expired' ELSE 'delivered' END,
            reason = CASE WHEN fate < 0.01 THEN 'err:001' WHEN fate < 0.04 THEN 'Absent subscriber, err:027'
                WHEN fate < 0.05 THEN 'EXPIRED err:000' END,
            final_at = at + make_interval(secs => seconds),
            state_since = at + make_interval(secs => seconds + 1)
        FROM sent WHERE sent.id = notice.id AND fate >= 0.003 AND late >= 0.006
            AND (district <> 'GAFSA' OR late > 0.06)
        """
    )


def _receive(run: Any) -> None:
    """Store a final receipt for each settled notice, and some that repeat, contradict, or fit nothing."""
    run(
        """
        INSERT INTO receipt (gateway, received_at, raw, notice_id, attempt, status, detail, happened_at,
            match,
            matched_at)
        SELECT 'fatoura_sms', final_at, jsonb_build_object('p', phone), notice.id, attempts, state, reason,
            final_at,
            'moved', state_since
        FROM notice JOIN sent ON sent.id = notice.id WHERE state IN ('delivered', 'undeliverable', 'expired')
        UNION ALL
        SELECT 'fatoura_sms', final_at + interval '1 minute', '{}', notice.id, attempts,
            CASE WHEN late < 0.0085 THEN 'undeliverable' ELSE state END, NULL, NULL,
            CASE WHEN late < 0.0085 THEN 'contradicted' ELSE 'repeated' END, final_at + interval '1 minute'
        FROM notice JOIN sent ON sent.id = notice.id WHERE state = 'delivered' AND late < 0.02
        UNION ALL
        SELECT 'fatoura_sms', submitted_at, '{}', notice.id, attempts, 'accepted', 'ACK/', NULL, 'noted',
            submitted_at
        FROM notice JOIN sent ON sent.id = notice.id WHERE state <> 'in_doubt' AND late < 0.9
        UNION ALL
        SELECT 'fatoura_sms', CAST(:start AS timestamptz) + interval '1 hour', '{}', uuidv7(), 1, 'delivered',
            NULL,
            NULL, 'parked', CAST(:start AS timestamptz) + interval '1 hour' FROM generate_series(1, 3)
        UNION ALL
        SELECT 'fatoura_sms', CAST(:start AS timestamptz) + interval '1 hour', '{}', NULL, NULL, NULL,
            'no id', NULL,
            'unreadable', NULL FROM generate_series(1, 2)
        """
    )


def _stages(run: Any, *, sent: bool) -> None:
    begun = SENT_FROM - timedelta(hours=3)
    release = {"decision": "released" if sent else "dry run", "messages": 1950, "segments": 2078}
    stages: list[tuple[str, float, dict[str, Any]]] = [
        ("extract", 8.4, {"rows": 6000, "parts": 1, "outcome": "loaded", "unknown columns": 1}),
        ("validate", 6.1, {"rows": 6000, "rejected": 59, "total_millimes": 512_112_000,
                           "median_millimes": 84_120.5}),
        ("match", 3.3, {"matched": 5941, "redecided": 0, "noticed": 1950, "unsubscribed": 3860,
                        "zero_balance": 48}),
        ("render", 4.9, {"planned": 1950, "already_planned": 0, "replaced": 0, "segments": 2078}),
        ("release", 0.2, release),
    ]  # fmt: skip
    if sent:
        stages += [
            ("send", 480.0, {"lane": 1, "accepted": 970, "segments": 1039, "busy_seconds": 471.3}),
            ("send", 57_000.0, {"lane": 2, "accepted": 974, "refused": 41, "segments": 1039,
                                "busy_seconds": 502.1}),
            ("settle", 3600.0, {"delivered": 1800, "accepted": 21, "unconfirmed": 21}),
            ("schedule_cutoff", 1.2, {"added": 1900, "updated": 0, "withdrawn": 0, "cases": 1900}),
        ]  # fmt: skip
    for name, seconds, counts in stages:
        ended = begun + timedelta(seconds=seconds)
        run(
            "INSERT INTO stage (cycle_id, name, run_id, started_at, finished_at, counts) "
            "VALUES (:cycle, :name, 'run of ' || :key, :begun, :ended, CAST(:counts AS jsonb))",
            name=name,
            begun=begun,
            ended=ended,
            counts=json.dumps(counts),
        )
        begun = ended
    if sent:
        run(
            """
            INSERT INTO cutoff_case (invoice_number, cycle_id, subscription_id, customer_reference, district,
                revision, notice_id, amount_due_millimes, issue_date, due_date, warn_from)
            SELECT subject, cycle_id, subscription_id, lpad((subscription_id + 300000000)::text, 9, '0'),
                district, 0, id, 50000, '2026-05-20', '2026-06-15', '2026-06-18'
            FROM notice WHERE cycle_id = :cycle AND state = 'delivered'
            """
        )
