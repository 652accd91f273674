"""Feeds: what other systems tell several times a day. What payments and account facts have in common.

The names below are imported when they are asked for: the models of manifests take their time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fatoura.feeds.loading import FeedLoaded
    from fatoura.feeds.refusal import FeedRefused
    from fatoura.feeds.taking import FeedsRefused, FeedsTaken, take_feeds

_HOMES = {
    "FeedLoaded": "loading",
    "FeedRefused": "refusal",
    "FeedsRefused": "taking",
    "FeedsTaken": "taking",
    "take_feeds": "taking",
}

__all__ = ["FeedLoaded", "FeedRefused", "FeedsRefused", "FeedsTaken", "take_feeds"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
