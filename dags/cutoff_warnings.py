"""# Cut-off warnings.

Reminds of bills that are due soon, and warns those who owe after the deadline that supply can be cut: once,
and a second time nearer to the day. Never somebody who has paid, as far as any feed has told: each bill is
checked again when its message leaves. Whom no message can tell gets a letter.

**Runs** twice a day (`FATOURA_CUTOFF_WARNINGS_AT`, by default 09:30 and 14:30); several runs may be under way,
for receipts can take days. Also by hand from the form:

| parameter | meaning |
|---|---|
| `dry_run` | tell who would be written to now, as counts by kind of message and reason, in the log of `decide`; nothing is kept, planned or sent |

**What a rerun does.** Any task can be cleared and run again, at any time, any number of times. What was
decided today stays decided, a decision is planned once, a message is claimed before it is submitted, and each
case stands on one list of letters. `decide` always decides the day on which it runs; the tasks after it work
on the cycle that it names (`cutoff-2026-06-29`).

| task | what it does | when it fails |
|---|---|---|
| `take_feeds` | takes the feeds that have come, concludes cases, takes up payments and facts, as `payment_feeds` does. A refused feed does not fail it, `payment_feeds` tells of that | the landing folder or a database cannot be reached; clear it |
| `check_feeds` | lets nobody be warned while the payments of a channel are not known up to now, or a feed of account facts is refused | *nobody is warned*: the message names the channels or feeds. Have what is missing delivered, then clear `take_feeds` and all after it; or leave it to the next run. What was due is caught up, the oldest debts first, never more in a day than the rules allow |
| `decide` | decides whom a message goes to, and closes the cases of those who must not or cannot be written to; each decision with its reason | *the rules*: the message names line and field of the file. Otherwise clear it |
| `plan` | plans each message with its final text, once | a text or a value does not fit its segments: the message names the invoices |
| `send` | submits under the contract's rate, before bills, inside the sending window; waits without a worker. Cancels what holds no longer | *the provider refuses everything*: mend the connection `fatoura_sms` and clear it. Otherwise clear it: a warning in doubt is never sent again |
| `settle` | waits without a worker until all receipts are in, or the horizon has passed | clear it |
| `conclude` | moves the cases on: delivered is warned; undelivered, or without a final word, is not | clear it |
| `letters` | lists those whom no message could tell and who still owe, and writes the list as files | *no letters are listed*: a feed is late; clear it when it has come. A full disk: make room and clear it |
| `report` | writes the day's page | read the log: a full disk leaves the old page in place |

`check_feeds` and all after it are skipped on days without a sending window, after its end, and for as long as
payments have never been connected and no case is due. What has not left by the evening is cancelled, and
decided anew on the next day, with a later day of the cut.
"""

from dataclasses import asdict

from airflow.sdk import CronTriggerTimetable, Param, chain, dag, task
from pendulum import datetime

from fatoura.settings import get_settings
from operations.cutoff import DecideDayOperator
from operations.defaults import DEFAULT_ARGS
from operations.stages import WriteCutoffReportOperator
from sms_gateway.operators import SendNoticesOperator, SettleReceiptsOperator

CYCLE = "{{ ti.xcom_pull(task_ids='decide', key='cycle') }}"
DAY = "{{ ti.xcom_pull(task_ids='decide', key='day') }}"


@dag(
    schedule=CronTriggerTimetable(get_settings().cutoff_warnings_at, timezone=get_settings().timezone),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=16,
    params={
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="Tell whom it would be; no more"
        ),
    },
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["cut-off", "sms"],
)
def cutoff_warnings():
    """Wire the steps of a day."""

    @task
    def take_feeds(run_id=None):
        from operations.cutoff import take_and_apply_feeds

        return take_and_apply_feeds(run_id=run_id)

    @task
    def check_feeds():
        from operations.cutoff import insist_on_fresh_feeds

        insist_on_fresh_feeds()

    @task
    def plan(cycle, run_id=None):
        from fatoura.cutoff.planning import plan_day

        return asdict(plan_day(cycle, run_id=run_id))

    @task
    def conclude(run_id=None):
        from fatoura.cutoff.settling import conclude_cases

        return conclude_cases(run_id=run_id).counts

    @task
    def letters(run_id=None):
        from operations.cutoff import list_letters

        return list_letters(run_id=run_id)

    send = SendNoticesOperator.partial(task_id="send", cycle=CYCLE, pool="sms_gateway_urgent").expand(
        lane=list(range(1, get_settings().send_lanes + 1))
    )
    chain(
        take_feeds(),
        check_feeds(),
        DecideDayOperator(task_id="decide", dry_run="{{ params.dry_run }}"),
        plan(CYCLE),
        send,
        SettleReceiptsOperator(task_id="settle", cycle=CYCLE),
        conclude(),
        letters(),
        WriteCutoffReportOperator(task_id="report", day=DAY),
    )


cutoff_warnings()
