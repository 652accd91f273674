"""Messages in doubt inside Airflow's UI: masked for all, decided by those who may, and by no trick."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import pytest

from operations.links import URL_PREFIX
from tests.doubts import age, answer, claim, decisions, doubt, receipt, register
from tests.notices import ids, run_sql, states

if TYPE_CHECKING:
    from collections.abc import Callable

DOUBTS = f"{URL_PREFIX}/doubts"
REASON = "the provider's log shows it"
HERE = {"Sec-Fetch-Site": "same-origin", "Origin": "http://airflow"}


ROLES = {"amel": "user", "salah": "op", "mona": "viewer"}


@pytest.fixture
def app(database, monkeypatch, configure):
    """The plugin's pages as Airflow mounts them, with its own login manager's judgement of roles."""
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.api_fastapi.core_api import security
    from airflow.models.dag import DagModel
    from fastapi import FastAPI

    from operations.pages import create_app

    configure(now="2026-05-20T10:00:00+01:00")
    # Which team owns the DAG stands in Airflow's own database, which these tests have not.
    monkeypatch.setattr(DagModel, "get_team_name", lambda dag_id, **_: None)
    monkeypatch.setattr(security, "get_auth_manager", SimpleAuthManager)
    monkeypatch.setenv("AIRFLOW__API__SECRET_KEY", "a secret of a test")
    around = FastAPI()
    around.state.pages = create_app()
    around.mount(URL_PREFIX, around.state.pages)
    return around


@pytest.fixture
def stranger(app) -> httpx.AsyncClient:
    """Somebody who has not logged in."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://airflow"
    )


@pytest.fixture
def as_user(app) -> Callable[[str], httpx.AsyncClient]:
    """Return a browser in which somebody has logged in: ``as_user("amel")``."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Request

    def known(request: Request) -> SimpleAuthManagerUser:
        name = request.headers["x-logged-in"]
        return SimpleAuthManagerUser(username=name, role=ROLES[name])

    # Annotations are texts in this module, and FastAPI cannot find what is imported in a function.
    known.__annotations__["request"] = Request

    def log_in(name: str) -> httpx.AsyncClient:
        app.state.pages.dependency_overrides[get_user] = known
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://airflow",
            headers={"X-Logged-In": name},
        )

    return log_in


@pytest.fixture
def amel(as_user) -> httpx.AsyncClient:
    """Somebody who may decide."""
    return as_user("amel")


def fields(page: str) -> list[tuple[str, str]]:
    """Return what the page's form would send as it stands: hidden fields and marked boxes."""
    found = []
    for tag in re.findall(r"<input [^>]*>", page.split('method="post"')[1]):
        values = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if values["type"] == "hidden" or "checked" in tag.split():
            found.append((values["name"], unescape(values["value"])))
    return found


async def fill(client: httpx.AsyncClient, query: str = "", **changed: Any) -> list[tuple[str, str]]:
    """Open the list, mark all on its page, and fill the form in."""
    page = await client.get(f"{DOUBTS}?mark=page{query}")
    assert page.status_code == 200
    return change(fields(page.text), decision="undeliverable", reason=REASON, **changed)


def change(form: list[tuple[str, str]], **changed: Any) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in form if name not in changed]
    return kept + [(name, value) for name, value in changed.items() if value is not None]


async def post(client: httpx.AsyncClient, form: list[tuple[str, str]], **headers: str) -> httpx.Response:
    sent = {**HERE, "Content-Type": "application/x-www-form-urlencoded", **headers}
    return await client.post(DOUBTS, content=urlencode(form), headers=sent)


async def confirm(client: httpx.AsyncClient, form: list[tuple[str, str]]) -> httpx.Response:
    """Send both pages of a decision; return what the second answers."""
    first = await post(client, form)
    assert first.status_code == 200, first.text
    return await post(client, fields(first.text))


def assert_guarded(answered: httpx.Response) -> None:
    policy = answered.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "script-src 'sha256-" in policy
    assert answered.headers["x-content-type-options"] == "nosniff"
    assert answered.headers["referrer-policy"] == "same-origin"
    assert "no-store" in answered.headers["cache-control"]


# --- Who may look and who may decide ---------------------------------------------------------------------


async def test_without_a_login_there_is_nothing_to_see_and_nothing_to_decide(stranger):
    cycle = doubt()
    for page in (DOUBTS, f"{URL_PREFIX}/notices/{ids(cycle)[0]}"):
        answered = await stranger.get(page)
        assert answered.status_code == 401
        assert "2026-05-T1" not in answered.text
    assert (await post(stranger, [("decision", "accepted")])).status_code == 401
    assert states(cycle) == {"in_doubt": 1}


async def test_a_viewer_may_look_and_not_decide(as_user):
    cycle = doubt()
    mona = as_user("mona")
    page = await mona.get(DOUBTS)
    assert page.status_code == 200
    assert "2026-05-T1-0" in page.text
    assert "You may look at these messages" in page.text
    assert 'method="post"' in page.text  # the form is there, and has nothing to send
    assert "checkbox" not in page.text
    assert 'name="decision"' not in page.text
    form = await fill(as_user("amel"))
    assert (await post(mona, form)).status_code == 403
    assert states(cycle) == {"in_doubt": 1}


@pytest.mark.parametrize("name", ["amel", "salah"])
async def test_who_may_answer_the_release_may_decide_and_is_recorded_by_name(as_user, name):
    cycle = doubt()
    done = await confirm(as_user(name), await fill(as_user(name)))
    assert done.status_code == 200
    assert states(cycle) == {"undeliverable": 1}
    assert [(d.decided_by, d.reason) for d in decisions()] == [(name, REASON)]


# --- Forms of others -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://other.airflow"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://airflow.evil.example"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    ],
)
async def test_a_form_of_another_site_is_refused_even_with_the_right_token(amel, headers):
    cycle = doubt()
    form = change(await fill(amel), confirmed="1")
    assert (await post(amel, form, **headers)).status_code == 403
    assert states(cycle) == {"in_doubt": 1}


async def test_behind_a_proxy_the_address_that_airflow_is_told_counts(amel, monkeypatch):
    cycle = doubt()
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.utility.example/air")
    form = change(await fill(amel), confirmed="1")
    assert (await post(amel, form, Origin="https://airflow.utility.example")).status_code == 200
    assert states(cycle) == {"undeliverable": 1}


async def test_an_old_browser_that_says_nothing_is_held_to_the_token(amel):
    cycle = doubt()
    form = change(await fill(amel), confirmed="1")
    send = {"content": urlencode(form), "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    assert (await amel.post(DOUBTS, **send)).status_code == 200
    assert states(cycle) == {"undeliverable": 1}


@pytest.mark.parametrize("token", [None, "", "garbage", "ImFtZWwi.aa.bb"])
async def test_without_its_token_a_form_does_nothing(amel, token):
    cycle = doubt()
    answered = await post(amel, change(await fill(amel), token=token, confirmed="1"))
    assert answered.status_code == 422
    assert "Nothing was changed" in answered.text
    assert states(cycle) == {"in_doubt": 1}


async def test_another_user_s_token_does_nothing(as_user):
    cycle = doubt()
    form = change(await fill(as_user("salah")), confirmed="1")
    assert (await post(as_user("amel"), form)).status_code == 422
    assert states(cycle) == {"in_doubt": 1}


async def test_a_token_expires(amel, monkeypatch):
    from operations import doubt_pages

    cycle = doubt()
    form = change(await fill(amel), confirmed="1")
    monkeypatch.setattr(doubt_pages, "_TOKEN_SECONDS", -1)
    assert (await post(amel, form)).status_code == 422
    assert states(cycle) == {"in_doubt": 1}


@pytest.mark.parametrize(
    "changed",
    [
        {"seen": None},
        {"seen": "yesterday"},
        {"seen": "2026-05-20T10:00:00"},
        {"notice": "garbage"},
        {"notice": f"{uuid4()}"},
        {"notice": f"{uuid4()}.0"},
        {"notice": f"{uuid4()}.99999"},
        {"decision": "delivered"},
        {"confirmed": "many"},
    ],
)
async def test_what_no_page_of_ours_sends_is_refused(amel, changed):
    cycle = doubt()
    answered = await post(amel, change(await fill(amel), **changed))
    assert answered.status_code == 400
    assert states(cycle) == {"in_doubt": 1}


async def test_a_form_has_a_form_and_a_size(amel):
    doubt()
    form = urlencode(await fill(amel))
    for content_type, body, code in (
        ("application/json", "{}", 415),
        ("multipart/form-data; boundary=x", form, 415),
        ("application/x-www-form-urlencoded", form + "&reason=" + "x" * 70_000, 413),
        ("application/x-www-form-urlencoded", "&".join(["notice=x"] * 500), 400),
        ("application/x-www-form-urlencoded", b"\xff\xfe", 400),
    ):
        headers = {**HERE, "Content-Type": content_type}
        assert (await amel.post(DOUBTS, content=body, headers=headers)).status_code == code


# --- The list --------------------------------------------------------------------------------------------


async def test_the_list_tells_what_becomes_of_each_and_hides_numbers(amel):
    register(client_reference=True)
    cycle = doubt(2)
    doubt(1, kind="warning", hours=30, first=10)
    page = await amel.get(DOUBTS)
    assert page.status_code == 200
    assert_guarded(page)
    text = page.text
    assert "+216 ** *** 000" in text
    assert "20000000" not in text
    assert f'href="{URL_PREFIX}/notices/{ids(cycle)[0]}"' in text
    assert "its kind is never sent twice" in text
    assert "after 20/05/2026 16:00; a second copy does less harm than none" in text
    assert "no answer in 30 s" in text
    assert "a receipt can settle it" in text
    assert text.index("warning 2026-05-T1-10") < text.index("Bill 2026-05-T1-0")
    assert re.search(r"<b>3</b>in doubt", text)
    assert re.search(r"<b>1</b>on the list", text)


async def test_nothing_in_doubt_says_so(amel):
    assert "No message is in doubt." in (await amel.get(DOUBTS)).text
    doubt()
    assert "No message in doubt is of this choice." in (await amel.get(f"{DOUBTS}?kind=warning")).text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"0", "1", "2"}),
        ("kind=warning", {"1"}),
        ("next=listed", {"1"}),
        ("gateway=of_before", {"2"}),
        ("older=1d", {"1"}),
        ("older=1h", {"0", "1"}),
        ("older=1h&kind=bill", {"0"}),
        ("next=nonsense&older=nonsense&page=nonsense", {"0", "1", "2"}),
        ("page=99", {"0", "1", "2"}),
        ("page=-1", {"0", "1", "2"}),
        ("page=" + "9" * 40, {"0", "1", "2"}),
        ("gateway=%00&kind=%00", {"0", "1", "2"}),
    ],
)
async def test_the_list_can_be_narrowed(amel, query, expected):
    doubt(1, hours=2)
    doubt(1, first=1, kind="warning", hours=30)
    doubt(1, first=2, gateway="of_before")
    page = await amel.get(f"{DOUBTS}?{query}")
    assert page.status_code == 200
    assert set(re.findall(r">\w+ 2026-05-T1-(\d)</a>", page.text)) == expected


async def test_what_comes_from_outside_is_shown_as_text(amel):
    cycle = doubt()
    run_sql("UPDATE attempt SET answer = :x, gateway = :x", x="<script>alert(1)</script>")
    run_sql("UPDATE notice SET subject = :x, gateway = :x", x='"><img src=x onerror=alert(1)>')
    for page in (DOUBTS, f"{URL_PREFIX}/notices/{ids(cycle)[0]}", f"{DOUBTS}?kind=<b>&gateway=%22%3E<b>"):
        text = (await amel.get(page)).text
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "<b>&gateway" not in text


async def test_thousands_are_shown_page_by_page(amel):
    doubt(230)
    first = (await amel.get(DOUBTS)).text
    assert first.count("checkbox") == 100
    assert "1–100 of 230" in first
    assert f'href="{DOUBTS}?page=2"' in first
    last = (await amel.get(f"{DOUBTS}?page=3")).text
    assert last.count("checkbox") == 30
    assert "201–230 of 230" in last
    assert 'rel="next"' not in last
    seen = [
        re.findall(r'value="([-0-9a-f]{36})\.1"', (await amel.get(f"{DOUBTS}?page={n}")).text)
        for n in (1, 2, 3)
    ]
    assert len({notice for page in seen for notice in page}) == 230


async def test_a_page_can_be_marked_without_a_script(amel):
    doubt(3)
    assert " checked aria-label" not in (await amel.get(DOUBTS)).text
    assert (await amel.get(f"{DOUBTS}?mark=page")).text.count(" checked aria-label") == 3


async def test_the_pages_run_only_the_one_script_that_their_policy_names(amel):
    from base64 import b64encode
    from hashlib import sha256

    doubt()
    page = await amel.get(DOUBTS)
    [script] = re.findall(r"<script>(.*?)</script>", page.text, re.S)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in page.headers["content-security-policy"]
    assert not re.search(r"\son\w+=", page.text)


async def test_airflow_may_lie_below_a_path_of_its_server(app, amel):
    cycle = doubt()
    app.root_path = "/air"
    page = await amel.get(f"/air{DOUBTS}")
    assert f'action="/air{DOUBTS}"' in page.text
    assert f'href="/air{URL_PREFIX}/notices/{ids(cycle)[0]}"' in page.text


# --- A decision ------------------------------------------------------------------------------------------


async def test_a_decision_is_shown_with_its_counts_before_anything_is_done(amel):
    cycle = doubt(2)
    doubt(1, kind="warning", hours=30, first=10)
    first = await post(amel, await fill(amel))
    assert first.status_code == 200
    assert_guarded(first)
    assert "3 messages: undeliverable?" in first.text
    assert REASON in unescape(first.text)
    assert re.search(r"Bill.*?>2</td>", first.text)
    assert states(cycle) == {"in_doubt": 3}
    done = await post(amel, fields(first.text))
    assert "3 messages decided: undeliverable" in done.text
    assert_guarded(done)
    assert states(cycle) == {"undeliverable": 3}


async def test_only_what_is_marked_is_decided_on(amel):
    cycle = doubt(3)
    one = ids(cycle)[1]
    done = await confirm(amel, change(await fill(amel), notice=f"{one}.1", decision="accepted"))
    assert "1 message decided: accepted" in done.text
    assert [d.notice_id for d in decisions()] == [one]


async def test_all_that_a_list_takes_in_can_be_decided_on_over_all_pages(amel):
    cycle = doubt(230, hours=30)
    doubt(2, first=500)
    form = await fill(amel, query="&older=1d", scope="all", notice=None)
    first = await post(amel, form)
    assert "230 messages: undeliverable?" in first.text
    done = await post(amel, fields(first.text))
    assert "230 messages decided" in done.text
    assert states(cycle) == {"undeliverable": 230, "in_doubt": 2}


async def test_doubts_that_came_after_the_look_are_not_meant_by_all(amel):
    cycle = doubt(1)
    form = await fill(amel, scope="all")
    doubt(1, first=10)
    done = await confirm(amel, form)
    assert "1 message decided" in done.text
    assert states(cycle) == {"undeliverable": 1, "in_doubt": 1}


async def test_more_than_were_confirmed_are_shown_again_first(amel):
    """A choice by what happens next can grow while a person reads: a horizon passes."""
    cycle = doubt(2, kind="warning", hours=1)
    age(ids(cycle)[:1], 7)
    first = await post(amel, await fill(amel, query="&next=listed", scope="all"))
    assert "1 message: undeliverable?" in first.text
    age(ids(cycle)[1:], 7)
    second = await post(amel, fields(first.text))
    assert "There are more of them now than you have confirmed" in second.text
    assert states(cycle) == {"in_doubt": 2}
    assert "2 messages decided" in (await post(amel, fields(second.text))).text


async def test_what_settled_meanwhile_is_left_and_named(amel):
    cycle = doubt(3)
    one, two, three = ids(cycle)
    form = await fill(amel)
    receipt(one, "delivered")
    first = await post(amel, form)
    assert "2 messages: undeliverable?" in first.text
    assert "1 of those that you marked is no longer in doubt" in first.text
    receipt(two, "delivered")
    done = await post(amel, fields(first.text))
    assert "1 message decided" in done.text
    assert f"<code>{two}</code></a></td><td>it is delivered already" in done.text
    assert states(cycle) == {"delivered": 2, "undeliverable": 1}
    assert [d.notice_id for d in decisions()] == [three]


async def test_sending_the_last_page_twice_changes_nothing(amel):
    cycle = doubt()
    first = await post(amel, await fill(amel))
    await post(amel, fields(first.text))
    again = await post(amel, fields(first.text))
    assert "0 messages decided" in again.text
    assert "it is undeliverable already" in again.text
    assert (states(cycle), len(decisions())) == ({"undeliverable": 1}, 1)


async def test_when_all_have_settled_there_is_nothing_left_to_confirm(amel):
    cycle = doubt()
    form = await fill(amel)
    receipt(ids(cycle)[0], "delivered")
    assert "None of them is in doubt any more" in (await post(amel, form)).text


async def test_what_went_out_again_while_a_person_was_reading_is_not_decided_on(amel):
    cycle = doubt(hours=7)
    form = await fill(amel)
    answer(claim(cycle), "in_doubt")
    done = await confirm(amel, form)
    assert "attempt 2 is in doubt now, not attempt 1" in done.text
    assert states(cycle) == {"in_doubt": 1}


async def test_what_goes_out_again_is_said_with_what_to_do(amel):
    cycle = doubt(2)
    run_sql("UPDATE notice SET send_until = submitted_at WHERE subject LIKE '%-1'")
    done = await confirm(amel, change(await fill(amel), decision="not_accepted"))
    assert "1 of them goes out no more" in done.text
    assert "go out again with the send tasks of 2026-05-T1 (<code>billing_cycle</code>)." in done.text
    assert states(cycle) == {"planned": 1, "cancelled": 1}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"reason": ""}, "Say in a few words how you know"),
        ({"reason": "20 000 001 told me so"}, "seems to hold a phone number"),
        ({"reason": "x" * 501}, "longer than 500"),
        ({"decision": None}, "Say what they are to be taken for"),
        ({"notice": None}, "Mark the messages that you decide on"),
    ],
)
async def test_what_is_missing_is_said_and_what_was_filled_in_is_kept(amel, changed, said):
    cycle = doubt(2)
    for confirmed in (None, "2"):
        answered = await post(amel, change(await fill(amel), confirmed=confirmed, **changed))
        assert answered.status_code == 422
        assert said in unescape(answered.text)
        assert_guarded(answered)
        if "notice" not in changed:
            assert answered.text.count(" checked aria-label") == 2
        if "reason" not in changed:
            assert REASON in unescape(answered.text)
    assert states(cycle) == {"in_doubt": 2}


# --- The life of one message -----------------------------------------------------------------------------


async def test_one_message_is_shown_from_its_plan_to_the_decision_masked(amel):
    cycle = doubt()
    [one] = ids(cycle)
    run_sql(
        "INSERT INTO receipt (gateway, raw, notice_id, attempt, status, detail, match, matched_at) VALUES "
        '(\'fatoura_sms\', \'{"query": {"to": "21620000000", "type": "8"}}\', :id, 1, \'accepted\', \'ACK\', '
        "'noted', now())",
        id=one,
    )
    await confirm(amel, await fill(amel))
    page = await amel.get(f"{URL_PREFIX}/notices/{one}")
    assert page.status_code == 200
    assert_guarded(page)
    text = unescape(page.text)
    for told in ("Bill 2026-05-T1-0", "in doubt", "no answer in 30 s", f"decided by amel: {REASON}", "ACK"):
        assert told in text
    assert "+216 ** *** 000" in text
    assert "… 11 characters" in text
    for hidden in ("20000000", "21620000000", "85,352"):
        assert hidden not in text


async def test_a_message_that_there_is_not_is_said_so(amel):
    lost = uuid4()
    answered = await amel.get(f"{URL_PREFIX}/notices/{lost}")
    assert answered.status_code == 404
    assert f"There is no message {lost}" in answered.text
    assert (await amel.get(f"{URL_PREFIX}/notices/20000001")).status_code == 422


def test_the_decisions_on_the_page_are_all_there_are():
    from fatoura.notices.states import Decision
    from operations.doubt_pages import DECISIONS

    assert list(DECISIONS) == list(Decision)
