"""Parquet parts: typed columns become the text that a CSV would hold; wrong types are refused by name."""

from __future__ import annotations

import io
import json
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fatoura.extracts.columns import COLUMNS
from fatoura.extracts.csv_records import PartUnreadableError
from fatoura.extracts.parquet_records import read_parquet

TEXT = {
    "invoice_number": ["A-1", "A-2"],
    "customer_reference": ["000000001", "000000002"],
    "district": ["TUN1", None],
    "supply": ["gas", "both"],
    "period_start": ["2026-03-01", ""],
    "period_end": ["2026-05-01", "x"],
    "amount_due_millimes": ["85352", "-1"],
    "due_date": ["2026-06-15", "2026-06-15"],
    "issue_date": ["2026-05-20", "2026-05-20"],
    "estimated": ["true", "yes"],
}


def read(columns: dict[str, object], rows_a_group: int = 1000):
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=rows_a_group)
    found: list = []
    batches = list(read_parquet(file, found))
    fields = {
        name: [value for batch in batches for value in batch.field(name).to_pylist()] for name in COLUMNS
    }
    return fields, batches, found[0]


def test_text_is_taken_as_it_is_and_null_becomes_empty():
    fields, _, header = read(TEXT)
    assert fields == TEXT | {"district": ["TUN1", ""]}
    assert header.unknown == ()


def test_typed_columns_become_text():
    days = [date(2026, 3, 1), None]
    fields, *_ = read(
        TEXT
        | {
            "district": pa.array(TEXT["district"]).dictionary_encode(),
            "period_start": pa.array(days, pa.date32()),
            "period_end": pa.array([datetime(2026, 5, 1), datetime(2026, 5, 1, 12)], pa.timestamp("us")),
            "due_date": pa.array(days, pa.date64()),
            "issue_date": pa.array(["2026-05-20", "2026-05-20"], pa.large_string()),
            "amount_due_millimes": pa.array([85352, -1], pa.int32()),
            "estimated": pa.array([True, None]),
        }
    )
    assert fields["district"] == ["TUN1", ""]
    assert fields["period_start"] == fields["due_date"] == ["2026-03-01", ""]
    assert fields["period_end"][0] == "2026-05-01"
    assert fields["period_end"][1].startswith("2026-05-01 12:00")
    assert fields["amount_due_millimes"] == ["85352", "-1"]
    assert fields["estimated"] == ["true", ""]


def test_whole_decimals_are_integers():
    column = pa.array([Decimal(85352), None], pa.decimal128(20, 0))
    assert read(TEXT | {"amount_due_millimes": column})[0]["amount_due_millimes"] == ["85352", ""]


@pytest.mark.parametrize(
    ("column", "values", "wanted"),
    [
        ("amount_due_millimes", [1.0, 2.0], "an integer or text"),
        ("amount_due_millimes", [Decimal("1.5"), None], "an integer or text"),
        ("customer_reference", [1, 2], "text"),
        ("invoice_number", [1, 2], "text"),
        ("due_date", [20260615, 20260615], "date or text"),
        ("estimated", [0, 1], "boolean or text"),
    ],
)
def test_a_column_of_a_wrong_type_is_refused_by_name(column, values, wanted):
    with pytest.raises(PartUnreadableError) as error:
        read(TEXT | {column: values})
    assert error.value.problems[0].startswith(f"column {column} is of type ")
    assert error.value.problems[0].endswith(f"write it as {wanted}")


def test_missing_columns_are_named_together_with_wrong_types():
    columns = {name: values for name, values in TEXT.items() if name != "supply"} | {"estimated": [1, 0]}
    with pytest.raises(PartUnreadableError) as error:
        read(columns)
    assert len(error.value.problems) == 2
    assert error.value.problems[0] == "the header lacks supply"


def test_unknown_columns_of_any_type_are_kept_as_text():
    more = {"score": [1.5, float("nan")], "tags": [["a"], None], "note": ["é\0", None]}
    _, batches, header = read(TEXT | more)
    rows = [json.loads(text) for batch in batches for text in batch.unknown.to_pylist()]
    assert header.unknown == ("score", "tags", "note")
    assert rows == [
        {"score": "1.5", "tags": "['a']", "note": "é\N{REPLACEMENT CHARACTER}"},
        {"score": "nan", "tags": "", "note": ""},
    ]


def test_bytes_that_are_no_text_set_the_record_apart():
    _, batches, _ = read(TEXT | {"district": pa.array([b"T\xe9", b"TUN1"]), "supply": ["gas", "bo\0th"]})
    assert batches[0].flaw.to_pylist() == ["not_utf8", "not_utf8"]
    assert batches[0].field("district").to_pylist() == ["T\N{REPLACEMENT CHARACTER}", "TUN1"]


def test_row_groups_follow_each_other():
    many = {name: [str(n) for n in range(100)] for name in COLUMNS}
    assert read(many, rows_a_group=7)[0] == many


@pytest.mark.parametrize("content", [b"", b"PAR1", b"invoice_number,customer_reference\n" * 10])
def test_what_is_no_parquet_is_refused(content):
    with pytest.raises(PartUnreadableError, match="cannot be read as Parquet"):
        list(read_parquet(io.BytesIO(content), []))


def test_a_file_cut_short_is_refused():
    file = io.BytesIO()
    pq.write_table(pa.table(TEXT), file)
    with pytest.raises(PartUnreadableError, match="cannot be read as Parquet"):
        list(read_parquet(io.BytesIO(file.getvalue()[:-20]), []))
