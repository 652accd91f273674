"""What happens in a round: which faults with which shares, who is struck when. Drawn from the seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.dice import Dice

REQUEST_SHARES = {
    "time-out after accept": 0.015,
    "silence": 0.01,
    "late answer": 0.01,
    "reset before body": 0.01,
    "reset after body": 0.01,
    "reset before answer": 0.015,
    "half an answer": 0.01,
    "429": 0.015,
    "503": 0.015,
    "HTML": 0.01,
    "HTML after accept": 0.01,
    "early receipts": 0.03,
}
RECEIPT_SHARES = {
    "twice": 0.05,
    "reordered": 0.05,
    "late": 0.04,
    "contradictory": 0.04,
    "per part": 0.03,
}

STRIKES = {
    "kill sender": "a send task is killed, and started again",
    "stop sender": "a send task is asked to stop, as when it is cleared, and started again",
    "freeze sender": "a send task stands still for longer than lease and horizon, and then goes on",
    "second run": "another run of the same cycle starts",
    "kill receiver": "the receipt receiver is killed, and started again",
    "kill PostgreSQL": "the database server and all its sessions are killed; it recovers",
    "kill gateway": "the gateway's process that takes messages is killed",
    "kill gateway's core": "the gateway's process behind it is killed",
    "drop link": "the gateway loses its link to the SMS centre",
    "refuse connections": "nobody listens at the gateway's port",
    "wrong credentials": "the gateway refuses our password",
    "balance exhausted": "402, and a provider's words, to everything",
    "burst": "10,000 receipts at once",
    "kill all": "sender, receiver, database and gateway are killed in the same instant",
}
"""What is done to a round's processes, by name."""

AIRFLOW_STRIKES = {
    "kill scheduler": "Airflow's scheduler is killed; its tasks go on without it for a while",
    "kill triggerer": "Airflow's triggerer is killed, and started again",
    "kill API server": "the server that tasks talk to is killed, and started again",
    "kill task": "the process of a send task is killed, its supervisor lives",
    "kill worker": "a send task is killed together with its supervisor",
    "kill stack": "Airflow, its tasks, PostgreSQL, receiver and gateway are killed in the same instant",
    "clear sending": "the send tasks are cleared while they send",
    "clear all": "all tasks of the run are cleared while it sends",
    "run by hand": "another run of the same cycle is started by hand",
    "run by event": "another run of the same cycle is started by an event of its extract",
    "backfill": "a backfill is asked for: Airflow refuses it for the cycle, and runs it for the looks at the "
    "landing folder",
}
"""What is done to real Airflow, by name."""

# One of these in turn, so that a few rounds already see each.
_THEMES: tuple[tuple[str, ...], ...] = (
    ("kill sender", "kill sender"),
    ("kill PostgreSQL",),
    ("kill all",),
    ("kill gateway", "kill sender"),
    ("kill receiver", "kill receiver"),
    ("kill gateway's core",),
    ("second run", "freeze sender"),
    ("wrong credentials", "stop sender"),
    ("burst", "kill receiver"),
    ("drop link", "kill PostgreSQL"),
    ("balance exhausted", "refuse connections"),
    ("kill PostgreSQL", "kill receiver", "kill sender"),
)
_AIRFLOW_THEMES: tuple[tuple[str, ...], ...] = (
    ("kill worker", "run by hand", "kill scheduler"),
    ("clear sending", "kill stack", "backfill"),
    ("kill triggerer", "clear all", "kill task"),
    ("run by event", "kill API server", "clear sending"),
)
_BESIDES = ("kill sender", "kill receiver", "stop sender", "drop link", "second run", "kill gateway")
_BURST = 10_000


@dataclass(frozen=True)
class Strike:
    """:param at: after this share of the planned messages has been requested.
    :param pause: seconds until what was struck comes back.
    """

    at: float
    what: str
    pause: float


@dataclass(frozen=True)
class Scenario:
    """:param gateways: `kannel`, `sandbox`, or both.
    :param passes_through: the relay answers with what the receiver says; the gateway itself tries again.
    :param noise: receipts of each kind of noise.
    """

    gateways: tuple[str, ...]
    strikes: tuple[Strike, ...]
    passes_through: bool = False
    senders: int = 2
    noise: int = 12
    burst: int = _BURST
    request_shares: dict[str, float] = field(default_factory=lambda: dict(REQUEST_SHARES))
    receipt_shares: dict[str, float] = field(default_factory=lambda: dict(RECEIPT_SHARES))

    @property
    def told(self) -> str:
        """In short: what the round is about."""
        return f"{' + '.join(self.gateways)}: {', '.join(strike.what for strike in self.strikes)}"


def draw_scenario(dice: Dice, *, kannel: bool = True, gateways: tuple[str, ...] | None = None) -> Scenario:
    """Draw what happens in a round.

    :param kannel: real Kannel can run here; otherwise the sandbox takes its place.
    :param gateways: these instead of those whose turn it is.
    """
    random = dice.random("scenario")
    turn, lap = dice.round % len(_THEMES), dice.round // len(_THEMES)
    if gateways is None:
        both = dice.round % 5 == 4
        gateways = ("kannel", "sandbox") if both else (("kannel", "sandbox")[(turn + lap) % 2],)
    if not kannel:
        gateways = ("sandbox",) if len(gateways) == 1 else ("sandbox", "sandbox-2")
    whats = [*_THEMES[turn], random.choice(_BESIDES)]
    strikes = sorted(
        (Strike(random.uniform(0.05, 0.95), what, random.uniform(0.2, 1.0)) for what in whats),
        key=lambda strike: strike.at,
    )
    return Scenario(
        gateways=gateways,
        strikes=tuple(strikes),
        passes_through=random.random() < 0.3,
        senders=random.choice((1, 2, 2, 3)),
    )


def draw_airflow_scenario(dice: Dice, gateway: str) -> Scenario:
    """Draw what happens in a round with real Airflow.

    :param gateway: Airflow's connection to it.
    """
    random = dice.random("airflow scenario")
    whats = [*_AIRFLOW_THEMES[dice.round % len(_AIRFLOW_THEMES)], random.choice(list(AIRFLOW_STRIKES))]
    random.shuffle(whats)
    # Airflow needs seconds to do what it is asked: each has its own part of the round.
    strikes = tuple(
        Strike((index + random.uniform(0.1, 0.9)) / len(whats) * 0.9, what, random.uniform(0.5, 5.0))
        for index, what in enumerate(whats)
    )
    return Scenario(gateways=(gateway,), strikes=strikes, passes_through=random.random() < 0.3)
