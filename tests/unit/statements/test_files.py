"""Providers' files in their dialects: found out by what is in them, or refused with a reason."""

from __future__ import annotations

import zipfile
from datetime import datetime
from typing import TYPE_CHECKING

import openpyxl
import pytest

from fatoura.statements.files import StatementUnreadable, opened
from fatoura.statements.forms import Columns, Form, FormError, known_forms, load_form, plain

if TYPE_CHECKING:
    from pathlib import Path

FORM = Form(
    description="",
    columns=Columns(provider_id="ID message", segments=("Nb SMS", "Quantité"), amount="Montant HT"),
    optional=("amount",),
)
LINES = "ID message;Nb SMS;Montant HT\r\n0001;1;0,020\r\n0002;2;0,040\r\n"


def rows(path: Path, form: Form = FORM) -> list[tuple[int, list[object], str | None]]:
    with opened(path, form) as table:
        return [(row.line, list(row.cells), row.flaw) for row in table.rows]


def written(tmp_path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = tmp_path / "detail"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def sheet(tmp_path: Path, *lines: list[object], title: str = "Détail") -> Path:
    book = openpyxl.Workbook()
    book.active.title = title
    for one in lines:
        book.active.append(one)
    path = tmp_path / "detail.bin"
    book.save(path)
    return path


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_dialect_is_found_out(tmp_path, delimiter, encoding):
    lines = LINES.replace(",", ".").replace(";", delimiter)
    assert [cells[0] for _, cells, _ in rows(written(tmp_path, lines, encoding))] == ["0001", "0002"]


def test_windows_encoding_is_the_form_s_to_say(tmp_path):
    form = FORM.model_copy(update={"columns": Columns(provider_id="N° reçu", segments="Qté")})
    path = written(tmp_path, "N° reçu;Qté\n1;1\n", "windows-1252")
    with pytest.raises(StatementUnreadable, match="windows-1252"):
        rows(path, form)
    assert rows(path, form.model_copy(update={"encoding": "windows-1252"})) == [(2, ["1", "1"], None)]


def test_titles_above_the_heading_are_passed_over_and_lines_keep_their_numbers(tmp_path):
    path = written(tmp_path, 'Relevé détaillé\n"Client ""STEG""";x\n\n' + LINES)
    assert [line for line, _, _ in rows(path)] == [5, 6]


def test_headings_are_found_whatever_their_case_accents_signs_and_order(tmp_path):
    path = written(tmp_path, "QUANTITE;autre;id_message\n2;x;0001\n")
    with opened(path, FORM) as table:
        assert table.places == {"segments": 0, "provider_id": 2}
    assert plain("  Référence  n° ") == plain("REFERENCE N")


def test_a_broken_line_is_set_apart_alone(tmp_path):
    path = written(tmp_path, 'ID message;Nb SMS;Montant HT\n0001;1;0,020\n"0002;1;0,020\n0003;1;0,020\n')
    assert [(line, flaw) for line, _, flaw in rows(path)] == [(2, None), (3, "not_csv"), (4, None)]


def test_bytes_that_are_no_text_spoil_their_line_alone(tmp_path):
    content = LINES.encode() + b"000\xe9;1;0,020\r\n0004;1;0,020\r\n"
    assert [(line, flaw) for line, _, flaw in rows(written(tmp_path, content))] == [
        (2, None),
        (3, None),
        (4, "not_text"),
        (5, None),
    ]


def test_a_missing_heading_is_named(tmp_path):
    path = written(tmp_path, "ID message;Montant HT\n1;2\n")
    with pytest.raises(StatementUnreadable, match=r"missing segments .“Nb SMS” or “Quantité”."):
        rows(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\xd0\xcf\x11\xe0 an old workbook", "XLS"),
        (b"PK\x03\x04 no archive", "cannot be read"),
        (b"ID message;Nb SMS;Nb SMS\n1;1;1\n", "two columns"),
        (b"<html>", "missing"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_reason(tmp_path, content, said):
    with pytest.raises(StatementUnreadable, match=said):
        rows(written(tmp_path, content))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StatementUnreadable, match="No such file"):
        rows(tmp_path / "nothing")


def test_a_workbook_is_read_by_what_it_is_not_by_its_name(tmp_path):
    at = datetime(2026, 5, 20, 10)
    path = sheet(
        tmp_path, ["Relevé"], [], ["ID message", "Nb SMS", "Montant HT"], ["0001", 1, 0.02], [at, None]
    )
    assert rows(path) == [(4, ["0001", 1, 0.02], None), (5, [at, "", ""], None)]


def test_a_sheet_is_asked_for_by_name(tmp_path):
    path = sheet(tmp_path, ["ID message", "Nb SMS"], ["1", 1], title="Mai")
    assert len(rows(path, FORM.model_copy(update={"sheet": "Mai"}))) == 1
    with pytest.raises(StatementUnreadable, match="the sheets are: Mai"):
        rows(path, FORM.model_copy(update={"sheet": "Juin"}))


def test_a_workbook_whose_archive_lacks_its_parts_is_refused(tmp_path):
    path = tmp_path / "odd.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "x")
    with pytest.raises(StatementUnreadable, match="workbook cannot be read"):
        rows(path)


# --- Forms -----------------------------------------------------------------------------------------------


def test_the_forms_that_come_along_can_be_loaded():
    assert set(known_forms()) >= {"kannel", "orange", "query_string", "summary"}
    for name in known_forms():
        assert load_form(name).form.description


def test_a_form_of_the_utility_s_own_goes_first(tmp_path, configure):
    own = tmp_path / "forms"
    own.mkdir()
    (own / "kannel.toml").write_text('description = "ours"\n[columns]\nprovider_id = "x"\n')
    configure(statement_forms=own)
    assert load_form("kannel").form.description == "ours"
    assert load_form("orange").form.description != "ours"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not toml", "cannot be read"),
        ('description = "x"\n[columns]\nsegments = "a"\n', "tells its messages apart"),
        ('description = "x"\nlevel = "summary"\n[columns]\nlabel = "a"\n', "a summary needs"),
        ('description = "x"\nunknown = 1\n[columns]\nprovider_id = "a"\n', "unknown"),
        ('description = "x"\ntotal = "("\n[columns]\nprovider_id = "a"\n', "no regular expression"),
        ('description = "x"\ntimezone = "Mars/X"\n[columns]\nprovider_id = "a"\n', "no time zone"),
        ('description = "x"\nencoding = "utf-99"\n[columns]\nprovider_id = "a"\n', "no encoding"),
        ('description = "x"\noptional = ["status"]\n[columns]\nprovider_id = "a"\n', "not in .columns."),
        ('description = "x"\nthousands = ","\n[columns]\nprovider_id = "a"\n', "same sign"),
        ('description = "x"\n[columns]\nprovider_id = "a"\n[patterns]\nprovider_id = "x"\n', "needs a group"),
        (
            'description = "x"\nlines_are = "segments"\n[columns]\nrecipient = "a"\nsubmitted_at = "b"\n',
            "need an id",
        ),
    ],
)
def test_a_wrong_form_says_what_is_wrong(tmp_path, content, said):
    path = tmp_path / "wrong.toml"
    path.write_text(content)
    with pytest.raises(FormError, match=said):
        load_form(str(path))


def test_an_unknown_form_names_the_known_ones():
    with pytest.raises(FormError, match="kannel, orange"):
        load_form("nobody")
