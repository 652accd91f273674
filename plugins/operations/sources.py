"""Where a cycle's extract is read from, in Airflow's terms: a landing folder, or a connection."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook, ObjectStoragePath

from fatoura.cycles.keys import ExtractKey
from fatoura.errors import BadInput
from fatoura.settings import get_settings


def load_from(source: str, cycle: str, *, run_id: str | None) -> dict[str, Any]:
    """Load an extract from the landing folder or from the billing database.

    :param source: ``landing`` or ``database``.
    :param cycle: the extract's key.
    :raises BadInput: when the key or the source is wrong, or the extract is refused.
    """
    from fatoura.extracts.loading import load_extract
    from fatoura.extracts.sources import DatabaseSource, LandingSource

    if not cycle:
        raise BadInput("the run was started without a cycle: give its key in the form, such as 2026-05-T1")
    key = ExtractKey.parse(cycle)
    settings = get_settings()
    if source == "landing":
        return load_extract(
            key, run_id=run_id, source=LandingSource(ObjectStoragePath(settings.landing))
        ).as_dict()
    if source == "database":
        connection = BaseHook.get_connection(settings.billing_conn_id)
        extra = connection.extra_dejson
        return load_extract(
            key,
            run_id=run_id,
            source=DatabaseSource(
                connection.get_uri().replace("postgres://", "postgresql+psycopg://", 1),
                name=settings.billing_conn_id,
                **{name: extra[name] for name in ("table", "query", "cycle_column") if name in extra},
            ),
        ).as_dict()
    raise BadInput(f"there is no source {source!r}: landing and database are")
