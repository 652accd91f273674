"""Other systems' databases, read in one snapshot. For whoever takes rows from one; it knows no table."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection
    from sqlalchemy.exc import SQLAlchemyError


def engine_of(engine: Engine | str) -> Engine:
    """Return an engine, or one for an SQLAlchemy URL, which keeps no connection open."""
    return create_engine(engine, poolclass=NullPool) if isinstance(engine, str) else engine


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Open a connection on which all queries see the same rows, and nothing is written."""
    with engine.connect() as plain:
        connection = plain.execution_options(isolation_level=_snapshot_level(engine))
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # its driver opens none for a SELECT
        try:
            yield connection
        finally:
            connection.rollback()


def reason_of(error: SQLAlchemyError) -> str:
    """Return the driver's own sentence: SQLAlchemy's adds the statement and its parameters."""
    original = getattr(error, "orig", None) or error
    return str(original).strip().splitlines()[0]


def _snapshot_level(engine: Engine) -> str:
    """Return the weakest isolation in which two queries see the same rows."""
    levels = engine.dialect.get_isolation_level_values(None)  # type: ignore[arg-type]
    wanted = ("SNAPSHOT", "REPEATABLE READ", "SERIALIZABLE")
    return next(level for level in wanted if level in levels)
