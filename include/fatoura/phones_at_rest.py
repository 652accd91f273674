"""The one place that seals phone numbers for the database, and opens them where a message needs its number.

Called by every door that takes a number in (`sealed`), and by sending and clerks' files (`opened`). The key
lies in a file outside the database; without one, numbers are kept as they are and all this changes nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from fatoura.errors import NeedsAPerson
from fatoura.phones import mask
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "sealed:"
"""What every sealed number begins with, and no number as it is."""

OFF = "off"
"""As the first line of a key file: new numbers are not sealed; the keys after it open those that are."""

KEY_BYTES = 64
"""AES-256 in SIV mode takes two keys of 32 bytes each."""

_VERSION = "1"
_PURPOSE = [b"fatoura phone"]
_HIDDEN = "+216 ** *** ***"


class SealError(NeedsAPerson):
    """A number cannot be sealed or opened here; says which key is missing, never the number."""


class PhoneKey(NamedTuple):
    """A key, and the id by which sealed numbers name it; derived from the key, so that nobody chooses it."""

    id: str
    cipher: AESSIV


class PhoneKeys(NamedTuple):
    """What a key file holds.

    :param present: seals; none: new numbers are kept as they are.
    :param known: open.
    """

    present: PhoneKey | None
    known: tuple[PhoneKey, ...]


def sealed(phone: str) -> str:
    """Return a number as the database holds it: ``sealed:1:<key id>:<base64url>``.

    The same number always gives the same text (AES-SIV): equality, joins and copies work in sets. What is
    sealed already is sealed with the key in use; an empty text stays empty; without a key it is the identity.

    :param phone: E.164.
    :raises SealError: when the key file is set but cannot be used: a number is never kept open by mistake.
    """
    present = phone_keys().present
    if phone.startswith(PREFIX):
        return phone if present and phone.startswith(prefix_of(present)) else sealed(opened(phone))
    return _seal(phone, present) if present and phone else phone


def opened(stored: str) -> str:
    """Return the number that `sealed` was given; one that is not sealed is returned as it is.

    :raises SealError: when its key is not in the key file, or the text was tampered with.
    """
    if not stored.startswith(PREFIX):
        return stored
    try:
        version, key_id, body = stored.removeprefix(PREFIX).split(":")
        token = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except (ValueError, binascii.Error):
        raise SealError("a sealed phone number is damaged: it does not have the form of one") from None
    key = next((one for one in phone_keys().known if one.id == key_id), None)
    if key is None or version != _VERSION:
        raise SealError(
            f"a phone number is sealed with the key {key_id}, which this process does not have: set "
            "FATOURA_PHONE_KEY_FILE to the file that holds it"
        )
    try:
        return key.cipher.decrypt(token, _PURPOSE).decode()
    except InvalidTag:
        raise SealError(f"a phone number that says it is sealed with the key {key_id} is damaged") from None


def stored_forms(phone: str) -> list[str]:
    """Return every form in which a number may be stored: by each key, the one in use first, and as it is.

    For looking a number up while an installation is being sealed, opened, or given another key.

    :param phone: E.164.
    """
    return [*(_seal(phone, key) for key in phone_keys().known), phone]


def same_phone(one: str, other: str) -> bool:
    """Tell whether two stored numbers are the same, whatever they are sealed with."""
    return one == other or opened(one) == opened(other)


def masked(stored: str) -> str:
    """Hide all but the last three digits of a stored number; all of them where this process lacks its key."""
    if stored.startswith(PREFIX) and not phone_keys().known:
        return _HIDDEN
    return mask(opened(stored))


def phone_keys() -> PhoneKeys:
    """Return the keys of this installation; none where numbers are kept as they are.

    :raises SealError: when a key file is set but cannot be read, or holds something else.
    """
    path = get_settings().phone_key_file
    return PhoneKeys(None, ()) if path is None else _read_keys(path, int(time.monotonic()))


def prefix_of(key: PhoneKey) -> str:
    """Return what the numbers begin with that are sealed with a key."""
    return f"{PREFIX}{_VERSION}:{key.id}:"


def forget_keys() -> None:
    """Let the next number see the key file as it is now, not as it was a moment ago."""
    _read_keys.cache_clear()


def make_key() -> str:
    """Return a new key, as a line of the key file."""
    return base64.urlsafe_b64encode(AESSIV.generate_key(KEY_BYTES * 8)).decode()


def read_key(line: str) -> PhoneKey:
    """Read one line of a key file.

    :raises ValueError: when it holds no key; what it holds is not repeated.
    """
    key = base64.b64decode(line, altchars=b"-_", validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError("not a key")
    return PhoneKey(hashlib.sha256(_PURPOSE[0] + key).hexdigest()[:8], AESSIV(key))


def _seal(phone: str, key: PhoneKey) -> str:
    token = base64.urlsafe_b64encode(key.cipher.encrypt(phone.encode(), _PURPOSE)).decode().rstrip("=")
    return prefix_of(key) + token


@lru_cache(maxsize=1)
def _read_keys(path: Path, _second: int) -> PhoneKeys:
    """Read it once a second: a running process takes up another key, and a million numbers read it once."""
    try:
        lines = path.read_text("ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise SealError(
            f"{path} cannot be read as the key file of phone numbers ({type(error).__name__}): put it back, "
            "or restore it from where it is kept; without it, sealed numbers are lost"
        ) from None
    if not lines:
        raise SealError(f"{path} is empty: it holds the keys of phone numbers, a line each")
    keys = []
    for number, line in enumerate(lines, start=1):
        if number == 1 and line == OFF:
            continue
        try:
            keys.append(read_key(line))
        except ValueError:
            raise SealError(
                f"{path}, line {number}: a key is {KEY_BYTES} bytes in base64; `fatoura phones key` makes one"
            ) from None
    return PhoneKeys(None if lines[0] == OFF else keys[0], tuple(keys))
