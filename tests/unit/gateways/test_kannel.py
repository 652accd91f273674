"""The Kannel adapter against tables of what real Kannel 1.4.5 answers and reports. Numbers are invented."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.errors import BadInput
from fatoura.gateways import (
    GatewayConfig,
    Message,
    MessageUnfit,
    ReceiptUnreadable,
    TransportFailure,
    create_gateway,
    outcome_of,
)
from fatoura.notices.encoding import measure
from fatoura.notices.states import State

CONFIG = GatewayConfig("fatoura_sms", "http://gateway:13013", "steg", "s3cr3t-word")
NOTICE = UUID("0190a1b2-0000-7000-8000-000000000001")
URL = "http://receiver/receipts/kannel/x?notice=1"


def gateway(**extra):
    return create_gateway("kannel", replace(CONFIG, extra=extra))


def message(text: str = "STEG: facture 42580 496 0", **changes) -> Message:
    measured = measure(text)
    base = Message(
        NOTICE, 1, "+21620000000", text, measured.encoding, measured.segments, 120, "STEG", URL
    )  # fmt: skip
    return replace(base, **changes)


def test_a_submit_is_a_post_with_every_option_explicit_and_nothing_secret_in_its_address():
    request = gateway().submit_request(message())
    assert (request.method, request.url) == ("POST", "http://gateway:13013/cgi-bin/sendsms")
    assert request.headers == {
        "Content-Type": "text/plain; charset=UTF-8",
        "X-Kannel-Username": "steg",
        "X-Kannel-Password": "s3cr3t-word",
        "X-Kannel-From": "STEG",
        "X-Kannel-To": "+21620000000",
        "X-Kannel-Coding": "0",
        "X-Kannel-Validity": "120",
        "X-Kannel-DLR-Mask": "31",
        "X-Kannel-DLR-Url": URL,
    }
    assert request.body == b"STEG: facture 42580 496 0"


def test_arabic_goes_as_ucs2_from_utf8():
    request = gateway().submit_request(message("المبلغ المطلوب"))
    assert request.headers["X-Kannel-Coding"] == "2"
    assert request.body.decode() == "المبلغ المطلوب"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"phone": "20000000"}, "number"),
        ({"phone": "+216 20 000 000"}, "number"),
        ({"phone": "+21620000000 +21620000001"}, "number"),
        ({"phone": "+21620000000\r\nX-Kannel-From: Other"}, "number"),
        ({"phone": ""}, "number"),
        ({"text": ""}, "no text"),
        ({"text": "a\x1b(b"}, "control"),
        ({"text": "a\x00b"}, "control"),
        ({"text": "half \ud83d"}, "half"),
        ({"sender": ""}, "sender"),
        ({"sender": "ABCDEFGHIJKL"}, "sender"),
        ({"sender": "شركة"}, "sender"),
        ({"sender": "1234567890123456"}, "sender"),
        ({"sender": "STEG\r\n"}, "sender"),
        ({"sender": " STEG"}, "sender"),
        ({"validity_minutes": 0}, "validity"),
        ({"validity_minutes": -3}, "validity"),
        ({"receipt_url": ""}, "receipt address"),
        ({"receipt_url": "ftp://receiver/x"}, "receipt address"),
        ({"receipt_url": "http://receiver/a b"}, "receipt address"),
        ({"text": "à la forêt"}, "planned as 1 segments of gsm7"),
        ({"text": "x" * 161}, "takes 2 of gsm7"),
        ({"encoding": "ucs2"}, "planned as 1 segments of ucs2"),
        ({"segments": 2}, "planned as 2 segments"),
        ({"text": "x" * 161, "segments": 2}, "longest_segments"),
    ],
)
def test_what_kannel_takes_and_then_spoils_is_refused_before_it_is_sent(changes, why):
    unfit = replace(message(), **changes)
    with pytest.raises(MessageUnfit, match=why) as refused:
        gateway().submit_request(unfit)
    assert str(NOTICE) in str(refused.value)
    for secret in (unfit.phone, unfit.text):
        assert not secret or secret not in str(refused.value)


@pytest.mark.parametrize("sender", ["STEG", "S", "STEG 123 456"[:11], "85123", "+21671000000", "S.T.E.G."])
def test_senders_that_kannel_passes_on_are_taken(sender):
    gateway().submit_request(message(sender=sender))


def test_more_segments_are_taken_up_to_what_the_connection_allows():
    gateway(longest_segments=2).submit_request(message("x" * 161))
    with pytest.raises(MessageUnfit):
        gateway(longest_segments=2).submit_request(message("x" * 307))


@given(st.text())
def test_any_text_is_sent_whole_or_refused(text):
    try:
        measured = measure(text)
        request = gateway(longest_segments=255).submit_request(message(text))
    except MessageUnfit:
        return
    assert request.body.decode() == text
    assert request.headers["X-Kannel-Coding"] == {"gsm7": "0", "ucs2": "2"}[measured.encoding]
    assert not any(c in value for value in request.headers.values() for c in "\r\n\0")


ANSWERS = [
    (202, "0: Accepted for delivery", "accepted"),
    (202, "3: Queued for later delivery", "accepted"),
    (202, "Sent.", "accepted"),
    (503, "Temporal failure, try again later.", "refused"),
    (403, "Not routable. Do not try again.", "refused"),
    (403, "Authorization failed for sendsms", "stop"),
    (404, "Unknown request.", "stop"),
    (400, "Invalid content-type", "stop"),
    (400, "Sender missing and no global set, rejected", "stop"),
    (400, "Validity field misformed, rejected", "stop"),
    (400, "DLR-Mask field misformed, rejected", "stop"),
    (400, "DLR-URL field misformed, rejected", "stop"),
    (400, "Coding field misformed, rejected", "stop"),
    (400, "Missing receiver number, rejected", "rejected"),
    (400, "Missing receiver(s) number(s), rejected", "rejected"),
    (400, "Empty receiver number not allowed, rejected", "rejected"),
    (400, "Number(s) has/have been denied by white- and/or black-lists.", "rejected"),
    (400, "Charset or body misformed, rejected", "rejected"),
    # What others between us and Kannel answer
    (503, "<html><h1>503 Service Unavailable</h1></html>", "refused"),
    (429, "slow down", "refused"),
    (401, "", "stop"),
    (403, "<html>Forbidden</html>", "stop"),
    (407, "", "stop"),
    (302, "", "stop"),
    (308, "", "stop"),
    # Everything else is open
    (202, "", "in_doubt"),
    (202, "0: Accep", "in_doubt"),
    (202, "<html>welcome</html>", "in_doubt"),
    (200, "0: Accepted for delivery", "in_doubt"),
    (200, "<html>Log in to this network</html>", "in_doubt"),
    (204, "", "in_doubt"),
    (400, "", "in_doubt"),
    (400, "<html>Bad Request</html>", "in_doubt"),
    (408, "", "in_doubt"),
    (500, "Sending failed.", "in_doubt"),
    (502, "Bad Gateway", "in_doubt"),
    (504, "", "in_doubt"),
]


@pytest.mark.parametrize(("status", "body", "kind"), ANSWERS)
def test_answers_are_read_by_the_table(status, body, kind):
    outcome = gateway().read_answer(status, {}, body.encode())
    assert outcome.kind == kind
    assert outcome.provider_id is None


def test_an_unknown_answer_is_never_repeated_for_it_may_hold_the_number():
    outcome = gateway().read_answer(502, {}, "cannot reach +21620000000 يجب".encode())
    assert outcome.answer == "status 502 with 32 bytes unlike Kannel's"


def test_a_failure_of_the_transport_is_refused_only_when_nothing_was_sent():
    assert outcome_of(gateway(), TransportFailure("not_sent", "connection refused")).kind == "refused"
    assert outcome_of(gateway(), TransportFailure("in_doubt", "connection lost")).kind == "in_doubt"


def filled(url: str, **escapes: str) -> dict[str, str]:
    """Fill Kannel's escapes as it does, and decode the query as the receiver does."""
    url = url.replace("%%", "\0")
    for escape, value in escapes.items():
        url = url.replace(f"%{escape}", value)
    return dict(parse_qsl(urlsplit(url.replace("\0", "%")).query, keep_blank_values=True))


def smsc_words(stat: str, err: str = "000") -> str:
    return (
        "id%3AS000000001+sub%3A001+dlvrd%3A001+submit+date%3A2611230610+done+date%3A2611230610"
        f"+stat%3A{stat}+err%3A{err}+text%3ASTEG+facture+42580"
    )


RECEIPTS = [
    ("8", "ACK%2F", State.ACCEPTED, "ACK"),
    ("4", smsc_words("ACCEPTD"), State.ACCEPTED, "ACCEPTD err:000"),
    ("1", smsc_words("DELIVRD"), State.DELIVERED, "DELIVRD err:000"),
    ("1", "", State.DELIVERED, "type 1"),
    ("2", smsc_words("UNDELIV", "011"), State.UNDELIVERABLE, "UNDELIV err:011"),
    ("2", smsc_words("DELETED", "0a1"), State.UNDELIVERABLE, "DELETED err:0a1"),
    ("2", smsc_words("UNKNOWN", "255"), State.UNDELIVERABLE, "UNKNOWN err:255"),
    ("2", smsc_words("EXPIRED", "027"), State.EXPIRED, "EXPIRED err:027"),
    ("2", smsc_words("REJECTD", "069"), State.REJECTED, "REJECTD err:069"),
    ("2", smsc_words("WHATEVER", "069"), State.UNDELIVERABLE, "WHATEVER err:069"),
    ("2", "", State.UNDELIVERABLE, "type 2"),
    (
        "16",
        "NACK%2F0x0000000b%2FInvalid+Destination+Address",
        State.REJECTED,
        "NACK/0x0000000b/Invalid Destination Address",
    ),
    ("16", "NACK%2F", State.REJECTED, "NACK"),
    ("16", "NACK%2FRetries+Exceeded", State.REJECTED, "NACK/Retries Exceeded"),
    ("16", "NACK%2Fvalidity+expired", State.EXPIRED, "NACK/validity expired"),
    ("16", "NACK%2Fno+route+to+%2B21620000000", State.REJECTED, "NACK/no route to +…"),
]


@pytest.mark.parametrize(("kind", "answer", "status", "detail"), RECEIPTS)
def test_receipts_are_read_by_their_type_and_the_smscs_word(kind, answer, status, detail):
    url = gateway().receipt_url("http://receiver:8081", "word", NOTICE, 2)
    query = filled(url, d=kind, A=answer, F="S000000001", T="1795414239", i="NODE")
    receipt = gateway().read_receipt(query, b"", {})
    assert (receipt.notice_id, receipt.attempt) == (NOTICE, 2)
    assert (receipt.status, receipt.detail) == (status, detail)
    assert receipt.provider_id == "S000000001"
    assert receipt.happened_at == datetime(2026, 11, 23, 6, 10, 39, tzinfo=UTC)


def test_leading_zeros_of_the_smscs_id_are_kept():
    query = {"notice": str(NOTICE), "attempt": "1", "type": "8", "smsc_message": "000123"}
    assert gateway().read_receipt(query, b"", {}).provider_id == "000123"


def test_a_refused_message_has_no_smsc_id_and_may_have_no_time():
    query = {"notice": str(NOTICE), "attempt": "1", "type": "16", "smsc_message": "", "time": ""}
    receipt = gateway().read_receipt(query, b"", {})
    assert (receipt.provider_id, receipt.happened_at) == (None, None)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"notice": "abc", "attempt": "1", "type": "1"},
        {"notice": str(NOTICE), "type": "1"},
        {"notice": str(NOTICE), "attempt": "1"},
        {"notice": str(NOTICE), "attempt": "1", "type": "%d"},
        {"notice": str(NOTICE), "attempt": "1", "type": "3"},
        {"notice": str(NOTICE), "attempt": "1", "type": "-1"},
    ],
)
def test_a_receipt_that_names_no_notice_or_no_known_type_is_unreadable(query):
    with pytest.raises(ReceiptUnreadable):
        gateway().read_receipt(query, b"", {})


@given(
    st.dictionaries(
        st.sampled_from(["notice", "attempt", "type", "time", "smsc_message", "answer"]),
        st.one_of(st.text(), st.just(str(NOTICE)), st.integers().map(str)),
    )
)
def test_any_callback_is_read_or_refused_and_nothing_else(query):
    try:
        receipt = gateway().read_receipt(query, b"", {})
    except ReceiptUnreadable:
        return
    assert isinstance(receipt.status, State)


@given(
    secret=st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1),
    notice=st.uuids(),
    attempt=st.integers(1, 99),
)
def test_kannel_gives_back_our_own_part_of_the_address_unchanged(secret, notice, attempt):
    url = gateway().receipt_url("http://receiver/a%20b", secret, notice, attempt)
    assert url.isascii()
    assert not any(c.isspace() for c in url)
    query = filled(url, d="1", A="", F="", T="", i="")
    receipt = gateway().read_receipt(query, b"", {})
    assert (receipt.notice_id, receipt.attempt) == (notice, attempt)


def test_the_receipt_address_asks_for_neither_number_sender_nor_text():
    url = gateway().receipt_url("http://receiver:8081/", "w%d/ord", NOTICE, 1)
    assert url == (
        "http://receiver:8081/receipts/fatoura_sms/w%%25d%%2Ford?notice=0190a1b2-0000-7000-8000-000000000001"
        "&attempt=1&type=%d&time=%T&smsc=%i&smsc_message=%F&answer=%A"
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"base_url": "gateway:13013"}, "address"),
        ({"base_url": "ftp://gateway"}, "address"),
        ({"base_url": "http://"}, "address"),
        ({"username": ""}, "username"),
        ({"password": ""}, "password"),
        ({"password": "a\r\nb"}, "password"),
        ({"password": "blank "}, "password"),
        ({"username": "مستخدم"}, "username"),
        ({"extra": {"longest_segments": 0}}, "longest_segments"),
        ({"extra": {"longest_segments": "three"}}, "longest_segments"),
        ({"extra": {"longest_segments": True}}, "longest_segments"),
        ({"extra": {"path": "cgi-bin"}}, "path"),
        ({"extra": {"pth": "/x"}}, "pth"),
    ],
)
def test_a_wrong_connection_is_refused_with_the_field(changes, why):
    with pytest.raises(BadInput, match=why) as refused:
        create_gateway("kannel", replace(CONFIG, **changes))
    assert "s3cr3t" not in str(refused.value)


def test_an_unknown_provider_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="'nobody'; known are kannel"):
        create_gateway("nobody", CONFIG)


def test_what_the_gateway_can_do_is_declared():
    capabilities = gateway(longest_segments=3).capabilities
    assert capabilities.client_reference
    assert not capabilities.idempotency
    assert not capabilities.status_query
    assert capabilities.receipts == "push"
    assert capabilities.validity
    assert capabilities.longest_segments == 3
