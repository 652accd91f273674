"""The manifest of an extract: `manifest.json`, written last, says what the parts must hold.

Read by the landing folder's source and by `fatoura extracts check`; made by the generator and by the
database source. Knows the form only: whether the files agree with it is found while they are read.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fatoura import clock
from fatoura.extracts.refusal import ExtractRefused
from fatoura.extracts.values import read_day

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fatoura.cycles.keys import ExtractKey

FILE_NAME = "manifest.json"

LARGEST = 1_048_576
"""Bytes. A manifest of ten thousand parts has as much; what is larger is another file."""

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


class Part(BaseModel):
    """One file of an extract: its name in the folder, its records without the header, its checksum."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"(?i)\A[a-z0-9_][a-z0-9_.-]{0,199}\z")]
    rows: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"\A[0-9A-Fa-f]{64}\z")]


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
    if len(content) > LARGEST:
        raise ExtractRefused(subject, [f"{FILE_NAME}: larger than {LARGEST:,} bytes, so no manifest"])
    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except UnicodeDecodeError:
        raise ExtractRefused(subject, [f"{FILE_NAME}: not UTF-8; write it again in UTF-8"]) from None
    except _RepeatedFieldError as error:
        raise ExtractRefused(subject, [f"{FILE_NAME}: {error.args[0]!r} is there twice; keep one"]) from None
    except json.JSONDecodeError as error:
        raise ExtractRefused(
            subject,
            [
                f"{FILE_NAME}: not JSON, from line {error.lineno}, column {error.colno} on ({error.msg}); "
                "write it whole, and last of all files"
            ],
        ) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets without end
        raise ExtractRefused(subject, [f"{FILE_NAME}: not a manifest; its form is {_FORM}"]) from None
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        raise ExtractRefused(subject, list(_sentences(error))) from None
    problems = list(_contradictions(manifest, key))
    if problems:
        raise ExtractRefused(subject, problems)
    return manifest


class _RepeatedFieldError(Exception):
    pass


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RepeatedFieldError(
            next(n for n, count in Counter(name for name, _ in pairs).items() if count > 1)
        )
    return found


_SAID = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of a manifest; take it out",
    "int_type": "must be a whole number, without quotes or a decimal point",
    "string_type": "must be text in quotes",
    "greater_than_equal": "must not be negative",
}


def _sentences(error: ValidationError) -> Iterator[str]:
    for one in error.errors():
        path = ".".join(f"[{step}]" if isinstance(step, int) else step for step in one["loc"])
        path = path.replace(".[", "[")
        match one["type"], one["loc"][-1:]:
            case "string_pattern_mismatch", ("name",):
                said = (
                    "must be the plain name of a file in this folder: letters, digits, '.', '-' and '_', "
                    "no path"
                )
            case "string_pattern_mismatch", _:
                said = "must be 64 hexadecimal digits"
            case "value_error", _:
                said = str(one["ctx"]["error"])
            case kind, _ if kind in _SAID:
                said = _SAID[kind]
            case _:
                said = f"is not of the right form ({one['msg']}); a manifest is written {_FORM}"
        yield f"{FILE_NAME}: {path} {said}" if path else f"{FILE_NAME}: {said}"


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
    total = sum(part.rows for part in manifest.parts)
    if total != manifest.rows:
        yield f"{FILE_NAME}: rows is {manifest.rows:,}, but the parts' rows make {total:,}"
    for name, count in Counter(part.name.lower() for part in manifest.parts).items():
        if count > 1:
            yield f"{FILE_NAME}: part {name} is named {count} times"
    for part in manifest.parts:
        if not part.name.lower().endswith((".csv", ".parquet")):
            yield f"{FILE_NAME}: part {part.name} is neither .csv nor .parquet"
    sums = Counter(part.sha256.lower() for part in manifest.parts if part.rows)
    for part in manifest.parts:
        same = sums.pop(part.sha256.lower(), 0)
        if same > 1:
            yield f"{FILE_NAME}: {same} parts have the checksum of {part.name}: the same file is there twice"
