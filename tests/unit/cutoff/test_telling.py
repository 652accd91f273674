"""Whatever a decision says, it is told in a sentence; and so is every state that a case can end in."""

from datetime import UTC, date, datetime
from itertools import product
from types import SimpleNamespace

import pytest

from fatoura.cutoff import words
from fatoura.cutoff.explaining import summary_of
from fatoura.cutoff.lives import Shown
from fatoura.cutoff.reasons import LETTERS, Reason
from fatoura.cutoff.rules import read_rules
from fatoura.cutoff.states import CaseState
from fatoura.cutoff.telling import Teller
from fatoura.notices.states import State
from fatoura.settings import Settings

RULES = read_rules(Settings.model_fields["cutoff_rules"].default)
STEPS = {step.notice: step for version in RULES.versions for step in version.steps}
NOON = datetime(2026, 6, 30, 11, tzinfo=UTC)

ROWS = ("revisions", "cases", "payments", "told_otherwise", "set_aside", "facts", "lists", "others")


def teller(**rows) -> Teller:
    life = SimpleNamespace(**dict.fromkeys(ROWS, ()) | {"decisions": (), "notices": ()} | rows)
    life.notice = lambda notice_id: next((one for one in life.notices if one.id == notice_id), None)
    return Teller(life, Shown("042580496", False), None, STEPS)


def sentence(told: Teller) -> str:
    [(at, event)] = told.events()
    assert at == NOON
    assert event.sentence.endswith(".")
    assert "None" not in event.sentence
    assert "  " not in event.sentence
    return event.sentence


def decision(**changed) -> SimpleNamespace:
    return SimpleNamespace(
        **{
            "sequence": 1,
            "day": NOON.date(),
            "decided_at": NOON,
            "moment": "due",
            "verdict": "leave_out",
            "reason": None,
            "notice_kind": None,
            "notice_id": None,
            "balance_millimes": 85_352,
            "cut_from": date(2026, 7, 13),
            "evidence": {"facts": ["F-1"]},
            "rules_version": "2026-1",
            "run_id": None,
        }
        | changed
    )


@pytest.mark.parametrize("verdict", sorted(set(words.VERDICTS) - {"notify", "reopen"}))
def test_every_verdict_is_told_for_every_reason_and_moment(verdict):
    told = {
        sentence(teller(decisions=[decision(verdict=verdict, moment=moment, reason=reason.value)]))
        for moment, reason in product(words.MOMENTS, Reason)
    }
    if verdict in ("leave_out", "withdraw"):
        assert len(told) == len(words.MOMENTS) * len(Reason)


@pytest.mark.parametrize("kind", [*words.MESSAGES, "leak_alert"])
@pytest.mark.parametrize("cut_from", [None, date(2026, 7, 13)])
def test_every_message_that_is_decided_on_is_told(kind, cut_from):
    told = sentence(teller(decisions=[decision(verdict="notify", notice_kind=kind, cut_from=cut_from)]))
    assert "85,352 DT was owed" in told
    assert "(rules 2026-1)" in told


@pytest.mark.parametrize("why", words.OPENED)
@pytest.mark.parametrize("owed", [85_352, 0, -1, None])
def test_every_reopening_is_told_and_what_was_owed(why, owed):
    assert sentence(
        teller(decisions=[decision(verdict="reopen", reason=why, balance_millimes=owed, sequence=2)])
    ).startswith("Opened again as case 2, because ")


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("reason", [None, "too_late", "paid", "warned", "excluded", "of_tomorrow"])
def test_every_state_of_a_message_is_told(state, reason):
    notice = SimpleNamespace(
        id="n1",
        kind="cutoff_warning",
        sequence=1,
        state=state,
        reason=reason,
        attempts=1,
        planned_at=NOON,
        submitted_at=NOON,
        send_until=NOON,
        final_at=NOON,
        receipts=None,
    )
    assert sentence(teller(notices=[notice])).startswith("The warning ")


@pytest.mark.parametrize("state", CaseState)
@pytest.mark.parametrize("warnings", [0, 1, 2])
@pytest.mark.parametrize("under_way", [None, "n1"])
def test_every_state_of_a_case_is_an_answer(state, warnings, under_way):
    for reason in Reason:
        case = SimpleNamespace(
            state=state.value,
            reason=reason.value,
            under_way=under_way,
            warned_at=NOON if warnings else None,
            warned_again_at=NOON if warnings > 1 else None,
            cut_from=date(2026, 7, 13),
            state_since=NOON,
        )
        said = summary_of(SimpleNamespace(last_case=case))
        assert said.endswith(".")
        assert "None" not in said
        if reason in LETTERS and state is CaseState.NOT_WARNED:
            assert "letter" in said
