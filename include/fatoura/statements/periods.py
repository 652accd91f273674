"""The months that statements are about, and the gateways that they come from.

Called by the import, the matching and the command. It knows no file.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.errors import BadInput

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Period(NamedTuple):
    """A month, in the utility's zone."""

    year: int
    month: int

    @classmethod
    def parse(cls, written: str) -> Period:
        """Read ``2026-05``.

        :raises BadInput: for anything else.
        """
        found = re.fullmatch(r"(20\d\d)-(0[1-9]|1[0-2])", written, re.ASCII)
        if found is None:
            raise BadInput(f"{written!r} is no period: write a month, such as 2026-05")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        """Return ``2026-05``."""
        return f"{self.year}-{self.month:02}"

    @property
    def first_day(self) -> date:
        """The day by which it is kept."""
        return date(self.year, self.month, 1)

    @property
    def begins(self) -> datetime:
        """Its first instant, in UTC."""
        return datetime.combine(self.first_day, time(), clock.zone()).astimezone(UTC)

    @property
    def ends(self) -> datetime:
        """The first instant after it, in UTC."""
        return Period(self.year + self.month // 12, self.month % 12 + 1).begins


def demand_gateway(connection: Connection, gateway: str) -> str:
    """Return how the provider behind a gateway is spoken to.

    :raises BadInput: when no message ever went through such a gateway; names those that are known.
    """
    adapter: str | None = connection.scalar(
        text("SELECT adapter FROM gateway WHERE name = :name"), {"name": gateway}
    )
    if adapter is None:
        known = ", ".join(connection.scalars(text("SELECT name FROM gateway ORDER BY name")))
        raise BadInput(
            f"no message ever went through a gateway {gateway!r}; known are: {known or 'none yet'}"
        )
    return adapter
