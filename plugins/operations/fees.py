"""Steps of the yearly fee's workflows: what Airflow adds to them. The work is `fatoura.fees`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import DownstreamTasksSkipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

log = logging.getLogger(__name__)


def take_results(*, run_id: str | None) -> dict[str, Any]:
    """Take the feeds that have come, answers of the billing system among them, and keep fees up with them.

    What is wrong with a feed is logged and stops nothing: `payment_feeds` tells of it.
    """
    from operations.cutoff import take_all_feeds

    taken = take_all_feeds(run_id=run_id)
    for about, said in taken.pop("wrong").items():
        log.warning("%s: %s", about, said)
    return taken | keep_fees_up(run_id=run_id)


def keep_fees_up(*, run_id: str | None) -> dict[str, Any]:
    """Close what has ended, book what waits, plan what customers are to be told; return counts."""
    from fatoura.fees.keeping import keep_up

    return keep_up(run_id=run_id).counts


def plan_news(cycle: str, *, run_id: str | None) -> dict[str, Any]:
    """Plan what customers are to be told, and note that this run sends it; return counts and the cycle."""
    from fatoura.cutoff.confirming import take_up
    from fatoura.fees.renewing import plan

    counts = plan(cycle, run_id=run_id)
    take_up(counts["cycle"], run_id=run_id)
    return counts


class TakeUpSubscriptionsOperator(BaseOperator):
    """Take up subscriptions that fees do not know yet; the first step of the monthly run.

    The key of the cycle that today's news is in goes to XCom as ``cycle``, the counts as what it returns.

    :param month: such as ``2026-07``: in a trial run, only years that begin in it. (templated)
    :param dry_run: ``True`` tells what the run would do now, leaves everything as it is, and ends the run
        here. (templated)
    """

    template_fields: Sequence[str] = ("month", "dry_run")

    def __init__(self, *, month: str = "", dry_run: str | bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.month = month
        self.dry_run = dry_run

    def execute(self, context: Context) -> dict[str, Any]:
        """Take up, or tell what would be done."""
        from fatoura.fees.renewing import begin_run, preview
        from fatoura.fees.years import month_of

        month_of(self.month)  # a wrong one is told before anything is done
        if str(self.dry_run).lower() != "true":
            cycle, counts = begin_run(run_id=context["run_id"])
            context["ti"].xcom_push(key="cycle", value=cycle)
            return counts
        counts = preview(month=self.month)
        for what, count in counts.items():
            self.log.info("dry run, nothing is kept: %s %s", what, count)
        context["ti"].xcom_push(key="return_value", value=counts)
        raise DownstreamTasksSkipped(tasks=sorted(self.downstream_task_ids))
