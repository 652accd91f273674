"""A manifest is read strictly, and everything wrong with it is said at once, with the field's name."""

from __future__ import annotations

import json
import pickle

import pytest

from fatoura.cycles.keys import ExtractKey
from fatoura.extracts.manifest import read_manifest
from fatoura.extracts.refusal import ExtractRefused
from fatoura.manifests import LARGEST

KEY = ExtractKey("2026-05-T1")
SUM = "ab" * 32
GOOD = {
    "cycle": "2026-05-T1",
    "issue_date": "2026-05-20",
    "rows": 2000,
    "total_amount_millimes": 170704000,
    "parts": [{"name": "invoices.csv", "rows": 2000, "sha256": SUM}],
}


@pytest.fixture(autouse=True)
def _in_may(configure):
    configure(now="2026-05-20T10:00:00+01:00")


def read(document: object, key: ExtractKey | None = KEY):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_manifest(content, key, str(key))


def problems_of(document: object, key: ExtractKey | None = KEY) -> list[str]:
    with pytest.raises(ExtractRefused) as refused:
        read(document, key)
    return list(refused.value.problems)


def test_the_contracts_manifest_is_read():
    manifest = read(GOOD)
    assert manifest.document() == GOOD
    assert manifest.parts[0].rows == 2000


def test_a_byte_order_mark_is_tolerated():
    assert read(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()).rows == 2000


def test_the_total_may_be_of_any_size():
    assert read(GOOD | {"total_amount_millimes": -(10**40)}).total_amount_millimes == -(10**40)


@pytest.mark.parametrize("field", list(GOOD))
def test_a_missing_field_is_named(field):
    assert problems_of({k: v for k, v in GOOD.items() if k != field}) == [
        f"manifest.json: {field} is missing"
    ]


@pytest.mark.parametrize("field", ["name", "rows", "sha256"])
def test_a_missing_field_of_a_part_is_named(field):
    part = {k: v for k, v in GOOD["parts"][0].items() if k != field}
    assert problems_of(GOOD | {"parts": [part]}) == [f"manifest.json: parts[0].{field} is missing"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"row_count": 1}, "row_count is not a field"),
        ({"rows": "2000"}, "rows must be a whole number, without quotes"),
        ({"rows": 2000.0}, "rows must be a whole number"),
        ({"rows": True}, "rows must be a whole number"),
        ({"rows": -1}, "rows must not be negative"),
        ({"total_amount_millimes": None}, "total_amount_millimes must be a whole number"),
        ({"cycle": 202605}, "cycle must be text in quotes"),
        ({"issue_date": "20/05/2026"}, 'issue_date is not a day such as "2026-05-20"'),
        ({"issue_date": "2026-02-30"}, 'issue_date is not a day such as "2026-05-20"'),
        ({"issue_date": "2026-W21-3"}, 'issue_date is not a day such as "2026-05-20"'),
        ({"issue_date": 1779235200}, 'issue_date is not a day such as "2026-05-20"'),
        ({"issue_date": "2026-07-20"}, "lies more than 31 days in the future"),
        ({"parts": []}, "parts names no part"),
        ({"parts": {}}, "parts is not of the right form"),
        ({"parts": ["invoices.csv"]}, "parts[0] is not of the right form"),
        ({"rows": 1999}, "rows is 1,999, but the parts' rows make 2,000"),
        ({"cycle": "2026-05-T2"}, "cycle is '2026-05-T2', but the folder is that of 2026-05-T1"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_wrong(change, said):
    assert said in "\n".join(problems_of(GOOD | change))


@pytest.mark.parametrize(
    "name", ["../invoices.csv", "a/b.csv", "a\\b.csv", "/etc/passwd.csv", ".hidden.csv", "", "..", "a\n.csv"]
)
def test_a_part_is_a_plain_file_of_its_folder(name):
    said = problems_of(GOOD | {"parts": [GOOD["parts"][0] | {"name": name}]})
    assert "parts[0].name must be the plain name of a file in this folder" in said[0]


@pytest.mark.parametrize("name", ["invoices.txt", "invoices.csv.gz", "invoices"])
def test_a_part_is_csv_or_parquet(name):
    said = problems_of(GOOD | {"parts": [GOOD["parts"][0] | {"name": name}]})
    assert said == [f"manifest.json: part {name} is neither .csv nor .parquet"]


@pytest.mark.parametrize("checksum", ["", "ab" * 31, "xy" * 32, 5])
def test_a_checksum_has_64_hexadecimal_digits(checksum):
    said = problems_of(GOOD | {"parts": [GOOD["parts"][0] | {"sha256": checksum}]})
    assert "parts[0].sha256 must be" in said[0]


def test_a_checksum_is_the_same_in_capitals():
    capitals = GOOD | {"parts": [GOOD["parts"][0] | {"sha256": SUM.upper()}]}
    assert read(capitals).digest == read(GOOD).digest


def test_the_digest_changes_with_the_parts_and_the_issue_date():
    other = GOOD | {"parts": [GOOD["parts"][0] | {"sha256": "cd" * 32}]}
    assert len({read(one).digest for one in (GOOD, other, GOOD | {"issue_date": "2026-05-19"})}) == 3


def test_two_parts_need_two_names_and_two_contents():
    part = GOOD["parts"][0]
    twice = GOOD | {"rows": 4000, "parts": [part, part | {"sha256": "cd" * 32}]}
    assert problems_of(twice) == ["manifest.json: part invoices.csv is named 2 times"]
    same = GOOD | {"rows": 4000, "parts": [part, part | {"name": "more.csv"}]}
    assert "the same file is there twice" in problems_of(same)[0]


def test_everything_wrong_is_said_at_once():
    said = problems_of({"rows": "x", "parts": [{"name": "../x"}], "extra": 1})
    assert len(said) == 8


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b'{"cycle": "2026-05-T1", "ro', "not JSON, from line 1"),
        (b"[]", "is not of the right form"),
        (b'{"cycle": "2026-05-T1\xe9"}', "not UTF-8"),
        (b'{"rows": 1, "rows": 2}', "'rows' is there twice"),
        (b"9" * 5000, "not a manifest"),
        (b"[" * 100_000, "not a manifest"),
        (b" " * (LARGEST + 1), "larger than"),
    ],
)
def test_what_is_no_manifest_is_refused_in_words(content, said):
    assert said in problems_of(content)[0]


def test_a_supplements_manifest_names_the_cycle():
    key = ExtractKey("2026-05-T1", 2)
    assert read(GOOD, key).cycle == "2026-05-T1"
    assert read(GOOD | {"cycle": "2026-05-T1/supplement-2"}, key)
    assert "the folder is that of" in problems_of(GOOD | {"cycle": "2026-05-T1/supplement-1"}, key)[0]


def test_a_refusal_crosses_processes():
    refusal = ExtractRefused("2026-05-T1", ["one", "two"])
    copy = pickle.loads(pickle.dumps(refusal))
    assert (str(copy), copy.problems) == (str(refusal), ("one", "two"))


def test_a_refusal_of_many_reasons_stays_readable():
    assert "and 60 more" in str(ExtractRefused("2026-05-T1", [f"reason {n}" for n in range(100)]))
