"""The databases that tests get are empty and as they were made, whatever the test before did."""

import pytest
from sqlalchemy import text

from fatoura.database import begin, connect
from tests.databases import Databases
from tests.notices import plan_notices, run_sql


@pytest.fixture
def databases(postgres, _databases):
    return Databases(postgres, "template_fatoura")


def use(postgres, configure, name: str) -> None:
    from fatoura.database import get_engine

    get_engine().dispose()
    configure(database_url=postgres.url(name))


def test_rows_sequences_and_staging_of_a_former_test_are_gone(databases, postgres, configure):
    name = databases.take()
    use(postgres, configure, name)
    plan_notices(3)
    run_sql("CREATE TABLE staging.extract_1 (x int)")
    databases.give_back(name)
    assert databases.take() == name
    use(postgres, configure, name)
    with connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM notice")) == 0
        assert connection.scalar(text("SELECT to_regclass('staging.extract_1')")) is None
        assert connection.scalar(text("SELECT version_num FROM fatoura_version"))
    assert plan_notices(1) == 1  # the first cycle's id


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE cutoff_case DROP CONSTRAINT ck_cutoff_case_state",
        "ALTER TABLE notice DISABLE TRIGGER notice_moves",
        "ALTER TABLE notice ADD COLUMN x int",
        "CREATE TABLE x (y int)",
        "DROP INDEX ix_notice_planned",
        "CREATE FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "UPDATE fatoura_version SET version_num = '0000'",
    ],
)
def test_one_that_was_changed_is_thrown_away(databases, postgres, configure, change):
    name = databases.take()
    use(postgres, configure, name)
    with begin() as connection:
        connection.execute(text(change))
    databases.give_back(name)
    other = databases.take()
    assert other != name
    use(postgres, configure, other)
    databases.give_back(other)
