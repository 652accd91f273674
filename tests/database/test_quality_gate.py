from __future__ import annotations

import json
import logging
import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from sqlalchemy import text

from fatoura.cycles.keys import ExtractKey
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.extracts import load_extract
from fatoura.extracts.sample import ROW_DEFECTS, Sample, write_sample
from fatoura.extracts.sample import deliver as deliver_sample
from fatoura.quality import (
    BatchRefused,
    SuiteError,
    data_docs_page,
    load_suite,
    tripped_guard_rails,
    validate_extract,
)
from fatoura.quality.gate import RowsUnsorted
from fatoura.settings import get_settings
from tests.deliveries import deliver, load, record

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.database

CYCLE = ExtractKey("2026-05-T1")
SUPPLEMENT = ExtractKey("2026-05-T1", 1)


@pytest.fixture(autouse=True)
def _on_the_day_of_issue(database: str, configure) -> None:
    configure(now="2026-05-20T10:00:00+01:00")


def good(count: int = 40) -> list[dict[str, Any]]:
    return [record(number) for number in range(1, count + 1)]


def rejected(extract_id: int) -> dict[int, list[str]]:
    with connect() as connection:
        found = connection.execute(
            text("SELECT row_number, reasons FROM rejected_row WHERE extract_id = :id ORDER BY 1"),
            {"id": extract_id},
        )
        return {row: reasons for row, reasons in found}  # noqa: C416


def extract_row(extract_id: int) -> Any:
    with connect() as connection:
        return connection.execute(text("SELECT * FROM extract WHERE id = :id"), {"id": extract_id}).one()


def stages() -> list[Any]:
    with connect() as connection:
        found = connection.execute(text("SELECT * FROM stage WHERE name = 'validate' ORDER BY id"))
        return list(found)


def stand(key: ExtractKey, extract_id: int, records: list[dict[str, Any]], revision: int = 0) -> None:
    """Put records where matching puts them, and call their extract matched."""
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, "
                "customer_reference, district, supply, period_start, period_end, amount_due_millimes, "
                "due_date, issue_date, estimated, bucket, reason) "
                "SELECT :id, :n, c.id, :invoice_number, :revision, :customer_reference, :district, :supply, "
                "CAST(:period_start AS date), CAST(:period_end AS date), :amount_due_millimes, "
                "CAST(:due_date AS date), CAST(:issue_date AS date), CAST(:estimated AS boolean), "
                "'unsubscribed', 'not_subscribed' FROM cycle AS c WHERE c.key = :key"
            ),
            [
                {**one, "n": n, "id": extract_id, "key": key.cycle, "revision": revision}
                for n, one in enumerate(records, 1)
            ],
        )
        connection.execute(text("UPDATE extract SET matched_at = now() WHERE id = :id"), {"id": extract_id})


# --- Row rules ---------------------------------------------------------------------------------------


def test_a_good_extract_passes_whole() -> None:
    extract_id = load(CYCLE, good())

    outcome = validate_extract(CYCLE, run_id="run")

    assert (outcome.rows, outcome.kept, outcome.rejected) == (40, 40, 0)
    assert outcome.tripped == []
    assert not outcome.repeated
    assert extract_row(extract_id).validated_at is not None
    assert extract_row(extract_id).rejected_rows == 0
    [stage] = stages()
    assert stage.run_id == "run"
    assert stage.counts["rows"] == 40
    assert stage.counts["total_millimes"] == sum(one["amount_due_millimes"] for one in good())


BROKEN = [
    ({"invoice_number": ""}, "invoice_number_form"),
    ({"invoice_number": "f1"}, "invoice_number_form"),
    ({"invoice_number": "F 1"}, "invoice_number_form"),
    ({"invoice_number": "F1\n"}, "invoice_number_form"),
    ({"invoice_number": "9" * 33}, "invoice_number_form"),
    ({"customer_reference": ""}, "customer_reference_form"),
    ({"customer_reference": "12345678"}, "customer_reference_form"),
    ({"customer_reference": "0123456789"}, "customer_reference_form"),
    ({"customer_reference": "12345678x"}, "customer_reference_form"),
    ({"customer_reference": "٠٠٠٠٠٠٠٠١"}, "customer_reference_form"),
    ({"district": ""}, "district_unknown"),
    ({"district": "tun1"}, "district_unknown"),
    ({"supply": ""}, "supply_unknown"),
    ({"supply": "water"}, "supply_unknown"),
    ({"period_start": ""}, "period_unreadable"),
    ({"period_end": "30/04/2026"}, "period_unreadable"),
    ({"period_start": "x", "period_end": "y"}, "period_unreadable"),
    ({"period_end": "2026-03-01"}, "period_reversed"),
    ({"period_start": "2026-05-01"}, "period_reversed"),
    ({"period_start": "2025-10-11"}, "period_too_long"),
    ({"amount_due_millimes": ""}, "amount_unreadable"),
    ({"amount_due_millimes": "85.500"}, "amount_unreadable"),
    ({"amount_due_millimes": "9" * 30}, "amount_unreadable"),
    ({"amount_due_millimes": "1000000000"}, "amount_out_of_bounds"),
    ({"amount_due_millimes": "-1000000000"}, "amount_out_of_bounds"),
    ({"due_date": "2026-02-30"}, "due_date_unreadable"),
    ({"due_date": "2026-05-20"}, "due_date_not_after_issue"),
    ({"due_date": "2026-09-18"}, "due_date_too_late"),
    ({"issue_date": ""}, "issue_date_unreadable"),
    ({"issue_date": "2026-05-19"}, "issue_date_not_of_manifest"),
    ({"estimated": ""}, "estimated_unreadable"),
    ({"estimated": "oui"}, "estimated_unreadable"),
]


def test_each_broken_rule_sets_its_row_aside_with_its_code_alone() -> None:
    broken = [record(100 + n, **change) for n, (change, _) in enumerate(BROKEN)]
    extract_id = load(CYCLE, good() + broken)

    outcome = validate_extract(CYCLE)

    assert rejected(extract_id) == {41 + n: [code] for n, (_, code) in enumerate(BROKEN)}
    assert outcome.kept == 40
    assert outcome.rejected == extract_row(extract_id).rejected_rows == len(BROKEN)
    assert outcome.rejected_by_code["invoice_number_form"] == 5


def test_values_at_the_limits_pass() -> None:
    limits = [
        {"invoice_number": "A-/9" * 8},
        {"invoice_number": "1"},
        {"customer_reference": "000000000"},
        {"period_start": "2026-04-29"},
        {"period_start": "2025-10-12"},
        {"amount_due_millimes": "999999999"},
        {"amount_due_millimes": "-999999999"},
        {"amount_due_millimes": "0"},
        {"due_date": "2026-05-21"},
        {"due_date": "2026-09-17"},
        {"estimated": "true"},
        {"supply": "both"},
        {"supply": "gas"},
    ]
    extract_id = load(CYCLE, [record(n, **change) for n, change in enumerate(limits)])

    validate_extract(CYCLE)

    assert rejected(extract_id) == {}


def test_a_row_that_breaks_several_rules_bears_all_codes_in_the_order_of_the_suite() -> None:
    bad = record(100, supply="", due_date="?", customer_reference="1", amount_due_millimes="1e3")
    extract_id = load(CYCLE, [bad, *good()])

    validate_extract(CYCLE)

    assert rejected(extract_id) == {
        1: ["customer_reference_form", "supply_unknown", "amount_unreadable", "due_date_unreadable"]
    }


def test_a_record_that_could_not_be_read_bears_only_that() -> None:
    extract_id = load(CYCLE, [*good(), b"too,few,fields", b"F1,\xe9\xe8,,,,,,,,", record(1)])

    validate_extract(CYCLE)

    assert rejected(extract_id) == {41: ["ragged"], 42: ["not_utf8"], 43: ["duplicate_in_extract"]}


def test_the_rejected_row_is_kept_as_it_came() -> None:
    extract_id = load(CYCLE, [*good(), record(41, supply="Électricité", amount_due_millimes="0012")])

    validate_extract(CYCLE)

    with connect() as connection:
        row = connection.execute(
            text("SELECT * FROM rejected_row WHERE extract_id = :id"), {"id": extract_id}
        ).one()
    assert (row.row_number, row.part, row.part_row) == (41, "invoices.csv", 41)
    assert row.fields["supply"] == "Électricité"
    assert row.fields["amount_due_millimes"] == "0012"
    assert row.fields["customer_reference"] == "000000041"


# --- The same invoice again --------------------------------------------------------------------------


def test_of_copies_that_are_alike_the_first_stays() -> None:
    extract_id = load(CYCLE, [*good(), record(7), record(8), record(7)])

    validate_extract(CYCLE)

    assert rejected(extract_id) == {row: ["duplicate_in_extract"] for row in (41, 42, 43)}


def test_of_copies_that_differ_none_stays() -> None:
    extract_id = load(CYCLE, [*good(), record(7), record(7, amount_due_millimes=1), record(9)])

    validate_extract(CYCLE)

    conflict = ["conflicting_duplicates"]
    assert rejected(extract_id) == {7: conflict, 41: conflict, 42: conflict, 43: ["duplicate_in_extract"]}


def test_rows_without_an_invoice_number_are_no_copies_of_each_other() -> None:
    extract_id = load(CYCLE, [*good(), record(41, invoice_number=""), record(42, invoice_number="")])

    validate_extract(CYCLE)

    assert rejected(extract_id) == {row: ["invoice_number_form"] for row in (41, 42)}


def test_an_invoice_number_of_another_cycle_is_rejected() -> None:
    earlier = ExtractKey("2026-03-T1")
    stand(earlier, load(earlier, good(3)), good(3))
    extract_id = load(CYCLE, [*good(), record(50)])

    validate_extract(CYCLE)

    assert rejected(extract_id) == {row: ["duplicate_of_earlier_cycle"] for row in (1, 2, 3)}


def test_a_supplement_corrects_or_adds_and_what_it_does_not_change_is_rejected() -> None:
    stand(CYCLE, load(CYCLE, good()), good())
    extract_id = load(
        SUPPLEMENT,
        [
            record(1),  # as it stands
            record(2, amount_due_millimes=1),  # corrected
            record(3, estimated="true"),  # corrected
            record(99),  # new
            record(4, amount_due_millimes="x"),  # not corrected well
            record(5),  # as it stands, written otherwise
        ],
    )

    validate_extract(SUPPLEMENT)

    assert rejected(extract_id) == {
        1: ["unchanged_in_supplement"],
        5: ["amount_unreadable"],
        6: ["unchanged_in_supplement"],
    }


def test_a_supplement_is_compared_with_the_last_revision() -> None:
    stand(CYCLE, load(CYCLE, good()), good())
    corrected = [record(1, amount_due_millimes=5)]
    stand(CYCLE, load(SUPPLEMENT, corrected), corrected, revision=1)
    second = ExtractKey(CYCLE.cycle, 2)
    extract_id = load(second, [record(1), record(2, amount_due_millimes=6)])
    assert validate_extract(second).rejected == 0, "back to the first amount is a correction"

    third = ExtractKey(CYCLE.cycle, 3)
    extract_id = load(third, [record(1, amount_due_millimes=5), record(2, amount_due_millimes=7)])
    validate_extract(third)

    assert rejected(extract_id) == {1: ["unchanged_in_supplement"]}


def test_what_a_sample_says_must_be_rejected_is_rejected_for_that_reason(tmp_path: Path) -> None:
    sample = Sample(
        CYCLE.cycle, 2_000, issue_date=date(2026, 5, 20), defects=dict.fromkeys(ROW_DEFECTS, 0.01)
    )
    write_sample(tmp_path, sample)
    deliver_sample(tmp_path)
    expected = json.loads((tmp_path / "expected.json").read_text())
    extract_id = load_extract(CYCLE, run_id="test").extract_id

    outcome = validate_extract(CYCLE)

    assert outcome.rejected == expected["rejected"]
    found = rejected(extract_id)
    for group in expected["rows"]:
        for row in group["row_numbers"]:
            assert (group["bucket"] == "rejected") == (row in found)
            assert group["bucket"] != "rejected" or group["reason"] in found[row]


# --- Rules about the extract as a whole --------------------------------------------------------------


def refusal(key: ExtractKey = CYCLE) -> BatchRefused:
    with pytest.raises(BatchRefused) as refused:
        validate_extract(key)
    return refused.value


def test_an_extract_of_which_half_is_bad_is_refused_and_its_rejected_rows_are_kept() -> None:
    extract_id = load(CYCLE, good(20) + [record(100 + n, supply="") for n in range(20)])

    refused = refusal()

    assert "20 of 40 rows (50.0%) break a rule" in str(refused)
    assert "supply_unknown" in str(refused)
    assert f"fatoura quality export {CYCLE}" in str(refused)
    assert len(rejected(extract_id)) == 20
    assert extract_row(extract_id).validated_at is None
    assert extract_row(extract_id).rejected_rows == 20
    assert stages() == []
    assert "The extract is refused: 20 of 40 rows (50.0%) break a rule" in data_docs_page(CYCLE).read_text()


def test_a_refused_extract_that_is_delivered_again_and_better_passes() -> None:
    load(CYCLE, [record(n, supply="") for n in range(30)])
    refusal()
    extract_id = load(CYCLE, good(30))

    assert validate_extract(CYCLE).kept == 30
    assert rejected(extract_id) == {}


def test_a_handful_of_rows_is_not_judged_by_its_share() -> None:
    load(CYCLE, [record(1), record(2, supply=""), record(3, supply="")])

    outcome = validate_extract(CYCLE)

    assert (outcome.kept, outcome.tripped) == (1, [])


def test_an_extract_without_a_valid_row_is_refused() -> None:
    load(CYCLE, [record(1, supply="")])

    assert "none of the 1 rows is valid" in str(refusal())


def test_an_empty_extract_is_refused() -> None:
    load(CYCLE, [])

    assert "none of the 0 rows is valid" in str(refusal())


def test_a_supplement_that_changes_nothing_is_refused_in_so_many_words() -> None:
    stand(CYCLE, load(CYCLE, good()), good())
    load(SUPPLEMENT, good(2))

    assert "unchanged_in_supplement" in str(refusal(SUPPLEMENT))


def test_an_extract_that_cannot_be_paid_in_time_is_refused(configure) -> None:
    load(CYCLE, good())
    configure(now="2026-06-25T00:30:00+01:00")

    assert "none of the 40 valid rows is due today or later; the last due date is 2026-06-24" in str(
        refusal()
    )


def test_the_last_day_to_pay_is_in_time(configure) -> None:
    load(CYCLE, good(10))
    configure(now="2026-06-24T23:30:00+01:00")

    assert validate_extract(CYCLE).kept == 10


def test_staged_rows_that_are_not_those_of_the_manifest_stop_the_run() -> None:
    extract_id = load(CYCLE, good())
    with begin() as connection:
        connection.execute(text(f"DELETE FROM staging.extract_{extract_id} WHERE row_number = 3"))

    refused = refusal()

    assert refused.sentences == [
        "39 rows are staged, and the manifest declares 40",
        "the amounts differ by -85,300 millimes from the total that the manifest declares",
    ]


def test_amounts_beyond_64_bits_count_in_the_total() -> None:
    load(CYCLE, [*good(), record(41, amount_due_millimes="9" * 40)])

    assert validate_extract(CYCLE).rejected_by_code == {"amount_unreadable": 1}


def test_a_share_of_bad_rows_above_the_setting_asks_a_person() -> None:
    load(CYCLE, good(35) + [record(100 + n, supply="") for n in range(5)])

    [tripped] = validate_extract(CYCLE).tripped

    assert tripped.code == "bad_rows"
    assert tripped.sentence == "5 of 40 rows (12.5%) break a rule; up to 10.0% pass unasked"
    assert tripped_guard_rails(CYCLE) == [tripped]


def test_the_share_that_passes_unasked_is_a_setting(configure) -> None:
    configure(guard_bad_rows_share=0.125)
    load(CYCLE, good(35) + [record(100 + n, supply="") for n in range(5)])

    assert validate_extract(CYCLE).tripped == []


def test_bills_that_are_due_too_soon_ask_a_person(configure) -> None:
    load(CYCLE, good())
    configure(now="2026-06-23T09:00:00+01:00")

    [tripped] = validate_extract(CYCLE).tripped

    assert tripped.code == "due_dates_too_soon"
    assert "27 of 40 bills (67.5%) are due today or before" in tripped.sentence


def test_bills_that_are_due_when_counters_are_closed_ask_a_person() -> None:
    sunday = "2026-06-21"
    load(CYCLE, [record(n, due_date=sunday) if n > 10 else record(n) for n in range(30)])

    [tripped] = validate_extract(CYCLE).tripped

    assert tripped.code == "due_dates_on_closed_days"
    assert "19 of 30 bills (63.3%)" in tripped.sentence


# --- Earlier cycles ----------------------------------------------------------------------------------


def earlier(count: int, *, rows: int = 40, median: int = 85_400, total: int = 3_400_000) -> None:
    """Leave cycles as validated as the gate does, one a month before this one."""
    with begin() as connection:
        for n in range(1, count + 1):
            issued = date(2026, 5, 20) - timedelta(days=30 * n)
            connection.execute(
                text(
                    "WITH c AS ("
                    "INSERT INTO cycle (key, issue_date) VALUES (:key, :issued) RETURNING id), "
                    "e AS (INSERT INTO extract (cycle_id, source, location, manifest, digest, declared_rows, "
                    "declared_total_millimes, loaded_at, validated_at) "
                    "SELECT id, 'landing', '', '{}', '', :rows, :total, now(), now() FROM c) "
                    "INSERT INTO stage (cycle_id, name, started_at, finished_at, counts) "
                    "SELECT id, 'validate', now(), now(), jsonb_build_object('rows', CAST(:rows AS bigint), "
                    "'rejected', 0, 'total_millimes', CAST(:total AS bigint), "
                    "'median_millimes', CAST(:median AS bigint)) FROM c"
                ),
                {"key": f"E{n}", "issued": issued, "rows": rows, "total": total, "median": median},
            )


def test_with_too_few_earlier_cycles_nothing_is_compared_and_that_is_said() -> None:
    earlier(2, rows=1_000_000)
    load(CYCLE, good())

    outcome = validate_extract(CYCLE)

    assert outcome.tripped == []
    assert outcome.skipped == [
        "rows_unlike_earlier, total_unlike_earlier, median_unlike_earlier: "
        "nothing to compare with (2 earlier cycles, 3 needed)"
    ]


def test_an_extract_like_the_earlier_ones_passes_unasked() -> None:
    earlier(3)
    load(CYCLE, good())

    outcome = validate_extract(CYCLE)

    assert (outcome.tripped, outcome.skipped) == ([], [])


@pytest.mark.parametrize(
    ("like", "code", "told"),
    [
        ({"rows": 100}, "rows_unlike_earlier", "40 rows are 0.40 times the 100"),
        ({"rows": 10}, "rows_unlike_earlier", "40 rows are 4.00 times the 10"),
        ({"total": 10_000_000}, "total_unlike_earlier", "3 418,000 dinars is 0.34 times the 10 000,000"),
        ({"median": 10_000}, "median_unlike_earlier", "85,400 dinars is 8.54 times the 10,000"),
    ],
)
def test_an_extract_unlike_the_earlier_ones_asks_a_person(like: dict[str, int], code: str, told: str) -> None:
    earlier(5, **like)
    load(CYCLE, good())

    [tripped] = validate_extract(CYCLE).tripped

    assert tripped.code == code
    assert told in tripped.sentence
    assert "5 earlier cycles" in tripped.sentence


def test_a_supplement_is_not_compared_with_earlier_cycles() -> None:
    earlier(4)
    stand(CYCLE, load(CYCLE, good()), good())
    load(SUPPLEMENT, [record(1, amount_due_millimes=1)])

    outcome = validate_extract(SUPPLEMENT)

    assert (outcome.tripped, outcome.skipped) == ([], [])


def test_later_cycles_and_credits_are_nothing_to_compare_with() -> None:
    earlier(3, total=-5)
    with begin() as connection:
        connection.execute(text("UPDATE cycle SET issue_date = '2027-01-01' WHERE key = 'E1'"))
    load(CYCLE, good())
    assert "2 earlier cycles" in validate_extract(CYCLE).skipped[0]

    with begin() as connection:
        connection.execute(text("UPDATE cycle SET issue_date = '2026-01-01' WHERE key = 'E1'"))
    outcome = validate_extract(CYCLE)

    assert outcome.tripped == []
    assert outcome.skipped == ["total_unlike_earlier: nothing to compare with (3 earlier cycles, 3 needed)"]


# --- Rerun, and what is left behind ------------------------------------------------------------------


def test_validating_again_gives_the_same_and_forgets_what_it_found_before() -> None:
    extract_id = load(CYCLE, [*good(), record(41, supply="")])
    first = validate_extract(CYCLE)
    with begin() as connection:
        connection.execute(text("UPDATE rejected_row SET row_number = 5, reasons = '{old}'"))

    assert validate_extract(CYCLE) == first
    assert rejected(extract_id) == {41: ["supply_unknown"]}
    assert len(stages()) == 2


def test_once_matched_nothing_is_done_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    extract_id = load(CYCLE, good(35) + [record(100 + n, supply="") for n in range(5)])
    first = validate_extract(CYCLE)
    with begin() as connection:
        connection.execute(text("UPDATE extract SET matched_at = now()"))
        connection.execute(text(f"DROP TABLE staging.extract_{extract_id}"))

    with caplog.at_level(logging.INFO):
        again = validate_extract(CYCLE)

    assert again.repeated
    assert (again.rows, again.rejected, again.rejected_by_code) == (40, 5, first.rejected_by_code)
    assert again.tripped == first.tripped == tripped_guard_rails(CYCLE)
    assert len(stages()) == 1
    assert "nothing to do, 2026-05-T1 was validated (5 of 40 rows rejected)" in caplog.text


def test_nothing_is_left_of_what_was_made_to_check(database: str) -> None:
    extract_id = load(CYCLE, good())

    validate_extract(CYCLE)
    load(CYCLE, [record(1, supply="")])
    refusal()

    with connect() as connection:
        left = connection.scalars(
            text(
                "SELECT relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
                "WHERE n.nspname = 'staging' AND c.relkind IN ('r', 'v')"
            )
        ).all()
        idle = connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND state LIKE 'idle in transaction%'"
            )
        )
    assert left == [f"extract_{extract_id}"]
    assert idle == 0


def test_what_a_killed_run_left_does_not_stop_the_next_one() -> None:
    extract_id = load(CYCLE, good())
    with begin() as connection:
        connection.execute(
            text(f"CREATE VIEW staging.rows_{extract_id} AS SELECT * FROM staging.extract_{extract_id}")
        )
        connection.execute(text(f"CREATE TABLE staging.repeats_{extract_id} (old int)"))

    assert validate_extract(CYCLE).kept == 40


def test_an_extract_that_is_not_loaded_is_refused() -> None:
    with pytest.raises(BadInput, match="there is no loaded extract 2026-05-T1"):
        validate_extract(CYCLE)
    with pytest.raises(BadInput, match="has not been validated"):
        tripped_guard_rails(CYCLE)


def test_staged_rows_that_a_crash_emptied_are_loaded_again_first() -> None:
    extract_id = load(CYCLE, good())
    with begin() as connection:
        connection.execute(text(f"TRUNCATE staging.extract_{extract_id}"))

    with pytest.raises(BadInput, match="run its stage `extract` again"):
        validate_extract(CYCLE)

    load_extract(CYCLE, run_id="test")
    assert validate_extract(CYCLE).kept == 40


# --- The suite, as Great Expectations takes it -------------------------------------------------------


@pytest.fixture
def suite(tmp_path: Path, configure):
    """Change one check of the suite for the test."""

    def change(code: str, **check: Any) -> None:
        document = yaml.safe_load(get_settings().quality_suite.read_text())
        next(rule for rule in document["row_rules"] if rule["code"] == code)["checks"] = [check]
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump(document))
        configure(quality_suite=path)

    return change


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"expect": "expect_nothing", "column": "supply"}, "expect_nothing cannot be built"),
        (
            {"expect": "expect_column_values_to_be_in_set", "column": "supply", "valu_set": []},
            "expect_column_values_to_be_in_set cannot be built",
        ),
    ],
)
def test_an_expectation_that_cannot_be_built_is_named(suite, check: dict[str, Any], said: str) -> None:
    load(CYCLE, good())
    suite("supply_unknown", **check)

    with pytest.raises(SuiteError, match=f"rule supply_unknown: {said}"):
        validate_extract(CYCLE)


def test_a_check_that_cannot_be_answered_stops_the_run_and_is_named(suite) -> None:
    from fatoura.quality.expectations import RuleNotEvaluatedError

    extract_id = load(CYCLE, [*good(), record(41, supply="")])
    suite("supply_unknown", expect="expect_no_rows", query="SELECT row_number FROM {rows} WHERE nonsense")

    with pytest.raises(RuleNotEvaluatedError, match="rule supply_unknown of 2026-05-T1 could not be checked"):
        validate_extract(CYCLE)

    assert rejected(extract_id) == {}
    assert extract_row(extract_id).validated_at is None


def test_a_broken_record_that_no_rule_knows_stops_the_run(suite) -> None:
    load(CYCLE, [*good(), b"too,few"])
    suite("ragged", expect="expect_no_rows", query="SELECT row_number FROM {rows} WHERE false")

    with pytest.raises(RowsUnsorted, match="of 41 rows of 2026-05-T1, 40 are kept and 0 rejected"):
        validate_extract(CYCLE)


def test_a_rule_can_be_added_in_the_file_alone(suite) -> None:
    extract_id = load(CYCLE, [*good(), record(41, supply="gas", district="TUN2")])
    suite(
        "supply_unknown",
        expect="expect_no_rows",
        query="SELECT row_number FROM {rows} WHERE supply ~ '^[g]{{1}}as$' AND district LIKE '%2'",
    )

    validate_extract(CYCLE)

    assert rejected(extract_id) == {41: ["supply_unknown"]}


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        (
            "postgresql+psycopg://postgres@/fatoura?host=%2Fvar%2Frun%2Fpg",
            "postgresql+psycopg2://postgres@localhost/fatoura?host=%2Fvar%2Frun%2Fpg",
        ),
        (
            "postgresql+psycopg://fatoura:p%40ss%24word@db.example:5433/fatoura",
            "postgresql+psycopg2://fatoura:p%40ss%24word@db.example:5433/fatoura",
        ),
    ],
)
def test_great_expectations_gets_the_url_in_the_form_it_takes(url: str, taken: str) -> None:
    from fatoura.quality.expectations import psycopg2_url

    assert psycopg2_url(url) == taken


def test_great_expectations_says_nothing_in_the_log(caplog: pytest.LogCaptureFixture, capfd) -> None:
    load(CYCLE, [*good(), record(41, supply="")])

    with caplog.at_level(logging.INFO):
        validate_extract(CYCLE)

    assert not [one for one in caplog.records if one.name.startswith("great_expectations")]
    assert [one.message for one in caplog.records if one.message.startswith("validate: rows 41, rejected 1")]
    # Where Airflow was imported before, our own lines go to standard output too.
    assert [line for line in capfd.readouterr().out.splitlines() if "[fatoura." not in line] == []


# --- Data Docs ---------------------------------------------------------------------------------------


def test_the_page_needs_no_network_and_tells_no_value() -> None:
    phone = "+21620000001"  # invented
    load(
        CYCLE,
        [
            *good(),
            record(777123, district=phone),
            record(777124, amount_due_millimes="12,5"),
            record(777125, invoice_number="facture 777125"),
            record(777127, period_end="31-12-26"),
            b"777126," + phone.encode(),
        ],
    )

    outcome = validate_extract(CYCLE)

    page = outcome.data_docs.read_text()
    assert outcome.data_docs == get_settings().reports / "2026-05-T1" / "data-docs" / "index.html"
    assert not re.findall(r"https?:|src=|url\(|<script|<link|@import|\bon\w+=", page)
    assert not re.findall(r'href="(?!#)', page)
    assert "20000001" not in page
    assert "77712" not in page
    assert "invoices.csv, row 41, district like +00000000000" in page
    assert "amount_due_millimes like 00,0" in page
    assert "invoices.csv, row 43" in page
    assert "invoices.csv, row 44, period_start like 0000-00-00, period_end like 00-00-00" in page
    assert "invoices.csv, row 45" in page
    assert "Quality of extract 2026-05-T1" in page
    assert "40 of 45 rows keep all rules, 5 are set aside. A person is asked: 5 of 45 rows (11.1%)" in page
    for rule in load_suite().row_rules:
        assert f"{rule.code}: " in page
    assert "bad_rows: The share of rows that break a rule" in page


def test_each_run_writes_its_own_page_anew_and_a_supplement_has_one_beside() -> None:
    load(CYCLE, [*good(), record(41, supply="")])
    page = validate_extract(CYCLE).data_docs
    assert "supply like (empty)" in page.read_text()
    stand(CYCLE, load(CYCLE, good()), good())
    load(SUPPLEMENT, [record(1, amount_due_millimes=1)])

    assert validate_extract(SUPPLEMENT).data_docs == page.parents[1] / "supplement-1/data-docs/index.html"
    assert "supply like (empty)" in page.read_text()

    with begin() as connection:
        connection.execute(text("UPDATE extract SET matched_at = NULL"))
        connection.execute(text("DELETE FROM invoice"))
    validate_extract(CYCLE)
    assert "supply like (empty)" not in page.read_text()


def test_a_delivery_of_the_landing_folder_is_what_was_checked() -> None:
    """The helper of these tests writes what the contract says."""
    folder = deliver(CYCLE, good(1))

    assert sorted(one.name for one in folder.iterdir()) == ["invoices.csv", "manifest.json"]
