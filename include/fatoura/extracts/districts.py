"""The known districts: a file of codes and names, and the table that rules and reports read.

`load_extract` brings the table up to the file each time, so that an edit takes effect with the next cycle.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, text

from fatoura.database.schema import district as district_table
from fatoura.errors import BadInput
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

_CODE = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,15}")


class District(NamedTuple):
    """A district of the utility."""

    code: str
    name_fr: str
    name_ar: str


def read_districts(path: Path | None = None) -> list[District]:
    """Read the districts' file: `code`, `name_fr`, `name_ar`; lines that begin with ``#`` are comments.

    :param path: none: the one of the settings.
    :raises BadInput: names the file and each wrong line.
    """
    path = path or get_settings().districts_file
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"{path}: the file of districts is not there; set FATOURA_DISTRICTS_FILE") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: the file of districts is not UTF-8") from None
    numbered = [(n, line) for n, line in enumerate(content.splitlines(), 1) if line and line[0] != "#"]
    rows = [next(csv.reader([line])) for _, line in numbered]
    if not rows or rows[0] != list(District._fields):
        raise BadInput(f"{path}: the header must be {','.join(District._fields)}")
    districts, problems = [], []
    seen: set[str] = set()
    for (line, _), row in zip(numbered[1:], rows[1:], strict=True):
        fields = [field.strip() for field in row]
        if len(fields) != len(District._fields) or not all(fields):
            problems.append(f"line {line}: a code and two names are needed")
        elif not _CODE.fullmatch(fields[0]):
            problems.append(f"line {line}, code: 1 to 16 of A-Z, 0-9, '-' and '_' are needed")
        elif fields[0] in seen:
            problems.append(f"line {line}, code: {fields[0]} is there twice")
        else:
            seen.add(fields[0])
            districts.append(District(*fields))
    if problems or not districts:
        raise BadInput(f"{path}: " + ("; ".join(problems) or "there is no district in it"))
    return districts


def seed_districts(connection: Connection) -> int:
    """Make the table of districts equal to the file of the settings; return how many there are.

    A code that was taken out of the file is unknown from then on.

    :raises BadInput: when the file is wrong.
    """
    districts = read_districts()
    stored = {
        District(*row) for row in connection.execute(text("SELECT code, name_fr, name_ar FROM district"))
    }
    if stored != set(districts):
        connection.execute(
            text(
                "INSERT INTO district (code, name_fr, name_ar) VALUES (:code, :name_fr, :name_ar) "
                "ON CONFLICT (code) DO UPDATE SET name_fr = excluded.name_fr, name_ar = excluded.name_ar"
            ),
            [one._asdict() for one in sorted(districts)],
        )
        codes = [one.code for one in districts]
        connection.execute(delete(district_table).where(district_table.c.code.not_in(codes)))
    return len(districts)
