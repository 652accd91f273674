"""Registers what Fatoura adds to Airflow, and does nothing else: every component executes this file."""

from airflow.plugins_manager import AirflowPlugin

from operations.deadlines import RunBegan
from operations.links import URL_PREFIX, DataDocsLink, ReportLink


def _pages() -> list[dict[str, object]]:
    # The API server alone serves pages; the others must not pay for a web framework.
    import sys

    if "airflow.api_fastapi.app" not in sys.modules:
        return []
    from operations.pages import create_app

    return [{"app": create_app(), "url_prefix": URL_PREFIX, "name": "Fatoura reports"}]


class FatouraPlugin(AirflowPlugin):
    """Pages, tabs and buttons in the UI."""

    name = "fatoura"
    fastapi_apps = _pages()
    external_views = [  # noqa: RUF012 -- Airflow's own way
        {
            "name": "Billing reports",
            "href": f"{URL_PREFIX}/reports",
            "destination": "nav",
            "category": "browse",
            "url_route": "billing-reports",
        },
        {
            "name": "Messages in doubt",
            "href": f"{URL_PREFIX}/doubts",
            "destination": "nav",
            "category": "browse",
            "url_route": "messages-in-doubt",
        },
        {
            "name": "Report",
            "href": f"{URL_PREFIX}/runs/{{RUN_ID}}/report",
            "destination": "dag_run",
            "url_route": "billing-report",
        },
    ]
    operator_extra_links = [DataDocsLink(), ReportLink()]  # noqa: RUF012
    deadline_references = [RunBegan]  # noqa: RUF012
