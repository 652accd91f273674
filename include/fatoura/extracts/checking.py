"""Checks an extract from outside, before it is delivered, and loads nothing. Behind `fatoura extracts check`.

Takes the path that every extract takes, so that what passes here passes there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fatoura.extracts.reading import Reading
from fatoura.extracts.refusal import ExtractRefused
from fatoura.extracts.sources import open_folder
from fatoura.landing import landing_path

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Checked:
    """What was found in a folder. Without a readable manifest only `problems` says something.

    :param flaws: broken records, by kind.
    :param unreadable: values that do not read, by column.
    :param examples: places of the first of both.
    :param remarks: what is odd and does no harm.
    :param problems: why the extract would be refused.
    """

    folder: str
    cycle: str | None = None
    rows: int | None = None
    total_amount_millimes: int | None = None
    parts: list[dict[str, Any]] = field(default_factory=list)
    unknown_columns: list[str] = field(default_factory=list)
    flaws: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Tell whether it would be loaded."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"accepted": self.accepted} | self.__dict__

    def lines(self) -> Iterator[str]:
        """Yield it for a person to read."""
        if self.cycle is not None:
            parts = "1 part" if len(self.parts) == 1 else f"{len(self.parts)} parts"
            yield f"{self.folder}: extract of {self.cycle}, {self.rows:,} records in {parts}"
        for kind, count in {**self.flaws, **self.unreadable}.items():
            yield f"set aside by the quality gate: {count:,} × {kind}"
        yield from (f"  {example}" for example in self.examples)
        yield from (f"remark: {remark}" for remark in self.remarks)
        yield from (f"refused: {problem}" for problem in self.problems)
        if self.accepted:
            yield "would be loaded"


def check_folder(folder: str) -> Checked:
    """Check the extract that lies in a folder.

    :param folder: a path, or a URL such as ``s3://bucket/extract``.
    """
    try:
        delivery = open_folder(landing_path(folder), None, folder)
    except ExtractRefused as refused:
        return Checked(folder, problems=list(refused.problems))
    reading = Reading(delivery)
    for _ in reading.batches():
        pass
    return Checked(
        folder,
        delivery.cycle,
        reading.rows,
        reading.total,
        [
            {"name": part.name, "rows": rows, "sha256": part.sha256}
            for part, rows in zip(delivery.parts, reading.part_rows, strict=True)
        ],
        reading.unknown_columns,
        dict(reading.flaws),
        dict(reading.unreadable),
        reading.examples,
        reading.remarks,
        reading.problems,
    )
