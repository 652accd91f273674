"""Connections that are read without Airflow: from a file, or from the variables that Airflow reads too."""

import json

import pytest

from fatoura.connections import written_connection
from fatoura.errors import BadInput
from fatoura.gateways.connections import open_gateways

SECRET = "a-secret-password"
GOOD = {
    "conn_type": "http",
    "host": "gateway.example.tn",
    "port": 13013,
    "login": "steg",
    "password": SECRET,
    "extra": {"provider": "kannel", "longest_segments": 2},
}


def test_the_gateways_in_use_are_opened_in_the_order_of_fall_back(configure, tmp_path):
    file = tmp_path / "connections.json"
    other = {**GOOD, "extra": json.dumps({"provider": "kannel"}), "port": "8080"}
    file.write_text(json.dumps({"first_sms": GOOD, "second_sms": other, "billing_db": {"password": "x"}}))
    configure(sms_conn_ids="second_sms,first_sms", sms_connections_file=file)
    second, first = open_gateways()
    assert (second.name, first.name) == ("second_sms", "first_sms")
    assert (second.capabilities.longest_segments, first.capabilities.longest_segments) == (1, 2)


def test_without_a_file_they_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FATOURA_SMS", json.dumps(GOOD))
    (gateway,) = open_gateways()
    assert gateway.name == "fatoura_sms"


@pytest.mark.parametrize(
    "uri",
    [
        f"http://steg:{SECRET}@gateway.example.tn:13013/?provider=kannel",
        f"http://steg:{SECRET}@gateway.example.tn:443/https?provider=kannel&longest_segments=2",
        f"https://steg:{SECRET}@gateway.example.tn/?provider=kannel",
        f"http://steg:{SECRET}@https%3A%2F%2Fgateway.example.tn:443/?provider=kannel",
        f"http://steg:p%40ss%2F{SECRET}@gateway.example.tn/sch%20ema",
        "http://gateway.example.tn",
        "http://https://gateway.example.tn",
        f"http://steg:{SECRET}@gateway.example.tn/?__extra__=%7B%22provider%22%3A+%22kannel%22%7D",
        "http://GATEWAY.example.tn/?a=&b=1",
    ],
)
def test_an_address_is_read_as_airflow_reads_it(monkeypatch, uri):
    from airflow.sdk import Connection

    monkeypatch.setenv("AIRFLOW_CONN_TRIAL", uri)
    ours, theirs = written_connection("trial", None), Connection.from_uri(uri, "trial")
    for name in ("conn_type", "host", "login", "password", "port"):
        assert (getattr(ours, name) or None) == (getattr(theirs, name) or None), name
    assert (ours.schema or None) == (theirs.schema or None)
    assert (ours.extra_dejson or {}) == theirs.extra_dejson


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (None, "there is no connection 'fatoura_sms'"),
        ("{not JSON " + SECRET, "is no JSON"),
        (SECRET, "is no connection"),
        ("://" + SECRET, "is no connection"),
        ("http://a@b://" + SECRET, "is no connection"),
        (json.dumps({**GOOD, "port": SECRET}), "its port is no number"),
        (json.dumps({**GOOD, "extra": {}}), "names no provider"),
    ],
)
def test_one_that_does_not_do_is_refused_in_words_without_its_secrets(monkeypatch, told, said):
    if told is not None:
        monkeypatch.setenv("AIRFLOW_CONN_FATOURA_SMS", told)
    with pytest.raises(BadInput, match=said) as refused:
        open_gateways()
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("written", "said"), [(None, "cannot be read"), ("[]", "no JSON object"), ("x", "no JSON")]
)
def test_a_file_that_is_none_is_named(configure, tmp_path, written, said):
    file = tmp_path / "connections.json"
    if written is not None:
        file.write_text(written)
    configure(sms_connections_file=file)
    with pytest.raises(BadInput, match=said):
        open_gateways()


def test_what_is_read_shows_no_secret(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FATOURA_SMS", json.dumps(GOOD))
    assert SECRET not in repr(written_connection("fatoura_sms", None))
