"""Corrections: rejected rows go out as a file that people mend, and come back as a supplement.

Called by `fatoura quality export` and `fatoura quality supplement`. A supplement is written into the
landing folder like any delivery, so the rows come back by the normal way; nothing here touches a cycle.
"""

from __future__ import annotations

import csv
import hashlib
import json
import warnings
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import text

from fatoura.cycles.keys import ExtractKey
from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.extracts.columns import COLUMNS, Header
from fatoura.extracts.landing import extract_folder
from fatoura.extracts.manifest import Manifest
from fatoura.extracts.values import read_integer
from fatoura.landing import landing_path
from fatoura.manifests import FILE_NAME, Part
from fatoura.quality.suite import load_suite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from fatoura.landing import LandingPath

HELPERS = ("part", "row", "reasons", "explanation")
"""The columns that an export has besides the contract's: where the row stood, and what is wrong with it."""

_PART = "invoices.csv"
_CHUNK = 20_000  # rows held at once


@dataclass(frozen=True)
class SupplementWritten:
    """A supplement in the landing folder.

    :param folder: as the landing folder is given: a path or a URL.
    """

    key: ExtractKey
    folder: str
    rows: int
    total_amount_millimes: int


def export_rejected(key: ExtractKey, out: IO[str]) -> int:
    """Write the rejected rows of an extract as CSV: the contract's columns, then `HELPERS`.

    Reasons are codes, parted by spaces; the explanation says what each rule demands. `row` counts from 1
    in its part, the header left out.

    :returns: how many rows there are.
    :raises BadInput: when there is no such extract.
    """
    words = load_suite().words()
    fields = ", ".join(f"fields ->> '{column}' AS {column}" for column in COLUMNS)
    written = 0
    with connect() as connection:
        extract_id = connection.scalar(
            text(
                "SELECT e.id FROM extract AS e JOIN cycle AS c ON c.id = e.cycle_id "
                "WHERE c.key = :cycle AND e.supplement = :supplement"
            ),
            {"cycle": key.cycle, "supplement": key.supplement},
        )
        if extract_id is None:
            raise BadInput(f"there is no extract {key}")
        frames = pd.read_sql_query(
            text(
                f"SELECT {fields}, part, part_row AS row, reasons FROM rejected_row "
                "WHERE extract_id = :id ORDER BY row_number"
            ),
            connection.execution_options(stream_results=True, max_row_buffer=_CHUNK),
            params={"id": extract_id},
            chunksize=_CHUNK,
        )
        pd.DataFrame(columns=[*COLUMNS, *HELPERS]).to_csv(out, index=False)
        for frame in frames:
            reasons = frame["reasons"]
            frame["reasons"] = reasons.map(" ".join)
            frame["explanation"] = reasons.map(
                lambda codes: " ".join(words.get(code, code) for code in codes)
            )
            frame[[*COLUMNS, *HELPERS]].to_csv(out, index=False, header=False)
            written += len(frame)
    return written


def write_supplement(
    key: ExtractKey, corrected: Path, landing: str | LandingPath | None = None
) -> SupplementWritten:
    """Turn a corrected export into the next supplement of its cycle, in the landing folder.

    The helper columns are dropped, others stay. Values are taken as they are: the gate judges them again.

    :param key: the extract that the rows came from; its cycle counts.
    :param corrected: CSV with the contract's columns, parted by commas, or by semicolons as spreadsheets do
        where the comma is for decimals.
    :param landing: the landing folder; none: the one of the settings.
    :raises BadInput: when the cycle is unknown, or the file cannot be used.
    """
    issue_date, taken = _cycle(key.cycle)
    frames = _read(corrected)
    first = next(frames)  # a file that cannot be read leaves no folder behind
    supplement, folder = _next_folder(landing_path(landing), key.cycle, taken)
    digest, rows, total = hashlib.sha256(), 0, 0
    with (folder / _PART).open("wb") as file:
        for number, frame in enumerate(_chain(first, frames)):
            content = frame.to_csv(index=False, header=number == 0).encode()
            digest.update(content)
            file.write(content)
            rows += len(frame)
            amounts = (read_integer(value) for value in frame["amount_due_millimes"])
            total += sum(amount for amount in amounts if amount is not None)
    manifest = Manifest(
        cycle=key.cycle,
        issue_date=issue_date,
        rows=rows,
        total_amount_millimes=total,
        parts=(Part(name=_PART, rows=rows, sha256=digest.hexdigest()),),
    )
    with (folder / FILE_NAME).open("wb") as file:  # last: it makes the delivery complete
        file.write((json.dumps(manifest.document(), indent=2) + "\n").encode())
    return SupplementWritten(supplement, str(folder), rows, total)


def _cycle(cycle: str) -> tuple[date, int]:
    """Return a cycle's issue date, and the highest number of its supplements that is known."""
    with connect() as connection:
        found = connection.execute(
            text(
                "SELECT c.issue_date, coalesce(max(e.supplement), 0) FROM cycle AS c "
                "LEFT JOIN extract AS e ON e.cycle_id = c.id WHERE c.key = :key GROUP BY c.id"
            ),
            {"key": cycle},
        ).one_or_none()
    if found is None:
        raise BadInput(f"there is no cycle {cycle!r}: no extract of it was loaded")
    return found[0], found[1]


def _next_folder(landing: LandingPath, cycle: str, taken: int) -> tuple[ExtractKey, Any]:
    """Make the folder of the cycle's next supplement; two who do so at once get two."""
    number = taken
    while True:
        number += 1
        key = ExtractKey(cycle, number)
        folder: Any = extract_folder(landing, key)
        try:
            folder.mkdir(parents=True, exist_ok=False)
        except FileExistsError:
            continue
        return key, folder


def _read(path: Path) -> Iterator[pd.DataFrame]:
    """Read a corrected file: the columns without the helpers, all text, some thousand rows at a time.

    :raises BadInput: when it is not there, holds no row, lacks a column, or is not CSV in UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            mark = ";" if header.count(";") > header.count(",") else ","
            names = next(csv.reader([header], delimiter=mark), [])
            if problems := Header(tuple(names)).problems():
                raise BadInput(f"{path}: " + "; ".join(problems))
            if not file.readline():
                raise BadInput(f"{path}: there is no row in it")
        kept = [name for name in names if name not in HELPERS]
        with (
            warnings.catch_warnings(),
            pd.read_csv(
                path,
                sep=mark,
                dtype=str,
                keep_default_na=False,
                na_filter=False,
                index_col=False,
                encoding="utf-8-sig",
                chunksize=_CHUNK,
            ) as frames,
        ):
            warnings.simplefilter("error", pd.errors.ParserWarning)
            for frame in frames:
                yield frame[kept]
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not UTF-8; save it as CSV UTF-8") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        said = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise BadInput(f"{path}: a row has more fields than the header has columns ({said})") from None


def _chain(first: pd.DataFrame, rest: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    yield first
    yield from rest
