"""Lists of letters and for field teams as files: a CSV for programs, a workbook with a sheet a district.

Called by the workflows that make the lists, and by the command, which writes them again at any time: of what
was listed, so they come out the same. Those who work with them need each customer's reference in full; no
phone number and no message's text is in them. Therefore they do not lie among the reports, which everybody
sees who may log in to the UI: they have a folder of their own, which only the service's account can open.
Who else gets them is decided by whoever copies them, or by `fatoura cutoff … --to`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.cutoff.lists import ListKind
from fatoura.database import connect, locked
from fatoura.errors import BadInput, NotReady
from fatoura.reports.files import replaced_files
from fatoura.reports.tables import Field, Table, workbook, write_csv
from fatoura.reports.words import Words
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date
    from pathlib import Path

    from sqlalchemy import Row

_ONLY_OURS = 0o600
_ONLY_OUR_FOLDER = 0o700
_NOT_IN_A_SHEET_S_NAME = re.compile(r"[\[\]:*?/\\']")
_LONGEST_SHEET_NAME = 31


class ListUnknown(BadInput):
    """No such list was made."""


class ListNotWritten(NotReady):
    """The files could not be written (a full disk, a folder without permission); earlier ones stand."""


@dataclass(frozen=True)
class ListFiles:
    """The files of a list, and how many lines it has."""

    kind: ListKind
    day: date
    lines: int
    csv: Path
    workbook: Path


_OWED = "owed"
"""The column that becomes two: dinars, and millimes."""

_COLUMNS: dict[ListKind, tuple[Field, ...]] = {
    ListKind.LETTERS: (
        Field("district", "text", "", 10),
        Field("district_name", "text", "", 24),
        Field("customer_reference", "text", "", 14),
        Field("invoice", "text", "", 20),
        Field("reason", "text", "cutoff_reason", 46),
        Field(_OWED, "millimes"),
        Field("due_date", "day"),
        Field("language", "text", "language", 12),
        Field("message_id", "text", "", 38),
    ),
    ListKind.HAND_OVER: (
        Field("district", "text", "", 10),
        Field("district_name", "text", "", 24),
        Field("customer_reference", "text", "", 14),
        Field("invoice", "text", "", 20),
        Field(_OWED, "millimes"),
        Field("told_cut_from", "day", "", 14),
        Field("delivered_at", "instant"),
        Field("message_id", "text", "", 38),
        Field("receipt_id", "text", "", 14),
    ),
    ListKind.CALL_BACK: (
        Field("district", "text", "", 10),
        Field("district_name", "text", "", 24),
        Field("customer_reference", "text", "", 14),
        Field("invoice", "text", "", 20),
        Field("reason", "text", "cutoff_reason", 46),
        Field(_OWED, "millimes"),
        Field("handed_over_on", "day", "", 14),
    ),
}

# What was decided when it was listed, not what has become of the case since: the files come out the same.
_LINES = """
SELECT c.district, d.name_fr AS district_name, c.customer_reference, l.invoice_number AS invoice,
    l.balance_millimes AS owed, c.due_date, s.language, l.notice_id::text AS message_id, l.delivered_at,
    l.receipt_id::text AS receipt_id, said.reason, said.cut_from AS told_cut_from,
    handed.day AS handed_over_on
FROM cutoff_list_line l
JOIN cutoff_case c ON c.invoice_number = l.invoice_number AND c.sequence = l.sequence
LEFT JOIN district d ON d.code = c.district
LEFT JOIN subscription s ON s.id = c.subscription_id
LEFT JOIN LATERAL (
    SELECT reason, cut_from FROM cutoff_decision o
    WHERE o.invoice_number = l.invoice_number AND o.sequence = l.sequence AND o.day <= :day
        AND o.verdict = ANY(:verdicts)
    ORDER BY o.id DESC LIMIT 1
) said ON true
LEFT JOIN LATERAL (
    SELECT k.day FROM cutoff_list_line h JOIN cutoff_list k ON k.id = h.list_id
    WHERE k.kind = 'hand_over' AND h.invoice_number = l.invoice_number AND h.sequence = l.sequence
) handed ON true
WHERE l.list_id = :list
ORDER BY c.district, c.customer_reference, l.invoice_number
"""
_VERDICTS = {
    ListKind.LETTERS: ["letter"],
    ListKind.HAND_OVER: ["hand_over"],
    ListKind.CALL_BACK: ["withdraw", "leave_out"],
}


def list_folder(day: date) -> Path:
    """Return the folder of a day's lists, whether it is there or not."""
    return get_settings().lists / "cutoff" / str(day)


def write_list_files(kind: ListKind, day: date, *, folder: Path | None = None) -> ListFiles:
    """Write a day's list as it was made, over earlier files, and return them. Written again, it is the same.

    :param folder: another folder than that of the day's lists; it is made where it is not there.
    :raises ListUnknown: when no such list was made on that day.
    :raises ListNotWritten: when the disk is full, or the folder cannot be written.
    """
    with connect() as connection:
        made = connection.execute(
            text("SELECT id, made_at FROM cutoff_list WHERE kind = :kind AND day = :day"),
            {"kind": kind.value, "day": day},
        ).one_or_none()
        if made is None:
            raise ListUnknown(
                f"no list of {NAMES[kind]} was made on {day}: there was nobody to put on it, or its workflow "
                "has not run"
            )
        rows = connection.execute(
            text(_LINES), {"list": made.id, "day": day, "verdicts": _VERDICTS[kind]}
        ).all()
    into = folder or list_folder(day)
    words = Words(get_settings().report_language, {})
    csv_name, workbook_name = f"{kind}.csv", f"{kind}.xlsx"
    try:
        _make_folder(into, own=folder is None)
        with (
            locked(f"lists in {into}"),
            replaced_files(into, last=workbook_name, mode=_ONLY_OURS) as fresh,
        ):
            with (fresh / csv_name).open("w", encoding="utf-8", newline="") as file:
                write_csv(_for_programs(kind, rows), file)
            sheets = _for_people(kind, rows, words)
            title = f"{words('cutoff_list', kind)} {day}"
            (fresh / workbook_name).write_bytes(workbook(sheets, words, title=title, created=made.made_at))
    except OSError as error:
        raise ListNotWritten(
            f"the list of {NAMES[kind]} of {day} could not be written to {into}: {error.strerror or error}; "
            "earlier files stand as they were. Mend that, then write it again"
        ) from error
    return ListFiles(kind, day, len(rows), into / csv_name, into / workbook_name)


NAMES: dict[ListKind, str] = {
    ListKind.LETTERS: "letters",
    ListKind.HAND_OVER: "cases for the field teams",
    ListKind.CALL_BACK: "cases to call back",
}
"""What each list holds, in words."""


def _make_folder(folder: Path, *, own: bool) -> None:
    """Make the folder; all of ours, from the top on, can be opened by nobody else."""
    folder.mkdir(parents=True, exist_ok=True)
    if own:
        top = get_settings().lists
        for path in (top, top / "cutoff", folder):
            path.chmod(_ONLY_OUR_FOLDER)


def _for_programs(kind: ListKind, rows: Sequence[Row[Any]]) -> Table:
    fields: list[Field] = []
    for field in _COLUMNS[kind]:
        fields += [Field("owed_dinars"), Field("owed_millimes")] if field.name == _OWED else [field]
    return Table(kind.value, tuple(fields), [tuple(_plain(kind, row)) for row in rows])


def _plain(kind: ListKind, row: Row[Any]) -> Iterable[Any]:
    for field in _COLUMNS[kind]:
        value = getattr(row, field.name)
        if field.name == _OWED:
            yield Decimal(value).scaleb(-3)
        yield value


def _for_people(kind: ListKind, rows: Sequence[Row[Any]], words: Words) -> list[Table]:
    """Return a sheet for each district; one that is empty where nobody is on the list."""
    fields: list[Field] = []
    for field in _COLUMNS[kind]:
        fields += (
            [Field("owed_millimes", "millimes"), Field("millimes", "count")]
            if field.name == _OWED
            else [field]
        )
    sheets = [
        Table(
            kind.value,
            tuple(fields),
            [tuple(_shown(kind, row)) for row in of_district],
            title=_sheet_name(code, name),
        )
        for (code, name), of_district in groupby(rows, lambda row: (row.district, row.district_name))
    ]
    return sheets or [
        Table(kind.value, tuple(fields), [], title=words("cutoff_list", kind)[:_LONGEST_SHEET_NAME])
    ]


def _shown(kind: ListKind, row: Row[Any]) -> Iterable[Any]:
    for field in _COLUMNS[kind]:
        value = getattr(row, field.name)
        if field.name == _OWED:
            yield value
        yield value


def _sheet_name(code: str, name: str | None) -> str:
    return _NOT_IN_A_SHEET_S_NAME.sub(" ", f"{code} {name or ''}")[:_LONGEST_SHEET_NAME].strip()
