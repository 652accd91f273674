"""The feeds' and the cut-off workflows' steps, on a real database, as their tasks call them."""

from __future__ import annotations

import json
import logging

import pytest
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped
from sqlalchemy import text

from fatoura.cutoff.freshness import FeedStale
from fatoura.cutoff.settling import conclude_cases
from fatoura.database import connect
from fatoura.errors import NotReady
from fatoura.feeds.taking import FeedsTaken, RefusedFeed
from fatoura.settings import get_settings
from operations.cutoff import (
    DecideDayOperator,
    FeedsMissing,
    _wrong,
    apply_all_feeds,
    complain,
    hand_over_cases,
    insist_on_fresh_feeds,
    list_call_backs,
    list_letters,
    take_all_feeds,
    take_and_apply_feeds,
)
from tests.cutoff import bill, cases, know, pay, planned, send, watermark
from tests.payments import payment, write_facts, write_payments
from tests.plugins.conftest import RUN


@pytest.fixture(autouse=True)
def _morning(database, configure):
    configure(now="2026-06-30T09:31:00+01:00")


@pytest.fixture
def decide(context):
    """Run `decide` and the planning that follows it."""
    from fatoura.cutoff.planning import plan_day

    def run() -> None:
        DecideDayOperator(task_id="decide").execute(context)
        plan_day(context["ti"].pushed["cycle"])

    return run


# --- Feeds -------------------------------------------------------------------------------------------


def refuse() -> None:
    write_payments("bad", [payment("P1", "A1", 5)], total_amount_millimes=6)


def test_a_feed_that_is_refused_stops_no_other_and_is_told_with_what_is_wrong():
    refuse()
    write_payments("good", [payment("P2", "A2", 85_352)])
    write_facts("f1", [])
    taken = take_all_feeds(run_id=RUN)
    assert json.loads(json.dumps(taken)) == taken  # it goes through Airflow's XCom
    assert {name: taken[name] for name in ("loaded", "already_loaded", "rows")} == {
        "loaded": 2,
        "already_loaded": 0,
        "rows": 1,
    }
    assert list(taken["wrong"]) == ["payments/bad"]
    assert "total_amount_millimes" in taken["wrong"]["payments/bad"]


def test_what_is_wrong_fails_once_and_again_when_it_says_something_else(caplog):
    refuse()
    wrong = take_all_feeds(run_id=None)["wrong"]
    with pytest.raises(FeedsMissing, match=r"payments/bad: total_amount_millimes"):
        complain(wrong)
    caplog.set_level(logging.WARNING)
    complain(take_all_feeds(run_id=None)["wrong"])
    assert "payments/bad is still wrong, as was told before" in caplog.text
    write_payments("bad", [payment("P1", "A1", 5)], total_amount_millimes=9)
    with pytest.raises(FeedsMissing, match="the manifest says 9"):
        complain(take_all_feeds(run_id=None)["wrong"])
    write_payments("bad", [payment("P1", "A1", 5)])
    complain(take_all_feeds(run_id=None)["wrong"])
    with connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM complaint")) == 0


def test_a_place_that_does_not_answer_is_tried_again_and_then_complained_of(monkeypatch):
    away = FeedsTaken((), 0, (), {"payments_db": "connection refused"})
    monkeypatch.setattr("fatoura.feeds.take_feeds", lambda *_, **__: away, raising=False)
    with pytest.raises(NotReady, match="payments_db: connection refused"):
        take_all_feeds(run_id=None, is_last_try=False)
    assert take_all_feeds(run_id=None)["wrong"] == {"payments_db": "does not answer: connection refused"}


def test_before_warnings_a_refused_feed_is_logged_and_the_others_are_taken_up(monkeypatch, caplog, decide):
    bill()
    watermark()
    decide()
    refuse()
    write_payments("good", [payment("P2", "A1", 85_352)])
    counts = take_and_apply_feeds(run_id=RUN)
    assert counts["loaded"] == 1
    assert counts["leave_out paid"] == 1
    assert "payments/bad" in caplog.text
    assert cases() == [("paid",)]
    assert planned() == []


def test_the_payments_connection_is_asked_beside_the_landing_folder(monkeypatch):
    asked = []

    class Source:
        name = "payments_db"

        def take(self, *, run_id: str | None = None) -> None:
            asked.append(run_id)
            raise NotReady("away")

    monkeypatch.setattr("operations.sources.payment_sources", lambda: (Source(),))
    assert take_all_feeds(run_id=RUN)["wrong"] == {"payments_db": "does not answer: away"}
    assert asked == [RUN]


def test_a_refused_source_is_named():
    refused = (RefusedFeed("payments", "payments_db", "payments_db", ("no column channel.", "add it.")),)
    assert _wrong(FeedsTaken((), 0, refused, {})) == {
        "payments/payments_db": "no column channel. add it.",
    }


def test_cases_are_concluded_before_payments_are_taken_up(decide):
    bill()
    watermark()
    decide()
    send()
    pay()
    # Delivered a minute ago, and paid now: it is withdrawn, and the customer is told.
    assert apply_all_feeds(run_id=RUN) == {
        "concluded warned": 1,
        "feeds": 2,
        "withdraw paid": 1,
        "reopened": 0,
        "confirmations": 1,
    }


# --- The gate ----------------------------------------------------------------------------------------


def test_while_a_channel_is_late_nobody_is_warned():
    bill()
    with pytest.raises(FeedStale, match=r"nobody is warned.*counter is never told by any feed"):
        insist_on_fresh_feeds()
    watermark()
    insist_on_fresh_feeds()


def test_where_nobody_would_be_written_to_a_late_feed_is_no_alarm(configure):
    with pytest.raises(AirflowSkipException, match="no case is due"):
        insist_on_fresh_feeds()
    bill()
    configure(now="2026-07-05T09:31:00+01:00")
    with pytest.raises(AirflowSkipException, match="nobody is written to on this day"):
        insist_on_fresh_feeds()


# --- Deciding ----------------------------------------------------------------------------------------


def test_the_tasks_after_it_are_told_cycle_and_day(context):
    bill()
    watermark()
    counts = DecideDayOperator(task_id="decide").execute(context)
    assert counts["cutoff_warning: notify"] == 1
    assert context["ti"].pushed == {"cycle": "cutoff-2026-06-30", "day": "2026-06-30"}
    with connect() as connection:
        assert connection.scalar(text("SELECT run_id FROM stage WHERE name = 'decide'")) == RUN


@pytest.mark.parametrize("asked", [True, "True", "true"])
def test_a_dry_run_tells_the_counts_keeps_nothing_and_ends_the_run(context, caplog, asked):
    caplog.set_level(logging.INFO)
    bill()
    watermark()
    operator = DecideDayOperator(task_id="decide", dry_run=asked)
    with pytest.raises(DownstreamTasksSkipped):
        operator.execute(context)
    assert list(context["ti"].pushed) == ["return_value"]
    assert context["ti"].pushed["return_value"]["cutoff_warning: notify"] == 1
    with connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM cutoff_decision")) == 0
    assert DecideDayOperator.template_fields == ("dry_run",)


# --- Lists -------------------------------------------------------------------------------------------


def test_letters_are_listed_and_written_and_again_when_the_files_are_lost(decide):
    bill()
    watermark()
    know("number_changed")
    decide()
    assert list_letters(run_id=RUN) == {"added": 1, "lines": 1, "closed": 0}
    folder = get_settings().lists / "cutoff" / "2026-06-30"
    (folder / "letters.csv").unlink()
    assert list_letters(run_id=RUN) == {"added": 0, "lines": 1, "closed": 0}
    assert "number_changed" in (folder / "letters.csv").read_text()


def test_without_anybody_to_list_there_is_no_file():
    assert list_call_backs(run_id=RUN) == {"added": 0, "lines": 0, "closed": 0}
    assert not get_settings().lists.exists()


def test_the_morning_s_list_needs_the_morning_s_payments_but_on_days_without_a_cut(configure, decide):
    bill()
    watermark()
    for day in ("2026-06-30", "2026-07-09"):
        configure(now=f"{day}T09:31:00+01:00")
        watermark()
        decide()
        send()
        conclude_cases()
    configure(now="2026-07-12T07:31:00+01:00")
    with pytest.raises(AirflowSkipException, match="supply is not cut on this day"):
        hand_over_cases(run_id=RUN)
    configure(now="2026-07-13T07:31:00+01:00")
    with pytest.raises(FeedStale, match="nothing is handed over"):
        hand_over_cases(run_id=RUN)
    assert cases() == [("warned_again",)]
    watermark()
    assert hand_over_cases(run_id=RUN) == {"added": 1, "lines": 1, "closed": 0}
    assert (get_settings().lists / "cutoff" / "2026-07-13" / "hand_over.xlsx").is_file()
    pay()
    apply_all_feeds(run_id=RUN)
    assert list_call_backs(run_id=RUN) == {"added": 1, "lines": 1, "closed": 0}
