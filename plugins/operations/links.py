"""Buttons on tasks in the UI that lead to what the task wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink, conf

from fatoura.cycles.keys import ExtractKey, report_place
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

URL_PREFIX = "/fatoura"
"""Where the plugin's own pages lie, below Airflow's address."""


def report_address(path: Path) -> str:
    """Return the address in the UI of a file below the reports folder."""
    below = path.resolve().relative_to(get_settings().reports.resolve())
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}{URL_PREFIX}/reports/{quote(below.as_posix())}"


class ReportLink(BaseOperatorLink):
    """Leads to the cycle's report, or the day's."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the report's address."""
        del ti_key
        return report_address(get_settings().reports / report_place(operator.cycle) / "report.html")


class DataDocsLink(BaseOperatorLink):
    """Leads to what the quality gate found, rule by rule."""

    name = "Data Docs"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the Data Docs' address."""
        from fatoura.quality import data_docs_page

        del ti_key
        return report_address(data_docs_page(ExtractKey.parse(operator.cycle)))
