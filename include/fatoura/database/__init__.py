"""The application's database: one engine, one schema, one dialect (PostgreSQL)."""

from fatoura.database.engine import begin, connect, driver, get_engine, lock, locked

__all__ = ["begin", "connect", "driver", "get_engine", "lock", "locked"]
