"""Changes the file with the keys of phone numbers, which only its owner reads.

Called by `fatoura phones key`. The file is replaced as a whole, so that no process ever reads half of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fatoura.errors import BadInput
from fatoura.phones_at_rest import OFF, forget_keys, make_key, phone_keys, read_key
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

    from fatoura.phones_at_rest import PhoneKeys


def known_keys() -> PhoneKeys:
    """Return the keys as they are in the file now."""
    forget_keys()
    return phone_keys()


def make_file() -> None:
    """Make the file with a first key, unless it is there.

    :raises BadInput: when the setting does not name one.
    """
    path = _path()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path, [make_key()])


def add_key() -> None:
    """Put a new key behind the others."""
    path = _path()
    _write(path, [*_lines(path), make_key()])


def use_key(key_id: str | None) -> None:
    """Put a key first, or let none seal.

    :raises BadInput: when there is no such key.
    """
    path = _path()
    lines = [line for line in _lines(path) if line != OFF]
    if key_id is None:
        _write(path, [OFF, *lines])
        return
    chosen = _line_of(lines, key_id)
    _write(path, [chosen, *(line for line in lines if line != chosen)])


def drop_key(key_id: str) -> None:
    """Take a key away.

    :raises BadInput: when there is no such key, it is the one in use, or a stored number is sealed with it.
    """
    from fatoura.privacy.sealing import stored_numbers

    path = _path()
    lines = _lines(path)
    dropped = _line_of(lines, key_id)
    if dropped == lines[0]:
        raise BadInput(f"{key_id} is the key in use")
    held = [one.column for one in stored_numbers() if key_id in one.by_key]
    if held:
        raise BadInput(
            f"numbers of {', '.join(held)} are sealed with {key_id}: first `fatoura phones rotate`"
        )
    _write(path, [line for line in lines if line != dropped])


def _path() -> Path:
    path = get_settings().phone_key_file
    if path is None:
        raise BadInput("set FATOURA_PHONE_KEY_FILE to where the keys of phone numbers are to lie")
    return path


def _lines(path: Path) -> list[str]:
    phone_keys()  # complains about a file that cannot be used
    return path.read_text("ascii").split()


def _line_of(lines: list[str], key_id: str) -> str:
    found = [line for line in lines if line != OFF and read_key(line).id == key_id]
    if not found:
        raise BadInput(f"there is no key {key_id}; `fatoura phones key` lists those that there are")
    return found[0]


def _write(path: Path, lines: list[str]) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    forget_keys()
