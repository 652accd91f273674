"""The keys and passwords of the local stack, in files below `var/secrets`. Called by its environment."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fatoura.secret_files import read_or_make

if TYPE_CHECKING:
    from pathlib import Path

ADMIN = "admin"
GATEWAY_USER = "fatoura"

# Without letters and digits that look alike: a person types it.
_ALPHABET = "abcdefghijkmnopqrstuvwxyz23456789"


@dataclass(frozen=True)
class Keys:
    """All secrets that the local stack makes for itself.

    :param folder: where their files lie.
    """

    folder: Path

    @property
    def fernet_key(self) -> str:
        """What Airflow encrypts stored connections with."""
        return read_or_make(
            self.folder / "airflow_fernet_key",
            lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        )

    @property
    def secret_key(self) -> str:
        """What Airflow signs its pages' sessions with."""
        return read_or_make(self.folder / "airflow_secret_key")

    @property
    def jwt_secret(self) -> str:
        """What Airflow signs its tokens with, of people and of tasks."""
        return read_or_make(self.folder / "airflow_jwt_secret", lambda: secrets.token_urlsafe(64))

    @property
    def gateway_password(self) -> str:
        """The sandbox gateway's password."""
        return read_or_make(self.folder / "gateway_password")

    @property
    def passwords_file(self) -> Path:
        """The file from which Airflow's simple login reads its users' passwords."""
        path = self.folder / "airflow_passwords.json"
        read_or_make(path, lambda: json.dumps({ADMIN: _password()}) + "\n")
        return path

    @property
    def admin_password(self) -> str:
        """The password of `ADMIN` in Airflow's UI."""
        held: str = json.loads(self.passwords_file.read_text())[ADMIN]
        return held


def _password() -> str:
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(3))
