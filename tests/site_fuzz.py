"""`python -m tests.site_fuzz`: thousands of requests that nobody would type, from a description of the forms.

Schemathesis makes them, half as the forms describe what they take, half not so. Whatever comes, the site
answers with one of its pages, guarded by its headers, repeats nothing as markup, and writes nothing down.
Everything is on loopback and on a ground of its own; nothing of it stays.
"""

from __future__ import annotations

import hmac
import re
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click
import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.bench.ground import Ground
from tests.site_running import KEY, reference, running_site

if TYPE_CHECKING:
    from schemathesis import Case, Response

COOKIE = "A" * 43
TOKEN = hmac.digest(KEY.encode(), f"form\0{COOKIE}".encode(), "sha256").hex()
_LIMITS = {f"site_limit_{what}": "100000000/h" for what in ("phone", "reference", "address", "all")}
_MARK = "<script>fuzz()</script>"


def _either(*wanted: str, pattern: str) -> dict[str, Any]:
    """Describe a field: what is there, what looks like it, what tries to break out, and any text."""
    return {
        "anyOf": [
            {
                "type": "string",
                "enum": [*wanted, _MARK, f'">{_MARK}', "'; DROP TABLE verification; --", "{{7*7}}"],
            },
            {"type": "string", "pattern": pattern},
            {"type": "string", "maxLength": 250},
        ]
    }


FIELDS: dict[str, dict[str, Any]] = {
    "token": {"type": "string", "enum": [TOKEN]},
    "reference": _either(reference(1), "10000 000 1", pattern=r"^[0-9]{9}$"),
    "invoice": _either("F-1", "f-2", pattern=r"^[A-Z0-9][A-Z0-9/-]{0,31}$"),
    "phone": _either("+21690000001", "20 000 001", "71 123 456", pattern=r"^[+]?(216)?[0-9]{8}$"),
    "language": _either("ar", "fr", pattern="^[a-z]{2}$"),
    "consent": _either("yes", pattern="^[a-z]{2,3}$"),
    "wording": _either("web-1", pattern="^web-[0-9]$"),
    "code": _either("123456", pattern="^[0-9]{6}$"),
}
FORMS: dict[str, tuple[str, ...]] = {
    "subscribe": ("reference", "invoice", "phone", "language", "consent", "wording"),
    "code": ("code",),
    "code/again": (),
    "manage": ("reference", "phone"),
    "subscription/language": ("language",),
    "subscription/number": ("phone",),
    "subscription/leave": (),
    "subscription/close": (),
    "leave": ("reference", "invoice"),
}
PAGES = (
    "",
    "subscribe",
    "code",
    "done",
    "manage",
    "subscription",
    "subscription/number",
    "subscription/leave",
)
_ANSWERS = {
    str(status): {"description": "a page", "content": {"text/html": {}}}
    for status in (200, 303, 400, 403, 404, 405, 408, 413, 415, 422)
}


def description() -> dict[str, Any]:
    """Return the site's pages and forms as OpenAPI tells such things."""
    paths: dict[str, dict[str, Any]] = {}
    for language in ("ar", "fr"):
        for place in (*PAGES, "leave"):
            query = [
                {"name": name, "in": "query", "schema": {"type": "string"}}
                for name in ("over", "closed", "language", "again")
            ]
            paths.setdefault(f"/{language}/{place}", {})["get"] = {"parameters": query, "responses": _ANSWERS}
        for place, names in FORMS.items():
            form = {
                "type": "object",
                "properties": {name: FIELDS[name] for name in ("token", *names)},
                "required": ["token"],
            }
            paths.setdefault(f"/{language}/{place}", {})["post"] = {
                "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": form}}},
                "responses": _ANSWERS,
            }
    return {"openapi": "3.1.0", "info": {"title": "the site", "version": "1"}, "paths": paths}


def judge(response: Response) -> None:
    """Make sure that an answer is a page of ours, guarded, and repeats nothing as markup."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    assert "default-src 'none'" in str(headers["content-security-policy"])
    assert "nosniff" in str(headers["x-content-type-options"])
    page = response.text
    assert "<script" not in page
    assert "49" not in re.findall(r"\{\{|\b49\b", page) or "{{7*7}}" not in page
    assert not page or page.rstrip().endswith("</html>")


@click.command()
@click.option("--examples", default=60, show_default=True, help="Of each form and page, in each of two ways.")
@click.option("--seed", default=1, show_default=True)
def main(examples: int, seed: int) -> None:
    """Fuzz the web site; exit 1 at an answer that is none of its own, or a line in its log."""
    counts: Counter[str] = Counter()
    schema = schemathesis.openapi.from_dict(description())
    with (
        Ground(lambda line: click.echo(line, err=True)) as ground,
        running_site(ground, customers=50, subscribed=20, **_LIMITS) as site,
    ):
        began = time.monotonic()

        def attack(case: Case) -> None:
            response = case.call(
                base_url=site.url, headers={"Cookie": f"visit={COOKIE}"}, allow_redirects=False, timeout=30
            )
            counts[f"{case.method.upper()} {response.status_code}"] += 1
            if response.status_code != 303:
                case.validate_response(
                    response, checks=[not_a_server_error, status_code_conformance, content_type_conformance]
                )
            judge(response)

        settings = hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        for found in schema.get_all_operations():
            operation = found.ok()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                try:
                    strategy = operation.as_strategy(generation_mode=mode)
                    run = hypothesis.given(case=strategy)(attack)
                    hypothesis.seed(seed)(settings(run))()
                except hypothesis.errors.Unsatisfiable:
                    continue  # a form without fields has nothing that could be wrong in it
        took = time.monotonic() - began
        time.sleep(1)
        written = site.child.log.read_text()
        alive = site.child.runs and site.query("SELECT count(*) FROM verification")
    click.echo(f"{counts.total()} requests in {took:.0f} s: {dict(sorted(counts.items()))}")
    if alive:
        click.echo(f"{alive[0][0]} verifications were asked for")
    if written.strip() or not alive:
        click.echo("the site wrote:\n" + written[-4000:])
        sys.exit(1)


if __name__ == "__main__":
    main()
