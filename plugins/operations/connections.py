"""Airflow connections as what the project's own code takes: addresses and named values.

Called by whatever here reaches out through a connection. Its errors name the connection, never its secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import URL

from fatoura.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow.sdk import Connection

# Airflow's types of connection that SQLAlchemy knows by another name, or with the driver that is installed.
_SCHEMES = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


def http_address(connection: Connection, scheme: str = "http") -> str:
    """Return the address of an HTTP connection, without a slash at its end.

    :param scheme: where neither the host, nor the schema, nor the connection's type says which.
    :raises BadInput: when there is no host, or the host is none.
    """
    host = (connection.host or "").strip().rstrip("/")
    if not host:
        raise BadInput(f"the connection {connection.conn_id!r} has no host")
    if "://" not in host:
        if connection.conn_type == "https":  # as Airflow reads https://… from the environment
            scheme = "https"
        host = f"{connection.schema or scheme}://{host}"
    try:
        parts = urlsplit(host)
        port = parts.port or connection.port
    except ValueError:
        raise BadInput(f"the host of the connection {connection.conn_id!r} is not an address") from None
    place = f"{parts.netloc}:{port}" if parts.port is None and port else parts.netloc
    return urlunsplit((parts.scheme, place, parts.path, "", ""))


def extra_of(connection: Connection) -> dict[str, Any]:
    """Return a connection's extra; nothing when it is no JSON object."""
    extra = connection.extra_dejson
    return dict(extra) if isinstance(extra, dict) else {}


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
