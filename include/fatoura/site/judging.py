"""Judges what was asked for on the site, and plans the codes that are due. Runs behind the answers.

Called by the site's own sending. A code goes out where the reference and the detail from the bill, or the
phone of the subscription, are right; else nothing does, and the visit looks the same. The code itself is in
the message only: what is kept of it cannot be read back.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, DateTime, Integer, Text, text

from fatoura import clock
from fatoura.cycles.registry import Purpose, open_cycle
from fatoura.database import begin
from fatoura.notices.kinds import load_kind
from fatoura.notices.writing import write_notices
from fatoura.phones_at_rest import same_phone
from fatoura.site.codes import keep, keep_nobodys, new_code
from fatoura.site.verifications import end
from fatoura.subscriptions.leaving import Leaver, leave

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

KIND = "one_time_code"
BY = "the web site"
"""Who planned a code, and who recorded a consent."""

BILL_MONTHS = 12
"""A detail is good from a bill that was issued so lately."""

LEFT = "left"
NO_MATCH = "no_match"

_AT_ONCE = 200
_UNJUDGED = f"""
SELECT v.*, s.id AS current_id, s.phone AS current_phone, EXISTS (
    SELECT FROM invoice i
    WHERE i.invoice_number = v.invoice_number AND i.customer_reference = v.customer_reference
        AND i.issue_date > CAST(:today AS date) - make_interval(months => {BILL_MONTHS})
) AS has_bill
FROM verification v
LEFT JOIN subscription s ON s.customer_reference = v.customer_reference AND s.state <> 'ended'
WHERE v.judged_at IS NULL
ORDER BY v.asked_at LIMIT {_AT_ONCE} FOR UPDATE OF v SKIP LOCKED
"""
_JUDGED = """
UPDATE verification SET judged_at = :now, genuine = :genuine, code_salt = :salt, code_hash = :hash
WHERE id = :id
"""
_DUE = """
SELECT position, subject, 1 AS sequence, CAST(NULL AS bigint) AS subscription_id,
    CAST(NULL AS text) AS district, phone, language, send_until, code
FROM unnest(
    CAST(:subjects AS text[]), CAST(:phones AS text[]), CAST(:languages AS text[]),
    CAST(:untils AS timestamptz[]), CAST(:codes AS text[])
) WITH ORDINALITY AS due (subject, phone, language, send_until, code, position)
"""
_OF_DUE: dict[str, Any] = {
    "position": BigInteger,
    "subject": Text,
    "sequence": Integer,
    "subscription_id": BigInteger,
    "district": Text,
    "phone": Text,
    "language": Text,
    "send_until": DateTime(timezone=True),
    "code": Text,
}


def judge() -> Counter[str]:
    """Judge what nobody has judged yet, plan the codes that are due, and let those go who leave by a bill.

    :returns: how many of each action were due (``subscribe``) and how many not (``subscribe no_match``).
    """
    counts: Counter[str] = Counter()
    now = clock.now()
    with begin() as connection:
        rows = connection.execute(text(_UNJUDGED), {"today": clock.today()}).all()
        judged, due = [], []
        for row in rows:
            genuine = _is_genuine(row) and row.outcome is None and now < row.expires_at
            counts[row.action if genuine else f"{row.action} {NO_MATCH}"] += 1
            code = new_code()
            sends = genuine and row.phone is not None
            kept = keep(code) if sends else keep_nobodys()
            judged.append({"id": row.id, "genuine": genuine, "now": now, **kept._asdict()})
            if sends:
                due.append((row, code))
        if judged:
            connection.execute(text(_JUDGED), judged)
        if due:
            _plan(connection, due)
        for row, verdict in zip(rows, judged, strict=True):
            if row.action == "leave_by_bill":
                _let_go(connection, row, genuine=bool(verdict["genuine"]))
    return counts


def _is_genuine(row: Row[Any]) -> bool:
    match row.action:
        case "subscribe":
            return bool(row.has_bill)
        case "leave_by_bill":
            return bool(row.has_bill) and row.current_id is not None
        case "manage":
            return row.current_id is not None and same_phone(row.phone, row.current_phone)
        case _:  # the visit has proven who it is by another code
            return row.current_id is not None


def _plan(connection: Connection, due: list[tuple[Row[Any], str]]) -> None:
    cycle_id, _ = open_cycle(connection, Purpose.CODES, clock.today())
    rows = text(_DUE).bindparams(
        subjects=[str(row.id) for row, _ in due],
        phones=[row.phone for row, _ in due],
        languages=[row.language for row, _ in due],
        untils=[row.expires_at for row, _ in due],
        codes=[code for _, code in due],
    )
    write_notices(
        connection,
        load_kind(KIND),
        rows.columns(**_OF_DUE).subquery(),
        {"code": "code"},
        cycle_id=cycle_id,
        run_id=BY,
    )


def _let_go(connection: Connection, row: Row[Any], *, genuine: bool) -> None:
    subscription = None
    if genuine:
        leaver = Leaver(row.customer_reference, evidence=str(row.id), by=BY)
        subscription = leave(connection, [leaver], channel="web").ended.get(row.customer_reference)
    end(connection, row.id, LEFT if subscription else NO_MATCH, subscription)
