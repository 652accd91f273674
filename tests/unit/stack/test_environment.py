"""The stack's environment: loopback only, secrets in files of their owner, nothing of other stacks."""

from __future__ import annotations

import json
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from fatoura.settings import Settings
from fatoura.stack.environment import MARK, StackEnvironment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(tmp_path: Path) -> StackEnvironment:
    return StackEnvironment(
        Settings(var=tmp_path / "var", airflow_port=18080, gateway_port=18013, parallelism=3)
    )


def test_airflow_listens_on_loopback_and_runs_a_few_tasks_at_a_time(environment: StackEnvironment) -> None:
    variables = environment.variables()
    assert variables["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert variables["AIRFLOW__API__PORT"] == "18080"
    assert variables["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18080/execution/"
    assert variables["AIRFLOW__CORE__PARALLELISM"] == "3"
    assert variables["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"


def test_both_database_urls_lead_over_the_same_socket(environment: StackEnvironment) -> None:
    variables = environment.variables()
    socket = environment.postgres.socket
    assert variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].endswith(f"@/airflow?host={socket}")
    assert variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"].endswith(f"@/airflow?host={socket}")
    assert variables["FATOURA_VAR"] == str(environment.settings.var)


def test_secrets_lie_in_files_that_only_their_owner_reads(environment: StackEnvironment) -> None:
    environment.variables()
    files = list(environment.keys.folder.iterdir())
    assert len(files) == 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(environment.keys.folder.stat().st_mode) == 0o700


def test_secrets_stay_the_same_once_made(environment: StackEnvironment) -> None:
    again = StackEnvironment(environment.settings)
    assert again.variables() == environment.variables()
    assert again.keys.admin_password == environment.keys.admin_password


def test_two_stacks_differ_in_mark_and_secrets(tmp_path: Path, environment: StackEnvironment) -> None:
    other = StackEnvironment(Settings(var=tmp_path / "other"))
    assert other.mark != environment.mark
    assert other.keys.admin_password != environment.keys.admin_password


def test_the_sms_connection_leads_to_the_sandbox(environment: StackEnvironment) -> None:
    connection = json.loads(environment.variables()["AIRFLOW_CONN_FATOURA_SMS"])
    assert (connection["host"], connection["port"]) == ("127.0.0.1", 18013)
    assert connection["password"] == environment.keys.gateway_password
    assert connection["extra"] == {"provider": "kannel", "longest_segments": 10}


def test_a_persons_own_connection_wins(
    environment: StackEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FATOURA_SMS", "http://real.example")
    assert environment.variables()["AIRFLOW_CONN_FATOURA_SMS"] == "http://real.example"


def test_a_demonstration_takes_nothing_of_the_callers_environment(
    environment: StackEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FATOURA_SMS", "http://real.example")
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_HOST", "mail.example")
    monkeypatch.setenv("FATOURA_DATABASE_URL", "postgresql://real.example/fatoura")
    isolated = StackEnvironment(environment.settings, isolated=True).complete()
    assert "example" not in json.dumps(isolated)


def test_settings_of_the_stack_reach_its_processes(tmp_path: Path) -> None:
    settings = Settings(var=tmp_path / "var", now="+3600", settle_poll=2, segments_per_second=7)
    variables = StackEnvironment(settings).variables()
    assert variables["FATOURA_NOW"] == "+3600"
    assert variables["FATOURA_SETTLE_POLL"] == "PT2S"
    assert variables["FATOURA_SEGMENTS_PER_SECOND"] == "7.0"


def test_a_shell_reads_secrets_from_their_files(environment: StackEnvironment) -> None:
    lines = environment.as_shell()
    keys = environment.keys
    for secret in (keys.fernet_key, keys.jwt_secret, keys.secret_key, keys.gateway_password):
        assert secret not in lines
    assert MARK + "=" not in lines
    script = f'{lines}\nprintf "%s|%s" "$AIRFLOW__API_AUTH__JWT_SECRET" "$AIRFLOW_CONN_FATOURA_SMS"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={})
    jwt, _, connection = done.stdout.partition("|")
    assert jwt == keys.jwt_secret
    assert json.loads(connection)["password"] == keys.gateway_password
