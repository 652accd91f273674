"""Data Docs: Great Expectations' page about one extract, made to be read without a network.

Called by the gate. The page comes from Great Expectations' own renderer; its scripts, fonts and style
sheets, which it would fetch from other people's servers, are replaced by one small sheet inside the page.
No value of a row gets into it, only shapes: a misplaced column could hold a phone number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_EXAMPLES = 5
_LOOKED_AT = 20_000  # rejected rows among which examples are sought
_LONGEST_SHAPE = 40
_SHOWN = frozenset(" .,;:/+-_'()#*")  # other marks could mean something to the page

# What a page of Great Expectations fetches, or runs, or is of no use without the rest of its site.
_FETCHED = re.compile(
    r"<script\b.*?</script>|<style\b.*?</style>|<link\b[^>]*>|<img\b[^>]*>|<footer\b.*?</footer>"
    r"|<nav class=\"navbar.*?</nav>\s*</div>\s*</nav>|<!--.*?-->",
    re.DOTALL,
)
_OUTSIDE_LINK = re.compile(r"<a\b[^>]*href=\"(?!#)[^\"]*\"[^>]*>(.*?)</a>", re.DOTALL)


def write_page(path: Path, outcome: Any, verdict: str, connection: Connection, extract_id: int) -> None:
    """Write the page of an extract. A rerun writes its own over it.

    :param path: where to.
    :param outcome: Great Expectations' result of the whole suite.
    :param verdict: what became of the extract, in a few sentences.
    :param connection: where to read examples of the rejected rows from.
    """
    _add_examples(outcome, connection, extract_id)
    html = render_page(outcome, verdict)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(html, encoding="utf-8")
    draft.replace(path)


def render_page(outcome: Any, verdict: str) -> str:
    """Return the page as one self-contained document."""
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    for result in outcome.results:
        # Both lead to a view that is gone when somebody reads the page.
        result.result.pop("unexpected_index_query", None)
        result.result.pop("unexpected_index_column_names", None)
    document = ValidationResultsPageRenderer().render(outcome)
    html: str = DefaultJinjaPageView().render(document)
    html = _FETCHED.sub("", html)
    html = _OUTSIDE_LINK.sub(r"\1", html)
    html = re.sub(r"<title>.*?</title>| onclick=\"[^\"]*\"", "", html, flags=re.DOTALL)
    html = html.replace("Expectation Validation Result", f"Quality of {outcome.suite_name}")
    html = html.replace("Evaluates whether a batch of data matches expectations.", escape(verdict))
    title = f"<title>Quality of {outcome.suite_name}</title>"
    sheet = Path(__file__).with_name("data_docs.css").read_text(encoding="utf-8")
    html = html.replace("</head>", f"{title}\n<style>\n{sheet}</style>\n</head>", 1)
    return re.sub(r"\n\s*\n+", "\n", html)


def shape(value: str) -> str:
    """Return what a text looks like without telling it: ``2026-02-30`` is ``0000-00-00``."""
    if not value:
        return "(empty)"
    drawn = "".join(map(_drawn, value[: _LONGEST_SHAPE + 1]))
    return drawn if len(drawn) <= _LONGEST_SHAPE else drawn[:_LONGEST_SHAPE] + "…"


def _drawn(one: str) -> str:
    if one.isnumeric():
        return "0"
    if one.isalpha():
        return "A" if one.isupper() else "a"
    return one if one in _SHOWN else "?"


def _add_examples(outcome: Any, connection: Connection, extract_id: int) -> None:
    """Put places of rejected rows beside each broken row rule."""
    found = connection.execute(
        text(
            """
            SELECT code, part, part_row, fields FROM (
              SELECT code, part, part_row, fields,
                     row_number() OVER (PARTITION BY code ORDER BY r.row_number) AS n
              FROM (
                SELECT * FROM rejected_row WHERE extract_id = :id ORDER BY row_number LIMIT :looked_at
              ) AS r, unnest(reasons) AS code
            ) AS numbered WHERE n <= :examples ORDER BY code, n
            """
        ),
        {"id": extract_id, "looked_at": _LOOKED_AT, "examples": _EXAMPLES},
    )
    rows: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for code, part, part_row, fields in found:
        rows[code].append((f"{part}, row {part_row}", fields))
    for result in outcome.results:
        rule = result.expectation_config.meta
        if not result.success and rule["code"] in rows:
            result.result["partial_unexpected_list"] = [
                ", ".join([place, *(f"{f} like {shape(fields[f])}" for f in rule["fields"] if f in fields)])
                for place, fields in rows[rule["code"]]
            ]
