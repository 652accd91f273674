"""Payments: what customers have paid, by feeds, and up to when that is known to be complete."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fatoura.feeds.taking import FeedsTaken, take_feeds
    from fatoura.payments.completeness import watermarks
    from fatoura.payments.loading import load_payments_feed

_HOMES = {
    "FeedsTaken": "fatoura.feeds.taking",
    "load_payments_feed": "fatoura.payments.loading",
    "take_feeds": "fatoura.feeds.taking",
    "watermarks": "fatoura.payments.completeness",
}

__all__ = ["FeedsTaken", "load_payments_feed", "take_feeds", "watermarks"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
