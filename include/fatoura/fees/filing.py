"""Tells the billing system what to charge and what to take off: a file and its manifest in the outbox.

A charge and a credit stand in one file and in no other, decided in the database before a byte is written.
The files are written from what was decided: again, they say the same to the byte. Called by the monthly run
and by the command.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect, driver, locked
from fatoura.errors import BadInput, NeedsAPerson, NotReady
from fatoura.fees.books import MARK
from fatoura.manifests import FILE_NAME
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection

    from fatoura.fees.books import Moment
    from fatoura.fees.rules import FeeRules

CHARGES = "charges.csv"
_ONLY_OURS = 0o600
_ONLY_OUR_FOLDER = 0o700


class FileDiffers(NeedsAPerson):
    """What would be written again is not what was written first: somebody has changed the tables by hand."""


class FileNotWritten(NotReady):
    """The outbox cannot be written to (a full disk, a folder without permission)."""


@dataclass(frozen=True)
class FeeFile:
    """A file for the billing system: what is in it, in rows and millimes, and when it was written."""

    id: int
    name: str
    day: date
    charges: int
    charged_millimes: int
    credits: int
    credited_millimes: int
    digest: str | None
    written_at: Any

    @property
    def rows(self) -> int:
        """All rows."""
        return self.charges + self.credits


# In the order of time, each day's counted up: a name is never given twice.
_OPEN = """
INSERT INTO fee_file (name, day, charges, charged_millimes, credits, credited_millimes, made_at, run_id)
SELECT CAST(:day AS date) || '-' || count(*) + 1, :day, 0, 0, 0, 0, :now, :by FROM fee_file WHERE day = :day
RETURNING id
"""
_TELL = """
WITH charged AS (
    UPDATE fee_charge c
    SET state = 'filed', state_since = :now, file_id = :file, told_on = :day, told_millimes = c.owed_millimes,
        grace_until = greatest(c.period_start - 1, CAST(:day AS date)) + CAST(:grace AS int)
    WHERE c.state = 'due'
    RETURNING c.told_millimes
), credited AS (
    UPDATE fee_credit SET file_id = :file WHERE file_id IS NULL RETURNING amount_millimes
)
UPDATE fee_file
SET charges = (SELECT count(*) FROM charged),
    charged_millimes = (SELECT coalesce(sum(told_millimes), 0) FROM charged),
    credits = (SELECT count(*) FROM credited),
    credited_millimes = (SELECT coalesce(sum(amount_millimes), 0) FROM credited)
WHERE id = :file
"""
_IS_SOMETHING = """
SELECT EXISTS (SELECT FROM fee_charge WHERE state = 'due')
    OR EXISTS (SELECT FROM fee_credit WHERE file_id IS NULL)
"""


def make_file(connection: Connection, moment: Moment, rules: FeeRules) -> str | None:
    """Decide what the next file tells: all that is due, and all credits; return its name, or nothing.

    From then on its charges count as told, and their grace runs.
    """
    if not connection.scalar(text(_IS_SOMETHING)):
        return None
    file_id = connection.execute(text(_OPEN), moment.values).scalar_one()
    connection.execute(text(_TELL), {**moment.values, "file": file_id, "grace": rules.grace_days})
    name: str = connection.execute(
        text("SELECT name FROM fee_file WHERE id = :file"), {"file": file_id}
    ).scalar_one()
    return name


def files(name: str | None = None, *, unwritten: bool = False) -> list[FeeFile]:
    """Return files in the order in which they were made: all, the one of a name, or the unwritten ones."""
    with connect() as connection:
        found = connection.execute(
            text(
                "SELECT id, name, day, charges, charged_millimes, credits, credited_millimes, digest, "
                "written_at FROM fee_file WHERE (CAST(:name AS text) IS NULL OR name = :name) "
                "AND (NOT :unwritten OR written_at IS NULL) ORDER BY id"
            ),
            {"name": name, "unwritten": unwritten},
        )
        return [FeeFile(*row) for row in found]


def outbox() -> Path:
    """Return the folder of all files, each in one of its own."""
    return get_settings().outbox / "fees"


def write_files() -> list[FeeFile]:
    """Write the files that have not been written yet; return them.

    One that was written and died before that was noted is written again: the same bytes under the same name.

    :raises FileNotWritten: when the outbox cannot be written to.
    """
    written = []
    for file in files(unwritten=True):
        with locked(f"fee file {file.name}") as connection:
            digest = _write(connection, file, outbox() / file.name)
            connection.execute(
                text("UPDATE fee_file SET digest = :digest, written_at = :now WHERE id = :id"),
                {"digest": digest, "now": clock.now(), "id": file.id},
            )
        written.append(file)
    return written


def write_again(name: str, folder: Path | None = None) -> Path:
    """Write a file again, with the same bytes; return its folder.

    :param folder: another folder than its place in the outbox.
    :raises BadInput: when there is no such file.
    :raises FileDiffers: when it would say something else now; nothing is written.
    """
    found = files(name)
    if not found:
        raise BadInput(f"there is no file of charges {name!r}; `fatoura fees file --list` names them")
    place = folder or outbox() / name
    with locked(f"fee file {name}") as connection:
        _write(connection, found[0], place)
    return place


_ROWS = f"""
COPY (
    SELECT '{MARK}' || id, 'charge', customer_reference, told_millimes, period_start, period_end, NULL
    FROM fee_charge WHERE file_id = %s ORDER BY id
) TO STDOUT (FORMAT csv)
"""
_CREDITS = f"""
COPY (
    SELECT '{MARK}' || c.id, 'credit', c.customer_reference, t.amount_millimes, c.period_start, c.period_end,
        t.because
    FROM fee_credit t JOIN fee_charge c ON c.id = t.charge_id WHERE t.file_id = %s ORDER BY t.id
) TO STDOUT (FORMAT csv)
"""
_HEADER = b"charge_id,kind,customer_reference,amount_millimes,period_start,period_end,because\n"


def _write(connection: Connection, file: FeeFile, place: Path) -> str:
    """Write rows and manifest beside the place, then put the folder into it; return the rows' checksum."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=_ONLY_OUR_FOLDER)
        # Nobody else writes this file now: such a folder is what a killed writer left.
        for left in place.parent.glob(f".{place.name}-*"):
            shutil.rmtree(left)
        fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except OSError as error:
        raise FileNotWritten(f"{place.parent} cannot be written to: {error.strerror}") from None
    try:
        digest = _write_rows(connection, file, fresh / CHARGES)
        if file.digest not in (None, digest):
            raise FileDiffers(
                f"file {file.name} would say something else than when it was written first: do not send it; "
                "its charges were changed by hand"
            )
        _put(fresh / FILE_NAME, json.dumps(_manifest(file, digest), indent=2).encode() + b"\n")
        _swap(fresh, place)
    except OSError as error:
        raise FileNotWritten(f"{place} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return digest


def _write_rows(connection: Connection, file: FeeFile, path: Path) -> str:
    summed = hashlib.sha256(_HEADER)
    with path.open("wb") as stream:
        os.chmod(path, _ONLY_OURS)
        stream.write(_HEADER)
        for statement in (_ROWS, _CREDITS):
            with driver(connection).cursor().copy(statement, (file.id,)) as copy:
                for piece in copy:
                    summed.update(piece)
                    stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())
    return summed.hexdigest()


def _manifest(file: FeeFile, digest: str) -> dict[str, Any]:
    return {
        "file": file.name,
        "day": file.day.isoformat(),
        "rows": file.rows,
        "charges": file.charges,
        "total_charged_millimes": file.charged_millimes,
        "credits": file.credits,
        "total_credited_millimes": file.credited_millimes,
        "parts": [{"name": CHARGES, "rows": file.rows, "sha256": digest}],
    }


def _put(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        os.chmod(path, _ONLY_OURS)
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _swap(fresh: Path, place: Path) -> None:
    """Put a folder into its place. What lies there says the same, or is what a killed writer left."""
    if place.exists():
        # Whoever reads it meanwhile reads the same bytes: each file is replaced whole, the manifest last.
        for name in (CHARGES, FILE_NAME):
            (fresh / name).replace(place / name)
    else:
        fresh.replace(place)
    descriptor = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
