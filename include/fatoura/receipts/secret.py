"""The secret in the receipt callback's URL: providers sign nothing, so the URL itself must be unguessable."""

from __future__ import annotations

from fatoura.secret_files import is_secret_in, secrets_in
from fatoura.settings import get_settings

_NAME = "receipt secret"


def receipt_secret() -> str:
    """Return the secret, made on first use in a file that only its owner reads.

    :raises BadInput: when the file holds something that is too short to be a secret.
    """
    return secrets_in(get_settings().receipt_secret_file, _NAME)[0]


def is_receipt_secret(offered: str) -> bool:
    """Tell whether it is the secret, or a former one that messages under way still carry."""
    return is_secret_in(get_settings().receipt_secret_file, offered, _NAME)
