"""The report's page, as a browser shows it: on a desk, on a phone, on paper, and for cycles of every kind."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from sqlalchemy import text

from fatoura.database import begin, connect
from fatoura.notices.states import Decision, State
from fatoura.quality.suite import load_suite
from fatoura.reports import write_report
from fatoura.reports.figures import Bin, Figures, Release, Speed, cycle_figures
from fatoura.reports.page import render_page
from fatoura.reports.words import Words
from tests.database.seeded_cycle import AS_OF, seed_cycle

pytestmark = pytest.mark.database

CHROMIUM = shutil.which("chromium")
VOID = {"meta", "link", "br", "img", "hr", "input"}


def words(language: str = "fr") -> Words:
    return Words(language, load_suite().words())  # type: ignore[arg-type]


def page_of(figures: Figures, language: str = "fr") -> str:
    return render_page(figures, words(language), workbook="report.xlsx", tables=["ledger"])


def figures_of(**options: object) -> Figures:
    with begin() as connection:
        cycle = seed_cycle(connection, **options)  # type: ignore[arg-type]
    with connect() as connection:
        return cycle_figures(connection, cycle.key, datetime.fromisoformat(AS_OF))


def grown(figures: Figures, factor: int) -> Figures:
    """Return the figures of a cycle so many times as large, such as the whole country's."""

    def more(counts: Counter[State]) -> Counter[State]:
        return Counter({state: count * factor for state, count in counts.items()})

    ledger = figures.ledger
    assert figures.speed is not None
    return replace(
        figures,
        ledger=replace(
            ledger,
            extracted=ledger.extracted * factor,
            rejected=ledger.rejected * factor,
            unsubscribed=ledger.unsubscribed * factor,
            suppressed=ledger.suppressed * factor,
            held_out=ledger.held_out * factor,
            noticed=ledger.noticed * factor,
            states={state: count * factor for state, count in ledger.states.items()},
            segments=ledger.segments * factor,
        ),
        districts=[replace(group, states=more(group.states)) for group in figures.districts],
        languages=[replace(group, states=more(group.states)) for group in figures.languages],
        kinds=[replace(group, states=more(group.states)) for group in figures.kinds],
        spends=[replace(spend, accepted=spend.accepted * factor) for spend in figures.spends],
        receipts={match: count * factor for match, count in figures.receipts.items()},
        extracts=[
            replace(one, rows=one.rows * factor, total_millimes=one.total_millimes * factor)
            for one in figures.extracts
        ],
        # Five days of sending, one of them short.
        speed=Speed(
            600,
            tuple(
                tuple(
                    Bin(
                        datetime(2026, 5, day, 8, tzinfo=UTC) + timedelta(minutes=10 * n), 600, 30_000, 30_000
                    )
                    for n in range(bins)
                )
                for day, bins in ((20, 30), (21, 40), (22, 2), (25, 30), (26, 12))
            ),
            figures.speed.messages * factor,
            figures.speed.segments * factor,
            68_400,
        ),
    )


class _Nesting(HTMLParser):
    """Insists that tags are closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_markup(page: str) -> None:
    nesting = _Nesting()
    nesting.feed(page)
    assert nesting.open == []
    assert "None" not in page
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).split()


def test_the_page_stands_alone(database):
    page = page_of(figures_of())
    check_markup(page)
    assert "<script" not in page
    assert not re.findall(r"(?:src|url\(|@import|<link)", page)
    assert set(re.findall(r'href="([^"]*)"', page)) == {
        "report.xlsx",
        "ledger.csv",
        "data-docs/index.html",
        "supplement-1/data-docs/index.html",
    }


def test_arabic_names_are_marked_as_arabic_from_right_to_left(database):
    page = page_of(figures_of())
    assert '<html lang="fr">' in page
    assert '<bdi class="arabic" lang="ar" dir="rtl">تونس المدينة</bdi>' in page


def test_the_identity_is_shown_to_hold(database):
    figures = figures_of()
    page = page_of(figures)
    assert 'class="verdict good"' in page
    assert "L’identité est vérifiée" in page


def test_a_missing_row_is_shown_and_named(database):
    figures = figures_of(rows=300, sent=False)
    with begin() as connection:
        connection.execute(
            text(
                "DELETE FROM invoice WHERE bucket = 'unsubscribed' AND row_number = "
                "(SELECT min(row_number) FROM invoice WHERE bucket = 'unsubscribed')"
            )
        )
        connection.execute(
            text("DELETE FROM notice WHERE id = (SELECT id FROM notice WHERE state = 'planned' LIMIT 1)")
        )
    with connect() as connection:
        figures = cycle_figures(connection, figures.cycle, datetime.fromisoformat(AS_OF))
    page = page_of(figures, "en")
    assert 'class="verdict bad"' in page
    assert "The identity does not hold. Rows missing or counted twice: 1." in page
    assert "has no notice" in page


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"rows": 0, "supplement": False, "sent": False}, {"fr": "Aucun avis", "en": "Nothing to send"}),
        ({"rows": 1, "rejected_share": 0, "subscribed_share": 1, "supplement": False}, {"fr": "", "en": ""}),
        ({"rows": 200, "rejected_share": 1.0, "sent": False}, {"fr": "Aucun avis", "en": "Nothing to send"}),
        ({"rows": 200, "sent": False}, {"fr": "Essai à blanc", "en": "Dry run"}),
        ({"rows": 1500, "per_second": 0.3}, {"fr": "accusés attendus", "en": "awaiting receipts"}),
    ],
)
def test_a_cycle_of_any_kind_has_a_page(database, options, shown, language):
    page = page_of(figures_of(**options), language)
    check_markup(page)
    assert shown[language] in page


def test_a_cycle_with_an_extract_that_is_not_loaded_yet_has_a_page(database):
    with begin() as connection:
        connection.execute(
            text(
                "WITH c AS (INSERT INTO cycle (key, issue_date) VALUES ('new', '2026-06-20') "
                "RETURNING id) "
                "INSERT INTO extract (cycle_id, source, location, manifest, digest, declared_rows, "
                "declared_total_millimes) SELECT id, 'landing', 'x', '{}', 'x', 10, 1000 FROM c"
            )
        )
    with connect() as connection:
        page = page_of(cycle_figures(connection, "new", datetime.fromisoformat(AS_OF)))
    check_markup(page)
    assert "En préparation" in page


def test_who_released_a_cycle_and_why_somebody_was_asked_is_told(database):
    figures = figures_of(rows=300)
    asked = Release(0, "approved", figures.as_of, "amina", ("12 % of the rows are <rejected>.",))
    page = page_of(replace(figures, releases=[asked]), "en")
    assert "approved by amina." in page
    assert "12 % of the rows are &lt;rejected&gt;." in page


# --- In a browser --------------------------------------------------------------------------------------


@pytest.fixture
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("needs the Debian package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield browser
        browser.close()


# What sticks out of the window, and which texts of a chart lie over each other.
_FLAWS = """
() => {
    const flaws = [], wide = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth > wide) flaws.push('the page is wider than the window');
    for (const element of document.body.querySelectorAll('*')) {
        const box = element.getBoundingClientRect();
        if (box.width && (box.right > wide + 1 || box.left < -1))
            flaws.push(element.tagName + ' ' + element.textContent.trim().slice(0, 40));
    }
    for (const chart of document.querySelectorAll('svg')) {
        const texts = [...chart.querySelectorAll('text')].map(
            text => [text.textContent, text.getBoundingClientRect()]);
        for (const [i, [one, a]] of texts.entries()) for (const [other, b] of texts.slice(i + 1))
            if (a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom)
                flaws.push(one + ' lies over ' + other);
    }
    return flaws;
}
"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 760, 1280])
def test_nothing_sticks_out_or_lies_over_another_thing(database, browser, tmp_path, width):
    figures = figures_of(rows=20_000)
    for language in ("fr", "en"):
        for factor in (1, 1000):
            shown = figures if factor == 1 else grown(figures, factor)
            path = tmp_path / f"{language}-{factor}.html"
            path.write_text(page_of(shown, language), encoding="utf-8")
            page = browser.new_page(viewport={"width": width, "height": 900})
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(path.as_uri())
            assert page.evaluate(_FLAWS) == []
            assert asked == [path.as_uri()]
            page.close()


@pytest.mark.browser
def test_arabic_letters_are_joined_and_read_from_the_right(database, browser, configure):
    configure(database_url=database, now=AS_OF)
    with begin() as connection:
        cycle = seed_cycle(connection, rows=2000)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(write_report(cycle.key).as_uri())
    assert page.evaluate("() => getComputedStyle(document.querySelector('.arabic')).direction") == "rtl"
    # Joined letters are narrower than the same letters set apart.
    width = "text => { const s = document.createElement('span'); s.textContent = text; s.lang = 'ar';" + (
        "document.body.append(s); return s.getBoundingClientRect().width }"
    )
    joined, apart = page.evaluate(width, "تونس"), page.evaluate(width, "ت‌و‌ن‌س")
    assert joined < apart
    page.close()


@pytest.mark.browser
def test_the_page_prints_on_a4_in_a_few_sheets(database, browser, configure):
    configure(database_url=database, now=AS_OF)
    with begin() as connection:
        cycle = seed_cycle(connection, rows=6000)
    page = browser.new_page()
    page.goto(write_report(cycle.key).as_uri())
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    sheets = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)
    assert 2 <= len(sheets) <= 6
    assert {(round(float(w)), round(float(h))) for w, h in sheets} == {(595, 842)}
    page.close()


@pytest.mark.parametrize("language", ["fr", "en"])
def test_doubts_are_told_with_what_becomes_of_them_and_absent_when_there_are_none(database, language):
    figures = figures_of()
    said = words(language)
    page = page_of(figures, language)
    assert said("section", "doubts") in page
    for one in figures.doubts:
        assert said("doubt_next", one.next) in page
    none = replace(figures, doubts=[], decisions={})
    assert f"<h2>{said('section', 'doubts')}</h2>" not in page_of(none, language)
    decided = page_of(replace(none, decisions={Decision.UNDELIVERABLE: 3}), language)
    assert f"{said('decided', 'undeliverable')} 3." in decided
