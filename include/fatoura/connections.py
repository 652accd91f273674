"""Connections to other systems as Airflow writes them, read with or without Airflow.

Called by plugins, which have them from Airflow, and by processes of the project's own that know nothing of
Airflow (the web site), which read them from a file or the environment. Errors name the connection, never its
secrets.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from fatoura.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_VARIABLE = "AIRFLOW_CONN_"
_EXTRA_IN_QUERY = "__extra__"


class Connection(Protocol):
    """What is read of a connection; Airflow's own has these attributes."""

    conn_id: str
    conn_type: str | None
    host: str | None
    schema: str | None
    login: str | None
    password: str | None
    port: int | None

    @property
    def extra_dejson(self) -> Any:
        """The extra, read as JSON."""


@dataclass
class WrittenConnection:
    """A connection that was read without Airflow; its `repr` shows no secret."""

    conn_id: str
    conn_type: str | None = None
    host: str | None = None
    schema: str | None = None
    login: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    port: int | None = None
    extra_dejson: Any = field(default=None, repr=False)


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


def written_connection(name: str, path: Path | None) -> WrittenConnection:
    """Read a connection without Airflow: from a file, or else from the variable ``AIRFLOW_CONN_<ID>``.

    :param path: a JSON object of connections by their ids, in the form of Airflow's own file of connections.
    :raises BadInput: when it is not there, or cannot be read.
    """
    known = os.environ if path is None else _file(path)
    entry = name if path is not None else f"{_VARIABLE}{name.upper()}"
    where = f"{path or 'the environment'}, {entry}"
    if entry not in known:
        raise BadInput(
            f"there is no connection {name!r} in {path or 'the environment'}: write it there as {entry!r}, "
            "or name a file that holds it in FATOURA_SMS_CONNECTIONS_FILE"
        )
    told = known[entry]
    if isinstance(told, str):
        told = told.strip()
        if not told.startswith("{"):
            return _of_uri(name, told, where)
        try:
            told = json.loads(told)
        except ValueError:
            raise BadInput(f"{where} is no JSON") from None
    if not isinstance(told, dict):
        raise BadInput(f"{where} is no connection: a JSON object, or an address, is one")
    return _of_fields(name, told, where)


def _file(path: Path) -> Mapping[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: the file of connections cannot be read: {error.strerror}") from None
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise BadInput(f"{path} is no JSON object of connections by their ids")
    return read


def _of_fields(name: str, told: Mapping[str, Any], where: str) -> WrittenConnection:
    texts = {
        one: told.get(one) if told.get(one) is None else str(told[one])
        for one in ("conn_type", "host", "schema", "login", "password")
    }
    try:
        port = int(told["port"]) if told.get("port") not in (None, "") else None
    except (TypeError, ValueError):
        raise BadInput(f"{where}: its port is no number") from None
    extra = told.get("extra")
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except ValueError:
            extra = None
    return WrittenConnection(name, **texts, port=port, extra_dejson=extra)


def _of_uri(name: str, uri: str, where: str) -> WrittenConnection:
    """Read an address as Airflow does: ``http://login:password@host:port/schema?provider=kannel``.

    A second ``://`` in it names the host's protocol: ``http://https://host``.
    """
    kind, _, rest = uri.partition("://")
    protocol, found, inner = rest.partition("://")
    try:
        parts = urlsplit(f"//{inner if found else rest}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if not kind or not parts.netloc or (found and ("@" in protocol or ":" in protocol)):
        raise BadInput(f"{where} is no connection: a JSON object, or an address, is one")
    host = unquote(parts.hostname or "")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    extra: Any = query
    if _EXTRA_IN_QUERY in query:
        try:
            extra = json.loads(query[_EXTRA_IN_QUERY])
        except ValueError:
            extra = None
    return WrittenConnection(
        name,
        conn_type=kind.replace("-", "_").replace("postgresql", "postgres"),
        host=f"{protocol}://{host}" if found else host,
        schema=unquote(parts.path[1:]),
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        port=port,
        extra_dejson=extra,
    )
