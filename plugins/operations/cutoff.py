"""Steps of the feeds' and the cut-off workflows: what Airflow adds to them. The work is `fatoura`'s."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, ObjectStoragePath
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped

from fatoura.errors import NeedsAPerson, NotReady
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from fatoura.cutoff.lists import ListMade
    from fatoura.feeds import FeedsTaken

log = logging.getLogger(__name__)


class FeedsMissing(NeedsAPerson):
    """Feeds were refused, or a place that has some does not answer; all others are loaded."""


def take_all_feeds(*, run_id: str | None, is_last_try: bool = True) -> dict[str, Any]:
    """Take the feeds that have come: from the landing folder, and from the databases that are connected.

    :param is_last_try: no other try follows in which a place might answer that does not answer now.
    :returns: counts, and what is wrong, a sentence by what it is about.
    :raises NotReady: when a place does not answer, and it can be tried again.
    """
    from fatoura.feeds import take_feeds
    from operations.sources import payment_sources

    taken = take_feeds(ObjectStoragePath(get_settings().landing), run_id=run_id, sources=payment_sources())
    if taken.unreachable and not is_last_try:
        raise NotReady("; ".join(f"{name}: {why}" for name, why in taken.unreachable.items()))
    return {
        "loaded": len(taken.loaded),
        "already_loaded": taken.already_loaded,
        "rows": sum(one.rows for one in taken.loaded),
        "wrong": _wrong(taken),
    }


def _wrong(taken: FeedsTaken) -> dict[str, str]:
    refused = {f"{one.content}/{one.feed}": " ".join(one.problems) for one in taken.refused}
    return refused | {name: f"does not answer: {why}" for name, why in taken.unreachable.items()}


def apply_all_feeds(*, run_id: str | None) -> dict[str, Any]:
    """Conclude the cases whose warnings have their final word, then take up what feeds have told."""
    from fatoura.cutoff.feeds import apply_feeds
    from fatoura.cutoff.settling import conclude_cases

    concluded = conclude_cases(run_id=run_id).counts
    return {**{f"concluded {state}": count for state, count in concluded.items()}} | apply_feeds(
        run_id=run_id
    ).counts


def take_and_apply_feeds(*, run_id: str | None) -> dict[str, Any]:
    """Take the feeds that have come, and take them up. What is wrong with one is logged and stops nothing."""
    taken = take_all_feeds(run_id=run_id)
    for about, said in taken.pop("wrong").items():
        log.warning("%s: %s", about, said)
    return taken | apply_all_feeds(run_id=run_id)


def complain(wrong: Mapping[str, str]) -> None:
    """Fail for what is wrong with feeds and nobody was told of yet; what was told before is logged.

    :raises FeedsMissing: names each.
    """
    from fatoura.feeds.complaints import new_complaints

    new = new_complaints(wrong)
    for about in wrong.keys() - new.keys():
        log.warning("%s is still wrong, as was told before: %s", about, wrong[about])
    if new:
        told = "; ".join(f"{about}: {said}" for about, said in new.items())
        raise FeedsMissing(
            f"what these feeds say is not known, all others are loaded: {told}. Have them taken away, or "
            "good ones put into their place; this is told once, and watermarks stay where they are until then"
        )


def insist_on_fresh_feeds() -> None:
    """Let nobody be warned while payments are not known up to now.

    :raises FeedStale: names each channel; the run ends here.
    :raises AirflowSkipException: when nobody would be written to anyhow: a missing feed is no alarm then.
    """
    from fatoura.cutoff.deciding import why_idle
    from fatoura.cutoff.freshness import check_freshness

    if why := why_idle():
        raise AirflowSkipException(why)
    check_freshness()


def list_letters(*, run_id: str | None) -> dict[str, Any]:
    """List those whom no message could tell; return counts.

    :raises FeedStale: when the payments of a channel are not known up to now.
    """
    from fatoura.cutoff import lists

    return _written(lists.list_letters(run_id=run_id))


def list_call_backs(*, run_id: str | None) -> dict[str, Any]:
    """List from whom the teams are to be called back; return counts."""
    from fatoura.cutoff import lists

    return _written(lists.list_call_backs(run_id=run_id))


def hand_over_cases(*, run_id: str | None) -> dict[str, Any]:
    """Hand over what stands this morning; return counts.

    :raises FeedStale: when the payments are not known up to this morning.
    :raises AirflowSkipException: when nothing could be handed over anyhow: a missing feed is no alarm then.
    """
    from fatoura.cutoff import lists

    if why := lists.why_no_hand_over():
        raise AirflowSkipException(why)
    return _written(lists.hand_over(run_id=run_id))


def _written(made: ListMade) -> dict[str, Any]:
    """Write a list as files; return its counts."""
    counts = {"added": made.added, "lines": made.lines, "closed": made.closed}
    if made.list_id is None:
        log.info("there is nobody to list")
        return counts
    from fatoura.cutoff.list_files import write_list_files

    files = write_list_files(made.kind, made.day)
    log.info("%d lines, of which %d are new, in %s", files.lines, made.added, files.workbook)
    return counts


class DecideDayOperator(BaseOperator):
    """Decide whom a message goes to today.

    The key of the day's cycle and the day go to XCom as ``cycle`` and ``day``, the counts as what it returns.

    :param dry_run: ``True`` tells what would be decided now, leaves everything as it is, and ends the run
        here. (templated)
    """

    template_fields: Sequence[str] = ("dry_run",)

    def __init__(self, *, dry_run: str | bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dry_run = dry_run

    def execute(self, context: Context) -> dict[str, Any]:
        """Decide, or tell what would be decided."""
        from fatoura.cutoff.deciding import decide_day, preview_day

        if str(self.dry_run).lower() != "true":
            decided = decide_day(run_id=context["run_id"])
            context["ti"].xcom_push(key="cycle", value=decided.cycle)
            context["ti"].xcom_push(key="day", value=str(decided.day))
            return decided.counts
        counts = preview_day().counts
        for what, count in counts.items():
            self.log.info("dry run, nothing is kept: %s %s", what, count)
        context["ti"].xcom_push(key="return_value", value=counts)
        raise DownstreamTasksSkipped(tasks=sorted(self.downstream_task_ids))
