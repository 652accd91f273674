"""The rules' file: data that a person edits, and that says in a sentence what is wrong with it, and where."""

import os
import re
from datetime import date, time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fatoura.cutoff.rules import Channel, Fact, Rules, RulesError, read_rules, rules_on
from fatoura.settings import Settings

SHIPPED = Settings.model_fields["cutoff_rules"].default


def shipped() -> dict:
    return yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))


def first(content: dict) -> dict:
    return content["versions"][0]


def step(content: dict, kind: str) -> dict:
    return next(one for one in first(content)["steps"] if one["notice"] == kind)


@pytest.fixture
def edited(tmp_path: Path):
    def edit(change) -> Path:
        content = shipped()
        change(content)
        path = tmp_path / "rules.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return edit


def test_the_rules_that_come_along_are_those_of_the_law():
    [version] = read_rules(SHIPPED).versions
    assert version.warning.notice_days >= 10
    assert {"friday", "saturday", "sunday"} <= set(version.no_cut_on)
    assert version.facts[Fact.PROTECTED] == version.facts[Fact.DISPUTE] == "leave_out"
    assert set(version.fresh_within_hours) == set(Channel)
    assert version.hand_over_complete_from == time(5)
    assert [one.notice for one in version.steps_in_force] == [
        *("due_reminder", "cutoff_warning", "cutoff_second_warning")
    ]


def test_the_reminder_and_the_second_warning_can_be_switched_off(edited):
    def off(content):
        for kind in ("due_reminder", "cutoff_second_warning"):
            step(content, kind)["switched_off"] = True

    [version] = read_rules(edited(off)).versions
    assert [one.notice for one in version.steps_in_force] == ["cutoff_warning"]
    assert version.second_warning is None


WRONG = [
    (lambda c: c.clear(), "versions: Field required"),
    (lambda c: c["versions"].clear(), "versions: Tuple should have at least 1 item"),
    (lambda c: c.update(version=[]), "version: Extra inputs are not permitted"),
    (lambda c: first(c).update(rule=1), "versions.0.rule: Extra inputs are not permitted"),
    (lambda c: first(c).update(version="a b"), "versions.0.version: String should match pattern"),
    (lambda c: first(c).update(version=2026), "versions.0.version: Input should be a valid string"),
    (lambda c: first(c).update({"from": "spring"}), "versions.0.from: Input should be a valid date"),
    (lambda c: first(c).update(minimum_debt_millimes=0), "versions.0.minimum_debt_millimes: Input should be"),
    (
        lambda c: first(c).update(minimum_debt_millimes=2.5),
        "versions.0.minimum_debt_millimes: Input should be",
    ),
    (lambda c: first(c).update(most_warnings_a_day=0), "versions.0.most_warnings_a_day: Input should be"),
    (lambda c: first(c).pop("most_warnings_a_day"), "versions.0.most_warnings_a_day: Field required"),
    (
        lambda c: first(c)["fresh_within_hours"].pop("post"),
        "versions.0: fresh_within_hours says nothing of post",
    ),
    (lambda c: first(c)["fresh_within_hours"].update(post=0), "versions.0.fresh_within_hours.post: Input"),
    (lambda c: first(c)["fresh_within_hours"].update(post=337), "versions.0.fresh_within_hours.post: Input"),
    (
        lambda c: first(c)["fresh_within_hours"].update(mail=9),
        "versions.0.fresh_within_hours.mail.[key]: Input should be 'counter', 'post'",
    ),
    (lambda c: first(c).update(hand_over_complete_from="5:00"), "an hour is written like 05:00, in quotes"),
    (lambda c: first(c).update(hand_over_complete_from="24:00"), "an hour is written like 05:00, in quotes"),
    (lambda c: first(c).update(hand_over_complete_from=300), "an hour is written like 05:00, in quotes"),
    (lambda c: first(c).update(no_cut_on=["vendredi"]), "versions.0.no_cut_on.0: Input should be 'monday'"),
    (
        lambda c: first(c).update(
            no_cut_on=["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
        ),
        "versions.0: no_cut_on leaves no day for a cut",
    ),
    (lambda c: first(c)["facts"].pop("dispute"), "versions.0: facts says nothing of dispute"),
    (
        lambda c: first(c)["facts"].update(dispute="warn"),
        "versions.0.facts.dispute: Input should be 'leave_out'",
    ),
    (lambda c: first(c)["facts"].update(moved="letter"), "versions.0.facts.moved.[key]: Input should be"),
    (lambda c: first(c)["steps"].clear(), "versions.0: steps needs one warning that is due when the bill is"),
    (
        lambda c: step(c, "cutoff_warning").update(switched_off=True),
        "versions.0: steps needs one warning that is due when the bill is overdue",
    ),
    (
        lambda c: first(c)["steps"].append(dict(step(c, "cutoff_second_warning"))),
        "versions.0: steps has two second warnings",
    ),
    (
        lambda c: first(c)["steps"].append({"notice": "due_reminder", "days_before_due": 1}),
        "versions.0: steps names a kind of notice twice",
    ),
    (
        lambda c: step(c, "due_reminder").update(notice="letter"),
        "versions.0.steps.0: there is no kind of notice 'letter'; the kinds are: bill,",
    ),
    (
        lambda c: step(c, "due_reminder").update(overdue=True),
        "versions.0.steps.0: say one of days_before_due, overdue, days_before_cut",
    ),
    (
        lambda c: step(c, "due_reminder").pop("days_before_due"),
        "versions.0.steps.0: say one of days_before_due, overdue, days_before_cut",
    ),
    (
        lambda c: step(c, "cutoff_warning").pop("notice_days"),
        "versions.0.steps.1: a warning needs notice_days, and a reminder announces no cut",
    ),
    (
        lambda c: step(c, "due_reminder").update(notice_days=3),
        "versions.0.steps.0: a warning needs notice_days, and a reminder announces no cut",
    ),
    (
        lambda c: step(c, "cutoff_warning").update(overdue=False),
        "versions.0.steps.1.overdue: Input should be",
    ),
    (
        lambda c: step(c, "cutoff_warning").update(notice_days=0),
        "versions.0.steps.1.notice_days: Input should",
    ),
    (
        lambda c: step(c, "due_reminder").update(days_before_due=61),
        "versions.0.steps.0.days_before_due: Input",
    ),
    (lambda c: step(c, "due_reminder").update(when="now"), "versions.0.steps.0.when: Extra inputs"),
    (
        lambda c: c["versions"].append({**first(c), "version": "2"}),
        "the versions must be in the order of their days, one a day",
    ),
    (
        lambda c: c["versions"].append({**first(c), "from": date(2027, 1, 1)}),
        "two versions have one name: decisions record it, so each has its own",
    ),
]


@pytest.mark.parametrize(("change", "told"), WRONG, ids=[told[:60] for _, told in WRONG])
def test_a_wrong_file_names_the_field_and_says_what_is_wrong(edited, change, told):
    path = edited(change)
    with pytest.raises(RulesError) as refused:
        read_rules(path)
    said = str(refused.value)
    assert told in said
    assert said.startswith(f"{path}: ")


def test_all_that_is_wrong_is_told_at_once(edited):
    def change(content):
        first(content).update(minimum_debt_millimes=0, most_warnings_a_day="many")

    with pytest.raises(RulesError, match=r"minimum_debt_millimes: .*; versions\.0\.most_warnings_a_day: "):
        read_rules(edited(change))


def test_a_file_that_is_not_there_not_yaml_or_not_text_is_refused(tmp_path):
    with pytest.raises(RulesError, match="cannot be read"):
        read_rules(tmp_path / "none.yaml")
    (tmp_path / "wrong.yaml").write_text("versions: [")
    with pytest.raises(RulesError, match="this is no YAML file"):
        read_rules(tmp_path / "wrong.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RulesError, match="this is no YAML file"):
        read_rules(tmp_path / "bytes.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(RulesError, match="file: "):
        read_rules(tmp_path / "empty.yaml")


def test_a_file_that_is_written_anew_is_read_anew(tmp_path, configure):
    path = tmp_path / "rules.yaml"
    path.write_text(SHIPPED.read_text(encoding="utf-8"), encoding="utf-8")
    configure(cutoff_rules=str(path))
    assert rules_on(date(2026, 6, 30)).minimum_debt_millimes == 5_000
    path.write_text(re.sub("5_000", "7_000", path.read_text(encoding="utf-8")), encoding="utf-8")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert rules_on(date(2026, 6, 30)).minimum_debt_millimes == 7_000


@given(st.lists(st.dates(date(2020, 1, 1), date(2035, 1, 1)), min_size=1, unique=True), st.dates())
def test_a_version_is_in_force_from_its_day_until_the_next_and_the_first_before_it_too(days, day):
    versions = [
        {**first(shipped()), "version": f"v{at}", "from": begins} for at, begins in enumerate(sorted(days))
    ]
    rules = Rules.model_validate({"versions": versions})
    begun = [version for version in rules.versions if version.valid_from <= day]
    assert rules.on(day) == (begun[-1] if begun else rules.versions[0])
