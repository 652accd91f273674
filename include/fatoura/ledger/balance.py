"""Count a cycle's rows and notices, and prove that none is missing.

Called by the report task (which fails when the identity is broken), by reports and by `fatoura ledger`.
Only reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from fatoura.cycles.registry import billing_cycle_id
from fatoura.database import connect
from fatoura.errors import NeedsAPerson
from fatoura.notices.states import State

BUCKETS = ("rejected", "unsubscribed", "suppressed", "held_out", "noticed")
_NAMED = 10  # how many missing rows an error names; the rest is a count


class LedgerBroken(NeedsAPerson):
    """A row or a notice is in no bucket, or in two. Nothing outside can cause it: a defect of ours."""


@dataclass(frozen=True)
class Ledger:
    """The ledger of one cycle. Numbers are rows (records of its extract and supplements) and notices.

    `missing` names what breaks the identity, at most ten rows and notices a kind.
    """

    cycle: str
    extracted: int
    rejected: int
    unsubscribed: int
    suppressed: int
    held_out: int
    noticed: int
    states: dict[str, int]
    segments: int
    missing: tuple[str, ...]

    @property
    def identity_holds(self) -> bool:
        """Whether each row is in one bucket and each noticed row has one notice."""
        return (
            not self.missing
            and self.extracted == sum(getattr(self, bucket) for bucket in BUCKETS)
            and self.noticed == sum(self.states.values())
        )

    def as_json(self) -> dict[str, Any]:
        """Return the document of `fatoura ledger CYCLE --json`."""
        document: dict[str, Any] = {"cycle": self.cycle, "extracted": self.extracted}
        document |= {bucket: getattr(self, bucket) for bucket in BUCKETS}
        document |= {"states": self.states, "segments": self.segments, "identity_holds": self.identity_holds}
        if self.missing:
            document["missing"] = list(self.missing)
        return document


def cycle_ledger(cycle_key: str) -> Ledger:
    """Count the ledger of a cycle.

    :raises BadInput: when there is no such cycle, or it is not one of bills.
    """
    with connect() as connection:
        # One snapshot: senders and receipts go on moving notices while we count.
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        return count_ledger(connection, cycle_key)


def count_ledger(connection: Connection, cycle_key: str) -> Ledger:
    """Count the ledger of a cycle in the caller's snapshot, for figures that must agree with it.

    :raises BadInput: when there is no such cycle, or it is not one of bills.
    """
    cycle_id = billing_cycle_id(connection, cycle_key)
    extracted = connection.scalar(
        text(
            "SELECT coalesce(sum(declared_rows), 0) FROM extract "
            "WHERE cycle_id = :c AND loaded_at IS NOT NULL"
        ),
        {"c": cycle_id},
    )
    rejected = connection.scalar(
        text(
            "SELECT count(*) FROM rejected_row r JOIN extract e ON e.id = r.extract_id WHERE e.cycle_id = :c"
        ),
        {"c": cycle_id},
    )
    buckets: dict[str, int] = dict(
        connection.execute(
            text("SELECT bucket, count(*) FROM invoice WHERE cycle_id = :c GROUP BY bucket"),
            {"c": cycle_id},
        ).all()
    )
    states = dict.fromkeys(State, 0)
    segments = 0
    for state, notices, sent in connection.execute(
        text(
            "SELECT state, count(*), coalesce(sum(segments) FILTER (WHERE state <> 'cancelled'), 0) "
            "FROM notice WHERE cycle_id = :c GROUP BY state"
        ),
        {"c": cycle_id},
    ):
        states[State(state)] = notices
        segments += sent
    return Ledger(
        cycle=cycle_key,
        extracted=int(extracted or 0),
        rejected=int(rejected or 0),
        unsubscribed=buckets.get("unsubscribed", 0),
        suppressed=buckets.get("suppressed", 0),
        held_out=buckets.get("held_out", 0),
        noticed=buckets.get("noticed", 0),
        states={state.value: count for state, count in states.items()},
        segments=int(segments),
        missing=_missing(connection, cycle_id),
    )


def check_ledger(cycle_key: str) -> Ledger:
    """Count the ledger of a cycle and insist on its identity.

    :raises LedgerBroken: when a row or notice is missing or counted twice; names it.
    """
    ledger = cycle_ledger(cycle_key)
    if not ledger.identity_holds:
        raise LedgerBroken(
            f"the ledger of {cycle_key} does not balance: extracted {ledger.extracted}, "
            + ", ".join(f"{bucket} {getattr(ledger, bucket)}" for bucket in BUCKETS)
            + f", notices {sum(ledger.states.values())}. "
            + ("; ".join(ledger.missing) or "No single row could be named")
        )
    return ledger


def _missing(connection: Connection, cycle_id: int) -> tuple[str, ...]:
    """Name rows and notices that break the identity."""
    named: list[str] = []
    extracts = connection.execute(
        text(
            "SELECT id, supplement, to_regclass('staging.extract_' || id) IS NOT NULL FROM extract "
            "WHERE cycle_id = :c AND loaded_at IS NOT NULL ORDER BY supplement"
        ),
        {"c": cycle_id},
    ).all()
    for extract_id, supplement, staged in extracts:
        where = f"supplement {supplement}" if supplement else "extract"
        if staged:
            lost = connection.execute(
                text(
                    f"SELECT row_number FROM staging.extract_{int(extract_id)} "
                    "EXCEPT (SELECT row_number FROM rejected_row WHERE extract_id = :e "
                    "UNION ALL SELECT row_number FROM invoice WHERE extract_id = :e) "
                    f"ORDER BY 1 LIMIT {_NAMED}"
                ),
                {"e": extract_id},
            ).scalars()
            named += [f"{where} row {row} is in no bucket" for row in lost]
        twice = connection.execute(
            text(
                "SELECT row_number FROM rejected_row WHERE extract_id = :e INTERSECT "
                f"SELECT row_number FROM invoice WHERE extract_id = :e ORDER BY 1 LIMIT {_NAMED}"
            ),
            {"e": extract_id},
        ).scalars()
        named += [f"{where} row {row} is rejected and an invoice" for row in twice]
    unsaid = connection.execute(
        text(
            "SELECT i.invoice_number FROM invoice i WHERE i.cycle_id = :c AND i.bucket = 'noticed' "
            "AND NOT EXISTS (SELECT FROM notice n WHERE n.cycle_id = :c AND n.extract_id = i.extract_id "
            f"AND n.subject = i.invoice_number AND n.sequence = i.revision + 1) ORDER BY 1 LIMIT {_NAMED}"
        ),
        {"c": cycle_id},
    ).scalars()
    named += [f"invoice {number} has no notice" for number in unsaid]
    unasked = connection.execute(
        text(
            "SELECT n.subject FROM notice n WHERE n.cycle_id = :c AND NOT EXISTS (SELECT FROM invoice i "
            "WHERE i.cycle_id = :c AND i.extract_id = n.extract_id AND i.invoice_number = n.subject "
            f"AND i.revision + 1 = n.sequence AND i.bucket = 'noticed') ORDER BY 1 LIMIT {_NAMED}"
        ),
        {"c": cycle_id},
    ).scalars()
    named += [f"the notice for {subject} has no invoice" for subject in unasked]
    return tuple(named)
