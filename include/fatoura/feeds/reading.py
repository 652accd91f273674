"""Reads a feed once, from beginning to end, and finds all that its manifest and its parts disagree on.

The one path that every feed takes, whatever its source: loading writes what it yields to the database,
`check` throws it away. Bad rows do not stop it; they are set aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from fatoura.extracts.values import read_integer
from fatoura.feeds.content import Content, M
from fatoura.feeds.records import PartUnreadableError, Record
from fatoura.manifests import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fatoura.feeds.delivery import Delivery


class Reading(Generic[M]):
    """A feed while it is read, and what was found in it.

    :ivar rows: so far, of all parts, blank lines not counted.
    :ivar total: sum of all amounts that read as an integer, in millimes.
    :ivar problems: why the feed must be refused; complete when `records` has come to its end.
    """

    def __init__(self, content: Content[M], delivery: Delivery[M]) -> None:
        self.content = content
        self.delivery = delivery
        self.rows = 0
        self.total = 0
        self.problems: list[str] = []
        self._part_rows: list[int] = []

    def records(self) -> Iterator[Record]:
        """Yield all rows, numbered through."""
        whole = True
        amounts = self.content.amounts
        for part in self.delivery.parts:
            before = self.rows
            try:
                for fields, flaw in part.rows():
                    self.rows += 1
                    record = Record(self.rows, part.name, self.rows - before, fields, flaw)
                    if amounts is not None:
                        self.total += read_integer(record.text(amounts)) or 0
                    yield record
            except PartUnreadableError as error:
                self.problems += [f"{part.name}: {problem}" for problem in error.problems]
                whole = False
            self._part_rows.append(self.rows - before)
        self._compare(whole=whole)

    def manifest(self) -> M:
        """Return the manifest, completed by what was read where it did not name its parts."""
        manifest = self.delivery.manifest
        if self.delivery.summed:
            return manifest
        parts = tuple(
            Part(name=part.name, rows=rows, sha256=part.sha256 or "0" * 64)
            for part, rows in zip(self.delivery.parts, self._part_rows, strict=True)
        )
        return manifest.completed(parts, self.total)

    def _compare(self, *, whole: bool) -> None:
        """Compare what was read with what was declared. Sums of a feed with a lost part say nothing."""
        declared = self.delivery.manifest
        if not self.delivery.summed:
            if whole and self.rows != declared.rows:
                self.problems.append(f"{self.rows:,} rows were read where {declared.rows:,} had been counted")
            return
        self._compare_parts(declared.parts)
        total = declared.declared_total
        if whole and total is not None and total != self.total:
            self.problems.append(
                f"total_amount_millimes: the amounts that read as integers make {self.total:,}, the manifest "
                f"says {total:,} (difference {self.total - total:+,}); amounts of reversals are added as well"
            )

    def _compare_parts(self, declared: Sequence[Part]) -> None:
        for one, part, rows in zip(declared, self.delivery.parts, self._part_rows, strict=True):
            if part.sha256 is None:
                continue  # it could not be read at all
            if part.sha256 != one.sha256.lower():
                self.problems.append(
                    f"{one.name}: its sha256 is {part.sha256}, the manifest says {one.sha256.lower()}; the "
                    "file is cut short or was changed after the manifest was written: deliver both again"
                )
            if rows != one.rows:
                self.problems.append(
                    f"{one.name}: holds {rows:,} rows, the manifest says {one.rows:,}"
                    + ("; the file is cut short" if rows < one.rows else "")
                )
