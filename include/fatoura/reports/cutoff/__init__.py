"""The pages about cut-off warnings: one a day, and one a billing cycle over the whole life of its cases."""

from fatoura.reports.cutoff.writer import (
    CutoffBroken,
    StalePages,
    cutoff_day_folder,
    refresh_cutoff_reports,
    stale_cutoff_pages,
    write_cutoff_cycle_report,
    write_cutoff_day_report,
)

__all__ = [
    "CutoffBroken",
    "StalePages",
    "cutoff_day_folder",
    "refresh_cutoff_reports",
    "stale_cutoff_pages",
    "write_cutoff_cycle_report",
    "write_cutoff_day_report",
]
