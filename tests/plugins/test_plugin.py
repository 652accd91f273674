"""What Airflow finds and registers: in the API server the pages, elsewhere nothing that costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.plugins.component import run_as_component

_REGISTERED = """
import json, sys
{before}
from airflow import plugins_manager
apps, _ = plugins_manager.get_fastapi_plugins()
views, react = plugins_manager._get_ui_plugins()
[fatoura] = [p for p in plugins_manager.get_plugin_info() if p["name"] == "fatoura"]
from airflow.api_fastapi.core_api.datamodels.plugins import PluginResponse
print(json.dumps({{
    "errors": plugins_manager.get_import_errors(),
    "apps": [[app["name"], app["url_prefix"], sorted(route.path for route in app["app"].routes)]
        for app in apps if app["name"].startswith("Fatoura")],
    "views": [view for view in views if "fatoura" in view["href"]],
    "links": sorted(type(link).__module__ + "." + type(link).__name__
        for link in plugins_manager.get_operator_extra_links() if "operations" in type(link).__module__),
    "info": PluginResponse.model_validate(fatoura).model_dump(mode="json"),
    "bare": sorted({{"alerts", "doubt_pages", "hooks", "links", "pages", "triggers", "operators"}}
        & set(sys.modules)),
}}, default=str))
"""

_LOADED = """
import sys
from airflow import plugins_manager
plugins_manager.ensure_plugins_loaded()
assert plugins_manager.get_import_errors() == {}
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the API server registers."""
    program = _REGISTERED.format(before="import airflow.api_fastapi.app")
    document: dict[str, Any] = json.loads(run_as_component(program, tmp_path_factory.mktemp("api")))
    return document


def test_it_is_found_without_errors_and_under_no_bare_names(registered):
    assert registered["errors"] == {}
    assert registered["bare"] == []
    assert registered["info"]["name"] == "fatoura"


def test_the_api_server_serves_its_pages(registered):
    [(name, prefix, routes)] = registered["apps"]
    assert (name, prefix) == ("Fatoura reports", "/fatoura")
    assert routes == [
        "/doubts",
        "/doubts",
        "/notices/{notice}",
        "/reports",
        "/reports/{path:path}",
        "/runs/{run_id}/report",
    ]


def test_the_ui_shows_menu_entries_and_a_tab_on_runs(registered):
    shown = {(view["destination"], view["href"]) for view in registered["views"]}
    assert shown == {
        ("nav", "/fatoura/reports"),
        ("nav", "/fatoura/doubts"),
        ("dag_run", "/fatoura/runs/{RUN_ID}/report"),
    }
    assert len({view["url_route"] for view in registered["views"]}) == 3


def test_the_links_of_tasks_are_known(registered):
    assert registered["links"] == ["operations.links.DataDocsLink", "operations.links.ReportLink"]


def test_a_worker_pays_for_no_web_framework_and_for_nothing_heavy(tmp_path):
    loaded = set(run_as_component(_LOADED, tmp_path).split())
    assert "fatoura_plugin" in loaded
    assert "operations.links" in loaded
    assert {"operations.pages", "great_expectations", "pandas", "matplotlib", "fatoura.sending.sender"} & (
        loaded
    ) == set()
