"""The web site in a real browser: every step and error, for who sees little, types, or has an old phone."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from fatoura.settings import get_settings
from fatoura.site.app import Site
from tests.notices import run_sql
from tests.processes import free_port
from tests.site import bill, codes, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = shutil.which("chromium")
REFERENCE, INVOICE, PHONE, OTHER = "100000001", "F-1", "+21620000001", "+21650000002"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs the Debian package chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield browser
        browser.close()


@contextmanager
def served() -> Iterator[str]:
    """Serve the site from a thread; codes are judged by whoever looks for them."""
    server = uvicorn.Server(
        uvicorn.Config(
            Site(list),
            host="127.0.0.1",
            port=get_settings().site_port,
            http="h11",
            lifespan="off",
            log_level="error",
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield get_settings().site_url
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def site(database, configure) -> Iterator[str]:
    configure(database_url=database, now="2026-05-20T10:00:00+01:00", site_port=free_port())
    with served() as url:
        yield url


def last(phone: str) -> str:
    return [code for to, code in codes() if to == phone][-1]


def steps(page: Any, url: str, language: str) -> Iterator[str]:
    """Go through the site as people do, and give each page by name when it stands there."""
    bill(REFERENCE, INVOICE)

    def send() -> None:
        page.click("main button >> nth=0")

    def type_in(**fields: str) -> None:
        for name, value in fields.items():
            page.fill(f"#{name}", value)

    def go(place: str = "") -> None:
        page.goto(f"{url}/{language}/{place}")

    go()
    yield "home"
    page.click("main a.button")
    yield "subscribe"
    send()
    yield "subscribe, empty"
    type_in(reference=REFERENCE, invoice=INVOICE, phone="71 123 456")
    page.check("#consent")
    send()
    yield "subscribe, a fixed line"
    type_in(phone=PHONE[4:])
    send()
    yield "code"
    code = last(PHONE)
    type_in(code=wrong(code))
    send()
    yield "code, wrong"
    for _ in range(4):
        type_in(code=wrong(code))
        send()
    yield "code, locked"
    send()
    yield "code, another"
    type_in(code=last(PHONE))
    send()
    yield "subscribed"
    go("manage")
    yield "manage"
    send()
    yield "manage, empty"
    type_in(reference=REFERENCE, phone=PHONE[4:])
    send()
    type_in(code=last(PHONE))
    send()
    yield "subscription"
    send()
    yield "subscription, another language"
    go("subscription/number")
    yield "number"
    type_in(phone=PHONE[4:])
    send()
    yield "number, the same"
    go("subscription/leave")
    yield "leave, opened"
    go("subscription")
    page.click("main button >> nth=-1")
    yield "manage, closed"
    go("subscribe")
    type_in(reference=REFERENCE, invoice=INVOICE, phone=OTHER[4:])
    page.check("#consent")
    send()
    type_in(code=last(OTHER))
    send()
    yield "code of the former number"
    type_in(code=last(PHONE))
    send()
    yield "number changed"
    go("leave")
    yield "leave"
    send()
    yield "leave, empty"
    type_in(reference=REFERENCE, invoice=INVOICE)
    send()
    yield "asked to leave"
    last(OTHER)
    go("subscribe")
    type_in(reference=REFERENCE, invoice=INVOICE, phone="20000003")
    page.check("#consent")
    send()
    type_in(code=last("+21620000003"))
    send()
    yield "too soon"
    go("nothing")
    yield "not found"
    page.context.clear_cookies()
    go("code")
    yield "again"
    run_sql("UPDATE site_count SET asked = 1000")
    go("manage")
    type_in(reference=REFERENCE, phone=PHONE[4:])
    send()
    yield "limited"


# What sticks out of the window, what a finger can hardly hit, what leads to no field.
_FLAWS = """
() => {
    const flaws = [], wide = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth > wide) flaws.push('the page is wider than the window');
    for (const element of document.body.querySelectorAll('*')) {
        const box = element.getBoundingClientRect();
        if (box.width > 1 && (box.right > wide + 1 || box.left < -1))
            flaws.push(element.tagName + ' sticks out: ' + element.textContent.trim().slice(0, 40));
    }
    for (const element of document.querySelectorAll('button, .button, input[type=text], input[type=tel]')) {
        if (element.getBoundingClientRect().height < 44)
            flaws.push(element.outerHTML.slice(0, 60) + ' is low');
    }
    for (const link of document.querySelectorAll('.summary a'))
        if (!document.querySelector(link.hash)) flaws.push(link.hash + ' leads nowhere');
    return flaws;
}
"""


@pytest.mark.parametrize("language", ["ar", "fr"])
def test_every_page_is_accessible_and_fits_a_small_phone(site, browser, language):
    from axe_playwright_python.sync_playwright import Axe

    axe = Axe()
    # The policy of the pages forbids scripts: also the one that looks at them.
    context = browser.new_context(viewport={"width": 320, "height": 640}, bypass_csp=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_content("<html><body><input id=x><p style='color: #ccc'>pale</p></body></html>")
    rules = {one["id"] for one in axe.run(page).response["violations"]}
    assert {"label", "color-contrast", "html-has-lang"} <= rules  # it does see what is wrong
    seen = []
    for name in steps(page, site, language):
        found = axe.run(page, options={"resultTypes": ["violations"]})
        assert found.response["violations"] == [], (name, found.generate_report())
        assert page.evaluate(_FLAWS) == [], name
        assert page.evaluate("() => document.documentElement.lang") == language
        seen.append(name)
    assert len(seen) == len(set(seen)) == 26
    assert all(url.startswith(site) for url in asked)
    for value in (REFERENCE, INVOICE, PHONE[4:], OTHER[4:]):
        assert not any(value in url for url in asked)
    context.close()


def test_everything_can_be_done_without_scripts_by_keyboard_alone(site, browser):
    bill(REFERENCE, INVOICE)
    context = browser.new_context(viewport={"width": 360, "height": 640}, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/fr/subscribe")
    keys = page.keyboard
    keys.press("Tab")
    keys.press("Enter")  # the way past the menu
    page.wait_for_url("**/fr/subscribe#content")
    for typed in (REFERENCE, INVOICE, PHONE[4:]):
        keys.press("Tab")
        keys.type(typed)
    keys.press("Tab")
    keys.press("ArrowUp")  # Arabic, of the two languages
    keys.press("Tab")
    keys.press("Space")
    keys.press("Enter")
    page.wait_for_url("**/fr/code")
    page.focus("#code")
    keys.type(last(PHONE))
    keys.press("Enter")
    page.wait_for_url("**/fr/done")
    assert "en arabe" in page.inner_text("main")
    context.close()


def test_the_policy_of_the_pages_is_kept_by_the_browser(site, browser):
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{site}/ar/")
    assert complaints == []
    assert page.evaluate("() => getComputedStyle(document.querySelector('.name b')).backgroundColor") == (
        "rgb(11, 74, 130)"
    )
    page.evaluate("() => { document.body.insertAdjacentHTML('beforeend', '<img src=https://x.example/a>') }")
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.broken = 1';"
        " document.body.append(s) }"
    )
    page.wait_for_timeout(100)
    assert page.evaluate("() => window.broken") is None
    assert len(complaints) == 2
    context.close()


def test_what_is_typed_is_set_from_the_left_also_in_arabic_and_the_page_from_the_right(site, browser):
    context = browser.new_context(viewport={"width": 360, "height": 640})
    page = context.new_page()
    page.goto(f"{site}/ar/subscribe")
    direction = "name => getComputedStyle(document.querySelector(name)).direction"
    assert page.evaluate(direction, "main") == "rtl"
    assert page.evaluate(direction, "#phone") == "ltr"
    # Joined letters are narrower than the same letters set apart.
    width = "text => { const s = document.createElement('span'); s.textContent = text;" + (
        "document.querySelector('main').append(s); return s.getBoundingClientRect().width }"
    )
    assert page.evaluate(width, "تونس") < page.evaluate(width, "ت‌و‌ن‌س")
    context.close()
