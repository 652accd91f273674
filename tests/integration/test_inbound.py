"""Messages that customers send, as Kannel passes them on, and through a real Kannel. Numbers are invented."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest
import uvicorn
from sqlalchemy import text

from fatoura.database import connect
from fatoura.gateways.interface import inbound_path
from fatoura.phones_at_rest import make_key, sealed
from fatoura.receipts.receiver import create_app
from fatoura.receipts.secret import receipt_secret
from tests.integration.kannel.stack import KannelStack
from tests.notices import plan_notices, register_gateway, run_sql, states
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PHONE = "+21620000345"


@pytest.fixture
def app(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")
    register_gateway()
    run_sql("""UPDATE gateway SET capabilities = '{"inbound": true}'""")
    return create_app()


@pytest.fixture
def folder(_kannel_folder: Callable[[], Path]) -> Path:
    return _kannel_folder()


@pytest.fixture
async def client(app):
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://r") as client,
    ):
        yield client


def subscribe(reference: str, phone: str = PHONE, language: str = "fr") -> int:
    return run_sql(
        "INSERT INTO subscription (customer_reference, phone, language, channel, consent_date) "
        "VALUES (:reference, :phone, :language, 'web', '2026-01-02') RETURNING id",
        reference=reference,
        phone=sealed(phone),
        language=language,
    ).scalar_one()


def address(words: bytes, sender: str = PHONE, charset: str = "UTF-8", gateway: str = "fatoura_sms") -> str:
    asked = f"from={quote(sender)}&to=85999&text={quote(words)}&charset={charset}"
    return f"{inbound_path(gateway, receipt_secret())}?{asked}"


def kept() -> list[tuple]:
    with connect() as connection:
        rows = connection.execute(text("SELECT act, outcome, subscriptions FROM inbound_message ORDER BY id"))
        return [tuple(row) for row in rows]


def consents() -> list[tuple]:
    with connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT act, channel, evidence FROM consent"))]


async def test_a_keyword_ends_all_subscriptions_of_the_phone_at_once(client, caplog):
    caplog.set_level("INFO", logger="fatoura")
    first = subscribe("000000001")
    subscribe("000000002")
    subscribe("000000003", "+21620000999")
    cycle = plan_notices(1)
    run_sql("UPDATE notice SET subscription_id = :id", id=first)
    answer = await client.get(address(b"Stop"))
    assert answer.status_code == 200
    assert answer.text.startswith("STEG : vous ne recevrez plus")
    assert answer.headers["X-Kannel-Coding"] == "0"
    assert kept() == [("leave", "left", 2)]
    assert states(cycle) == {"cancelled": 1}
    assert consents() == [("revoked", "keyword", "keyword, message 1")] * 2
    again = await client.get(address(b"Stop"))
    assert again.text.startswith("STEG : vous ne recevez plus")
    assert kept()[1:] == [("leave", "already_left", 0)]
    assert "345" not in caplog.text


async def test_an_arabic_keyword_in_utf_16_is_read_and_answered_in_the_subscription_s_language(client):
    subscribe("000000001", language="ar")
    answer = await client.get(address("إيقاف".encode("utf-16-be"), sender="21620000345", charset="UTF-16BE"))
    assert "لن تصلكم" in answer.text
    assert answer.headers["X-Kannel-Coding"] == "2"


async def test_kannel_may_post_it_so_that_no_number_stands_in_an_address(client):
    subscribe("000000001")
    headers = {"X-Kannel-From": "+21620000345", "Content-Type": 'text/plain; charset="UTF-16BE"'}
    path = inbound_path("fatoura_sms", receipt_secret())
    answer = await client.post(path, content="ARRÊT".encode("utf-16-be"), headers=headers)
    assert (answer.status_code, kept()) == (200, [("leave", "left", 1)])


@pytest.mark.parametrize("sender", ["+21620000777", "85123", "STEG", "0021620000777"])
async def test_an_unknown_sender_is_answered_and_its_number_is_nowhere(client, caplog, sender):
    caplog.set_level("INFO", logger="fatoura")
    answer = await client.get(address(b"STOP", sender=sender))
    assert "ce numero ne recoit pas" in answer.text
    assert kept() == [("leave", "unknown_sender", 0)]
    assert sender not in caplog.text


async def test_other_words_end_nothing(client):
    subscribe("000000001")
    assert "STOP" in (await client.get(address(b"bonjour"))).text
    assert "STOP" in (await client.get(address(b"aide"))).text
    assert kept() == [(None, "no_keyword", 0), ("help", "helped", 0)]
    assert consents() == []


async def test_a_sealed_number_is_found_by_whatever_it_was_sealed_with(client, configure, tmp_path):
    subscribe("000000001")
    (tmp_path / "keys").write_text(make_key())
    configure(phone_key_file=tmp_path / "keys")
    subscribe("000000002")
    await client.get(address(b"STOP"))
    assert kept() == [("leave", "left", 2)]


async def test_who_does_not_know_the_secret_or_names_no_such_gateway_is_refused(client):
    subscribe("000000001")
    wrong = await client.get(f"{inbound_path('fatoura_sms', 'x' * 30)}?from=%2B21620000345&text=STOP")
    assert wrong.status_code == 403
    run_sql("UPDATE gateway SET capabilities = '{}'")
    assert (await client.get(address(b"STOP"))).status_code == 404
    assert (await client.get(address(b"STOP", gateway="other"))).status_code == 404
    assert (await client.get(address(b"STOP" * 3000))).status_code == 413
    assert kept() == []


async def test_a_message_without_a_sender_is_passed_over(client):
    assert (await client.get(address(b"STOP", sender=" "))).status_code == 200
    assert kept() == []


async def test_while_the_database_is_away_the_provider_is_asked_to_try_again(client, monkeypatch):
    monkeypatch.setattr("fatoura.inbound.receiving._adapter_of", lambda _: 1 / 0)
    assert (await client.get(address(b"STOP"))).status_code == 503


@pytest.mark.kannel
@pytest.mark.parametrize(
    ("language", "words", "coding"), [("fr", "STOP", 0), ("ar", "إيقاف", 8)], ids=["latin", "arabic"]
)
async def test_a_real_kannel_passes_on_what_a_customer_sends_and_gives_the_answer(
    app, folder, language, words, coding
):
    port = free_port()
    options = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": 5}
    server = uvicorn.Server(uvicorn.Config(app, port=port, **options))
    # On a busy machine it may not stop in time: that must not keep the tests from ending.
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{port}{inbound_path('fatoura_sms', receipt_secret())}"
    service = (
        f'get-url = "{url}?from=%p&to=%P&text=%a&charset=%C"\n'
        "max-messages = 1\nomit-empty = true\naccept-x-kannel-headers = true"
    )
    kannel = KannelStack(folder, service=service)
    try:
        kannel.start()
        subscribe("000000001", language=language)
        kannel.receive(PHONE, words)
        end = time.monotonic() + 20
        while not (answered := kannel.submitted(PHONE)):
            assert time.monotonic() < end, kept()
            await asyncio.sleep(0.1)
    finally:
        kannel.stop()
        server.should_exit = True
        thread.join(20)
    assert kept() == [("leave", "left", 1)]
    octets = bytes.fromhex(answered[0]["octets"])
    assert answered[0]["coding"] == coding
    said = octets.decode("utf-16-be" if coding else "ascii")
    assert said.startswith("STEG: لن تصلكم" if coding else "STEG : vous ne recevrez plus")
