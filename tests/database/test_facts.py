"""Account facts by file and by command: which of two stands, who said so, and what it stands against."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import text

from fatoura.accounts.commands import end_fact, import_facts, known_facts, set_fact
from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.feeds import FeedRefused
from tests.payments import fact, load_facts, write_facts

ONE = "000000001"


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-06-29T09:00:00+01:00")


def rows(statement: str) -> list[tuple]:
    with connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def test_facts_are_loaded_from_files():
    loaded = load_facts(
        "2026-06-29",
        fact("A1", ONE, "dispute", invoice_number="F1"),
        fact("A2", ONE, "protected", valid_until="2026-12-31"),
        fact("A3", "1", "dispute"),
    )
    assert loaded.counts == {"new": 2, "set_aside": 1}
    assert [one[:7] for one in known_facts(customer_reference=ONE)] == [
        ("A1", ONE, "F1", "dispute", date(2026, 6, 1), None, "billing system"),
        ("A2", ONE, None, "protected", date(2026, 6, 1), date(2026, 12, 31), "billing system"),
    ]
    assert rows("SELECT customer_reference, subject FROM set_aside_row") == [("000000001", "A3")]


@pytest.mark.parametrize("order", [("f1", "f2"), ("f2", "f1")])
def test_of_two_files_the_one_whose_name_sorts_later_stands(order):
    told = {"f1": "dispute", "f2": "protected"}
    for name in order:
        load_facts(name, fact("A1", ONE, told[name]))
    [known] = known_facts()
    assert (known.fact, known.told_in, known.revision) == ("protected", "f2", 1)
    assert rows("SELECT content, subject, was ->> 'fact' FROM superseded_row") == [("facts", "A1", "dispute")]


def test_a_good_row_of_a_later_file_settles_one_that_was_set_aside():
    load_facts("f1", fact("A1", ONE, "holiday"))
    assert load_facts("f2", fact("A1", ONE, "dispute")).counts == {"new": 1, "settled": 1}


def test_two_different_rows_of_one_fact_are_set_aside():
    loaded = load_facts("f1", fact("A1", ONE, "dispute"), fact("A1", ONE, "protected"))
    assert loaded.counts == {"set_aside": 2}
    assert rows("SELECT DISTINCT customer_reference FROM set_aside_row") == [(ONE,)]


def test_what_a_person_says_stands_against_what_files_repeat():
    load_facts("f1", fact("A1", ONE, "dispute"))
    ended = end_fact("A1", set_by="nadia")
    assert (ended.valid_until, ended.set_by) == (date(2026, 6, 28), "nadia")
    for name in ("f2", "f3"):
        assert load_facts(name, fact("A1", ONE, "dispute")).counts == {"superseded": 1}
    assert known_facts(on=date(2026, 6, 29)) == []
    assert rows("SELECT count(*) FROM superseded_row") == [(1,)]
    assert rows("SELECT source, location FROM feed ORDER BY id")[1] == ("command", "command")


def test_a_fact_is_set_by_command_and_known_by_an_id_of_its_own():
    known = set_fact(ONE, "payment_plan", set_by="nadia", valid_until=date(2026, 9, 30))
    assert known.fact_id.startswith("hand-2026062")
    assert (known.valid_from, known.valid_until) == (date(2026, 6, 29), date(2026, 9, 30))
    assert known.holds_on(date(2026, 9, 30))
    assert not known.holds_on(date(2026, 10, 1))
    longer = set_fact(ONE, "payment_plan", set_by="ali", fact_id=known.fact_id, valid_from=known.valid_from)
    assert (longer.valid_until, longer.set_by, longer.revision) == (None, "ali", 1)


def test_a_fact_that_is_ended_before_it_begins_has_never_held():
    known = set_fact(ONE, "dispute", set_by="nadia")
    taken_back = end_fact(known.fact_id, set_by="nadia")
    assert not any(taken_back.holds_on(date(2026, 6, day)) for day in range(1, 31))


def test_a_command_holds_also_when_the_clock_of_another_machine_was_ahead(configure):
    configure(now="2026-06-29T09:00:10+01:00")
    known = set_fact(ONE, "dispute", set_by="nadia")
    configure(now="2026-06-29T09:00:00+01:00")
    assert end_fact(known.fact_id, set_by="ali").set_by == "ali"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"customer_reference": "1"}, "customer_reference: not_nine_digits"),
        ({"invoice_number": "f 1"}, "invoice_number: form"),
        ({"set_by": " "}, "set_by: missing"),
        ({"valid_until": date(2026, 6, 28)}, "to take one back, end it"),
        ({"fact_id": "A9"}, "no fact is known as A9"),
    ],
)
def test_what_is_wrong_is_told_at_once_and_nothing_is_kept(change, said):
    with pytest.raises(BadInput, match=said):
        set_fact(**{"customer_reference": ONE, "fact": "dispute", "set_by": "nadia", **change})
    assert rows("SELECT count(*) FROM feed") == [(0,)]


def test_what_is_known_already_is_not_set_twice():
    first = set_fact(ONE, "dispute", set_by="nadia", valid_until=date(2026, 7, 10))
    with pytest.raises(BadInput, match=f"known already as {first.fact_id}"):
        set_fact(ONE, "dispute", set_by="ali", valid_from=date(2026, 7, 10))
    set_fact(ONE, "dispute", set_by="ali", valid_from=date(2026, 7, 11))
    set_fact(ONE, "dispute", set_by="ali", invoice_number="F1")
    assert len(known_facts(fact="dispute")) == 3


def test_an_end_that_lies_behind_another_is_refused():
    known = set_fact(ONE, "dispute", set_by="nadia", valid_until=date(2026, 7, 10))
    with pytest.raises(BadInput, match="has ended on 2026-07-10 already"):
        end_fact(known.fact_id, set_by="nadia", last_day=date(2026, 7, 20))
    with pytest.raises(BadInput, match="no fact is known as A9"):
        end_fact("A9", set_by="nadia")


def test_a_file_that_a_person_imports_stands_against_other_files(tmp_path):
    load_facts("f1", fact("A1", ONE, "dispute"))
    folder = write_facts("x", [fact("A1", ONE, "protected"), fact("A2", "x", "dispute")], folder=tmp_path)
    loaded = import_facts(folder / "facts.csv")
    assert loaded.feed.startswith("~")
    assert loaded.counts == {"corrected": 1, "set_aside": 1}
    load_facts("f2", fact("A1", ONE, "dispute"))
    assert known_facts(fact_id="A1")[0].fact == "protected"
    (folder / "facts.csv").write_text("nothing of this\n")
    with pytest.raises(FeedRefused, match="the header lacks fact_id"):
        import_facts(folder / "facts.csv")
