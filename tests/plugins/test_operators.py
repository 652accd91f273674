"""Sending and settling as Airflow's tasks: with a real database, and a gateway that answers."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import TaskDeferred
from sqlalchemy import text

from fatoura import clock
from fatoura.calendar import Hours, decide_day
from fatoura.cycles.registry import Purpose, open_cycle
from fatoura.database import begin, connect
from fatoura.errors import BadInput, FatouraError
from fatoura.notices.kinds import Check
from fatoura.receipts.intake import RawReceipt, store
from fatoura.receipts.secret import receipt_secret
from fatoura.sending import checks
from fatoura.sending.sender import GatewayStopped
from sms_gateway.late_receipts import take_late_receipts
from sms_gateway.operators import SendNoticesOperator, SettleReceiptsOperator
from sms_gateway.triggers import ReceiptsSettledTrigger, SendingTrigger
from tests.notices import TEXT, ids, notices, plan_notices, run_sql, states
from tests.plugins.conftest import PASSWORD, RUN
from tests.processes import free_port

KEY = "2026-05-T1"
OPEN, CLOSED = "2026-05-20T10:00:00+01:00", "2026-05-20T21:00:00+01:00"


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(now=OPEN, segments_per_second=2000, connections=20, settle_poll=7)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    """A worker waits some seconds before it gives way; here it gives way at once."""
    from fatoura.sending.sender import Sender

    run = Sender.run
    monkeypatch.setattr(Sender, "run", lambda self, **_: run(self, patience=timedelta(0)))


def sender(**more) -> SendNoticesOperator:
    return SendNoticesOperator(**{"task_id": "send", "cycle": KEY, "lane": 2} | more)


def settler(cycle: str = KEY) -> SettleReceiptsOperator:
    return SettleReceiptsOperator(task_id="settle", cycle=cycle)


def recorded(name: str) -> list[tuple[str, int, dict]]:
    with connect() as connection:
        rows = connection.execute(
            text("SELECT run_id, supplement, counts FROM stage WHERE name = :name ORDER BY id"),
            {"name": name},
        )
        return [tuple(row) for row in rows]


def receive(notice_id, status: str = "delivered") -> None:
    told = {"notice_id": notice_id, "attempt": 1, "status": status}
    store([RawReceipt("fatoura_sms", clock.now(), {"query": {}}, **told)])


def test_a_cycle_that_can_be_sent_whole_is_sent_and_the_counts_are_returned(gateway, context):
    cycle = plan_notices(30)
    done = sender().execute(context)
    assert done == {"lane": 2, "accepted": 30, "segments": 30, "busy_seconds": done["busy_seconds"]}
    assert states(cycle) == {"accepted": 30}
    assert sorted(gateway.accepted.values()) == [1] * 30
    assert recorded("send") == [(RUN, 0, done)]
    with connect() as connection:
        workers = connection.scalars(text("SELECT DISTINCT worker FROM attempt")).all()
    assert workers == [f"{RUN} lane 2"]


def test_cleared_and_run_again_it_sends_nothing_twice(gateway, context):
    plan_notices(10)
    sender().execute(context)
    again = sender().execute(context)
    assert again == {"lane": 2, "segments": 0, "busy_seconds": again["busy_seconds"]}
    assert sorted(gateway.accepted.values()) == [1] * 10


def test_a_day_s_warnings_are_checked_sent_and_settled_like_any_cycle(gateway, context, monkeypatch):
    key = "cutoff-2026-05-20"
    cycle = plan_notices(9, cycle=key, purpose="cutoff", kind="cutoff_warning", priority=20)
    paid = ids(cycle)[:2]
    monkeypatch.setattr(checks, "CHECKS", {Check.STILL_OWED: lambda _, asked: dict.fromkeys(paid, "paid")})
    done = sender(cycle=key).execute(context)
    assert (done["accepted"], done["withdrawn"]) == (7, 2)
    assert states(cycle) == {"accepted": 7, "cancelled": 2}
    assert recorded("send") == [(RUN, 0, done)]
    settle_all()
    assert settler(key).execute(context) == {"delivered": 7, "cancelled": 2, "unconfirmed": 0}


@pytest.mark.parametrize("purpose", [Purpose.CUTOFF, Purpose.PAYMENT_RECEIVED])
def test_a_cycle_of_which_nothing_was_planned_ends_at_once_and_asks_nobody(context, monkeypatch, purpose):
    with begin() as connection:
        _, key = open_cycle(connection, purpose, clock.today())
    monkeypatch.setattr(SendNoticesOperator, "hooks", None)
    assert sender(cycle=key).execute(context) == {"lane": 2, "segments": 0, "busy_seconds": 0.0}
    assert settler(key).execute(context) == {"unconfirmed": 0}
    assert [run for run, _, _ in recorded("send") + recorded("settle")] == [RUN, RUN]


def test_what_came_too_late_is_cancelled_though_nothing_can_be_sent_any_more(gateway, context):
    cycle = plan_notices(3, send_until=clock.now() - timedelta(minutes=5))
    assert sender().execute(context)["too_late"] == 3
    assert states(cycle) == {"cancelled": 3}


def test_while_the_window_is_closed_it_gives_its_worker_back(gateway, context, configure):
    configure(now=CLOSED)
    cycle = plan_notices(5)
    with pytest.raises(TaskDeferred) as deferred:
        sender().execute(context)
    assert deferred.value.method_name == "execute_complete"
    assert isinstance(deferred.value.trigger, SendingTrigger)
    assert deferred.value.trigger.serialize()[1] == {
        "cycle_id": cycle,
        "not_before": None,
        "poll_seconds": 7.0,
    }
    assert deferred.value.timeout is None
    assert (states(cycle), gateway.accepted) == ({"planned": 5}, {})


def test_it_goes_on_where_it_stopped_when_the_window_opens(gateway, context, configure):
    configure(now=CLOSED)
    cycle = plan_notices(5)
    operator = sender()
    with pytest.raises(TaskDeferred):
        operator.execute(context)
    decide_day(clock.today(), Hours.parse("09:00-23:30"), reason="a trial", by="the tests")
    done = operator.execute_complete(context, {"wait": "nothing"})
    assert done["accepted"] == 5
    assert states(cycle) == {"accepted": 5}
    assert len(recorded("send")) == 2  # each stay is recorded


def test_an_event_that_came_too_early_only_defers_again(gateway, context, configure):
    configure(now=CLOSED)
    plan_notices(5)
    with pytest.raises(TaskDeferred):
        sender().execute_complete(context, {"wait": "nothing"})


def test_a_gateway_that_is_down_is_left_alone_for_a_while(connect_as, context):
    connect_as(
        "fatoura_sms",
        host="127.0.0.1",
        port=free_port(),
        login="fatoura",
        password=PASSWORD,
        extra={"provider": "kannel"},
    )
    cycle = plan_notices(5)
    with pytest.raises(TaskDeferred) as deferred:
        sender().execute(context)
    assert deferred.value.trigger.not_before is not None
    assert deferred.value.trigger.not_before > clock.now().isoformat()
    assert states(cycle) == {"planned": 5}


def test_a_doubt_is_waited_for_without_a_worker(gateway, context):
    gateway.behave(faults={"reset-after": 1.0})
    cycle = plan_notices(5)
    with pytest.raises(TaskDeferred) as deferred:
        sender().execute(context)
    assert deferred.value.trigger.not_before is None
    assert states(cycle) == {"in_doubt": 5}
    assert sorted(gateway.accepted.values()) == [1] * 5


def test_wrong_credentials_fail_the_task_and_lose_nothing(gateway, connect_as, context):
    connect_as(
        "fatoura_sms",
        host="127.0.0.1",
        port=gateway.port,
        login="fatoura",
        password="wrong-password",
        extra={"provider": "kannel"},
    )
    cycle = plan_notices(20)
    with pytest.raises(GatewayStopped, match=r"fatoura_sms: Auth.*mend the connection") as stopped:
        sender().execute(context)
    assert "wrong-password" not in str(stopped.value)
    assert states(cycle) == {"planned": 20}
    assert recorded("send") == []


def test_a_cycle_that_nobody_loaded_is_refused(gateway, context):
    with pytest.raises(BadInput, match="no cycle '2026-05-T9'"):
        sender(cycle="2026-05-T9").execute(context)
    with pytest.raises(BadInput, match="is not a cycle key"):
        settler("no key").execute(context)


def test_a_supplement_s_run_sends_what_its_cycle_has_and_records_itself(gateway, context):
    plan_notices(3)
    sender(cycle=f"{KEY}/supplement-4").execute(context)
    settle_all()
    settler(f"{KEY}/supplement-4").execute(context)
    assert [(run, n) for run, n, _ in recorded("send") + recorded("settle")] == [(RUN, 4), (RUN, 4)]


def test_ended_from_outside_it_finishes_what_it_began_and_gives_back_the_rest(gateway, context, configure):
    configure(now=OPEN, segments_per_second=40)
    cycle = plan_notices(200)
    operator, raised = sender(), []

    def work() -> None:
        try:
            operator.execute(context)
        except BaseException as error:
            raised.append(error)

    task = threading.Thread(target=work)
    task.start()
    while len(gateway.accepted) < 10:
        time.sleep(0.05)
    operator.on_kill()
    task.join(20)
    assert not task.is_alive()
    assert [type(error) for error in raised] == [FatouraError]
    assert "nothing is lost" in str(raised[0])
    told = states(cycle)
    assert set(told) == {"planned", "accepted"}
    assert told["accepted"] == len(gateway.accepted) < 200
    done = sender().execute(context)
    assert states(cycle) == {"accepted": 200}
    assert sorted(gateway.accepted.values()) == [1] * 200
    assert done["accepted"] == told["planned"]


def test_to_be_ended_before_it_began_harms_nothing():
    sender().on_kill()


def test_the_settings_name_the_connections(gateway, configure, context, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_THE_NEXT_TENDER", os.environ["AIRFLOW_CONN_FATOURA_SMS"])
    configure(now=OPEN, sms_conn_ids="the_next_tender,fatoura_sms")
    cycle = plan_notices(2)
    assert sender().execute(context)["accepted"] == 2
    assert {notice.gateway for notice in notices(cycle)} == {"the_next_tender"}


def test_what_the_form_gives_is_rendered():
    assert set(SendNoticesOperator.template_fields) == {"cycle"}
    assert set(SettleReceiptsOperator.template_fields) == {"cycle"}


@pytest.mark.parametrize("behaviour", [{}, {"reject": 1.0}, {"faults": {"html": 1.0}}])
def test_no_number_no_text_and_no_secret_is_logged(gateway, context, caplog, behaviour):
    caplog.set_level(logging.DEBUG)
    gateway.behave(**behaviour)
    plan_notices(5)
    with contextlib.suppress(TaskDeferred):
        sender().execute(context)
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "send: " in logged
    for secret in ("+216", "2000000", TEXT, "Montant", PASSWORD, receipt_secret()):
        assert secret not in logged


# --- Settling ----------------------------------------------------------------------------------------


def accept_all() -> None:
    run_sql(
        "UPDATE notice SET state = 'sending', attempts = 1, gateway = 'fatoura_sms', submitted_at = :now",
        now=clock.now() - timedelta(minutes=1),
    )
    run_sql("UPDATE notice SET state = 'accepted'")


def settle_all() -> None:
    run_sql("UPDATE notice SET state = 'delivered', final_at = now() WHERE state = 'accepted'")


def test_until_all_receipts_are_in_it_waits_without_a_worker(context):
    cycle = plan_notices(3)
    accept_all()
    with pytest.raises(TaskDeferred) as deferred:
        settler().execute(context)
    assert isinstance(deferred.value.trigger, ReceiptsSettledTrigger)
    assert deferred.value.trigger.serialize()[1] == {"cycle_id": cycle, "poll_seconds": 7.0}
    assert deferred.value.method_name == "execute_complete"
    assert recorded("settle") == []


def test_settled_it_returns_the_states(context):
    cycle = plan_notices(3)
    accept_all()
    first, second, third = ids(cycle)
    receive(first)
    receive(second, "undeliverable")
    receive(third, "expired")
    done = settler().execute(context)  # it also matches what nobody has matched yet
    assert done == {"delivered": 1, "undeliverable": 1, "expired": 1, "unconfirmed": 0}
    assert recorded("settle") == [(RUN, 0, done)]


def test_a_receipt_that_was_parked_is_matched_on_the_way(context):
    cycle = plan_notices(1)
    (notice,) = notices(cycle)
    receive(notice.id)
    run_sql("UPDATE receipt SET match = 'parked'")
    accept_all()
    assert settler().execute(context) == {"delivered": 1, "unconfirmed": 0}


def test_more_may_have_come_since_the_trigger_fired(context):
    plan_notices(3)
    accept_all()
    operator = settler()
    with pytest.raises(TaskDeferred):
        operator.execute_complete(context, {"open": 0})
    settle_all()
    assert operator.execute_complete(context, {"open": 3})["delivered"] == 3


def test_after_the_horizon_it_goes_on_with_what_is_unconfirmed(context, configure):
    plan_notices(3)
    accept_all()
    configure(now="2026-05-23T10:30:00+01:00")
    assert settler().execute(context) == {"accepted": 3, "unconfirmed": 3}


def test_nothing_was_sent_and_nothing_is_waited_for(context):
    plan_notices(2)
    assert settler().execute(context) == {"planned": 2, "unconfirmed": 2}


# --- A provider that does not report by itself


def sent_by_the_aggregator(count: int, configure, context) -> int:
    configure(now=OPEN, segments_per_second=2000, settle_poll=7, sms_conn_ids="l2t_sms")
    cycle = plan_notices(count)
    sender().execute(context)
    assert states(cycle) == {"accepted": count}
    return cycle


def say(aggregator, word: str) -> None:
    for message_id in aggregator.ids.values():
        aggregator.said[message_id] = word


def test_settling_asks_a_provider_that_does_not_report_by_itself(aggregator, context, configure):
    sent_by_the_aggregator(3, configure, context)
    with pytest.raises(TaskDeferred):
        settler().execute(context)
    assert [len(ids) for ids in aggregator.asked] == [3]
    say(aggregator, "DELIVERED")
    with pytest.raises(TaskDeferred):
        settler().execute_complete(context, {"open": 3})  # it has just been asked
    assert len(aggregator.asked) == 1
    run_sql("UPDATE gateway SET polled_at = polled_at - interval '60 seconds'")
    assert settler().execute_complete(context, {"open": 3}) == {"delivered": 3, "unconfirmed": 0}


def test_messages_of_a_provider_that_was_given_up_are_asked_for_by_its_old_connection(
    aggregator, gateway, context, configure
):
    sent_by_the_aggregator(3, configure, context)
    configure(now=OPEN, segments_per_second=2000, sms_conn_ids="fatoura_sms")
    cycle = plan_notices(2, first=3)
    sender().execute(context)
    assert len(gateway.accepted) == 2
    say(aggregator, "EXPIRED")
    with pytest.raises(TaskDeferred):
        settler().execute(context)
    assert states(cycle) == {"expired": 3, "accepted": 2}


def test_a_provider_that_cannot_be_asked_fails_no_cycle(aggregator, context, configure, monkeypatch, caplog):
    sent_by_the_aggregator(2, configure, context)
    monkeypatch.delenv("AIRFLOW_CONN_L2T_SMS")
    with pytest.raises(TaskDeferred):
        settler().execute(context)
    assert "l2t_sms: receipts could not be asked for" in caplog.text


def test_what_comes_after_the_wait_is_asked_for_too(aggregator, context, configure):
    cycle = sent_by_the_aggregator(2, configure, context)
    configure(now="2026-05-24T10:00:00+01:00")
    assert settler().execute(context) == {"accepted": 2, "unconfirmed": 2}
    say(aggregator, "DELIVERED")
    run_sql("UPDATE gateway SET polled_at = NULL")
    assert take_late_receipts() == {"moved": 2}
    assert states(cycle) == {"delivered": 2}
