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
    return _read(get_settings().receipt_secret_file)


def is_receipt_secret(offered: str) -> bool:
    """Compare in constant time: the time that a refusal takes must not tell how much was right."""
    path = get_settings().receipt_secret_file
    return hmac.compare_digest(offered.encode(), _read_once(path, int(time.monotonic())).encode())


def _read(path: Path) -> str:
    secret = read_or_make(path)
    if len(secret) < _FEWEST_CHARACTERS or not secret.replace("-", "").replace("_", "").isalnum():
        raise BadInput(
            f"{path}: a receipt secret is at least {_FEWEST_CHARACTERS} letters, digits, '-' or '_', for it "
            "stands in a URL; write a better one, or delete the file and a new one is made"
        )
    return secret


@lru_cache(maxsize=1)
def _read_once(path: Path, _second: int) -> str:
    """Read it once a second: thousands of receipts come in one."""
    return _read(path)
