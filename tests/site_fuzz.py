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


# Of each field what the site takes, and what looks like it.
FIELDS: dict[str, tuple[tuple[str, ...], str]] = {
    "reference": ((reference(1), "10000 000 1"), r"^[0-9]{9}$"),
    "invoice": (("F-1", "f-2"), r"^[A-Z0-9][A-Z0-9/-]{0,31}$"),
    "phone": (("+21690000001", "20 000 001"), r"^[+]?(216)?[0-9]{8}$"),
    "language": (("ar", "fr"), "^[a-z]{2}$"),
    "consent": (("yes",), "^[a-z]{2,3}$"),
    "wording": (("web-1",), "^web-[0-9]$"),
    "code": (("123456",), "^[0-9]{6}$"),
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


def _wild(name: str) -> dict[str, Any]:
    """Describe a field: what looks like what is wanted, what tries to break out, and any text."""
    hostile = [_MARK, f'">{_MARK}', "'; DROP TABLE verification; --", "{{7*7}}", "", "71 123 456"]
    return {
        "anyOf": [
            {"type": "string", "pattern": FIELDS[name][1]},
            {"type": "string", "enum": hostile},
            {"type": "string", "maxLength": 250},
        ]
    }


def _form(names: tuple[str, ...]) -> dict[str, Any]:
    """Describe a form: as it should be, with each one field wild, and with all of them."""

    def with_wild(*wild: str) -> dict[str, Any]:
        fields = {
            name: _wild(name) if name in wild else {"type": "string", "enum": list(FIELDS[name][0])}
            for name in names
        }
        return {
            "type": "object",
            "properties": {"token": {"type": "string", "enum": [TOKEN]}, **fields},
            "required": ["token", *(name for name in names if name not in wild)],
            "additionalProperties": False,
        }

    return {"anyOf": [with_wild(), *(with_wild(name) for name in names), with_wild(*names)]}


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
            form = _form(names)
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
