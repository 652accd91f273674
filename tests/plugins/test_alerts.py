"""Telling the people who operate this: by webhook and by mail, against servers that are really there."""

from __future__ import annotations

import asyncio
import email.policy
import json
import logging
import socketserver
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fatoura.errors import BadInput
from operations.alerts import FailureNotifier, LateRunNotifier, hide_digits, tell
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

SECRET = "T0secretB0path"
MAIL = {
    "conn_type": "smtp",
    "host": "127.0.0.1",
    "extra": {
        "disable_ssl": True,
        "disable_tls": True,
        "from_email": "fatoura@utility.example",
        "retry_limit": 1,
    },
}


@dataclass
class Webhook:
    port: int = 0
    status: int = 200
    posts: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def webhook(configure, connect_as) -> Iterator[Webhook]:
    """Where alerts are posted to."""
    told = Webhook()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.posts.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(told.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    told.port = server.server_address[1]
    configure(alert_webhook_conn_id="alerts")
    connect_as("alerts", host="http://127.0.0.1", port=told.port, extra={"path": f"/services/{SECRET}"})
    with _serving(server):
        yield told


@pytest.fixture
def mailbox(configure, connect_as) -> Iterator[list[tuple[list[str], EmailMessage]]]:
    """Where alerts are mailed to: a mail server that takes everything."""
    taken: list[tuple[list[str], EmailMessage]] = []

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            to: list[str] = []
            while line := self.rfile.readline():
                word = line.split()[0].upper()
                if word == b"RCPT":
                    to.append(line.decode().partition("<")[2].partition(">")[0])
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    content = b"".join(iter(self.rfile.readline, b".\r\n"))
                    taken.append((to, BytesParser(policy=email.policy.default).parsebytes(content)))
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 yes\r\n")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
    server.daemon_threads = True
    configure(alert_smtp_conn_id="mail", alert_to="first@utility.example, second@utility.example,")
    extra = {
        "disable_ssl": True,
        "disable_tls": True,
        "from_email": "fatoura@utility.example",
        "retry_limit": 1,
    }
    connect_as("mail", conn_type="smtp", host="127.0.0.1", port=server.server_address[1], extra=extra)
    with _serving(server):
        yield taken


def failed(error: object = None) -> dict[str, Any]:
    """The context of a task that failed."""
    instance = SimpleNamespace(
        dag_id="billing_cycle",
        task_id="send",
        run_id="manual__1",
        try_number=2,
        log_url="http://airflow/log?run=1&try=2",
    )
    run = SimpleNamespace(partition_key=None, conf={"cycle": "2026-05-T1"})
    return {"task_instance": instance, "exception": error, "dag_run": run}


def test_a_failure_is_posted_with_its_task_its_reason_and_where_to_look(webhook):
    FailureNotifier()(failed(BadInput("the file ends in row 12")))
    [(path, headers, body)] = webhook.posts
    assert path == f"/services/{SECRET}"
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers
    assert {name: body[name] for name in ("dag", "run", "cycle", "task", "try", "reason", "log")} == {
        "dag": "billing_cycle",
        "run": "manual__1",
        "cycle": "2026-05-T1",
        "task": "send",
        "try": 2,
        "reason": "BadInput: the file ends in row 12",
        "log": "http://airflow/log?run=1&try=2",
    }
    assert body["text"].startswith("Fatoura: billing_cycle.send failed\ndag: billing_cycle\n")


def test_a_webhook_with_a_password_gets_it_as_a_bearer_token(webhook, connect_as):
    connect_as("alerts", host="http://127.0.0.1", port=webhook.port, password="a-token")
    tell("Fatoura: a trial", {"what": "x"})
    assert webhook.posts[0][1]["Authorization"] == "Bearer a-token"


def test_a_webhook_may_be_one_whole_address(webhook, connect_as):
    connect_as("alerts", host=f"http://127.0.0.1:{webhook.port}/services/{SECRET}")
    tell("Fatoura: a trial", {"what": "x"})
    assert webhook.posts[0][0] == f"/services/{SECRET}"


def test_a_failure_is_mailed_to_everybody_named(mailbox):
    FailureNotifier()(failed(ValueError("<class 'int'> & more")))
    [(to, message)] = mailbox
    assert to == ["first@utility.example", "second@utility.example"]
    assert message["Subject"] == "Fatoura: billing_cycle.send failed"
    assert message["From"] == "fatoura@utility.example"
    content = message.get_body(("html",)).get_content()
    assert "reason: ValueError: &lt;class &#x27;int&#x27;&gt; &amp; more" in content
    assert "run=1&amp;try=2" in content


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "no reason given"),
        ("killed by the system", "killed by the system"),
        (TimeoutError(), "TimeoutError"),
        (BadInput("two\nlines"), "BadInput: two lines"),
        (ValueError("first line\n[SQL: INSERT … secretword]"), "ValueError: first line"),
        (ValueError("\n"), "ValueError"),
        (BadInput("x" * 2000), "BadInput: " + "x" * 490),
    ],
)
def test_any_error_has_a_reason_in_one_line(webhook, error, reason):
    FailureNotifier()(failed(error))
    assert webhook.posts[0][2]["reason"] == reason


@pytest.mark.parametrize(
    "number",
    [
        "+21620000001",
        "+216 20 000 001",
        "20000001",
        "20.000.001",
        "20-000-001",
        "(+216) 20 000 001",
        "20\u00a0000\u202f001",
        "٢٠٠٠٠٠٠١",
        "042580496",
        "42580 496 0",
    ],
)
def test_what_may_be_a_customer_s_number_is_hidden(webhook, caplog, number):
    FailureNotifier()(failed(ValueError(f"could not convert {number} in row 17")))
    [(_, _, body)] = webhook.posts
    assert number not in body["text"] + body["reason"] + caplog.text
    assert "in row 17" in body["reason"]
    assert hide_digits("row 1234567 of 12, 3 times") == "row 1234567 of 12, 3 times"


def test_days_and_hours_stay_and_a_number_beside_them_does_not():
    late = "post is complete until 2026-06-26 18:00, needed until 2026-06-29T03:31"
    assert hide_digits(late) == late
    assert hide_digits("20261226 2026-06-26-18 20 12 34 56") == "…"
    assert hide_digits("on 2026-06-26 to +216 20 123 456") == "on 2026-06-26 to …"


def test_with_nothing_configured_it_is_only_logged(caplog):
    FailureNotifier()(failed(BadInput("wrong")))
    assert [(r.levelname, r.name) for r in caplog.records] == [("WARNING", "operations.alerts")]
    assert "billing_cycle.send failed" in caplog.text
    assert "reason: BadInput: wrong" in caplog.text


def test_a_webhook_that_is_down_does_not_stop_the_mail(mailbox, configure, connect_as, caplog):
    configure(alert_webhook_conn_id="alerts")
    connect_as("alerts", host="http://127.0.0.1", port=free_port(), extra={"path": f"/services/{SECRET}"})
    FailureNotifier()(failed(BadInput("wrong")))
    assert len(mailbox) == 1
    assert "could not be sent by alerts: FatouraError: no answer (ConnectionError)" in caplog.text
    assert SECRET not in caplog.text


def test_a_webhook_that_refuses_is_said_without_its_secret_address(webhook, caplog):
    webhook.status = 403
    FailureNotifier()(failed(BadInput("wrong")))
    assert "status 403" in caplog.text
    assert SECRET not in caplog.text


def test_a_mail_server_that_is_down_does_not_stop_the_webhook(webhook, configure, connect_as, caplog):
    configure(alert_smtp_conn_id="mail", alert_to="first@utility.example")
    connect_as("mail", **MAIL, port=free_port())
    FailureNotifier()(failed(BadInput("wrong")))
    assert len(webhook.posts) == 1
    assert "could not be sent by mail: " in caplog.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alert_webhook_conn_id": "nowhere"}, "nowhere"),
        ({"alert_smtp_conn_id": "mail", "alert_to": " , "}, "FATOURA_ALERT_TO"),
    ],
)
def test_a_wrong_configuration_is_logged_and_fails_no_task(configure, caplog, settings, words):
    configure(**settings)
    FailureNotifier()(failed(BadInput("wrong")))
    [_, error] = caplog.records
    assert error.levelname == "ERROR"
    assert words in error.getMessage()


# --- Late runs ---------------------------------------------------------------------------------------


def late(context: dict[str, Any]) -> list[object]:
    """Run the callback of a deadline as the triggerer does; return the states that it reports."""
    from airflow.triggers.callback import CallbackTrigger

    trigger = CallbackTrigger(
        "operations.alerts.LateRunNotifier", {"what": "a billing cycle", "context": context}
    )

    async def run() -> list[object]:
        return [event.payload["state"] async for event in trigger.run()]

    return asyncio.run(run())


def test_a_late_run_is_told_by_the_triggerer(webhook):
    from airflow.api_fastapi.core_api.datamodels.dag_run import DAGRunResponse

    assert {"dag_run_id", "partition_key"} <= set(DAGRunResponse.model_fields)  # as the scheduler sends it
    run = {"dag_run_id": "asset_triggered__7", "partition_key": "2026-05-T1", "dag_id": "billing_cycle"}
    assert late({"dag_run": run, "deadline": {"id": "7"}}) == ["running", "success"]
    [(_, _, body)] = webhook.posts
    assert body["text"].startswith("Fatoura: a billing cycle is late\n")
    assert {name: body[name] for name in ("what", "run", "cycle", "after")} == {
        "what": "a billing cycle",
        "run": "asset_triggered__7",
        "cycle": "2026-05-T1",
        "after": "1 day, 2:00:00",
    }


@pytest.mark.parametrize("context", [{}, {"dag_run": None}, {"dag_run": {"dag_run_id": "manual__1"}}])
def test_a_late_run_of_which_little_is_known_is_told_all_the_same(webhook, context):
    assert late(context) == ["running", "success"]
    assert webhook.posts[0][2]["cycle"] == ""


async def test_telling_never_holds_up_the_loop_that_serves_others(monkeypatch):
    monkeypatch.setattr("operations.alerts.tell", lambda *_: time.sleep(0.5))
    task = asyncio.create_task(LateRunNotifier(what="a cycle").async_notify({}))
    began = time.monotonic()
    await asyncio.sleep(0.01)
    assert time.monotonic() - began < 0.3
    await task


def test_a_late_run_with_nothing_configured_is_only_logged(caplog):
    caplog.set_level(logging.WARNING)
    assert late({"dag_run": {"dag_run_id": "manual__1"}}) == ["running", "success"]
    assert "a billing cycle is late" in caplog.text
