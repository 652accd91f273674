"""The secret in the receipt callback's URL: providers sign nothing, so the URL itself must be unguessable."""

from __future__ import annotations

import hmac

from fatoura.errors import BadInput
from fatoura.secret_files import read_or_make
from fatoura.settings import get_settings

_FEWEST_CHARACTERS = 24


def receipt_secret() -> str:
    """Return the secret, made on first use in a file that only its owner reads.

    :raises BadInput: when the file holds something that is too short to be a secret.
    """
    path = get_settings().receipt_secret_file
    secret = read_or_make(path)
    if len(secret) < _FEWEST_CHARACTERS or not secret.replace("-", "").replace("_", "").isalnum():
        raise BadInput(
            f"{path}: a receipt secret is at least {_FEWEST_CHARACTERS} letters, digits, '-' or '_', for it "
            "stands in a URL; write a better one, or delete the file and a new one is made"
        )
    return secret


def is_receipt_secret(offered: str) -> bool:
    """Compare in constant time: the time that a refusal takes must not tell how much was right."""
    return hmac.compare_digest(offered.encode(), receipt_secret().encode())
