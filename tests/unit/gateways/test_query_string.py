"""Aggregators by query string: requests, and tables of their answers. Numbers, keys and ids are invented."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.errors import BadInput
from fatoura.gateways import GatewayConfig, Message, MessageUnfit, ReceiptUnreadable, create_gateway
from fatoura.gateways.query_string import _FORMS, Form, known_forms
from fatoura.notices.encoding import measure
from fatoura.notices.states import State

KEY = "rI/-/kB=a+b&c"
CONFIG = GatewayConfig("fatoura_sms", "https://aggregator.example.tn", "", KEY, {"form": "l2t"})
NOTICE = UUID("0190a1b2-0000-7000-8000-000000000001")
ARABIC = "المبلغ المطلوب 123,456 د"


def gateway(form: str = "l2t", **extra):
    return create_gateway("query_string", replace(CONFIG, extra={"form": form, **extra}))


def message(text: str = "STEG: 42580 496 0 & 123,456 DT", **changes) -> Message:
    measured = measure(text)
    base = Message(NOTICE, 1, "+21620000000", text, measured.encoding, measured.segments, 120, "STEG", "")
    return replace(base, **changes)


def asked(request) -> tuple[str, dict[str, str]]:
    parts = urlsplit(request.url)
    return parts.path, dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))


# --- Requests


def test_l2t_is_asked_as_its_guide_shows():
    request = gateway(path="/dz/s/api/v1/sms").submit_request(message())
    assert (request.method, request.body) == ("GET", b"")
    assert asked(request) == (
        "/dz/s/api/v1/sms",
        {
            "key": KEY,
            "fct": "sms",
            "content-type": "json",
            "mobile": "21620000000",
            "sms": "STEG: 42580 496 0 & 123,456 DT",
            "sender": "STEG",
        },
    )
    statuses = gateway().status_request(["12345", "67890"])
    assert asked(statuses)[1] == {"key": KEY, "fct": "dlr", "content-type": "json", "msg_id": "12345;67890"}
    assert asked(gateway().balance_request())[1] == {"key": KEY, "fct": "balance", "content-type": "json"}


def test_tunisiesms_is_asked_as_its_clients_do():
    path, query = asked(gateway("tunisiesms").submit_request(message(ARABIC)))
    assert path == "/Api/Api.aspx"
    assert query == {"key": KEY, "fct": "sms", "mobile": "21620000000", "sms": ARABIC, "sender": "STEG"}


def test_winsms_is_told_of_arabic_and_of_nothing_else():
    path, query = asked(gateway("winsms").submit_request(message(ARABIC)))
    assert path == "/sms/sms/api"
    assert query == {
        "api_key": KEY, "action": "send-sms", "response": "json", "to": "21620000000", "from": "STEG",
        "sms": ARABIC, "unicode": "1",
    }  # fmt: skip
    assert "unicode" not in asked(gateway("winsms").submit_request(message()))[1]
    assert asked(gateway("winsms").status_request(["7"])) == (
        "/sms/sms/api/verifSms",
        {"api_key": KEY, "ref": "7"},
    )


@pytest.mark.parametrize(
    ("number", "told"),
    [("digits", "21620000000"), ("plus", "+21620000000"), ("00", "0021620000000")],
)
def test_numbers_go_out_in_the_provider_s_form(number, told):
    assert asked(gateway(number=number).submit_request(message()))[1]["mobile"] == told


@given(
    text=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=60)
)
def test_any_text_comes_out_of_the_address_as_it_was(text):
    request = gateway(longest_segments=10).submit_request(message(text))
    assert request.url.isascii()
    assert " " not in request.url
    assert asked(request)[1]["sms"] == text


def test_nothing_secret_shows_when_a_request_or_a_gateway_is_printed():
    shown = repr([gateway(), gateway().submit_request(message()), gateway().status_request(["1"]), CONFIG])
    assert "rI/" not in shown
    assert "rI%2F" not in shown


def test_long_messages_are_refused_until_the_connection_allows_them():
    long = message("x" * 161)
    with pytest.raises(MessageUnfit, match="longest_segments"):
        gateway().submit_request(long)
    assert gateway(longest_segments=2).submit_request(long)


# --- What an aggregator can do follows from its form


def test_what_it_can_do_follows_from_the_form():
    l2t, winsms = gateway("l2t").capabilities, gateway("winsms").capabilities
    assert (l2t.receipts, l2t.status_query, l2t.statuses_at_once, l2t.balance) == ("poll", True, 50, True)
    assert not l2t.client_reference
    assert not l2t.validity
    assert l2t.scheduled
    assert (winsms.statuses_at_once, winsms.seconds_between_statuses) == (1, 30)
    assert not gateway("tunisiesms").capabilities.balance
    assert gateway(submit={"parameters": {"validity": "ttl"}}).capabilities.validity


def test_a_validity_parameter_gets_the_minutes():
    with_validity = gateway(submit={"parameters": {"validity": "ttl"}})
    assert asked(with_validity.submit_request(message(validity_minutes=90)))[1]["ttl"] == "90"


# --- Answers


def l2t(status: object, **data: object) -> bytes:
    return json.dumps({"success": True, "message": "…", "code": "x", "status": status, "data": data}).encode()


def xml(code: object, number: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?><response><status><status_code>{code}</status_code><status_msg>…</status_msg>'
        f"<message_id>{number}</message_id></status></response>"
    ).encode()


@pytest.mark.parametrize(
    ("form", "status", "body", "kind", "provider_id"),
    [
        ("l2t", 200, l2t("200", message_id=12345), "accepted", "12345"),
        ("l2t", 200, l2t(200, message_id="0012345"), "accepted", "0012345"),
        ("l2t", 200, l2t("200"), "accepted", None),
        ("l2t", 500, l2t("200", message_id=5), "in_doubt", "5"),
        ("l2t", 401, l2t(401), "stop", None),
        ("l2t", 200, l2t(401), "stop", None),
        ("l2t", 402, l2t("402"), "stop", None),
        ("l2t", 402, b"", "stop", None),
        ("l2t", 420, l2t(420), "refused", None),
        ("l2t", 441, l2t(441), "rejected", None),
        ("l2t", 441, b"<html>", "refused", None),
        ("l2t", 440, l2t(440), "stop", None),
        ("l2t", 500, l2t(500), "in_doubt", None),
        ("l2t", 200, l2t("201"), "in_doubt", None),
        ("l2t", 200, l2t(True), "in_doubt", None),
        ("l2t", 200, b"", "in_doubt", None),
        ("l2t", 200, b"[]", "in_doubt", None),
        ("l2t", 200, b'{"status": "200", "data": {"message_id": 1', "in_doubt", None),
        ("l2t", 200, b"[" * 100_000, "in_doubt", None),
        ("l2t", 503, b"<html>", "refused", None),
        ("l2t", 429, b"", "refused", None),
        ("l2t", 302, b"", "stop", None),
        ("l2t", 502, b"<html>", "in_doubt", None),
        ("tunisiesms", 200, xml(200, "0012345"), "accepted", "0012345"),
        ("tunisiesms", 200, xml(200), "accepted", None),
        ("tunisiesms", 200, xml(401), "stop", None),
        ("tunisiesms", 200, xml(402), "stop", None),
        ("tunisiesms", 200, xml(420), "refused", None),
        ("tunisiesms", 200, xml(441), "rejected", None),
        ("tunisiesms", 200, xml(999), "in_doubt", None),
        ("tunisiesms", 200, xml(200, "7")[:-20], "in_doubt", None),
        ("tunisiesms", 200, b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + xml(200, "7")[21:], "in_doubt", None),
        ("winsms", 200, b'{"code": "ok", "ref": "A7"}', "accepted", "A7"),
        ("winsms", 200, b'{"code": "102", "message": "x"}', "stop", None),
        ("winsms", 200, b'{"code": 105}', "stop", None),
        ("winsms", 200, b'{"code": "103"}', "rejected", None),
        ("winsms", 200, b'{"code": "100"}', "in_doubt", None),
        ("winsms", 200, b'{"code": "111", "ref": 7}', "in_doubt", "7"),
        ("winsms", 200, b"Successfully Send", "in_doubt", None),
    ],
)
def test_answers(form, status, body, kind, provider_id):
    outcome = gateway(form).read_answer(status, {}, body)
    assert (outcome.kind, outcome.provider_id) == (kind, provider_id)


def test_an_unknown_code_is_not_kept_for_it_may_be_anything():
    outcome = gateway().read_answer(200, {}, l2t("+21620000000"))
    assert outcome.kind == "in_doubt"
    assert "2000" not in outcome.answer


@given(status=st.integers(100, 599), body=st.binary(max_size=300))
def test_whatever_comes_is_accepted_or_rejected_only_where_the_form_says_so(status, body):
    for form in known_forms():
        assert gateway(form).read_answer(status, {}, body).kind in ("in_doubt", "refused", "stop")


# --- Statuses


def test_each_word_of_l2t_is_a_state():
    words = ["DELIVERED", "UNDELIVERED", "EXPIRED", "REJECTED", "UNKNOWN", "delivered", "LOST"]
    body = l2t(200)
    said = json.loads(body) | {
        "data": [
            {"message_id": number, "dlr": word, "dlr_date": "2025-10-21 10:30", "ref": "x"}
            for number, word in enumerate(words)
        ]
    }
    receipts = gateway().read_statuses(200, {}, json.dumps(said).encode())
    assert [(one.provider_id, one.status) for one in receipts] == [
        ("0", State.DELIVERED),
        ("1", State.UNDELIVERABLE),
        ("2", State.EXPIRED),
        ("3", State.REJECTED),
        ("4", State.ACCEPTED),
        ("5", State.DELIVERED),
        ("6", State.ACCEPTED),  # a word that nobody knows ends nothing
    ]
    assert receipts[-1].detail == "a word that its form does not hold"
    assert {one.happened_at for one in receipts} == {datetime(2025, 10, 21, 9, 30, tzinfo=UTC)}
    assert receipts[0].raw == said["data"][0]
    assert {(one.notice_id, one.attempt) for one in receipts} == {(None, None)}


def test_what_has_no_word_yet_says_nothing():
    said = {"data": [{"message_id": 1, "dlr": None}, {"message_id": None, "dlr": "DELIVERED"}, "x"]}
    assert gateway().read_statuses(200, {}, json.dumps(said).encode()) == []
    assert gateway().read_statuses(200, {}, b'{"data": []}') == []


def test_tunisiesms_s_acknowledgements_are_read_one_or_many():
    one = "<message><message_id>007</message_id><acknowledgement>DELIVRD</acknowledgement></message>"
    two = "<message><message_id>8</message_id><acknowledgement>UNDELIV</acknowledgement></message>"
    for body, expected in (
        (one, [("007", State.DELIVERED)]),
        (one + two, [("007", State.DELIVERED), ("8", State.UNDELIVERABLE)]),
    ):
        receipts = gateway("tunisiesms").read_statuses(
            200, {}, f"<Acknowledgement>{body}</Acknowledgement>".encode()
        )
        assert [(receipt.provider_id, receipt.status) for receipt in receipts] == expected


def test_winsms_answers_for_the_one_that_was_asked_for():
    (receipt,) = gateway("winsms").read_statuses(200, {}, b'{"status": "Delivered"}')
    assert (receipt.provider_id, receipt.status) == (None, State.DELIVERED)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"code": "102"}', b'{"data": "x"}', b"\xff"]
)
@pytest.mark.parametrize("form", known_forms())
def test_an_answer_without_any_message_is_unreadable(form, body):
    with pytest.raises(ReceiptUnreadable):
        gateway(form).read_statuses(200, {}, body)


@given(body=st.binary(max_size=300))
def test_any_answer_to_a_question_is_read_or_refused_and_nothing_else(body):
    for form in known_forms():
        try:
            gateway(form).read_statuses(200, {}, body)
        except ReceiptUnreadable:
            continue


def test_a_provider_that_repeats_the_key_has_it_hidden():
    said = {
        "data": [
            {"message_id": 1, "dlr": "DELIVERED", "asked": f"?key={KEY}", KEY: "rI%2F-%2FkB%3Da%2Bb%26c"}
        ]
    }
    (receipt,) = gateway().read_statuses(200, {}, json.dumps(said).encode())
    assert "rI" not in json.dumps(receipt.raw)


# --- Balance


@pytest.mark.parametrize(
    ("form", "body", "amount"),
    [
        ("l2t", l2t(200, id_client=1, balance=350), Decimal(350)),
        ("l2t", l2t(200, balance=250.5), Decimal("250.5")),
        ("l2t", l2t(200, balance="1 250,5"), Decimal("1250.5")),
        ("winsms", b'{"balance": "1250"}', Decimal(1250)),
    ],
)
def test_balances(form, body, amount):
    balance = gateway(form).read_balance(200, {}, body)
    assert (balance.amount, balance.unit) == (amount, "SMS")


@pytest.mark.parametrize(
    "body", [b"", b"{}", l2t(200, balance=None), l2t(200, balance="much"), l2t(200, balance="NaN")]
)
def test_an_answer_without_a_balance_is_none(body):
    with pytest.raises(BadInput, match="balance"):
        gateway().read_balance(200, {}, body)


# --- Forms


@pytest.mark.parametrize("name", known_forms())
def test_each_form_that_comes_along_is_complete(name):
    assert Form.model_validate(tomllib.loads((_FORMS / f"{name}.toml").read_text()))
    assert gateway(name).form == name


OWN = {
    "path": "/send",
    "number": "plus",
    "submit": {
        "parameters": {"key": "pass", "username": "user", "phone": "to", "text": "msg", "sender": "from"},
        "answer": {"format": "pairs", "code": "status", "id": "id"},
        "codes": {"accepted": ["0"], "stop": ["9"]},
    },
    "statuses": {
        "path": "/state",
        "parameters": {"key": "pass", "username": "user", "ids": "id"},
        "answer": {"format": "json", "word": "state"},
        "words": {"delivered": ["done"]},
    },
    "balance": {"path": "/left", "parameters": {"key": "pass"}, "format": "word", "unit": "TND"},
}


def test_an_aggregator_that_nobody_knew_is_wholly_in_the_connection():
    config = replace(CONFIG, username="steg", extra={"form": "tender_2027", **OWN})
    own = create_gateway("query_string", config)
    assert own.form == "tender_2027"
    path, query = asked(own.submit_request(message()))
    assert path == "/send"
    assert query["to"] == "+21620000000"
    assert (query["user"], query["pass"]) == ("steg", KEY)
    assert own.read_answer(200, {}, b"status=0\nid=077").provider_id == "077"
    assert own.read_answer(200, {}, b"status=0;id=077").kind == "accepted"
    assert own.read_answer(200, {}, b"status=9&id=").kind == "stop"
    (receipt,) = own.read_statuses(200, {}, b'{"state": "DONE"}')
    assert receipt.status is State.DELIVERED
    assert own.read_balance(200, {}, b"12.500 TND").amount == Decimal("12.500")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extra": {}}, "form"),
        ({"extra": {"form": 7}}, "form"),
        ({"extra": {"form": "l2t", "pathh": "/x"}}, "pathh"),
        ({"extra": {"form": "l2t", "path": "x"}}, "path"),
        ({"extra": {"form": "l2t", "path": "/a b"}}, "path"),
        ({"extra": {"form": "l2t", "longest_segments": 0}}, "longest_segments"),
        ({"extra": {"form": "l2t", "timezone": "Tunis"}}, "time zone"),
        ({"extra": {"form": "l2t", "submit": {"codes": {"accepted": ["420"]}}}}, "two outcomes"),
        ({"extra": {"form": "nobody"}}, "l2t, tunisiesms, winsms"),
        ({"extra": {"form": "../forms/l2t"}}, "wrong"),
        ({"extra": {"form": "own", **OWN}}, "login"),
        ({"password": ""}, "password"),
        ({"password": "k\ney"}, "password"),
        ({"base_url": "aggregator"}, "address"),
    ],
)
def test_a_connection_that_cannot_work_is_refused_and_no_key_is_told(changes, said):
    with pytest.raises(BadInput, match=said) as refusal:
        create_gateway("query_string", replace(CONFIG, **changes))
    assert KEY not in str(refusal.value)
