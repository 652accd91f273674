"""A cycle's notices through real Kannel and SMPP: every outcome that a network gives, each settled once."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from fatoura.gateways import GatewayConfig, create_gateway
from fatoura.receipts.secret import receipt_secret
from fatoura.sending.sender import Sender
from tests.integration.kannel.stack import PASSWORD, USERNAME
from tests.integration.test_sending import receiver, until
from tests.notices import notices, plan_notices, states
from tests.processes import free_port

pytestmark = [pytest.mark.kannel, pytest.mark.timeout(180)]

# By the last digit of the number, see smsc.js; 5 and 6 are refused once, and Kannel tries them again.
OUTCOMES = {
    "0": "delivered",
    "1": "undeliverable",
    "2": "expired",
    "3": "rejected",
    "4": "rejected",
    "5": "delivered",
    "6": "delivered",
    "7": "accepted",  # no final receipt ever
    "8": "delivered",  # two receipts
    "9": "undeliverable",  # UNKNOWN
}


async def test_every_outcome_of_a_network_settles_its_notice(database, configure, kannel):
    configure(now="2026-05-20T10:00:00+01:00", segments_per_second=500, connections=20)
    port = free_port()
    cycle = plan_notices(200)
    gateway = create_gateway("kannel", GatewayConfig("fatoura_sms", kannel.base_url, USERNAME, PASSWORD))
    async with receiver(port):
        sender = Sender(
            cycle, [gateway], receiver=(f"http://127.0.0.1:{port}", receipt_secret()), worker="test"
        )
        result = await sender.run(patience=timedelta(0))
        assert result.counts["accepted"] == 200
        await until(lambda: states(cycle).get("accepted") == 20 and "sending" not in states(cycle), 60)
    told = {notice.phone[-1]: notice.state for notice in notices(cycle)}
    assert told == OUTCOMES
    assert Counter(notice.attempts for notice in notices(cycle)) == {1: 200}
