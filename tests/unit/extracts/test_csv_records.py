"""CSV is cut into records alike, however the bytes arrive, and a broken record harms none but itself."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fatoura.extracts import csv_records
from fatoura.extracts.columns import COLUMNS
from fatoura.extracts.csv_records import LONGEST_RECORD, PartUnreadableError, read_csv

HEADER = ",".join(COLUMNS).encode()
GOOD = "A-1,000000001,TUN1,gas,2026-03-01,2026-05-01,85352,2026-06-15,2026-05-20,false"
FIELDS = GOOD.split(",")


def cut(content: bytes, size: int = 1 << 20) -> list[tuple[list[str], str | None, object]]:
    """Read a file in pieces of a size; return fields, flaw and unknown columns of each record."""
    found: list = []
    rows = []
    for records in read_csv((content[at : at + size] for at in range(0, len(content), size)), found):
        count = len(records)
        columns = [field.to_pylist() for field in records.fields]
        assert all(len(column) == count for column in columns)
        flaws = records.flaw.to_pylist() if records.flaw is not None else [None] * count
        unknown = records.unknown.to_pylist() if records.unknown is not None else [None] * count
        rows += [
            ([column[n] for column in columns], flaws[n], unknown[n] and json.loads(unknown[n]))
            for n in range(count)
        ]
    return rows


def file_of(*lines: str | bytes, end: bytes = b"\n") -> bytes:
    return end.join([HEADER, *(line.encode() if isinstance(line, str) else line for line in lines)]) + end


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_end_in_either_way(end):
    assert cut(file_of(GOOD, GOOD, end=end)) == [(FIELDS, None, None)] * 2


def test_the_last_line_needs_no_end():
    assert cut(file_of(GOOD)[:-1]) == [(FIELDS, None, None)]


def test_a_byte_order_mark_is_tolerated():
    assert cut(b"\xef\xbb\xbf" + file_of(GOOD)) == [(FIELDS, None, None)]


def test_a_file_of_a_header_alone_has_no_record():
    assert cut(HEADER) == cut(HEADER + b"\r\n") == []


def test_blank_lines_are_no_records():
    assert len(cut(HEADER + b"\n\n" + GOOD.encode() + b"\n\r\n\n" + GOOD.encode() + b"\n\n")) == 2


def test_columns_come_in_any_order():
    header = ",".join(reversed(COLUMNS)).encode()
    line = ",".join(reversed(FIELDS)).encode()
    assert cut(header + b"\n" + line) == [(FIELDS, None, None)]


def test_unknown_columns_are_kept_apart():
    content = HEADER + b",remark,note\n" + f'{GOOD},"a ""b"", é\nc",\n'.encode()
    assert cut(content) == [(FIELDS, None, {"remark": 'a "b", é\nc', "note": ""})]


def test_quoted_fields_hold_commas_quotes_and_line_ends():
    line = '"A-1","000000001","TU,N1","g""as","2026-\r\n03-01",2026-05-01,1,2026-06-15,,""'
    fields = ["A-1", "000000001", "TU,N1", 'g"as', "2026-\r\n03-01", "2026-05-01", "1", "2026-06-15", "", ""]
    assert cut(file_of(line, GOOD)) == [(fields, None, None), (FIELDS, None, None)]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("A-2,1", ["A-2", "1", *[""] * 8]),
        (GOOD + ",more", FIELDS),
        ('A"2' + GOOD[3:], ['A"2', *FIELDS[1:]]),
        ('"A"2' + GOOD[3:], ['"A"2', *FIELDS[1:]]),
        ('"A-1' + GOOD[3:], ['"A-1', *FIELDS[1:]]),
        (GOOD + '"', [*FIELDS[:-1], 'false"']),
    ],
    ids=["few", "many", "quote inside", "quote closed early", "quote never closed", "quote at the end"],
)
def test_a_ragged_record_is_set_apart_and_keeps_what_could_be_read(line, fields):
    rows = cut(file_of(GOOD, line, GOOD))
    assert [(row[0], row[1]) for row in rows] == [(FIELDS, None), (fields, "ragged"), (FIELDS, None)]


def test_fields_beyond_the_header_are_kept():
    assert cut(file_of(GOOD + ",x,y")) == [(FIELDS, "ragged", {"": ["x", "y"]})]


@pytest.mark.parametrize("bad", [b"\xe9", b"\0", b"\xed\xa0\x80"], ids=["latin-1", "zero", "surrogate"])
def test_bytes_that_are_no_text_are_replaced_and_the_record_set_apart(bad):
    rows = cut(file_of(GOOD, GOOD.encode().replace(b"TUN1", b"T" + bad), GOOD))
    assert [row[1] for row in rows] == [None, "not_utf8", None]
    assert rows[1][0][2].startswith("T\N{REPLACEMENT CHARACTER}")
    assert rows[1][0][0] == "A-1"


def test_a_carriage_return_alone_is_part_of_a_field():
    rows = cut(file_of(GOOD.replace("TUN1", "TU\rN1"), GOOD))
    assert [(row[0][2], row[1]) for row in rows] == [("TU\rN1", None), ("TUN1", None)]


def test_a_forgotten_quote_loses_one_record_of_a_large_file():
    lines = [GOOD] * 3000
    lines[10] = '"' + GOOD
    rows = cut(file_of(*lines))
    assert [n for n, row in enumerate(rows) if row[1]] == [10]
    assert len(rows) == 3000


def test_a_line_without_end_is_no_record():
    with pytest.raises(PartUnreadableError, match="a line is longer than"):
        cut(file_of(GOOD, "x" * (LONGEST_RECORD + 1)))
    with pytest.raises(PartUnreadableError, match="a line is longer than"):
        cut(HEADER + b"\n" + b"x" * 10 * LONGEST_RECORD)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no header"),
        (b"\n" + HEADER, "no header"),
        (HEADER.decode().encode("utf-16"), "UTF-16"),
        (HEADER.replace(b"district", b"d\xe9partement"), "not UTF-8"),
        (HEADER.replace(b"district,", b"").replace(b",estimated", b""), "lacks district, estimated"),
        (HEADER.replace(b",", b";"), "something other than a comma"),
        (HEADER.replace(b"district", b"District"), "unknown columns are there: 'District'"),
        (HEADER + b",district,x,x", "has twice: district, x"),
        (HEADER + b",", "no name for column 11"),
        (HEADER + b'"', "quote out of place"),
        (b"x" * 10 * LONGEST_RECORD, "header is longer"),
    ],
)
def test_a_bad_header_stops_the_part(content, said):
    with pytest.raises(PartUnreadableError) as error:
        cut(content)
    assert said in "; ".join(error.value.problems)


# --- For every input ---------------------------------------------------------------------------------

plain = st.text(st.characters(exclude_characters='\0\r\n",', codec="utf-8"), max_size=8)
quoted = st.text(st.sampled_from('a,"\n\ré'), max_size=8)
record = st.lists(st.one_of(plain, quoted), min_size=10, max_size=10)


@settings(deadline=None)
@given(st.lists(record, max_size=8), st.booleans(), st.sampled_from(["\n", "\r\n"]), st.integers(1, 80))
def test_what_a_csv_writer_wrote_comes_back_however_it_is_cut(rows, always_quoted, end, size):
    written = io.StringIO()
    quoting = csv.QUOTE_ALL if always_quoted else csv.QUOTE_MINIMAL
    # Its own line end is one of the characters for which this writer quotes.
    csv.writer(written, lineterminator="\r\n", quoting=quoting).writerows([COLUMNS, *rows])
    content = written.getvalue()
    if "\n" not in "".join(map("".join, rows)) and "\r" not in "".join(map("".join, rows)):
        content = content.replace("\r\n", end)
    assert cut(content.encode(), size) == [(row, None, None) for row in rows]


fragments = st.sampled_from(
    [GOOD, GOOD + "\n", "\n", "\r\n", "\r", '"', ",", "\0", "é", '""', ',"', '",', "x", "a,b\n", '"a\nb"']
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.one_of(fragments.map(str.encode), st.binary(max_size=4)), max_size=30), st.integers(1, 60))
@example([b'"', GOOD.encode() + b"\n", b'"x",', GOOD.encode()], 7)
def test_any_bytes_are_cut_alike_in_pieces_of_any_size(pieces, size):
    content = HEADER + b"\n" + b"".join(pieces)
    assert cut(content, size) == cut(content)


def outcome(content: bytes, size: int) -> object:
    try:
        return cut(content, size)
    except PartUnreadableError as error:
        return error.problems


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.one_of(fragments.map(str.encode), st.binary(max_size=4)), max_size=40), st.integers(1, 300)
)
@example([b"\xef\xbb\xbf", GOOD.encode(), b"\na,b\n"], 1)
def test_the_longest_record_is_the_same_in_pieces_of_any_size(pieces, size):
    content = HEADER + b"\n" + b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_records, "LONGEST_RECORD", 150)
        assert outcome(content, size) == outcome(content, 1 << 20)


@settings(deadline=None)
@given(st.lists(st.one_of(st.just(GOOD), st.text(st.sampled_from('ab,"'), max_size=12)), max_size=20))
def test_a_good_record_stays_good_after_any_single_line(lines):
    # A line with an odd quote may swallow what follows up to the next quote, never a record before it.
    before = [GOOD] * 3
    rows = cut(file_of(*before, *lines))
    assert rows[:3] == [(FIELDS, None, None)] * 3


def test_the_way_of_reading_does_not_show():
    broken = file_of(*[GOOD] * 50, "ragged", *[GOOD] * 50)
    assert [row for row in cut(broken) if row[1] is None] == cut(file_of(*[GOOD] * 100))
