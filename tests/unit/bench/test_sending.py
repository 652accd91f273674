"""What the bench says of sending and receipts: beside what, what is to be reached, and what is left out."""

from __future__ import annotations

from tests.bench.sending import _measures

FOUND = {
    "sink, client": [9000.0],
    "sink, sender": [3000.0],
    "sink, wrk": [10000.0],
    "Kannel, wrk": [2000.0, 1000.0],
    "Kannel, sender": [1300.0, 550.0],
    "together, Kannel, sender": [1300.0, 550.0],
    "Kannel, client, called back": [1000.0, 1000.0],
    "Kannel, sender, settled": [800.0, 650.0],
    "receipts, no database": [9000.0, 9000.0],
    "receipts, taken": [5200.0, 1650.0],
}


def test_rates_are_judged_beside_bare_ones_of_the_same_run():
    met = {one.what: (round(one.ratio, 2), one.met) for one in _measures(FOUND, "", "") if one.ratio}
    assert met["one send task, until all are settled"] == (0.73, True)
    assert met["… beside messages on the same cores"] == (3.5, True)
    assert met["receiver, stored and taken"] == (0.38, None)
    into_kannel = [one for one in _measures(FOUND, "", "") if one.least == 0.6]
    assert [(round(one.ratio or 0, 2), one.met) for one in into_kannel] == [(0.6, True)]


def test_without_wrk_each_of_its_lines_says_so_and_nothing_is_judged_beside_it():
    found = {
        name: values
        for name, values in FOUND.items()
        if "wrk" not in name and not name.startswith("receipts")
    }
    measures = _measures(found, "", "wrk is not installed")
    assert {one.what for one in measures if one.left_out == "wrk is not installed"} >= {
        "wrk",
        "receiver with no database",
        "receiver, stored and taken",
    }
    assert [one.what for one in measures if one.met is not None] == ["one send task, until all are settled"]


def test_without_kannel_its_lines_say_so():
    found = {name: values for name, values in FOUND.items() if "Kannel" not in name}
    measures = _measures(found, "Kannel is not installed", "")
    kannel = [one for one in measures if one.part == "Messages into real Kannel"]
    assert {one.left_out for one in kannel} == {"Kannel is not installed"}
    assert all(one.met is None for one in measures)
