"""Look up cycles by their keys, and open those that no extract begins."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect
from fatoura.errors import BadInput

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection


class Purpose(StrEnum):
    """What the notices of a cycle are for."""

    BILLING = "billing"  # an extract's bills, and corrections of them
    CUTOFF = "cutoff"  # a day's reminders and warnings
    PAYMENT_RECEIVED = "payment_received"  # a day's payments after a warning
    WELCOME = "welcome"  # a day's new subscribers, and those with a new number
    CODES = "codes"  # a day's one-time codes of the web site
    SUBSCRIPTION_NEWS = "subscription_news"  # a day's renewals announced, renewed and lapsed


SENT_BY: dict[Purpose, str] = {
    Purpose.BILLING: "billing_cycle",
    Purpose.CUTOFF: "cutoff_warnings",
    Purpose.PAYMENT_RECEIVED: "payment_confirmations",
    Purpose.WELCOME: "welcome_messages",
    Purpose.CODES: "the web site",
    Purpose.SUBSCRIPTION_NEWS: "annual_fee_renewals",
}
"""The workflow whose task `send` takes the notices of such a cycle, for those who have to clear it."""


def open_cycle(connection: Connection, purpose: Purpose, day: date) -> tuple[int, str]:
    """Open the cycle of a purpose and a day, unless it is open; return its id and its key.

    :param purpose: not billing: such a cycle begins with its extract.
    :param day: a local day.
    :raises BadInput: when a cycle with another purpose has that key.
    """
    values = {"key": f"{purpose.replace('_', '-')}-{day}", "purpose": purpose, "day": day, "now": clock.now()}
    connection.execute(
        text(
            "INSERT INTO cycle (key, purpose, issue_date, created_at) VALUES (:key, :purpose, :day, :now) "
            "ON CONFLICT (key) DO NOTHING"
        ),
        values,
    )
    found = connection.execute(text("SELECT id, purpose FROM cycle WHERE key = :key"), values).one()
    if found.purpose != purpose:
        raise BadInput(f"cycle {values['key']} is there already, and its purpose is {found.purpose}")
    return found.id, str(values["key"])


def cycle_id_of(cycle_key: str) -> int:
    """Return the id of a cycle of any purpose.

    :raises BadInput: when there is none of that key.
    """
    with connect() as connection:
        return _find(connection, cycle_key)[0]


def billing_cycle_id(connection: Connection, cycle_key: str) -> int:
    """Return the id of a billing cycle, for what only these have: extracts, a ledger, a report of bills.

    :raises BadInput: when there is none of that key, or it is a cycle of another purpose.
    """
    cycle_id, purpose = _find(connection, cycle_key)
    if purpose != Purpose.BILLING:
        raise BadInput(
            f"{cycle_key} is no billing cycle: it holds {_HOLDS[purpose]}, and no extract whose rows could "
            "be accounted for"
        )
    return cycle_id


_HOLDS = {
    Purpose.CUTOFF: "the reminders and warnings of a day",
    Purpose.PAYMENT_RECEIVED: "a day's messages that a payment was received",
    Purpose.WELCOME: "a day's welcome messages",
    Purpose.CODES: "a day's one-time codes",
    Purpose.SUBSCRIPTION_NEWS: "a day's messages about subscriptions",
}


def _find(connection: Connection, cycle_key: str) -> tuple[int, Purpose]:
    found = connection.execute(
        text("SELECT id, purpose FROM cycle WHERE key = :key"), {"key": cycle_key}
    ).one_or_none()
    if found is None:
        raise BadInput(f"there is no cycle {cycle_key!r}: no extract of it was loaded, and nothing planned")
    return found.id, Purpose(found.purpose)
