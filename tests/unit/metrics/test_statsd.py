"""Metrics leave by UDP, in StatsD's form, and nothing about them ever disturbs the work."""

from __future__ import annotations

import errno
import re
import socket
import time
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.gateways import kannel
from fatoura.gateways.interface import Message, Outcome
from fatoura.gateways.transport import _why_no_connection
from fatoura.metrics import METRICS, Point, names, send, statsd
from fatoura.metrics.sending import outcome_points, reason_of
from tests.statsd import StatsdListener

REASON = (
    r"rejected|in_doubt|busy|no_balance|no_token|unreachable|stopped|refused|status_[1-5][0-9][0-9]"
    r"|code_[A-Z]{0,3}[0-9]{1,4}"
)


@pytest.fixture(autouse=True)
def _fresh_server(monkeypatch):
    monkeypatch.setattr(statsd, "_server", statsd._Server())


@pytest.fixture
def listener(configure):
    with StatsdListener() as listening:
        configure(statsd_host="127.0.0.1", statsd_port=listening.port)
        yield listening


def test_each_kind_is_sent_in_its_form(listener):
    send(
        lambda: [
            Point(names.SEGMENTS, 3, ("fatoura_sms",)),
            Point(names.HEALTH, 0.98, ("fatoura_sms",)),
            Point(names.WAIT, [0.5], ("fatoura_sms",)),
            Point(names.BEATS, 1),
        ]
    )
    listener.until(lambda: len(listener.samples) == 4)
    assert listener.packets == [
        b"fatoura.sending.segments.fatoura_sms:3|c\n"
        b"fatoura.gateway.health.fatoura_sms:0.98|g\n"
        b"fatoura.receipts.wait.fatoura_sms:500.000000|ms\n"
        b"fatoura.receiver.beats:1|c"
    ]


def test_while_metrics_are_off_nothing_is_computed_and_nothing_is_opened(configure, monkeypatch):
    configure(statsd_host="")
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("a socket was opened"))
    send(lambda: pytest.fail("it was computed"))


def test_a_server_that_is_not_found_is_looked_for_later_and_costs_one_line(configure, monkeypatch, caplog):
    configure(statsd_host="nobody.invalid")
    looked = []

    def look(host, *_, **__):
        looked.append(host)
        raise socket.gaierror(errno.ENOENT, "not found")

    monkeypatch.setattr(socket, "getaddrinfo", look)
    for _ in range(5):
        send(lambda: [Point(names.BEATS, 1)])
    assert looked == ["nobody.invalid"] * 2  # by both families, once
    assert caplog.text.count("metrics are lost for a while") == 1
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    send(lambda: [Point(names.BEATS, 1)])
    assert len(looked) == 4


def test_nobody_who_listens_is_no_error(configure, caplog):
    configure(statsd_host="127.0.0.1", statsd_port=9)
    for _ in range(50):
        send(lambda: [Point(names.BEATS, 1)])
    assert caplog.text == ""


def test_whatever_goes_wrong_in_counting_stays_there(listener, caplog):
    def broken():
        raise ZeroDivisionError

    send(broken)
    send(lambda: [Point(names.BEATS, [1.0, 2.0])])
    assert caplog.text.count("metrics could not be sent") == 2
    send(lambda: [Point(names.BEATS, 1)])
    listener.until(lambda: listener.counts == {"fatoura.receiver.beats": 1})


def test_many_lengths_of_time_are_sampled_and_still_count_as_many(listener):
    send(lambda: [Point(names.WAIT, [0.1] * 5000, ("g",))])
    listener.until(lambda: len(listener.samples) > 50)
    time.sleep(0.2)
    assert 50 < len(listener.samples) < 200
    assert {sample.rate for sample in listener.samples} == {0.02}
    assert all(len(packet) <= 1500 for packet in listener.packets)


@given(st.text(max_size=200))
def test_a_label_is_never_a_sign_of_the_protocol(value):
    label = statsd._label(value)
    assert label.isascii()
    assert 0 < len(label) <= 60
    assert not set(label) & set(".:|@#,=\n *")


def test_the_client_is_renewed_for_a_server_that_may_have_moved(listener, monkeypatch):
    found = []
    original = statsd._found
    monkeypatch.setattr(statsd, "_found", lambda *where: found.append(where) or original(*where))
    now = time.monotonic()
    for later in (0, 10, 299, 301):
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        send(lambda: [Point(names.BEATS, 1)])
    assert len(found) == 2


# --- Outcomes --------------------------------------------------------------------------------------------


def message(segments: int = 1) -> Message:
    return Message(uuid4(), 1, "+21620000000", "an invented text", "gsm7", segments, 60, "STEG", "http://r")


def test_outcomes_become_counts_of_a_few_words():
    outcomes = [
        (message(2), Outcome("accepted", None, "0: Accepted for delivery")),
        (message(1), Outcome("accepted", "id", "status 201")),
        (message(3), Outcome("refused", None, "status 503 with 12 bytes unlike Kannel's")),
        (message(), Outcome("refused", None, "no connection within 5 s")),
        (message(), Outcome("rejected", None, "Missing receiver number, rejected")),
    ]
    points = {(point.metric.name, *point.labels): point.value for point in outcome_points("g", outcomes)}
    assert points == {
        ("sending.segments", "g"): 3,
        ("sending.messages", "g", "accepted"): 2,
        ("sending.messages", "g", "refused"): 2,
        ("sending.messages", "g", "rejected"): 1,
        ("sending.refusals", "g", "status_503"): 1,
        ("sending.refusals", "g", "unreachable"): 1,
        ("sending.refusals", "g", "rejected"): 1,
    }


@pytest.mark.parametrize("error", [TimeoutError(), socket.gaierror(), ConnectionRefusedError(), OSError()])
@pytest.mark.parametrize("secure", [True, False])
def test_a_provider_that_cannot_be_reached_is_unreachable(error, secure):
    assert reason_of(Outcome("refused", None, _why_no_connection(error, 5, secure))) == "unreachable"


def test_the_reasons_of_what_kannel_says_are_few():
    for (_, words), kind in kannel._ANSWERS.items():
        if kind != "accepted":
            assert reason_of(Outcome(kind, None, words)) in ("rejected", "stopped", "busy")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("status 403, POL0001: the account, its balance or contract, does not allow it", "no_balance"),
        ("status 400, SVC0280", "code_SVC0280"),
        ("status 401, code 42", "code_42"),
        ("status 200, 402", "code_402"),
        ("status 503 with 12 bytes unlike Orange's", "status_503"),
        ("no token: status 500", "no_token"),
        ("something else", "stopped"),
    ],
)
def test_the_reason_is_the_provider_s_code_where_it_has_one(answer, reason):
    assert reason_of(Outcome("stop", None, answer)) == reason


@given(st.sampled_from(["refused", "rejected", "stop", "in_doubt"]), st.text())
def test_whatever_a_provider_says_the_reason_is_one_of_a_few(kind, words):
    assert re.fullmatch(REASON, reason_of(Outcome(kind, None, words)))


# --- Names -----------------------------------------------------------------------------------------------


def test_names_are_distinct_and_say_what_they_count():
    assert (
        len({metric.name for metric in METRICS})
        == len({metric.prometheus for metric in METRICS})
        == len(METRICS)
    )
    declared = {value for value in vars(names).values() if isinstance(value, names.Metric)}
    assert declared == set(METRICS)
    assert all(metric.says.endswith((".", ")")) for metric in METRICS)
