"""What was seen in a round, from both ends: by the proxy, the relay and the SMS centre, and in the database.

Written by those who see it, read by the judge. Holds no number and no text.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path
    from uuid import UUID


@dataclass
class Handed:
    """One request that reached the proxy.

    :param at: when its headers were in; seconds since the epoch, by the machine's clock.
    :param result: `withheld`: the gateway never saw it. `accepted` and `refused`: the gateway's own answer,
        whatever the sender was told. `open`: the gateway got it, and died or broke off before it answered.
    """

    gateway: str
    notice: UUID | None
    attempt: int | None
    at: float
    fault: str | None = None
    result: str = "withheld"
    status: int | None = None


@dataclass
class Delivery:
    """One receipt on its way to the receiver.

    :param number: it travels with it, and is stored with the raw receipt.
    :param kind: `receipt`, or a name of `NOISE`.
    :param type: Kannel's: 1, 2 and 16 are final.
    :param taken: whether the receiver said that it has it.
    :param status: the receiver's last answer.
    """

    number: int
    kind: str
    notice: UUID | None
    attempt: int | None
    type: int | None = None
    taken: bool = False
    status: int | None = None


@dataclass(frozen=True)
class Planned:
    """A notice as it was planned: whether its kind may be repeated after the horizon."""

    id: UUID
    repeatable: bool


@dataclass(frozen=True)
class NoticeRow:
    id: UUID
    state: str
    attempts: int
    reason: str | None = None


@dataclass(frozen=True)
class AttemptRow:
    """Instants by the business's clock."""

    notice: UUID
    number: int
    gateway: str
    claimed_at: datetime
    outcome: str | None
    answer: str | None = None
    answered_at: datetime | None = None


@dataclass(frozen=True)
class ReceiptRow:
    """:param relay: the number that it travelled with; null if it came another way."""

    id: int
    notice: UUID | None
    attempt: int | None
    status: str | None
    match: str
    relay: int | None = None


@dataclass
class Evidence:
    """Everything that a verdict is made from.

    :param horizon: how long a doubt has to last before a notice may go out again.
    :param lease: how long a claim is good for.
    :param clock_offset: how far the business's clock is ahead of the machine's.
    :param reached_network: by notice, how often it reached the SMS centre behind the gateway; null where
        nobody could look there.
    :param listed: notices in doubt that `fatoura notices doubts` shows, and that do not go out again by
        themselves.
    :param ledger: what breaks the ledger's identity; empty when it holds.
    :param leaked: names of logs in which a number or a text was found.
    """

    horizon: timedelta
    lease: timedelta
    clock_offset: timedelta
    planned: list[Planned]
    notices: list[NoticeRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    receipts: list[ReceiptRow] = field(default_factory=list)
    handed: list[Handed] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    reached_network: Counter[UUID] | None = None
    listed: frozenset[UUID] = frozenset()
    ledger: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    def write(self, path: Path) -> None:
        """Write it down, a line for each thing that was seen, for whoever looks for the cause."""
        with path.open("w") as file:
            for kind in ("notices", "attempts", "receipts", "handed", "deliveries"):
                for one in getattr(self, kind):
                    file.write(json.dumps({"seen": kind, **asdict(one)}, default=str) + "\n")
