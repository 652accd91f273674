"""The columns of an extract: their names, how a header is judged, how a text becomes a typed value.

Every source hands over text; this module alone decides what reads as a day, an integer or a yes. What
is good for a bill (bounds, known codes, dates that fit) is the quality gate's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fatoura.extracts.values import read_day, read_integer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    import numpy as np

COLUMNS = (
    "invoice_number",
    "customer_reference",
    "district",
    "supply",
    "period_start",
    "period_end",
    "amount_due_millimes",
    "due_date",
    "issue_date",
    "estimated",
)
"""The columns of the contract, in its order."""

TYPED = {
    "period_start_d": "period_start",
    "period_end_d": "period_end",
    "due_date_d": "due_date",
    "issue_date_d": "issue_date",
    "amount_i": "amount_due_millimes",
    "estimated_b": "estimated",
}
"""The typed columns of a staging table, and the column that each is read from."""

_BIGINT = 2**63


_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Header:
    """The columns of a part, in its order."""

    names: tuple[str, ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """The columns that no contract names."""
        return tuple(name for name in self.names if name not in COLUMNS)

    def problems(self) -> list[str]:
        """Say what is wrong with it: missing, repeated and nameless columns."""
        found = []
        missing = [name for name in COLUMNS if name not in self.names]
        if missing:
            hint = ""
            if len(self.names) == 1 and any(mark in self.names[0] for mark in ";\t|"):
                hint = "; the fields seem to be separated by something other than a comma"
            elif self.unknown:
                hint = f"; unknown columns are there: {', '.join(map(repr, self.unknown))}"
            found.append(f"the header lacks {', '.join(missing)}{hint}")
        repeated = sorted({name for name in self.names if name and self.names.count(name) > 1})
        if repeated:
            found.append(f"the header has twice: {', '.join(repeated)}")
        nameless = [str(at) for at, name in enumerate(self.names, 1) if not name.strip()]
        if nameless:
            found.append(f"the header has no name for column {', '.join(nameless)}")
        return found


@dataclass(frozen=True)
class Records:
    """Some records of one part, as text.

    :param fields: one array of text for each of `COLUMNS`; never null, empty where a value is missing.
    :param unknown: the unknown columns of each record as a JSON object; none when the part has none.
    :param flaw: ``ragged`` or ``not_utf8`` for a record that came broken, else null; none when all are whole.
    """

    fields: tuple[pa.StringArray, ...]
    unknown: pa.StringArray | None = None
    flaw: pa.StringArray | None = None

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self.fields[0])

    def joined(self, other: Records, order: np.ndarray) -> Records:
        """Return these and other records as one.

        :param order: where each record of the result stands among these, followed by the others.
        """

        def join(one: pa.Array | None, two: pa.Array | None) -> pa.Array | None:
            if one is None and two is None:
                return None
            halves = [
                pa.nulls(size, pa.string()) if half is None else half
                for half, size in ((one, len(self)), (two, len(other)))
            ]
            return pa.concat_arrays(halves).take(pa.array(order))

        return Records(
            tuple(join(one, two) for one, two in zip(self.fields, other.fields, strict=True)),
            join(self.unknown, other.unknown),
            join(self.flaw, other.flaw),
        )

    def field(self, column: str) -> pa.StringArray:
        """Return the texts of one column."""
        return self.fields[COLUMNS.index(column)]


def read_days(texts: pa.StringArray) -> pa.Date32Array:
    """Read a column of days; null where a text is none."""
    return _by_distinct(texts, read_day, pa.date32())


def read_booleans(texts: pa.StringArray) -> pa.BooleanArray:
    """Read a column of ``true`` and ``false``; null where a text is neither."""
    return _by_distinct(texts, _BOOLEANS.get, pa.bool_())


def read_amounts(texts: pa.StringArray) -> tuple[pa.Int64Array, int]:
    """Read a column of integers.

    :returns: the integers, null where a text is none or has more than 64 bits; and the sum of all that
        read as an integer, of whatever size.
    """
    # Up to twelve digits the sum of a batch cannot leave 64 bits, and Arrow does it all.
    small = pc.match_substring_regex(texts, r"^-?[0-9]{1,12}$")
    amounts = pc.if_else(small, texts, pa.scalar(None, pa.string())).cast(pa.int64())
    total: int = pc.sum(amounts).as_py() or 0
    if pc.all(small).as_py() is not False:
        return amounts, total
    others = {at: read_integer(texts[at].as_py()) for at in pc.indices_nonzero(pc.invert(small)).to_pylist()}
    readable = {at: value for at, value in others.items() if value is not None}
    total += sum(readable.values())
    fitting = {at: value for at, value in readable.items() if -_BIGINT <= value < _BIGINT}
    if fitting:
        values = amounts.to_pylist()
        for at, value in fitting.items():
            values[at] = value
        amounts = pa.array(values, pa.int64())
    return amounts, total


def _by_distinct(texts: pa.StringArray, read: Callable[[str], Any], data_type: pa.DataType) -> pa.Array:
    # An extract holds few different days: each is read once a batch.
    coded = texts.dictionary_encode()
    values: Sequence[Any] = [read(text) for text in coded.dictionary.to_pylist()]
    return pa.array(values, data_type).take(coded.indices)
