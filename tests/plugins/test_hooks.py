"""From an Airflow connection to a provider's adapter: all its forms, and refusals that hold no secret."""

import json

import pytest

from fatoura.errors import BadInput
from fatoura.gateways.interface import Message
from sms_gateway.hooks import SmsGatewayHook

PASSWORD = "a-secret-password"
GOOD = {
    "host": "gateway.example.tn",
    "login": "steg",
    "password": PASSWORD,
    "extra": {"provider": "kannel"},
}


def address(hook: SmsGatewayHook) -> str:
    """Return where the adapter would submit to."""
    message = Message("id", 1, "+21620000001", "x", "gsm7", 1, 60, "STEG", "http://receiver/x")
    return hook.get_conn().submit_request(message).url.removesuffix("/cgi-bin/sendsms")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "http://gateway.example.tn"),
        ({"port": 13013}, "http://gateway.example.tn:13013"),
        ({"schema": "https"}, "https://gateway.example.tn"),
        ({"schema": "https", "port": 8443}, "https://gateway.example.tn:8443"),
        ({"host": "http://gateway.example.tn"}, "http://gateway.example.tn"),
        ({"host": "https://gateway.example.tn", "port": 8443}, "https://gateway.example.tn:8443"),
        ({"host": "https://gateway.example.tn", "schema": "http"}, "https://gateway.example.tn"),
        ({"host": "https://gateway.example.tn/", "port": 8443}, "https://gateway.example.tn:8443"),
        ({"host": "gateway.example.tn/", "port": 13013}, "http://gateway.example.tn:13013"),
        ({"host": "gateway.example.tn:13013"}, "http://gateway.example.tn:13013"),
        ({"conn_type": "https"}, "https://gateway.example.tn"),
    ],
)
def test_a_connection_may_be_written_in_any_usual_form(connect_as, fields, expected):
    connect_as("fatoura_sms", **GOOD | fields)
    assert address(SmsGatewayHook()) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (
            f"http://steg:{PASSWORD}@gateway.example.tn:13013/?provider=kannel",
            "http://gateway.example.tn:13013",
        ),
        (
            f"http://steg:{PASSWORD}@gateway.example.tn:443/https?provider=kannel",
            "https://gateway.example.tn:443",
        ),
        (f"https://steg:{PASSWORD}@gateway.example.tn/?provider=kannel", "https://gateway.example.tn"),
    ],
)
def test_a_connection_may_be_a_uri(monkeypatch, uri, expected):
    monkeypatch.setenv("AIRFLOW_CONN_FATOURA_SMS", uri)
    assert address(SmsGatewayHook()) == expected


def test_the_rest_of_the_extra_goes_to_the_adapter(connect_as):
    extra = {"provider": "kannel", "longest_segments": 3, "path": "/sms"}
    connect_as("fatoura_sms", **GOOD | {"extra": extra})
    hook = SmsGatewayHook()
    assert hook.get_conn().capabilities.longest_segments == 3
    assert address(hook) == "http://gateway.example.tn/sms"


def test_the_setting_names_the_connection_and_an_argument_wins(connect_as, configure):
    configure(sms_conn_ids="the_next_tender,fatoura_sms")
    connect_as("the_next_tender", **GOOD)
    connect_as("another", **GOOD | {"host": "another.example.tn"})
    assert SmsGatewayHook().sms_conn_id == "the_next_tender"
    assert address(SmsGatewayHook("another")) == "http://another.example.tn"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"extra": {}}, "'fatoura_sms' names no provider"),
        ({"extra": None}, "names no provider"),
        ({"extra": {"provider": ""}}, "names no provider"),
        ({"extra": {"provider": "pigeon"}}, "no adapter for SMS providers named 'pigeon'; known are kannel"),
        ({"extra": {"provider": ["kannel"]}}, "names no provider"),
        ({"extra": ["kannel"]}, "names no provider"),
        ({"extra": "no JSON"}, "names no provider"),
        ({"host": None}, "has no host"),
        ({"host": "gateway.example.tn/base", "port": 13013}, "host"),
        ({"host": "ftp://gateway.example.tn"}, "address must be http"),
        ({"login": None}, "username"),
        ({"password": None}, "password"),
        ({"password": "with a line\n" + PASSWORD}, "password"),
        ({"extra": {"provider": "kannel", "long_segments": 3}}, "long_segments"),
    ],
)
def test_a_connection_that_cannot_work_is_refused_in_words_without_its_secrets(connect_as, fields, words):
    connect_as("fatoura_sms", **GOOD | fields)
    with pytest.raises(BadInput, match=words) as refused:
        SmsGatewayHook().get_conn()
    assert PASSWORD not in str(refused.value)


def test_the_way_to_mend_a_missing_provider_can_be_copied(connect_as):
    connect_as("fatoura_sms", **GOOD | {"extra": {}})
    with pytest.raises(BadInput) as refused:
        SmsGatewayHook().get_conn()
    _, _, shown = str(refused.value).partition("put ")
    assert json.loads(shown.removesuffix(" into its extra")) == {"provider": "kannel"}
