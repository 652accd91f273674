from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from fatoura.cli import main
from fatoura.extracts.columns import COLUMNS
from fatoura.quality import SuiteError, load_suite
from fatoura.quality.suite import PARAMETERS
from fatoura.settings import PROJECT_ROOT, get_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROW_CODES = {
    "customer_reference_form",
    "invoice_number_form",
    "district_unknown",
    "supply_unknown",
    "period_unreadable",
    "period_reversed",
    "period_too_long",
    "amount_unreadable",
    "amount_out_of_bounds",
    "due_date_unreadable",
    "due_date_not_after_issue",
    "due_date_too_late",
    "issue_date_unreadable",
    "issue_date_not_of_manifest",
    "estimated_unreadable",
    "ragged",
    "not_utf8",
    "duplicate_in_extract",
    "conflicting_duplicates",
    "duplicate_of_earlier_cycle",
    "unchanged_in_supplement",
}


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[Any], None]], Path]:
    """Write the suite with a change into a file."""

    def change(mend: Callable[[Any], None]) -> Path:
        document = yaml.safe_load(get_settings().quality_suite.read_text())
        mend(document)
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    return change


def test_the_suite_of_the_house_has_a_rule_for_each_thing_that_the_contract_says() -> None:
    suite = load_suite()

    assert {rule.code for rule in suite.row_rules} == ROW_CODES
    assert {rule.field for rule in suite.row_rules} == {"record", *COLUMNS}
    assert {rule.severity for rule in suite.batch_rules} == {"stop", "ask"}


def test_every_value_that_may_be_missing_is_checked_for_being_there() -> None:
    """Expectations let nulls pass, so without this a missing value would slip through all rules."""
    checks = [check for rule in load_suite().row_rules for check in rule.checks]

    there = {check.column for check in checks if check.expect == "expect_column_values_to_not_be_null"}

    assert there == set(COLUMNS)


def _rule(code: str, /, **changes: Any) -> Callable[[Any], None]:
    def mend(document: Any) -> None:
        rules = [*document["row_rules"], *document["batch_rules"]]
        next(rule for rule in rules if rule["code"] == code).update(changes)

    return mend


def _check(**check: Any) -> Callable[[Any], None]:
    return _rule("supply_unknown", checks=[check])


@pytest.mark.parametrize(
    ("mend", "said"),
    [
        (_rule("ragged", severity="row"), "ragged.severity: Extra inputs"),
        (_rule("ragged", field="colour"), "ragged.field"),
        (_rule("ragged", code="Ragged!"), "Ragged!.code"),
        (_rule("ragged", code="not_utf8"), "the code not_utf8 is there twice"),
        (_rule("ragged", says=""), "ragged.says"),
        (_rule("ragged", checks=[]), "ragged.checks"),
        (_rule("bad_rows", severity="row"), "bad_rows.severity"),
        (_rule("bad_rows", figure="happiness"), "'happiness' is no figure"),
        (_rule("bad_rows", max=None), "give min, max or below"),
        (_rule("bad_rows", below=1), "give max or below, not both"),
        (_rule("bad_rows", max={"$PARAMETER": "mood"}), "'mood' is no parameter"),
        (_rule("bad_rows", tells="There are {clouds} clouds"), "tells names clouds"),
        (_rule("bad_rows", applies_to="everything"), "bad_rows.applies_to"),
        (_check(expect="DROP TABLE", column="supply"), "supply_unknown.checks.0.expect"),
        (_check(expect="expect_no_rows", column="supply"), "a query belongs to expect_no_rows"),
        (_check(expect="expect_column_values_to_be_null"), "a check is about a column, or has a query"),
        (_check(expect="expect_no_rows", query="SELECT {secret}"), "'secret', which nothing fills in"),
        (_check(expect="expect_no_rows", query="SELECT '{'"), "braces"),
        (
            _check(
                expect="expect_column_values_to_be_in_set", column="supply", value_set={"$PARAMETER": "x"}
            ),
            "'x' is no parameter",
        ),
        (_check(expect="expect_column_values_to_be_null", column="mood"), "looks at mood"),
        (lambda document: document["columns"].pop("supply"), "columns lacks supply"),
        (lambda document: document.pop("history"), "history: Field required"),
        (lambda document: document.update(extra=1), "extra: Extra inputs"),
    ],
)
def test_a_mistake_in_the_suite_is_named_with_its_place(changed, mend, said: str) -> None:
    path = changed(mend)

    with pytest.raises(SuiteError) as refused:
        load_suite(path)

    assert str(path) in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"columns: {a: 1, a: 2}", "a key is there twice"),
        (b"columns: [", "not YAML"),
        (b"\xff\xfe", "not YAML"),
        (b"just text", "are wrong"),
    ],
)
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(content)

    with pytest.raises(SuiteError, match=said):
        load_suite(path)


def test_a_missing_suite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="No such file"):
        load_suite(tmp_path / "none.yaml")


def test_the_rules_are_printed_in_words() -> None:
    told = CliRunner().invoke(main, ["quality", "rules"])

    assert told.exit_code == 0
    for rule in load_suite().rules:
        assert f"{rule.code} " in told.output
        assert rule.says in told.output


def test_the_rules_are_one_json_document() -> None:
    told = CliRunner().invoke(main, ["quality", "rules", "--json"])

    rules = json.loads(told.stdout)["rules"]
    assert {rule["code"] for rule in rules} > ROW_CODES
    assert all(rule.keys() == {"code", "severity", "field", "says"} for rule in rules)


def test_the_parameters_of_the_docs_are_those_of_the_code() -> None:
    head = get_settings().quality_suite.read_text().split("columns:")[0]

    assert all(parameter in head for parameter in PARAMETERS)


def test_the_docs_have_a_line_for_each_rule() -> None:
    page = (PROJECT_ROOT / "docs" / "quality.md").read_text()

    for rule in load_suite().rules:
        assert f"| `{rule.code}` |" in page
