"""The landing folder: which extracts lie there complete, and for which of them a run was asked already.

Called by the landing workflow every minute. Paths are whatever opens like `pathlib`: a folder, an
`s3://` URL, or the Airflow path that the DAG hands in. Knows nothing of what an extract holds.

A run a manifest, never two and never none
------------------------------------------
Airflow sends a task's asset events when the task has succeeded, not before. So asking for runs takes two
steps, and what is remembered always comes second:

1. The first task calls `find_unannounced` (which writes nothing) and puts the keys into its asset events.
   If it dies, no event was sent and nothing is remembered: the next look finds the same manifests.
2. After its success `remember_announced` writes them down. `load_extract` does the same as its first act:
   should the second step fail, the run that was started remembers its own manifest.

Only if both fail within a minute (no database) is a manifest announced twice; its second run finds
everything done and says so. Looks must not overlap: the DAG runs one at a time.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

from fatoura.cycles.keys import ExtractKey
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.landing import LandingPath, changed_at, entries, is_being_written, landing_path
from fatoura.manifests import FILE_NAME, LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

log = logging.getLogger(__name__)

_CLOCKS_DIFFER = timedelta(hours=1)
"""How far the clocks of the landing folder and of the database may lie apart."""


class Announcement(NamedTuple):
    """A manifest for which a run is to start."""

    partition_key: str
    manifest_digest: str

    @property
    def key(self) -> ExtractKey:
        """The extract that it announces."""
        return ExtractKey.parse(self.partition_key)


def extract_folder(landing: LandingPath, key: ExtractKey) -> LandingPath:
    """Return the folder of an extract: ``billing/<cycle>``, or ``billing/<cycle>/supplement-<n>``."""
    folder = landing / "billing" / key.cycle
    return folder / f"supplement-{key.supplement}" if key.supplement else folder


def manifest_digest(content: bytes) -> str:
    """Return the sha256 of a manifest file's bytes, by which it is remembered."""
    return hashlib.sha256(content).hexdigest()


def find_complete_extracts(
    landing: str | LandingPath | None = None, unless_changed_since: dict[str, datetime] | None = None
) -> list[Announcement]:
    """Find the extracts whose manifest is there, in the order of their keys.

    A manifest that is no manifest is found as well: its run refuses it, in words that people see. Only
    one that may still be under way (no JSON yet, and less than a minute old) is left for the next look.

    :param unless_changed_since: instants by partition key; a manifest older than its instant is not
        even opened, so that a look costs little when years of cycles lie there.
    """
    known = unless_changed_since or {}
    found = []
    for key, folder in _folders(landing_path(landing) / "billing"):
        file = folder / FILE_NAME
        changed = changed_at(file)
        if changed is None:
            continue
        since = known.get(str(key))
        if since is not None and changed and changed < (since - _CLOCKS_DIFFER).timestamp():
            continue
        try:
            with file.open("rb") as stream:
                content = stream.read(LARGEST + 1)
        except (FileNotFoundError, IsADirectoryError):
            continue
        if not is_being_written(content, changed):
            found.append(Announcement(str(key), manifest_digest(content)))
    return sorted(found, key=lambda one: (one.key.cycle, one.key.supplement))


def find_unannounced(landing: str | LandingPath | None = None) -> list[Announcement]:
    """Find the manifests for which a run is still to be asked. Writes nothing: see the module's text.

    A manifest is new when it differs from the last one announced under its key. A supplement waits until
    the cycle's own extract has been matched: it corrects what stands there.
    """
    with connect() as connection:
        last: dict[str, Any] = {
            row.partition_key: row
            for row in connection.execute(
                text(
                    "SELECT DISTINCT ON (partition_key) partition_key, manifest_digest, announced_at "
                    "FROM announcement ORDER BY partition_key, announced_at DESC"
                )
            )
        }
        matched = set(
            connection.execute(
                text(
                    "SELECT c.key FROM cycle c JOIN extract e ON e.cycle_id = c.id "
                    "WHERE e.supplement = 0 AND e.matched_at IS NOT NULL"
                )
            ).scalars()
        )
    complete = find_complete_extracts(landing, {key: row.announced_at for key, row in last.items()})
    found = []
    for one in complete:
        before = last.get(one.partition_key)
        if before is not None and before.manifest_digest == one.manifest_digest:
            continue
        if one.key.supplement and one.key.cycle not in matched:
            log.info("%s waits until the extract of its cycle has been matched", one.partition_key)
            continue
        found.append(one)
    return found


def remember_announced(announcements: Iterable[tuple[str, str]]) -> None:
    """Write down that runs were asked for, after the asset events have gone out.

    :param announcements: pairs of partition key and manifest digest, as `find_unannounced` gave them
        (also as the lists that they become in XCom).
    """
    # The machine's own clock: this orders what happened, and no rule compares it with a moved clock.
    statement = text(
        "INSERT INTO announcement (partition_key, manifest_digest, announced_at) "
        "VALUES (:key, :digest, clock_timestamp()) ON CONFLICT (partition_key, manifest_digest) "
        "DO UPDATE SET announced_at = clock_timestamp()"
    )
    values = [{"key": key, "digest": digest} for key, digest in announcements]
    if values:
        with begin() as connection:
            connection.execute(statement, sorted(values, key=lambda one: one["key"]))


def _folders(billing: LandingPath) -> Iterator[tuple[ExtractKey, LandingPath]]:
    for folder in entries(billing):
        try:
            key = ExtractKey.parse(folder.name)
        except BadInput:
            if (folder / FILE_NAME).exists():
                log.warning("folder billing/%s is left alone: its name is not a cycle key", folder.name)
            continue
        yield key, folder
        for below in entries(folder):
            if below.name.startswith("supplement-"):
                try:
                    yield ExtractKey.parse(f"{folder.name}/{below.name}"), below
                except BadInput:
                    log.warning(
                        "folder billing/%s/%s is left alone: not supplement-<n>", folder.name, below.name
                    )
