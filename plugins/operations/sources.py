"""Where extracts and payments are read from, in Airflow's terms: a landing folder, or a connection."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow.sdk import BaseHook, ObjectStoragePath
from airflow.sdk.exceptions import AirflowNotFoundException

from fatoura.connections import extra_of
from fatoura.cycles.keys import ExtractKey
from fatoura.errors import BadInput
from fatoura.settings import get_settings
from operations.connections import database_url

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Engine

    from fatoura.extracts.sources import DatabaseSource
    from fatoura.feeds import FeedLoaded
    from fatoura.feeds.taking import FeedSource
    from fatoura.payments.database import PaymentsDatabase

# What a connection's extra says of the rows; the rest of it is the driver's.
_OURS = ("table", "query", "cycle_column")
_OURS_OF_PAYMENTS = (
    *("table", "query", "changed_column", "watermark_table", "watermark_query"),
    *("overlap_minutes", "timezone"),
)


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


def payment_sources() -> tuple[FeedSource, ...]:
    """Return the places with payments that are to be asked beside the landing folder."""
    conn_id = get_settings().payments_conn_id
    return (_PaymentsConnection(conn_id),) if conn_id else ()


class _PaymentsConnection:
    """A database of payments behind a connection, looked up when asked: a wrong one stops nothing else."""

    def __init__(self, conn_id: str) -> None:
        self.name = conn_id

    def take(self, *, run_id: str | None = None) -> FeedLoaded:
        """Load what is new.

        :raises BadInput: when the connection is not there or wrong, or what it has cannot be taken.
        :raises NotReady: when the database does not answer.
        """
        try:
            source = _payments_database(self.name)
        except AirflowNotFoundException:
            raise BadInput(
                f"there is no connection {self.name!r}: add it, or empty FATOURA_PAYMENTS_CONN_ID"
            ) from None
        return source.take(run_id=run_id)


def _billing_database(conn_id: str) -> DatabaseSource:
    from fatoura.extracts.sources import DatabaseSource

    engine, ours = _database(conn_id, _OURS)
    return DatabaseSource(engine, name=conn_id, **ours)


def _payments_database(conn_id: str) -> PaymentsDatabase:
    from fatoura.payments.database import PaymentsDatabase

    engine, ours = _database(conn_id, _OURS_OF_PAYMENTS)
    try:
        if "overlap_minutes" in ours:
            ours["overlap"] = timedelta(minutes=float(ours.pop("overlap_minutes")))
        if "timezone" in ours:
            ours["zone"] = ZoneInfo(ours.pop("timezone"))
    except (TypeError, ValueError, ZoneInfoNotFoundError):
        raise BadInput(
            f"the extra of the connection {conn_id!r} is wrong: overlap_minutes is a number, timezone a name "
            "such as Africa/Tunis"
        ) from None
    return PaymentsDatabase(engine, name=conn_id, **ours)


def _database(conn_id: str, ours: Collection[str]) -> tuple[Engine, dict[str, Any]]:
    """Return the engine of a connection, and what its extra says to us.

    :param ours: names in the extra that are not the driver's.
    :raises BadInput: when no installed driver speaks to it.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.pool import NullPool

    connection = BaseHook.get_connection(conn_id)
    extra = extra_of(connection)
    try:
        engine = create_engine(database_url(connection, but=ours), poolclass=NullPool, hide_parameters=True)
    except (ArgumentError, ImportError):
        raise BadInput(
            f"the connection {conn_id!r} is of type {connection.conn_type!r}, which no installed driver "
            "speaks: install one, and name it in its extra as sqlalchemy_scheme (oracle+oracledb, for one)"
        ) from None
    return engine, {name: extra[name] for name in ours if name in extra}
