"""Every code that a case can hold has words, and the schema and the words speak of the same codes."""

import re

import pytest

from fatoura.cutoff import words
from fatoura.cutoff.reasons import Reason
from fatoura.cutoff.rules import Channel, Fact
from fatoura.cutoff.states import CaseState
from fatoura.database.schema import cutoff_case, cutoff_decision
from fatoura.notices.kinds import all_kinds


def codes(table, column: str) -> set[str]:
    """Return what the database allows in a column."""
    [check] = [one for one in table.constraints if one.name == f"ck_{table.name}_{column}"]
    return set(re.findall(r"'([a-z_]+)'", str(check.sqltext)))


@pytest.mark.parametrize(
    ("said", "needed"),
    [
        (words.STATES, set(CaseState)),
        (words.REASONS, set(Reason)),
        (words.FACTS, set(Fact)),
        (words.CHANNELS, set(Channel)),
        (words.VERDICTS, codes(cutoff_decision, "verdict")),
        (words.MOMENTS, codes(cutoff_decision, "moment")),
        (words.OPENED, codes(cutoff_case, "opened_because")),
        (words.MESSAGES, set(all_kinds())),
    ],
    ids=["states", "reasons", "facts", "channels", "verdicts", "moments", "opened", "messages"],
)
def test_every_code_has_words_and_nothing_else_has(said, needed):
    assert set(said) == needed
    assert all(said.values())
    assert len(set(said.values())) == len(said)


def test_a_code_of_tomorrow_stands_for_itself():
    assert words.message("leak_alert") == "the message leak_alert"
    assert words.reason("eclipse") == "eclipse"
