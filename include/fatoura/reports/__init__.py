"""Reports for analysts: one page with charts, CSV and XLSX, as often as there is news."""

from fatoura.reports.writer import ReportNotWritten, report_folder, stale_reports, write_report

__all__ = ["ReportNotWritten", "report_folder", "stale_reports", "write_report"]
