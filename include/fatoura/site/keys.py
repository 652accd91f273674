"""The site's key, and what is derived from it: hashes of codes, of visits, of what is counted; form tokens.

Called by whatever in the site keeps or compares something that must not be readable in the database.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import TYPE_CHECKING

from fatoura.secret_files import secrets_in
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path


def keyed(purpose: str, *parts: str) -> str:
    """Return the keyed hash of some texts, in hexadecimal: alike for alike, and of no use without the key.

    :param purpose: what it is for; the same texts give another hash for another purpose.
    :raises BadInput: when the key's file holds something that is too short to be a key.
    """
    message = "\0".join((purpose, *parts))
    return hmac.digest(_key(get_settings().site_key_file), message.encode(), "sha256").hex()


def same(one: str, other: str) -> bool:
    """Compare two hashes or tokens in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


@lru_cache(maxsize=4)
def _key(path: Path) -> bytes:
    """Read it once: another key is taken up when the process starts again, and visits begin anew."""
    return secrets_in(path, "site key")[0].encode()
