"""Checks a feed from outside, before it is delivered, and loads nothing. Behind `fatoura payments check`.

Takes the path that every feed takes, so that what passes here passes there; only what a database has to tell
(other feeds, rows that stand) is not looked at.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fatoura.feeds.delivery import open_folder
from fatoura.feeds.loading import TOLD, allowed_flaws
from fatoura.feeds.reading import Reading
from fatoura.feeds.records import RowFlaws
from fatoura.feeds.refusal import FeedRefused
from fatoura.landing import landing_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fatoura.feeds.content import Content, M


@dataclass(frozen=True)
class Checked:
    """What was found in a folder. Without a readable manifest only `problems` says something.

    :param reasons: how many rows would be set aside for which flaw; a row may have several.
    :param set_aside: how many rows would be, and `first` of them.
    :param remarks: what is odd and does no harm.
    :param problems: why the feed would be refused.
    """

    folder: str
    feed: str | None = None
    rows: int = 0
    set_aside: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    first: tuple[RowFlaws, ...] = ()
    remarks: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Tell whether it would be loaded."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "accepted": self.accepted,
            **self.__dict__,
            "first": [flaw for row in self.first for flaw in row.as_json()],
        }

    def lines(self) -> Iterator[str]:
        """Yield it for a person to read."""
        if self.feed is not None:
            yield f"{self.folder}: feed {self.feed}, {self.rows:,} rows"
        for reason, count in self.reasons.items():
            yield f"set aside: {count:,} × {reason}"
        for row in self.first:
            yield f"  row {row.row}: {'; '.join(row.reasons)}"
        yield from (f"remark: {remark}" for remark in self.remarks)
        yield from (f"refused: {problem}" for problem in self.problems)
        if self.accepted:
            yield "would be loaded"


def check_folder(content: Content[M], folder: str) -> Checked:
    """Check the feed that lies in a folder.

    :param folder: a path, or a URL such as ``s3://bucket/payments/2026-06-29-0600``.
    """
    try:
        delivery = open_folder(content, landing_path(folder), named=False, subject=folder)
    except FeedRefused as refused:
        return Checked(folder, problems=refused.problems)
    reading = Reading(content, delivery)
    check = content.check(delivery.manifest)
    names = list(content.typed)
    key, values = [names.index(one) for one in content.key], [names.index(one) for one in content.values]
    flawed: dict[int, tuple[str, ...]] = {}
    seen: dict[tuple[Any, ...], tuple[int, tuple[Any, ...]]] = {}
    for record in reading.records():
        checked = check(record)
        if isinstance(checked, list):
            flawed[record.row] = tuple(map(str, checked))
            continue
        said = tuple(checked[at] for at in values)
        first_row, before = seen.setdefault(tuple(checked[at] for at in key), (record.row, said))
        if before != said:
            flawed[first_row] = flawed[record.row] = (f"{content.subject}: conflicting_rows",)
    problems = list(reading.problems)
    if len(flawed) > allowed_flaws(content, reading.rows):
        problems.append(
            f"{len(flawed):,} of {reading.rows:,} rows break a rule: it is the form that is wrong"
        )
    return Checked(
        folder,
        delivery.manifest.feed,
        reading.rows,
        len(flawed),
        dict(Counter(reason for reasons in flawed.values() for reason in reasons).most_common()),
        tuple(RowFlaws(row, flawed[row]) for row in sorted(flawed)[:TOLD]),
        tuple(delivery.remarks),
        tuple(problems),
    )
