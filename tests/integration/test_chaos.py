"""A few rounds of `make chaos`, small and with a fixed seed, and a sender that must be found out."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.chaos.dice import Dice
from tests.chaos.process_round import ProcessRound
from tests.chaos.results import MUST_BE_NONE
from tests.chaos.scenario import Scenario, Strike
from tests.chaos.services import Database, memory_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.judge import Verdict

pytestmark = [pytest.mark.database, pytest.mark.timeout(600)]

MESSAGES = 300
SEED = 7


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """Run a PostgreSQL that may be killed."""
    folder = memory_folder("fatoura-tests-chaos-")
    try:
        with Database(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def verdict_on(
    database: Database,
    gateway: str,
    *strikes: str,
    number: int,
    messages: int = MESSAGES,
    blind: bool = False,
    **shares: dict[str, float],
) -> Verdict:
    """Run a round in which this is struck, one after the other."""
    struck = tuple(Strike((index + 1) / (len(strikes) + 1), what, 0.3) for index, what in enumerate(strikes))
    scenario = Scenario(gateways=(gateway,), strikes=struck, noise=5, burst=500, **shares)
    folder = database.server.var / f"round-{number}"
    result = await ProcessRound(
        Dice(SEED, number), scenario, database=database, folder=folder, messages=messages, blind=blind
    ).run()
    return result.verdict


@pytest.mark.kannel
@pytest.mark.usefixtures("_kannel_can_run")
async def test_killed_senders_and_a_killed_database_lose_nothing_and_repeat_nothing_at_kannel(database):
    verdict = await verdict_on(database, "kannel", "kill sender", "kill PostgreSQL", number=1)
    assert verdict.violations == []
    assert verdict.figures["planned"] == MESSAGES
    assert [verdict.figures[name] for name in MUST_BE_NONE] == [0, 0]
    assert verdict.figures["in doubt"] > 0
    assert verdict.faults["kill PostgreSQL"] == 1
    accounted = sum(verdict.figures[name] for name in ("seen", "refused", "unseen"))
    assert accounted == MESSAGES


async def test_everything_killed_at_once_loses_nothing_and_repeats_nothing(database):
    verdict = await verdict_on(database, "sandbox", "kill receiver", "kill all", "burst", number=2)
    assert verdict.violations == []
    assert [verdict.figures[name] for name in MUST_BE_NONE] == [0, 0]
    assert verdict.ledger_holds


async def test_a_sender_that_repeats_blindly_is_found_out(database):
    shares = {
        "request_shares": {"reset before answer": 0.1},
        # One that came first would hide it: nobody sends again what is known to be delivered.
        "receipt_shares": {"late": 1.0},
    }
    verdict = await verdict_on(database, "sandbox", number=3, messages=100, blind=True, **shares)
    assert verdict.figures["twice"] > 0
    told = {violation.split(":")[0] for violation in verdict.violations}
    assert {"sent twice", "believed refused, and accepted"} <= told
