"""Seals, opens, or seals anew the numbers that are stored, while everything else goes on.

Called by `fatoura phones`; the doors ask it whether that is under way. Works in batches, each a transaction
of its own: it may be killed at any time, and the next run finds what is left by itself. What a sender holds
is passed over and comes in the next round.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.database import begin, connect
from fatoura.errors import NeedsAPerson, NotReady
from fatoura.phones_at_rest import PREFIX, SealError, opened, phone_keys, prefix_of, sealed
from fatoura.privacy.personal import columns_of
from fatoura.receipts.masking import without_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

_BLOCKS = 256  # of 8 kB: some thousand rows, a fraction of a second
_ROUNDS = 10
_PAUSE_SECONDS = 1.0

Say = Callable[[str, int, float], None]
"""Told after each batch: the column, how many rows it has brought so far, and the share that is done."""


class SealingUnfinished(NeedsAPerson):
    """Numbers are left that could not be reached: run it again."""


@dataclass
class Converted:
    """What was done: values by column."""

    values: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class StoredNumbers:
    """How the numbers of a column are stored: as they are, and sealed with each key by its id."""

    column: str
    as_they_are: int
    by_key: dict[str, int]


def convert_all(say: Say = lambda *_: None) -> Converted:
    """Bring every stored number into the form of new ones: sealed with the key in use, or as it is.

    Receipts that were stored before numbers were hidden in them lose theirs on the way.

    :raises SealError: when a key that some number is sealed with is not there.
    :raises SealingUnfinished: when some rows were held by others all the time.
    """
    done = Converted()
    for place in _places():
        for _ in range(_ROUNDS):
            _convert(place, done, say)
            if not place.is_left():
                break
            time.sleep(_PAUSE_SECONDS)
        else:
            raise SealingUnfinished(
                f"some rows of {place.name} are held by others all the time: run it again"
            )
    return done


def stored_numbers() -> list[StoredNumbers]:
    """Return how the numbers of each column are stored. Reads whole tables."""
    found = []
    with connect() as connection:
        for column in columns_of("phone"):
            rows = connection.execute(
                text(
                    f"SELECT CASE WHEN starts_with({column.column}, '{PREFIX}') "
                    f"THEN split_part({column.column}, ':', 3) END AS key, count(*) AS rows "
                    f"FROM {column.table} WHERE {column.column} <> '' GROUP BY 1"
                )
            ).all()
            counts: dict[str | None, int] = {row.key: row.rows for row in rows}
            as_they_are = counts.pop(None, 0)
            found.append(StoredNumbers(str(column), as_they_are, {key: counts[key] for key in counts if key}))
    return found


def insist_on_one_form(connection: Connection, *columns: tuple[str, str]) -> None:
    """Insist that the numbers of these columns are stored as new ones are: they are about to be compared.

    :param columns: tables and columns, such as ``("subscription", "phone")``.
    :raises NotReady: while an installation is being sealed, opened, or given another key.
    """
    for table, column in columns:
        differs = _differs(column)
        if connection.scalar(text(f"SELECT EXISTS (SELECT FROM {table} WHERE {differs})")):
            raise NotReady(
                f"the numbers of {table} are not stored as new ones would be, and cannot be compared with "
                "them: `fatoura phones seal` (or `open`) brings them into one form; is "
                "FATOURA_PHONE_KEY_FILE set for this process?"
            )


def _differs(column: str) -> str:
    """Return the condition for a stored number in another form than that of new ones."""
    present = phone_keys().present
    if present is None:
        return f"starts_with({column}, '{PREFIX}')"
    return f"{column} <> '' AND NOT starts_with({column}, '{prefix_of(present)}')"


def _differs_somewhere(document: str) -> str:
    """Return the condition for a document that holds something that is sealed in another form."""
    present = phone_keys().present
    return f"{document} ~ '{PREFIX}1:{f'(?!{present.id}:)' if present else ''}'"


_PHONE_OF_FIELDS = "(fields ->> 'phone')"


@dataclass(frozen=True)
class _Place:
    """Something that is converted.

    :param name: for people.
    :param needs: which rows, as a condition.
    :param value: what is converted of a row, as SQL; documents are read as text.
    :param convert: how.
    :param write: what the column becomes, as SQL on the new value `m.new`.
    """

    name: str
    table: str
    column: str
    needs: str
    value: str
    convert: Callable[[str], str]
    write: str

    def is_left(self) -> bool:
        """Tell whether there is still something to convert."""
        with connect() as connection:
            left: bool = connection.scalar(
                text(f"SELECT EXISTS (SELECT FROM {self.table} WHERE {self.needs})")
            )
        return left


def _places() -> Iterable[_Place]:
    """List what is converted: first what new numbers are compared with."""
    convert = sealed if phone_keys().present else opened
    first = ("subscription", "coupon", "verification")
    for column in sorted(columns_of("phone"), key=lambda one: (one.table not in first, one.table)):
        yield _Place(
            str(column), column.table, column.column, _differs(column.column), column.column, convert, "m.new"
        )
    of_coupons = "content = 'coupons' AND "
    broken = "EXISTS (SELECT FROM unnest(reasons) reason WHERE reason LIKE 'row: %')"
    for table, document, needs in (
        ("superseded_row", "was", _differs("(was ->> 'phone')")),
        (
            "set_aside_row",
            "fields",
            f"({_differs(_PHONE_OF_FIELDS)} OR {broken} AND {_differs_somewhere('fields::text')})",
        ),
    ):
        yield _Place(
            f"{table}.{document}",
            table,
            document,
            of_coupons + needs,
            f"{document}::text",
            lambda told: json.dumps(_converted(json.loads(told), convert), ensure_ascii=False),
            "CAST(m.new AS jsonb)",
        )
    yield _Place(
        "receipt.raw",
        "receipt",
        "raw",
        "raw::text ~ '(^|[^0-9])(00)?216[2-9][0-9]{7}([^0-9]|$)'",
        "raw::text",
        lambda told: json.dumps(without_numbers(json.loads(told))),
        "CAST(m.new AS jsonb)",
    )


def _converted(document: Any, convert: Callable[[str], str]) -> Any:
    """Convert what a coupon that was set aside holds: its number, and whatever else was sealed of it."""
    if isinstance(document, dict):
        return {
            name: convert(value) if name == "phone" and isinstance(value, str) else _converted(value, convert)
            for name, value in document.items()
        }
    if isinstance(document, list):
        return [_converted(one, convert) for one in document]
    if isinstance(document, str) and document.startswith(PREFIX):
        try:
            return convert(document)
        except SealError:
            return document  # written so by others: no number of ours
    return document


def _convert(place: _Place, done: Converted, say: Say) -> None:
    with connect() as connection:
        blocks = connection.scalar(
            text("SELECT pg_relation_size(CAST(:t AS regclass)) / current_setting('block_size')::int"),
            {"t": place.table},
        )
    for low in range(0, blocks or 0, _BLOCKS):
        with begin() as connection:
            done.values[place.name] += _convert_blocks(connection, place, low)
        say(place.name, done.values[place.name], min((low + _BLOCKS) / blocks, 1.0))


def _convert_blocks(connection: Connection, place: _Place, low: int) -> int:
    values = {"low": f"({low},0)", "high": f"({low + _BLOCKS},0)"}
    # Held, and never waited for: who writes many rows in another order never waits for this in a circle.
    held = connection.execute(
        text(
            f"SELECT CAST(ctid AS text) AS place, {place.value} AS stored FROM {place.table} "
            "WHERE ctid >= CAST(:low AS tid) AND ctid < CAST(:high AS tid) "
            f"AND {place.needs} FOR UPDATE SKIP LOCKED"
        ),
        values,
    ).all()
    if not held:
        return 0
    new = {stored: place.convert(stored) for stored in {row.stored for row in held}}
    return connection.execute(
        text(
            f"UPDATE {place.table} t SET {place.column} = {place.write} "
            "FROM unnest(CAST(:places AS tid[]), CAST(:new AS text[])) AS m (place, new) "
            "WHERE t.ctid = m.place"
        ),
        {"places": [row.place for row in held], "new": [new[row.stored] for row in held]},
    ).rowcount
