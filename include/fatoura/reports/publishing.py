"""Puts a report into its folder: the page, the workbook and the CSV files, all of them or none.

Called by whoever writes reports: of cycles, of provider statements, of cut-off warnings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.reports.files import replaced_files
from fatoura.reports.tables import workbook, write_csv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fatoura.reports.tables import Table
    from fatoura.reports.words import Words


def publish(
    folder: Path,
    *,
    page: str,
    tables: Sequence[Table],
    words: Words,
    title: str,
    created: datetime,
    name: str = "report",
    prefix: str = "",
) -> Path:
    """Write all files beside the old ones, then put them in their places; return the page's path.

    Only one writer a folder at a time: the caller holds a lock.

    :param page: the page, as HTML.
    :param name: of the page and the workbook, without ending.
    :param prefix: before the names of the CSV files, where reports of several kinds share a folder.
    :raises OSError: when the disk is full or the folder cannot be written; the old files stand.
    """
    with replaced_files(folder, last=f"{name}.html") as fresh:
        for table in tables:
            with (fresh / f"{prefix}{table.name}.csv").open("w", encoding="utf-8", newline="") as file:
                write_csv(table, file)
        (fresh / f"{name}.xlsx").write_bytes(workbook(tables, words, title=title, created=created))
        (fresh / f"{name}.html").write_text(page, encoding="utf-8")
    return folder / f"{name}.html"
