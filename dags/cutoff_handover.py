"""# Cut-off hand-over.

Gives the field teams their list of the morning: customers who were warned, whose day has come, and who owe
the bill still, each with the proof of notice; and takes back whom they need not go to any more. Nothing is
cut by this: people decide.

**Runs** every morning (`FATOURA_CUTOFF_HANDOVER_AT`, by default 07:30). Needs nobody.

**What a rerun does.** The list of the day takes up what has come since; each case stands on one list, and on
one list of calls back. A line that a team has is never taken away: who pays afterwards is called back.

| task | what it does | when it fails |
|---|---|---|
| `take_feeds` | takes the feeds that have come, concludes cases, takes up payments and facts, as `payment_feeds` does | the landing folder or a database cannot be reached; clear it |
| `call_back` | lists who was handed over and has paid, or is left out, since; writes the list as files | a full disk: make room and clear it |
| `hand_over` | checks each bill once more, hands over what stands, and writes the list as files | *nothing is handed over*: the payments of the named channels are not known up to this morning, or a feed of account facts is refused. Have what is missing delivered, and clear `take_feeds` and this task |
| `report` | writes the day's page | read the log: a full disk leaves the old page in place |

`hand_over` is skipped on days on which supply is not cut: Fridays, weekends, holidays, and the day before one.
"""

from airflow.sdk import CronTriggerTimetable, TriggerRule, dag, task
from pendulum import datetime

from fatoura.settings import get_settings
from operations.defaults import DEFAULT_ARGS
from operations.stages import WriteCutoffReportOperator


@dag(
    schedule=CronTriggerTimetable(get_settings().cutoff_handover_at, timezone=get_settings().timezone),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["cut-off"],
)
def cutoff_handover():
    """Wire the steps of a morning."""

    @task
    def take_feeds(run_id=None):
        from operations.cutoff import take_and_apply_feeds

        return take_and_apply_feeds(run_id=run_id)

    @task
    def call_back(run_id=None):
        from operations.cutoff import list_call_backs

        return list_call_backs(run_id=run_id)

    @task
    def hand_over(run_id=None):
        from operations.cutoff import hand_over_cases

        return hand_over_cases(run_id=run_id)

    report = WriteCutoffReportOperator(task_id="report", trigger_rule=TriggerRule.NONE_FAILED)
    take_feeds() >> [call_back(), hand_over()] >> report


cutoff_handover()
