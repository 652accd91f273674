"""`python -m tests.site_timing`: can it be told by time whether a customer exists?

Asks in turns for what is right and for what is not, and takes three times: of the answer, of the page after
it, and of the slowest of the pages that somebody asks for in the next second. Told is how often a guess by
that time would be right: one half is no better than a coin. Everything is on loopback, and nothing stays.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import click

from tests.bench.ground import Ground
from tests.site_running import reference, running_site

if TYPE_CHECKING:
    from collections.abc import Sequence

_LIMITS = {f"site_limit_{what}": "100000000/h" for what in ("phone", "reference", "address", "all")}
_TOKEN = re.compile(r'name="token" value="([0-9a-f]+)"')
_WATCHED = 1.0
_BETWEEN = 0.02
_FIRST = 6  # questions that are not counted: the process has just started
_TAKEN = ("the answer", "the page after it", "the slowest page of a second")


@dataclass(frozen=True)
class Question:
    """What is asked for, by a customer's number.

    :param right: whether the detail that is told is this customer's.
    """

    form: str
    number: int
    right: bool

    def fields(self) -> dict[str, str]:
        """Return what is typed."""
        detail = self.number if self.right else self.number + 1
        if self.form == "manage":
            return {"reference": reference(self.number), "phone": f"90{detail:06d}"}
        return {
            "reference": reference(self.number),
            "invoice": f"F-{detail}",
            "phone": f"20{self.number:06d}",
            "language": "fr",
            "consent": "yes",
            "wording": "web-1",
        }


def ask(port: int, question: Question) -> tuple[float, ...]:
    """Ask, and return the three times in seconds."""
    browser = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def timed(method: str, path: str, body: str | None = None) -> tuple[float, str]:
        began = time.perf_counter()
        browser.request(method, path, body, headers)
        answer = browser.getresponse()
        page = answer.read().decode()
        took = time.perf_counter() - began
        if "set-cookie" in answer.headers:
            headers["Cookie"] = answer.headers["set-cookie"].split(";")[0]
        assert answer.status in (200, 303), (path, answer.status)
        return took, page

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    _, page = timed("GET", f"/fr/{question.form}")
    token = _TOKEN.search(page)
    assert token
    answer, _ = timed("POST", f"/fr/{question.form}", urlencode({"token": token[1], **question.fields()}))
    after, _ = timed("GET", "/fr/code")
    slowest, end = 0.0, time.monotonic() + _WATCHED
    while time.monotonic() < end:
        slowest = max(slowest, timed("GET", "/fr/")[0])
        time.sleep(_BETWEEN)
    browser.close()
    return answer, after, slowest


def told_apart(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Return how often the slower of two, one of each, is the one where the detail was right."""
    pairs = [(one > other) + 0.5 * (one == other) for one in right for other in wrong]
    return sum(pairs) / len(pairs)


@click.command()
@click.option("--questions", default=100, show_default=True, help="Right ones, and wrong ones, of each form.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(questions: int, as_json: bool) -> None:
    """Try to learn by time who is a customer; exit 1 when a guess would be right in seven of ten."""
    with (
        Ground(lambda line: click.echo(line, err=True)) as ground,
        running_site(ground, customers=20_000, subscribed=10_000, **_LIMITS) as site,
    ):
        found = []
        for form, first in (("manage", 1), ("subscribe", 10_001)):
            asked = [Question(form, first + n, bool(n % 2)) for n in range(2 * questions + _FIRST)]
            random.shuffle(asked)
            took = [(one.right, ask(site.port, one)) for one in asked][_FIRST:]
            for n, what in enumerate(_TAKEN):
                right, wrong = ([times[n] for it, times in took if it is one] for one in (True, False))
                found.append(
                    {
                        "form": form,
                        "taken": what,
                        "right_ms": round(1000 * median(right), 2),
                        "wrong_ms": round(1000 * median(wrong), 2),
                        "told_apart": round(told_apart(right, wrong), 2),
                    }
                )
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo(
            f"{'form':<11}{'time of':<30}{'right':>9}{'wrong':>9}{'told apart':>12}   half, milliseconds"
        )
        for line in found:
            click.echo("{form:<11}{taken:<30}{right_ms:>9}{wrong_ms:>9}{told_apart:>12}".format(**line))
    sys.exit(1 if any(abs(float(line["told_apart"]) - 0.5) > 0.2 for line in found) else 0)


if __name__ == "__main__":
    main()
