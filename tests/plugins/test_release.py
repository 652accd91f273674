"""The gate before anything is sent: who passes, who is asked, and what an answer does."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, RetryAction
from airflow.sdk.exceptions import DownstreamTasksSkipped, TaskAwaitingInput
from sqlalchemy import text

from fatoura.cycles.keys import ExtractKey
from fatoura.cycles.registry import cycle_id_of
from fatoura.cycles.stages import recorded_stage
from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.notices.planning import plan_bills
from fatoura.quality import Tripped
from fatoura.subscriptions import match_extract
from operations.release import ReleaseCycleOperator
from operations.retries import RETRY_POLICY
from tests.notices import run_sql
from tests.plugins.conftest import RUN
from tests.staging import row, stage_extract, subscribe

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = ExtractKey("2026-05-T1")
# Invented, all of them. Every subscriber of `subscribe` has the number +21620000001.
REFERENCES = [f"4258049{n:02d}" for n in range(6)]


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


@pytest.fixture
def asked(monkeypatch) -> list[dict[str, Any]]:
    """What would be written into the form of a person."""
    forms: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **form: forms.append(form)
    )
    return forms


@pytest.fixture
def cycle() -> ExtractKey:
    """Five planned notices, in both languages, and a rejected row."""
    for number, reference in enumerate(REFERENCES[:5]):
        subscribe(reference, language="ar" if number % 2 else "fr")
    rows = [row(f"F-{n}", reference, district="TUN1") for n, reference in enumerate(REFERENCES)]
    plan(KEY, rows, rejected={6: ["district_unknown"]})
    return KEY


def plan(
    key: ExtractKey, rows: list[dict[str, Any]], *, tripped: Sequence[Tripped] = (), **options: Any
) -> None:
    """Bring an extract to where `release` finds it."""
    stage_extract(key, rows, **options)
    with recorded_stage(cycle_id_of(key.cycle), "validate", supplement=key.supplement) as stage:
        stage.counts = {"tripped": [one._asdict() for one in tripped]}
    match_extract(key)
    plan_bills(key, run_id=RUN)


def operator(context: dict[str, Any], **options: Any) -> ReleaseCycleOperator:
    with DAG("billing_cycle", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        release = ReleaseCycleOperator(
            task_id="release", **{"cycle": str(KEY), "response_timeout": timedelta(hours=24)} | options
        )
        release >> EmptyOperator(task_id="send") >> EmptyOperator(task_id="settle")
    context["task"] = release
    return release


def answer(*options: str, user: object = None) -> dict[str, Any]:
    """What Airflow hands back once somebody has answered the form."""
    return {
        "chosen_options": list(options),
        "params_input": {},
        "responded_at": datetime(2026, 5, 20, 11, tzinfo=UTC),
        "responded_by_user": {"id": "7", "name": "amel"} if user is None else user,
        "timedout": False,
    }


TIMED_OUT = {"error": "The response timeout has passed without a response.", "error_type": "timeout"}


def states() -> dict[str, int]:
    with connect() as connection:
        return dict(connection.execute(text("SELECT state, count(*) FROM notice GROUP BY state")).all())


def recorded() -> list[dict[str, Any]]:
    with connect() as connection:
        rows = connection.execute(
            text("SELECT run_id, supplement, counts FROM stage WHERE name = 'release' ORDER BY id")
        ).all()
    assert {(run, supplement) for run, supplement, _ in rows} <= {(RUN, 0)}
    return [counts for *_, counts in rows]


def test_a_normal_cycle_passes_and_asks_nobody(cycle, context, asked):
    assert operator(context).execute(context) is None
    assert asked == []
    assert states() == {"planned": 5}
    assert recorded() == [{"decision": "released", "messages": 5, "segments": 5}]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"guard_messages": 4}, "5 messages are more than the 4 of a usual cycle (FATOURA_GUARD_MESSAGES)"),
        (
            {"guard_cost_millimes": 99, "segment_price_millimes": 20},
            "They cost 0,100 DT, more than the 0,099 DT of a usual cycle (FATOURA_GUARD_COST_MILLIMES)",
        ),
    ],
)
def test_a_guard_rail_that_trips_asks_a_person_and_says_why(
    cycle, context, asked, configure, settings, words
):
    configure(**settings)
    with pytest.raises(TaskAwaitingInput) as waiting:
        operator(context).execute(context)
    # No trigger, no worker; and nobody's silence is a yes.
    assert (waiting.value.method_name, waiting.value.timeout) == ("execute_complete", timedelta(hours=24))
    [form] = asked
    assert (form["ti_id"], form["options"], form["defaults"]) == (
        context["ti"].id,
        ["Approve", "Reject"],
        None,
    )
    assert form["subject"] == "Send 5 messages of 2026-05-T1?"
    assert f"- {words}." in form["body"]
    assert states() == {"planned": 5}
    assert recorded() == []


def test_what_the_quality_gate_found_odd_asks_a_person_too(context, asked):
    subscribe(REFERENCES[0])
    odd = Tripped("bad_share", "12 % of the rows are rejected, more than the 10 % of a usual cycle.")
    plan(KEY, [row("F-1", REFERENCES[0], district="TUN1")], tripped=[odd])
    with pytest.raises(TaskAwaitingInput):
        operator(context).execute(context)
    assert f"- {odd.sentence}" in asked[0]["body"]


def test_the_form_shows_the_figures_and_three_masked_samples(cycle, context, asked, configure):
    configure(guard_messages=0, segment_price_millimes=20)
    with pytest.raises(TaskAwaitingInput):
        operator(context).execute(context)
    body = asked[0]["body"]
    figures = dict(re.findall(r"^\| ([A-Z][^|]+) \| ([^|]+) \|$", body, re.MULTILINE))
    assert figures == {
        "Messages planned": "5",
        "Segments": "5",
        "Cost": "0,100 DT",
        "Rows extracted": "6",
        "Rows rejected": "1 (16.7%)",
        "Amount told to customers": "62,500 DT",
        "To": "Message",
    }
    samples = re.findall(r"^\| `(.+)` \| (.+) \|$", body, re.MULTILINE)
    assert len(samples) == 3
    assert {phone for phone, _ in samples} == {"+216 ** *** 001"}
    assert all("12,500" in message for _, message in samples)
    assert any("المبلغ" in message for _, message in samples)
    assert any("Montant" in message for _, message in samples)


def test_the_form_tells_nobody_s_number_or_reference(cycle, context, asked):
    with pytest.raises(TaskAwaitingInput):
        operator(context, approval="always").execute(context)
    shown = re.sub(r"\D", "", asked[0]["body"]) + asked[0]["body"] + asked[0]["subject"]
    for reference in REFERENCES:
        assert reference not in shown
    assert "20000001" not in shown


def test_the_run_s_form_can_ask_for_an_approval_in_any_case(cycle, context, asked):
    with pytest.raises(TaskAwaitingInput):
        operator(context, approval="always").execute(context)
    assert "The run's form asks for an approval." in asked[0]["body"]


def test_where_nothing_is_planned_nobody_is_asked(context, asked):
    plan(KEY, [row("F-1", REFERENCES[0], district="TUN1")])
    assert operator(context, approval="always").execute(context) is None
    assert asked == []
    assert recorded() == [{"decision": "released", "messages": 0, "segments": 0}]


@pytest.mark.parametrize("dry_run", ["True", "true", True])
def test_a_dry_run_skips_sending_and_keeps_the_plan(cycle, context, asked, configure, dry_run):
    configure(guard_messages=0)  # nothing is sent, so nobody need be asked
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        operator(context, dry_run=dry_run).execute(context)
    assert skipped.value.tasks == ["send"]
    assert context["ti"].pushed == {"skipmixin_key": {"skipped": ["send"]}}
    assert asked == []
    assert states() == {"planned": 5}
    assert recorded() == [{"decision": "dry run", "messages": 5, "segments": 5}]


@pytest.mark.parametrize("dry_run", ["False", "false", False])
def test_a_real_run_after_a_dry_run_sends_its_plan(cycle, context, asked, dry_run):
    with contextlib.suppress(DownstreamTasksSkipped):
        operator(context, dry_run="True").execute(context)
    assert operator(context, dry_run=dry_run).execute(context) is None
    assert [one["decision"] for one in recorded()] == ["dry run", "released"]


def ask(context: dict[str, Any]) -> ReleaseCycleOperator:
    release = operator(context, approval="always")
    with pytest.raises(TaskAwaitingInput):
        release.execute(context)
    return release


def test_approved_it_goes_on_and_records_who_said_so(cycle, context, asked, configure):
    configure(guard_messages=3)
    told = ask(context).execute_complete(context, answer("Approve"))
    assert told["chosen_options"] == ["Approve"]
    assert states() == {"planned": 5}
    [record] = recorded()
    assert record | {"reasons": []} == {
        "decision": "approved",
        "messages": 5,
        "segments": 5,
        "by": "amel",
        "reasons": [],
    }
    assert record["reasons"][0].startswith("5 messages are more than the 3")


def test_rejected_it_cancels_the_plan_skips_sending_and_records_who_said_so(cycle, context, asked):
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        ask(context).execute_complete(context, answer("Reject"))
    assert skipped.value.tasks == ["send"]
    assert states() == {"cancelled": 5}
    with connect() as connection:
        reasons = connection.scalars(text("SELECT DISTINCT reason FROM notice")).all()
    assert reasons == ["refused_by_person"]
    [record] = recorded()
    # What they decided about, not what was left of it afterwards.
    assert (record["decision"], record["by"], record["messages"]) == ("refused", "amel", 5)


def test_what_was_rejected_stays_so_when_the_task_is_cleared(cycle, context, asked):
    with contextlib.suppress(DownstreamTasksSkipped):
        ask(context).execute_complete(context, answer("Reject"))
    plan_bills(KEY, run_id=RUN)
    with pytest.raises(DownstreamTasksSkipped):
        operator(context).execute(context)
    assert states() == {"cancelled": 5}
    assert [record["decision"] for record in recorded()] == ["refused"]


@pytest.mark.parametrize("user", [{}, {"id": "7", "name": None}, SimpleNamespace(id="7", name=None)])
def test_an_answer_without_a_name_is_recorded_too(cycle, context, asked, user):
    ask(context).execute_complete(context, answer("Approve", user=user))
    assert recorded()[0]["by"] == "unknown"


def test_when_nobody_answers_in_time_it_fails_for_good_and_sends_nothing(cycle, context, asked):
    release = ask(context)
    with pytest.raises(HITLTimeoutError) as timed_out:
        release.execute_complete(context, dict(TIMED_OUT))
    assert states() == {"planned": 5}
    assert recorded() == []
    # Another try would only ask again, and wait for another day.
    decision = RETRY_POLICY.evaluate(timed_out.value, try_number=1, max_tries=3)
    assert decision.action is RetryAction.FAIL


def test_an_answer_that_is_none_of_the_two_sends_and_cancels_nothing(cycle, context, asked):
    release = ask(context)
    with pytest.raises(ValueError, match="Perhaps"):
        release.execute_complete(context, answer("Perhaps"))
    assert states() == {"planned": 5}
    assert recorded() == []


def test_an_unknown_cycle_is_refused_in_words(context, asked):
    with pytest.raises(BadInput, match="2026-05-T1"):
        operator(context).execute(context)


def test_the_form_of_a_supplement_names_it(cycle, context, asked):
    supplement = ExtractKey("2026-05-T1", 1)
    plan(supplement, [row("F-9", REFERENCES[0], district="TUN1")])
    with pytest.raises(TaskAwaitingInput):
        operator(context, cycle=str(supplement), approval="always").execute(context)
    assert asked[0]["subject"] == "Send 6 messages of 2026-05-T1/supplement-1?"


def test_what_the_form_and_the_run_give_is_rendered():
    assert {"cycle", "dry_run", "approval"} <= set(ReleaseCycleOperator.template_fields)


def test_a_cancelled_notice_is_not_counted_in_what_is_asked(cycle, context, asked):
    run_sql("UPDATE notice SET state = 'cancelled' WHERE subject = 'F-0'")
    with pytest.raises(TaskAwaitingInput):
        operator(context, approval="always").execute(context)
    assert asked[0]["subject"] == "Send 4 messages of 2026-05-T1?"
