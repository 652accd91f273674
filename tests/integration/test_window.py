"""The window, as the gateway sees it: it closes while a cycle is sent, by the clock or by an operator."""

from __future__ import annotations

import asyncio
import json
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fatoura import clock
from fatoura.calendar import Hours, decide_day
from fatoura.gateways.sandbox import Sandbox, SandboxOptions
from fatoura.sending.outlook import Wait
from tests.integration.test_sending import sender, until
from tests.notices import plan_notices, states

if TYPE_CHECKING:
    from pathlib import Path

TODAY = date(2026, 5, 20)
BY = {"reason": "a trial", "by": "the tests"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+01:00")


def valid_until(log: Path) -> list[datetime]:
    """Return until when the gateway may deliver each message."""
    noted: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    ahead = clock.now().timestamp() - datetime.now().timestamp()
    return [
        datetime.fromtimestamp(one["at"] + ahead, clock.zone()) + timedelta(minutes=one["validity"])
        for one in noted
    ]


@pytest.mark.parametrize("hour", ["09:00:05", "19:00:00", "19:49:30", "19:53:00"])
async def test_no_validity_reaches_into_the_night(database, configure, tmp_path, hour):
    configure(now=at(f"2026-05-20T{hour}").isoformat(), segments_per_second=50)
    cycle = plan_notices(20)
    log = tmp_path / "requests.jsonl"
    async with Sandbox(SandboxOptions(port=0, log=log)) as sandbox:
        await sender(cycle, sandbox.port).run(patience=timedelta(0))
    ends = valid_until(log)
    assert len(ends) == 20
    assert max(ends) <= at("2026-05-20T19:55:01")


async def test_the_evening_comes_while_a_cycle_is_sent(database, configure, tmp_path):
    configure(now=at("2026-05-20T19:53:57").isoformat(), segments_per_second=20)
    cycle = plan_notices(200)
    log = tmp_path / "requests.jsonl"
    async with Sandbox(SandboxOptions(port=0, log=log)) as sandbox:
        result = await sender(cycle, sandbox.port).run()
        accepted = dict(sandbox.accepted)
    assert result.outlook.wait is Wait.WINDOW
    assert result.outlook.until == at("2026-05-21T09:00:00")
    assert 20 <= len(accepted) <= 65
    assert states(cycle) == {"accepted": len(accepted), "planned": 200 - len(accepted)}
    assert max(valid_until(log)) <= at("2026-05-20T19:55:01")


async def test_an_operator_closes_the_day_while_a_cycle_is_sent_and_opens_it_again(database, configure):
    configure(now=at("2026-05-20T12:00:00").isoformat(), segments_per_second=50)
    cycle = plan_notices(200)
    async with Sandbox(SandboxOptions(port=0)) as sandbox:
        task = asyncio.create_task(sender(cycle, sandbox.port).run())
        await until(lambda: len(sandbox.accepted) >= 10)
        await asyncio.to_thread(decide_day, TODAY, None, **BY)
        result = await task
        before = len(sandbox.accepted)
        assert result.outlook.wait is Wait.WINDOW
        assert before < 10 + 3 * 50  # within three seconds
        assert states(cycle) == {"accepted": before, "planned": 200 - before}
        configure(now=at("2026-05-20T12:10:00").isoformat(), segments_per_second=500)
        await asyncio.to_thread(decide_day, TODAY, Hours.parse("11:00-18:00"), **BY)
        result = await sender(cycle, sandbox.port).run()
        assert sorted(sandbox.accepted.values()) == [1] * 200
    assert result.outlook.wait is Wait.DONE


async def test_an_operator_brings_the_evening_forward_and_the_validities_follow(
    database, configure, tmp_path
):
    configure(now=at("2026-05-20T12:00:00").isoformat(), segments_per_second=50)
    cycle = plan_notices(250)
    log = tmp_path / "requests.jsonl"
    async with Sandbox(SandboxOptions(port=0, log=log)) as sandbox:
        task = asyncio.create_task(sender(cycle, sandbox.port).run())
        await until(lambda: len(sandbox.accepted) >= 20)
        await asyncio.to_thread(decide_day, TODAY, Hours.parse("09:00-13:00"), **BY)
        await task
    ends = valid_until(log)
    assert max(ends[:20]) > at("2026-05-20T19:00:00")  # what is handed over cannot be called back
    assert max(ends[170:]) <= at("2026-05-20T12:55:01")
