"""The words by which customers leave, as people write them, and a file of them that is wrong."""

from __future__ import annotations

import pytest

from fatoura.inbound.keywords import KeywordsError, load_keywords
from fatoura.settings import get_settings


@pytest.fixture
def keywords():
    return load_keywords(get_settings().keywords_file)


@pytest.mark.parametrize(
    ("message", "language"),
    [
        ("STOP", "fr"),
        (" stop! ", "fr"),
        ("Stop les sms svp", "fr"),
        ("ARRÊT", "fr"),
        ("arret.", "fr"),
        ("desabonner", "fr"),
        ("إيقاف", "ar"),
        ("ايقاف", "ar"),
        ("«أَوْقِف»", "ar"),
        ("\u200fقف الآن", "ar"),
    ],
)
def test_a_customer_leaves_in_the_words_that_people_use(keywords, message, language):
    assert keywords.read(message) == ("leave", language)


@pytest.mark.parametrize(
    ("message", "language"), [("", "fr"), ("…", "fr"), ("Merci, stop", "fr"), ("مرحبا", "ar"), ("non", "fr")]
)
def test_nobody_leaves_by_other_words(keywords, message, language):
    assert keywords.read(message) == (None, language)


def test_who_asks_for_help_is_told_how(keywords):
    assert keywords.read("aide") == ("help", "fr")
    assert "STOP" in keywords.answers["helped"]["fr"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("keywords:", "keywords: [", "cannot be read"),
        ("  leave:", "  go:", "keywords.go"),
        ("fr: [AIDE,", "fr: [STOP,", "stands for two things"),
        ("fr: [AIDE,", 'fr: ["AIDE MOI",', "is not one word"),
        ("  helped:", "  helped_not:", "helped_not"),
        (
            "vous ne recevrez plus",
            "vous ne recevrez « plus » rien du tout de notre part, jamais",
            "one segment",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_and_says_where(tmp_path, old, new, words):
    told = get_settings().keywords_file.read_text("utf-8")
    assert old in told
    wrong = tmp_path / "keywords.yaml"
    wrong.write_text(told.replace(old, new))
    with pytest.raises(KeywordsError, match=words):
        load_keywords(wrong)
