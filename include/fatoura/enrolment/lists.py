"""Lists for clerks: coupons that need a person, as a file that comes back corrected, and numbers that failed.

Called by the intake and by the command, which write them again at any time. Full numbers and references are
in them, so they lie in a folder that only the service's account can open, and are never shown in the UI.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

from fatoura.database import connect, locked
from fatoura.enrolment.records import COLUMNS, as_it_came
from fatoura.enrolment.words import say
from fatoura.errors import NotReady
from fatoura.feeds.workbooks import WORKBOOK
from fatoura.phones_at_rest import opened
from fatoura.reports.files import replaced_files
from fatoura.reports.tables import plain_cell
from fatoura.settings import get_settings
from fatoura.subscriptions.numbers import WITHOUT_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

HELPERS = ("batch", "row", "reasons", "explanation", "other_coupons")
"""The columns that the corrections have besides the contract's: where the row stood, and what is wrong."""

CORRECTIONS, UNREACHABLE_NUMBERS = "corrections.csv", "unreachable.csv"
"""The files. Beside each lies a workbook of the same name: in a CSV file, spreadsheets spoil numbers."""

_ONLY_OURS, _ONLY_OUR_FOLDER = 0o600, 0o700
_STATE = ".written"
_CHUNK = 5_000
_WIDTH = 18
_LONGEST_SHEET = 1_048_576
"""Rows, the header included. The CSV file has them all."""


class ListNotWritten(NotReady):
    """The files could not be written (a full disk, a folder without permission); earlier ones stand."""


@dataclass(frozen=True)
class ListsWritten:
    """The files, and how many lines each has."""

    corrections: int
    unreachable: int
    folder: Path

    @property
    def counts(self) -> dict[str, int]:
        """What a log or a record holds."""
        return {"corrections": self.corrections, "unreachable": self.unreachable}


_SET_ASIDE = """
SELECT f.name AS batch, s.row_number AS row, s.fields, s.reasons, NULL AS others
FROM set_aside_row s JOIN feed f ON f.id = s.feed_id
WHERE s.content = 'coupons' AND s.settled_at IS NULL ORDER BY s.feed_id, s.row_number
"""
_TO_DECIDE = "c.outcome = 'refused' AND c.judged_by IS NULL"
_REFUSED = f"""
SELECT c.told_in AS batch, c.row_number AS row, jsonb_build_object(
        'coupon_id', c.coupon_id, 'scan_id', c.scan_id, 'customer_reference', c.customer_reference,
        'phone', c.phone, 'language', c.language, 'signed', 'true', 'signed_on', c.signed_on,
        'wording_version', c.wording_version, 'crossed_out', 'false'
    ) AS fields, ARRAY[c.reason] AS reasons, (
        SELECT string_agg(o.coupon_id, ' ' ORDER BY o.coupon_id) FROM coupon o
        WHERE o.customer_reference = c.customer_reference AND o.coupon_id <> c.coupon_id
            AND NOT o.crossed_out
    ) AS others
FROM coupon c WHERE {_TO_DECIDE} ORDER BY c.coupon_id
"""
_FAILED = """
SELECT u.customer_reference, k.district, u.phone, u.language, u.state_reason, u.changed_at AS since,
    c.coupon_id, c.scan_id, n.id AS message_id, n.state AS message_state, n.reason AS provider_said
FROM subscription u
LEFT JOIN customer k ON k.customer_reference = u.customer_reference
LEFT JOIN LATERAL (
    SELECT c.coupon_id, c.scan_id FROM coupon c
    WHERE c.customer_reference = u.customer_reference AND c.subscription_id = u.id AND c.phone = u.phone
    ORDER BY c.outcome = 'unchanged', c.welcomed_at DESC NULLS LAST, c.coupon_id LIMIT 1
) c ON true
LEFT JOIN LATERAL (
    SELECT n.id, n.state, n.reason FROM notice n
    WHERE n.kind = 'welcome' AND n.subject = c.coupon_id ORDER BY n.sequence DESC LIMIT 1
) n ON true
WHERE u.state = 'suspended' AND u.state_reason = ANY(:reasons)
ORDER BY k.district, u.customer_reference
"""
_FAILED_COLUMNS = (
    *("customer_reference", "district", "phone", "language", "reason", "explanation", "since"),
    *("coupon_id", "scan_id", "message_id", "message_state", "provider_said"),
)

# Small where little waits for a clerk: all of it lies in partial indexes.
_SIGNATURE = f"""
SELECT concat_ws('|',
    (SELECT concat_ws(' ', count(*), max(c.judged_at)) FROM coupon c WHERE {_TO_DECIDE}),
    (SELECT concat_ws(' ', count(*), max(feed_id)) FROM set_aside_row
        WHERE content = 'coupons' AND settled_at IS NULL),
    (SELECT concat_ws(' ', count(*), max(changed_at)) FROM subscription u
        WHERE u.state = 'suspended' AND u.state_reason = ANY(:reasons)))
"""


class ToCorrect(NamedTuple):
    """What needs a clerk: where it stood, its texts by the contract's columns, and what is wrong.

    :param others: the customer's other coupons.
    """

    batch: str
    row: int
    fields: dict[str, str]
    reasons: tuple[str, ...]
    others: str | None


@dataclass(frozen=True)
class UnreachableNumber:
    """A subscription that rests for want of a number that works; `phone` as it is stored."""

    customer_reference: str
    district: str | None
    phone: str
    language: str
    state_reason: str
    since: Any
    coupon_id: str | None
    scan_id: str | None
    message_id: Any
    message_state: str | None
    provider_said: str | None


def list_folder() -> Path:
    """Return the folder of the lists, whether it is there or not."""
    return get_settings().var / "enrolment"


def unreachable_numbers() -> list[UnreachableNumber]:
    """Return the subscriptions that rest for want of a number that works, by district and reference."""
    with connect() as connection:
        return [UnreachableNumber(*row) for row in connection.execute(text(_FAILED), _reasons())]


def are_stale() -> bool:
    """Tell whether something has changed since the lists were written here."""
    with connect() as connection:
        said = _signature(connection)
    try:
        return (list_folder() / _STATE).read_text() != said
    except OSError:
        return True


def write_lists() -> ListsWritten:
    """Write both lists over earlier ones. Written again, they say what stands then.

    :raises ListNotWritten: when the disk is full, or the folder cannot be written.
    """
    from xlsxwriter.exceptions import XlsxFileError

    folder = list_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(_ONLY_OUR_FOLDER)
        with (
            locked(f"lists in {folder}") as connection,
            replaced_files(folder, last=_STATE, mode=_ONLY_OURS) as fresh,
        ):
            # First, so that what changes while it is written makes it stale.
            (fresh / _STATE).write_text(_signature(connection))
            corrections = _write(fresh / CORRECTIONS, (*COLUMNS, *HELPERS), _corrections(connection))
            unreachable = _write(fresh / UNREACHABLE_NUMBERS, _FAILED_COLUMNS, _failed(connection))
    except (OSError, XlsxFileError) as error:
        raise ListNotWritten(
            f"the lists for clerks could not be written to {folder}: "
            f"{getattr(error, 'strerror', None) or error}; earlier files stand as they were. Mend that, then "
            "clear this task"
        ) from error
    return ListsWritten(corrections, unreachable, folder)


def _write(path: Path, header: Sequence[str], rows: Iterator[list[Any]]) -> int:
    import xlsxwriter

    options = {"constant_memory": True, "tmpdir": str(path.parent)}
    # The CSV file with a mark of its encoding: spreadsheets would spoil Arabic without it.
    with (
        path.open("w", encoding="utf-8-sig", newline="") as file,
        xlsxwriter.Workbook(path.with_suffix(WORKBOOK), options) as book,
    ):
        writer, sheet = csv.writer(file), book.add_worksheet()
        sheet.freeze_panes(1, 0)
        # As texts, also what is typed in: no zero in front of a number is lost, and no day becomes another.
        as_text = book.add_format({"num_format": "@"})
        sheet.set_column(0, len(header) - 1, _WIDTH, as_text)
        written = -1
        for cells in chain([header], (map(plain_cell, row) for row in rows)):
            texts = list(cells)
            writer.writerow(texts)
            written += 1
            if written < _LONGEST_SHEET:
                for at, cell in enumerate(texts):
                    sheet.write_string(written, at, cell, as_text)
    return written


def rows_to_correct(connection: Connection) -> Iterator[ToCorrect]:
    """Yield what needs a clerk: rows that were set aside, then refused coupons."""
    streamed = connection.execution_options(stream_results=True, max_row_buffer=_CHUNK)
    for query in (_SET_ASIDE, _REFUSED):
        for batch, row, kept, reasons, others in streamed.execute(text(query)):
            came = as_it_came(kept)
            fields = {name: value if isinstance(value := came.get(name), str) else "" for name in COLUMNS}
            yield ToCorrect(batch, row, fields, tuple(reasons), others)


def _corrections(connection: Connection) -> Iterator[list[Any]]:
    language = get_settings().report_language
    for row in rows_to_correct(connection):
        words = " ".join(say(reason, language) for reason in row.reasons)
        yield [*row.fields.values(), row.batch, row.row, "; ".join(row.reasons), words, row.others]


def _failed(connection: Connection) -> Iterator[list[Any]]:
    language = get_settings().report_language
    streamed = connection.execution_options(stream_results=True, max_row_buffer=_CHUNK)
    for row in streamed.execute(text(_FAILED), _reasons()):
        yield [
            *(row.customer_reference, row.district, opened(row.phone), row.language, row.state_reason),
            *(say(row.state_reason, language), row.since, row.coupon_id, row.scan_id),
            *(row.message_id, row.message_state, row.provider_said),
        ]


def _reasons() -> dict[str, list[str]]:
    return {"reasons": list(WITHOUT_NUMBER)}


def _signature(connection: Connection) -> str:
    said = connection.scalar(text(_SIGNATURE), _reasons())
    return hashlib.sha256(str(said).encode()).hexdigest()
