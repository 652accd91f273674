"""Reads an extract once, from beginning to end, and finds all that its manifest and its parts disagree on.

The one path that every extract takes, whatever its source: `load_extract` writes what it yields to the
database, `fatoura extracts check` throws it away. Bad records do not stop it; they are the quality gate's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fatoura.extracts.columns import COLUMNS, TYPED, Records, read_amounts, read_booleans, read_days
from fatoura.extracts.csv_records import PartUnreadableError
from fatoura.extracts.manifest import Manifest
from fatoura.manifests import Part as PartDeclared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fatoura.extracts.sources import Delivery, Part

STAGED = pa.schema(
    [
        pa.field("row_number", pa.int64(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("part_row", pa.int64(), nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in COLUMNS),
        pa.field("unknown", pa.string()),
        pa.field("flaw", pa.string()),
        pa.field("period_start_d", pa.date32()),
        pa.field("period_end_d", pa.date32()),
        pa.field("due_date_d", pa.date32()),
        pa.field("issue_date_d", pa.date32()),
        pa.field("amount_i", pa.int64()),
        pa.field("estimated_b", pa.bool_()),
    ]
)
"""The columns of a staged record: where it stood, its texts as they came, and what they read as."""

FLAWS = {
    "ragged": "the record has too few or too many fields, or a quote out of place",
    "not_utf8": "the record holds bytes that are not UTF-8 text",
}
"""What a record that came broken suffers from."""

_EXAMPLES = 5


@dataclass
class Reading:
    """An extract while it is read, and what was found in it.

    :param rows: records so far, of all parts, blank lines not counted.
    :param total: sum of all amounts that read as an integer, in millimes.
    :param flaws: how many records came broken, by kind.
    :param unreadable: how many values of a typed column do not read, by column of the contract.
    :param examples: places of the first broken records and unreadable values, a few of each kind.
    :param problems: why the extract must be refused; complete when `batches` has come to its end.
    """

    delivery: Delivery
    rows: int = 0
    total: int = 0
    part_rows: list[int] = field(default_factory=list)
    unknown_columns: list[str] = field(default_factory=list)
    flaws: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all records in the form of `STAGED`, some thousands at a time."""
        whole = True
        for part in self.delivery.parts:
            before = self.rows
            try:
                for records in part.records():
                    yield self._staged(records, part.name, self.rows - before)
            except PartUnreadableError as error:
                self.problems += [f"{part.name}: {problem}" for problem in error.problems]
                whole = False
            self.part_rows.append(self.rows - before)
            if part.header is not None:
                new = (name for name in part.header.unknown if name not in self.unknown_columns)
                self.unknown_columns.extend(new)
        self._compare(whole=whole)

    def manifest(self) -> Manifest:
        """Return the manifest: the one that came, or for a database one made of what was read."""
        parts = self.delivery.declared or tuple(
            PartDeclared(name=part.name, rows=rows, sha256=part.sha256 or "")
            for part, rows in zip(self.delivery.parts, self.part_rows, strict=True)
        )
        return Manifest.model_construct(
            cycle=self.delivery.cycle,
            issue_date=self.delivery.issue_date,
            rows=self.delivery.declared_rows,
            total_amount_millimes=self.delivery.declared_total,
            parts=parts,
        )

    @property
    def remarks(self) -> list[str]:
        """What is odd about the extract and does not stop it."""
        unknown = [f"unknown column {name!r}, kept apart" for name in self.unknown_columns]
        return [*self.delivery.remarks, *unknown]

    def _staged(self, records: Records, part: str, before: int) -> pa.RecordBatch:
        count = len(records)
        numbers = np.arange(1, count + 1)
        nothing = pa.nulls(count, pa.string())
        amounts, total = read_amounts(records.field("amount_due_millimes"))
        typed = [
            amounts
            if name == "amount_i"
            else (read_booleans if name == "estimated_b" else read_days)(records.field(column))
            for name, column in TYPED.items()
        ]
        batch = pa.RecordBatch.from_arrays(
            [
                pa.array(numbers + self.rows),
                pa.repeat(part, count),
                pa.array(numbers + before),
                *records.fields,
                nothing if records.unknown is None else records.unknown,
                nothing if records.flaw is None else records.flaw,
                *typed,
            ],
            schema=STAGED,
        )
        self.rows += count
        self.total += total
        self._note(batch, part, before)
        return batch

    def _note(self, batch: pa.RecordBatch, part: str, before: int) -> None:
        """Count what does not read, and remember the first places."""
        flaws = batch.column("flaw")
        broken = flaws.null_count < len(flaws)
        if broken:
            for flaw, said in FLAWS.items():
                where = pc.fill_null(pc.equal(flaws, flaw), False)
                self.flaws[flaw] += pc.sum(where).as_py()
                self._exemplify(where, part, before, said)
        for name, column in TYPED.items():
            values = batch.column(name)
            if values.null_count:
                unread = pc.and_(pc.is_null(values), pc.is_null(flaws)) if broken else pc.is_null(values)
                self.unreadable[column] += pc.sum(unread).as_py() or 0
                self._exemplify(unread, part, before, f"{column} does not read as {_kind(column)}")
        self.flaws, self.unreadable = +self.flaws, +self.unreadable

    def _exemplify(self, where: pa.BooleanArray, part: str, before: int, said: str) -> None:
        room = _EXAMPLES - sum(one.endswith(said) for one in self.examples)
        for at in pc.indices_nonzero(where)[: max(room, 0)].to_pylist():
            self.examples.append(f"{part}, row {before + at + 1}: {said}")

    def _compare(self, *, whole: bool) -> None:
        """Compare what was read with what was declared. Sums of an extract with a lost part say nothing."""
        delivery = self.delivery
        declared = delivery.declared or ()
        for one, part, rows in zip(declared, delivery.parts, self.part_rows, strict=False):
            if part.sha256 is not None and part.sha256 != one.sha256.lower():
                self.problems.append(
                    f"{one.name}: its sha256 is {part.sha256}, the manifest says {one.sha256.lower()}; the "
                    "file is cut short or was changed after the manifest was written: deliver both again"
                )
            if rows != one.rows and _was_read(part):
                self.problems.append(
                    f"{one.name}: holds {rows:,} records, the manifest says {one.rows:,}"
                    + ("; the file is cut short" if rows < one.rows else "")
                )
        if not whole:
            return
        if not declared and self.rows != delivery.declared_rows:
            self.problems.append(
                f"{self.rows:,} records were read where the database counted {delivery.declared_rows:,}"
            )
        if self.total != delivery.declared_total:
            counted = "the manifest says" if declared else "the database makes it"
            self.problems.append(
                f"total_amount_millimes: the amounts that read as integers make {self.total:,}, {counted} "
                f"{delivery.declared_total:,} (difference {self.total - delivery.declared_total:+,})"
            )


def _was_read(part: Part) -> bool:
    return part.header is not None


def _kind(column: str) -> str:
    if column == "amount_due_millimes":
        return "an integer"
    return "true or false" if column == "estimated" else "a day (YYYY-MM-DD)"
