"""Removes files that are kept no longer: those for clerks, what was landed with numbers in it, lists, logs.

Called once a day by the workflow `retention`, and by whoever erases one person. Only what the project itself
or its landing folder holds on a disk; a landing folder elsewhere has rules of its own for how long things are
kept.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

log = logging.getLogger(__name__)

LANDED = ("coupons", "departures")
"""Contents whose feeds hold numbers, or words of customers: they are removed from the landing folder in time.
"""


def clerks_folders() -> tuple[Path, ...]:
    """Return where files for clerks lie that hold numbers or references."""
    var = get_settings().var
    return (var / "refused", var / "enrolment", var / "access")


def remove_due(logs: Path | None = None) -> dict[str, int]:
    """Remove what is kept no longer; return how many files, or feeds, by what they are.

    :param logs: where logs of tasks lie; nothing: they are left alone.
    """
    settings = get_settings()
    counts = Counter[str]()
    for folder in clerks_folders():
        counts[folder.name] += _remove_older(folder, settings.keep_files)
    counts["lists"] += _remove_older(settings.lists, settings.keep_lists)
    counts["landed"] += _remove_landed()
    if logs is not None:
        counts["logs"] += _remove_older(logs, settings.keep_logs)
    removed = {what: count for what, count in sorted(counts.items()) if count}
    log.info("removed: %s", ", ".join(f"{what} {count}" for what, count in removed.items()) or "nothing")
    return removed


def files_in(folder: Path) -> Iterator[Path]:
    """Give the files below a folder, which may be absent."""
    if folder.is_dir():
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _remove_older(folder: Path, keep: timedelta) -> int:
    # By the machine's own clock, which wrote the files' times.
    before, removed = time.time() - keep.total_seconds(), 0
    for path in files_in(folder):
        try:
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # somebody was faster
    for path in sorted(folder.rglob("*"), reverse=True) if removed else ():
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    return removed


def _remove_landed() -> int:
    """Remove the folders of feeds that were loaded so long ago. Their name is known: none is loaded twice."""
    landing = get_settings().landing
    if "://" in landing:
        return 0
    with connect() as connection:
        feeds = connection.execute(
            text(
                "SELECT content, name FROM feed WHERE content = ANY(:contents) AND source = 'landing' "
                "AND loaded_at < :before"
            ),
            {"contents": list(LANDED), "before": clock.now() - get_settings().keep_files},
        ).all()
    removed = 0
    for content, name in feeds:
        folder = Path(landing) / content / name
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
            removed += 1
    return removed
