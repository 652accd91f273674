"""# Retention.

Erases what is kept no longer: texts and numbers of messages, of subscriptions that have ended, of coupons, of
statements and receipts; rows that broke a rule, word by word; staged rows; files for clerks; logs of tasks. Counts,
states, amounts and the record of consent stay: ledgers, reports and statements say the same afterwards.

**Runs** every night (`FATOURA_RETENTION_AT`), one at a time, and by hand. Needs nobody. How long each kind of thing is
kept, the settings `FATOURA_KEEP_…` say; `docs/privacy.md` says by which law.

**What a rerun does.** Goes on where the last one ended: what is gone is gone, in batches that are each committed.

| task | what it does | when it fails |
|---|---|---|
| `erase` | empties columns of rows that are older than their period, and drops the staged rows of extracts that are done with | the database is away: the next run goes on. Nothing else waits for it |
| `remove_files` | removes files for clerks, landed batches of coupons and departures, lists, and logs of tasks; whatever becomes of `erase` | a file that may not be removed: the message names the folder; give it to the service's account |

**What Airflow itself keeps** it does not touch: runs, returned counts and rendered fields in its metadata. No number and
no text is among them, but names of people who approved or refused. Purge it by hand, or by cron, where the scheduler
runs: `airflow db clean --clean-before-timestamp "$(date -d '-90 days' +%F)" --skip-archive --yes`.
"""

from airflow.sdk import CronTriggerTimetable, dag, task
from pendulum import datetime

from fatoura.settings import get_settings
from operations.defaults import DEFAULT_ARGS


@dag(
    schedule=CronTriggerTimetable(get_settings().retention_at, timezone=get_settings().timezone),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["privacy"],
)
def retention():
    """Wire the two tasks."""

    @task
    def erase():
        from fatoura.privacy.retention import erase_due

        return erase_due()

    @task
    def remove_files():
        from operations.privacy import remove_files_due

        return remove_files_due()

    erase()
    remove_files()


retention()
