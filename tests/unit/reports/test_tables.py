"""Values in CSV files are plain, and words of outside never become formulas."""

import csv
import io
from datetime import UTC, date, datetime

import pytest

from fatoura.reports.tables import Field, Said, Table, write_csv


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (0, "0"),
        (-12, "-12"),
        (True, "true"),
        (12.0, "12"),
        (0.938407, "0.938407"),
        (1202.6318, "1202.632"),
        (date(2026, 5, 20), "2026-05-20"),
        (datetime(2026, 5, 20, 17, 50, 0, 9, tzinfo=UTC), "2026-05-20T18:50:00+01:00"),
        ("تونس", "تونس"),
        (Said("replaced", "remplacé"), "replaced"),
        ('a "word", quoted', 'a "word", quoted'),
        ("=1+1", "'=1+1"),
        ("+216", "'+216"),
        ("@x", "'@x"),
        ("-x", "'-x"),
        (Said("=1+1", ""), "'=1+1"),
    ],
)
def test_values_are_plain(value, written):
    file = io.StringIO(newline="")
    write_csv(Table("a", (Field("one"), Field("two")), [(value, 1)]), file)
    assert list(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [["one", "two"], [written, "1"]]
