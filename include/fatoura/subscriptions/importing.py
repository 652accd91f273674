"""The import of `subscribers.csv`: full checks, sets, and a file of refused rows for the clerk.

Called by `fatoura subscribers import`. Rows stream through Python once to be checked; what becomes of
them is decided in PostgreSQL. Phone numbers go to the database and to the file of refused rows only.
"""

from __future__ import annotations

import csv
import logging
import os
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from sqlalchemy import Connection, text

from fatoura import clock
from fatoura.database import driver, locked
from fatoura.errors import BadInput
from fatoura.phones_at_rest import sealed
from fatoura.privacy.sealing import insist_on_one_form
from fatoura.settings import get_settings
from fatoura.subscriptions.consents import Act, record_set
from fatoura.subscriptions.numbers import with_number
from fatoura.subscriptions.records import REFUSAL_COLUMNS, Flaw, Header, Record, check, read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

LOCK = "subscribers"
"""Held by whoever changes many subscriptions at once."""

_TOLD = 10  # refused rows that the outcome names; all are in the file


@dataclass(frozen=True)
class RefusedRow:
    """A row that was refused: its number (1-based, header excluded) and what is wrong with it."""

    row: int
    flaws: tuple[Flaw, ...]


@dataclass(frozen=True)
class ImportOutcome:
    """What became of the rows: ``rows = added + changed + unchanged + repeated + refused``.

    `repeated` rows are copies of an earlier row of the file. `reasons` counts flaws by ``field: code``; a
    row may have several.
    """

    file: Path
    rows: int
    added: int
    changed: int
    unchanged: int
    repeated: int
    refused: int
    reasons: dict[str, int]
    first_refused: tuple[RefusedRow, ...]
    refused_file: Path | None
    unknown_columns: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the document of `fatoura subscribers import FILE --json`."""
        return {
            "file": str(self.file),
            "rows": self.rows,
            "added": self.added,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "repeated": self.repeated,
            "refused": self.refused,
            "reasons": self.reasons,
            "first_refused": [
                {"row": refused.row, "field": flaw.field, "reason": flaw.code}
                for refused in self.first_refused
                for flaw in refused.flaws
            ],
            "refused_file": str(self.refused_file) if self.refused_file else None,
            "unknown_columns": list(self.unknown_columns),
        }


_STAGE = """
CREATE TEMPORARY TABLE imported (
    row_number bigint, customer_reference text, phone text, language text, channel text, consent_date date
) ON COMMIT DROP
"""

# A consent that is older than the customer's leaving was revoked with it, and revives nothing.
_JUDGE = """
CREATE TEMPORARY TABLE judged ON COMMIT DROP AS
SELECT r.row_number, r.customer_reference, r.phone, r.language, r.channel, r.consent_date,
       u.id AS subscription_id,
       CASE WHEN r.first_copy <> r.last_copy THEN 'conflicting'
            WHEN r.copy > 1 THEN 'repeated'
            WHEN u.id IS NULL AND (gone.at AT TIME ZONE :zone)::date > r.consent_date THEN 'left_since'
            WHEN u.id IS NULL THEN 'added'
            WHEN (u.phone, u.language, u.channel, u.consent_date)
                 IS DISTINCT FROM (r.phone, r.language, r.channel, r.consent_date) THEN 'changed'
            ELSE 'unchanged' END AS verdict
FROM (SELECT i.*,
             row_number() OVER customer AS copy,
             min(content) OVER (PARTITION BY customer_reference) AS first_copy,
             max(content) OVER (PARTITION BY customer_reference) AS last_copy
      FROM imported i, LATERAL concat_ws(' ', i.phone, i.language, i.channel, i.consent_date) AS content
      WINDOW customer AS (PARTITION BY customer_reference ORDER BY row_number)) r
LEFT JOIN subscription u ON u.customer_reference = r.customer_reference AND u.state <> 'ended'
LEFT JOIN (SELECT customer_reference, max(changed_at) AS at FROM subscription
           WHERE state = 'ended' GROUP BY customer_reference) gone
       ON gone.customer_reference = r.customer_reference
"""

_ADD = """
INSERT INTO subscription (customer_reference, phone, language, channel, consent_date, created_at, changed_at)
SELECT customer_reference, phone, language, channel, consent_date, :now, :now
FROM judged WHERE verdict = 'added' ORDER BY row_number
"""

_CHANGE = f"""
UPDATE subscription u
SET phone = j.phone, language = j.language, channel = j.channel, consent_date = j.consent_date,
    changed_at = :now, {with_number("j.phone")}
FROM judged j WHERE j.verdict = 'changed' AND u.id = j.subscription_id AND u.state <> 'ended'
"""

# What was agreed to, the file does not say.
_CONSENTS = """
SELECT j.customer_reference, u.id AS subscription_id, CAST(NULL AS text) AS wording_version, j.language,
    :file || ', row ' || j.row_number AS evidence, j.consent_date AS given_on, :by AS recorded_by
FROM judged j JOIN subscription u ON u.customer_reference = j.customer_reference AND u.state <> 'ended'
WHERE j.verdict = :verdict
"""

# Verdicts that refuse a row, and what its report says.
_REFUSALS = {
    "conflicting": Flaw("customer_reference", "conflicting_rows"),
    "left_since": Flaw("consent_date", "left_since"),
}


def import_subscribers(path: Path, *, by: str = "import") -> ImportOutcome:
    """Import a file of subscribers, in one transaction, and record their consents.

    A customer without a current subscription gets one; other data of one that stands are changed; rows that
    break a rule are refused and written, as they came, to a file below ``var/refused`` that only the
    service's own account may read. Importing a file again changes nothing.

    :param by: who imports it, for the record.
    :raises BadInput: when the file as a whole cannot be used: missing, empty, not UTF-8, columns missing.
    """
    started = time.monotonic()
    try:
        with _RefusedFile(path) as refused, locked(LOCK) as connection:
            insist_on_one_form(connection, ("subscription", "phone"))
            outcome = _import(connection, path, refused, by)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    log.info(
        "subscribers: rows %d, added %d, changed %d, unchanged %d, repeated %d, refused %d in %.1f s",
        outcome.rows,
        outcome.added,
        outcome.changed,
        outcome.unchanged,
        outcome.repeated,
        outcome.refused,
        time.monotonic() - started,
    )
    return outcome


def _import(connection: Connection, path: Path, refused: _RefusedFile, by: str) -> ImportOutcome:
    with _opened(path) as (header, records):
        rows = _stage(connection, header, records, refused)
    connection.execute(text("ANALYZE imported"))
    connection.execute(text(_JUDGE), {"zone": clock.zone().key})
    verdicts = Counter[str]()
    for verdict, found in connection.execute(text("SELECT verdict, count(*) FROM judged GROUP BY verdict")):
        verdicts[verdict] = found
    now = {"now": clock.now()}
    connection.execute(text(_ADD), now)
    connection.execute(text(_CHANGE), now)
    for verdict, act in (("added", Act.GIVEN), ("changed", Act.CHANGED)):
        told = {"verdict": verdict, "file": path.name, "by": by}
        record_set(connection, act, _CONSENTS, channel="import", **told)
    if any(verdicts[verdict] for verdict in _REFUSALS):
        # The database holds what was read from these rows; the clerk gets them as they came.
        with _opened(path) as (header, records):
            _refuse_judged(connection, header, records, refused)
    return ImportOutcome(
        file=path,
        rows=rows,
        added=verdicts["added"],
        changed=verdicts["changed"],
        unchanged=verdicts["unchanged"],
        repeated=verdicts["repeated"],
        refused=refused.rows,
        reasons=dict(sorted(refused.reasons.items())),
        first_refused=tuple(refused.first),
        refused_file=refused.path,
        unknown_columns=header.unknown,
    )


def _stage(connection: Connection, header: Header, records: Iterable[Record], refused: _RefusedFile) -> int:
    """Check the records and COPY the good ones into a temporary table; return how many there were."""
    today = clock.today()
    rows = 0
    connection.execute(text(_STAGE))
    with driver(connection).cursor().copy("COPY imported FROM STDIN") as copy:
        for record in records:
            rows += 1
            checked = check(record, header, today)
            if isinstance(checked, list):
                refused.write(header, record, checked)
            else:
                copy.write_row((record.row, *checked._replace(phone=sealed(checked.phone))))
    return rows


def _refuse_judged(
    connection: Connection, header: Header, records: Iterator[Record], refused: _RefusedFile
) -> None:
    """Find the rows that the database refused again in the file. Both come in the file's order."""
    listed = ", ".join(f"'{verdict}'" for verdict in _REFUSALS)
    query = f"COPY (SELECT row_number, verdict FROM judged WHERE verdict IN ({listed}) ORDER BY 1) TO STDOUT"
    with driver(connection).cursor().copy(query) as copy:
        for number, verdict in copy.rows():
            record = next(record for record in records if record.row == int(number))
            refused.write(header, record, [_REFUSALS[verdict]])


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Header, Iterator[Record]]]:
    try:
        stream = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise BadInput(f"the file cannot be read: {error.strerror}") from None
    with stream:
        yield read_file(stream)


class _RefusedFile:
    """The rows that were refused, for the clerk. Made at the first one, and removed when the import fails."""

    def __init__(self, source: Path) -> None:
        self.path: Path | None = None
        self.rows = 0
        self.reasons: Counter[str] = Counter()
        self.first: list[RefusedRow] = []
        self._source = source
        self._stream: TextIO | None = None

    def __enter__(self) -> _RefusedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
        if kind is not None and self.path is not None:
            self.path.unlink()

    def write(self, header: Header, record: Record, flaws: list[Flaw]) -> None:
        """Add one row, with everything that is wrong with it."""
        self.rows += 1
        self.reasons.update(map(str, flaws))
        if len(self.first) < _TOLD:
            self.first.append(RefusedRow(record.row, tuple(flaws)))
        kept = [at for at, name in enumerate(header.names) if name not in REFUSAL_COLUMNS]
        if self._stream is None:
            self._stream = self._create()
            self._rows = csv.writer(self._stream)
            self._rows.writerow([*REFUSAL_COLUMNS, *(header.names[at] for at in kept)])
        fields = record.fields
        if len(fields) == len(header.names):
            fields = [fields[at] for at in kept]
        self._rows.writerow([record.row, "; ".join(map(str, flaws)), *fields])

    def _create(self) -> TextIO:
        folder = get_settings().var / "refused"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{self._source.stem}-{clock.local_now():%Y%m%dT%H%M%S}"
        for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
            path = folder / f"{name}{suffix}.csv"
            try:
                # Full numbers are in it: for the service's own account alone, from the first byte on.
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                continue
            self.path = path
            return os.fdopen(file, "w", encoding="utf-8-sig", errors="surrogateescape", newline="")
        raise BadInput(f"{folder} holds a thousand files of this second")
