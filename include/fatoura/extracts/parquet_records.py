"""Parquet parts: row groups in batches, typed columns turned into the text that a CSV would hold.

Called for each Parquet part of an extract. Days, integers, booleans and text are taken; a floating-point
amount is refused, because money is an integer and a reference is text.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fatoura.extracts.columns import COLUMNS, Header, Records
from fatoura.extracts.csv_records import PartUnreadableError, as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCH = 16_384

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def read_parquet(file: IO[bytes], found: list[Header]) -> Iterator[Records]:
    """Read the records of a Parquet file.

    :param file: opened for reading at any place.
    :param found: takes the header, once it has been found good.
    :raises PartUnreadableError: when it is no Parquet file, or lacks columns, or has one of a wrong type.
    """
    try:
        parquet = pq.ParquetFile(file, memory_map=False, pre_buffer=False)
        schema = parquet.schema_arrow
        header = Header(tuple(schema.names))
        wrong = [
            f"column {name} is of type {schema.field(name).type}; write it as {_wanted(name)}"
            for name in COLUMNS
            if schema.names.count(name) == 1 and not _taken(name, schema.field(name).type)
        ]
        if problems := header.problems() + wrong:
            raise PartUnreadableError(*problems)
        found.append(header)
        for batch in parquet.iter_batches(_BATCH, use_threads=False):
            if batch.num_rows:
                yield _records(batch, header)
    except (pa.ArrowException, OSError) as error:
        # Arrow's sentences name offsets and encodings, never values.
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PartUnreadableError(f"cannot be read as Parquet: {first}") from None


_DAYS = frozenset({"period_start", "period_end", "due_date", "issue_date"})


def _wanted(name: str) -> str:
    if name in _DAYS:
        return "date or text"
    return {"amount_due_millimes": "an integer or text", "estimated": "boolean or text"}.get(name, "text")


def _taken(name: str, data_type: pa.DataType) -> bool:
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    if _is_text(data_type) or pa.types.is_null(data_type):
        return True
    if name in _DAYS:
        return bool(pa.types.is_date(data_type) or pa.types.is_timestamp(data_type))
    if name == "amount_due_millimes":
        whole = pa.types.is_decimal(data_type) and data_type.scale == 0
        return bool(pa.types.is_integer(data_type) or whole)
    return bool(name == "estimated" and pa.types.is_boolean(data_type))


def _is_text(data_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(data_type)
        or pa.types.is_large_string(data_type)
        or pa.types.is_string_view(data_type)
        or pa.types.is_binary(data_type)
        or pa.types.is_large_binary(data_type)
    )


def _records(batch: pa.RecordBatch, header: Header) -> Records:
    broken = None
    fields = []
    for name in COLUMNS:
        texts, bad = clean_text(_as_text(batch.column(name)))
        fields.append(texts)
        if bad is not None:
            broken = bad if broken is None else pc.or_(broken, bad)
    unknown = None
    if header.unknown:
        columns = [clean_text(_in_words(batch.column(name)))[0].to_pylist() for name in header.unknown]
        unknown = as_json(
            dict(zip(header.unknown, values, strict=True)) for values in zip(*columns, strict=True)
        )
    flaw = None if broken is None else pc.if_else(broken, "not_utf8", pa.scalar(None, pa.string()))
    return Records(tuple(fields), unknown, flaw)


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type):
        # Data frames know no plain days: they write midnights. Other times stay what they are: no days.
        days = column.cast(pa.date32(), safe=False)
        midnight = pc.equal(days.cast(column.type), column)
        return pc.if_else(midnight, days.cast(pa.string()), column.cast(pa.string()))
    if _is_text(column.type):
        return column.cast(pa.binary())
    return column.cast(pa.string())


def clean_text(column: pa.Array) -> tuple[pa.StringArray, pa.BooleanArray | None]:
    """Make a column of text out of strings or bytes: never null, UTF-8, without zero bytes.

    :returns: the texts; and which of them held something else, if any did.
    """
    if column.null_count:
        column = pc.fill_null(column, pa.scalar("", column.type))
    try:
        texts = column.cast(pa.string())
        texts.validate(full=True)
        if pc.any(pc.match_substring(texts, "\0")).as_py() is not True:
            return texts, None
    except pa.ArrowInvalid:
        pass
    cleaned, bad = [], []
    for value in column.cast(pa.binary()).to_pylist():
        text = value.decode(errors="replace").replace("\0", _REPLACEMENT)
        cleaned.append(text)
        bad.append(text.encode() != value)
    return pa.array(cleaned, pa.string()), pa.array(bad, pa.bool_())


def _in_words(column: pa.Array) -> pa.Array:
    """Turn a column of any type into text, as well as it goes: unknown columns are only shown to people."""
    try:
        return _as_text(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.array(["" if value is None else str(value) for value in column.to_pylist()], pa.string())
