"""Manifests: `manifest.json`, written last into a delivery's folder, says what its parts must hold.

The form that extracts and feeds have in common, read strictly. Each has a model of its own; whether the files
agree with it is found while they are read.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILE_NAME = "manifest.json"

LARGEST = 1_048_576
"""Bytes. A manifest of ten thousand parts has as much; what is larger is another file."""


class ManifestError(Exception):
    """A manifest that cannot be taken; `problems` says why, a sentence each."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


class Part(BaseModel):
    """One file of a delivery: its name in the folder, its records without the header, its checksum."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"(?i)\A[a-z0-9_][a-z0-9_.-]{0,199}\z")]
    rows: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"\A[0-9A-Fa-f]{64}\z")]


_Model = TypeVar("_Model", bound=BaseModel)


def parse(content: bytes, model: type[_Model], form: str) -> _Model:
    """Read a manifest, strictly: every field there, of its type, and nothing else.

    :param content: the file; UTF-8, a byte order mark is tolerated.
    :param form: an example of a good one.
    :raises ManifestError: with everything that is wrong.
    """
    if len(content) > LARGEST:
        raise ManifestError(f"{FILE_NAME}: larger than {LARGEST:,} bytes, so no manifest")
    return validated(decode(content, FILE_NAME, form), model, f"{FILE_NAME}: ", form)


def decode(content: bytes, name: str, form: str) -> Any:
    """Read a JSON document in which no field may stand twice.

    :param name: what messages call it.
    :raises ManifestError: when it is none.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except UnicodeDecodeError:
        raise ManifestError(f"{name}: not UTF-8; write it again in UTF-8") from None
    except _RepeatedFieldError as error:
        raise ManifestError(f"{name}: {error.args[0]!r} is there twice; keep one") from None
    except json.JSONDecodeError as error:
        raise ManifestError(
            f"{name}: not JSON, from line {error.lineno}, column {error.colno} on ({error.msg}); "
            "write it whole, and last of all files"
        ) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets without end
        raise ManifestError(f"{name}: not a manifest; its form is {form}") from None


def validated(document: Any, model: type[_Model], prefix: str, form: str) -> _Model:
    """Read a manifest out of a JSON document.

    :param prefix: what each sentence begins with.
    :raises ManifestError: with everything that is wrong.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ManifestError(*(prefix + said for said in _sentences(error, form))) from None


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


def _sentences(error: ValidationError, form: str) -> Iterator[str]:
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
                said = f"is not of the right form ({one['msg']}); a manifest is written {form}"
        yield f"{path} {said}" if path else said


def contradictions(rows: int, parts: Sequence[Part], endings: Sequence[str]) -> Iterator[str]:
    """Say what a manifest's parts have wrong among themselves.

    :param rows: what the manifest says that they make together.
    :param endings: how a part's name may end, such as ``.csv``.
    """
    total = sum(part.rows for part in parts)
    if total != rows:
        yield f"{FILE_NAME}: rows is {rows:,}, but the parts' rows make {total:,}"
    for name, count in Counter(part.name.lower() for part in parts).items():
        if count > 1:
            yield f"{FILE_NAME}: part {name} is named {count} times"
    for part in parts:
        if not part.name.lower().endswith(tuple(endings)):
            neither = " nor ".join(endings)
            yield f"{FILE_NAME}: part {part.name} is {'neither ' if len(endings) > 1 else 'not '}{neither}"
    sums = Counter(part.sha256.lower() for part in parts if part.rows)
    for part in parts:
        same = sums.pop(part.sha256.lower(), 0)
        if same > 1:
            yield f"{FILE_NAME}: {same} parts have the checksum of {part.name}: the same file is there twice"
