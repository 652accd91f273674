"""The token by which another system may push payments: made here, handed over once, sent with each push."""

from __future__ import annotations

from fatoura.secret_files import is_secret_in, secrets_in
from fatoura.settings import get_settings

_NAME = "payments token"


def payments_token() -> str:
    """Return the token, made on first use in a file that only its owner reads.

    :raises BadInput: when the file holds something that is too short to be a secret.
    """
    return secrets_in(get_settings().payments_secret_file, _NAME)[0]


def is_payments_token(offered: str) -> bool:
    """Tell whether it is the token, or a former one that still stands in the file."""
    return is_secret_in(get_settings().payments_secret_file, offered, _NAME)
