"""Charts are well-formed, show all that is not nothing, and let no data become markup."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.reports.charts import (
    Column,
    Mark,
    Part,
    Stack,
    Tick,
    _widths,
    funnel,
    histogram,
    share_bar,
    spark,
    stacks,
    timeline,
)


def parts_of(values: list[int]) -> list[Part]:
    return [Part(f"style{position}", f"part {position}", value) for position, value in enumerate(values)]


def percent(text: str) -> float:
    return float(text.removesuffix("%"))


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=9))
def test_the_parts_of_a_bar_fill_it_and_each_that_is_something_can_be_seen(values):
    widths = _widths(parts_of(values))
    assert [width > 0 for width in widths] == [value > 0 for value in values]
    if any(values):
        assert sum(widths) == pytest.approx(100)
        assert min(width for width in widths if width) > 0.4


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=9))
def test_a_bar_is_well_formed_and_its_parts_adjoin(values):
    svg = ElementTree.fromstring(share_bar(parts_of(values), "a bar"))
    rectangles = svg.findall("rect")
    assert len(rectangles) == sum(value > 0 for value in values)
    end = 0.0
    for rectangle in rectangles:
        assert percent(rectangle.attrib["x"]) == pytest.approx(end, abs=0.011)
        end = percent(rectangle.attrib["x"]) + percent(rectangle.attrib["width"])


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5), st.integers(0, 10**10))
def test_bars_that_are_compared_are_as_long_as_they_are_much(values, most):
    widths = _widths(parts_of(values), most)
    total = sum(values)
    if total:
        assert sum(widths) == pytest.approx(max(100 * total / max(total, most), 0.5))
        assert [width > 0 for width in widths] == [value > 0 for value in values]


def test_names_from_outside_stay_text():
    svg = share_bar([Part("style", '<script>alert("x")</script>', 1)], 'a "label" & more')
    assert "<script>" not in svg
    ElementTree.fromstring(svg)


def test_a_bar_of_nothing_is_empty():
    assert not ElementTree.fromstring(share_bar(parts_of([0, 0]), "nothing")).findall("rect")


def test_the_funnel_opens_from_the_chosen_part():
    assert "0,0 25,0 100,10 0,10" in funnel([Part("noticed", "", 1), Part("other", "", 3)], "noticed")


@given(
    st.lists(st.floats(0, 1e9), min_size=1, max_size=16),
    st.lists(st.floats(0, 100), max_size=3),
)
def test_a_histogram_is_well_formed_and_keeps_within_its_height(values, places):
    svg = ElementTree.fromstring(
        histogram(
            [Column(value, "title", "above") for value in values],
            "a histogram",
            ticks=[Tick(50, "5 s")],
            marks=[Mark(place, "median") for place in places],
        )
    )
    height = float(svg.attrib["height"])
    for rectangle in svg.findall("rect"):
        top = float(rectangle.attrib["y"])
        assert 0 <= top <= top + float(rectangle.attrib["height"]) <= height


@given(
    st.lists(st.lists(st.floats(0, 1e4), min_size=1, max_size=130), min_size=1, max_size=12),
    st.floats(0.01, 1e4),
)
def test_a_timeline_stays_between_its_edges_and_its_hours_do_not_meet(sessions, level):
    svg = ElementTree.fromstring(
        timeline(
            [[Column(value, "title") for value in session] for session in sessions],
            "a timeline",
            starts=[("20/05 09:00", "10:00")] * len(sessions),
            level=(level, "50"),
            is_limit=True,
        )
    )
    for rectangle in svg.findall("rect"):
        assert percent(rectangle.attrib["x"]) >= -0.01
        assert percent(rectangle.attrib["x"]) + percent(rectangle.attrib["width"]) <= 100.1
        assert float(rectangle.attrib["y"]) > 0
    starts = [percent(text.attrib["x"]) for text in svg.findall("text[@class='tick']")]
    assert all(second - first >= 20 for first, second in pairwise(starts))


@given(
    st.lists(
        st.none()
        | st.tuples(
            st.lists(st.integers(0, 10**6), min_size=3, max_size=3),
            st.lists(st.integers(0, 10**6), min_size=2, max_size=2),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_stacks_stand_on_their_axis_and_hang_below_it(columns):
    drawn = [column and Stack(parts_of(column[0]), "a month", parts_of(column[1])) for column in columns]
    svg = ElementTree.fromstring(stacks(drawn, "stacks", ticks=[Tick(50, "07/26")], levels=[(1, "1")]))
    floor = float(svg.find("line[@class='axis']").attrib["y1"])
    groups = svg.findall("g")
    assert len(groups) == sum(column is not None for column in columns)
    for group, (up, down) in zip(groups, filter(None, columns), strict=True):
        rectangles = group.findall("rect")
        assert len(rectangles) == sum(value > 0 for value in (*up, *down))
        above = sum(float(one.attrib["y"]) < floor - 0.01 for one in rectangles)
        assert above == sum(value > 0 for value in up)
        for one in rectangles:
            assert float(one.attrib["y"]) > 0
            assert float(one.attrib["y"]) + float(one.attrib["height"]) <= float(svg.attrib["height"])


def test_a_limit_lies_within_the_chart_also_where_nothing_reaches_it():
    chart = stacks([Stack(parts_of([3]), "a month")], "cost", ticks=[], levels=[], limit=(83, "the fee"))
    svg = ElementTree.fromstring(chart)
    assert float(svg.find("line[@class='limit']").attrib["y1"]) == 20
    assert svg.find("text[@class='limit']").text == "the fee"


@given(st.lists(st.none() | st.integers(0, 10**9), max_size=40))
def test_a_spark_shows_what_is_not_nothing(values):
    svg = ElementTree.fromstring(spark(values, "by month"))
    assert len(svg.findall("rect")) == sum(bool(value) for value in values)
