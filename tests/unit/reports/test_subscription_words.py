"""Everything that the pages about subscriptions name has words in both languages, whatever the code."""

import re
from typing import get_args

import pytest

from fatoura.database.schema import metadata
from fatoura.enrolment import outcomes
from fatoura.fees.rules import all_fee_rules
from fatoura.fees.states import ChargeState
from fatoura.notices.kinds import all_kinds
from fatoura.reports.subscriptions import enrolment, page
from fatoura.reports.subscriptions.figures import _FORGONE_ON, _REASONS, BY_HAND, STATES, MonthPhase
from fatoura.reports.subscriptions.page import lost_share
from fatoura.reports.words import Words
from fatoura.site.acts import Outcome
from fatoura.subscriptions.consents import Channel
from fatoura.subscriptions.numbers import WITHOUT_NUMBER
from tests.unit.reports.test_words import _allowed

FR, EN = Words("fr", {}), Words("en", {})


@pytest.mark.parametrize("words", [FR, EN])
def test_each_code_has_words(words):
    exemptions = {code for version in all_fee_rules().versions for code in version.exemptions}
    ends = {code for version in all_fee_rules().versions for code in version.at_the_end}
    booked = {"charged", "paid", "refunded", "taken_back"}  # no reason for forgoing anything
    for heading, codes in (
        ("subscription_state", STATES),
        ("subscription_state_meaning", STATES),
        ("subscription_channel", _allowed("subscription", "channel")),
        ("language", _allowed("subscription", "language")),
        ("subscription_phase", [phase.value for phase in MonthPhase]),
        ("ended_because", [*ends, "unknown"]),
        ("told_by", [*get_args(Channel), *_allowed("consent", "channel"), "unknown"]),
        ("suspended_because", [*WITHOUT_NUMBER, "paused_by_clerk", "unknown"]),
        ("coupon_outcome", _allowed("coupon", "outcome")),
        ("coupon_reason", [reason.value for reason in outcomes.Reason]),
        ("web_action", _allowed("verification", "action")),
        ("web_outcome", [*(outcome.value for outcome in Outcome), "superseded", "unfinished"]),
        ("departure_outcome", _allowed("departure", "outcome")),
        ("inbound_outcome", _allowed("inbound_message", "outcome")),
        ("fee_because", [*exemptions, *(set(_REASONS) - booked), BY_HAND]),
        ("fee_account", _FORGONE_ON),
        ("fee_answer", _allowed("fee_result", "result")),
        ("charge_state", list(ChargeState)),
        ("charge_state_meaning", list(ChargeState)),
        ("kind", all_kinds()),
        ("message_cost", page.COST_GROUPS),
    ):
        for code in codes:
            assert words(heading, code), (heading, code)


def test_each_purpose_of_a_cycle_belongs_to_a_group_of_costs():
    assert set(page._PURPOSES) == set(_allowed("cycle", "purpose"))
    assert set(page._PURPOSES.values()) == set(page.COST_GROUPS)


def test_each_state_of_a_charge_is_drawn():
    assert set(page._CHARGES) == set(ChargeState)


def test_no_figure_of_enrolment_selects_who_it_is_about():
    for name, statement in vars(enrolment).items():
        if isinstance(statement, str) and "SELECT" in statement and not name.startswith("__"):
            chosen = re.findall(r"SELECT(.*?)FROM", statement, re.DOTALL)
            assert not any("phone" in columns for columns in chosen), name
    assert "phone" not in metadata.tables["subscriber_count"].columns


def test_a_scale_has_round_values_that_all_lie_within():
    assert page._scale(18_280, 0, str) == [(5000.0, "5000.0"), (10_000.0, "10000.0"), (15_000.0, "15000.0")]
    assert [value for value, _ in page._scale(90, 30, str)] == [-25, 25, 50, 75]
    assert page._scale(1, 0, str, least=1) == [(1, "1")]
    assert page._scale(0, 0, str) == []


def test_few_months_are_told_and_the_last_one_always():
    names = [f"{number:02}" for number in range(1, 25)]
    assert [tick.text for tick in page._ticks(names)] == ["04", "08", "12", "16", "20", "24"]
    assert (page._ticks(names)[-1].place, page._ticks(names)[-1].anchor) == (100, "end")
    assert [tick.text for tick in page._ticks(["01"])] == ["01"]
    assert page._ticks([]) == []


def test_more_back_than_lost_is_below_nought():
    assert lost_share(-1, 250, FR) == "−0,4\u00a0%"
    assert lost_share(0, 10, FR) == "0\u00a0%"
    assert lost_share(3, 0, FR) == "–"


def test_months_have_names():
    from datetime import date

    assert FR.month(date(2026, 7, 1)) == "juillet 2026"
    assert EN.month(date(2026, 7, 1)) == "July 2026"


def test_classes_of_costs_are_named_by_their_bounds():
    assert page.cost_class(0, EN) == "nothing"
    assert page.cost_class(1, EN) == "1 to 99"
    assert page.cost_class(1_500, EN) == "1\u202f500 and more"
