"""One-time codes and the key: made from chance, kept unreadable, compared whole."""

import secrets
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fatoura.settings import get_settings
from fatoura.site import codes, keys
from fatoura.site.codes import is_right, keep, keep_nobodys, new_code
from fatoura.site.keys import keyed

some_code = st.from_regex(r"\A[0-9]{6}\Z")


def test_codes_are_six_digits_that_come_from_chance(monkeypatch):
    drawn = [new_code() for _ in range(2000)]
    assert all(len(code) == 6 and code.isascii() and code.isdigit() for code in drawn)
    assert len(set(drawn)) > 1900
    assert {code[0] for code in drawn} == set("0123456789")
    monkeypatch.setattr(secrets, "randbelow", lambda below: {10**6: 42}[below])
    assert new_code() == "000042"


@given(some_code, some_code)
def test_only_the_code_itself_is_right(code, other):
    kept = keep(code)
    assert is_right(code, kept)
    assert is_right(other, kept) == (other == code)
    assert code not in kept.hash or len(set(code)) < 6  # by chance, at most


def test_the_same_code_is_kept_in_another_way_each_time():
    assert len({keep("123456") for _ in range(50)}) == 50


@given(some_code)
def test_nothing_is_right_where_no_code_was_sent(code):
    kept = keep_nobodys()
    assert [len(part) for part in kept] == [len(part) for part in keep(code)]
    assert not is_right(code, kept)


def test_codes_are_compared_whole(monkeypatch):
    compared = Counter()
    compare = codes.same
    monkeypatch.setattr(codes, "same", lambda one, other: compared.update([len(one)]) or compare(one, other))
    kept = keep("123456")
    for code in ("123456", "123457", "923456"):
        is_right(code, kept)
    assert compared == {64: 3}


def test_another_key_another_purpose_or_other_parts_give_another_hash():
    first = keyed("code", "a", "b")
    assert first == keyed("code", "a", "b")
    assert len({first, keyed("visit", "a", "b"), keyed("code", "ab", ""), keyed("code", "a", "b", "")}) == 4
    get_settings().site_key_file.write_text("another-key-that-is-long-enough")
    keys._key.cache_clear()
    assert keyed("code", "a", "b") != first
