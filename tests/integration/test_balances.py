"""What is left of an account is asked before a cycle goes out, kept, and compared with what is planned."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from click.testing import CliRunner

from fatoura.cli import main
from fatoura.gateways import GatewayConfig, create_gateway
from fatoura.gateways.interface import Balance
from fatoura.gateways.sandbox import Sandbox, SandboxOptions
from fatoura.sending import balances
from fatoura.sending.sender import Sender
from tests.conformance.query_string import L2TFake
from tests.notices import plan_notices, run_sql, states

NAME = "l2t_sms"


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(now="2026-05-20T10:00:00+01:00", segments_per_second=1000, request_timeout=2, connections=10)


def gateway(fake: L2TFake, **extra):
    config = fake.config(NAME, f"http://127.0.0.1:{fake.port}")
    config.extra.update(extra)
    return create_gateway("query_string", config)


async def send(cycle: int, *gateways):
    sender = Sender(cycle, gateways, receiver=("http://127.0.0.1:9", "secret"), worker="test")
    return await sender.run(patience=timedelta(0))


async def test_a_balance_that_will_do_is_kept_and_nobody_is_told():
    cycle = plan_notices(20)
    async with L2TFake() as fake:
        result = await send(cycle, gateway(fake))
    assert result.short == {}
    assert states(cycle) == {"accepted": 20}
    row = run_sql("SELECT balance, balance_unit, balance_told_at IS NOT NULL AS told FROM gateway").one()
    assert tuple(row) == (Decimal(350), "SMS", True)
    shown = CliRunner().invoke(main, ["gateway", "list"])
    assert "balance: 350 SMS, told 20" in shown.output


async def test_a_balance_below_what_is_planned_is_told_before_anything_goes_wrong():
    cycle = plan_notices(400)
    async with L2TFake() as fake:
        result = await send(cycle, gateway(fake))
    assert list(result.short) == [NAME]
    assert "350 SMS are left, and about 400 segments of this cycle" in result.short[NAME]


async def test_of_two_gateways_each_needs_as_much_as_its_share():
    cycle = plan_notices(400)
    async with L2TFake() as fake, Sandbox(SandboxOptions(port=0)) as sandbox:
        first = create_gateway("kannel", GatewayConfig("first_sms", sandbox.base_url, "fatoura", "sandbox"))
        result = await send(cycle, first, gateway(fake))
    assert result.short == {}  # the second one gets what the first cannot take, and that is nothing


async def look_up():
    async def ask():
        return Balance(Decimal(350), "SMS")

    return await balances.look_up({NAME: ask})


async def test_a_provider_is_asked_once_in_a_while_however_many_senders_there_are():
    plan_notices(1)
    async with L2TFake() as fake:
        await send(1, gateway(fake))
        assert await asyncio.gather(*(look_up() for _ in range(3))) == [{}, {}, {}]
        run_sql("UPDATE gateway SET balance_asked_at = now() - interval '11 minutes'")
        told = await asyncio.gather(*(look_up() for _ in range(3)))
    assert sorted(len(one) for one in told) == [0, 0, 1]


async def test_a_provider_that_does_not_tell_its_balance_holds_nothing_up(caplog):
    cycle = plan_notices(20)
    async with L2TFake() as fake:
        result = await send(cycle, gateway(fake, balance={"path": "/nowhere"}))
    assert states(cycle) == {"accepted": 20}
    assert result.short == {}
    assert "the balance at l2t_sms is not known: l2t_sms answers with status 404" in caplog.text
    assert run_sql("SELECT balance FROM gateway").scalar() is None
