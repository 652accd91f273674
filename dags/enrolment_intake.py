"""# Enrolment intake.

Takes the customers' register and batches of captured coupons, judges each coupon, begins and changes subscriptions
with a record of consent, plans a welcome message for each new number, and writes what needs a clerk into a file.

**Runs** every ten seconds (`FATOURA_ENROLMENT_POLL`), one at a time; a look that finds nothing to do ends with its
first task, which is then marked as skipped. Needs nobody. The welcome messages are sent by `welcome_messages`.

**What a rerun does.** Nothing twice: a batch is loaded once, by its name and what it says; coupons are judged from
what stands, in one transaction; a number is welcomed once; the files say what stands when they are written.

| task | what it does | when it fails |
|---|---|---|
| `take` | loads all complete feeds of customers, then all complete batches of coupons, from the landing folder. One that is refused stops no other | the landing folder or the database cannot be reached; the next look tries again |
| `judge` | takes up what became of earlier welcome messages, then judges all coupons that are new, told otherwise, or waiting | read the log; the next look does what is missing |
| `plan` | plans the welcome messages; asks for a run of `welcome_messages` when some can go out | a text does not fit its segments: the message names coupons |
| `write_lists` | writes `corrections` and `unreachable` for the clerks, as CSV and XLSX, below `var/enrolment` | a full disk, a folder without permission: mend it; the next look writes them |
| `check_taken` | fails for batches and feeds that were refused: once for each and for what is wrong with it | the message names batch, file, row and field: have it taken away, or a good one put into its place. Nothing is to be cleared: the next look takes it |

What clerks do with the files, and by which commands they decide, stands in `docs/enrolment.md`.
"""

from airflow.sdk import DeltaTriggerTimetable, dag, task
from pendulum import datetime

from fatoura.settings import get_settings
from operations.assets import subscribers_enrolled
from operations.defaults import DEFAULT_ARGS


@dag(
    schedule=DeltaTriggerTimetable(get_settings().enrolment_poll),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["subscriptions"],
)
def enrolment_intake():
    """Wire the five tasks."""

    @task
    def take(run_id=None):
        from operations.enrolment import take_what_landed

        return take_what_landed(run_id=run_id)

    @task
    def judge(run_id=None):
        from operations.enrolment import judge

        return judge(run_id=run_id)

    @task(outlets=[subscribers_enrolled])
    def plan(*, outlet_events, run_id=None):
        from fatoura.enrolment.intake import cycles_to_welcome
        from fatoura.enrolment.welcoming import plan_welcomes

        counts = plan_welcomes(run_id=run_id).counts
        outlet_events[subscribers_enrolled].add_partitions(cycles_to_welcome())
        return counts

    @task
    def write_lists():
        from fatoura.enrolment.lists import write_lists

        return write_lists().counts

    @task
    def check_taken(taken):
        from operations.enrolment import complain

        complain(taken["wrong"])

    taken = take()
    taken >> judge() >> plan() >> write_lists() >> check_taken(taken)


enrolment_intake()
