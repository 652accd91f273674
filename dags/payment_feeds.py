"""# Payment feeds.

Takes what other systems tell of payments, accounts, departures and yearly fees, and takes it up: who has paid is
warned no more, a warning that has not left yet is cancelled, who had been warned is told that the payment has
arrived, and a bounced cheque opens the case again; a fee that was paid renews its subscription, also one that had
lapsed.

**Runs** every five minutes (`FATOURA_FEED_POLL`), one at a time. Needs nobody.

**What a rerun does.** Nothing twice: a feed is loaded once, by its name and what it says; cases are weighed
again and stay as they are; answers about fees are booked once; a customer is told of a payment once.

| task | what it does | when it fails |
|---|---|---|
| `take` | loads all complete feeds of payments, account facts, departures and answers about fees: from the landing folder, payments also from the database whose connection is set up. A feed that is refused stops no other. Answers about fees are booked with it | the landing folder or the application's database cannot be reached; the next run tries again |
| `keep_fees` | ends the subscriptions of contracts that have ended, closes the fees of who has left, takes up who subscribed again, and plans what customers are to be told; also when `take` has failed | read the log; the next run does what is missing |
| `apply` | concludes the cases whose warnings have their final word, then takes up the feeds. Asks for a run of `payment_confirmations` when somebody is to be told and sending is open; also when `take` or `keep_fees` has failed | read the log; the next run does what is missing |
| `check_taken` | fails for feeds that were refused, and for a database that does not answer: once for each and for what is wrong with it; the next runs only log it. Meanwhile the watermarks of their channels stay where they are | the message names feed, file, row and field: have the feed taken away, or a good one put into its place. Nothing is to be cleared: the next run takes it |

How often feeds come decides how soon a customer who has paid is left alone: between two of them each message
is checked again when it leaves.
"""

from airflow.sdk import DeltaTriggerTimetable, TriggerRule, dag, task
from pendulum import datetime

from fatoura.settings import get_settings
from operations.assets import payments_received
from operations.defaults import DEFAULT_ARGS


@dag(
    schedule=DeltaTriggerTimetable(get_settings().feed_poll),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["cut-off"],
)
def payment_feeds():
    """Wire the four tasks."""

    @task
    def take(ti=None, run_id=None):
        from operations.cutoff import take_all_feeds

        return take_all_feeds(run_id=run_id, is_last_try=ti.try_number > ti.max_tries)

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def keep_fees(run_id=None):
        from operations.fees import keep_fees_up

        return keep_fees_up(run_id=run_id)

    @task(outlets=[payments_received], trigger_rule=TriggerRule.ALL_DONE)
    def apply(*, outlet_events, run_id=None):
        from fatoura.cutoff.confirming import cycles_to_confirm
        from operations.cutoff import apply_all_feeds

        counts = apply_all_feeds(run_id=run_id)
        outlet_events[payments_received].add_partitions(cycles_to_confirm())
        return counts

    @task
    def check_taken(taken):
        from operations.cutoff import complain

        complain(taken["wrong"])

    taken, kept, applied = take(), keep_fees(), apply()
    taken >> kept >> applied
    [kept, applied] >> check_taken(taken)


payment_feeds()
