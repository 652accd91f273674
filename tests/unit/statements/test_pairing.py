"""Lines and attempts that only phone and time can bring together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from fatoura.statements.matching import COUNTED_CLASS, DOUBTFUL_CLASS, Billed, Ours, pair_by_time

START = datetime(2026, 5, 20, tzinfo=UTC)
WINDOW = timedelta(minutes=10)


def billed(number: int, seconds: float, *, lasts: float = 1, has_id: bool = False) -> Billed:
    begins = START + timedelta(seconds=seconds)
    return Billed(number, begins, begins + timedelta(seconds=lasts), has_id)


def ours(number: int, seconds: float, kind: int = COUNTED_CLASS, *, has_id: bool = False) -> Ours:
    return Ours(UUID(int=number), 1, START + timedelta(seconds=seconds), kind, has_id)


def pairs(lines: list[Billed], attempts: list[Ours]) -> dict[int, int]:
    return {line.line: one.notice_id.int for line, one in pair_by_time(lines, attempts, WINDOW)}


def test_each_line_finds_the_attempt_of_its_time():
    assert pairs([billed(1, 0), billed(2, 300)], [ours(1, 302), ours(2, 2)]) == {1: 2, 2: 1}


def test_the_nearer_time_goes_first_where_one_is_missing():
    assert pairs([billed(1, 0), billed(2, 300)], [ours(9, 301)]) == {2: 9}


def test_beyond_the_window_nothing_is_paired():
    assert pairs([billed(1, 0)], [ours(1, 601.5)]) == {}
    assert pairs([billed(1, 0)], [ours(1, 600)]) == {1: 1}


def test_a_line_that_only_says_the_day_fits_the_whole_day():
    assert pairs([billed(1, 0, lasts=86_400)], [ours(1, 50_000)]) == {1: 1}


def test_what_the_provider_accepted_goes_before_what_is_in_doubt():
    assert pairs([billed(1, 0)], [ours(1, 0, DOUBTFUL_CLASS), ours(2, 5)]) == {1: 2}


def test_a_near_doubt_goes_before_something_far_that_was_accepted():
    assert pairs([billed(1, 0)], [ours(1, 2, DOUBTFUL_CLASS), ours(2, 500)]) == {1: 1}


def test_a_line_with_an_id_never_takes_an_attempt_with_another():
    assert pairs([billed(1, 0, has_id=True)], [ours(1, 0, has_id=True)]) == {}
    assert pairs([billed(1, 0, has_id=True)], [ours(1, 0)]) == {1: 1}
    assert pairs([billed(1, 0)], [ours(1, 0, has_id=True)]) == {1: 1}


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.sampled_from([1, 60])), max_size=12),
    st.lists(st.tuples(st.integers(0, 3000), st.sampled_from([0, 1, 2])), max_size=12),
)
def test_pairs_are_one_to_one_in_reach_and_leave_nothing_that_fits(lines, attempts):
    theirs = [billed(n, at, lasts=lasts) for n, (at, lasts) in enumerate(lines)]
    mine = [ours(n, at, kind) for n, (at, kind) in enumerate(attempts)]
    found = list(pair_by_time(theirs, mine, WINDOW))
    assert len({line.line for line, _ in found}) == len({one.notice_id for _, one in found}) == len(found)

    def fits(line: Billed, one: Ours) -> bool:
        return line.begins - WINDOW <= one.at <= line.ends + WINDOW

    assert all(fits(line, one) for line, one in found)
    paired_lines, paired_ours = {line.line for line, _ in found}, {one.notice_id for _, one in found}
    assert not [
        (line, one)
        for line in theirs
        for one in mine
        if line.line not in paired_lines and one.notice_id not in paired_ours and fits(line, one)
    ]
