"""# Report refresh.

Writes the reports of cycles again whose messages moved after their last report: receipts come late, some
after days, and a report must not keep saying "unconfirmed" of what was delivered. So are the pages of
cut-off warnings, by day and by cycle, whose cases moved, and those of subscriptions, by month and of the
whole service. Once a day it writes down how many subscribers there are, by state, channel, language and
district: how things stood on a day nobody can tell later.

**Runs** every quarter of an hour, one at a time. Also asks providers that do not report by themselves, for
messages of cycles whose wait is over, and matches parked receipts again. Needs nobody.

**What a rerun does.** Writes the same pages again.

| task | what it does | when it fails |
|---|---|---|
| `match_late_receipts` | asks providers that do not report by themselves; matches receipts that waited for their notice to be known | the database is away; the next run tries again. A provider that is silent fails nothing: the log names it |
| `refresh` | writes each stale report | read the log: a full disk leaves the old report in place |
| `refresh_cutoff` | writes each stale page of cut-off warnings | the same; *a case is in no state, or in two*: a defect, tell the developers; the page shows which |
| `refresh_subscriptions` | counts the day's subscribers, once; writes each stale page of subscriptions and fees | the same; *do not agree*: figures of fees and the journal differ, the page says where; `fatoura fees balance` and `fatoura fees show` tell more |
"""

from airflow.sdk import CronTriggerTimetable, dag, task
from pendulum import datetime

from fatoura.settings import get_settings
from operations.defaults import DEFAULT_ARGS


@dag(
    schedule=CronTriggerTimetable("*/15 * * * *", timezone=get_settings().timezone),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["reports"],
)
def report_refresh():
    """Wire the four tasks."""

    @task
    def match_late_receipts():
        from sms_gateway.late_receipts import take_late_receipts

        return take_late_receipts()

    @task
    def refresh(run_id=None):
        from fatoura.reports import stale_reports, write_report

        return [str(write_report(cycle, run_id=run_id).name) for cycle in stale_reports()]

    @task
    def refresh_cutoff(run_id=None):
        from fatoura.reports.cutoff import refresh_cutoff_reports

        pages = refresh_cutoff_reports(run_id=run_id)
        return [*map(str, pages.days), *pages.cycles]

    @task
    def refresh_subscriptions():
        from fatoura.reports.subscriptions import refresh_subscription_reports

        return refresh_subscription_reports().names

    match_late_receipts() >> [refresh(), refresh_cutoff(), refresh_subscriptions()]


report_refresh()
