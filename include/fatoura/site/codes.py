"""One-time codes: how they are made, kept and compared. Knows the key, and no customer and no page."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import NamedTuple

from fatoura.site.keys import keyed, same

DIGITS = 6
GOOD_FOR = timedelta(minutes=10)
"""From when it was asked for; the message says so too."""

MOST_TRIES = 5


class KeptCode(NamedTuple):
    """What is kept of a code; nobody can tell it from this without the site's key."""

    salt: str
    hash: str


def new_code() -> str:
    """Return a code: 6 digits, each as likely as any other."""
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"


def keep(code: str) -> KeptCode:
    """Return what is kept of a code."""
    salt = secrets.token_hex(16)
    return KeptCode(salt, keyed("code", salt, code))


def keep_nobodys() -> KeptCode:
    """Return what is kept where no code was sent: it looks like any other, and nothing is right."""
    return KeptCode(secrets.token_hex(16), secrets.token_hex(32))


def is_right(code: str, kept: KeptCode) -> bool:
    """Tell whether a code is the one that was kept; takes the same time for each answer."""
    return same(keyed("code", kept.salt, code), kept.hash)
