"""The Orange adapter against tables of what Orange documents, and of what its clients have seen.

Numbers, ids, texts and credentials are invented.
"""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.errors import BadInput
from fatoura.gateways import (
    Balance,
    GatewayConfig,
    Message,
    MessageUnfit,
    Outcome,
    ReceiptUnreadable,
    Token,
    TransportFailure,
    create_gateway,
    outcome_of,
    receipt_reader,
)
from fatoura.notices.encoding import measure
from fatoura.notices.states import State

CONFIG = GatewayConfig(
    "orange_sms",
    "https://api.orange.com",
    "client-id",
    "s3cr3t:word",
    {"sender_address": "+21650000000"},
)
NOTICE = UUID("0190a1b2-0000-7000-8000-000000000001")
PHONE = "+21620000000"
RESOURCE = "0077d2d6e-c155-43d3-97ef-1dce0dc648d5"
OUTBOUND = "https://api.orange.com/smsmessaging/v1/outbound/tel%3A%2B21650000000/requests"


def gateway(**extra):
    return create_gateway("orange", replace(CONFIG, extra={**CONFIG.extra, **extra}))


def message(text: str = "STEG: facture 42580 496 0", **changes) -> Message:
    measured = measure(text)
    base = Message(
        NOTICE, 1, PHONE, text, measured.encoding, measured.segments, 120, "STEG", "https://r/receipts/x/y"
    )
    return replace(base, **changes)


def asked(request) -> dict:
    return json.loads(request.body)["outboundSMSMessageRequest"]


# --- The token


def test_a_token_is_asked_for_by_the_applications_credentials():
    request = gateway().token_request()
    assert (request.method, request.url) == ("POST", "https://api.orange.com/oauth/v3/token")
    scheme, _, credentials = request.headers["Authorization"].partition(" ")
    assert (scheme, b64decode(credentials)) == ("Basic", b"client-id:s3cr3t:word")
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.body == b"grant_type=client_credentials"


@pytest.mark.parametrize(
    ("told", "seconds"), [(3600, 3600), ("3600", 3600), (90, 90), (None, 3600), ("soon", 3600), (-1, 3600)]
)
def test_a_token_comes_with_its_life(told, seconds):
    body = json.dumps({"token_type": "Bearer", "access_token": "Ab-9_.x", "expires_in": told}).encode()
    assert gateway().read_token(200, {}, body) == Token("Ab-9_.x", seconds)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": "invalid_client", "error_description": "invalid, client-id"}, "stop"),
        (400, {"error": "unsupported_grant_type"}, "stop"),
        (403, {"code": 50, "message": "Access denied"}, "stop"),
        (404, {"code": 60, "message": "Resource not found"}, "stop"),
        (302, None, "stop"),
        (429, {"code": 53, "message": "Too many requests"}, "refused"),
        (408, None, "refused"),
        (500, {"code": 1}, "refused"),
        (503, {"code": 5}, "refused"),
        (200, {"access_token": "two words"}, "refused"),
        (200, {"access_token": ""}, "refused"),
        (200, None, "refused"),
    ],
)
def test_why_there_is_no_token(status, body, kind):
    said = b"<html>client-id</html>" if body is None else json.dumps(body).encode()
    outcome = gateway().read_token(status, {}, said)
    assert isinstance(outcome, Outcome)
    assert outcome.kind == kind
    assert str(status) in outcome.answer
    assert "client-id" not in outcome.answer


# --- Submitting


def test_a_submit_is_a_post_of_json_with_the_number_outside_the_address():
    request = gateway().submit_request(message(), "t0k")
    assert (request.method, request.url) == ("POST", OUTBOUND)
    assert request.headers["Authorization"] == "Bearer t0k"
    assert request.headers["Content-Type"] == "application/json"
    assert asked(request) == {
        "address": "tel:+21620000000",
        "senderAddress": "tel:+21650000000",
        "senderName": "STEG",
        "outboundSMSTextMessage": {"message": "STEG: facture 42580 496 0"},
    }


def test_a_sender_that_orange_does_not_know_is_left_out():
    assert "senderName" not in asked(gateway(sender_name=False).submit_request(message()))


def test_arabic_is_told_by_numbers_that_no_character_set_can_spoil():
    request = gateway().submit_request(message("المبلغ المطلوب"))
    assert request.body.isascii()
    assert asked(request)["outboundSMSTextMessage"] == {"message": "المبلغ المطلوب"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"phone": "20000000"}, "number"),
        ({"phone": "+216 20 000 000"}, "number"),
        ({"phone": ""}, "number"),
        ({"text": ""}, "no text"),
        ({"text": "a\x1b(b"}, "control"),
        ({"text": "half \ud83d"}, "half"),
        ({"sender": ""}, "sender"),
        ({"sender": "ABCDEFGHIJKL"}, "sender"),
        ({"sender": "شركة"}, "sender"),
        ({"text": "à la forêt"}, "planned as 1 segments of gsm7"),
        ({"encoding": "ucs2"}, "planned as 1 segments of ucs2"),
        ({"text": "x" * 161, "segments": 2}, "longest_segments"),
    ],
)
def test_what_orange_would_spoil_is_refused_before_it_is_sent(changes, why):
    unfit = replace(message(), **changes)
    with pytest.raises(MessageUnfit, match=why) as refused:
        gateway().submit_request(unfit)
    assert str(NOTICE) in str(refused.value)
    for secret in (unfit.phone, unfit.text):
        assert not secret or secret not in str(refused.value)


def test_more_segments_are_taken_up_to_what_the_connection_allows():
    gateway(longest_segments=2).submit_request(message("x" * 161))
    with pytest.raises(MessageUnfit):
        gateway(longest_segments=2).submit_request(message("x" * 307))


@given(st.text())
def test_any_text_is_sent_whole_or_refused(text):
    try:
        request = gateway(longest_segments=255).submit_request(message(text))
    except MessageUnfit:
        return
    assert asked(request)["outboundSMSTextMessage"] == {"message": text}


# --- Its answers


def created(url: str | None = f"{OUTBOUND}/{RESOURCE}") -> dict:
    made = {
        "address": ["tel:+21620000000"],
        "senderAddress": "tel:+21650000000",
        "outboundSMSTextMessage": {"message": "STEG: facture 42580 496 0"},
    }
    return {"outboundSMSMessageRequest": made if url is None else made | {"resourceURL": url}}


@pytest.mark.parametrize(
    ("url", "resource"),
    [
        (f"{OUTBOUND}/{RESOURCE}", RESOURCE),
        (f"https://api.orange.com/smsmessaging/v1/outbound/tel:+21650000000/requests/{RESOURCE}", RESOURCE),
        (f"{OUTBOUND}/0012300/", "0012300"),
        (f"{OUTBOUND}/", None),
        ("nothing of the kind/at all", None),
        (None, None),
    ],
)
def test_created_is_accepted_under_the_resources_id_whole_and_as_text(url, resource):
    outcome = gateway().read_answer(201, {}, json.dumps(created(url)).encode())
    assert outcome == Outcome("accepted", resource, "status 201")


@pytest.mark.parametrize("status", [200, 202])
def test_an_id_in_an_answer_that_is_not_documented_is_kept_beside_the_doubt(status):
    outcome = gateway().read_answer(status, {}, json.dumps(created()).encode())
    assert (outcome.kind, outcome.provider_id) == ("in_doubt", RESOURCE)


def service(code: str, *variables: str) -> dict:
    return {"requestError": {"serviceException": {"messageId": code, "text": "…", "variables": [*variables]}}}


def policy(code: str, *variables: str) -> dict:
    return {"requestError": {"policyException": {"messageId": code, "text": "…", "variables": [*variables]}}}


ANSWERS = [
    # An error in the service: where and when, it does not say.
    (400, service("SVC0001", "500"), "in_doubt"),
    (500, service("SVC0001", "500"), "in_doubt"),
    # A value that is wrong: of this message, of every message, or nobody knows which.
    (400, service("SVC0002", "address"), "rejected"),
    (400, service("SVC0002", "outboundSMSMessageRequest.address"), "rejected"),
    (400, service("SVC0002", "outboundSMSTextMessage"), "rejected"),
    (400, service("SVC0002", f"tel:{PHONE}"), "rejected"),
    (400, service("SVC0002", PHONE), "rejected"),
    (400, service("SVC0002", "senderAddress"), "stop"),
    (400, service("SVC0002", "tel:+21650000000"), "stop"),
    (400, service("SVC0002", "outboundSMSMessageRequest.senderName"), "stop"),
    (400, service("SVC0002", "somethingElse"), "refused"),
    (400, service("SVC0002"), "refused"),
    (400, service("SVC0003", "senderName", "A, B"), "stop"),
    (400, service("SVC0003", "message", "…"), "rejected"),
    # No valid address.
    (400, service("SVC0004", "address"), "rejected"),
    (400, service("SVC0004", f"tel:{PHONE}"), "rejected"),
    (400, service("SVC0004"), "rejected"),
    (400, service("SVC0004", "senderAddress"), "stop"),
    (400, service("SVC0280", "160"), "rejected"),
    # What the contract forbids.
    (403, policy("POL0001", "Expired contract"), "stop"),
    (403, policy("POL0001", "Insufficient balance"), "stop"),
    (403, policy("POL0001", "Sender not allowed"), "stop"),
    (403, policy("POL0001"), "stop"),
    (403, policy("POL0001", "Rate limit exceeded"), "refused"),
    (403, policy("POL0001", "Contract: rate limit exceeded"), "stop"),
    (403, policy("POL0003", "address"), "stop"),
    (403, policy("POL0009"), "stop"),
    # Not documented.
    (400, service("SVC9999"), "in_doubt"),
    (400, policy("POL0001"), "in_doubt"),
    (409, service("SVC0005", "correlator"), "in_doubt"),
    # The words of Orange's front, which passed nothing on.
    (400, {"code": 22, "message": "Invalid body"}, "stop"),
    (400, {"code": 99, "message": "?"}, "in_doubt"),
    (401, {"code": 42, "message": "Expired credentials"}, "unauthorized"),
    (401, {"code": 41, "message": "Invalid credentials"}, "unauthorized"),
    (401, policy("POL0001", "invalid token"), "unauthorized"),
    (403, {"code": 50, "message": "Access denied"}, "stop"),
    (404, {"code": 60, "message": "Resource not found"}, "stop"),
    (405, {"code": 61, "message": "Method not allowed"}, "stop"),
    (429, {"code": 53, "message": "Too many requests"}, "refused"),
    (503, {"code": 5, "message": "The service is temporarily unavailable"}, "refused"),
    (503, service("SVC0001"), "refused"),
    (500, {"code": 1, "message": "Internal error"}, "in_doubt"),
    (504, {"code": 7}, "in_doubt"),
    # Other people's words.
    (302, None, "stop"),
    (401, None, "unauthorized"),
    (429, None, "refused"),
    (503, None, "refused"),
    (201, None, "in_doubt"),
    (200, None, "in_doubt"),
    (400, None, "in_doubt"),
    (408, None, "in_doubt"),
    (502, None, "in_doubt"),
]


@pytest.mark.parametrize(("status", "body", "kind"), ANSWERS)
def test_what_each_answer_means(status, body, kind):
    said = b"<html>tel:+21620000000</html>" if body is None else json.dumps(body).encode()
    outcome = gateway().read_answer(status, {}, said)
    assert (outcome.kind, outcome.provider_id) == (kind, None)
    assert str(status) in outcome.answer
    assert PHONE not in outcome.answer
    assert PHONE[4:] not in outcome.answer


def test_an_answer_names_the_part_that_is_wrong_and_never_its_value():
    said = service("SVC0002", "outboundSMSMessageRequest.senderName")
    assert (
        gateway().read_answer(400, {}, json.dumps(said).encode()).answer == "status 400, SVC0002: senderName"
    )
    said = service("SVC0004", f"tel:{PHONE}")
    assert gateway().read_answer(400, {}, json.dumps(said).encode()).answer == "status 400, SVC0004: address"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"[" * 5000,
        b'{"requestError": null}',
        b'{"requestError": {"serviceException": "SVC0004"}}',
        b'{"requestError": {"serviceException": {"messageId": ["SVC0004"]}}}',
        b'{"requestError": {"serviceException": {"messageId": "SVC0004; and a secret"}}}',
        b'{"code": true}',
        b'{"code": 21620000000}',
        b'{"outboundSMSMessageRequest": {"resourceURL": {}}}',
        b"\xff\xfe",
    ],
)
def test_garbage_in_an_answer_is_only_counted(body):
    outcome = gateway().read_answer(400, {}, body)
    assert outcome == Outcome("in_doubt", None, f"status 400 with {len(body)} bytes unlike Orange's")


@pytest.mark.parametrize(("kind", "outcome"), [("not_sent", "refused"), ("in_doubt", "in_doubt")])
def test_without_an_answer_only_what_was_not_written_is_certain(kind, outcome):
    assert outcome_of(gateway(), TransportFailure(kind, "connection lost")).kind == outcome


# --- Receipts

read_receipt = receipt_reader("orange")


def told(status: str, resource: object = RESOURCE, **more) -> dict:
    return {
        "deliveryInfoNotification": {
            "callbackData": resource,
            "deliveryInfo": {"address": f"tel:{PHONE}", "deliveryStatus": status, **more},
        }
    }


def read(body: object):
    return read_receipt({}, json.dumps(body).encode(), {})


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("DeliveredToTerminal", State.DELIVERED),
        ("DeliveryImpossible", State.UNDELIVERABLE),
        ("DeliveryUncertain", State.ACCEPTED),
        ("DeliveredToNetwork", State.ACCEPTED),
        ("MessageWaiting", State.ACCEPTED),
    ],
)
def test_what_each_word_of_a_receipt_means(word, state):
    receipt = read(told(word))
    assert (receipt.status, receipt.detail, receipt.provider_id) == (state, word, RESOURCE)
    assert (receipt.notice_id, receipt.attempt, receipt.happened_at) == (None, None, None)
    assert PHONE not in repr(receipt)


INFO = {"address": f"tel:{PHONE}", "deliveryStatus": "DeliveredToTerminal"}


@pytest.mark.parametrize(
    "body",
    [
        {"deliveryInfoNotification": {"callbackData": "0077", "deliveryInfo": INFO}},
        {"deliveryInfoNotification": {"callbackData": "0077", "deliveryInfo": [INFO]}},
        {"deliveryInfoNotification": {"callbackData": "0077", "deliveryInfo": {"delivery": INFO}}},
        {"deliveryInfoNotification": {"callbackData": "0077", "deliveryInfo": {"delivery": [INFO, INFO]}}},
        {"deliveryInfoNotification": {"callbackData": "0077", "deliveryInfo": [{"delivery": INFO}]}},
        {"deliveryInfoNotification": {"deliveryInfo": {**INFO, "callbackData": "0077"}}},
        {"callbackData": "0077", "deliveryInfo": {"delivery": INFO}},
        {"deliveryInfo": {"callbackData": "0077", "delivery": INFO}},
        {"deliveryInfoNotification": {"callbackData": f"{OUTBOUND}/0077", "deliveryInfo": INFO}},
    ],
)
def test_receipts_of_all_nestings_are_read_and_the_id_keeps_its_zeros(body):
    receipt = read(body)
    assert (receipt.provider_id, receipt.status) == ("0077", State.DELIVERED)


def test_an_id_that_is_a_number_is_taken_as_text():
    assert read(told("DeliveredToTerminal", 770)).provider_id == "770"


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (["DeliveredToTerminal", "DeliveryImpossible"], State.UNDELIVERABLE),
        (["DeliveredToTerminal", "MessageWaiting"], State.ACCEPTED),
        (["DeliveredToTerminal", "DeliveredToTerminal"], State.DELIVERED),
    ],
)
def test_of_several_parts_the_worst_counts(words, state):
    parts = [{**INFO, "deliveryStatus": word} for word in words]
    assert read({"deliveryInfoNotification": {"callbackData": "1", "deliveryInfo": parts}}).status == state


def test_an_id_that_looks_like_ours_is_still_oranges():
    receipt = read(told("DeliveredToTerminal", str(NOTICE)))
    assert (receipt.notice_id, receipt.provider_id) == (None, str(NOTICE))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[" * 16000,
        b"{}",
        b"[]",
        json.dumps({"deliveryInfoNotification": []}).encode(),
        json.dumps({"deliveryInfoNotification": {"deliveryInfo": INFO}}).encode(),
        json.dumps(told("Delivered")).encode(),
        json.dumps(told("DeliveredToTerminal", "")).encode(),
        json.dumps(told("DeliveredToTerminal", "a\x00b")).encode(),
        json.dumps(told("DeliveredToTerminal", "two words")).encode(),
        json.dumps(told("DeliveredToTerminal", "x" * 201)).encode(),
        json.dumps(told("DeliveredToTerminal", True)).encode(),
        json.dumps(told("DeliveredToTerminal", {"id": 1})).encode(),
        json.dumps({"deliveryInfoNotification": {"callbackData": "1", "deliveryInfo": {}}}).encode(),
        json.dumps(
            {
                "deliveryInfoNotification": {
                    "callbackData": "1",
                    "deliveryInfo": [{**INFO, "callbackData": "2"}],
                }
            }
        ).encode(),
        json.dumps(
            {"deliveryInfoNotification": {"callbackData": "1", "deliveryInfo": {"deliveryStatus": ["x"]}}}
        ).encode(),
    ],
)
def test_what_is_no_receipt_is_refused_in_words_that_hold_nothing_personal(body):
    with pytest.raises(ReceiptUnreadable) as problem:
        read_receipt({}, body, {})
    assert PHONE not in str(problem.value)


def test_the_receipt_address_is_one_for_all_messages():
    # It is registered with Orange once, so that nothing in it can tell of a message.
    first = gateway().receipt_url("https://receiver", "word", NOTICE, 1)
    assert first == gateway().receipt_url("https://receiver", "word", UUID(int=0), 2)
    assert first == "https://receiver/receipts/orange_sms/word"


# --- The balance


def contract(units: object, status: str = "ACTIVE", country: str = "TUN") -> dict:
    return {
        "id": "5f7", "developerId": "…", "country": country, "offerName": "SMS_OCB", "status": status,
        "availableUnits": units, "requestedUnits": 0, "expirationDate": "2026-12-31T00:00:00Z",
    }  # fmt: skip


def test_the_balance_is_asked_for_with_the_token():
    request = gateway().balance_request("t0k")
    assert (request.method, request.url) == ("GET", "https://api.orange.com/sms/admin/v1/contracts")
    assert request.headers["Authorization"] == "Bearer t0k"


def test_the_balance_is_what_is_left_of_the_countrys_active_contracts():
    contracts = [contract(39_000), contract(120), contract(5, "EXPIRED"), contract(7, country="CIV")]
    assert gateway().read_balance(200, {}, json.dumps(contracts).encode()) == Balance(Decimal(39_120), "SMS")
    assert gateway(country="CIV").read_balance(200, {}, json.dumps(contracts).encode()).amount == 7
    assert gateway().read_balance(200, {}, b"[]").amount == 0


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", json.dumps([contract("many")]).encode()])
def test_an_answer_that_is_no_list_of_contracts_is_no_balance(body):
    with pytest.raises(BadInput):
        gateway().read_balance(200, {}, body)


# --- The connection


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"extra": {}}, "sender_address"),
        ({"extra": {"sender_address": "21650000000"}}, "sender_address"),
        ({"extra": {"sender_address": "tel:+21650000000"}}, "sender_address"),
        ({"extra": {"sender_address": 21650000000}}, "sender_address"),
        ({"extra": {"sender_address": "+21650000000", "sender_name": "STEG"}}, "sender_name"),
        ({"extra": {"sender_address": "+21650000000", "longest_segments": 0}}, "longest_segments"),
        ({"extra": {"sender_address": "+21650000000", "longest_segments": True}}, "longest_segments"),
        ({"extra": {"sender_address": "+21650000000", "country": "tn"}}, "country"),
        ({"extra": {"sender_address": "+21650000000", "notify": 1}}, "unknown names: notify"),
        ({"base_url": "api.orange.com"}, "address"),
        ({"username": ""}, "username"),
        ({"username": "with:colon"}, "username"),
        ({"password": "with blank"}, "password"),
        ({"password": "line\r\n"}, "password"),
    ],
)
def test_a_connection_that_cannot_work_is_refused_and_says_which_field(changes, why):
    with pytest.raises(BadInput, match=why) as refused:
        create_gateway("orange", replace(CONFIG, **changes))
    assert "s3cr3t" not in str(refused.value)


def test_it_declares_no_more_than_orange_documents():
    can = gateway(longest_segments=3).capabilities
    assert (can.client_reference, can.idempotency, can.status_query) == (False, False, False)
    assert (can.validity, can.scheduled, can.receipts) == (False, False, "push")
    assert (can.balance, can.longest_segments) == (True, 3)
