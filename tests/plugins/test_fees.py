"""The steps of the yearly fee's workflows, on a real database, as their tasks call them."""

from __future__ import annotations

import json

import pytest
from airflow.sdk.exceptions import DownstreamTasksSkipped

from fatoura.cutoff.confirming import cycles_to_confirm
from fatoura.errors import BadInput
from operations.cutoff import apply_all_feeds, take_all_feeds
from operations.fees import TakeUpSubscriptionsOperator, keep_fees_up, plan_news, take_results
from tests.fees import answer, charges, news, run, send_news, subscribe, subscriptions, write_answers
from tests.plugins.conftest import RUN


@pytest.fixture(autouse=True)
def _first_of_the_month(database, configure):
    configure(now="2027-06-01T10:00:00+01:00")


def test_the_first_step_names_the_cycle_that_the_others_work_on(context):
    subscribe()
    counts = TakeUpSubscriptionsOperator(task_id="take_up").execute(context)
    assert counts == {"taken_up": 1}
    assert context["ti"].pushed["cycle"] == "subscription-news-2027-06-01"


def test_a_dry_run_tells_counts_keeps_nothing_and_ends_the_run(context):
    subscribe()
    operator = TakeUpSubscriptionsOperator(task_id="take_up", month="2027-06", dry_run="True")
    with pytest.raises(DownstreamTasksSkipped):
        operator.execute(context)
    assert context["ti"].pushed["return_value"]["announced"] == 1
    assert (charges(), subscriptions("began_on")) == ([], [(None,)])


def test_a_wrong_month_is_told_before_anything_is_done(context):
    subscribe()
    with pytest.raises(BadInput, match="'June' is no month"):
        TakeUpSubscriptionsOperator(task_id="take_up", month="June").execute(context)
    assert subscriptions("began_on") == [(None,)]


def test_an_answer_between_two_runs_renews_at_once_and_is_told_by_a_run_that_it_asks_for(configure):
    subscribe()
    run()
    configure(now="2027-07-01T10:00:00+01:00")
    run()
    configure(now="2027-07-12T12:00:00+01:00")
    write_answers("2027-07-12", [answer("F1", "paid")])
    taken = take_all_feeds(run_id=RUN)
    assert json.loads(json.dumps(taken)) == taken
    assert charges() == [("paid",)]
    assert keep_fees_up(run_id=RUN) == {"subscription_renewed": 1}
    apply_all_feeds(run_id=RUN)
    assert cycles_to_confirm() == ["subscription-news-2027-07-12"]
    assert keep_fees_up(run_id=RUN) == {}


def test_what_the_monthly_run_plans_it_sends_itself(context):
    subscribe()
    first = TakeUpSubscriptionsOperator(task_id="take_up")
    first.execute(context)
    cycle = context["ti"].pushed["cycle"]
    from fatoura.fees import renewing

    renewing.announce(cycle)
    counts = plan_news(cycle, run_id=RUN)
    assert (counts["fee_announced"], counts["cycle"]) == (1, cycle)
    assert cycles_to_confirm() == []
    send_news()
    assert news("state") == [("delivered",)]


def test_the_monthly_run_takes_answers_first_and_goes_on_where_a_feed_is_refused(caplog):
    subscribe()
    write_answers("bad", [answer("F1", "paid")], total_amount_millimes=7)
    write_answers("good", [answer("F2", "paid")])
    counts = take_results(run_id=RUN)
    assert counts["loaded"] == 1
    assert "fee_results/bad" in caplog.text
