"""Connections to the application's database.

`begin()` is what nearly everybody wants: one transaction, committed at the end. COPY and other things
that SQLAlchemy has no words for go through `driver()`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from fatoura.errors import NotReady
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg


@cache
def _engine(url: str, pid: int) -> Engine:
    # A failed statement's values stay out of the error: they are numbers and texts, and errors go to logs.
    return create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=20, hide_parameters=True)


def get_engine() -> Engine:
    """Return the engine of this process. A forked child gets its own: sockets are not shared."""
    return _engine(get_settings().database_url, os.getpid())


@contextmanager
def _without_values() -> Iterator[None]:
    """Let errors out without what PostgreSQL adds to them: the row that failed, a line of a COPY."""
    try:
        yield
    except Exception as error:
        from psycopg import Error  # no workflow needs the driver while it is parsed

        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, Error) and cause.diag.message_primary:
            cause.args = (cause.diag.message_primary,)
            if cause is not error:
                error.args = (f"({type(cause).__name__}) {cause}",)
        raise


@contextmanager
def begin() -> Iterator[Connection]:
    """Open a transaction; commit when the block ends, roll back when it raises."""
    with _without_values(), get_engine().begin() as connection:
        yield connection


@contextmanager
def connect() -> Iterator[Connection]:
    """Open a connection without a transaction of its own, for reading."""
    with _without_values(), get_engine().connect() as connection:
        yield connection


def driver(connection: Connection) -> psycopg.Connection[Any]:
    """Return the psycopg connection below, for COPY. It shares the caller's transaction."""
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def lock(connection: Connection, name: str) -> None:
    """Take an advisory lock for the rest of a transaction; waits for whoever holds it."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})


@contextmanager
def locked(name: str, *, wait: bool = True) -> Iterator[Connection]:
    """Hold a transaction under an advisory lock, so that two runs never do the same stage at once.

    :param name: what is locked, such as ``cycle 2026-05-T1``.
    :param wait: wait for the other run; otherwise raise at once.
    :raises NotReady: when `wait` is false and somebody else holds the lock.
    """
    with begin() as connection:
        if wait:
            lock(connection, name)
        elif not connection.scalar(
            text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name}
        ):
            raise NotReady(f"{name} is being worked on by another run; try again when it has finished")
        yield connection
