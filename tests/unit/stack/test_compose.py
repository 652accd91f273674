"""docker-compose.yaml keeps what it promises: no default password, loopback only, everything watched."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fatoura.database.embedded import _CONFIGURATION

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_watched_and_starts_again(name: str) -> None:
    service = SERVICES[name]
    if name == "migrations":
        assert service["restart"] == "no"
        return
    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_named_with_a_version(name: str) -> None:
    assert SERVICES[name]["image"] == "fatoura" or re.search(r":\d", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_no_password_stands_in_the_environment(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        secret = re.search("PASSWORD|SECRET|KEY|TOKEN|CONN", variable)
        assert not secret or str(value).startswith(("/run/secrets/", "/tmp/")), variable


@pytest.mark.parametrize("name", SERVICES)
def test_each_secret_that_is_mounted_is_declared_as_a_file(name: str) -> None:
    for secret in SERVICES[name].get("secrets", ()):
        assert COMPOSE["secrets"][secret]["file"] == f"${{FATOURA_SECRETS:-./secrets}}/{secret}"


def test_the_header_tells_how_to_make_each_secret() -> None:
    header = TEXT.partition("\nname:")[0]
    assert [name for name in COMPOSE["secrets"] if name not in header] == []


def test_the_entrypoint_reads_only_secrets_that_are_declared() -> None:
    read = set(re.findall(r"[(&] ?secret (\w+)", (ROOT / "docker" / "entrypoint").read_text()))
    assert read
    assert read - set(COMPOSE["secrets"]) == set()


def test_the_receiver_gets_nothing_of_airflow() -> None:
    assert set(SERVICES["receiver"]["secrets"]) == {"postgres_password", "receipt_secret"}


def test_everything_waits_for_the_migrations() -> None:
    for name, service in SERVICES.items():
        if service["image"] == "fatoura" and name != "migrations":
            assert service["depends_on"]["migrations"]["condition"] == "service_completed_successfully"


def test_the_database_has_the_memory_and_the_log_with_which_speed_is_measured() -> None:
    given = dict(re.findall(r"-c (\w+)=(\S+)", SERVICES["postgres"]["command"]))
    names = [name for name in _CONFIGURATION if "mem" in name or "buffers" in name or "wal" in name]
    assert {name: given.get(name) for name in names} == {name: _CONFIGURATION[name] for name in names}
