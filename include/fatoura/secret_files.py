"""Secrets that the project makes for itself: one file each, readable by its owner only.

For whoever needs such a secret; it knows nothing of what they are for.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
