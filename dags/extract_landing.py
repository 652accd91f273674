"""# Extract landing.

Looks at the landing folder and starts a `billing_cycle` run for each complete extract that has arrived: a
folder `billing/<cycle>/` (or `billing/<cycle>/supplement-<n>/`) in which `manifest.json`, which is written
last, is there.

**Runs** every half minute (`FATOURA_LANDING_POLL`), one at a time. Needs nobody.

**What a rerun does.** Nothing twice: what was announced is remembered in the table `announcement`, by key
and by the manifest's checksum. A manifest that was changed is announced again, and its run decides whether
it may replace the first one.

| task | what it does | when it fails |
|---|---|---|
| `look` | finds new manifests, and starts a run for each by an asset event with the cycle as partition key | the landing folder or the database cannot be reached; the next run in half a minute tries again |
| `remember` | writes down what was announced | the run that was started writes it down as well; nothing to do |

A manifest that cannot be read still starts a run: the run's `extract` task says what is wrong with it.
"""

from datetime import timedelta

from airflow.sdk import DeltaTriggerTimetable, ObjectStoragePath, dag, task
from pendulum import datetime

from fatoura.settings import get_settings
from operations.assets import billing_extract
from operations.defaults import DEFAULT_ARGS


@dag(
    schedule=DeltaTriggerTimetable(get_settings().landing_poll),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"retry_delay": timedelta(seconds=5)},
    doc_md=__doc__,
    tags=["billing"],
)
def extract_landing():
    """Wire the two tasks."""

    @task(outlets=[billing_extract])
    def look(*, outlet_events):
        from fatoura.extracts.landing import find_unannounced

        found = find_unannounced(ObjectStoragePath(get_settings().landing))
        if found:
            outlet_events[billing_extract].add_partitions([one.partition_key for one in found])
        return [list(one) for one in found]

    @task
    def remember(announcements):
        from fatoura.extracts.landing import remember_announced

        remember_announced(announcements)

    remember(look())


extract_landing()
