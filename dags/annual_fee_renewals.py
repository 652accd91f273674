"""# Annual fee renewals.

The yearly fee of subscriptions: announced ahead in the customer's language, charged once a subscription and year,
told to the billing system in a file, renewed when it is paid, and let lapse when it is not. A lapse never drops a
warning that is owed.

**Runs** once a month (`FATOURA_FEE_RENEWALS_AT`, by default at 10:00 on the 1st), and by hand from the form:

| parameter | meaning |
|---|---|
| `month` | announce and charge only years that begin in this month, such as `2026-07`; empty: all that are due by the rules |
| `dry_run` | tell what the run would do now, as counts in the log of `take_up`; nothing is kept, written or sent |

What comes between two runs (answers of the billing system, contracts that end, customers who leave or come back)
is taken by `payment_feeds` within minutes, and told by `payment_confirmations`.

**What a rerun does.** Any task can be cleared and run again, at any time, any number of times: each does what is
missing by then. A year is announced once and charged once; a charge stands in one file, and a file that is written
again says the same to the byte; each piece of news is said once, and checked when it leaves, so that nobody is told
of a lapse after paying. What a late run has missed is caught up: nobody is charged without an announcement two weeks
before, nor for a year of which most has passed.

| task | what it does | when it fails |
|---|---|---|
| `take_results` | takes the feeds that have come, books the billing system's answers, closes the fees of who has left | the landing folder or a database cannot be reached; clear it |
| `take_up` | takes up new subscriptions: their years count from the day on which they began | *month*: the form says one that is none. *The rules*: the message names line and field of the file |
| `announce` | writes down which years begin soon, and what they cost | *the rules*; otherwise clear it |
| `charge` | charges what was announced long enough ago, and waives what is free: the trial, exemptions | clear it |
| `write_file` | decides on the file for the billing system and writes it, with its control totals, into the outbox (`FATOURA_OUTBOX`) | a full disk, a folder without permission: mend it and clear it. *would say something else*: charges were changed by hand in the database; do not send the file, and ask who did |
| `renew` | books what could not be booked before, and lets lapse what is unpaid after its grace, as far as the billing system's answers are known | clear it |
| `plan` | plans each message with its final text, once | a text or a value does not fit its segments: the message names the charges |
| `send` | submits under the contract's rate, after bills, inside the sending window; waits without a worker. Cancels what holds no longer | *the provider refuses everything*: mend the connection `fatoura_sms` and clear it. Otherwise clear it |
| `settle` | waits without a worker until all receipts are in, or the horizon has passed | clear it |
| `report` | counts subscribers and charges, compares the books, writes the pages of the month and of the service | *do not agree*: the message names charges; `fatoura fees show` tells their history. *has not answered*: the message names files; ask the billing system for its answers, nothing is to be cleared |

What could not leave within five days is planned again by the next run, as long as it is still so; its charge waits
with it.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, chain, dag, task

from fatoura.settings import get_settings
from operations.defaults import DEFAULT_ARGS
from operations.fees import TakeUpSubscriptionsOperator
from operations.stages import WriteSubscriptionReportOperator
from sms_gateway.operators import SendNoticesOperator, SettleReceiptsOperator

CYCLE = "{{ ti.xcom_pull(task_ids='take_up', key='cycle') }}"
NEWS = "{{ ti.xcom_pull(task_ids='plan')['cycle'] }}"
MONTH = "{{ params.month }}"


@dag(
    # Without a start_date: else a new installation would at once make up for the month's run. Nor does it
    # in the first days of a month.
    schedule=CronTriggerTimetable(
        get_settings().fee_renewals_at, timezone=get_settings().timezone, run_immediately=timedelta()
    ),
    catchup=False,
    max_active_runs=4,
    params={
        "month": Param(
            "", type="string", title="Month", description="Such as 2026-07; empty: all that are due"
        ),
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="Tell what it would do; no more"
        ),
    },
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["subscriptions", "sms"],
)
def annual_fee_renewals():
    """Wire the steps of a month."""

    @task
    def take_results(run_id=None):
        from operations.fees import take_results

        return take_results(run_id=run_id)

    @task
    def announce(cycle, month, run_id=None):
        from fatoura.fees import renewing

        return renewing.announce(cycle, month=month, run_id=run_id)

    @task
    def charge(cycle, month, run_id=None):
        from fatoura.fees import renewing

        return renewing.charge(cycle, month=month, run_id=run_id)

    @task
    def write_file(cycle, run_id=None):
        from fatoura.fees import renewing

        return renewing.write_file(cycle, run_id=run_id)

    @task
    def renew(cycle, run_id=None):
        from fatoura.fees import renewing

        return renewing.renew(cycle, run_id=run_id)

    @task
    def plan(cycle, run_id=None):
        from operations.fees import plan_news

        return plan_news(cycle, run_id=run_id)

    send = SendNoticesOperator.partial(task_id="send", cycle=NEWS, pool="sms_gateway").expand(
        lane=list(range(1, get_settings().send_lanes + 1))
    )
    chain(
        take_results(),
        TakeUpSubscriptionsOperator(task_id="take_up", month=MONTH, dry_run="{{ params.dry_run }}"),
        announce(CYCLE, MONTH),
        charge(CYCLE, MONTH),
        write_file(CYCLE),
        renew(CYCLE),
        plan(CYCLE),
        send,
        SettleReceiptsOperator(task_id="settle", cycle=NEWS),
        WriteSubscriptionReportOperator(task_id="report", cycle=CYCLE),
    )


annual_fee_renewals()
