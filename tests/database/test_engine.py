"""Errors of the database tell what is wrong, and no customer's number or message."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fatoura.database import begin


def test_a_failed_statement_does_not_repeat_its_values(database):
    with pytest.raises(DBAPIError) as failed, begin() as connection:
        connection.execute(text("SELECT 1 / 0, CAST(:phone AS text)"), {"phone": "+21620000001"})
    assert "division by zero" in str(failed.value)
    assert "20000001" not in str(failed.value)
