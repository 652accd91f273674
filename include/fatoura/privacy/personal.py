"""The one list of the columns that hold numbers, texts, or documents in which either may stand.

Derived from the marks of the tables themselves. Sealing, retention, erasure and the test that searches for
what is not on the list start from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from sqlalchemy import text

from fatoura.database.schema import metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection

Kind = Literal["phone", "words", "as_it_came"]


class PersonalColumn(NamedTuple):
    """A column that holds what is personal.

    :param kind: ``phone``: a number in E.164, sealed or as it is; ``words``: a message's text;
        ``as_it_came``: a JSON document as others wrote it.
    """

    table: str
    column: str
    kind: Kind

    def __str__(self) -> str:
        """Return ``notice.phone``."""
        return f"{self.table}.{self.column}"


PERSONAL_COLUMNS: tuple[PersonalColumn, ...] = tuple(
    PersonalColumn(table.name, column.name, column.info["personal"])
    for table in metadata.sorted_tables
    for column in table.columns
    if "personal" in column.info
)
"""Every such column. Beside them the tables of staged extracts hold rows as they came: see `staged_tables`.
"""


def columns_of(kind: Kind) -> tuple[PersonalColumn, ...]:
    """Return the columns of one kind."""
    return tuple(one for one in PERSONAL_COLUMNS if one.kind == kind)


def staged_tables(connection: Connection) -> list[str]:
    """Return the tables that hold staged extracts, by their full names.

    What an extract says beyond the contract lies in their column `unknown`.
    """
    rows = connection.scalars(
        text(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = 'staging' AND c.relkind = 'r' AND c.relname ~ '^extract_[0-9]+$' ORDER BY 1"
        )
    )
    return list(rows)
