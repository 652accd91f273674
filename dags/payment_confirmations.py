"""# Payment confirmations.

Tells customers who had been warned that their payment has arrived and supply is not cut: once for each case,
in the language of their choice. And tells subscribers what `payment_feeds` has found out between two monthly runs:
that the yearly fee was paid.

**Starts** by itself when `payment_feeds` has planned such messages and sending is open, or by hand from the
form:

| parameter | meaning |
|---|---|
| `cycle` | whose messages: `payment-received-2026-06-29`, `subscription-news-2026-06-29`; only for a start by hand |

**What a rerun does.** Nothing twice: messages are claimed before they are submitted. What a payment's
reversal has made wrong since is cancelled when it is claimed, and never leaves.

| task | what it does | when it fails |
|---|---|---|
| `take_up` | writes down that this run sends what is planned, so that no other run is asked for | clear it; there is no such cycle: the key in the form is wrong |
| `send` | submits under the contract's rate, inside the sending window, after what is urgent; waits without a worker | *the provider refuses everything*: mend the connection `fatoura_sms` and clear it. Otherwise clear it |
| `settle` | waits without a worker until all receipts are in, or the horizon has passed | clear it |

A message that could not leave within three days on which customers are written to is cancelled: by then it
tells nobody anything new.
"""

from airflow.sdk import Param, PartitionedAssetTimetable, chain, dag, task
from pendulum import datetime

from fatoura.settings import get_settings
from operations.assets import payments_received
from operations.defaults import DEFAULT_ARGS
from sms_gateway.operators import SendNoticesOperator, SettleReceiptsOperator

CYCLE = "{{ dag_run.partition_key or params.cycle }}"


@dag(
    schedule=PartitionedAssetTimetable(assets=payments_received),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=16,
    params={
        "cycle": Param("", type="string", title="Cycle", description="Such as payment-received-2026-06-29"),
    },
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["cut-off", "sms"],
)
def payment_confirmations():
    """Wire the three tasks."""

    @task
    def take_up(cycle, run_id=None):
        from fatoura.cutoff.confirming import take_up

        return take_up(cycle, run_id=run_id)

    send = SendNoticesOperator.partial(task_id="send", cycle=CYCLE, pool="sms_gateway").expand(
        lane=list(range(1, get_settings().send_lanes + 1))
    )
    chain(take_up(CYCLE), send, SettleReceiptsOperator(task_id="settle", cycle=CYCLE))


payment_confirmations()
