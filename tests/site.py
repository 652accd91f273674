"""Visitors of the web site, customers with bills, and the codes that they get. Phones are invented."""

from __future__ import annotations

import asyncio
import html
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect
from fatoura.phones_at_rest import opened, sealed
from fatoura.site.app import Site
from fatoura.site.judging import judge
from tests.notices import run_sql

REFERENCE, INVOICE, PHONE = "042580496", "2026-F-0042", "+21620000001"
OTHER_PHONE = "+21650000002"


def bill(reference: str = REFERENCE, invoice: str = INVOICE, *, days_ago: int = 40) -> None:
    """Give a customer a bill that was issued some days ago."""
    issued = clock.today() - timedelta(days=days_ago)
    run_sql(
        """
        INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, customer_reference,
            district, supply, period_start, period_end, amount_due_millimes, due_date, issue_date, estimated,
            bucket, reason)
        SELECT 1, count(*) + 1, 1, :invoice, 0, :reference, 'TUN1', 'both', :issued - 60, :issued - 1, 85352,
            :issued + 30, :issued, false, 'unsubscribed', 'not_subscribed' FROM invoice
        """,
        invoice=invoice,
        reference=reference,
        issued=issued,
    )


def subscribed(reference: str = REFERENCE, phone: str = PHONE, **columns: Any) -> int:
    """Subscribe a customer by coupon; the phone is proven unless `proven_at` says something else."""
    now = clock.now()
    values = {
        "customer_reference": reference,
        "phone": sealed(phone),
        "language": "fr",
        "channel": "coupon",
        "consent_date": clock.today(),
        "proven_at": now,
        "created_at": now,
        "changed_at": now,
        **columns,
    }
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    found = run_sql(f"INSERT INTO subscription ({names}) VALUES ({marks}) RETURNING id", **values)
    return int(found.scalar())


def subscription(reference: str = REFERENCE) -> Any:
    """Return a customer's current subscription, or nothing."""
    with connect() as connection:
        return connection.execute(
            text("SELECT * FROM subscription WHERE customer_reference = :r AND state <> 'ended'"),
            {"r": reference},
        ).one_or_none()


def consents(reference: str = REFERENCE) -> list[Any]:
    """Return the records of a customer's consent."""
    with connect() as connection:
        return list(
            connection.execute(
                text("SELECT * FROM consent WHERE customer_reference = :r ORDER BY id"), {"r": reference}
            )
        )


def verifications() -> list[Any]:
    """Return all verifications, in the order in which they were asked for."""
    with connect() as connection:
        return list(connection.execute(text("SELECT * FROM verification ORDER BY asked_at, id")))


def codes(*, look: bool = True) -> list[tuple[str, str]]:
    """Return the phones and codes of all messages whose text is still there, in the order of planning.

    :param look: judge first what was asked for, as the site's own process does.
    """
    if look:
        judge()
    with connect() as connection:
        rows = connection.execute(
            text(
                "SELECT phone, text FROM notice WHERE kind = 'one_time_code' AND text IS NOT NULL ORDER BY id"
            )
        ).all()
    return [(opened(row.phone), re.search(r"[0-9]{6}", row.text)[0]) for row in rows]


def last_code(phone: str = PHONE) -> str:
    """Return the last code that went to a phone."""
    return [code for to, code in codes() if to == phone][-1]


def wrong(code: str) -> str:
    """Return another code."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


_FORM = re.compile(r'<form method="post" action="([^"]+)"[^>]*>(.*?)</form>', re.DOTALL)
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


@dataclass
class Page:
    """A page as its visitor sees it."""

    response: httpx.Response

    @property
    def status(self) -> int:
        return int(self.response.status_code)

    @property
    def place(self) -> str:
        """Its address, without host."""
        return self.response.url.raw_path.decode()

    @property
    def html(self) -> str:
        return str(self.response.text)

    @property
    def title(self) -> str:
        return html.unescape(re.search(r"<h1>(.*?)</h1>", self.html)[1])

    @property
    def words(self) -> str:
        """All that can be read in it."""
        found = re.search(r"<main.*?</main>", self.html, re.DOTALL)[0]
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", found)).split())

    def forms(self) -> dict[str, dict[str, str]]:
        """Return the hidden fields of its forms, by where they lead."""
        return {
            action: {name: html.unescape(value) for name, value in _HIDDEN.findall(inside)}
            for action, inside in _FORM.findall(self.html)
        }


@dataclass
class Visitor:
    """Somebody with a browser.

    :param language: of the pages.
    :param address: of the network.
    """

    app: Site = field(default_factory=Site)
    language: str = "fr"
    address: str = "197.0.0.1"
    page: Page = field(init=False)

    def __post_init__(self) -> None:
        transport = httpx.ASGITransport(self.app, client=(self.address, 40000))
        self._client = httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8082", follow_redirects=True
        )

    @property
    def cookies(self) -> httpx.Cookies:
        """The browser's cookies."""
        return self._client.cookies

    @property
    def headers(self) -> httpx.Headers:
        """What its browser, or somebody before it, tells with each request."""
        return self._client.headers

    def request(self, method: str, path: str, **more: Any) -> Page:
        """Ask for anything; only a page of the site is kept open."""
        return Page(asyncio.run(self._client.request(method, path, **more)))

    def open(self, place: str = "", **more: Any) -> Page:
        """Open a page."""
        self.page = self.request("GET", f"/{self.language}/{place}", **more)
        return self.page

    def send(self, _to: str | None = None, /, **fields: str) -> Page:
        """Fill the form of the page that is open, and send it.

        :param _to: which form, by where it leads; by default the first one.
        """
        forms = self.page.forms()
        action = f"/{self.language}/{_to}" if _to is not None else next(iter(forms))
        self.page = self.request("POST", action, data=forms[action] | fields)
        return self.page

    def ask_to_subscribe(self, **fields: str) -> Page:
        """Fill the form as somebody does who has all that is needed, and send it."""
        self.open("subscribe")
        good = {
            "reference": REFERENCE,
            "invoice": INVOICE,
            "phone": PHONE,
            "language": self.language,
            "consent": "yes",
        }
        return self.send(**good | fields)

    def subscribe(self, **fields: str) -> Page:
        """Subscribe from the form to the end."""
        self.ask_to_subscribe(**fields)
        return self.send("code", code=last_code(fields.get("phone", PHONE)))

    def open_subscription(self, reference: str = REFERENCE, phone: str = PHONE) -> Page:
        """Open one's subscription by a code."""
        self.open("manage")
        self.send(reference=reference, phone=phone)
        return self.send("code", code=last_code(phone))
