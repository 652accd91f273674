"""New report files in the places of old ones: a reader sees the old or the new, never half a file.

Called by whoever writes reports or lists for people. It knows nothing of what is in them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replaced_files(folder: Path, *, last: str, mode: int = 0o644) -> Iterator[Path]:
    """Give a folder for new files; when the block ends well, put them into `folder`, over the old ones.

    Each rename is whole or not at all, and needs no room on the disk. Only one writer at a time: the caller
    holds a lock.

    :param last: the file that is put in its place after all others: the page, which names them.
    :param mode: who may read them.
    :raises OSError: when the disk is full or the folder cannot be written; the old files stand.
    """
    with _new_files(folder) as fresh:
        yield fresh
        for path in fresh.iterdir():
            path.chmod(mode)
            _to_disk(path)
        for path in sorted(fresh.iterdir(), key=lambda path: (path.name == last, path.name)):
            path.replace(folder / path.name)
        _to_disk(folder)


@contextmanager
def _new_files(folder: Path) -> Iterator[Path]:
    """Give a folder beside the old files; whatever is left in it afterwards is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    # We hold the report's lock: another writer's folder can only be left from one that was killed.
    for left in folder.glob(".new-*"):
        shutil.rmtree(left)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk: a full one may tell only now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
