"""Which feeds lie complete in the landing folder: a folder each, `manifest.json` written last.

A look must cost little when years of feeds lie there: one listing, and no file of a feed that is known is
opened again unless it has changed. Knows nothing of what feeds hold.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from fatoura import clock
from fatoura.feeds.names import NAME_FORM, is_feed_name
from fatoura.landing import changed_at, entries, is_being_written
from fatoura.manifests import FILE_NAME, LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fatoura.landing import LandingPath

log = logging.getLogger(__name__)

_CLOCKS_DIFFER = timedelta(hours=1)
"""How far the clocks of the landing folder and of the database may lie apart."""

_CHANGED = ("mtime", "LastModified", "last_modified", "updated", "created")
"""What stores of files call the time of the last change."""


class FeedFolder(NamedTuple):
    """A folder with a whole manifest; `changed` is when that was written, by our clock, if its store says."""

    name: str
    path: LandingPath
    changed: datetime | None = None


def find_feeds(folder: LandingPath, loaded: Mapping[str, datetime]) -> Iterator[FeedFolder]:
    """Find the feeds below a folder whose manifest is there, in the order of their names.

    A manifest that is no manifest is found as well, so that somebody is told; only one that may still be
    under way is left for the next look.

    :param loaded: when feeds were loaded, by name; one that has not changed since is left out.
    """
    for name, changed in _manifests(folder):
        known = loaded.get(name)
        if known is not None and changed and _on_our_clock(changed) < known - _CLOCKS_DIFFER:
            continue
        if not is_feed_name(name):
            log.warning("folder %s/%s is left alone: its name is not %s", folder.name, name, NAME_FORM)
            continue
        path = folder / name
        try:
            with (path / FILE_NAME).open("rb") as stream:
                content = stream.read(LARGEST + 1)
        except (FileNotFoundError, IsADirectoryError):
            continue
        except PermissionError:
            content = b""  # it is refused, in words, when it is opened again
        if not content or not is_being_written(content, changed):
            yield FeedFolder(name, path, _on_our_clock(changed) if changed else None)


def _manifests(folder: LandingPath) -> list[tuple[str, float]]:
    """Return the folders in which a manifest lies, and when it changed, in seconds since the epoch."""
    store = getattr(folder, "fs", None)
    if store is None:
        found = ((path.name, changed_at(path / FILE_NAME)) for path in entries(folder))
        return [(name, changed) for name, changed in found if changed is not None]
    # A store behind a network: asked once for everything below, not once for each feed.
    store.invalidate_cache()
    try:
        # Without a limit of depth: with one, s3fs asks for each folder apart.
        files = store.find(folder.path, detail=True)  # type: ignore[attr-defined]
    except FileNotFoundError:
        return []
    return sorted(
        (parts[-2], _changed(about))
        for path, about in files.items()
        if len(parts := path.split("/")) > 2 and parts[-1] == FILE_NAME and parts[-3] == folder.name
    )


def _changed(about: Mapping[str, Any]) -> float:
    value = next((about[name] for name in _CHANGED if about.get(name)), 0.0)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return 0.0
    return value.timestamp() if isinstance(value, datetime) else float(value)


def _on_our_clock(changed: float) -> datetime:
    return clock.moved(datetime.fromtimestamp(changed, UTC))
