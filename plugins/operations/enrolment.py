"""Steps of enrolment: what Airflow adds to them. The work is `fatoura.enrolment`'s."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath
from airflow.sdk.exceptions import AirflowSkipException

from fatoura.errors import NeedsAPerson
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

_TELLER = "enrolment_intake"


class BatchesRefused(NeedsAPerson):
    """Batches of coupons, or feeds of customers, were refused as a whole; all others are loaded."""


def take_what_landed(*, run_id: str | None) -> dict[str, Any]:
    """Take customers and coupons that have landed; return counts, and what is wrong by what it is about.

    :raises AirflowSkipException: when there is nothing to do at all: the run ends here.
    """
    from fatoura.enrolment.intake import take_customers_and_coupons, what_is_to_do

    landing = ObjectStoragePath(get_settings().landing)
    to_do = what_is_to_do(landing)
    if not to_do:
        raise AirflowSkipException("there is nothing to do")
    log.info("to do: %s", ", ".join(to_do))
    taken = take_customers_and_coupons(landing, run_id)
    return {
        "loaded": len(taken.loaded),
        "rows": sum(one.rows for one in taken.loaded),
        "set_aside": sum(one.counts.get("set_aside", 0) for one in taken.loaded),
        "wrong": {f"{one.content}/{one.feed}": " ".join(one.problems) for one in taken.refused},
    }


def judge(*, run_id: str | None) -> dict[str, Any]:
    """Take up what became of earlier messages, then judge what is new; return counts."""
    from fatoura.enrolment.judging import judge_coupons
    from fatoura.enrolment.welcoming import conclude_welcomes

    concluded = conclude_welcomes().counts
    counts = {**{what: count for what, count in concluded.items() if count}}
    counts |= judge_coupons(run_id=run_id).counts
    log.info("coupons: %s", ", ".join(f"{what} {count}" for what, count in counts.items()) or "nothing new")
    return counts


def conclude(*, run_id: str | None) -> dict[str, Any]:
    """Take up what became of the messages, and write the lists for clerks; return counts."""
    from fatoura.enrolment.lists import write_lists
    from fatoura.enrolment.welcoming import conclude_welcomes

    counts = conclude_welcomes().counts
    log.info("numbers: %s (%s)", ", ".join(f"{what} {count}" for what, count in counts.items()), run_id)
    return counts | write_lists().counts


def complain(wrong: Mapping[str, str]) -> None:
    """Fail for what was refused and nobody was told of yet; what was told before is logged.

    :raises BatchesRefused: names each.
    """
    from fatoura.feeds.complaints import new_complaints

    new = new_complaints(wrong, _TELLER)
    for about in wrong.keys() - new.keys():
        log.warning("%s is still refused, as was told before: %s", about, wrong[about])
    if new:
        told = "; ".join(f"{about}: {said}" for about, said in new.items())
        raise BatchesRefused(
            f"these are refused, all others are loaded: {told}. Have them taken away, or good ones put into "
            "their place; this is told once"
        )
