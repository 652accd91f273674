"""Airflow connections to databases, as what the project's own code takes; the rest is fatoura.connections.

Called by whatever here reaches out through a connection. Its errors name the connection, never its secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import URL

from fatoura.connections import extra_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow.sdk import Connection

# Airflow's types of connection that SQLAlchemy knows by another name, or with the driver that is installed.
_SCHEMES = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


def database_url(connection: Connection, *, but: Collection[str] = ()) -> URL:
    """Return a database connection as SQLAlchemy's URL, with its extra as the driver's own options.

    The extra may name another driver: ``{"sqlalchemy_scheme": "oracle+oracledb"}``.

    :param but: names in the extra that are not the driver's.
    """
    extra = extra_of(connection)
    kind = (connection.conn_type or "").replace("-", "_")
    return URL.create(
        extra.pop("sqlalchemy_scheme", None) or _SCHEMES.get(kind, kind),
        username=connection.login or None,
        password=connection.password or None,
        host=connection.host or None,
        port=connection.port,
        database=connection.schema or None,
        query={name: str(value) for name, value in extra.items() if name not in but},
    )
