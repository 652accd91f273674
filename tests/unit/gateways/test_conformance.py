"""What sending and receiving rely on, for every provider there is: add a row for a new one."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.gateways import GatewayConfig, Message, MessageUnfit, ReceiptUnreadable, create_gateway
from fatoura.gateways.registry import ADAPTERS
from fatoura.notices.encoding import measure
from fatoura.notices.states import State

CONFIGS = {
    "kannel": GatewayConfig(
        "fatoura_sms", "http://gateway:13013", "steg", "s3cr3t-word", {"longest_segments": 10}
    ),
    "orange": GatewayConfig(
        "fatoura_sms",
        "https://api.orange.com",
        "steg",
        "s3cr3t-word",
        {"sender_address": "+21650000000", "longest_segments": 10},
    ),
    "query_string": GatewayConfig(
        "fatoura_sms", "https://api.l2t.io", "steg", "s3cr3t-word", {"form": "l2t", "longest_segments": 10}
    ),
}

NOTICE = UUID("0190a1b2-0000-7000-8000-000000000001")
PHONE = "+21620000000"  # invented
TEXTS = ["STEG: facture 42580 496 0, 123,456 DT", "المبلغ المطلوب 123,456 د", "€[]" * 60, "ع" * 135]

every_gateway = pytest.mark.parametrize("name", ADAPTERS)


def gateway(name: str):
    return create_gateway(name, CONFIGS[name])


def message(name: str, text: str) -> Message:
    measured = measure(text)
    url = gateway(name).receipt_url("http://receiver:8081", "word", NOTICE, 3)
    return Message(NOTICE, 3, PHONE, text, measured.encoding, measured.segments, 90, "STEG", url)


def test_every_provider_is_tested_here():
    assert CONFIGS.keys() == ADAPTERS.keys()


@every_gateway
def test_the_adapter_is_named_as_it_is_registered_and_the_gateway_as_its_connection(name):
    assert (gateway(name).adapter, gateway(name).name) == (name, "fatoura_sms")


@every_gateway
@pytest.mark.parametrize("text", TEXTS)
def test_the_same_message_gives_the_same_request(name, text):
    assert gateway(name).submit_request(message(name, text)) == gateway(name).submit_request(
        message(name, text)
    )


@every_gateway
def test_a_message_longer_than_declared_is_refused(name):
    longest = gateway(name).capabilities.longest_segments
    with pytest.raises(MessageUnfit):
        gateway(name).submit_request(message(name, "x" * 153 * (longest + 1)))


@every_gateway
def test_a_number_may_stand_as_text_in_a_connection_that_is_written_as_an_address(name):
    config = CONFIGS[name]
    found = create_gateway(name, replace(config, extra={**config.extra, "longest_segments": "3"}))
    assert found.capabilities.longest_segments == 3


@every_gateway
def test_a_message_measured_otherwise_than_planned_is_refused(name):
    with pytest.raises(MessageUnfit):
        gateway(name).submit_request(replace(message(name, TEXTS[0]), text="ê" * 71))


@every_gateway
@given(status=st.integers(100, 599), body=st.binary(max_size=300))
def test_an_answer_that_is_not_known_is_never_taken_for_acceptance(name, status, body):
    assert gateway(name).read_answer(status, {}, body).kind in (
        "in_doubt",
        "refused",
        "unauthorized",
        "stop",
    )


@every_gateway
@pytest.mark.parametrize("status", [200, 202, 408, 500, 502, 504])
def test_what_a_proxy_says_of_a_request_that_it_passed_on_leaves_it_in_doubt(name, status):
    assert gateway(name).read_answer(status, {}, b"<html>Bad Gateway</html>").kind == "in_doubt"


@every_gateway
@pytest.mark.parametrize("status", [200, 400, 403, 500, 503])
def test_an_answer_that_repeats_the_request_is_not_kept(name, status):
    body = f"cannot send {TEXTS[0]} to {PHONE} for s3cr3t-word".encode()
    answer = gateway(name).read_answer(status, {}, body).answer
    assert not any(hidden in answer for hidden in (TEXTS[0], PHONE, "s3cr3t-word"))


@every_gateway
def test_nothing_personal_or_secret_shows_when_objects_are_printed(name):
    sent = message(name, TEXTS[0])
    shown = repr([CONFIGS[name], sent, gateway(name).submit_request(sent), gateway(name)])
    assert not any(hidden in shown for hidden in (TEXTS[0], PHONE, "s3cr3t-word", "steg", sent.receipt_url))


@every_gateway
def test_the_receipt_address_names_the_notice_where_receipts_are_said_to_carry_our_id(name):
    capabilities = gateway(name).capabilities
    url = gateway(name).receipt_url("http://receiver:8081", "word", NOTICE, 3)
    assert capabilities.receipts == "poll" or url.startswith("http://receiver:8081/receipts/fatoura_sms/word")
    assert not capabilities.client_reference or str(NOTICE) in url


@every_gateway
@given(query=st.dictionaries(st.text(), st.text()), body=st.binary(max_size=300))
def test_any_callback_is_read_or_refused_and_nothing_else(name, query, body):
    try:
        receipt = gateway(name).read_receipt(query, body, {})
    except ReceiptUnreadable:
        return
    assert receipt.status in State
