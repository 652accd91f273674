"""Stages of a cycle that leave a page behind: operators of their own, for the links on their tasks."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from fatoura import clock
from fatoura.cycles.keys import ExtractKey
from fatoura.errors import BadInput
from operations.links import DataDocsLink, ReportLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class ValidateExtractOperator(BaseOperator):
    """Run the quality gate over an extract: set bad rows aside, stop a bad batch.

    :param cycle: key of the cycle, or of a supplement to it. (templated)
    """

    template_fields: Sequence[str] = ("cycle",)
    operator_extra_links = (DataDocsLink(),)

    def __init__(self, *, cycle: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cycle = cycle

    def execute(self, context: Context) -> dict[str, Any]:
        """Validate, and return the counts."""
        from fatoura.quality import validate_extract  # seconds: Great Expectations

        outcome = validate_extract(ExtractKey.parse(self.cycle), run_id=context["run_id"])
        return {"rows": outcome.rows, "rejected": outcome.rejected}


class WriteReportOperator(BaseOperator):
    """Write the cycle's report, and insist that its ledger balances.

    :param cycle: key of the cycle, or of a supplement to it. (templated)
    """

    template_fields: Sequence[str] = ("cycle",)
    operator_extra_links = (ReportLink(),)

    def __init__(self, *, cycle: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cycle = cycle

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the report first, for it shows what is missing; then fail if anything is."""
        from fatoura.ledger import check_ledger
        from fatoura.reports import write_report  # seconds: the charts

        cycle = ExtractKey.parse(self.cycle).cycle
        write_report(cycle, run_id=context["run_id"])
        return check_ledger(cycle).as_json()


class WriteCutoffReportOperator(BaseOperator):
    """Write the page of a day's cut-off warnings, and insist that its figures agree.

    A day on which nothing was decided gets a page too, which says why.

    :param day: the local day, such as ``2026-06-29``; when left out, the one on which the task runs: a run
        that may last past its day has to say it. (templated)
    """

    template_fields: Sequence[str] = ("day",)
    operator_extra_links = (ReportLink(),)

    def __init__(self, *, day: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.day = day

    @property
    def cycle(self) -> str:
        """The key of the day's cycle, whether it is there or not: the page lies where it says."""
        return f"cutoff-{self._chosen()}"

    def execute(self, context: Context) -> str:
        """Write the page, which shows what is missing, and fail if anything is."""
        from fatoura.reports.cutoff import write_cutoff_day_report  # seconds: the charts

        day = self._chosen()
        write_cutoff_day_report(day, run_id=context["run_id"])
        return str(day)

    def _chosen(self) -> date:
        try:
            return date.fromisoformat(self.day) if self.day else clock.today()
        except ValueError:
            raise BadInput(f"{self.day!r} is no day: write it like 2026-06-29") from None


class WriteSubscriptionReportOperator(BaseOperator):
    """Write the pages of subscriptions and fees, insist that the books agree and the billing system answers.

    :param cycle: key of a cycle about subscriptions, such as ``subscription-news-2026-07-01``: the page of
        its month is written, and that of the whole service. (templated)
    """

    template_fields: Sequence[str] = ("cycle",)
    operator_extra_links = (ReportLink(),)

    def __init__(self, *, cycle: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cycle = cycle

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the pages, which show what does not agree, and fail if anything does not."""
        from fatoura.fees import renewing
        from fatoura.reports.subscriptions import write_subscription_reports  # seconds: the charts

        write_subscription_reports(date.fromisoformat(self.cycle[-10:]))
        return renewing.report(self.cycle, run_id=context["run_id"])
