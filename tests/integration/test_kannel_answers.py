"""Real Kannel's answers: the table that the sandbox copies, and what the adapter makes of them."""

from __future__ import annotations

import asyncio
import signal
import uuid
from dataclasses import replace

import pytest
import requests

from fatoura.gateways import GatewayConfig, Message, create_gateway, outcome_of
from fatoura.gateways.transport import Transport
from tests import sendsms_table
from tests.integration.kannel.stack import PASSWORD, USERNAME

pytestmark = pytest.mark.kannel


def config(kannel) -> GatewayConfig:
    return GatewayConfig("fatoura_sms", kannel.base_url, USERNAME, PASSWORD, {"longest_segments": 10})


async def submitted(config: GatewayConfig, phone: str = "+21620000000", timeout: float = 5):
    gateway = create_gateway("kannel", config)
    notice = uuid.uuid4()
    url = gateway.receipt_url("http://127.0.0.1:9", "word", notice, 1)
    message = Message(notice, 1, phone, "text", "gsm7", 1, 60, "STEG", url)
    async with Transport(connections=1, timeout=timeout) as transport:
        return outcome_of(gateway, await transport.submit(gateway.submit_request(message)))


@pytest.mark.parametrize(("case", "changes", "body", "answer"), sendsms_table.POSTS)
def test_posts_are_answered_by_the_table(kannel, case, changes, body, answer):
    response = requests.post(
        kannel.base_url + sendsms_table.PATH,
        data=body,
        headers=sendsms_table.post(changes, USERNAME, PASSWORD),
        timeout=5,
    )
    assert (response.status_code, response.text) == answer


@pytest.mark.parametrize(("case", "changes", "answer"), sendsms_table.GETS)
def test_gets_are_answered_by_the_table(kannel, case, changes, answer):
    response = requests.get(
        kannel.base_url + sendsms_table.PATH,
        params=sendsms_table.get(changes, USERNAME, PASSWORD),
        timeout=5,
    )
    assert (response.status_code, response.text) == answer


async def test_a_message_is_accepted(kannel):
    outcome = await submitted(config(kannel))
    assert (outcome.kind, outcome.answer) == ("accepted", "0: Accepted for delivery")


async def test_wrong_credentials_stop(kannel):
    outcome = await submitted(replace(config(kannel), password="wrong"))
    assert (outcome.kind, outcome.answer) == ("stop", "Authorization failed for sendsms")


async def test_a_wrong_path_stops(kannel):
    outcome = await submitted(replace(config(kannel), extra={"path": "/cgi-bin/other"}))
    assert (outcome.kind, outcome.answer) == ("stop", "Unknown request.")


async def test_a_message_is_queued_and_accepted_while_the_link_is_down_and_sent_when_it_is_back(own_kannel):
    own_kannel.children.pop("smsc").stop()
    outcome = await submitted(config(own_kannel))
    assert (outcome.kind, outcome.answer) == ("accepted", "3: Queued for later delivery")
    own_kannel.start_smsc()
    own_kannel.wait_for_link()
    for _ in range(100):
        if own_kannel.submitted("+21620000000"):
            break
        await asyncio.sleep(0.1)
    assert len(own_kannel.submitted("+21620000000")) == 1


async def test_a_stopped_kannel_refuses_and_nothing_is_in_doubt(own_kannel):
    own_kannel.stop()
    outcome = await submitted(config(own_kannel))
    assert (outcome.kind, outcome.answer) == ("refused", "connection refused")


async def test_a_smsbox_that_hangs_leaves_it_in_doubt(own_kannel):
    own_kannel.children["smsbox"].send(signal.SIGSTOP)
    outcome = await submitted(config(own_kannel), timeout=1)
    own_kannel.children["smsbox"].send(signal.SIGCONT)
    assert (outcome.kind, outcome.answer) == ("in_doubt", "no complete answer within 1 s")


async def test_when_smsbox_is_killed_under_load_what_counts_as_refused_was_never_submitted(own_kannel):
    """The proof behind sending again: a refusal must never hide a message that went out."""
    gateway = create_gateway("kannel", config(own_kannel))
    outcomes: dict[str, str] = {}
    phones = iter(f"+2162{number:06d}0" for number in range(3000))  # invented; the last digit: delivered

    async def send(transport: Transport) -> None:
        for phone in phones:
            notice = uuid.uuid4()
            url = gateway.receipt_url("http://127.0.0.1:9", "word", notice, 1)
            message = Message(notice, 1, phone, "text", "gsm7", 1, 60, "STEG", url)
            outcomes[phone] = outcome_of(
                gateway, await transport.submit(gateway.submit_request(message))
            ).kind
            if len(outcomes) == 1000:
                own_kannel.children["smsbox"].send(signal.SIGKILL)

    async with Transport(connections=20, timeout=5) as transport:
        await asyncio.gather(*(send(transport) for _ in range(20)))

    def those(kind: str) -> set[str]:
        return {phone.lstrip("+") for phone, outcome in outcomes.items() if outcome == kind}

    submitted: set[str] = set()
    for _ in range(100):
        submitted = {event["to"] for event in own_kannel.events("submit")}
        if those("accepted") <= submitted:
            break
        await asyncio.sleep(0.1)
    assert those("accepted") <= submitted
    assert len(those("in_doubt")) >= 1
    assert len(those("refused")) >= 1000
    assert not those("refused") & submitted
