"""Extracts: what the billing system hands over. Landing folder, manifest, loading, sources, samples.

The names below are imported when they are asked for: the look at the landing folder, once a minute, must
not wait for Arrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fatoura.extracts.landing import Announcement, find_unannounced, remember_announced
    from fatoura.extracts.loading import ExtractLoaded, load_extract
    from fatoura.extracts.refusal import ExtractRefused
    from fatoura.extracts.sources import DatabaseSource, LandingSource

_HOMES = {
    "Announcement": "landing",
    "DatabaseSource": "sources",
    "ExtractLoaded": "loading",
    "ExtractRefused": "refusal",
    "LandingSource": "sources",
    "find_unannounced": "landing",
    "load_extract": "loading",
    "remember_announced": "landing",
}

__all__ = [
    "Announcement",
    "DatabaseSource",
    "ExtractLoaded",
    "ExtractRefused",
    "LandingSource",
    "find_unannounced",
    "load_extract",
    "remember_announced",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
