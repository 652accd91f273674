"""Fixtures that all tests share: a real PostgreSQL for the session, an empty database for each module."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from fatoura import clock, settings
from fatoura.database.embedded import EmbeddedPostgres
from tests.databases import Databases

if TYPE_CHECKING:
    from collections.abc import Iterator


# Airflow reads its home and its settings when it is imported: never the developer's own.
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="fatoura-tests-airflow-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

# A first example imports and caches; on a busy machine any may be slow. Time limits are pytest's.
hypothesis.settings.register_profile("fatoura", deadline=None)
hypothesis.settings.load_profile("fatoura")


# Where everything is installed, a test that is skipped for what is absent would hide that it is not run.
_REQUIRE_ALL = bool(os.environ.get("FATOURA_REQUIRE_ALL"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """With FATOURA_REQUIRE_ALL set, a skipped test is a failed one."""
    report = (yield).get_result()
    if _REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"nothing may be skipped here, but: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """The same for a module that skips itself."""
    report = (yield).get_result()
    if _REQUIRE_ALL and report.skipped:
        report.outcome = "failed"


def _forget_settings() -> None:
    settings.get_settings.cache_clear()
    clock._fixed.cache_clear()


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test settings of its own: nothing from the developer's environment, files in tmp_path."""
    for name in list(os.environ):
        if name.startswith("FATOURA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FATOURA_VAR", str(tmp_path / "var"))
    _forget_settings()
    yield
    _forget_settings()


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch):
    """Set settings for one test: ``configure(now="2026-05-20T10:00:00+01:00", connections=5)``."""

    def set_settings(**values: object) -> settings.Settings:
        for name, value in values.items():
            monkeypatch.setenv(f"FATOURA_{name.upper()}", str(value))
        # An instant is where the clock of a process starts, and this process may be minutes old.
        monkeypatch.setattr(clock, "_STARTED", time.time())
        _forget_settings()
        return settings.get_settings()

    return set_settings


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """Run a real PostgreSQL for the session, without waiting for the disk."""
    # Not below pytest's own folder: the server may run as another OS user, and each pytest that starts
    # closes that folder to all others.
    base = Path(tempfile.mkdtemp(prefix="fatoura-tests-"))
    base.chmod(0o755)
    server = EmbeddedPostgres(base, (("fsync", "off"), ("full_page_writes", "off")))
    server.start()
    yield server
    server.stop("immediate")
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def _databases(postgres: EmbeddedPostgres) -> Databases:
    """Migrate one database; the tests' databases are copies of it."""
    import sqlalchemy

    from fatoura.database.migrate import configuration

    postgres.create_database("template_fatoura")
    engine = sqlalchemy.create_engine(postgres.url("template_fatoura"))
    with engine.begin() as connection:
        from alembic import command

        command.upgrade(configuration(connection), "head")
    engine.dispose()
    return Databases(postgres, "template_fatoura")


@pytest.fixture
def database(postgres: EmbeddedPostgres, _databases: Databases, configure) -> Iterator[str]:
    """Give the test an empty, migrated database of its own, set as the application's; returns its URL."""
    from fatoura.database import get_engine

    name = _databases.take()
    url = postgres.url(name)
    configure(database_url=url)
    yield url
    get_engine().dispose()
    _databases.give_back(name)


@pytest.fixture
def bucket(monkeypatch, tmp_path) -> Iterator[str]:
    """An S3 of the machine's own with one bucket; returns a URL in it."""
    boto3 = pytest.importorskip("boto3")
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()  # the one of another test asks its server, which is gone
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    for name, value in {
        "ACCESS_KEY_ID": "x",
        "SECRET_ACCESS_KEY": "x",
        "DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    boto3.client("s3").create_bucket(Bucket=tmp_path.name.replace("_", "-"))
    yield f"s3://{tmp_path.name.replace('_', '-')}/landing"
    server.stop()
