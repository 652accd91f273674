"""# Welcome messages.

Sends the welcome messages of coupons, and takes up what became of them: a number that a message was delivered to is
proven; one that it could not be delivered to suspends the subscription, and is on the clerks' list.

**Starts** by itself when `enrolment_intake` has planned such messages and sending is open, or by hand from the form:

| parameter | meaning |
|---|---|
| `cycle` | whose messages: `welcome-2026-06-29`; only for a start by hand |

**What a rerun does.** Nothing twice: messages are claimed before they are submitted. Who has left or given another
number since is cancelled when the message is claimed.

| task | what it does | when it fails |
|---|---|---|
| `take_up` | writes down that this run sends what is planned, so that no other run is asked for | clear it; there is no such cycle: the key in the form is wrong |
| `send` | submits under the contract's rate, inside the sending window, after bills; waits without a worker | *the provider refuses everything*: mend the connection `fatoura_sms` and clear it. Otherwise clear it |
| `settle` | waits without a worker until all receipts are in, or the horizon has passed | clear it |
| `conclude` | marks numbers as proven, suspends subscriptions whose number does not work, writes the clerks' lists | a full disk, a folder without permission: mend it and clear it |

`enrolment_intake` concludes at each look what has its last word by then, and does not wait for this. A message that
could not leave within two weeks is cancelled, and planned anew.
"""

from airflow.sdk import Param, PartitionedAssetTimetable, chain, dag, task
from pendulum import datetime

from fatoura.settings import get_settings
from operations.assets import subscribers_enrolled
from operations.defaults import DEFAULT_ARGS
from sms_gateway.operators import SendNoticesOperator, SettleReceiptsOperator

CYCLE = "{{ dag_run.partition_key or params.cycle }}"


@dag(
    schedule=PartitionedAssetTimetable(assets=subscribers_enrolled),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=16,
    params={
        "cycle": Param("", type="string", title="Cycle", description="Such as welcome-2026-06-29"),
    },
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["subscriptions", "sms"],
)
def welcome_messages():
    """Wire the four tasks."""

    @task
    def take_up(cycle, run_id=None):
        from fatoura.sending.taking_up import take_up

        return take_up(cycle, run_id=run_id)

    @task
    def conclude(run_id=None):
        from operations.enrolment import conclude

        return conclude(run_id=run_id)

    send = SendNoticesOperator.partial(task_id="send", cycle=CYCLE, pool="sms_gateway").expand(
        lane=list(range(1, get_settings().send_lanes + 1))
    )
    chain(take_up(CYCLE), send, SettleReceiptsOperator(task_id="settle", cycle=CYCLE), conclude())


welcome_messages()
