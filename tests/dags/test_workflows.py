"""Every workflow: imported without errors, with a runbook that names each task, and only wired."""

from __future__ import annotations

import ast
import itertools
import json
import re
from typing import Any

import pendulum
import pytest

from fatoura.settings import PROJECT_ROOT, get_settings
from fatoura.stack.local import POOL, URGENT_POOL

DAGS = sorted((PROJECT_ROOT / "dags").glob("*.py"))
_FEW_LINES = 6


@pytest.fixture(scope="module")
def bag():
    """Parse the folder as Airflow does."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=PROJECT_ROOT / "dags", known_pools={"default_pool", POOL, URGENT_POOL})


@pytest.fixture(params=[path.stem for path in DAGS])
def dag(request: pytest.FixtureRequest, bag) -> Any:
    return bag.dags[request.param]


@pytest.fixture
def cycle(bag) -> Any:
    return bag.dags["billing_cycle"]


def docstring(dag: Any) -> str:
    text = ast.get_docstring(ast.parse((PROJECT_ROOT / "dags" / f"{dag.dag_id}.py").read_text()), clean=False)
    assert text
    return text


def test_each_file_is_one_workflow_of_its_name_and_none_has_errors(bag):
    assert bag.import_errors == {}
    assert bag.captured_warnings == {}
    assert set(bag.dags) == {path.stem for path in DAGS}


def test_its_docstring_is_the_runbook_that_the_ui_shows(dag):
    assert dag.doc_md == docstring(dag)
    title, *_ = dag.doc_md.splitlines()
    assert re.fullmatch(r"# [A-Z].*\.", title)
    assert "**What a rerun does.**" in dag.doc_md


def test_the_runbook_has_a_row_for_each_task_and_for_no_other(dag):
    table = dag.doc_md[dag.doc_md.index("| task | what it does | when it fails |") :]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
    assert [task for task, _, _ in rows] == [task.task_id for task in dag.topological_sort()]
    assert all(what.strip() and advice.strip() for _, what, advice in rows)


def test_the_runbook_names_the_parameters_of_the_form(dag):
    for name in dag.params:
        assert f"| `{name}` |" in dag.doc_md


def test_it_has_tags_and_starts_no_run_of_the_past(dag):
    assert dag.tags
    assert dag.catchup is False
    assert dag.max_active_runs >= 1


@pytest.mark.parametrize(("month", "day"), [(11, 24), (11, 2)])
def test_a_new_installation_does_not_make_up_for_a_month_of_fees(bag, monkeypatch, month, day):
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables import trigger
    from airflow.timetables.base import TimeRestriction

    now = pendulum.datetime(2026, month, day, 12)
    monkeypatch.setattr(trigger, "utcnow", lambda: now)
    dag = DagSerialization.from_dict(DagSerialization.to_dict(bag.dags["annual_fee_renewals"]))
    first = dag.timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(dag.start_date, None, catchup=False)
    )
    assert first.run_after == pendulum.datetime(2026, 12, 1, 10, tz="Africa/Tunis")


def test_each_task_knows_its_owner_its_retries_and_whom_to_tell(dag):
    from operations.alerts import FailureNotifier
    from operations.retries import RETRY_POLICY

    for task in dag.tasks:
        values = task.partial_kwargs if task.is_mapped else vars(task)
        assert task.owner == "billing", task
        assert values["retry_policy"] is RETRY_POLICY, task
        callbacks = task.on_failure_callback
        assert [type(one) for one in callbacks] == [FailureNotifier], task
        assert task.retries == 3, task


def test_it_survives_the_way_through_airflow_s_database(dag):
    from airflow.serialization.serialized_objects import DagSerialization

    document = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    again = DagSerialization.from_dict(document)
    assert set(again.task_ids) == set(dag.task_ids)
    assert again.doc_md == dag.doc_md
    # What is stored is shown to everybody who may look at the DAG.
    assert "password" not in json.dumps(document).lower()


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_no_function_is_longer_than_a_few_lines_and_the_wiring_decides_nothing(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef):
            continue
        if any(ast.unparse(decorator).startswith("dag(") for decorator in node.decorator_list):
            decisions = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.Match)
            assert [one for one in node.body if isinstance(one, decisions)] == []
        else:
            assert node.body[-1].end_lineno - node.body[0].lineno + 1 <= _FEW_LINES, node.name


def test_the_stages_of_a_cycle_follow_each_other(cycle):
    stages = [task.task_id for task in cycle.topological_sort()]
    assert stages == [
        *("extract", "validate", "match", "render", "release", "send", "settle", "schedule_cutoff", "report"),
    ]
    for earlier, later in itertools.pairwise(stages):
        assert cycle.get_task(later).upstream_task_ids == {earlier}


def test_the_report_is_written_also_when_nothing_was_released_and_not_after_a_failure(cycle):
    assert cycle.get_task("report").trigger_rule == "none_failed"
    assert {t.trigger_rule for t in cycle.tasks if t.task_id != "report"} == {"all_success"}


def test_senders_share_a_pool_of_their_own(cycle):
    send = cycle.get_task("send")
    assert send.is_mapped
    assert send.pool == "sms_gateway"
    assert {t.pool for t in cycle.tasks if t.task_id != "send"} == {"default_pool"}
    lanes = send.expand_input.value["lane"]
    assert list(lanes) == list(range(1, get_settings().send_lanes + 1))


def test_an_approval_waits_as_long_as_the_settings_say(cycle):
    assert cycle.get_task("release").response_timeout == get_settings().approval_timeout
    assert cycle.get_task("release").defaults is None  # nobody's silence is a yes


@pytest.mark.parametrize(
    ("partition_key", "typed", "taken"),
    [("2026-05-T1/supplement-1", "", "2026-05-T1/supplement-1"), (None, "2026-05-T2", "2026-05-T2")],
)
def test_a_run_takes_its_cycle_from_the_extract_that_landed_or_from_the_form(
    cycle, partition_key, typed, taken
):
    from types import SimpleNamespace

    environment = cycle.get_template_env()
    template = environment.from_string(cycle.get_task("settle").cycle)
    assert template.render(dag_run=SimpleNamespace(partition_key=partition_key), params={"cycle": typed}) == (
        taken
    )


def test_a_cycle_starts_by_an_extract_and_by_nothing_else(cycle):
    from operations.assets import billing_extract

    assert type(cycle.timetable).__name__ == "PartitionedAssetTimetable"
    assert cycle.timetable.asset_condition == billing_extract


def test_a_late_cycle_raises_an_alert(cycle):
    (deadline,) = cycle.deadline if isinstance(cycle.deadline, list) else [cycle.deadline]
    assert deadline.interval == get_settings().late_after
    assert deadline.callback.path == "operations.alerts.LateRunNotifier"


# --- Payments and warnings ---------------------------------------------------------------------------


@pytest.fixture
def warnings(bag) -> Any:
    return bag.dags["cutoff_warnings"]


def test_the_steps_of_a_day_follow_each_other_and_nothing_runs_after_a_late_feed(warnings):
    steps = [task.task_id for task in warnings.topological_sort()]
    assert steps == [
        *("take_feeds", "check_feeds", "decide", "plan", "send", "settle", "conclude", "letters", "report"),
    ]
    for earlier, later in itertools.pairwise(steps):
        assert warnings.get_task(later).upstream_task_ids == {earlier}
    assert {task.trigger_rule for task in warnings.tasks} == {"all_success"}


def test_warnings_have_slots_that_bills_cannot_take(bag):
    for dag_id, pool in (
        ("cutoff_warnings", URGENT_POOL),
        ("payment_confirmations", POOL),
        ("annual_fee_renewals", POOL),
    ):
        dag = bag.dags[dag_id]
        assert {task.task_id: task.pool for task in dag.tasks if task.pool != "default_pool"} == {
            "send": pool
        }
        lanes = dag.get_task("send").expand_input.value["lane"]
        assert list(lanes) == list(range(1, get_settings().send_lanes + 1))


def test_warnings_and_the_hand_over_run_at_the_hours_of_the_settings(bag):
    settings = get_settings()
    for dag_id, at in (
        ("cutoff_warnings", settings.cutoff_warnings_at),
        ("cutoff_handover", settings.cutoff_handover_at),
        ("annual_fee_renewals", settings.fee_renewals_at),
        ("retention", settings.retention_at),
    ):
        timetable = bag.dags[dag_id].timetable
        assert (timetable.expression, str(timetable.timezone)) == (at, settings.timezone)


def test_receipts_of_one_day_do_not_hold_up_the_next(warnings):
    days = get_settings().settle_horizon.days
    assert warnings.max_active_runs > 2 * (days + 1)


def test_a_day_works_on_the_cycle_that_was_decided(warnings):
    for task_id in ("send", "settle"):
        task = warnings.get_task(task_id)
        cycle = task.partial_kwargs["cycle"] if task.is_mapped else task.cycle
        assert cycle == "{{ ti.xcom_pull(task_ids='decide', key='cycle') }}"
    assert warnings.get_task("report").day == "{{ ti.xcom_pull(task_ids='decide', key='day') }}"


def test_what_was_taken_is_taken_up_also_when_something_could_not_be(bag):
    from operations.assets import payments_received

    feeds = bag.dags["payment_feeds"]
    assert feeds.max_active_runs == 1
    assert feeds.get_task("apply").trigger_rule == "all_done"
    assert feeds.get_task("apply").outlets == [payments_received]
    assert feeds.get_task("keep_fees").trigger_rule == "all_done"
    # The last one fails where an earlier one has: else such a run would look well.
    assert feeds.get_task("check_taken").upstream_task_ids == {"take", "keep_fees", "apply"}
    assert feeds.get_task("check_taken").trigger_rule == "all_success"


def test_who_has_paid_is_told_by_a_run_that_the_payment_starts(bag):
    from operations.assets import payments_received

    dag = bag.dags["payment_confirmations"]
    assert type(dag.timetable).__name__ == "PartitionedAssetTimetable"
    assert dag.timetable.asset_condition == payments_received


def test_teams_are_called_back_also_when_nothing_can_be_handed_over(bag):
    dag = bag.dags["cutoff_handover"]
    assert dag.get_task("call_back").upstream_task_ids == {"take_feeds"}
    assert dag.get_task("hand_over").upstream_task_ids == {"take_feeds"}
    assert dag.get_task("report").trigger_rule == "none_failed"


# --- Fees --------------------------------------------------------------------------------------------


def test_the_steps_of_a_month_follow_each_other(bag):
    renewals = bag.dags["annual_fee_renewals"]
    steps = [task.task_id for task in renewals.topological_sort()]
    assert steps == [
        *("take_results", "take_up", "announce", "charge", "write_file"),
        *("renew", "plan", "send", "settle", "report"),
    ]
    for earlier, later in itertools.pairwise(steps):
        assert earlier in renewals.get_task(later).upstream_task_ids
    assert {task.trigger_rule for task in renewals.tasks} == {"all_success"}


def test_the_month_s_page_is_that_of_the_day_on_which_the_run_began(bag):
    report = bag.dags["annual_fee_renewals"].get_task("report")
    assert report.cycle == "{{ ti.xcom_pull(task_ids='take_up', key='cycle') }}"
    assert [link.name for link in report.operator_extra_links] == ["Report"]


def test_pages_are_refreshed_once_late_receipts_are_matched(bag):
    refresh = bag.dags["report_refresh"]
    for task_id in ("refresh", "refresh_cutoff", "refresh_subscriptions"):
        assert refresh.get_task(task_id).upstream_task_ids == {"match_late_receipts"}


def test_news_goes_out_in_the_cycle_of_the_day_on_which_it_was_planned(bag):
    renewals = bag.dags["annual_fee_renewals"]
    for task_id in ("send", "settle"):
        task = renewals.get_task(task_id)
        cycle = task.partial_kwargs["cycle"] if task.is_mapped else task.cycle
        assert cycle == "{{ ti.xcom_pull(task_ids='plan')['cycle'] }}"


# --- Privacy -----------------------------------------------------------------------------------------


def test_files_are_removed_also_when_rows_could_not_be_erased_and_the_run_fails_all_the_same(bag):
    retention = bag.dags["retention"]
    assert {task.task_id for task in retention.tasks} == {"erase", "remove_files"}
    # Neither follows the other: a run ends as its last tasks do.
    assert not any(task.upstream_list or task.downstream_list for task in retention.tasks)
