"""Secrets that the project makes for itself: one file each, readable by its owner only.

For whoever needs such a secret; it knows nothing of what they are for. A file may hold former secrets behind
the one in use, each on a line of its own, so that one can be changed while others still know the old one.
"""

from __future__ import annotations

import hmac
import os
import secrets
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from fatoura.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FEWEST_CHARACTERS = 24


def read_or_make(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> str:
    """Return the secret in a file, made by `make` when the file is not there yet.

    Two processes that make it at once agree on one of the two, and none reads half a file.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(make())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def secrets_in(path: Path, what: str) -> list[str]:
    """Return the secret in a file, made on first use, and after it those that it followed.

    :param what: what it is called: ``receipt secret``.
    :raises BadInput: when the file holds something that is too short to be a secret.
    """
    found = read_or_make(path).split() or [""]
    for secret in found:
        if len(secret) < _FEWEST_CHARACTERS or not secret.replace("-", "").replace("_", "").isalnum():
            raise BadInput(
                f"{path}: a {what} is at least {_FEWEST_CHARACTERS} letters, digits, '-' or '_', for it "
                "stands in a request; write a better one, or delete the file and a new one is made"
            )
    return found


def is_secret_in(path: Path, offered: str, what: str) -> bool:
    """Tell whether this is the secret in a file, or a former one.

    Compares in constant time: the time that a refusal takes must not tell how much was right.

    :raises BadInput: when the file holds something that is too short to be a secret.
    """
    good = [
        hmac.compare_digest(offered.encode(), secret.encode())
        for secret in _read_once(path, what, int(time.monotonic()))
    ]
    return any(good)


@lru_cache(maxsize=8)
def _read_once(path: Path, what: str, _second: int) -> list[str]:
    """Read it once a second: thousands of requests come in one."""
    return secrets_in(path, what)
