"""The file of the fee's rules: what it may say, and which version counts."""

from __future__ import annotations

from datetime import date

import pytest
import yaml

from fatoura.errors import BadInput
from fatoura.fees.rules import FeeRulesError, read_fee_rules
from fatoura.fees.words import say_rules
from fatoura.fees.years import month_of
from fatoura.settings import Settings

OURS = Settings.model_fields["fee_rules"].default


@pytest.fixture
def written(tmp_path):
    """Write the rules that come along, with changes to the first version; return the file."""

    def write(**changes: object):
        document = yaml.safe_load(OURS.read_text("utf-8"))
        document["versions"][0] |= changes
        file = tmp_path / "rules.yaml"
        file.write_text(yaml.safe_dump(document))
        return file

    return write


def test_the_rules_that_come_along_are_good_and_say_all_that_they_hold():
    rules = read_fee_rules(OURS).on(date(2027, 1, 1))
    said = " ".join(say_rules(rules))
    for number in (
        *("1,000", "60 days", "31 days", "14 days", "90 days"),
        *("10 days to answer", "31 December 2026", "goodwill"),
    ):
        assert number in said


def test_a_version_counts_from_its_day_on_and_the_first_one_before_it_too(written, tmp_path):
    document = yaml.safe_load(OURS.read_text("utf-8"))
    second = document["versions"][0] | {
        "version": "2028-1",
        "from": date(2028, 1, 1),
        "price_millimes": 1_200,
    }
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump({"versions": [document["versions"][0], second]}))
    rules = read_fee_rules(file)
    assert [
        rules.on(day).price_millimes for day in (date(2020, 1, 1), date(2027, 12, 31), date(2028, 1, 1))
    ] == [
        *(1_000, 1_000, 1_200),
    ]
    file.write_text(yaml.safe_dump({"versions": [second, document["versions"][0]]}))
    with pytest.raises(FeeRulesError, match="in the order of their days"):
        read_fee_rules(file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"price_millimes": 0}, "price_millimes"),
        ({"price_millimes": 10_000}, "price_millimes"),
        ({"charge_days_ahead": 61}, "nothing is charged unannounced"),
        ({"grace_days": 0}, "grace_days"),
        ({"exemptions": ["staff", "staff"]}, "a code twice"),
        ({"exemptions": ["first_year"]}, "first_year: free"),
        ({"at_the_end": {"left": "nothing"}}, "contract_ended, crossed_out, erased"),
        ({"trial": {"of": "friends", "until": date(2026, 1, 1)}}, "trial.of"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_file_is_refused_by_entry_and_field(written, changes, said):
    with pytest.raises(FeeRulesError, match=said):
        read_fee_rules(written(**changes))


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(FeeRulesError, match="cannot be read"):
        read_fee_rules(tmp_path / "missing.yaml")
    file = tmp_path / "rules.yaml"
    file.write_text("versions: [")
    with pytest.raises(FeeRulesError, match="no YAML"):
        read_fee_rules(file)


def test_a_month_is_read_and_nothing_else():
    assert month_of("2026-07") == date(2026, 7, 1)
    assert month_of(" ") is None
    for wrong in ("2026-13", "07-2026", "July"):
        with pytest.raises(BadInput):
            month_of(wrong)
