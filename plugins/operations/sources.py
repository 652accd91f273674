"""Where a cycle's extract is read from, in Airflow's terms: a landing folder, or a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, ObjectStoragePath

from fatoura.cycles.keys import ExtractKey
from fatoura.errors import BadInput
from fatoura.settings import get_settings
from operations.connections import database_url, extra_of

if TYPE_CHECKING:
    from fatoura.extracts.sources import DatabaseSource

# What a connection's extra says of the rows; the rest of it is the driver's.
_OURS = ("table", "query", "cycle_column")


def load_from(source: str, cycle: str, *, run_id: str | None) -> dict[str, Any]:
    """Load an extract from the landing folder or from the billing database.

    :param source: ``landing`` or ``database``.
    :param cycle: the extract's key.
    :raises BadInput: when the key or the source is wrong, or the extract is refused.
    """
    from fatoura.extracts.loading import load_extract
    from fatoura.extracts.sources import LandingSource

    if not cycle:
        raise BadInput("the run was started without a cycle: give its key in the form, such as 2026-05-T1")
    key = ExtractKey.parse(cycle)
    settings = get_settings()
    if source == "landing":
        return load_extract(
            key, run_id=run_id, source=LandingSource(ObjectStoragePath(settings.landing))
        ).as_dict()
    if source == "database":
        return load_extract(key, run_id=run_id, source=_billing_database(settings.billing_conn_id)).as_dict()
    raise BadInput(f"there is no source {source!r}: landing and database are")


def _billing_database(conn_id: str) -> DatabaseSource:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.pool import NullPool

    from fatoura.extracts.sources import DatabaseSource

    connection = BaseHook.get_connection(conn_id)
    extra = extra_of(connection)
    ours = {name: extra[name] for name in _OURS if name in extra}
    try:
        engine = create_engine(database_url(connection, but=_OURS), poolclass=NullPool, hide_parameters=True)
    except (ArgumentError, ImportError):
        raise BadInput(
            f"the connection {conn_id!r} is of type {connection.conn_type!r}, which no installed driver "
            "speaks: install one, and name it in its extra as sqlalchemy_scheme (oracle+oracledb, for one)"
        ) from None
    return DatabaseSource(engine, name=conn_id, **ours)
