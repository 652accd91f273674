"""`python -m tests.site_load`: 200 people on the web site at once, each from the first page to the last.

Four in five know what is printed on their bill, subscribe with the code that they get, and look at their
subscription with another; the fifth mistypes the invoice number, waits for a code that never comes, and
tries one. Told are times by page, how long codes took to reach the provider, and what the processes took.
Everything is on loopback and on a ground of its own; nothing of it stays.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import aiohttp
import click

from tests.bench.ground import Ground
from tests.bench.watching import Watch
from tests.site_running import reference, running_site

if TYPE_CHECKING:
    from tests.site_running import RunningSite

_TOKEN = re.compile(r'name="token" value="([0-9a-f]+)"')
_LIMITS = {f"site_limit_{what}": "100000000/h" for what in ("phone", "reference", "address", "all")}
_PATIENCE = 60.0


@dataclass
class Seen:
    """What the visitors met.

    :param seconds: by page, of each request.
    :param wrong: answers that nobody expects, by page and status.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: Counter[str] = field(default_factory=Counter)
    finished: int = 0


class Codes:
    """The phones of all visitors: whoever waits gets the code that was sent last to a number."""

    def __init__(self, site: RunningSite) -> None:
        self._site = site
        self._sent: dict[str, list[str]] = defaultdict(list)
        self._seen: set[str] = set()

    async def watch(self) -> None:
        """Look for new messages, again and again."""
        while True:
            for subject, phone, text in await asyncio.to_thread(self._new):
                if subject not in self._seen:
                    self._seen.add(subject)
                    self._sent[phone].append(re.search("[0-9]{6}", text)[0])
            await asyncio.sleep(0.1)

    def _new(self) -> list[tuple[Any, ...]]:
        # A message arrives when the provider has taken it.
        return self._site.query(
            "SELECT subject, phone, text FROM notice WHERE state = 'accepted' AND text IS NOT NULL "
            "AND id > (SELECT uuidv7(interval '-20 seconds')) ORDER BY state_since"
        )

    async def wait(self, phone: str, number: int) -> str | None:
        """Wait for so many codes to a phone; return the last of them, or nothing when it does not come."""
        end = time.monotonic() + _PATIENCE
        while len(self._sent[phone]) < number:
            if time.monotonic() > end:
                return None
            await asyncio.sleep(0.05)
        return self._sent[phone][number - 1]


class Person:
    """Somebody with a browser and a phone.

    :param number: of the customer.
    :param hurry: the longest pause between two pages, in seconds.
    """

    def __init__(self, site: RunningSite, seen: Seen, codes: Codes, number: int, hurry: float) -> None:
        self._url, self._seen, self._codes = site.url, seen, codes
        self._number, self._hurry = number, hurry
        self._phone = f"+21620{number:06d}"
        self._address = f"197.{number % 200}.{number // 200 % 250}.{number // 50_000}"

    async def visit(self, *, mistypes: bool) -> None:
        """Go from the first page to the last."""
        jar = aiohttp.CookieJar(unsafe=True)  # cookies of an address, not of a name
        headers = {"X-Forwarded-For": self._address, "Accept-Language": "fr"}
        async with aiohttp.ClientSession(cookie_jar=jar, headers=headers) as self._browser:
            await self._get("home", "")
            token = await self._get("subscribe", "subscribe")
            form = {
                "wording": "web-1",
                "reference": reference(self._number),
                "invoice": "F-0" if mistypes else f"F-{self._number}",
                "phone": self._phone,
                "language": "fr",
                "consent": "yes",
            }
            token = await self._send("ask", "subscribe", token, form, "code")
            if mistypes:
                await self._send("try wrong", "code", token, {"code": "123456"}, status=422)
                return
            if not await self._enter(token, 1, "done"):
                return
            token = await self._get("manage", "manage")
            look = {"reference": reference(self._number), "phone": self._phone}
            token = await self._send("ask to look", "manage", token, look, "code")
            if await self._enter(token, 2, "subscription"):
                self._seen.finished += 1

    async def _enter(self, token: str, number: int, then: str) -> bool:
        code = await self._codes.wait(self._phone, number)
        if code is None:
            self._seen.wrong["no code"] += 1
            return False
        await self._send("try", "code", token, {"code": code}, then)
        return True

    async def _get(self, name: str, place: str) -> str:
        return await self._ask(name, "GET", place)

    async def _send(
        self, name: str, place: str, token: str, form: dict[str, str], then: str = "", status: int = 303
    ) -> str:
        """Send a form, and open the page that it leads to; return that one's token."""
        found = await self._ask(name, "POST", place, {"token": token, **form}, status)
        return await self._ask(then, "GET", then) if then else found

    async def _ask(
        self, name: str, method: str, place: str, form: dict[str, str] | None = None, status: int = 200
    ) -> str:
        await asyncio.sleep(random.uniform(0, self._hurry))
        began = time.monotonic()
        try:
            async with self._browser.request(
                method, f"{self._url}/fr/{place}", data=form, allow_redirects=False
            ) as answer:
                page = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._seen.wrong[f"{name}: {type(error).__name__}"] += 1
            return ""
        self._seen.seconds[name].append(time.monotonic() - began)
        if answer.status != status:
            self._seen.wrong[f"{name}: {answer.status}"] += 1
        found = _TOKEN.search(page)
        return found[1] if found else ""


async def load(site: RunningSite, *, users: int, seconds: float, hurry: float) -> Seen:
    """Let so many people at a time visit the site, for so long."""
    seen, codes, numbers = Seen(), Codes(site), iter(range(1, 1_000_000))
    watching = asyncio.create_task(codes.watch())
    end = time.monotonic() + seconds

    async def one() -> None:
        await asyncio.sleep(random.uniform(0, hurry))
        while time.monotonic() < end:
            number = next(numbers)
            await Person(site, seen, codes, number, hurry).visit(mistypes=number % 5 == 0)

    await asyncio.gather(*(one() for _ in range(users)))
    watching.cancel()
    return seen


def _centiles(seconds: list[float]) -> tuple[float, float, float]:
    if len(seconds) < 2:
        return (seconds[0],) * 3 if seconds else (0.0, 0.0, 0.0)
    cuts = quantiles(seconds, n=20)
    return cuts[9], cuts[18], max(seconds)


@click.command()
@click.option("--users", default=200, show_default=True, help="People on the site at once.")
@click.option("--seconds", default=30.0, show_default=True, help="For how long new visits begin.")
@click.option(
    "--hurry", default=2.0, show_default=True, help="The longest pause between two pages, in seconds."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(users: int, seconds: float, hurry: float, as_json: bool) -> None:
    """Load the web site, and tell what came of it; exit 1 when an answer was wrong or a code was lost."""
    with (
        Ground(lambda line: click.echo(line, err=True)) as ground,
        running_site(ground, customers=200_000, **_LIMITS) as site,
    ):
        began = time.monotonic()
        with Watch({"site": site.pid, "database": ground.server_pid}) as watch:
            seen = asyncio.run(load(site, users=users, seconds=seconds, hurry=hurry))
        took = time.monotonic() - began
        waits = [
            float(wait)
            for (wait,) in site.query(
                "SELECT extract(epoch FROM a.answered_at - v.asked_at) FROM attempt a "
                "JOIN notice n ON n.id = a.notice_id JOIN verification v ON v.id::text = n.subject"
            )
        ]
        written = site.child.log.read_text()
    requests = sum(map(len, seen.seconds.values()))
    told = {
        "users": users,
        "seconds": round(took, 1),
        "requests": requests,
        "a_second": round(requests / took, 1),
        "visits_to_the_end": seen.finished,
        "wrong": dict(seen.wrong),
        "pages_ms": {
            name: [round(1000 * value, 1) for value in _centiles(those)]
            for name, those in sorted(seen.seconds.items())
        },
        "codes": len(waits),
        "code_seconds": [round(value, 2) for value in _centiles(waits)],
        "cpu_seconds": {name: round(value, 1) for name, value in watch.cpu.items()},
        "memory_mb": {name: round(value) for name, value in watch.memory.items()},
        "log_lines": len(written.splitlines()),
    }
    if as_json:
        click.echo(json.dumps(told))
    else:
        click.echo(
            f"{users} people at once, {took:.0f} s: {requests} requests, {told['a_second']} a second; "
            f"{seen.finished} visits to the end; wrong answers: {dict(seen.wrong) or 'none'}"
        )
        click.echo(f"{'page':<14}{'requests':>9}{'half':>9}{'95 %':>9}{'longest':>9}   milliseconds")
        for name, (half, most, longest) in told["pages_ms"].items():
            click.echo(f"{name:<14}{len(seen.seconds[name]):>9}{half:>9}{most:>9}{longest:>9}")
        half, most, longest = told["code_seconds"]
        click.echo(
            f"{len(waits)} codes, from asking until the provider had taken it: half in {half} s, 95 % in "
            f"{most} s, longest {longest} s"
        )
        click.echo(f"processor seconds {told['cpu_seconds']}, memory in MB {told['memory_mb']}")
    sys.exit(1 if seen.wrong or not seen.finished else 0)


if __name__ == "__main__":
    main()
