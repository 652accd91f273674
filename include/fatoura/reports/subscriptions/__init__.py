"""The pages about subscriptions and their fees: one a month, and one of the whole service over time."""

from fatoura.reports.subscriptions.writer import (
    StaleSubscriptionPages,
    SubscriptionFiguresDiffer,
    count_today,
    refresh_subscription_reports,
    stale_subscription_pages,
    subscription_month,
    subscription_report_folder,
    write_month_report,
    write_service_report,
    write_subscription_reports,
)

__all__ = [
    "StaleSubscriptionPages",
    "SubscriptionFiguresDiffer",
    "count_today",
    "refresh_subscription_reports",
    "stale_subscription_pages",
    "subscription_month",
    "subscription_report_folder",
    "write_month_report",
    "write_service_report",
    "write_subscription_reports",
]
