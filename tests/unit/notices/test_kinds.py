"""The kinds of notices that are sent, and the mistakes that loading a kind refuses."""

import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.languages import LANGUAGES
from fatoura.money import LARGEST_MILLIMES
from fatoura.notices.encoding import GSM7_BASIC, GSM7_EXTENSION, measure, outside_gsm7
from fatoura.notices.fields import FIELD_TYPES, LARGEST_FEE_MILLIMES
from fatoura.notices.kinds import Check, InDoubt, all_kinds, load_kind
from fatoura.notices.templates import TemplateError
from fatoura.sending.pace import URGENT_PRIORITY

KINDS = sorted(all_kinds())
ARABIC_LETTER = "\u0621-\u064a"

each_kind = pytest.mark.parametrize("kind", KINDS)
each_language = pytest.mark.parametrize("language", LANGUAGES)


def test_the_kinds_of_a_billing_cycle_are_there():
    assert {"bill", "bill_correction"} <= set(KINDS)


@each_kind
@each_language
def test_the_longest_message_keeps_to_the_segments_that_its_kind_declares(kind, language):
    loaded = load_kind(kind)
    needed = measure(loaded.render_worst(language))
    assert needed.segments <= loaded.segments[language], f"{kind} in {language} needs {needed}"


@each_kind
def test_french_is_gsm7_throughout(kind):
    loaded = load_kind(kind)
    assert outside_gsm7(loaded.render_worst("fr")) == []
    assert loaded.sentences["fr"].encoding == "gsm7"


@each_kind
@each_language
def test_every_value_is_printed(kind, language):
    loaded = load_kind(kind)
    text = loaded.render_worst(language)
    for field in loaded.fields.values():
        assert field.type.format(field.worst, language) in text


@each_kind
@each_language
def test_the_declared_worst_values_are_as_long_as_any(kind, language):
    longest = {
        "money": LARGEST_MILLIMES,
        "date": date(2026, 12, 31),
        "reference": "0" * 9,
        "code": "0" * 6,
        "fee": LARGEST_FEE_MILLIMES,
    }
    for field in load_kind(kind).fields.values():
        printed = field.type.format
        assert len(printed(field.worst, language)) == len(printed(longest[field.type.name], language))


@each_kind
def test_numbers_in_arabic_keep_their_order_on_a_right_to_left_line(kind):
    # A number is one run of digits with full stops, commas or slashes between them: these do not end it.
    # Two runs in one line have an Arabic letter between them: with spaces alone they would change places.
    text = load_kind(kind).render_worst("ar")
    for line in text.splitlines():
        assert re.match(f"[{ARABIC_LETTER}]", line), "a line begins with a letter: it is set right to left"
        for between in re.split(r"[0-9]+(?:[.,/][0-9]+)*", line)[1:-1]:
            assert re.search(f"[{ARABIC_LETTER}]", between)
    assert not re.search(r"[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]", text), "marks cost a unit each"


@each_kind
def test_arabic_uses_western_digits_and_no_diacritics(kind):
    assert not re.search(r"[\u0660-\u0669\u064b-\u0652]", load_kind(kind).render_worst("ar"))


def test_the_bill_says_what_is_owed_for_which_contract_and_until_when():
    bill = load_kind("bill")
    values = {"amount": 85_352, "reference": "042580496", "due_date": date(2026, 6, 25)}
    assert bill.render("ar", values) == "المبلغ المطلوب 85,352د\nمرجع 042580496\nالرجاء الدفع قبل 25/06/2026"
    assert bill.render("fr", values) == (
        "STEG\nMontant à payer : 85,352 DT\nRéférence : 04258 049 6\nPrière de payer avant le 25/06/2026"
    )


def test_the_correction_says_that_it_replaces_the_earlier_message():
    correction = load_kind("bill_correction")
    assert "remplace notre message précédent" in correction.render_typical("fr")
    assert "تصحيح يلغي ما سبق" in correction.render_typical("ar")
    assert correction.priority < load_kind("bill").priority


def test_a_bill_in_doubt_may_go_out_once_more():
    assert load_kind("bill").in_doubt is InDoubt.RESEND_ONCE


# --- Reminders, warnings, and the word that a payment has arrived

USUAL = {
    "amount": 85_352,
    "reference": "042580496",
    "due_date": date(2026, 6, 25),
    "cut_date": date(2026, 7, 13),
}
LONGEST = {
    "amount": LARGEST_MILLIMES,
    "reference": "425804960",
    "due_date": date(2026, 12, 31),
    "cut_date": date(2026, 12, 31),
}


def written(kind: str, language: str, values: dict) -> tuple[str, tuple[str, int, int]]:
    loaded = load_kind(kind)
    text = loaded.render(language, {name: values[name] for name in loaded.fields})
    return text, tuple(measure(text))


@pytest.mark.parametrize(
    ("kind", "language", "values", "text", "cost"),
    [
        (
            *("due_reminder", "ar", USUAL),
            "تذكير: المطلوب 85,352د\nمرجع 042580496\nالرجاء الدفع قبل 25/06/2026",
            ("ucs2", 65, 1),
        ),
        (
            *("due_reminder", "ar", LONGEST),
            "تذكير: المطلوب 999.999,999د\nمرجع 425804960\nالرجاء الدفع قبل 31/12/2026",
            ("ucs2", 70, 1),
        ),
        (
            *("due_reminder", "fr", USUAL),
            "STEG - rappel\nMontant à payer : 85,352 DT\nRéférence : 04258 049 6\n"
            "Prière de payer avant le 25/06/2026\nSans objet si vous avez déjà payé",
            ("gsm7", 135, 1),
        ),
        (
            *("due_reminder", "fr", LONGEST),
            "STEG - rappel\nMontant à payer : 999 999,999 DT\nRéférence : 42580 496 0\n"
            "Prière de payer avant le 31/12/2026\nSans objet si vous avez déjà payé",
            ("gsm7", 140, 1),
        ),
        (
            *("cutoff_warning", "ar", USUAL),
            "إنذار بقطع التزويد\nالرجاء دفع 85,352د بوكالات الستاغ، البريد، steg.com.tn\n"
            "مرجع 042580496\nدون دفع يقطع التزويد بداية من 13/07/2026",
            ("ucs2", 129, 2),
        ),
        (
            *("cutoff_warning", "ar", LONGEST),
            "إنذار بقطع التزويد\nالرجاء دفع 999.999,999د بوكالات الستاغ، البريد، steg.com.tn\n"
            "مرجع 425804960\nدون دفع يقطع التزويد بداية من 31/12/2026",
            ("ucs2", 134, 2),
        ),
        (
            *("cutoff_warning", "fr", USUAL),
            "STEG - avis de coupure\nPrière de payer 85,352 DT (agences STEG, La Poste, steg.com.tn)\n"
            "Référence : 04258 049 6\nSans paiement, coupure dès le 13/07/2026",
            ("gsm7", 151, 1),
        ),
        (
            *("cutoff_warning", "fr", LONGEST),
            "STEG - avis de coupure\nPrière de payer 999 999,999 DT (agences STEG, La Poste, steg.com.tn)\n"
            "Référence : 42580 496 0\nSans paiement, coupure dès le 31/12/2026",
            ("gsm7", 156, 1),
        ),
        (
            *("cutoff_second_warning", "ar", USUAL),
            "آخر إنذار بالقطع\nالرجاء دفع 85,352د بوكالات الستاغ، البريد، steg.com.tn\n"
            "مرجع 042580496\nدون دفع يقطع التزويد بداية من 13/07/2026",
            ("ucs2", 127, 2),
        ),
        (
            *("cutoff_second_warning", "ar", LONGEST),
            "آخر إنذار بالقطع\nالرجاء دفع 999.999,999د بوكالات الستاغ، البريد، steg.com.tn\n"
            "مرجع 425804960\nدون دفع يقطع التزويد بداية من 31/12/2026",
            ("ucs2", 132, 2),
        ),
        (
            *("cutoff_second_warning", "fr", USUAL),
            "STEG - dernier avis\nPrière de payer 85,352 DT (agences STEG, La Poste, steg.com.tn)\n"
            "Référence : 04258 049 6\nSans paiement, coupure dès le 13/07/2026",
            ("gsm7", 148, 1),
        ),
        (
            *("cutoff_second_warning", "fr", LONGEST),
            "STEG - dernier avis\nPrière de payer 999 999,999 DT (agences STEG, La Poste, steg.com.tn)\n"
            "Référence : 42580 496 0\nSans paiement, coupure dès le 31/12/2026",
            ("gsm7", 153, 1),
        ),
        (
            *("payment_received", "ar", USUAL),
            "شكرا، تم تسجيل دفعكم\nمرجع 042580496\nلا قطع للتزويد بسبب هذه الفاتورة",
            ("ucs2", 68, 1),
        ),
        (
            *("payment_received", "fr", USUAL),
            "STEG - votre paiement est enregistré, merci\nRéférence : 04258 049 6\n"
            "Pas de coupure pour cette facture",
            ("gsm7", 101, 1),
        ),
    ],
)
def test_the_texts_around_a_cut(kind, language, values, text, cost):
    assert written(kind, language, values) == (text, cost)


ANY_OF_TYPE = {
    "money": st.integers(0, LARGEST_MILLIMES),
    "reference": st.from_regex(r"\A[0-9]{9}\Z"),
    "date": st.dates(date(2020, 1, 1), date(2099, 12, 31)),
    "fee": st.integers(0, LARGEST_FEE_MILLIMES),
    "code": st.from_regex(r"\A[0-9]{6}\Z"),
}


@each_kind
@given(st.data())
def test_no_value_takes_a_message_beyond_its_segments_or_into_another_encoding(kind, data):
    loaded = load_kind(kind)
    values = {name: data.draw(ANY_OF_TYPE[field.type.name]) for name, field in loaded.fields.items()}
    for language in LANGUAGES:
        _, (encoding, units, segments) = written(kind, language, values)
        assert (encoding, segments) == (loaded.sentences[language].encoding, loaded.segments[language])
        assert units <= measure(loaded.render_worst(language)).units


def test_what_announces_a_cut_is_checked_urgent_and_never_sent_twice():
    for name in ("cutoff_warning", "cutoff_second_warning"):
        kind = load_kind(name)
        assert (kind.check, kind.in_doubt) == (Check.STILL_OWED, InDoubt.GIVE_UP)
        assert kind.priority <= URGENT_PRIORITY
    assert load_kind("cutoff_second_warning").priority < load_kind("cutoff_warning").priority


def test_a_reminder_is_checked_and_waits_for_bills():
    reminder = load_kind("due_reminder")
    assert (reminder.check, reminder.in_doubt) == (Check.STILL_OWED, InDoubt.GIVE_UP)
    assert reminder.priority > load_kind("bill").priority


def test_the_word_that_a_payment_has_arrived_is_checked_and_passes_bills_without_stopping_them():
    received = load_kind("payment_received")
    assert (received.check, received.in_doubt) == (Check.STILL_SETTLED, InDoubt.GIVE_UP)
    assert URGENT_PRIORITY < received.priority < load_kind("bill").priority


def test_a_missing_value_stops_the_message():
    with pytest.raises(TemplateError, match=r"notice kind bill, fr\.txt\.j2: 'due_date' is undefined"):
        load_kind("bill").render("fr", {"amount": 1, "reference": "000000000"})


@each_language
def test_values_hold_only_characters_of_one_unit_so_that_words_decide_the_encoding(language):
    for type_ in FIELD_TYPES.values():
        assert type_.characters[language]
        assert set(type_.characters[language]) <= GSM7_BASIC - GSM7_EXTENSION


# --- Mistakes

DECLARATION = """
description = "A trial"
priority = 1
in_doubt = "give_up"
validity_minutes = 60
[fields.amount]
type = "money"
worst = 999_999_999
typical = 1
"""


def write_kind(folder: Path, *, declaration: str = DECLARATION, **texts: str | None) -> None:
    (folder / "trial").mkdir()
    (folder / "trial" / "kind.toml").write_text(declaration, "utf-8")
    for language, text in ({"ar": "د {{ amount }}", "fr": "DT {{ amount }}"} | texts).items():
        if text is not None:
            (folder / "trial" / f"{language}.txt.j2").write_text(text, "utf-8")


def test_a_kind_needs_no_more_than_a_declaration_and_two_texts(tmp_path):
    write_kind(tmp_path)
    trial = all_kinds(tmp_path)["trial"]
    assert trial.render_typical("fr") == "DT 0,001"
    assert trial.segments == {"ar": 1, "fr": 1}
    assert trial.check is None
    assert [piece if isinstance(piece, str) else piece.name for piece in trial.sentences["fr"].pieces] == [
        "DT ",
        "amount",
    ]


def test_remarks_in_a_text_are_not_sent(tmp_path):
    write_kind(tmp_path, fr="DT{# the currency #} {{ amount }}\n")
    assert load_kind("trial", tmp_path).render_typical("fr") == "DT 0,001"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{ amount }} {{ due }}", "line 1: due is not among the fields"),
        ("{% if amount %}{{ amount }}{% endif %}", "line 1: a text holds words and fields"),
        ("{% for c in amount %}{{ c }}{% endfor %}", "For found"),
        ("DT\n{{ amount | replace(',', '.') }}", "line 2: .*Filter found"),
        ("{{ amount ~ 'x' }}", "Concat found"),
        ("{{ amount[0] }}", "Getitem found"),
        ("{{ 'x' if amount == '1' else amount }}", "CondExpr found"),
        ("{% filter upper %}{{ amount }}{% endfilter %}", "FilterBlock found"),
        ("{% set x = amount %}{{ amount }}", "Assign found"),
        ("{{ amount", "line 1: unexpected end of template"),
        ("DT", "never prints amount"),
        ("", "is empty"),
        (" {{ amount }}", "white space"),
        ("{{ amount }}\n\n", "white space"),
        ("Facture arriv\u00eae {{ amount }}", r"no ê \(U\+00EA\)"),
        ("L\u2019abonn\u00e9 {{ amount }}", r"no ’ \(U\+2019\)"),
        ("{{ amount }} \u20ac", "costs two units"),
        ("[{{ amount }}]", "costs two units"),
        ("x" * 160 + "{{ amount }}", "171 units of gsm7, 2 segments; kind.toml declares 1"),
    ],
)
def test_a_french_text_is_refused(tmp_path, text, told):
    write_kind(tmp_path, fr=text)
    with pytest.raises(TemplateError, match=told) as refused:
        load_kind("trial", tmp_path)
    assert "trial" in str(refused.value)
    assert "fr" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "has no text in ar: write ar.txt.j2"),
        ("د {{ amount }} 😀", "costs two units"),
        ("د" * 60 + "{{ amount }}", "71 units of ucs2, 2 segments"),
    ],
)
def test_an_arabic_text_is_refused(tmp_path, text, told):
    write_kind(tmp_path, ar=text)
    with pytest.raises(TemplateError, match=told):
        load_kind("trial", tmp_path)


def test_extension_characters_cost_one_unit_in_ucs2_and_are_taken(tmp_path):
    write_kind(tmp_path, ar="د [{{ amount }}]")
    assert measure(load_kind("trial", tmp_path).render_typical("ar")).units == 9


def test_two_segments_are_a_decision_that_is_recorded(tmp_path):
    write_kind(tmp_path, declaration="segments = 2" + DECLARATION, fr="x" * 160 + "{{ amount }}")
    assert measure(load_kind("trial", tmp_path).render_worst("fr")).segments == 2


def test_they_may_be_declared_for_one_language_alone(tmp_path):
    declaration = "segments = { ar = 1, fr = 2 }" + DECLARATION
    write_kind(tmp_path, declaration=declaration, fr="x" * 160 + "{{ amount }}")
    assert load_kind("trial", tmp_path).segments == {"ar": 1, "fr": 2}


def test_the_other_language_keeps_to_its_own(tmp_path):
    declaration = "segments = { ar = 2, fr = 1 }" + DECLARATION
    write_kind(tmp_path, declaration=declaration, fr="x" * 160 + "{{ amount }}")
    with pytest.raises(TemplateError, match=r"171 units of gsm7, 2 segments; kind\.toml declares 1"):
        load_kind("trial", tmp_path)


def test_a_text_that_is_not_utf8_is_refused(tmp_path):
    write_kind(tmp_path)
    (tmp_path / "trial" / "fr.txt.j2").write_bytes("Référence {{ amount }}".encode("latin-1"))
    with pytest.raises(TemplateError, match="is not UTF-8"):
        load_kind("trial", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("priority = 1", "", "priority: Field required"),
        ("priority = 1", "prority = 1\npriority = 1", "prority: Extra inputs are not permitted"),
        ("priority = 1", "priority = 0", "priority: Input should be greater than 0"),
        ('"give_up"', '"perhaps"', "in_doubt: Input should be 'resend_once' or 'give_up'"),
        ("priority = 1", "priority = 1\nsegments = 0", "segments"),
        ("priority = 1", "priority = 1\nsegments = {ar = 2}", "segments says nothing of fr"),
        ("priority = 1", "priority = 1\nsegments = {ar = 2, fr = 1, en = 1}", "segments.*en"),
        ("priority = 1", 'priority = 1\ncheck = "still_wet"', "check: Input should be 'still_owed', "),
        ('"give_up"', '"resend_once"\ncheck = "still_owed"', "a kind with a check has in_doubt = 'give_up'"),
        ('"money"', '"text"', "field amount: there is no type 'text'; the types are: money"),
        ("typical = 1", "typical = 1.5", "typical has to be a whole number of millimes"),
        ("typical = 1", "typical = true", "typical has to be a whole number of millimes"),
        ("999_999_999", "1_000_000_000", "worst has to be a whole number of millimes"),
        ("typical = 1", "", "fields.amount.typical: Field required"),
        ("priority = 1", "priority = ", "kind.toml cannot be read"),
    ],
)
def test_a_declaration_is_refused(tmp_path, old, new, told):
    write_kind(tmp_path, declaration=DECLARATION.replace(old, new, 1))
    with pytest.raises(TemplateError, match=told):
        load_kind("trial", tmp_path)


@pytest.mark.parametrize(
    ("type_", "value"), [("date", "2026-12-31T00:00:00Z"), ("date", '"x"'), ("reference", "1")]
)
def test_a_value_of_another_form_is_refused(tmp_path, type_, value):
    declaration = DECLARATION.replace('"money"', f'"{type_}"').replace("999_999_999", value)
    write_kind(tmp_path, declaration=declaration)
    with pytest.raises(TemplateError, match="worst has to be a"):
        load_kind("trial", tmp_path)


def test_an_unknown_kind_is_refused_with_the_names_of_those_there_are():
    with pytest.raises(TemplateError, match="called 'bil'; the kinds are: bill, bill_correction"):
        load_kind("bil")
