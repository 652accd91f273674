"""The report's words: each thing has a name in both languages, and numbers read as they should."""

import re
from datetime import UTC, date, datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import CheckConstraint

from fatoura.cutoff.reasons import Reason
from fatoura.cutoff.rules import Channel
from fatoura.database.schema import metadata
from fatoura.ledger.balance import BUCKETS
from fatoura.notices.kinds import all_kinds
from fatoura.notices.states import Decision, State
from fatoura.quality.suite import load_suite
from fatoura.reports import words as module
from fatoura.reports.cutoff.cases import Standing
from fatoura.reports.cutoff.cycle import CyclePhase
from fatoura.reports.cutoff.day import Bucket, DayPhase, Undecided
from fatoura.reports.figures import Failure, Phase, Rejection, StageFacts
from fatoura.reports.words import Words
from fatoura.sending.doubts import Next, Why

FR = Words("fr", {})
EN = Words("en", {"some_rule": "The rule, as the suite says it."})


@pytest.fixture(scope="module")
def labels() -> dict[str, dict[str, dict[str, str]]]:
    return module._labels()


def test_each_label_has_words_in_both_languages_with_the_same_places_to_fill_in(labels):
    for heading, names in labels.items():
        for name, said in names.items():
            if heading == "rule":
                assert set(said) == {"fr"}, name  # in English the suite says it
                continue
            assert set(said) == {"fr", "en"}, (heading, name)
            assert all(text.strip() for text in said.values())
            fields = [
                sorted(part.split("}")[0] for part in text.split("{")[1:] if "}" in part)
                for text in said.values()
            ]
            assert fields[0] == fields[1], (heading, name)


def test_each_rule_of_the_suite_is_said_in_french(labels):
    assert set(labels["rule"]) == set(load_suite().words())


def test_no_key_of_the_catalogue_was_read_as_something_else_than_text(labels):
    assert all(isinstance(name, str) for names in labels.values() for name in names)
    assert yaml.safe_load("on: 1") != {"on": 1}  # why the test is there


@pytest.mark.parametrize("words", [FR, EN])
def test_everything_that_a_report_names_has_a_name(words):
    for state in State:
        assert words.state(state)
        assert words("state_meaning", state.value)
    for phase in Phase:
        assert words("phase", phase.value)
    for bucket in ("extracted", *BUCKETS):
        assert words("bucket", bucket)
    for kind in all_kinds():
        assert words.of_code("kind", kind) != kind


def test_a_code_without_a_label_stands_for_itself():
    assert FR.of_code("reason", "never_heard_of") == "never_heard_of"
    assert FR.rule(Rejection("never_heard_of", 1, 1)) == "never_heard_of"


def test_a_missing_label_is_a_mistake_and_not_a_blank():
    with pytest.raises(KeyError):
        FR("section", "never_heard_of")


def test_rules_are_said_by_the_suite_where_the_catalogue_does_not():
    assert EN.rule(Rejection("some_rule", 1, 1)) == "The rule, as the suite says it."


def test_a_failure_shows_the_providers_word_and_a_cancellation_ours():
    assert FR.detail(Failure(State.UNDELIVERABLE, "err:027", 1)) == "err:027"
    assert FR.detail(Failure(State.UNDELIVERABLE, "", 1)) == "non précisé"
    assert FR.detail(Failure(State.UNDELIVERABLE, None, 1)) == "autres réponses"
    assert FR.detail(Failure(State.CANCELLED, "replaced", 1)) == "remplacé par une facture corrigée"


def test_a_failure_that_a_person_decided_is_told_in_words():
    failure = Failure(State.UNDELIVERABLE, "decided_by_hand", 3)
    assert EN.detail(failure) == "in doubt, taken for undeliverable by a person"


@pytest.mark.parametrize("words", [FR, EN])
def test_what_becomes_of_doubts_has_a_name_for_each_case(words):
    for heading, names in (("doubt_next", Next), ("doubt_why", Why), ("decided", Decision)):
        assert all(words(heading, name.value) for name in names)


@pytest.mark.parametrize("words", [FR, EN])
def test_everything_that_decides_about_a_cut_off_case_has_a_name(words):
    for reason in (*Reason, *_allowed("cutoff_case", "opened_because")):
        assert words("cutoff_reason", reason)
    for heading, column in (("cutoff_moment", "moment"), ("cutoff_verdict", "verdict")):
        assert all(words(heading, code) for code in _allowed("cutoff_decision", column))
    assert all(words("cutoff_list", code) for code in _allowed("cutoff_list", "kind"))
    for heading, codes in (
        ("cutoff_standing", Standing),
        ("cutoff_standing_meaning", Standing),
        ("cutoff_bucket", Bucket),
        ("cutoff_phase", DayPhase),
        ("cutoff_phase", CyclePhase),
        ("cutoff_undecided", Undecided),
        ("payment_channel", Channel),
    ):
        assert all(words(heading, code.value) for code in codes)


def _allowed(table: str, column: str) -> list[str]:
    """Return what the database lets a column hold."""
    (check,) = [
        one.sqltext.text
        for one in metadata.tables[table].constraints
        if isinstance(one, CheckConstraint) and one.sqltext.text.startswith(f"{column} IN (")
    ]
    return re.findall(r"'(\w+)'", check)


def test_days_are_told_in_classes_by_their_bounds():
    edges = (0, 1, 8, 11)
    assert [FR.days(edges, n) for n in range(1, 5)] == ["0", "1–7", "8–10", "11\u00a0+"]
    assert FR.days_overdue((1, 8), 0) == "pas encore échues"
    assert EN.days_overdue((1, 8), 1) == "1–7 days"
    assert FR.day_name(date(2026, 6, 22)) == "lun. 22/06"


def test_what_a_stage_counted_is_told_in_the_reports_words():
    at = datetime(2026, 5, 20, tzinfo=UTC)
    match = StageFacts("match", 0, 1, at, 1.0, {"noticed": 1200, "odd": True})
    assert FR.counted(match) == "avec avis 1\u202f200, odd oui"
    validate = StageFacts(
        "validate", 0, 1, at, 1.0, {"median_millimes": 84_120.0, "tripped": [{}, {}], "redecided": 0}
    )
    assert FR.counted(validate) == "montant médian 84,120 DT, garde-fous déclenchés 2"
    send = StageFacts("send", 0, 1, at, 1.0, {"accepted": 3, "busy_seconds": 61.0})
    assert FR.counted(send) == "acceptés 3, temps d’envoi 1 min 1 s"
    settle = StageFacts("settle", 0, 1, at, 1.0, {"accepted": 3})  # a state, not an answer
    assert FR.counted(settle) == "accepté sans accusé final 3"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (3.21, "3,2 s"),
        (59.94, "60 s"),
        (59.96, "1 min"),
        (60, "1 min"),
        (250, "4 min 10 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (86_400 * 2 + 3600 * 3, "2 j 3 h"),
    ],
)
def test_durations_are_told_in_their_two_largest_units(seconds, told):
    assert FR.duration(seconds) == told


def test_english_days_are_d():
    assert EN.duration(86_400) == "1 d"


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_share_says_none_or_all_only_when_it_is_so(part, whole):
    part = min(part, whole)
    told = FR.share(part, whole)
    assert (told == "0\u00a0%") == (part == 0)
    assert (told == "100\u00a0%") == (part == whole)


def test_a_share_of_nothing_is_no_figure():
    assert FR.share(0, 0) == "–"


def test_counts_days_and_instants_are_written_as_tunisians_write_them():
    assert FR.count(1234567) == "1\u202f234\u202f567"
    assert FR.change(-12) == "−12"
    assert FR.change(1200) == "+1\u202f200"
    assert FR.day(date(2026, 5, 20)) == "20/05/2026"
    assert FR.instant(datetime(2026, 5, 20, 23, 30, tzinfo=UTC)) == "21/05/2026 00:30"
    assert FR.money(1_234_567) == "1\u202f234,567"


def test_french_marks_do_not_stand_at_the_beginning_of_a_line():
    assert FR("page", "colon") == "\u00a0: "
    assert "«\u00a0elle seule\u00a0»" in FR("rejections", "note")
    assert EN("page", "colon") == ": "
