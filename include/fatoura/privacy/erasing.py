"""Erases what may be erased of one customer, at their own request, and says what is kept and why.

Called by `fatoura privacy erase`. All of the database in one transaction: it is erased, or it is not. Rows
stay, so that every count and every identity stays true; what goes is the number, the text, and documents as
they came.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.database import locked
from fatoura.errors import BadInput
from fatoura.privacy.files import LANDED, clerks_folders, files_in
from fatoura.privacy.person import ROWS, find_person, is_theirs, rows_of_file
from fatoura.privacy.personal import staged_tables
from fatoura.privacy.retention import RULES
from fatoura.sending.claims import OPTED_OUT
from fatoura.sending.doubts import checked_name
from fatoura.settings import get_settings
from fatoura.subscriptions.leaving import Leaver, leave

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from fatoura.privacy.person import Person

BECAUSE: dict[str, str] = {
    "accounts": "bills, payments and fees are accounting records, which the law has the utility keep",
    "consent": "the record of consent and its evidence prove that messages were agreed to, and when that "
    "ended; they hold no number",
    "counts": "the ledger of messages stays whole: each with its state and cost, without number and text",
    "cut_off": "it proves that a warning was given, or why none was",
    "register": "the utility's own register of customers tells it; to be erased there",
    "unsettled": "it keeps its customer from being warned wrongly until a clerk has settled it",
    "request": "it proves that this was asked for and done",
    "lists": "lists of letters and for field teams are removed when their time is over",
}
"""Why something is kept, by code."""

KEPT: dict[str, str] = {
    **dict.fromkeys(
        ("invoice", "payment", "fee_charge", "fee_credit", "fee_entry", "fee_result", "fee_waiver"),
        "accounts",
    ),
    **dict.fromkeys(
        ("subscription", "consent", "coupon", "coupon_decision", "departure", "verification"), "consent"
    ),
    **dict.fromkeys(
        (
            "notice",
            "attempt",
            "receipt",
            "doubt_decision",
            "statement_line",
            "statement_match",
            "rejected_row",
        ),
        "counts",
    ),
    **dict.fromkeys(("cutoff_case", "cutoff_decision", "cutoff_list_line"), "cut_off"),
    **dict.fromkeys(("customer", "account_fact"), "register"),
    "superseded_row": "accounts",
    "set_aside_row": "unsettled",
    "erasure": "request",
}
"""Why rows of a table stay once what is personal in them is erased."""


@dataclass(frozen=True)
class ErasureReceipt:
    """What an erasure did. Holds nothing of what was erased.

    :param erased: how many values, by table and column; how many lines, or feeds, by kind of file.
    :param kept: how many rows stay, by table.
    :param before: whether it had been done before, under the same request.
    """

    request: str
    done_at: datetime
    done_by: str
    erased: dict[str, int]
    kept: dict[str, int]
    before: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "request": self.request,
            "done_at": self.done_at.isoformat(),
            "done_by": self.done_by,
            "done_before": self.before,
            "erased": self.erased,
            "kept": {table: {"rows": rows, "because": _why(table)} for table, rows in self.kept.items()},
        }


def erase_person(reference: str, *, request: str, by: str) -> ErasureReceipt:
    """Erase what may be erased of a customer; their subscription ends, and nothing more is sent.

    Asked for again under the same request, it only says what was done.

    :param reference: 9 digits.
    :param request: the number under which it was asked for.
    :param by: who does it.
    :raises BadInput: when that is no reference, nothing is held of it, or the request was another customer's.
    """
    request, by = " ".join(request.split()), checked_name(by)
    if not 0 < len(request) <= 100:
        raise BadInput("name the request under which it was asked for, in at most 100 characters")
    with locked("erasure") as connection:
        person = find_person(connection, reference)
        done = connection.execute(
            text("SELECT * FROM erasure WHERE request = :request"), {"request": request}
        ).one_or_none()
        if done is not None:
            if done.customer_reference != reference:
                raise BadInput("this request was another customer's")
            return _receipt(done, before=True)
        if not _holds_anything(connection, person):
            raise BadInput("nothing is held of a customer with this reference")
        # Files first: should they fail, nothing is said to be erased.
        landed = _landed_with(connection, person)
        erased = _erase_files(person, landed) | _erase_rows(connection, person, request, by)
        kept = _kept(connection, person)
        row = connection.execute(
            text(
                "INSERT INTO erasure (request, customer_reference, done_by, done_at, erased, kept) VALUES "
                "(:request, :reference, :by, :now, CAST(:erased AS jsonb), CAST(:kept AS jsonb)) RETURNING *"
            ),
            {
                "request": request,
                "reference": reference,
                "by": by,
                "now": clock.now(),
                "erased": json.dumps(erased),
                "kept": json.dumps(kept),
            },
        ).one()
    return _receipt(row, before=False)


def _receipt(row: Row[Any], *, before: bool) -> ErasureReceipt:
    return ErasureReceipt(row.request, row.done_at, row.done_by, row.erased, row.kept, before)


def _why(table: str) -> str:
    return BECAUSE[KEPT.get(table, table)]


def _holds_anything(connection: Connection, person: Person) -> bool:
    return any(
        connection.scalar(text(f"SELECT EXISTS (SELECT FROM {table} WHERE {which})"), person.values)
        for table, which in ROWS.items()
    )


def _erase_rows(connection: Connection, person: Person, request: str, by: str) -> dict[str, int]:
    now = {"now": clock.now()}
    leave(
        connection,
        [Leaver(person.reference, f"erasure {request}", by)],
        channel="utility",
        reason="erased",
    )
    # Codes that were asked for as well: nobody is there any more.
    connection.execute(
        text(
            "UPDATE notice SET state = 'cancelled', reason = :reason, state_since = :now, final_at = :now "
            "WHERE id = ANY(:notices) AND state = 'planned'"
        ),
        {**person.values, **now, "reason": OPTED_OUT},
    )
    connection.execute(
        text("SELECT FROM notice WHERE id = ANY(:notices) ORDER BY id FOR UPDATE"), person.values
    )
    connection.execute(
        text(
            "UPDATE set_aside_row SET settled_at = :now, settled_by = :by, settlement = 'erased at request' "
            f"WHERE ({ROWS['set_aside_row']}) AND settled_at IS NULL AND content NOT IN ('payments', 'facts')"
        ),
        {**person.values, **now, "by": by},
    )
    erased = {}
    for rule in RULES:
        which = f"({ROWS[rule.table]}) AND {rule.held}"
        if rule.table == "set_aside_row":
            which += " AND settled_at IS NOT NULL"
        count = connection.execute(
            text(f"UPDATE {rule.table} SET {rule.column} = {rule.empty} WHERE {which}"), person.values
        ).rowcount
        if count:
            erased[rule.place] = count
    staged = sum(
        connection.execute(
            text(
                f"UPDATE {table} SET unknown = NULL "
                "WHERE customer_reference = ANY(:references) AND unknown IS NOT NULL"
            ),
            person.values,
        ).rowcount
        for table in staged_tables(connection)
    )
    return erased | ({"staging.unknown": staged} if staged else {})


def _kept(connection: Connection, person: Person) -> dict[str, int]:
    """Count what stays, by table."""
    counts = {}
    for table, which in ROWS.items():
        held = f"({which}) AND {_EMPTIED[table]}" if table in _EMPTIED else which
        rows = connection.scalar(text(f"SELECT count(*) FROM {table} WHERE {held}"), person.values)
        if rows:
            counts[table] = rows
    lists = sum(
        sum(is_theirs(row, person) for row in rows_of_file(path))
        for path in files_in(get_settings().lists)
        if path.suffix.lower() == ".csv"
    )
    return counts | ({"lists": lists} if lists else {})


_EMPTIED = {"set_aside_row": "fields <> '{}'"}


def _landed_with(connection: Connection, person: Person) -> list[Path]:
    """Return the folders of loaded feeds in the landing folder in which this customer is named."""
    landing = get_settings().landing
    if "://" in landing:
        return []
    rows = connection.execute(
        text(
            f"""
            SELECT f.content, f.name FROM feed f WHERE f.content = ANY(:contents) AND f.source = 'landing'
            AND f.id IN (
                SELECT feed_id FROM coupon WHERE {ROWS["coupon"]}
                UNION SELECT feed_id FROM departure WHERE {ROWS["departure"]}
                UNION SELECT feed_id FROM set_aside_row WHERE {ROWS["set_aside_row"]}
                UNION SELECT feed_id FROM superseded_row WHERE {ROWS["superseded_row"]}
                UNION SELECT superseded_by FROM superseded_row WHERE {ROWS["superseded_row"]}
            )
            """
        ),
        {**person.values, "contents": list(LANDED)},
    )
    folders = (Path(landing) / row.content / row.name for row in rows)
    return [folder for folder in folders if folder.is_dir() and not folder.is_symlink()]


def _erase_files(person: Person, landed: list[Path]) -> dict[str, int]:
    """Take their lines out of files for clerks, and the landed feeds that name them; return how many."""
    counts: dict[str, int] = {}
    for folder in clerks_folders():
        for path in files_in(folder):
            if lines := _without_them(path, person):
                counts[folder.name] = counts.get(folder.name, 0) + lines
    for folder in landed:
        shutil.rmtree(folder)
        counts["landed"] = counts.get("landed", 0) + 1
    return counts


def _without_them(path: Path, person: Person) -> int:
    """Write a file anew without the lines of a customer; return how many there were."""
    if path.suffix.lower() != ".csv":
        if path.parent.name == "access" and person.reference in path.read_text("utf-8", "replace"):
            path.unlink()
            return 1
        return 0
    rows = list(rows_of_file(path))
    rest = [row for row in rows if not is_theirs(row, person)]
    if len(rest) == len(rows):
        return 0
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, path.stat().st_mode & 0o777),
        "w",
        encoding="utf-8-sig",
        errors="surrogateescape",
        newline="",
    ) as stream:
        csv.writer(stream).writerows(rest)
    draft.replace(path)
    return len(rows) - len(rest)
