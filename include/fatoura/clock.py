"""The one clock of the business: windows, deadlines, horizons. Leases and pacing use the machine's own.

`FATOURA_NOW` moves it for trials and demonstrations. Times are aware and in UTC; `local_now` gives the
utility's zone, where days and hours are counted.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from fatoura.errors import BadInput
from fatoura.settings import get_settings

_STARTED = time.time()


def offset_of(text: str, started: float = _STARTED) -> timedelta:
    """Read `FATOURA_NOW` into how far the clock is moved.

    :param text: an ISO 8601 instant with offset, signed seconds such as ``+86400``, or nothing.
    :param started: when the clock stood there, in seconds since the epoch.
    :raises BadInput: for anything else.
    """
    if not text:
        return timedelta()
    if text[0] in "+-":
        try:
            return timedelta(seconds=float(text))
        except ValueError:
            pass
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise BadInput(
            f"FATOURA_NOW is {text!r}: give an instant with offset (2026-05-20T10:00:00+01:00) "
            "or signed seconds (+86400)"
        )
    return timedelta(seconds=instant.timestamp() - started)


def _offset() -> timedelta:
    told = get_settings().now
    if not told.startswith("/"):
        return _fixed(told)
    try:
        written = os.stat(told).st_mtime_ns
        return _written(Path(told), written)
    except OSError as error:
        raise BadInput(f"FATOURA_NOW names {told}, which cannot be read: {error.strerror}") from None


@cache
def _fixed(told: str) -> timedelta:
    return offset_of(told, _STARTED)


@lru_cache(maxsize=1)
def _written(file: Path, written: int) -> timedelta:
    text = file.read_text(encoding="utf-8").strip()
    if not text:
        # Half written, perhaps: nobody means to set the clock right in the middle of a trial.
        raise BadInput(f"FATOURA_NOW names {file}, which is empty: put a new file in its place")
    return offset_of(text, written / 1e9)


def zone() -> ZoneInfo:
    """Return the utility's time zone."""
    return ZoneInfo(get_settings().timezone)


def now() -> datetime:
    """Return the current instant, in UTC."""
    return datetime.now(UTC) + _offset()


def moved(instant: datetime) -> datetime:
    """Move an instant of the outside world's clock onto this clock."""
    return instant + _offset()


def local_now() -> datetime:
    """Return the current instant in the utility's zone."""
    return now().astimezone(zone())


def today() -> date:
    """Return the current day in the utility's zone."""
    return local_now().date()
