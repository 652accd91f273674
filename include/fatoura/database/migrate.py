"""Bring a database to the schema of this version. Called by the stack, the tests and `fatoura db upgrade`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from fatoura.database.engine import get_engine


def configuration(connection: Connection) -> Config:
    """Return Alembic's configuration, bound to an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config


def upgrade(revision: str = "head") -> None:
    """Run the migrations that are missing. Two processes that start at once take turns."""
    with get_engine().begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('fatoura migrations', 0))"))
        command.upgrade(configuration(connection), revision)


def versions() -> tuple[str | None, str]:
    """Return which schema the database has, none when it is empty, and which one this version wants."""
    with get_engine().connect() as connection:
        held = MigrationContext.configure(connection, opts={"version_table": "fatoura_version"})
        wanted = ScriptDirectory.from_config(configuration(connection)).get_current_head()
        return held.get_current_revision(), str(wanted)
