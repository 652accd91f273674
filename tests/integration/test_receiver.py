"""The receipt receiver over HTTP: what it takes, refuses, and survives."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from fatoura.database import connect
from fatoura.receipts import intake
from fatoura.receipts.receiver import LARGEST_BODY, create_app
from fatoura.receipts.secret import receipt_secret
from fatoura.settings import get_settings
from tests.notices import register_gateway


@pytest.fixture
async def client(database):
    register_gateway()
    app = create_app()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://r") as c,
    ):
        yield c


def address(secret: str | None = None, gateway: str = "fatoura_sms", **query: object) -> str:
    values = {"notice": uuid4(), "attempt": 1, "type": 1, "answer": "stat:DELIVRD err:000"} | query
    asked = "&".join(f"{name}={value}" for name, value in values.items())
    return f"/receipts/{gateway}/{secret or receipt_secret()}?{asked}"


def move_clock(monkeypatch, seconds: float) -> None:
    """Set it on, and let it run: what sleeps must wake."""
    before = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: before() + seconds)


def stored() -> list[tuple]:
    with connect() as connection:
        return list(connection.execute(text("SELECT status, match, raw FROM receipt ORDER BY id")))


async def test_a_receipt_is_stored_before_it_is_said_to_be_taken(client):
    answer = await client.get(address())
    assert (answer.status_code, answer.text) == (200, "taken")
    ((status, _, raw),) = stored()
    assert status == "delivered"
    assert raw["query"]["type"] == "1"


async def test_a_wrong_secret_is_refused_and_nothing_is_kept(client):
    for wrong in ("x", receipt_secret()[:-1], receipt_secret() + "x", "é"):
        assert (await client.get(address(secret=wrong))).status_code == 403
    assert stored() == []


async def test_who_guesses_at_the_secret_is_told_to_stop_and_may_ask_again_later(client, monkeypatch):
    at_the_turn_of_a_minute = time.monotonic() // 60 * 60 + 60 - time.monotonic()
    move_clock(monkeypatch, at_the_turn_of_a_minute)
    codes = [(await client.get(address(secret="wrong"))).status_code for _ in range(25)]
    assert codes == [403] * 20 + [429] * 5
    move_clock(monkeypatch, 60)
    assert (await client.get(address(secret="wrong"))).status_code == 403
    assert stored() == []


async def test_who_knows_the_secret_is_not_stopped_for_others_who_guess_from_the_same_address(client):
    for _ in range(25):
        await client.get(address(secret="wrong"))
    assert (await client.get(address())).status_code == 200
    assert (await client.get(address(secret="wrong"))).status_code == 429
    assert len(stored()) == 1


async def test_receipts_with_a_former_secret_are_taken_for_as_long_as_it_stands_in_the_file(
    client, monkeypatch
):
    file = get_settings().receipt_secret_file
    former = receipt_secret()
    new = "a-new-secret-" + "n" * 24
    file.write_text(f"{new}\n{former}\n")
    move_clock(monkeypatch, 1)  # it is read once a second
    assert receipt_secret() == new
    assert (await client.get(address(secret=former))).status_code == 200
    assert (await client.get(address())).status_code == 200
    file.write_text(f"{new}\n")
    move_clock(monkeypatch, 1)
    assert (await client.get(address(secret=former))).status_code == 403
    assert (await client.get(address())).status_code == 200
    assert len(stored()) == 3


@pytest.mark.parametrize("spoiled", ["", "short\n", "a-new-secret-" + "n" * 24 + "\nshort\n"])
async def test_while_the_secret_is_spoiled_the_provider_is_asked_to_try_again(client, monkeypatch, spoiled):
    asked = address()
    file = get_settings().receipt_secret_file
    before = file.read_text()
    file.write_text(spoiled)
    move_clock(monkeypatch, 1)
    assert (await client.get(asked)).status_code == 503
    file.write_text(before)
    assert (await client.get(asked)).status_code == 200


async def test_an_unknown_provider_is_not_found(client):
    assert (await client.get(address(gateway="nobody"))).status_code == 404


async def test_garbage_is_kept_and_taken_so_that_the_provider_does_not_repeat_it(client):
    for query in ({"notice": "garbage"}, {"type": "99"}, {"type": ""}, {"notice": "%00"}):
        assert (await client.get(address(**query))).status_code == 200
    assert [match for _, match, _ in stored()] == ["unreadable"] * 4


@pytest.mark.parametrize(
    "strange",
    [
        {"attempt": 99999},  # no smallint
        {"smsc_message": "%00"},
        {"answer": "NACK/%00/%ED%A0%80"},
        {"time": 253402300799},
    ],
)
async def test_a_receipt_that_the_database_cannot_hold_keeps_back_no_other(client, strange):
    answers = await asyncio.gather(*(client.get(address(**(strange if n == 7 else {}))) for n in range(20)))
    assert {a.status_code for a in answers} == {200}
    matches = [match for _, match, _ in stored()]
    assert len(matches) == 20
    assert matches.count("unreadable") <= 1


async def test_other_methods_and_paths_are_none_of_its(client):
    assert (await client.put(address())).status_code == 405
    for path in ("/receipts/kannel", f"/receipts/kannel/{receipt_secret()}/more", "/receipts/", "/docs", "/"):
        assert (await client.get(path)).status_code == 404
    assert stored() == []


async def test_what_is_too_large_is_refused(client):
    assert (await client.post(address(), content=b"x" * (LARGEST_BODY + 1))).status_code == 413
    assert (await client.get(address(answer="x" * 5000))).status_code == 413
    assert stored() == []


async def test_many_receipts_at_once_share_commits_and_none_is_lost(client):
    answers = await asyncio.gather(*(client.get(address()) for _ in range(500)))
    assert {a.status_code for a in answers} == {200}
    assert len(stored()) == 500


async def test_while_the_database_is_away_the_provider_is_asked_to_try_again(client, monkeypatch):
    def gone(receipts):
        raise OperationalError("INSERT", {}, Exception("the server closed the connection"))

    with monkeypatch.context() as broken:
        broken.setattr(intake, "store", gone)
        assert (await client.get(address())).status_code == 503
    assert (await client.get(address())).status_code == 200
    assert len(stored()) == 1


async def test_health_tells_of_the_database(client):
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"database": "up"})


async def test_no_secret_and_no_receipt_is_logged(client, caplog):
    caplog.set_level("DEBUG")
    await client.get(address(answer="id:77 text:secretwords"))
    assert receipt_secret() not in "".join(r.getMessage() for r in caplog.records if r.name != "httpx")
    assert "secretwords" not in "".join(r.getMessage() for r in caplog.records if r.name != "httpx")
