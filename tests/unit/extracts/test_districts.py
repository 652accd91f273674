"""The districts' file: the one that comes with the project, and what is wrong with others."""

from __future__ import annotations

import pytest

from fatoura.errors import BadInput
from fatoura.extracts.districts import read_districts


def test_the_districts_of_the_project_have_names_in_both_scripts():
    districts = read_districts()
    assert len(districts) >= 40
    assert all(one.name_fr.isascii() or "é" in one.name_fr or "è" in one.name_fr for one in districts)
    assert all("\u0600" <= one.name_ar[0] <= "\u06ff" for one in districts)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("code,name\nTUN1,Tunis\n", "the header must be code,name_fr,name_ar"),
        ("", "the header must be"),
        ("code,name_fr,name_ar\n", "there is no district in it"),
        ("code,name_fr,name_ar\nTUN1,Tunis\n", "line 2: a code and two names are needed"),
        ("# why\ncode,name_fr,name_ar\nTUN1,Tunis, \n", "line 3: a code and two names are needed"),
        ("code,name_fr,name_ar\ntun 1,Tunis,تونس\n", "line 2, code: 1 to 16 of A-Z"),
        ("code,name_fr,name_ar\nT1,Tunis,تونس\nT1,Tunis,تونس\n", "line 3, code: T1 is there twice"),
    ],
)
def test_a_wrong_file_is_refused_with_the_line(tmp_path, content, said):
    path = tmp_path / "districts.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput) as error:
        read_districts(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_or_not_utf8_is_refused(tmp_path):
    with pytest.raises(BadInput, match="is not there"):
        read_districts(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("code,name_fr,name_ar\nT1,Béja,باجة".encode("cp1256"))
    with pytest.raises(BadInput, match="not UTF-8"):
        read_districts(tmp_path / "latin.csv")


def test_names_may_be_quoted_and_a_byte_order_mark_is_tolerated(tmp_path):
    path = tmp_path / "districts.csv"
    path.write_text('\ufeffcode,name_fr,name_ar\nT1,"Tunis, Ville",تونس\n', encoding="utf-8")
    assert read_districts(path)[0].name_fr == "Tunis, Ville"
