"""A key file for tests of sealed numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.phones_at_rest import forget_keys, make_key, read_key

if TYPE_CHECKING:
    from pathlib import Path


class KeyFile:
    """The file that FATOURA_PHONE_KEY_FILE names; this process sees what is written at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, *lines: str) -> None:
        self.path.write_text("\n".join(lines))
        forget_keys()

    def add_first(self) -> str:
        """Put a new key first; return its id."""
        key = make_key()
        former = self.path.read_text().split() if self.path.exists() else []
        self.write(key, *former)
        return read_key(key).id
