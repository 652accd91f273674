"""`fatoura notices preview`."""

import json

from click.testing import CliRunner

from fatoura.cli import main


def test_the_preview_is_one_json_document_with_what_each_message_costs():
    done = CliRunner().invoke(main, ["notices", "preview", "bill", "--json"])
    assert done.exit_code == 0
    shown = json.loads(done.stdout)
    assert (shown["kind"], shown["in_doubt"], shown["check"]) == ("bill", "resend_once", None)
    assert shown["segments"] == {"ar": 1, "fr": 1}
    assert [
        (t["language"], t["values"], t["encoding"], t["units"], t["segments"]) for t in shown["texts"]
    ] == [
        ("ar", "typical", "ucs2", 65, 1),
        ("ar", "worst", "ucs2", 70, 1),
        ("fr", "typical", "gsm7", 92, 1),
        ("fr", "worst", "gsm7", 97, 1),
    ]


def test_the_preview_of_one_language_shows_the_message_as_it_is_sent():
    done = CliRunner().invoke(main, ["notices", "preview", "bill", "--language", "fr"])
    assert done.exit_code == 0
    assert "97 units of gsm7, 1 of 1 segment(s)" in done.stdout
    assert "Montant à payer : 999 999,999 DT" in done.stdout
    assert "المبلغ" not in done.stdout


def test_an_unknown_kind_is_refused_with_exit_code_1():
    done = CliRunner().invoke(main, ["notices", "preview", "bil"])
    assert done.exit_code == 1
    assert "the kinds are: bill, bill_correction" in done.stderr


def test_an_unknown_language_is_wrong_usage():
    assert CliRunner().invoke(main, ["notices", "preview", "bill", "--language", "en"]).exit_code == 2
