"""The metrics of a real run: a sender, the sandbox gateway, the receiver, and who listens to them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fatoura.gateways.sandbox import Sandbox, SandboxOptions
from fatoura.metrics import METRICS, names, statsd
from tests.integration.test_sending import receiver, sender, until
from tests.notices import plan_notices, states
from tests.processes import free_port
from tests.statsd import StatsdListener

NO_WAIT = timedelta(0)


@pytest.fixture
def listener(database, configure, monkeypatch):
    monkeypatch.setattr(statsd, "_server", statsd._Server())
    with StatsdListener() as listening:
        configure(
            database_url=database,
            now="2026-05-20T10:00:00+01:00",
            segments_per_second=2000,
            request_timeout=2,
            connections=20,
            statsd_host="127.0.0.1",
            statsd_port=listening.port,
            metrics_poll=0.2,
        )
        yield listening


async def test_a_run_tells_of_every_message_and_every_receipt(listener):
    port = free_port()
    cycle = plan_notices(200)
    options = SandboxOptions(port=0, outcomes={"undeliverable": 0.1}, faults={"503": 0.05}, seed=3)
    async with receiver(port), Sandbox(options) as sandbox:
        result = await sender(cycle, sandbox.port, receipts_to=port).run(patience=NO_WAIT)
        await until(lambda: set(states(cycle)) <= {"delivered", "undeliverable", "planned"})
        told, sent = states(cycle), result.counts["accepted"]
        await until(lambda: listener.counts.get("fatoura.receipts.matched.fatoura_sms.moved", 0) >= sent)
        await until(lambda: "fatoura.doubts.notices.fatoura_sms" in listener.gauges)
    counts = listener.counts
    assert counts["fatoura.sending.messages.fatoura_sms.accepted"] == sent
    assert counts["fatoura.sending.segments.fatoura_sms"] == sent
    assert counts["fatoura.sending.messages.fatoura_sms.refused"] == result.counts["refused"] > 0
    assert counts["fatoura.sending.refusals.fatoura_sms.busy"] == result.counts["refused"]
    assert counts["fatoura.receipts.received.fatoura_sms.yes"] >= sent
    assert counts["fatoura.receiver.beats"] >= 1
    assert listener.gauges["fatoura.window.open"] == 1
    assert listener.gauges["fatoura.gateway.limit.fatoura_sms"] == 2000
    assert listener.gauges["fatoura.gateway.share.fatoura_sms"] == 1
    lags = listener.times("fatoura.receipts.delivery.fatoura_sms.delivered")
    assert 0 < len(lags) <= told["delivered"]
    assert all(0 <= lag < 60_000 for lag in lags)
    assert listener.times("fatoura.receipts.wait.fatoura_sms")
    # Nothing else, and nothing of a customer.
    known = [metric.pattern.split(".*")[0] for metric in METRICS]
    for name in {sample.name for sample in listener.samples}:
        assert any(name == one or name.startswith(f"{one}.") for one in known), name
        assert "216" not in name


async def test_messages_in_doubt_are_seen_while_they_are(listener):
    port = free_port()
    cycle = plan_notices(5)
    async with receiver(port), Sandbox(SandboxOptions(port=0, faults={"reset-after": 1.0})) as sandbox:
        await sender(cycle, sandbox.port, receipts_to=9).run(patience=NO_WAIT)
        doubts = f"fatoura.{names.DOUBTS.name}.fatoura_sms"
        await until(lambda: listener.gauges.get(doubts) == 5)
    assert listener.counts["fatoura.sending.messages.fatoura_sms.in_doubt"] == 5


async def test_without_a_server_that_answers_the_run_is_the_same(database, configure, monkeypatch):
    monkeypatch.setattr(statsd, "_server", statsd._Server())
    configure(
        database_url=database,
        now="2026-05-20T10:00:00+01:00",
        statsd_host="nobody.invalid",
        segments_per_second=2000,
    )
    port = free_port()
    cycle = plan_notices(50)
    async with receiver(port), Sandbox(SandboxOptions(port=0)) as sandbox:
        await sender(cycle, sandbox.port, receipts_to=port).run(patience=NO_WAIT)
        await until(lambda: states(cycle) == {"delivered": 50})
