"""The secret in the receipt callback's URL: providers sign nothing, so the URL itself must be unguessable."""

from __future__ import annotations

import hmac
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from fatoura.errors import BadInput
from fatoura.secret_files import read_or_make
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

_FEWEST_CHARACTERS = 24


def receipt_secret() -> str:
    """Return the secret, made on first use in a file that only its owner reads.

    :raises BadInput: when the file holds something that is too short to be a secret.
    """
    return _read(get_settings().receipt_secret_file)[0]


def is_receipt_secret(offered: str) -> bool:
    """Tell whether it is the secret, or a former one that messages under way still carry.

    Compares in constant time: the time that a refusal takes must not tell how much was right.
    """
    path = get_settings().receipt_secret_file
    good = [
        hmac.compare_digest(offered.encode(), secret.encode())
        for secret in _read_once(path, int(time.monotonic()))
    ]
    return any(good)


def _read(path: Path) -> list[str]:
    """Return the secret, and after it those that it followed, one on each line of the file."""
    secrets = read_or_make(path).split() or [""]
    for secret in secrets:
        if len(secret) < _FEWEST_CHARACTERS or not secret.replace("-", "").replace("_", "").isalnum():
            raise BadInput(
                f"{path}: a receipt secret is at least {_FEWEST_CHARACTERS} letters, digits, '-' or '_', for "
                "it stands in a URL; write a better one, or delete the file and a new one is made"
            )
    return secrets


@lru_cache(maxsize=1)
def _read_once(path: Path, _second: int) -> list[str]:
    """Read it once a second: thousands of receipts come in one."""
    return _read(path)
