"""Airflow's REST API, as the stack and the demonstration use it: health, pools, runs, tasks, logs.

Logs in with the stack's own user. It knows no workflow of ours.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import requests

from fatoura.errors import FatouraError

_TIMEOUT = 30.0


class AirflowApiError(FatouraError):
    """Airflow's API refused a request or did not answer; says which."""


class AirflowApi:
    """A session with Airflow's API server.

    :param url: its address, such as ``http://127.0.0.1:8080``.
    :param user: a user of its login.
    """

    def __init__(self, url: str, user: str, password: str):
        self._url = url
        self._login = {"username": user, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the environment is not for loopback

    def heartbeats(self) -> dict[str, datetime | None] | None:
        """Return when each part of Airflow last gave a sign of life, in UTC; none while it does not answer.

        Parts are ``scheduler``, ``dag_processor`` and ``triggerer``; a part that never did has no time.
        """
        try:
            answer = self._session.get(f"{self._url}/api/v2/monitor/health", timeout=5)
            answer.raise_for_status()
            health = answer.json()
        except (requests.RequestException, ValueError):
            return None
        times: dict[str, datetime | None] = {}
        for part in ("scheduler", "dag_processor", "triggerer"):
            beat = (health.get(part) or {}).get(f"latest_{part}_heartbeat")
            times[part] = datetime.fromisoformat(beat) if beat else None
        return times

    def ensure_pool(self, name: str, slots: int, description: str) -> None:
        """Make a pool when it is not there; one that a person has changed stays as it is."""
        if not self._request("GET", f"/pools/{name}", accept={404}).get("name"):
            pool = {"name": name, "slots": slots, "description": description}
            self._request("POST", "/pools", json=pool)

    def import_errors(self) -> dict[str, str]:
        """Return the DAG files that Airflow could not import, each with its traceback."""
        found = self._request("GET", "/importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in found}

    def knows_dag(self, dag_id: str) -> bool:
        """Tell whether a DAG has been parsed and is known."""
        return bool(self._request("GET", f"/dags/{dag_id}", accept={404}).get("dag_id"))

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run by hand, as the UI's form does; return its id."""
        asked = {"logical_date": None, "conf": conf or {}}
        return str(self._request("POST", f"/dags/{dag_id}/dagRuns", json=asked)["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the runs of a DAG, the newest first."""
        answer = self._request("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": "-run_after"})
        found: list[dict[str, Any]] = answer["dag_runs"]
        return found

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return one run."""
        return self._request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        found: list[dict[str, Any]] = self._request(
            "GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"limit": 100}
        )["task_instances"]
        return found

    def log_lines(self, task: dict[str, Any]) -> list[str]:
        """Return the log of a task instance's last try, one text a line."""
        answer = self._request(
            "GET",
            f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
            f"/logs/{max(1, task['try_number'])}",
            params={"map_index": task["map_index"], "full_content": "true"},
        )
        return [line for entry in answer["content"] for line in _lines(entry)]

    def _request(
        self, method: str, path: str, *, accept: set[int] | frozenset[int] = frozenset(), **arguments: Any
    ) -> dict[str, Any]:
        address = f"{self._url}/api/v2{path}"
        try:
            if "Authorization" not in self._session.headers:
                self._log_in()
            answer = self._session.request(method, address, timeout=_TIMEOUT, **arguments)
            if answer.status_code == 401:  # the token's day is over
                self._log_in()
                answer = self._session.request(method, address, timeout=_TIMEOUT, **arguments)
        except requests.RequestException as error:
            reason = type(error).__name__
            raise AirflowApiError(f"Airflow's API does not answer ({method} {path}): {reason}") from None
        if not answer.ok and answer.status_code not in accept:
            reason = f"{answer.status_code} {answer.text[:300]}"
            raise AirflowApiError(f"Airflow's API refused {method} {path}: {reason}")
        body: dict[str, Any] = answer.json() if answer.content else {}
        return body

    def _log_in(self) -> None:
        answer = self._session.post(f"{self._url}/auth/token", json=self._login, timeout=_TIMEOUT)
        if answer.status_code != 201:
            raise AirflowApiError(
                f"Airflow refused the login of {self._login['username']}: {answer.status_code}"
            )
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _lines(entry: Any) -> list[str]:
    """Read one entry of a structured log: its text, and the exception that it carries."""
    if isinstance(entry, str):
        return entry.splitlines()
    lines = str(entry.get("event", "")).splitlines()
    for error in entry.get("error_detail") or ():
        frames = error.get("frames") or []
        # Of a library's frames only the last one tells something.
        for frame in [one for one in frames if "site-packages" not in one["filename"]] or frames[-1:]:
            lines.append(f"  {frame['filename']}:{frame['lineno']} in {frame['name']}")
        lines.append(f"{error.get('exc_type')}: {error.get('exc_value')}")
    level = str(entry.get("level") or "").upper()
    return [f"{level} {line}" if level in ("WARNING", "ERROR", "CRITICAL") else line for line in lines]
