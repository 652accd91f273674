"""Empty databases for tests: one that a test gives back is emptied and used again, where it is as it was.

To make one takes half a second, to empty one some milliseconds. What a test may have changed besides rows
(a constraint, a trigger, a setting) is found by comparing the catalogue: such a database is thrown away.
"""

from __future__ import annotations

import uuid
from functools import cached_property
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from fatoura.database.embedded import EmbeddedPostgres

_VERSION = "fatoura_version"  # the one table that is not empty in a new database

# Copies of a template have its object ids. Indexes and TOAST tables come and go with their tables.
_MADE = f"""
WITH ours AS (
    SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), made AS (
    SELECT concat_ws(' ', oid, relname, relkind, reloptions, relrowsecurity) AS what
    FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours)
    UNION ALL
    SELECT concat_ws(' ', attrelid, attname, atttypid, attnotnull, attgenerated, attisdropped)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE a.attnum > 0 AND c.relnamespace IN (SELECT oid FROM ours)
    UNION ALL SELECT concat_ws(' ', oid, adrelid, pg_get_expr(adbin, adrelid)) FROM pg_attrdef
    UNION ALL
    SELECT concat_ws(' ', oid, conname, convalidated) FROM pg_constraint
    WHERE connamespace IN (SELECT oid FROM ours)
    UNION ALL SELECT concat_ws(' ', indexrelid, indisvalid) FROM pg_index
    WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours))
    UNION ALL SELECT concat_ws(' ', oid, tgname, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat_ws(' ', oid, ev_enabled) FROM pg_rewrite
    WHERE ev_class IN (SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours))
    UNION ALL
    SELECT concat_ws(' ', oid, proname, md5(prosrc)) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
    UNION ALL SELECT concat_ws(' ', setrole, setconfig) FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL SELECT concat_ws(' ', oid, nspname) FROM pg_namespace WHERE oid IN (SELECT oid FROM ours)
    UNION ALL SELECT concat_ws(' ', oid, extname) FROM pg_extension
    UNION ALL SELECT version_num FROM {_VERSION}
)
SELECT md5(string_agg(what, E'\\n' ORDER BY what)) FROM made
"""
_TABLES = f"""
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname = 'public' AND tablename <> '{_VERSION}'
"""
_STAGED = "SELECT format('staging.%I', tablename) FROM pg_tables WHERE schemaname = 'staging'"
_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_SEQUENCES = "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence"


class Databases:
    """Databases of a server, made from a migrated template.

    :param template: its name; nobody is connected to it.
    """

    def __init__(self, server: EmbeddedPostgres, template: str) -> None:
        self._server = server
        self._template = template
        self._spare: str | None = None

    def take(self) -> str:
        """Return the name of an empty, migrated database."""
        name, self._spare = self._spare, None
        if name is None:
            name = f"test_{uuid.uuid4().hex}"
            _ = self._as_made  # the template is looked at before it is copied: nobody may be connected then
            with self._connect("postgres") as db:
                db.execute(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return name

    def give_back(self, name: str) -> None:
        """Empty a database for the next test, or throw it away."""
        if self._spare is None and self._empty(name):
            self._spare = name
            return
        with self._connect("postgres") as db:
            db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _empty(self, name: str) -> bool:
        try:
            with self._connect(name) as db:
                db.execute(_OTHERS)
                if staged := [table for (table,) in db.execute(_STAGED)]:
                    db.execute(f"DROP TABLE {', '.join(staged)} CASCADE")
                if db.execute(_MADE).fetchone() != self._as_made:
                    return False
                tables = [table for (table,) in db.execute(_TABLES)]
                filled = " UNION ALL ".join(
                    f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in tables
                )
                if full := [table for (table,) in db.execute(filled)]:
                    db.execute(f"TRUNCATE {', '.join(full)} CASCADE")
                db.execute(_SEQUENCES)
        except psycopg.Error:
            return False
        return True

    @cached_property
    def _as_made(self) -> tuple[str] | None:
        with self._connect(self._template) as db:
            found: tuple[str] | None = db.execute(_MADE).fetchone()
        return found

    def _connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(host=str(self._server.socket), user="postgres", dbname=name, autocommit=True)
