"""Errors of the database tell what is wrong, and no customer's number or message."""

import traceback

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fatoura.database import begin
from fatoura.database.engine import driver

PHONE = "+21620000001"  # invented


def test_a_failed_statement_does_not_repeat_its_values(database):
    with pytest.raises(DBAPIError) as failed, begin() as connection:
        connection.execute(text("SELECT 1 / 0, CAST(:phone AS text)"), {"phone": PHONE})
    assert "division by zero" in str(failed.value)
    assert PHONE not in str(failed.value)


def insert() -> None:
    with begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE one (phone text CHECK (phone = ''))"))
        connection.execute(text("INSERT INTO one VALUES (:phone)"), {"phone": PHONE})


def copy() -> None:
    with begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE one (phone text, amount int CHECK (amount > 0))"))
        with driver(connection).cursor().copy("COPY one FROM STDIN") as rows:
            rows.write_row((PHONE, -1))


@pytest.mark.parametrize(("write", "error"), [(insert, DBAPIError), (copy, psycopg.Error)])
def test_a_row_that_breaks_a_rule_is_not_repeated(database, write, error):
    with pytest.raises(error) as failed:
        write()
    assert "violates check constraint" in str(failed.value)
    assert PHONE not in "".join(traceback.format_exception(failed.value))
