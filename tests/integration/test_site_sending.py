"""Codes on their way: from the page through the site's own sending to a gateway, once, soon, at any hour."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect
from fatoura.gateways import GatewayConfig, create_gateway
from fatoura.gateways.sandbox import Sandbox, SandboxOptions
from fatoura.site import sending
from fatoura.site.app import Site
from fatoura.site.judging import judge
from fatoura.site.sending import tidy
from fatoura.site.verifications import Ask, ask
from tests.notices import plan_notices, run_sql
from tests.processes import free_port
from tests.site import INVOICE, REFERENCE, bill, codes

NIGHT = "2026-05-24T23:30:00+01:00"  # a Sunday


@pytest.fixture(autouse=True)
def _settings(database, configure, monkeypatch):
    configure(now=NIGHT, request_timeout=2, segments_per_second=200)
    monkeypatch.setattr(sending, "_LOOK_SECONDS", 0.3)
    monkeypatch.setattr(sending, "_TIDY_SECONDS", 0.3)
    monkeypatch.setattr(sending, "_TRY_AGAIN_SECONDS", 0.2)


@asynccontextmanager
async def running(port: int, *, password: str = "sandbox"):
    """Run the site with its sending in this loop."""
    config = GatewayConfig("fatoura_sms", f"http://127.0.0.1:{port}", "fatoura", password)
    app = Site(lambda: [create_gateway("kannel", config)])
    async with app.router.lifespan_context(app):
        yield app


async def until(condition, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "waited too long"
        await asyncio.sleep(0.02)


def asked(n: int = 1, *, bills: bool = True, first: int = 0) -> None:
    """Ask for codes as the pages do, each with another phone."""
    for i in range(first, first + n):
        reference, invoice = (f"{100000000 + i}", f"F-{i}") if i or n > 1 else (REFERENCE, INVOICE)
        if bills:
            bill(reference, invoice)
        wanted = Ask("subscribe", reference, "fr", f"+21620{i:06d}", invoice=invoice, wording="web-1")
        assert ask(f"visit {i}", wanted, address=f"197.0.{i % 250}.1") is None


def messages() -> list:
    with connect() as connection:
        return list(
            connection.execute(
                text(
                    "SELECT n.*, c.purpose, c.key FROM notice n JOIN cycle c ON c.id = n.cycle_id "
                    "WHERE kind = 'one_time_code' ORDER BY n.id"
                )
            )
        )


def states() -> set[str]:
    return {one.state for one in messages()}


async def test_a_code_leaves_at_once_also_on_a_sunday_night_and_the_ledger_knows_it():
    bill()
    async with (
        Sandbox(SandboxOptions(port=0, receipts=0)) as sandbox,
        running(sandbox.port) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8082") as browser,
    ):
        page = await browser.get("/fr/subscribe")
        form = {
            "token": page.text.partition('name="token" value="')[2].partition('"')[0],
            "wording": "web-1",
            "reference": REFERENCE,
            "invoice": INVOICE,
            "phone": "20000001",
            "language": "fr",
            "consent": "yes",
        }
        began = time.monotonic()
        assert (await browser.post("/fr/subscribe", data=form)).status_code == 303
        await until(lambda: states() == {"accepted"})
        assert time.monotonic() - began < 5  # a fraction of a second, but for a busy machine
        assert (await browser.get("/health")).json() == {"database": "up", "codes": "up"}
    (message,) = messages()
    assert list(sandbox.accepted.values()) == [1]
    assert (message.purpose, message.key, message.segments) == ("codes", "codes-2026-05-24", 1)
    assert (message.subscription_id, message.planned_by) == (None, "the web site")
    with connect() as connection:
        attempt = connection.execute(text("SELECT * FROM attempt")).one()
    assert attempt.worker.startswith("site ")
    assert attempt.valid_until - attempt.answered_at <= timedelta(minutes=5)


async def test_each_of_several_codes_that_are_asked_for_over_time_leaves_at_once():
    async with Sandbox(SandboxOptions(port=0, receipts=0)) as sandbox, running(sandbox.port) as app:
        for i in range(4):
            await asyncio.to_thread(asked, first=i)
            app.sender.wake()
            await until(lambda i=i: [one.state for one in messages()] == ["accepted"] * (i + 1), 5)
            await asyncio.sleep(0.4)  # until there is nothing to do again
    assert sorted(sandbox.accepted.values()) == [1] * 4


async def test_what_is_due_is_made_a_moment_later_so_that_the_next_page_cannot_be_timed(monkeypatch):
    monkeypatch.setattr("fatoura.site.sending._MOMENT", (0.5, 0.5))
    asked()
    async with Sandbox(SandboxOptions(port=0, receipts=0)) as sandbox, running(sandbox.port):
        await asyncio.sleep(0.3)
        assert messages() == []
        await until(lambda: states() == {"accepted"})


async def test_codes_pass_bills_and_bills_keep_to_their_window():
    plan_notices(300)
    async with Sandbox(SandboxOptions(port=0, receipts=0)) as sandbox, running(sandbox.port):
        asked()
        await until(lambda: states() == {"accepted"})
        await asyncio.sleep(0.5)
    assert len(sandbox.accepted) == 1


async def test_two_processes_side_by_side_send_each_code_once():
    asked(40)
    async with (
        Sandbox(SandboxOptions(port=0, receipts=0)) as sandbox,
        running(sandbox.port),
        running(sandbox.port),
    ):
        await until(lambda: len(messages()) == 40 and states() == {"accepted"})
    assert sorted(sandbox.accepted.values()) == [1] * 40


async def test_who_has_no_right_to_a_code_costs_no_message():
    asked(5, bills=False)
    async with Sandbox(SandboxOptions(port=0)) as sandbox, running(sandbox.port):
        await until(lambda: run_sql("SELECT count(*) FROM verification WHERE genuine IS FALSE").scalar() == 5)
        await asyncio.sleep(0.3)
    assert messages() == []
    assert sandbox.counts["requests"] == 0


async def test_a_provider_that_is_away_for_a_moment_gets_the_code_when_it_is_back(monkeypatch):
    for back_off in ("_FIRST_BACK_OFF", "_LONGEST_BACK_OFF"):
        monkeypatch.setattr(f"fatoura.sending.line.{back_off}", timedelta(seconds=0.3))
    port = free_port()
    async with running(port):
        asked()
        await until(lambda: [one.attempts for one in messages()] > [0])
        async with Sandbox(SandboxOptions(port=port, receipts=0)) as sandbox:
            await until(lambda: states() == {"accepted"})
    assert list(sandbox.accepted.values()) == [1]


async def test_a_code_that_could_not_leave_in_time_never_leaves_and_is_gone(configure, database):
    port = free_port()
    asked()
    judge()
    configure(database_url=database, now=(clock.now() + timedelta(minutes=9, seconds=30)).isoformat())
    async with Sandbox(SandboxOptions(port=port)) as sandbox, running(port):
        await until(lambda: states() == {"cancelled"})
    (message,) = messages()
    assert (message.reason, message.text) == ("too_late", None)
    assert sandbox.counts["requests"] == 0


async def test_what_may_have_been_taken_is_not_sent_again():
    asked()
    options = SandboxOptions(port=0, faults={"timeout": 1.0})
    async with Sandbox(options) as sandbox, running(sandbox.port):
        await until(lambda: states() == {"in_doubt"})
        await asyncio.sleep(0.8)
    assert list(sandbox.accepted.values()) == [1]


async def test_wrong_credentials_are_told_and_tried_again_with_what_the_connection_says_then(
    caplog, monkeypatch
):
    monkeypatch.setattr(sending, "_MEND_SECONDS", 0.3)
    asked()
    async with Sandbox(SandboxOptions(port=0, receipts=0)) as sandbox:
        words = {"password": "wrong"}

        def gateways():
            config = GatewayConfig("fatoura_sms", sandbox.base_url, "fatoura", words["password"])
            return [create_gateway("kannel", config)]

        app = Site(gateways)
        async with app.router.lifespan_context(app):
            await until(lambda: "every provider refuses everything" in caplog.text)
            assert states() == {"planned"}
            words["password"] = "sandbox"
            await until(lambda: states() == {"accepted"})
    assert list(sandbox.accepted.values()) == [1]


async def test_a_connection_that_is_missing_is_told_and_pages_go_on(caplog):
    app = Site()  # nothing in the environment says where to send
    async with app.router.lifespan_context(app):
        asked()
        await until(lambda: "there is no connection 'fatoura_sms'" in caplog.text)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as browser:
            assert (await browser.get("/fr/")).status_code == 200
    assert states() == {"planned"}


def test_the_text_of_a_code_is_erased_when_its_fate_is_known_or_its_time_is_over(configure, database):
    asked(3)
    judge()
    assert len(codes(look=False)) == 3
    first, second, _ = messages()
    move = "UPDATE notice SET state = :state, attempts = 1, final_at = :final WHERE id = :id"
    for state in ("sending", "accepted"):
        run_sql(move, state=state, final=None, id=second.id)
        run_sql(move, state=state, final=None, id=first.id)
    run_sql(move, state="delivered", final=clock.now(), id=first.id)
    tidy()
    assert [one.text is None for one in messages()] == [True, False, False]
    configure(database_url=database, now=(clock.now() + timedelta(minutes=11)).isoformat())
    tidy()
    assert [(one.state, one.text) for one in messages()] == [
        ("delivered", None),
        ("accepted", None),
        ("cancelled", None),
    ]


async def test_a_claim_of_a_process_that_was_killed_comes_into_doubt_and_its_code_is_gone(
    configure, database
):
    asked()
    judge()
    run_sql(
        "UPDATE notice SET state = 'sending', attempts = 1, lease_until = clock_timestamp() - interval '1 s'"
    )
    configure(database_url=database, now=(clock.now() + timedelta(minutes=11)).isoformat())
    tidy()
    assert [(one.state, one.text) for one in messages()] == [("in_doubt", None)]


async def test_a_stop_finishes_what_is_under_way():
    asked()
    async with Sandbox(SandboxOptions(port=0, receipts=0, delay=0.5)) as sandbox:
        async with running(sandbox.port):
            await until(lambda: sandbox.counts["requests"] == 1)
        assert states() == {"accepted"}
