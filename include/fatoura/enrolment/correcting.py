"""Corrections that come back: the clerks' file, with what they have mended, as a batch told by a person.

Called by the command. What a person has told stands against what files repeat, but for a coupon that is
crossed out. Rows that nobody has touched are left out; the others are checked and judged as those of any
batch.
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.enrolment.lists import HELPERS, rows_to_correct
from fatoura.enrolment.loading import COUPONS
from fatoura.enrolment.records import COLUMNS, CouponsManifest
from fatoura.errors import BadInput
from fatoura.feeds.delivery import Delivery
from fatoura.feeds.loading import FeedLoaded, load_feed
from fatoura.feeds.records import BEYOND_THE_HEADER, PartUnreadableError, RawRow, read_csv
from fatoura.feeds.typed import next_typed_name
from fatoura.feeds.workbooks import WORKBOOK, read_workbook
from fatoura.manifests import Part
from fatoura.reports.tables import plain_cell
from fatoura.sending.doubts import checked_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

_WHERE = "command"


@dataclass(frozen=True)
class Corrected:
    """What came back: rows that were mended, rows that nobody had touched, and the batch of the former."""

    mended: int
    untouched: int
    loaded: FeedLoaded


@dataclass
class _Mended:
    """The rows that were mended, as a part of a batch."""

    name: str
    mended: list[RawRow]
    sha256: str | None

    def rows(self) -> Iterator[RawRow]:
        """Read the rows."""
        yield from self.mended


def correct_coupons(path: Path, *, by: str) -> Corrected:
    """Load what has been mended in a file of corrections, a CSV or XLSX; they are judged by the next intake.

    The rows that were set aside and are mended here count as settled, also where the new ones break a rule:
    those are set aside in their stead.

    :raises BadInput: when the file cannot be read as one of corrections, or nothing in it is mended.
    :raises FeedRefused: when so many rows break a rule that something else is wrong with the file.
    """
    by = checked_name(by)
    waiting = _waiting()
    mended: list[RawRow] = []
    settled: list[tuple[str, int]] = []
    untouched = 0
    for fields, flaw in _read(path):
        place = _place(fields)
        values = {name: _unguarded(fields.get(name, "")) for name in COLUMNS}
        if flaw is None and place in waiting and waiting[place] == _digest(values):
            untouched += 1
            continue
        if BEYOND_THE_HEADER in fields:
            values[BEYOND_THE_HEADER] = fields[BEYOND_THE_HEADER]
        mended.append((values, flaw))
        if place in waiting:
            settled.append(place)
    if not mended:
        raise BadInput(f"{path}: nothing in it has been mended; all its rows are as they were exported")
    loaded = _load(mended)
    _settle(settled, by, loaded.feed)
    return Corrected(len(mended), untouched, loaded)


def _load(mended: list[RawRow]) -> FeedLoaded:
    sha256 = hashlib.sha256(json.dumps(mended, sort_keys=True).encode()).hexdigest()
    part = Part(name=_WHERE, rows=len(mended), sha256=sha256)
    # Not validated: no other system may call its batches so.
    manifest = CouponsManifest.model_construct(
        feed=next_typed_name("coupons"), rows=len(mended), parts=(part,)
    )
    return load_feed(COUPONS, Delivery(manifest, "command", _WHERE, [_Mended(_WHERE, mended, sha256)]))


def _settle(rows: Iterable[tuple[str, int]], by: str, feed: str) -> None:
    places = list(rows)
    with begin() as connection:
        connection.execute(
            text(
                "UPDATE set_aside_row s SET settled_at = :now, settled_by = :by, settlement = :how "
                "FROM feed f, unnest(CAST(:batches AS text[]), CAST(:rows AS bigint[])) AS done (batch, row) "
                "WHERE f.content = 'coupons' AND f.name = done.batch AND s.feed_id = f.id "
                "AND s.row_number = done.row AND s.settled_at IS NULL"
            ),
            {
                "now": clock.now(),
                "by": by,
                "how": f"corrected in {feed}",
                "batches": [batch for batch, _ in places],
                "rows": [row for _, row in places],
            },
        )


def _waiting() -> dict[tuple[str, int], str]:
    """Return what the rows that wait for a clerk were exported as: a digest each."""
    with connect() as connection:
        return {(row.batch, row.row): _digest(row.fields) for row in rows_to_correct(connection)}


def _digest(fields: Mapping[str, str]) -> str:
    return hashlib.sha256("\0".join(fields[name].strip() for name in COLUMNS).encode()).hexdigest()


def _place(fields: Mapping[str, Any]) -> tuple[str, int]:
    batch, row = fields.get("batch"), fields.get("row")
    number = int(row) if isinstance(row, str) and row.isascii() and row.isdigit() else 0
    return (batch.strip() if isinstance(batch, str) else ""), number


def _unguarded(value: Any) -> str:
    """Take off the mark that keeps a spreadsheet from running a text; see `plain_cell`."""
    if not isinstance(value, str):
        return ""
    return value[1:] if value[:1] == "'" and plain_cell(value[1:]) == value else value


def _read(path: Path) -> Iterator[RawRow]:
    """Read the rows of a file: parted by commas, by semicolons as spreadsheets do, or a workbook."""
    try:
        if path.name.lower().endswith(WORKBOOK):
            with path.open("rb") as file:
                yield from read_workbook(file, COLUMNS)
            return
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            if header.count(";") > header.count(","):
                yield from _parted_by_semicolons(stream)
            else:
                yield from read_csv(stream, COLUMNS)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    except PartUnreadableError as error:
        helpers = ", ".join(HELPERS)
        raise BadInput(
            f"{path}: {'; '.join(error.problems)}. Keep the columns, {helpers} among them"
        ) from None


def _parted_by_semicolons(stream: TextIO) -> Iterator[RawRow]:
    reader = csv.DictReader(stream, delimiter=";", restkey=BEYOND_THE_HEADER, restval="")
    if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
        raise PartUnreadableError(f"the header lacks {', '.join(missing)}")
    for fields in reader:
        yield fields, "wrong_number_of_fields" if BEYOND_THE_HEADER in fields else None
