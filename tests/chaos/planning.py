"""A planned cycle straight in the tables: extract, invoices and notices, so that the ledger can be counted.

Phones are invented; their last digit tells the SMS centre what to do with a message. What goes into the
tables is what the planning workflow writes, but for the ids, which are drawn so that a round can be repeated.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tests.chaos.evidence import Planned

if TYPE_CHECKING:
    import psycopg

    from tests.chaos.dice import Dice

CYCLE = "2026-05-T1"
MORNING = datetime.fromisoformat("2026-05-20T10:00:00+01:00")

TEXT = "STEG\nMontant à payer : 85,352 DT\nRéférence : 04258 049 6\nPrière de payer avant le 25/06/2026"
LONG_TEXT = TEXT + "\n" + "Un second avis pour cette facture vous sera remis par courrier postal. " * 2

# What the digit asks of the SMS centre stands in the README of tests/integration/kannel; the rest is 0.
_DIGITS = {
    "1": 0.04, "2": 0.03, "3": 0.03, "4": 0.03, "5": 0.001, "6": 0.001, "7": 0.04, "8": 0.04, "9": 0.03,
}  # fmt: skip

_TWO_SEGMENTS = 0.05
_NEVER_TWICE = 0.1
_URGENT = 0.03


def digit_of(dice: Dice, number: int) -> str:
    """Return the last digit of the number of a planned notice: what the SMS centre does with it."""
    return dice.pick(_DIGITS, "digit", number) or "0"


def plan_cycle(
    connection: psycopg.Connection[tuple[object, ...]], dice: Dice, messages: int
) -> tuple[int, list[Planned]]:
    """Plan `messages` notices; return the cycle's id and what was planned.

    Most are bills, which may be repeated once after a doubt. One in ten is of a kind that is never repeated.
    """
    now = MORNING
    planned = []
    with connection.transaction(), connection.cursor() as cursor:
        cycle = _one(
            cursor,
            "INSERT INTO cycle (key, issue_date) VALUES (%s, '2026-05-20') RETURNING id",
            [CYCLE],
        )
        extract = _one(
            cursor,
            "INSERT INTO extract (cycle_id, source, location, manifest, digest, declared_rows, "
            "declared_total_millimes, loaded_at, validated_at, rejected_rows, matched_at) "
            "VALUES (%s, 'landing', 'invented', '{}', 'invented', %s, 0, %s, %s, 0, %s) RETURNING id",
            [cycle, messages, now, now, now],
        )
        with cursor.copy(
            "COPY invoice (extract_id, row_number, cycle_id, invoice_number, revision, customer_reference, "
            "district, supply, period_start, period_end, amount_due_millimes, due_date, issue_date, "
            "estimated, bucket, subscription_id) FROM STDIN"
        ) as copy:
            for number in range(messages):
                copy.write_row(
                    (
                        *(extract, number + 1, cycle, f"CHAOS-{number:06d}", 0, f"{number:09d}", "TUN1"),
                        *("electricity", "2026-03-20", "2026-05-19", 85352, "2026-06-25", "2026-05-20"),
                        *(False, "noticed", number),
                    )
                )
        with cursor.copy(
            "COPY notice (id, kind, subject, sequence, cycle_id, extract_id, subscription_id, district, "
            "phone, language, text, encoding, segments, priority, send_from, send_until, validity_minutes, "
            "planned_by, planned_at) FROM STDIN"
        ) as copy:
            for number in range(messages):
                notice = dice.notice_id(number)
                repeatable = dice.share("kind", number) >= _NEVER_TWICE
                long = dice.share("long", number) < _TWO_SEGMENTS
                digit = digit_of(dice, number)
                urgent = dice.share("urgent", number) < _URGENT
                copy.write_row(
                    (
                        *(notice, "bill" if repeatable else "never_twice", f"CHAOS-{number:06d}", 1),
                        *(cycle, extract, number, "TUN1", f"+2162{number:06d}{digit}", "fr"),
                        *(LONG_TEXT if long else TEXT, "gsm7", 2 if long else 1, 10 if urgent else 50),
                        *(now - timedelta(hours=1), now + timedelta(days=20), 720, "chaos", now),
                    )
                )
                planned.append(Planned(notice, repeatable))
    return cycle, planned


def _one(cursor: psycopg.Cursor[tuple[object, ...]], statement: str, values: list[object]) -> int:
    row = cursor.execute(statement.encode(), values).fetchone()
    assert row is not None
    return int(str(row[0]))
