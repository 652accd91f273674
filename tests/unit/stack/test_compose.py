"""docker-compose.yaml, the Dockerfile and the entrypoint keep what they promise.

The file is what Docker Compose accepts; there is no default password, nothing is published but on loopback,
nothing of ours runs as root, everything is watched. That its commands work is shown in tests/e2e.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from fatoura.database.embedded import _CONFIGURATION
from fatoura.settings import Settings
from fatoura.stack.environment import StackEnvironment
from tests.composition import ROOT, Composition, Service, VariableMissing

if TYPE_CHECKING:
    from pathlib import Path

COMPOSITION = Composition(
    {"FATOURA_RECEIVER_URL": "https://receipts.example", "FATOURA_SITE_URL": "https://sms.example"}
)
COMPOSE: dict[str, Any] = COMPOSITION.document
SERVICES: dict[str, Service] = COMPOSITION.services
OURS = [name for name, service in SERVICES.items() if service.ours]
ONE_SHOT = "migrations"

ENTRYPOINT = ROOT / "docker" / "entrypoint"
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
INSTRUCTIONS = [line.split(None, 1) for line in DOCKERFILE.splitlines() if re.match(r"[A-Z]+ ", line)]
COPIED = [
    source
    for word, argument in INSTRUCTIONS
    if word == "COPY"
    for source in argument.split()[:-1]
    if not source.startswith("--")
]


def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads((ROOT / "tests" / "compose_spec" / "compose-spec.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def test_the_file_is_what_docker_compose_accepts() -> None:
    assert [f"{error.json_path}: {error.message}" for error in validator().iter_errors(COMPOSE)] == []
    # Docker Compose checks it before variables are filled in, too.
    assert validator().is_valid(yaml.safe_load(COMPOSITION.text))


@pytest.mark.parametrize(
    "mistake",
    [
        {"healthchek": {"test": "true"}},
        {"ports": {"8080": "8080"}},
        {"restart": True},
        {"depends_on": {"postgres": {"condition": "service_started_well"}}},
    ],
)
def test_the_schema_notices_mistakes(mistake: dict[str, Any]) -> None:
    services = {**COMPOSE["services"], "api-server": {**COMPOSE["services"]["api-server"], **mistake}}
    assert not validator().is_valid({**COMPOSE, "services": services})


def test_what_services_name_is_declared() -> None:
    for service in SERVICES.values():
        assert set(service.secrets) <= set(COMPOSE["secrets"]), service.name
        assert set(service.definition.get("depends_on", ())) <= set(SERVICES), service.name
        for volume in service.definition.get("volumes", ()):
            source = volume.split(":")[0] if isinstance(volume, str) else volume.get("source", "")
            assert source.startswith((".", "/")) or source in COMPOSE["volumes"], (service.name, source)
        for config in service.definition.get("configs", ()):
            source = config if isinstance(config, str) else config["source"]
            assert source in COMPOSE["configs"], service.name


def test_it_has_each_part_of_the_production_shape() -> None:
    parts = {"postgres", "redis", ONE_SHOT, "api-server", "scheduler", "dag-processor", "triggerer", "worker"}
    assert parts | {"receiver", "site"} <= set(SERVICES)
    assert not [name for name in (*parts, "receiver", "site") if SERVICES[name].profiles]
    assert SERVICES["postgres"].definition["image"] == "postgres:18"
    assert SERVICES["worker"].environment["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    # A fixed name or port would keep a second worker from starting.
    assert not {"container_name", "hostname", "ports"} & set(SERVICES["worker"].definition)


def test_where_receipts_arrive_must_be_said() -> None:
    with pytest.raises(VariableMissing, match=r"FATOURA_RECEIVER_URL: say in \.env"):
        _ = Composition().document


def test_where_customers_find_the_site_must_be_said() -> None:
    with pytest.raises(VariableMissing, match=r"FATOURA_SITE_URL: say in \.env"):
        _ = Composition({"FATOURA_RECEIVER_URL": "https://receipts.example"}).document


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_watched_and_starts_again(name: str) -> None:
    service = SERVICES[name]
    if name == ONE_SHOT:
        assert service.definition["restart"] == "no"
        return
    assert service.health_check
    assert service.definition["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].definition.get("ports", ()):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_named_with_a_version(name: str) -> None:
    assert SERVICES[name].ours or re.search(r":v?\d", SERVICES[name].definition["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_no_password_stands_in_the_environment(name: str) -> None:
    for variable, value in SERVICES[name].environment.items():
        if re.search("PASSWORD|SECRET|KEY|TOKEN|CONN", variable):
            named = ("/run/secrets", "/tmp/", "airflow.secrets.", '{"connections_file_path": "/run/secrets/')
            assert value.startswith(named), variable


@pytest.mark.parametrize("name", COMPOSE["secrets"])
def test_each_secret_is_a_file_that_the_header_tells_how_to_make(name: str) -> None:
    declared = yaml.safe_load(COMPOSITION.text)["secrets"][name]
    assert declared == {"file": f"${{FATOURA_SECRETS:-./secrets}}/{name}"}
    assert name in COMPOSITION.text.partition("\nname:")[0]


@pytest.mark.parametrize("name", OURS)
def test_nothing_of_ours_runs_as_root_or_can_become_it(name: str) -> None:
    definition = SERVICES[name].definition
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert not {"user", "privileged", "cap_add"} & set(definition)


def test_redis_runs_as_the_user_that_owns_the_secrets() -> None:
    # Its image leaves root only when the command is redis-server itself.
    assert SERVICES["redis"].command[0] != "redis-server"
    assert SERVICES["redis"].definition["user"] == "50000"
    assert "sudo chown 50000" in COMPOSITION.text


def test_the_database_counts_as_healthy_only_when_it_answers_over_the_network() -> None:
    assert "--host" in " ".join(SERVICES["postgres"].health_check)


def test_the_entrypoint_reads_only_secrets_that_are_declared() -> None:
    read = set(re.findall(r"[(&] ?secret (\w+)", ENTRYPOINT.read_text()))
    assert read
    assert read - set(COMPOSE["secrets"]) == set()


def test_the_receiver_gets_nothing_of_airflow() -> None:
    assert set(SERVICES["receiver"].secrets) == {"postgres_password", "receipt_secret"}


def test_the_site_gets_the_provider_s_connection_and_nothing_of_airflow_or_of_files() -> None:
    site = SERVICES["site"]
    assert set(site.secrets) == {"postgres_password", "receipt_secret", "site_key", "site_connections.json"}
    assert site.definition["volumes"] == []
    assert site.environment["FATOURA_SMS_CONNECTIONS_FILE"] == "/run/secrets/site_connections.json"
    assert site.environment["FATOURA_SITE_URL"].startswith("https://")
    assert site.environment["FATOURA_SITE_PROXIES"] == site.environment["FORWARDED_ALLOW_IPS"]


def test_everything_waits_for_the_migrations() -> None:
    for name in OURS:
        if name != ONE_SHOT:
            condition = SERVICES[name].definition["depends_on"][ONE_SHOT]["condition"]
            assert condition == "service_completed_successfully"


def test_the_database_has_the_memory_and_the_log_with_which_speed_is_measured() -> None:
    given = dict(re.findall(r"-c (\w+)=(\S+)", " ".join(SERVICES["postgres"].command)))
    names = [name for name in _CONFIGURATION if "mem" in name or "buffers" in name or "wal" in name]
    assert {name: given.get(name) for name in names} == {name: _CONFIGURATION[name] for name in names}


def test_defaults_that_stand_here_are_those_of_the_settings() -> None:
    environment = SERVICES["worker"].environment
    for name in ("send_slots", "urgent_slots"):
        assert environment[f"FATOURA_{name.upper()}"] == str(Settings.model_fields[name].default)
    unknown = [
        name
        for name in environment
        if name.startswith("FATOURA_") and name.removeprefix("FATOURA_").lower() not in Settings.model_fields
    ]
    assert unknown == ["FATOURA_SECRETS_FOLDER", "FATOURA_POSTGRES", "FATOURA_REDIS"]
    assert [name for name in unknown if name not in ENTRYPOINT.read_text()] == []


# The image


def test_tasks_of_what_died_are_noticed_as_soon_here_as_in_the_local_stack(tmp_path: Path) -> None:
    local = StackEnvironment(Settings(var=tmp_path), isolated=True).variables()
    here = SERVICES["scheduler"].environment
    for name in ("TASK_INSTANCE_HEARTBEAT_TIMEOUT", "ORPHANED_TASKS_CHECK_INTERVAL"):
        variable = f"AIRFLOW__SCHEDULER__{name}"
        assert here[variable] == local[variable]
        assert int(here[variable]) <= 60


def test_the_image_ends_as_a_user_that_is_not_root() -> None:
    users = [argument for word, argument in INSTRUCTIONS if word == "USER"]
    # By number: only so can it be checked from outside that it is not root.
    assert users[-1] == "50000"
    assert "--uid 50000" in DOCKERFILE
    assert INSTRUCTIONS[-1] == ["ENTRYPOINT", '["entrypoint"]']


def test_no_secret_can_get_into_the_image() -> None:
    assert not [word for word, _ in INSTRUCTIONS if word in ("ARG", "ADD")]
    for word, argument in INSTRUCTIONS:
        if word == "ENV":
            assert not re.search("PASSWORD|SECRET|KEY|TOKEN|CONN", argument)
    # Only what is named goes to the builder, and nothing that is copied takes the whole folder.
    allowed = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split()]
    assert (allowed[0], allowed[-1]) == ("*", "**/__pycache__")
    assert not [line for line in allowed[1:-1] if "*" in line or "secret" in line or ".env" in line]
    assert not {".", "./", "/"} & set(COPIED)


def test_everything_that_is_copied_is_there() -> None:
    assert COPIED
    assert [source for source in COPIED if not (ROOT / source).exists()] == []


def test_secrets_and_settings_of_an_installation_are_kept_out_of_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"/secrets/", "/.env"} <= set(ignored)


def test_the_image_has_the_python_that_the_project_needs() -> None:
    assert INSTRUCTIONS[0] == ["FROM", "python:3.11-slim-bookworm"]
    assert 'requires-python = ">=3.11,<3.12"' in (ROOT / "pyproject.toml").read_text()


# The entrypoint


def run_entrypoint(secrets: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (str(ENTRYPOINT), *command),
        env={"PATH": os.environ["PATH"], "FATOURA_SECRETS_FOLDER": str(secrets)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    for name in COMPOSE["secrets"]:
        (tmp_path / name).write_text(f"{name.replace('_', '').replace('.', '')}\n")
    return tmp_path


def test_the_entrypoint_is_a_program() -> None:
    assert os.access(ENTRYPOINT, os.X_OK)


def test_the_entrypoint_puts_secrets_where_they_are_looked_for(secrets: Path) -> None:
    done = run_entrypoint(secrets, "env")
    given = dict(line.split("=", 1) for line in done.stdout.splitlines())
    database = "fatoura:postgrespassword@postgres:5432"
    assert given["FATOURA_DATABASE_URL"] == f"postgresql+psycopg://{database}/fatoura"
    assert given["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"postgresql+psycopg2://{database}/airflow"
    assert given["AIRFLOW__CELERY__BROKER_URL"] == "redis://:redispassword@redis:6379/0"
    assert given["AIRFLOW__CORE__FERNET_KEY"] == "airflowfernetkey"


def test_a_missing_or_empty_secret_is_named_and_nothing_starts(secrets: Path) -> None:
    (secrets / "airflow_jwt_secret").write_text("")
    done = run_entrypoint(secrets, "echo", "started")
    assert done.returncode == 1
    assert done.stderr == "entrypoint: the secret airflow_jwt_secret is missing or empty\n"
    assert done.stdout == ""
