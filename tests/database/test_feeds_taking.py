"""A look at the landing folder: all that is whole is loaded; what is refused stops nothing, and is told."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from fatoura.database import connect
from fatoura.errors import BadInput, NotReady
from fatoura.feeds import FeedsRefused, take_feeds
from fatoura.feeds.refused import standing_refusals
from fatoura.payments import watermarks
from fatoura.settings import get_settings
from tests.payments import fact, payment, write_facts, write_payments

if TYPE_CHECKING:
    from pathlib import Path

MORNING, NOON, EVENING = (f"2026-06-28T{hour}:00:00+01:00" for hour in ("08", "12", "18"))


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-06-29T09:00:00+01:00")


def loaded() -> list[str]:
    with connect() as connection:
        return list(connection.scalars(text("SELECT content || '/' || name FROM feed ORDER BY id")))


def known() -> dict[str, str]:
    with connect() as connection:
        return {channel: f"{at:%H}" for channel, at in watermarks(connection).items()}


def refused() -> list[str]:
    with connect() as connection:
        return [one.name for one in standing_refusals(connection)]


def spoil(folder: Path) -> None:
    with (folder / "payments.csv").open("ab") as file:
        file.write(b"P9,F9\n")


def test_feeds_are_loaded_in_the_order_of_their_names_payments_first():
    write_facts("a", [fact("A1", "000000001", "dispute")])
    write_payments("f2", [payment("P1", "F1", 1)], until=NOON)
    write_payments("f1", [payment("P1", "F1", 2)], until=MORNING)
    taken = take_feeds()
    assert loaded() == ["payments/f1", "payments/f2", "facts/a"]
    assert [one.counts for one in taken.loaded] == [{"new": 1}, {"corrected": 1}, {"new": 1}]
    assert json.loads(json.dumps(taken.as_dict())) == taken.as_dict()
    taken.insist()


def test_looking_again_does_nothing():
    write_payments("f1", [payment("P1", "F1", 1)])
    take_feeds()
    again = take_feeds()
    assert again.loaded == ()
    assert loaded() == ["payments/f1"]


def test_without_a_landing_folder_there_is_nothing_to_do():
    assert take_feeds().as_dict() == {"loaded": [], "already_loaded": 0, "refused": [], "unreachable": {}}


def test_a_feed_that_is_known_and_old_is_not_opened_again():
    folder = write_payments("f1", [payment("P1", "F1", 1)])
    take_feeds()
    long_ago = time.time() - 7200
    os.utime(folder / "manifest.json", (long_ago, long_ago))
    (folder / "manifest.json").chmod(0)
    assert take_feeds().already_loaded == 0


def test_half_a_manifest_is_left_until_it_is_old(monkeypatch):
    folder = write_payments("f1", [payment("P1", "F1", 1)])
    whole = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(whole[:20])
    assert take_feeds().refused == ()
    before = time.time
    monkeypatch.setattr(time, "time", lambda: before() + 61)
    [one] = take_feeds().refused
    assert one.problems[0].startswith("manifest.json: not JSON")
    (folder / "manifest.json").write_text(whole)
    assert [one.feed for one in take_feeds().loaded] == ["f1"]


def test_a_folder_whose_name_is_none_is_left_alone(caplog):
    write_payments("a b", [payment("P1", "F1", 1)])
    assert take_feeds().loaded == ()
    assert "is left alone" in caplog.text


def test_a_refused_feed_stops_no_other_and_is_told_at_each_look():
    spoil(write_payments("f1", [payment("P1", "F1", 1)], until=MORNING))
    write_payments("f2", [payment("P2", "F2", 1)], until=NOON)
    write_facts("a", [fact("A1", "000000001", "dispute")])
    for look in (1, 2):
        taken = take_feeds()
        assert len(taken.loaded) == (2 if look == 1 else 0)
        [one] = taken.refused
        assert (one.content, one.feed) == ("payments", "f1")
        assert one.location.endswith("/payments/f1")
        assert any("its sha256 is" in problem for problem in one.problems)
        with pytest.raises(FeedsRefused, match=r"payments/f1 in .*its sha256 is"):
            taken.insist()
    assert refused() == ["f1"]


def test_while_a_refused_feed_lies_there_the_watermarks_of_its_channels_stay_where_they_are():
    write_payments("f0", [], until=MORNING)
    take_feeds()
    folder = write_payments("f1", [payment("P1", "F1", 1)], until={"counter": NOON, "post": NOON})
    spoil(folder)
    write_payments("f2", [payment("P2", "F2", 1)], until=EVENING)
    take_feeds()
    assert loaded() == ["payments/f0", "payments/f2"]
    assert known() == {"app": "17", "bank": "17", "counter": "07", "debit": "17", "post": "07", "web": "17"}
    # A good one in its place: nothing is missing any more.
    write_payments("f1", [payment("P1", "F1", 1)], until={"counter": NOON, "post": NOON})
    assert [one.feed for one in take_feeds().loaded] == ["f1"]
    assert set(known().values()) == {"17"}
    assert refused() == []


def test_a_refused_feed_that_is_taken_away_is_forgotten():
    folder = write_payments("f1", [], until=NOON)
    (folder / "manifest.json").write_text('{"feed": 1}')
    write_payments("f2", [], until=EVENING)
    take_feeds()
    assert known() == {}, "which channels it is of cannot be read"
    shutil.rmtree(folder)
    assert take_feeds().refused == ()
    assert set(known().values()) == {"17"}


def test_a_feed_that_was_changed_after_it_was_loaded_is_refused_until_it_is_put_right():
    write_payments("f1", [payment("P1", "F1", 1)], until=NOON)
    take_feeds()
    write_payments("f1", [payment("P1", "F1", 2)], until=NOON)
    [one] = take_feeds().refused
    assert "another feed was loaded under this name" in one.problems[0]
    write_payments("f1", [payment("P1", "F1", 1)], until=NOON)
    assert take_feeds().already_loaded == 1
    assert refused() == []


class Place:
    """A source that fails in one way or another."""

    def __init__(self, name: str, error: Exception) -> None:
        self.name = name
        self._error = error

    def take(self, *, run_id: str | None = None):
        raise self._error


def test_a_source_that_fails_stops_nothing_and_is_told():
    write_payments("f1", [payment("P1", "F1", 1)])
    taken = take_feeds(sources=[Place("a", NotReady("gone")), Place("b", BadInput("no table"))])
    assert loaded() == ["payments/f1"]
    assert taken.unreachable == {"a": "gone"}
    assert [(one.feed, one.problems) for one in taken.refused] == [("b", ("no table",))]
    with pytest.raises(FeedsRefused, match="no table"):
        taken.insist()
    with pytest.raises(NotReady, match="a: gone"):
        take_feeds(sources=[Place("a", NotReady("gone"))]).insist()


def test_feeds_land_on_s3(bucket, configure):
    from fatoura.landing import landing_path

    folder = write_payments("f1", [payment("P1", "F1", 1)], until=NOON)
    configure(landing=bucket)
    assert take_feeds().loaded == ()
    target = landing_path() / "payments" / "f1"
    for name in ("payments.csv", "manifest.json"):
        with (target / name).open("wb") as copy:
            copy.write((folder / name).read_bytes())
    assert [one.feed for one in take_feeds().loaded] == ["f1"]
    assert take_feeds().as_dict() == {"loaded": [], "already_loaded": 1, "refused": [], "unreachable": {}}


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_the_landing_folder_may_be_a_store_behind_a_url(scheme, tmp_path):
    from upath import UPath

    folder = write_payments("f1", [payment("P1", "F1", 1)])
    landing = UPath(f"file://{get_settings().landing}")
    if scheme == "memory":
        landing = UPath(f"memory:///{tmp_path.name}")
        for path in folder.iterdir():
            (landing / "payments" / "f1" / path.name).write_bytes(path.read_bytes())
    assert [one.feed for one in take_feeds(landing).loaded] == ["f1"]
    assert take_feeds(landing).refused == ()
    assert loaded() == ["payments/f1"]
