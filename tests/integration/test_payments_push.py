"""Payments pushed over HTTP: what is taken, what is refused, and that "taken" means stored."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time

import httpx
import pytest
import requests
from sqlalchemy import text

from fatoura.database import begin, connect
from fatoura.payments.push import LARGEST_BODY
from fatoura.payments.secret import payments_token
from fatoura.receipts.receiver import create_app
from fatoura.settings import get_settings
from tests.payments import payment, reversal
from tests.processes import Child, free_port

NOON = "2026-06-28T12:00:00+01:00"


@pytest.fixture
async def client(database, configure):
    configure(now="2026-06-29T09:00:00+01:00")
    app = create_app()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://r") as c,
    ):
        yield c


def document(feed: str, *payments: object, **changed: object) -> dict[str, object]:
    amounts = [one.get("amount_millimes") for one in payments if isinstance(one, dict)]
    return {
        "feed": feed,
        "rows": len(payments),
        "total_amount_millimes": sum(one for one in amounts if type(one) is int),
        "complete_until": {"counter": NOON},
        "payments": list(payments),
        **changed,
    }


def bearer(token: str | None = None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token or payments_token()}"}


async def push(client, pushed: object, **headers: str) -> httpx.Response:
    return await client.post("/payments", json=pushed, headers=headers or bearer())


def stored() -> list[tuple]:
    with connect() as connection:
        return [
            tuple(row)
            for row in connection.execute(
                text("SELECT payment_id, invoice_number, counts_millimes FROM payment ORDER BY 1, 2")
            )
        ]


async def test_a_push_is_stored_before_it_is_answered(client):
    pushed = document("w1", payment("P1", "F1", 5000), reversal("R1", "P1", "F1", 1000))
    answer = await push(client, pushed)
    assert answer.status_code == 200
    assert answer.json()["outcome"] == "loaded"
    assert answer.json()["counts"] == {"new": 2}
    assert stored() == [("P1", "F1", 5000), ("R1", "F1", -1000)]
    with connect() as connection:
        feed = connection.execute(text("SELECT name, source, location FROM feed")).one()
    assert tuple(feed) == ("w1", "push", "push from 127.0.0.1")


async def test_the_same_push_again_is_answered_alike_however_it_is_written(client):
    pushed = document("w1", payment("P1", "F1", 5000))
    await push(client, pushed)
    again = json.dumps({name: pushed[name] for name in sorted(pushed, reverse=True)}, indent=3)
    answer = await client.post("/payments", content=again, headers=bearer())
    assert (answer.status_code, answer.json()["outcome"]) == (200, "already loaded")
    assert stored() == [("P1", "F1", 5000)]


async def test_fields_may_be_text_and_what_a_payment_does_not_need_may_be_left_out(client):
    one = payment("P1", "F1", "5000") | {"till": 7}
    two = payment("P2", "F1", 1)
    del two["reverses"]
    three = payment("P3", "F1", 2) | {"reverses": None}
    answer = await push(client, document("w1", one, two, three, total_amount_millimes=5003))
    assert (answer.status_code, answer.json()["counts"]) == (200, {"new": 3})


async def test_another_push_under_the_same_name_is_a_conflict(client):
    await push(client, document("w1", payment("P1", "F1", 5000)))
    answer = await push(client, document("w1", payment("P1", "F1", 6000)))
    assert answer.status_code == 409
    assert "another feed was loaded under this name" in answer.json()["problems"][0]
    assert stored() == [("P1", "F1", 5000)]


async def test_rows_that_break_a_rule_are_set_aside_and_told_by_row_and_field(client):
    answer = await push(
        client,
        document(
            "w1",
            payment("P1", "F1", 5000),
            payment("P2", "F1", 12.5),
            "P3",
            payment("P4", "F\0", 1),
            payment("P5", "F1", True, channel=["web"]),
        ),
    )
    assert answer.status_code == 200
    told = answer.json()
    assert told["counts"] == {"new": 1, "set_aside": 4}
    assert told["set_aside"] == [
        {"row": 2, "field": "amount_millimes", "reason": "not_an_integer"},
        {"row": 3, "field": "row", "reason": "not_an_object"},
        {"row": 4, "field": "row", "reason": "not_utf8"},
        {"row": 5, "field": "amount_millimes", "reason": "not_an_integer"},
        {"row": 5, "field": "channel", "reason": "unknown"},
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON, from line 1"),
        (b"\xff", "not UTF-8"),
        (b'{"feed": "w1", "feed": "w2"}', "'feed' is there twice"),
        (b"[]", "payments is not a list"),
        (b'{"payments": {}}', "payments is not a list"),
        (b"[" * 100_000, "not a manifest"),
        (document("w1", rows=3), "rows is 3, but payments holds 0"),
        (document("w1", total_amount_millimes=1), "the manifest says 1"),
        (document("../w1"), "feed must be a name of"),
        (document("w1", complete_until={"web": "2026-06-30T09:00:00Z"}), "lies in the future"),
        (document("w1", parts=[]), "parts is not a field of a push"),
        (document("w1", note=1), "note is not a field"),
    ],
)
async def test_a_document_that_is_wrong_as_a_whole_is_refused_with_what_is_wrong(client, body, said):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await client.post("/payments", content=content, headers=bearer())
    assert answer.status_code == 422
    assert said in "\n".join(answer.json()["problems"])


async def test_too_many_bad_rows_are_told_by_row_and_field(client):
    answer = await push(client, document("w1", *(payment(f"P{n}", "F1", 0) for n in range(11))))
    assert answer.status_code == 422
    assert answer.json()["rows"][0] == {"row": 1, "field": "amount_millimes", "reason": "not_positive"}


async def test_who_does_not_know_the_token_learns_nothing_and_is_told_to_stop(client):
    wrong = [{}, {"Authorization": payments_token()}, bearer("x" * 43), bearer(payments_token() + "x")]
    for headers in wrong:
        answer = await client.post("/payments", content=b"{", headers=headers)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    codes = {(await client.post("/payments", headers=bearer("wrong"))).status_code for _ in range(20)}
    assert codes == {401, 429}
    assert (await push(client, document("w1", payment("P1", "F1", 1)))).status_code == 200


async def test_a_former_token_is_good_for_as_long_as_it_stands_in_the_file(client, monkeypatch):
    former = payments_token()
    file = get_settings().payments_secret_file
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("n" * 32 + "\n" + former + "\n")
    before = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: before() + 1)  # it is read once a second
    assert (await push(client, document("w1"), **bearer(former))).status_code == 200
    assert (await push(client, document("w1"))).status_code == 200
    file.write_text("short")
    monkeypatch.setattr(time, "monotonic", lambda: before() + 2)
    assert (await push(client, document("w1"), **bearer(former))).status_code == 503


async def test_a_document_that_is_too_large_is_not_read(client):
    async def endless():
        for _ in range(10):
            yield b" " * (LARGEST_BODY // 9)

    declared = await client.post("/payments", content=b" " * (LARGEST_BODY + 1), headers=bearer())
    undeclared = await client.post("/payments", content=endless(), headers=bearer())
    assert [declared.status_code, undeclared.status_code] == [413, 413]


async def test_other_methods_are_none_of_its(client):
    assert (await client.get("/payments", headers=bearer())).status_code == 405


async def test_while_the_database_is_away_who_pushes_is_asked_to_come_again(client, monkeypatch):
    def away(*_: object, **__: object):
        raise OSError("connection lost")

    pushed = document("w1", payment("P1", "F1", 1))
    with monkeypatch.context() as broken:
        broken.setattr("fatoura.payments.pushing.load_feed", away)
        answer = await push(client, pushed)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert (await push(client, pushed)).status_code == 200


# --- A real receiver ---------------------------------------------------------------------------------


@pytest.fixture
def receiver(database, configure, tmp_path):
    """Start receivers on one port, as often as asked."""
    port = free_port()
    configure(receiver_port=port, var=tmp_path / "var")
    started: list[Child] = []

    def start() -> Child:
        child = Child([sys.executable, "-m", "fatoura", "receiver"], log=tmp_path / "receiver.log")
        started.append(child)
        child.wait_for_port(port)
        return child

    start.address = f"http://127.0.0.1:{port}/payments"
    yield start
    for child in started:
        child.stop()


def test_a_receiver_that_is_killed_in_the_middle_of_a_push_has_kept_nothing_of_it(receiver, tmp_path):
    until = {"counter": "2025-06-28T12:00:00+01:00"}
    payments = [payment(f"P{n}", f"F{n}", 5, paid_at="2025-06-22T10:00:00Z") for n in range(2000)]
    pushed = document("w1", *payments, complete_until=until)
    child = receiver()
    failed: list[Exception] = []

    def send() -> None:
        try:
            requests.post(receiver.address, json=pushed, headers=bearer(), timeout=60)
        except requests.ConnectionError as error:
            failed.append(error)

    with begin() as holder:
        # Its rows are in the database, and it cannot commit: another transaction holds what it writes last.
        holder.execute(text("LOCK TABLE watermark IN ACCESS EXCLUSIVE MODE"))
        sender = threading.Thread(target=send)
        sender.start()
        waits = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock'"
        )
        end = time.monotonic() + 60
        while not holder.scalar(waits):
            assert time.monotonic() < end
            time.sleep(0.05)
        child.stop(signal.SIGKILL)
        sender.join(60)
    assert failed
    assert stored() == []
    receiver()
    answer = requests.post(receiver.address, json=pushed, headers=bearer(), timeout=60)
    assert (answer.status_code, answer.json()["counts"]) == (200, {"new": 2000})
    assert len(stored()) == 2000
    assert payments_token() not in (tmp_path / "receiver.log").read_text()
