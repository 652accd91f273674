"""CSV as in RFC 4180, as a stream: bytes in, records as text out, broken records set apart, flat memory.

Called for each CSV part of an extract. Blocks without any doubt are cut by Arrow; a block with a ragged
record, an odd quote or bytes that are not UTF-8 is read record by record. Both ways judge a record alike,
so that what becomes of it never depends on its neighbours. Knows nothing of amounts, days or databases.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv

from fatoura.extracts.columns import COLUMNS, Header, Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST_RECORD = 65_536
"""Bytes. A record of the contract has about 100. It bounds how far a forgotten quote can reach."""

BEYOND_THE_HEADER = ""
"""The name under which fields that the header has no column for are kept with the unknown columns."""

_LF, _CR, _QUOTE, _COMMA = b'\n\r",'
_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# One field, up to the comma or the record's end: in quotes (a quote inside is doubled), or without any.
_FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|([^",]*))(,|\Z)')


class PartUnreadableError(Exception):
    """A part that cannot be cut into the contract's columns; `problems` says why, without its name."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


def read_csv(chunks: Iterable[bytes], found: list[Header]) -> Iterator[Records]:
    """Cut a stream of bytes into records.

    :param chunks: the file, in pieces of any size; about a megabyte is best.
    :param found: takes the header, once it has been read and found good.
    :raises PartUnreadableError: when there is no good header, or a line has no end.
    """
    stream = iter(chunks)
    header, rest = _read_header(stream)
    if problems := header.problems():
        raise PartUnreadableError(*problems)
    found.append(header)
    cutter = _Cutter(header)
    for chunk in stream:
        rest, batches = cutter.cut(rest + chunk, last=False)
        yield from batches
    rest, batches = cutter.cut(rest, last=True)
    yield from batches


def _read_header(stream: Iterator[bytes]) -> tuple[Header, bytes]:
    start = b""
    for chunk in stream:
        start += chunk
        if b"\n" in start or len(start) > LONGEST_RECORD:
            break
    line, _, rest = start.removeprefix(_BOM).partition(b"\n")
    if line.startswith(_OTHER_BOMS):
        raise PartUnreadableError("written in UTF-16; write it in UTF-8")
    if len(line) > LONGEST_RECORD:
        raise PartUnreadableError(f"the header is longer than {LONGEST_RECORD:,} bytes: this is no CSV file")
    if not line.strip():
        raise PartUnreadableError("there is no header: the first line is empty")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise PartUnreadableError("the header is not UTF-8; write the file in UTF-8") from None
    names = _fields(text.removesuffix("\r").replace("\0", _REPLACEMENT))
    if names is None:
        raise PartUnreadableError("the header has a quote out of place")
    return Header(tuple(names)), rest


class _Cutter:
    """Cuts pieces of one part into records. Holds nothing from one piece to the next."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.width = len(header.names)
        self.known = [header.names.index(name) for name in COLUMNS]
        self.unknown = [at for at, name in enumerate(header.names) if name not in COLUMNS]
        self.convert = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(self._labels(), pa.string()))

    def _labels(self) -> list[str]:
        # Arrow's own names for the columns: those of the file may be anything.
        return [str(at) for at in range(self.width)]

    def cut(self, piece: bytes, *, last: bool) -> tuple[bytes, list[Records]]:
        """Cut a piece that begins at a record's first byte.

        :param last: nothing follows: what is left is a record, with or without its line's end.
        :returns: what belongs to a record that is not whole yet, and the records.
        """
        end, doubtful = _undoubted(piece)
        batches: list[Records] = []
        if end:
            records = None if doubtful else self._at_once(piece[:end])
            if records is None and _QUOTE not in piece:
                records = self._sorted_out(piece[:end])
            doubtful = records is None
            if records:
                batches.append(records)
        if not doubtful:
            piece = piece[end:]
            if not last and len(piece) <= LONGEST_RECORD:
                return piece, batches
        used, one_by_one = self._one_by_one(piece, last=last)
        if one_by_one:
            batches.append(one_by_one)
        return piece[used:], batches

    def _at_once(self, piece: bytes) -> Records | None:
        """Cut whole records at once; return nothing when one of them is broken."""
        if piece.startswith(_BOM):
            return None  # Arrow would drop it, as at the start of a file; here it belongs to the first field
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(piece),
                pyarrow.csv.ReadOptions(column_names=self._labels(), block_size=len(piece) + 1),
                pyarrow.csv.ParseOptions(newlines_in_values=True),
                self.convert,
            ).combine_chunks()
        except pa.ArrowInvalid:
            return None
        if not table.num_rows:
            return Records(tuple(pa.array([], pa.string()) for _ in COLUMNS))
        columns = [column.chunk(0) for column in table.columns]
        unknown = None
        if self.unknown:
            names = [self.header.names[at] for at in self.unknown]
            values = zip(*(columns[at].to_pylist() for at in self.unknown), strict=True)
            unknown = as_json(dict(zip(names, row, strict=True)) for row in values)
        return Records(tuple(columns[at] for at in self.known), unknown)

    def _sorted_out(self, piece: bytes) -> Records | None:
        """Cut whole lines without quotes: at once those that are good at sight, one by one the others."""
        octets = np.frombuffer(piece, np.uint8)
        ends = np.flatnonzero(octets == _LF)
        lengths = np.diff(ends, prepend=-1)
        if lengths.max() > LONGEST_RECORD:
            return None
        commas = np.flatnonzero(octets == _COMMA)
        odd = np.diff(np.searchsorted(commas, ends), prepend=0) != self.width - 1
        alone = (octets == _CR) & (np.append(octets[1:], 0) != _LF)
        odd[np.searchsorted(ends, np.flatnonzero((octets >= 128) | (octets == 0) | alone))] = True
        blank = (lengths == 1) | ((lengths == 2) & (octets[ends - 1] == _CR))
        good = self._at_once(octets[np.repeat(~odd & ~blank, lengths)].tobytes())
        if good is None:
            return None
        _, others = self._one_by_one(octets[np.repeat(odd & ~blank, lengths)].tobytes(), last=True)
        # Back into the order of the lines.
        places = np.concatenate([np.flatnonzero(~odd & ~blank), np.flatnonzero(odd & ~blank)])
        return good.joined(others, np.argsort(places))

    def _one_by_one(self, piece: bytes, *, last: bool) -> tuple[int, Records]:
        """Cut records one after the other, broken ones too.

        :returns: how many bytes were used, and the records.
        :raises PartUnreadableError: when a line has no end.
        """
        rows: list[list[str]] = []
        unknown: list[dict[str, object]] = []
        flaws: list[str | None] = []
        at = 0
        while at < len(piece):
            end = _record_end(piece, at, last=last)
            if end is None:
                break
            fields, flaw, after = self._record(piece, at, end)
            at = after
            if fields is None:
                continue
            rows.append([fields[column] for column in self.known])
            unknown.append({self.header.names[column]: fields[column] for column in self.unknown})
            if len(fields) > self.width:
                unknown[-1][BEYOND_THE_HEADER] = fields[self.width :]
            flaws.append(flaw)
        columns = zip(*rows, strict=True) if rows else ([] for _ in COLUMNS)
        kept = as_json(one or None for one in unknown) if any(unknown) else None
        return at, Records(
            tuple(pa.array(column, pa.string()) for column in columns),
            kept,
            pa.array(flaws, pa.string()) if any(flaws) else None,
        )

    def _record(self, piece: bytes, start: int, end: int) -> tuple[list[str] | None, str | None, int]:
        """Read one record, from `start` to `end` (its line's end left out).

        :returns: its fields, at least as many as the header has, or nothing for a blank line; its flaw;
            and where the next one begins.
        """
        text, flaw = _text(piece[start:end])
        if not text:
            return None, None, end + 1
        fields = _fields(text)
        if fields is None:
            # A quote out of place, or one that is never closed: the line it stands on is lost, no more.
            line_end = piece.find(b"\n", start, end)
            end = end if line_end < 0 else line_end
            text, _ = _text(piece[start:end])
            fields, flaw = text.split(","), "ragged"
        if len(fields) != self.width:
            flaw = "ragged"
            fields += [""] * (self.width - len(fields))
        return fields, flaw, end + 1


def _undoubted(piece: bytes) -> tuple[int, bool]:
    """Find where the last whole record ends, if quotes can be trusted.

    :returns: the length of all whole records, and whether they have to be read one by one.
    """
    octets = np.frombuffer(piece, np.uint8)
    ends = np.flatnonzero(octets == _LF)
    if _QUOTE in piece:
        quotes = np.flatnonzero(octets == _QUOTE)
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    if not len(ends):
        return 0, False
    end = int(ends[-1]) + 1
    if np.diff(ends, prepend=-1).max() > LONGEST_RECORD:
        return end, True
    if piece.count(b"\r", 0, end) != piece.count(b"\r\n", 0, end) or b"\0" in piece[:end]:
        return end, True
    return end, _QUOTE in piece and not _quotes_in_place(octets, quotes[quotes < end])


def _quotes_in_place(octets: np.ndarray, quotes: np.ndarray) -> bool:
    """Tell whether each quote opens or closes a field, or is doubled inside one."""
    opening, closing = quotes[0::2], quotes[1::2]
    before = octets[opening[opening > 0] - 1]
    after = octets[closing + 1]  # a whole record ends with its line's end: there is one
    return bool(
        np.isin(before, (_LF, _COMMA, _QUOTE)).all() and np.isin(after, (_LF, _CR, _COMMA, _QUOTE)).all()
    )


def _record_end(piece: bytes, start: int, *, last: bool) -> int | None:
    """Find the end of a record: its line's end, or a later one when a quote is open there.

    :returns: nothing when the record goes on behind the piece. A quote that stays open too long is
        taken for a mistake: then the record ends behind that stretch, and is judged broken there.
    :raises PartUnreadableError: when a line has no end.
    """
    at = start
    quotes = 0
    while True:
        newline = piece.find(b"\n", at)
        end = len(piece) if newline < 0 else newline
        if end - at > LONGEST_RECORD:
            raise PartUnreadableError(
                f"a line is longer than {LONGEST_RECORD:,} bytes: this is no CSV file of the contract"
            )
        if newline < 0:
            return end if last else None
        quotes += piece.count(b'"', at, end)
        if quotes % 2 == 0 or end - start > LONGEST_RECORD:
            return end
        at = end + 1


def _fields(text: str) -> list[str] | None:
    """Cut a record into its fields; return nothing when a quote is out of place."""
    if '"' not in text:
        return text.split(",")
    fields = []
    at = 0
    while True:
        match = _FIELD.match(text, at)
        if match is None:
            return None
        quoted, bare, mark = match.groups()
        fields.append(bare if quoted is None else quoted.replace('""', '"'))
        at = match.end()
        if not mark:
            return fields


def _text(line: bytes) -> tuple[str, str | None]:
    """Decode a record. What is no text becomes a replacement character; PostgreSQL has no zero byte."""
    line = line.removesuffix(b"\r")
    if b"\0" not in line:
        try:
            return line.decode(), None
        except UnicodeDecodeError:
            pass
    return line.decode(errors="replace").replace("\0", _REPLACEMENT), "not_utf8"


def as_json(rows: Iterable[dict[str, object] | None]) -> pa.StringArray:
    """Write each record's unknown columns as a JSON object; none stays none."""
    texts = [None if row is None else json.dumps(row, ensure_ascii=False) for row in rows]
    return pa.array(texts, pa.string())
