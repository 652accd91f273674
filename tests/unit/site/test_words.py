"""The words of the site: both languages say the same things, and everything that is shown has words."""

import re
import string
from pathlib import Path

import pytest
import yaml

from fatoura.errors import BadInput
from fatoura.languages import LANGUAGES
from fatoura.settings import get_settings
from fatoura.site import pages
from fatoura.site.acts import Outcome
from fatoura.site.words import Words, _all_words, _read, wordings
from fatoura.site.words import __file__ as words_file

FOLDER = Path(words_file).parent
WORDS = _all_words()
ARABIC = re.compile("[\u0621-\u064a]")


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("name", WORDS)
def test_both_languages_say_it_with_the_same_values(name):
    said = WORDS[name]
    assert set(said) == set(LANGUAGES)
    assert all(said.values())
    assert placeholders(said["ar"]) == placeholders(said["fr"])
    if name != "site.other_language":
        assert ARABIC.search(said["ar"])
        assert not ARABIC.search(said["fr"])


@pytest.mark.parametrize("name", WORDS)
def test_numbers_in_arabic_are_western_and_texts_carry_no_marks_of_direction(name):
    assert not re.search(r"[\u0660-\u0669\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]", WORDS[name]["ar"])


def test_everything_that_can_go_wrong_or_come_about_has_words():
    codes = re.findall(
        r'"((?:reference|invoice|language|code|consent|phone)_[a-z]+)"', source("forms", "pages")
    )
    kinds = (
        "empty",
        "unreadable",
        "foreign",
        "too_short",
        "too_long",
        "fixed_line",
        "not_mobile",
        "unassigned",
    )
    for code in {*codes, *(f"phone_{kind}" for kind in kinds)} - {"code_size"}:
        assert f"problems.{code}" in WORDS, code
    for outcome in set(Outcome) - {Outcome.FORMER_ASKED, Outcome.CLOSED}:
        assert f"done.{outcome}" in WORDS
        assert f"done.{outcome}_text" in WORDS


def source(*names: str) -> str:
    return "".join((FOLDER / f"{name}.py").read_text() for name in names)


def test_no_words_are_left_over():
    """Each is named in a template or a page, whole or by its first part."""
    shown = "".join(path.read_text() for path in (FOLDER / "templates").iterdir()) + source("pages", "app")
    for name in WORDS:
        page, _, word = name.partition(".")
        assert f'"{name}"' in shown or f'"{page}." ~' in shown or f"'{name}'" in shown, name
        assert word


def test_french_marks_stay_with_their_words():
    assert Words("fr")("manage.lead")
    assert "aide\u00a0?" in Words("fr")("contact.title")
    assert not any(re.search(r" [:;!?»]|« ", said["fr"]) for said in WORDS.values())


def test_every_template_is_one_that_a_page_shows():
    shown = set(re.findall(r'(?:show|ask_form)\(\s*request,\s*"(\w+)"', source("pages", "app")))
    assert shown | {"base", "parts"} == {path.name.split(".")[0] for path in (FOLDER / "templates").iterdir()}


def test_templates_hold_no_style_script_or_words_of_their_own():
    for path in (FOLDER / "templates").iterdir():
        text = path.read_text()
        assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=|https?://", text), path.name
        bare = re.sub(r"{%.*?%}|{{.*?}}|<[^>]*>", "", text, flags=re.DOTALL)
        assert set(re.findall(r"[^\W\d_]+", bare)) <= {"STEG"}, path.name


def test_pages_are_rendered_strictly():
    with pytest.raises(Exception, match="undefined"):
        pages._environment().from_string("{{ nothing }}").render()


# --- Wordings ----------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path, configure):
    def to_file(text: str) -> None:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
        file.write_text(text, encoding="utf-8")
        configure(site_wordings=file)

    return to_file


def test_the_wordings_that_come_along_can_be_shown_today():
    from fatoura import clock

    wording = wordings().on(clock.today())
    assert wording.version == "web-1"
    assert "1 dinar" in wording.text("fr")
    assert ARABIC.search(wording.text("ar"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("consent: []", "consent"),
        ("consent: [{version: a, from: 2026-01-01, fr: x}]", "consent.0.ar"),
        ("consent: [{version: 'a b', from: 2026-01-01, fr: x, ar: y}]", "consent.0.version"),
        ("consent: [{version: a, from: soon, fr: x, ar: y}]", "consent.0.from"),
        ("consent: [{version: a, from: 2026-01-01, fr: x, ar: y, en: z}]", "consent.0.en"),
        (
            "consent: [{version: a, from: 2026-01-01, fr: x, ar: y}, "
            "{version: a, from: 2026-02-01, fr: x, ar: y}]",
            "twice",
        ),
        ("consent: [", "no YAML"),
        ("just a text", "valid dictionary"),
    ],
)
def test_a_file_of_wordings_that_is_wrong_is_refused_with_the_place(write, text, said):
    write(text)
    with pytest.raises(BadInput, match=said):
        wordings()


def test_before_the_first_wording_begins_there_is_nothing_to_agree_to(write):
    from datetime import date

    write("consent: [{version: a, from: 2026-06-01, fr: x, ar: y}]")
    with pytest.raises(BadInput, match="no wording of consent has begun on 2026-05-31"):
        wordings().on(date(2026, 5, 31))
    assert wordings().on(date(2026, 6, 1)).version == "a"


def test_a_file_that_is_missing_is_named(configure, tmp_path):
    configure(site_wordings=tmp_path / "none.yaml")
    with pytest.raises(BadInput, match=r"none\.yaml"):
        wordings()
    assert get_settings().site_wordings.name == "none.yaml"


def test_the_words_file_has_no_key_that_yaml_reads_as_something_else():
    read = yaml.safe_load((FOLDER / "words.yaml").read_text())
    assert all(isinstance(name, str) for page in read.values() for name in page)
    assert _read.cache_info() is not None
