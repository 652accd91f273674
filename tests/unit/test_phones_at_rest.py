"""Sealing numbers for the database. All numbers below are invented."""

from __future__ import annotations

import pytest

from fatoura import phones_at_rest
from fatoura.errors import NeedsAPerson
from fatoura.phones_at_rest import make_key, masked, opened, read_key, same_phone, sealed, stored_forms

PHONE, OTHER = "+21620000012", "+21620000013"


@pytest.fixture
def keys(configure, tmp_path):
    """Write the key file anew, as an operator does, and let this process see it at once."""
    path = tmp_path / "phone_keys"
    configure(phone_key_file=path)

    def write(*lines: str) -> None:
        path.write_text("\n".join(lines))
        phones_at_rest.forget_keys()

    return write


def test_without_a_key_numbers_are_kept_as_they_are():
    assert sealed(PHONE) == opened(PHONE) == PHONE
    assert stored_forms(PHONE) == [PHONE]


def test_an_empty_setting_means_no_key(configure):
    assert configure(phone_key_file="").phone_key_file is None


def test_a_sealed_number_shows_nothing_of_itself_and_opens_again(keys):
    key = make_key()
    keys(key)
    stored = sealed(PHONE)
    assert stored.startswith(f"sealed:1:{read_key(key).id}:")
    assert not any(PHONE[at : at + 4] in stored for at in range(1, 9))
    assert opened(stored) == PHONE
    assert masked(stored) == "+216 ** *** 012"


def test_the_same_number_gives_the_same_text_and_another_one_another(keys):
    keys(make_key())
    assert sealed(PHONE) == sealed(PHONE) == sealed(sealed(PHONE))
    assert sealed(PHONE) != sealed(OTHER)


def test_nothing_is_sealed_to_nothing(keys):
    keys(make_key())
    assert sealed("") == opened("") == ""


def test_a_former_key_opens_and_the_one_in_use_seals(keys):
    former, present = make_key(), make_key()
    keys(former)
    old = sealed(PHONE)
    keys(present, former)
    assert opened(old) == PHONE
    assert sealed(PHONE) != old
    assert sealed(old) == sealed(PHONE)
    assert stored_forms(PHONE) == [sealed(PHONE), old, PHONE]
    assert same_phone(old, sealed(PHONE))
    assert same_phone(old, PHONE)
    assert not same_phone(old, sealed(OTHER))


def test_without_its_key_a_number_is_neither_opened_nor_mistaken_for_one(keys, configure):
    keys(make_key())
    stored = sealed(PHONE)
    configure(phone_key_file="")
    with pytest.raises(NeedsAPerson, match=r"sealed with the key .*FATOURA_PHONE_KEY_FILE"):
        opened(stored)
    with pytest.raises(NeedsAPerson):
        sealed(stored)
    assert masked(stored) == "+216 ** *** ***"


@pytest.mark.parametrize(
    "damage", [lambda s: s[:-4] + "AAAA", lambda s: "sealed:1:", lambda s: s.replace("sealed:1", "sealed:2")]
)
def test_a_number_that_was_tampered_with_is_refused_without_showing_it(keys, damage):
    keys(make_key())
    with pytest.raises(NeedsAPerson) as refusal:
        opened(damage(sealed(PHONE)))
    assert "20000012" not in str(refusal.value)


@pytest.mark.parametrize("content", ["", "\n", "short", "a" * 88, "é", make_key() + "\nnonsense!"])
def test_a_key_file_that_cannot_be_used_stops_everything_and_is_not_quoted(keys, content):
    keys(content)
    with pytest.raises(NeedsAPerson) as refusal:
        sealed(PHONE)
    assert "nonsense" not in str(refusal.value)
    assert "short" not in str(refusal.value)


def test_a_key_file_that_is_gone_keeps_no_number_open(configure, tmp_path):
    configure(phone_key_file=tmp_path / "gone")
    with pytest.raises(NeedsAPerson, match="cannot be read as the key file"):
        sealed(PHONE)
