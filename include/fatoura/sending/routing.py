"""Which gateway a notice goes through: declared shares, moved gradually while a provider is in trouble.

Asked at each claim, so that a change is taken up within seconds. A notice belongs to a gateway by a number
drawn from its id and its attempts: workers need not agree on anything, and what one provider refused is
likely to go to another the next time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.expression import bindparam

from fatoura.errors import BadInput
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from fatoura.gateways.interface import Gateway

# Notices are spread over so many numbers by the last two bytes of their ids, which are random in a version 7
# UUID. The factor carries a refused notice far from where it was.
BUCKETS = 65536
BUCKET = f"""
    (get_byte(uuid_send(notice.id), 14) * 256 + get_byte(uuid_send(notice.id), 15) + attempts * 40503)
    % {BUCKETS}
"""

# A provider that refuses all that it gets loses this much of its share, at most once in the time after it;
# one that takes messages again wins it back more slowly: a switch all at once would overload the next.
_TROUBLE_STEP, _TROUBLE_SECONDS = 0.2, 5
_RECOVERY_STEP, _RECOVERY_SECONDS = 0.1, 10

_WEIGHT = "coalesce(weight, CASE WHEN position = 0 THEN 100 ELSE 0 END)"

# So much is left to a provider in trouble, to find out when it is well again.
_PROBE = 0.02


@dataclass(frozen=True)
class Standing:
    """How a gateway stands among those in use.

    :param position: in the order of fall-back, from 0.
    :param weight: its share beside the others' weights; with 0 it gets only what others cannot take.
    :param health: from 0 to 1, how much of its share it gets.
    """

    name: str
    position: int
    weight: float
    health: float


@dataclass(frozen=True)
class Stretch:
    """The numbers of the notices that go through a gateway now: from `low` up to, not including, `high`."""

    low: int
    high: int

    @property
    def is_empty(self) -> bool:
        """Whether no notice goes through it."""
        return self.low >= self.high


@dataclass(frozen=True)
class Overview:
    """All that is known of a gateway, for those who watch over it.

    :param form: of an adapter that speaks to several providers: which one.
    :param position: in the order of fall-back, from 0; null when it takes no new messages.
    :param share: of new messages now; 0 when it takes none.
    :param segments_per_second: its limit.
    :param capabilities: see `fatoura.gateways.Capabilities`.
    :param unsettled: messages of the last 60 days without a final state, by state.
    :param polled_at: when it was last asked for receipts, where it does not report by itself.
    :param balance: what was left of the account, in `balance_unit`, as the provider told last.
    """

    name: str
    adapter: str
    form: str | None
    position: int | None
    weight: float
    health: float
    share: float
    segments_per_second: float
    capabilities: dict[str, Any]
    unsettled: dict[str, int]
    polled_at: datetime | None
    balance: Decimal | None
    balance_unit: str | None
    balance_told_at: datetime | None


WHOLE = Stretch(0, BUCKETS)
"""Where there is one gateway, all notices go through it."""


def register(connection: Connection, gateways: Sequence[Gateway]) -> None:
    """Write down the gateways that new messages may go through, in the order of fall-back.

    Shares stay as operators decided; until one does, the first gets all. One that had been given up gets a
    few messages again: somebody may have mended it.

    :raises BadInput: when a connection was used with another adapter before, or for another aggregator:
        receipts of its messages, which may come for days, would be misread.
    """
    for gateway in gateways:
        refuse_another_provider(connection, gateway)
    connection.execute(
        text(
            """
            INSERT INTO gateway (name, adapter, form, capabilities, position, in_use)
            VALUES (:name, :adapter, :form, :capabilities, :position, true)
            ON CONFLICT (name) DO UPDATE SET in_use = true,
                capabilities = excluded.capabilities, position = excluded.position,
                health = greatest(gateway.health, :probe)
            WHERE (gateway.in_use, gateway.capabilities, gateway.position)
                IS DISTINCT FROM (true, excluded.capabilities, excluded.position)
                OR gateway.health < :probe
            """
        ).bindparams(bindparam("capabilities", type_=JSONB)),
        [
            {
                "name": gateway.name,
                "adapter": gateway.adapter,
                "form": gateway.form,
                "capabilities": asdict(gateway.capabilities),
                "position": position,
                "probe": _PROBE,
            }
            for position, gateway in enumerate(gateways)
        ],
    )
    connection.execute(
        text("UPDATE gateway SET in_use = false WHERE in_use AND name <> ALL(:names)"),
        {"names": [gateway.name for gateway in gateways]},
    )


def standings(connection: Connection, names: Sequence[str]) -> list[Standing]:
    """Return how gateways stand, in the order of fall-back."""
    rows = connection.execute(
        text(
            f"SELECT name, position, {_WEIGHT} AS weight, health FROM gateway WHERE name = ANY(:names) "
            "ORDER BY position, name"
        ),
        {"names": list(names)},
    )
    return [Standing(row.name, row.position, float(row.weight), float(row.health)) for row in rows]


def overview(connection: Connection) -> list[Overview]:
    """Return all gateways that messages ever went through: those in use first, in the order of fall-back."""
    rows = connection.execute(
        text(f"SELECT *, {_WEIGHT} AS effective FROM gateway ORDER BY in_use DESC, position, name")
    ).all()
    now = shares(standings(connection, [row.name for row in rows if row.in_use]))
    unsettled: dict[str, dict[str, int]] = {row.name: {} for row in rows}
    for name, state, count in connection.execute(
        text(
            "SELECT gateway, state, count(*) FROM notice "
            "WHERE id > (SELECT uuidv7(make_interval(days => -60))) "
            "AND state IN ('sending', 'in_doubt', 'accepted') GROUP BY gateway, state ORDER BY state"
        )
    ):
        unsettled.setdefault(name, {})[state] = count
    return [
        Overview(
            name=row.name,
            adapter=row.adapter,
            form=row.form,
            position=row.position if row.in_use else None,
            weight=float(row.effective),
            health=float(row.health),
            share=round(now.get(row.name, 0.0), 4),
            segments_per_second=float(row.segments_per_second or get_settings().segments_per_second),
            capabilities=row.capabilities,
            unsettled=unsettled[row.name],
            polled_at=row.polled_at,
            balance=row.balance,
            balance_unit=row.balance_unit,
            balance_told_at=row.balance_told_at,
        )
        for row in rows
    ]


def shares(those: Sequence[Standing]) -> dict[str, float]:
    """Return the share of each gateway; they add up to 1.

    Each keeps its declared share as far as it is healthy. What the others cannot take goes to the first in
    the order of fall-back that is wholly healthy, or else to the healthiest.
    """
    if not those:
        return {}
    ordered = sorted(those, key=lambda one: one.position)
    total = sum(one.weight for one in ordered)
    if total > 0:
        kept = {one.name: one.weight / total * one.health for one in ordered}
    else:
        kept = dict.fromkeys((one.name for one in ordered), 0.0)
    healthiest = max(ordered, key=lambda one: one.health)  # the first of them
    kept[healthiest.name] += 1 - sum(kept.values())
    return kept


def stretches(those: Sequence[Standing]) -> dict[str, Stretch]:
    """Return which numbers go through which gateway; together they cover all."""
    found: dict[str, Stretch] = {}
    reached, low = 0.0, 0
    for name, share in shares(those).items():
        reached += share
        high = round(reached * BUCKETS)
        found[name] = Stretch(low, high)
        low = high
    return found


def note_trouble(connection: Connection, name: str, *, for_good: bool = False) -> None:
    """Take a part of its share from a gateway that refuses everything.

    :param for_good: it will go on until a person mends it: in the end it gets nothing.
    """
    connection.execute(
        text(
            "UPDATE gateway SET health = greatest(health - :step, :least), health_since = clock_timestamp() "
            "WHERE name = :name AND health > :least "
            "AND health_since <= clock_timestamp() - make_interval(secs => :rest)"
        ),
        {
            "name": name,
            "step": _TROUBLE_STEP,
            "least": 0 if for_good else _PROBE,
            "rest": _TROUBLE_SECONDS,
        },
    )


def note_recovery(connection: Connection, name: str) -> None:
    """Give a gateway that takes messages a part of its share back."""
    connection.execute(
        text(
            "UPDATE gateway SET health = least(health + :step, 1), health_since = clock_timestamp() "
            "WHERE name = :name AND health < 1 "
            "AND health_since <= clock_timestamp() - make_interval(secs => :rest)"
        ),
        {"name": name, "step": _RECOVERY_STEP, "rest": _RECOVERY_SECONDS},
    )


def refuse_another_provider(connection: Connection, gateway: Gateway) -> None:
    """Refuse a connection that leads to another kind of provider than when messages went through it.

    :raises BadInput: says what to do instead.
    """
    row = connection.execute(
        text("SELECT adapter, form FROM gateway WHERE name = :name"), {"name": gateway.name}
    ).one_or_none()
    if row is not None and tuple(row) != (gateway.adapter, gateway.form):
        before, now = (" ".join(filter(None, one)) for one in (row, (gateway.adapter, gateway.form)))
        raise BadInput(
            f"messages went through the connection {gateway.name!r} as {before}, and now it says {now}: make "
            "a new connection for the new provider, and name it in FATOURA_SMS_CONN_IDS; the old one is "
            "needed as it was until its receipts are in"
        )


def adapter_of(connection: Connection, name: str) -> str | None:
    """Return how the provider behind a gateway speaks, also of one that is no longer in use."""
    found: str | None = connection.scalar(
        text("SELECT adapter FROM gateway WHERE name = :name"), {"name": name}
    )
    return found


def adjust(
    connection: Connection, name: str, *, weight: float | None = None, rate: float | None = None
) -> None:
    """Change a gateway's share or its limit; taken up by all senders within seconds.

    :param weight: beside the others' weights.
    :param rate: in segments a second; 0: as the settings say.
    :raises BadInput: for an unknown gateway, or a value that is none.
    """
    if weight is not None and not 0 <= weight < 1e6:
        raise BadInput("a weight is a number from 0 up")
    if rate is not None and not 0 <= rate < 1e6:
        raise BadInput("a rate is a number of segments a second; 0: as FATOURA_SEGMENTS_PER_SECOND says")
    changed = connection.execute(
        text(
            "UPDATE gateway SET weight = coalesce(:weight, weight), segments_per_second = "
            "CASE WHEN CAST(:rate AS numeric) IS NULL THEN segments_per_second ELSE nullif(:rate, 0) END "
            "WHERE name = :name"
        ),
        {"name": name, "weight": weight, "rate": rate},
    ).rowcount
    if not changed:
        known = connection.scalars(text("SELECT name FROM gateway ORDER BY name")).all()
        raise BadInput(
            f"there is no gateway {name!r}; known are {', '.join(known) or 'none'}: a gateway is known once "
            "a send task has used its connection"
        )
