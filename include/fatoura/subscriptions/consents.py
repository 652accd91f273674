"""The record of consent: who agreed to what, when, by which channel and evidence, and who took it back.

The one place that writes it; called by whatever gives, changes or ends a subscription, in its transaction.
The record is only added to: the database refuses everything else. It holds no phone number.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import text

from fatoura import clock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime

    from sqlalchemy import Connection

Channel = Literal["coupon", "web", "clerk", "keyword", "import", "utility"]


class Act(StrEnum):
    """What a customer did."""

    GIVEN = "given"
    CHANGED = "changed"  # another number, or another language
    REVOKED = "revoked"


class Consent(NamedTuple):
    """One act of one customer.

    :param evidence: a scan id, the id of a code's verification, a file and row; kept for ever.
    :param given_on: the local day of the signature, or of the act.
    :param by: who records it: a workflow's run, the site, or a person's name.
    :param wording_version: of the text that was agreed to, in `language`; none where that is not known, and
        where consent is revoked.
    """

    customer_reference: str
    subscription_id: int
    evidence: str
    given_on: date
    by: str
    wording_version: str | None = None
    language: str | None = None


class RecordedConsent(NamedTuple):
    """A row of the record."""

    id: int
    act: str
    subscription_id: int
    wording_version: str | None
    language: str | None
    channel: str
    evidence: str
    given_on: date
    recorded_at: datetime
    recorded_by: str


_RECORD = """
INSERT INTO consent (customer_reference, subscription_id, act, wording_version, language, channel, evidence,
                     given_on, recorded_at, recorded_by)
SELECT c.customer_reference, c.subscription_id, :act, c.wording_version, c.language, :channel, c.evidence,
       c.given_on, :recorded_at, c.recorded_by
FROM ({consents}) c ORDER BY c.customer_reference
"""
_OF_ARRAYS = """
SELECT * FROM unnest(
    CAST(:references AS text[]), CAST(:subscriptions AS bigint[]), CAST(:wordings AS text[]),
    CAST(:languages AS text[]), CAST(:evidence AS text[]), CAST(:days AS date[]), CAST(:by AS text[])
) AS told (customer_reference, subscription_id, wording_version, language, evidence, given_on, recorded_by)
"""


def record_set(connection: Connection, act: Act, consents: str, *, channel: Channel, **values: Any) -> int:
    """Record what many customers did alike, in one statement; return how many.

    :param consents: a query for `customer_reference`, `subscription_id`, `wording_version`, `language`,
        `evidence`, `given_on` and `recorded_by`, as `Consent` describes them.
    :param values: what the query asks for.
    """
    return connection.execute(
        text(_RECORD.format(consents=consents)),
        {**values, "act": act, "channel": channel, "recorded_at": clock.now()},
    ).rowcount


def record(connection: Connection, act: Act, consents: Iterable[Consent], *, channel: Channel) -> int:
    """Record what these customers did; return how many."""
    told = list(consents)
    return record_set(
        connection,
        act,
        _OF_ARRAYS,
        channel=channel,
        references=[one.customer_reference for one in told],
        subscriptions=[one.subscription_id for one in told],
        wordings=[one.wording_version for one in told],
        languages=[one.language for one in told],
        evidence=[one.evidence for one in told],
        days=[one.given_on for one in told],
        by=[one.by for one in told],
    )


def consents_of(connection: Connection, reference: str) -> list[RecordedConsent]:
    """Return all that is recorded of a customer, in the order in which it was."""
    rows = connection.execute(
        text(
            "SELECT id, act, subscription_id, wording_version, language, channel, evidence, given_on, "
            "recorded_at, recorded_by FROM consent WHERE customer_reference = :reference ORDER BY id"
        ),
        {"reference": reference},
    )
    return [RecordedConsent(*row) for row in rows]
