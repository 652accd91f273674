"""Samples repeat byte for byte, hold what was asked for, and say what must become of each row."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import phonenumbers
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from fatoura.cli import main
from fatoura.customers.loading import CUSTOMERS
from fatoura.enrolment.loading import COUPONS
from fatoura.enrolment.sample import COUPON_DEFECTS
from fatoura.errors import BadInput
from fatoura.extracts.checking import check_folder
from fatoura.extracts.columns import COLUMNS
from fatoura.extracts.districts import read_districts
from fatoura.extracts.sample import (
    BATCH_DEFECTS,
    ROW_DEFECTS,
    Sample,
    issue_date_of,
    write_sample,
)
from fatoura.feeds.checking import check_folder as check_feed

CYCLE = "2026-05-T1"
WRITTEN = {
    *("invoices.csv", "manifest.json", "subscribers.csv", "expected.json"),
    *(f"coupons/{CYCLE}/{name}" for name in ("coupons.csv", "manifest.json")),
    *(f"customers/{CYCLE}/{name}" for name in ("customers.csv", "manifest.json")),
}


@pytest.fixture(autouse=True)
def _in_may(configure):
    configure(now="2026-05-20T10:00:00+01:00")


def write(folder: Path, **more) -> dict:
    write_sample(folder, Sample(**{"cycle": CYCLE, "invoices": 500, **more}))
    return json.loads((folder / "expected.json").read_text())


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def rows_of(folder: Path, name: str = "invoices.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def ends(expected: dict) -> dict[tuple[str, str | None], set[int]]:
    return {(one["bucket"], one["reason"]): set(one["row_numbers"]) for one in expected["rows"]}


def test_a_sample_keeps_every_rule_of_the_contract(tmp_path):
    expected = write(tmp_path)
    rows = rows_of(tmp_path)
    codes = {district.code for district in read_districts()}
    assert list(rows[0]) == list(COLUMNS)
    assert len({row["invoice_number"] for row in rows}) == 500
    for row in rows:
        issued, due, start, end = (
            date.fromisoformat(row[name]) for name in ("issue_date", "due_date", "period_start", "period_end")
        )
        assert issued == date(2026, 5, 20)
        assert timedelta(0) < due - issued <= timedelta(120)
        assert timedelta(0) < end - start <= timedelta(200)
        assert len(row["customer_reference"]) == 9
        assert row["customer_reference"].isdecimal()
        assert row["district"] in codes
        assert row["supply"] in {"electricity", "gas", "both"}
        assert row["estimated"] in {"true", "false"}
        assert 0 < int(row["amount_due_millimes"]) < 10**9
    assert any(row["customer_reference"].startswith("0") for row in rows)
    assert (expected["rejected"], expected["unsubscribed"], expected["noticed"]) == (0, 250, 250)


def test_the_manifest_is_that_of_the_files(tmp_path):
    write(tmp_path, parts=3)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    rows = [row for n in (1, 2, 3) for row in rows_of(tmp_path, f"invoices-{n:04d}.csv")]
    assert manifest["rows"] == 500
    assert [part["rows"] for part in manifest["parts"]] == [167, 167, 166]
    assert manifest["total_amount_millimes"] == sum(int(row["amount_due_millimes"]) for row in rows)
    for part in manifest["parts"]:
        assert part["sha256"] == hashlib.sha256((tmp_path / part["name"]).read_bytes()).hexdigest()


def test_the_same_sample_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, defects=dict.fromkeys(ROW_DEFECTS, 0.02))
    first, second = (
        {str(file.relative_to(tmp_path / name)): file.read_bytes() for file in files_of(tmp_path / name)}
        for name in ("a", "b")
    )
    assert set(first) == WRITTEN
    assert first == second


def test_another_cycle_bills_the_same_customers_under_new_numbers(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", cycle="2026-07-T1")
    first, second = rows_of(tmp_path / "a"), rows_of(tmp_path / "b")
    assert [(row["customer_reference"], row["district"]) for row in first] == [
        (row["customer_reference"], row["district"]) for row in second
    ]
    assert not {row["invoice_number"] for row in first} & {row["invoice_number"] for row in second}
    assert [row["amount_due_millimes"] for row in first] != [row["amount_due_millimes"] for row in second]


@pytest.mark.parametrize("cycle", ["2026-05-T1", "lower", "A.b_c", "X" * 64])
def test_invoice_numbers_fit_the_contract_whatever_the_cycle_is_called(tmp_path, cycle):
    write(tmp_path, cycle=cycle, invoices=3)
    for row in rows_of(tmp_path):
        assert len(row["invoice_number"]) <= 32
        assert set(row["invoice_number"]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/")


def test_subscribers_have_mobiles_in_form_and_both_languages(tmp_path):
    write(tmp_path, invoices=2000)
    with (tmp_path / "subscribers.csv").open() as file:
        subscribers = list(csv.DictReader(file))
    billed = {row["customer_reference"] for row in rows_of(tmp_path)}
    phones = Counter(row["phone"] for row in subscribers)
    languages = Counter(row["language"] for row in subscribers)
    assert list(subscribers[0]) == ["customer_reference", "phone", "language", "channel", "consent_date"]
    assert len(subscribers) == len({row["customer_reference"] for row in subscribers}) == 1020
    assert sum(row["customer_reference"] not in billed for row in subscribers) == 20
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(phone)) for phone in phones)
    assert all(phone.startswith("+2162000") for phone in phones)
    assert max(phones.values()) > 1
    assert languages["ar"] / len(subscribers) == pytest.approx(0.8, abs=0.05)
    assert {row["channel"] for row in subscribers} == {"coupon", "web"}


@pytest.mark.parametrize("share", [0, 0.4, 1])
def test_the_share_of_subscribers_is_exact(tmp_path, share):
    assert write(tmp_path, subscribed=share)["noticed"] == 500 * share


def test_every_row_ends_in_one_bucket(tmp_path):
    expected = write(tmp_path, defects=dict.fromkeys(ROW_DEFECTS, 0.03))
    numbers = sorted(number for one in expected["rows"] for number in one["row_numbers"])
    assert numbers == list(range(1, 501))
    buckets = Counter({one["bucket"]: 0 for one in expected["rows"]})
    for one in expected["rows"]:
        buckets[one["bucket"]] += len(one["row_numbers"])
    for bucket in ("rejected", "unsubscribed", "suppressed", "noticed"):
        assert expected[bucket] == buckets[bucket] > 0
    assert expected["held_out"] == 0


@pytest.mark.parametrize("kind", [kind for kind in ROW_DEFECTS if kind != "unknown_column"])
def test_a_defect_stands_in_the_share_asked_for(tmp_path, kind):
    expected = write(tmp_path, subscribed=1, defects={kind: 0.1})
    others = {end: rows for end, rows in ends(expected).items() if end != ("noticed", None)}
    assert sum(map(len, others.values())) == 50
    assert {bucket for bucket, _ in others} == ({"suppressed"} if "balance" in kind else {"rejected"})
    # Checked from outside, the sums are right whatever the rows hold.
    checked = check_folder(str(tmp_path))
    assert checked.problems == []
    if kind in {"ragged", "not_utf8"}:
        assert checked.flaws == {kind: 50}


def test_an_unknown_column_does_no_harm(tmp_path):
    expected = write(tmp_path, subscribed=1, defects={"unknown_column": 0.5, "ragged": 0.1})
    assert (expected["noticed"], expected["rejected"]) == (450, 50)
    checked = check_folder(str(tmp_path))
    assert checked.unknown_columns == ["remark"]
    assert checked.flaws == {"ragged": 50}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("wrong_rows", "holds 500 records, the manifest says 550"),
        ("wrong_total", "total_amount_millimes: the amounts"),
        ("wrong_sha256", "its sha256 is"),
        ("truncated", "cut short"),
        ("missing_column", "the header lacks estimated"),
    ],
)
def test_a_defect_of_the_whole_is_found_from_outside(tmp_path, kind, said):
    expected = write(tmp_path, defects={kind: 0.1})
    assert expected["refused"] == [kind]
    assert said in "\n".join(check_folder(str(tmp_path)).problems)


def test_all_kinds_of_defect_are_covered_above():
    assert set(BATCH_DEFECTS) == {"wrong_rows", "wrong_total", "wrong_sha256", "truncated", "missing_column"}


@pytest.mark.parametrize("defects", [{}, {"unreadable_date": 0.1, "missing_value": 0.1, "unknown_column": 1}])
def test_parquet_holds_the_same_records(tmp_path, defects):
    write(tmp_path / "csv", defects=defects)
    write(tmp_path / "parquet", defects=defects, format="parquet")
    table = pq.read_table(tmp_path / "parquet" / "invoices.parquet").to_pylist()
    lines = rows_of(tmp_path / "csv")
    assert [row["invoice_number"] for row in table] == [row["invoice_number"] for row in lines]
    checked = check_folder(str(tmp_path / "parquet"))
    assert checked.accepted
    assert checked.total_amount_millimes == check_folder(str(tmp_path / "csv")).total_amount_millimes


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_sample_of_nothing_is_an_extract_too(tmp_path, form):
    assert write(tmp_path, invoices=0, format=form)["extracted"] == 0
    assert check_folder(str(tmp_path)).accepted


def test_what_an_earlier_sample_left_is_removed(tmp_path):
    write(tmp_path, parts=3)
    write(tmp_path, format="parquet")
    assert sorted(path.name for path in tmp_path.glob("invoices*")) == ["invoices.parquet"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"defects": {"bad_supply": 0.6, "ragged": 0.6}}, "make more than 1"),
        ({"defects": {"duplicate": 0.9}}, "too few good records"),
        ({"defects": {"ragged": 0.1}, "format": "parquet"}, "ragged is a defect of CSV files"),
        ({"defects": {"nonsense": 0.1}}, "nonsense is no kind of defect"),
        ({"cycle": "2026-05-T1/supplement-1"}, "not a supplement"),
        ({"cycle": "../x"}, "not a cycle key"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, more, said):
    with pytest.raises(BadInput, match=said):
        write(tmp_path, **more)


def test_production_gets_no_invented_phones(tmp_path, configure):
    configure(profile="production", now="")
    with pytest.raises(BadInput, match="invented phones"):
        write(tmp_path)


def test_the_issue_date_follows_the_key():
    assert issue_date_of("2026-05-T1") == date(2026, 5, 20)
    assert issue_date_of("T1") == issue_date_of("2026-13") == issue_date_of("2026-051") == date(2026, 5, 20)
    assert issue_date_of("2025-11") == date(2025, 11, 20)


# --- The commands ------------------------------------------------------------------------------------


def run(*arguments: object, expect: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    return result.output


def test_the_command_of_the_contract(tmp_path):
    options = ["--cycle", CYCLE, "--invoices", 100, "--subscribed", 0.3, "--seed", 7]
    said = run(
        "sample", tmp_path, *options, "--defect", "ragged=0.02", "--defect", "duplicate=0.05", "--json"
    )
    answer = json.loads(said)
    assert (answer["extracted"], answer["rejected"]) == (100, 7)
    assert {str(file.relative_to(tmp_path)) for file in files_of(tmp_path)} == WRITTEN
    assert answer["coupons"]["outcomes"] == {"enrolled": answer["subscribers"]}
    assert "100 records" in run("sample", tmp_path, *options)


def test_a_sample_can_be_delivered_at_once(tmp_path, configure):
    landing = configure(landing=str(tmp_path / "landing")).landing
    run("sample", tmp_path / "sample", "--cycle", CYCLE, "--invoices", 10, "--parts", 2, "--land")
    delivered = Path(landing) / "billing" / CYCLE
    assert {path.name for path in delivered.iterdir()} == {
        "invoices-0001.csv", "invoices-0002.csv", "manifest.json",
    }  # fmt: skip
    assert check_folder(str(delivered)).accepted
    assert not (Path(landing) / "coupons").exists()


def test_its_coupons_can_be_delivered_too(tmp_path, configure):
    landing = Path(configure(landing=str(tmp_path / "landing")).landing)
    wrong = ("--coupon-defect", "unsigned=0.2", "--land-coupons")
    said = run("sample", tmp_path / "sample", "--cycle", CYCLE, "--invoices", 20, *wrong, "--json")
    coupons = json.loads(said)["coupons"]
    assert coupons["set_aside"] == {"signed: not_signed": 2}
    assert coupons["landed"] == [str(landing / content / CYCLE) for content in ("customers", "coupons")]
    assert check_feed(COUPONS, coupons["landed"][1]).accepted
    assert check_feed(CUSTOMERS, coupons["landed"][0]).accepted
    assert not (landing / "billing").exists()


def test_kinds_of_defect_are_listed():
    said = run("sample", "--list-defects")
    assert all(kind in said for kind in [*ROW_DEFECTS, *BATCH_DEFECTS, *COUPON_DEFECTS])


@pytest.mark.parametrize(
    "option",
    [
        ["--defect", "nonsense=1"],
        ["--coupon-defect", "bad_reference=1"],
        ["--defect", "ragged"],
        ["--defect", "ragged=2"],
        ["--subscribed", "1.5"],
        ["--invoices", "-1"],
        ["--issue-date", "tomorrow"],
    ],
)
def test_wrong_usage_of_the_generator_ends_with_2(tmp_path, option):
    run("sample", tmp_path, "--cycle", CYCLE, *option, expect=2)


def test_an_extract_is_checked_from_outside(tmp_path):
    write(tmp_path, defects={"unreadable_amount": 0.1, "unknown_column": 1})
    said = run("extracts", "check", tmp_path)
    assert "set aside by the quality gate: 50 × amount_due_millimes" in said
    assert "unknown column 'remark'" in said
    assert said.endswith("would be loaded\n")
    answer = json.loads(run("extracts", "check", tmp_path, "--json"))
    assert (answer["accepted"], answer["rows"], answer["unreadable"]) == (
        True,
        500,
        {"amount_due_millimes": 50},
    )


def test_a_bad_extract_is_refused_from_outside(tmp_path):
    write(tmp_path, defects={"wrong_sha256": 1})
    assert "refused: invoices.csv: its sha256 is" in run("extracts", "check", tmp_path, expect=1)
    answer = json.loads(run("extracts", "check", tmp_path, "--json", expect=1))
    assert answer["accepted"] is False
    assert len(answer["problems"]) == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "there is no manifest.json" in run("extracts", "check", empty, expect=1)
