"""The landing folder, where other systems deliver: paths that open like `pathlib`, and when a file is whole.

Paths are a folder, an `s3://` URL, or the Airflow path that a DAG hands in. Knows nothing of what they hold.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

_STILL_WRITTEN = 60.0
"""Seconds. A manifest that is no JSON and younger than this is taken for one that is being written."""


class LandingPath(Protocol):
    """What is asked of a path: as much as `pathlib`, universal-pathlib and Airflow's own have in common."""

    @property
    def name(self) -> str:
        """The last part of the path."""

    def __truediv__(self, key: str, /) -> Self:
        """Return a path below this one."""

    def exists(self) -> bool:
        """Tell whether something is there."""

    def is_dir(self) -> bool:
        """Tell whether it is a folder."""

    def iterdir(self) -> Iterable[Self]:
        """Return what lies in this folder."""

    def stat(self) -> Any:
        """Return size and time of change, as `os.stat` does."""

    def mkdir(self, *, parents: bool = ..., exist_ok: bool = ...) -> None:
        """Make the folder."""

    def open(self, mode: str = ..., /) -> Any:
        """Open the file."""


def landing_path(landing: str | LandingPath | None = None) -> LandingPath:
    """Return the landing folder: the one handed in, or the one of the settings.

    :param landing: a path object, a path, or a URL such as ``s3://bucket/landing``.
    """
    if landing is None:
        landing = get_settings().landing
    if not isinstance(landing, str):
        return landing
    if "://" not in landing:
        return cast("LandingPath", Path(landing))
    from upath import UPath

    return cast("LandingPath", UPath(landing))


def entries(folder: LandingPath) -> list[Any]:
    """Return what lies in a folder, by name; nothing when there is none."""
    store = getattr(folder, "fs", None)
    if store is not None:
        store.invalidate_cache()  # fsspec remembers listings for as long as the process lives
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def changed_at(file: LandingPath) -> float | None:
    """Return when a file changed, in seconds since the epoch; 0 when its store does not say, or nothing."""
    try:
        return float(getattr(file.stat(), "st_mtime", 0) or 0)
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_being_written(manifest: bytes, changed: float) -> bool:
    """Tell whether a manifest may be one of which a part is still to come.

    :param changed: when its file changed, in seconds since the epoch.
    """
    # Files bear the time of real clocks: a moved clock has no say here.
    if time.time() - changed >= _STILL_WRITTEN:
        return False
    try:
        json.loads(manifest.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return True
    return False
