"""# Billing cycle.

Takes one billing extract from the landing folder to settled messages: subscribers among its customers get
an SMS that says what they owe and until when, and an analyst gets a report.

**Starts** by itself, once for each complete manifest (see `extract_landing`), or by hand from the form:

| parameter | meaning |
|---|---|
| `cycle` | which extract: `2026-05-T1`, or `2026-05-T1/supplement-1`; only for a start by hand |
| `dry_run` | plan and report, send nothing; the plan stays, and a later real run sends it |
| `approval` | `guard-rails`: a person is asked only when something looks wrong; `always`: in any case |
| `source` | `landing`: the landing folder; `database`: the billing database (`FATOURA_BILLING_CONN_ID`) |

**What a rerun does.** Any task can be cleared and run again, at any time, any number of times. Each looks
in the database for what is done already, says so in its log, and does the rest. Nothing is sent twice:
a notice is planned once and claimed before it is submitted.

| task | what it does | when it fails |
|---|---|---|
| `extract` | checks the manifest, loads every record, compares checksums, rows and total | the message names file, row and field: have the extract written again, or a supplement, and clear the task |
| `validate` | sets bad rows aside with their reasons; stops a batch that looks wrong as a whole | look at *Data Docs* on the task; export and correct the rows (`fatoura quality export`), or have the batch written again |
| `match` | decides for each invoice whether it gets a notice, or why not | read the log; clear the task |
| `render` | plans each notice with its final text, once | a template or a value does not fit its segments: the message names the invoices |
| `release` | lets a normal cycle pass; asks a person when a guard-rail trips; ends a dry run | nobody answered in time: clear it and answer under *Required Actions* |
| `send` | submits under the contract's rate, inside the sending window; waits without a worker | *the provider refuses everything*: mend the connection `fatoura_sms` and clear it. Otherwise clear it: what is in doubt stays in doubt |
| `settle` | waits without a worker until all receipts are in, or the horizon has passed | clear it |
| `schedule_cutoff` | leaves a case for each notified invoice: from which day on it may be warned | clear it |
| `report` | writes the report, and insists that the ledger balances | *the ledger does not balance* names the rows: a defect, tell the developers; nothing is lost |

A run that is rejected in `release` cancels its notices, skips to `report`, and ends as a success. A run
that is not over in `FATOURA_LATE_AFTER` raises an alert. Messages stop at the end of the sending window
and go on by themselves when it opens.
"""

from dataclasses import asdict

from airflow.sdk import (
    AsyncCallback,
    DeadlineAlert,
    Param,
    PartitionedAssetTimetable,
    TriggerRule,
    chain,
    dag,
    task,
)
from pendulum import datetime

from fatoura.cycles.keys import ExtractKey
from fatoura.settings import get_settings
from operations.alerts import LateRunNotifier
from operations.assets import billing_extract
from operations.deadlines import RunBegan
from operations.defaults import DEFAULT_ARGS
from operations.release import ReleaseCycleOperator
from operations.stages import ValidateExtractOperator, WriteReportOperator
from sms_gateway.operators import SendNoticesOperator, SettleReceiptsOperator

CYCLE = "{{ dag_run.partition_key or params.cycle }}"


@dag(
    schedule=PartitionedAssetTimetable(assets=billing_extract),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=8,
    params={
        "cycle": Param("", type="string", title="Cycle", description="Such as 2026-05-T1"),
        "dry_run": Param(False, type="boolean", title="Dry run", description="Plan and report, send nothing"),
        "approval": Param("guard-rails", enum=["guard-rails", "always"], title="Ask a person"),
        "source": Param("landing", enum=["landing", "database"], title="Source"),
    },
    deadline=DeadlineAlert(
        reference=RunBegan(),
        interval=get_settings().late_after,
        callback=AsyncCallback(LateRunNotifier, kwargs={"what": "a billing cycle"}),
    ),
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["billing", "sms"],
)
def billing_cycle():
    """Wire the stages of a cycle."""

    @task
    def extract(cycle, source, run_id=None):
        from operations.sources import load_from

        return load_from(source, cycle, run_id=run_id)

    @task
    def match(cycle, run_id=None):
        from fatoura.subscriptions import match_extract

        return asdict(match_extract(ExtractKey.parse(cycle), run_id=run_id))

    @task
    def render(cycle, run_id=None):
        from fatoura.notices.planning import plan_bills

        return asdict(plan_bills(ExtractKey.parse(cycle), run_id=run_id))

    @task
    def schedule_cutoff(cycle, run_id=None):
        from fatoura.cutoff.scheduling import schedule_cases

        return asdict(schedule_cases(ExtractKey.parse(cycle).cycle, run_id=run_id))

    settings = get_settings()
    release = ReleaseCycleOperator(
        task_id="release",
        cycle=CYCLE,
        dry_run="{{ params.dry_run }}",
        approval="{{ params.approval }}",
        response_timeout=settings.approval_timeout,
    )
    send = SendNoticesOperator.partial(task_id="send", cycle=CYCLE, pool="sms_gateway").expand(
        lane=list(range(1, settings.send_lanes + 1))
    )
    chain(
        extract(CYCLE, "{{ params.source }}"),
        ValidateExtractOperator(task_id="validate", cycle=CYCLE),
        match(CYCLE),
        render(CYCLE),
        release,
        send,
        SettleReceiptsOperator(task_id="settle", cycle=CYCLE),
        schedule_cutoff(CYCLE),
        WriteReportOperator(task_id="report", cycle=CYCLE, trigger_rule=TriggerRule.NONE_FAILED),
    )


billing_cycle()
