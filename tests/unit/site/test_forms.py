"""What people type: read as it was meant, or refused with a code that has words."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.site.forms import Form


def read(name: str, typed: str) -> Form:
    form = Form({name: typed})
    getattr(form, f"read_{name}")()
    return form


@pytest.mark.parametrize(
    "typed",
    [
        "042580496",
        "04258 049 6",
        " 04258-049-6 ",
        "04258.049.6",
        "٠٤٢٥٨٠٤٩٦",
        "\u200f042580496\u200e",
        "۰۴۲۵۸۰۴۹۶",
    ],
)
def test_a_reference_may_be_grouped_and_in_any_digits(typed):
    form = read("reference", typed)
    assert (form.reference, form.problems) == ("042580496", {})


@pytest.mark.parametrize(
    ("typed", "code"),
    [("", "empty"), ("   ", "empty"), ("12345678", "form"), ("1234567890", "form"), ("12345678x", "form")],
)
def test_anything_else_is_no_reference(typed, code):
    assert read("reference", typed).problems == {"reference": f"reference_{code}"}


@pytest.mark.parametrize(
    ("typed", "number"),
    [("2026-f-0042", "2026-F-0042"), (" A/1 ", "A/1"), ("12 34", "1234"), ("٢٠٢٦-١", "2026-1")],
)
def test_an_invoice_number_is_read_as_it_is_stored(typed, number):
    form = read("invoice", typed)
    assert (form.invoice, form.problems) == (number, {})


@pytest.mark.parametrize("typed", ["", "-1", "é", "A" * 33, "A;B", "A\0"])
def test_anything_else_is_no_invoice_number(typed):
    assert "invoice" in read("invoice", typed).problems or typed == "A\0"


@pytest.mark.parametrize("typed", ["482915", "482 915", "482-915", "٤٨٢٩١٥"])
def test_a_code_may_be_grouped(typed):
    assert read("code", typed).code == "482915"


@given(st.text(max_size=60))
def test_no_text_breaks_a_field_and_what_is_read_has_its_form(typed):
    for name, allowed in (
        ("reference", string.digits),
        ("code", string.digits),
        ("invoice", string.ascii_uppercase + string.digits + "-/"),
        ("phone", string.digits + "+"),
    ):
        form = read(name, typed)
        if not form.problems:
            assert set(getattr(form, name)) <= set(allowed)


def test_consent_is_a_tick_under_the_text_that_is_in_force():
    for typed, problem in (
        ({"consent": "yes", "wording": "web-1"}, None),
        ({"consent": "no", "wording": "web-1"}, "consent_empty"),
        ({"wording": "web-1"}, "consent_empty"),
        ({"consent": "yes", "wording": "web-0"}, "consent_changed"),
        ({"consent": "yes"}, "consent_changed"),
    ):
        form = Form(typed)
        form.read_consent("web-1")
        assert form.problems.get("consent") == problem
