"""Weeks of cut-off warnings, lived through once a session: to read, or as a copy to change."""

from __future__ import annotations

import uuid
from datetime import date
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import create_engine

from fatoura.database import get_engine
from tests.database.seeded_cutoff import SeededCutoff, seed_cutoff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fatoura.database.embedded import EmbeddedPostgres

_LIVED = "template_weeks"


def _run(postgres: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(
        host=str(postgres.socket), user="postgres", dbname="postgres", autocommit=True
    ) as db:
        db.execute(statement)


@pytest.fixture(scope="session")
def _lived(postgres: EmbeddedPostgres, _databases: object) -> SeededCutoff:
    _run(postgres, f"CREATE DATABASE {_LIVED} TEMPLATE template_fatoura")
    engine = create_engine(postgres.url(_LIVED))
    with engine.begin() as connection:
        seeded = seed_cutoff(
            connection,
            cycles=("2026-05-T1", "2026-05-T2"),
            cases=400,
            days=22,
            most=40,
            stale=(date(2026, 6, 25),),
        )
    engine.dispose()
    return seeded


@pytest.fixture
def weeks(postgres: EmbeddedPostgres, _lived: SeededCutoff, configure) -> Iterator[SeededCutoff]:
    """Give the test 22 days of warnings to read, the last one under way: 3 July 2026, half past ten."""
    configure(database_url=postgres.url(_LIVED), now="2026-07-03T10:30:00+01:00")
    yield _lived
    get_engine().dispose()


@pytest.fixture
def own_weeks(postgres: EmbeddedPostgres, _lived: SeededCutoff, configure) -> Iterator[SeededCutoff]:
    """Give the test a copy of those days, to change them."""
    name = f"test_{uuid.uuid4().hex}"
    _run(postgres, f"CREATE DATABASE {name} TEMPLATE {_LIVED}")
    configure(database_url=postgres.url(name), now="2026-07-03T10:30:00+01:00")
    yield _lived
    get_engine().dispose()
    _run(postgres, f"DROP DATABASE {name} WITH (FORCE)")
