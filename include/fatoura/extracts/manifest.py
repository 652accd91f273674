"""The manifest of an extract.

Read by the landing folder's source and by `fatoura extracts check`; made by the generator and by the
database source. Knows the form only: whether the files agree with it is found while they are read.
"""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fatoura import clock
from fatoura.extracts.refusal import ExtractRefused
from fatoura.extracts.values import read_day
from fatoura.manifests import FILE_NAME, ManifestError, Part, contradictions, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fatoura.cycles.keys import ExtractKey

_FURTHEST_AHEAD = timedelta(days=31)
"""Bills are prepared before the day they are issued on, but not by months: that is a mistyped date."""

_FORM = (
    '{"cycle": "2026-05-T1", "issue_date": "2026-05-20", "rows": 2000, "total_amount_millimes": 170704000, '
    '"parts": [{"name": "invoices.csv", "rows": 2000, "sha256": "…"}]}'
)


def _iso_day(value: object) -> date:
    # pydantic's own reading also takes seconds since 1970 and dates with a time.
    if isinstance(value, date):
        return value
    if isinstance(value, str) and (day := read_day(value)) is not None:
        return day
    raise ValueError('is not a day such as "2026-05-20"')


class Manifest(BaseModel):
    """What an extract says of itself. Money in millimes; `rows` counts every record, bad ones too."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    cycle: str
    issue_date: Annotated[date, BeforeValidator(_iso_day)]
    rows: Annotated[int, Field(ge=0)]
    total_amount_millimes: int
    parts: Annotated[tuple[Part, ...], Field(strict=False)]

    @property
    def digest(self) -> str:
        """The sameness of an extract: issue day and the parts' checksums, in order."""
        lines = [self.issue_date.isoformat(), *(part.sha256.lower() for part in self.parts)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """Return the manifest as the JSON document that it is written as."""
        return self.model_dump(mode="json")


def read_manifest(content: bytes, key: ExtractKey | None, subject: str) -> Manifest:
    """Read a manifest, strictly: every field there, of its type, and nothing else.

    :param content: the file; UTF-8, a byte order mark is tolerated.
    :param key: the extract whose folder it lies in; none when a folder is checked from outside.
    :param subject: how a refusal names the extract.
    :raises ExtractRefused: with everything that is wrong.
    """
    try:
        manifest = parse(content, Manifest, _FORM)
    except ManifestError as error:
        raise ExtractRefused(subject, error.problems) from None
    problems = list(_contradictions(manifest, key))
    if problems:
        raise ExtractRefused(subject, problems)
    return manifest


def _contradictions(manifest: Manifest, key: ExtractKey | None) -> Iterator[str]:
    if key is not None and manifest.cycle not in {key.cycle, str(key)}:
        yield (
            f"{FILE_NAME}: cycle is {manifest.cycle!r}, but the folder is that of {key}; "
            "move the extract to its own folder, or correct the manifest"
        )
    if not manifest.parts:
        yield f"{FILE_NAME}: parts names no part"
    latest = clock.today() + _FURTHEST_AHEAD
    if manifest.issue_date > latest:
        yield (
            f"{FILE_NAME}: issue_date {manifest.issue_date} lies more than {_FURTHEST_AHEAD.days} days "
            "in the future; correct the date"
        )
    yield from contradictions(manifest.rows, manifest.parts, (".csv", ".parquet"))
