"""Sends metrics to a StatsD server by UDP. It never fails and never holds up whoever counts.

Called from where things happen, in threads that may wait, not in an event loop: finding the server's address
can take a moment. Nothing is computed while metrics are off.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from statsd import StatsClient

    from fatoura.metrics.names import Metric

log = logging.getLogger(__name__)

_PREFIX = "fatoura"

# The server may move to another address; one that is not found is looked for again after a while.
_LOOK_AGAIN_SECONDS = 300
_RETRY_SECONDS = 60

_PACKET = 1400  # bytes that a network takes in one piece
_LONGEST_LABEL = 60
_NO_LABEL = re.compile(r"[^A-Za-z0-9_-]+")

# Of lengths of time that come together so many are told: enough for percentiles.
_MOST_TIMES = 100


class Point(NamedTuple):
    """Something to tell.

    :param value: what was added to a counter, the state of a gauge, or of a timer one length or several, in
        seconds.
    :param labels: in the order of the metric's.
    """

    metric: Metric
    value: float | list[float]
    labels: tuple[str, ...] = ()


class _Server:
    """The client of this process, found anew from time to time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: StatsClient | None = None
        self._address: tuple[str, int] = ("", 0)
        self._until = 0.0

    def client(self, host: str, port: int) -> StatsClient | None:
        """Return the client, or nothing while the server cannot be found."""
        with self._lock:
            now = time.monotonic()
            if (host, port) != self._address or now >= self._until:
                self._address = (host, port)
                self._client = _found(host, port)
                self._until = now + (_LOOK_AGAIN_SECONDS if self._client else _RETRY_SECONDS)
            return self._client


def _found(host: str, port: int) -> StatsClient | None:
    from statsd import StatsClient

    for ipv6 in (False, True):
        try:
            return StatsClient(host, port, prefix=_PREFIX, maxudpsize=_PACKET, ipv6=ipv6)
        except (OSError, UnicodeError) as error:
            why = error
    log.warning("metrics are lost for a while: %s is not found: %s", host, why)
    return None


_server = _Server()


def is_on() -> bool:
    """Tell whether metrics are sent."""
    return bool(get_settings().statsd_host)


def send(points: Callable[..., Iterable[Point]], *arguments: Any) -> None:
    """Send what `points` gives for the arguments; while metrics are off it is not even asked.

    Whatever goes wrong stays here.
    """
    if not is_on():
        return
    settings = get_settings()
    try:
        client = _server.client(settings.statsd_host, settings.statsd_port)
        if client is None:
            return
        with client.pipeline() as pipeline:
            for metric, value, labels in points(*arguments):
                name = ".".join((metric.name, *map(_label, labels)))
                if metric.kind == "timer":
                    times = value if isinstance(value, list) else [value]
                    rate = min(1.0, _MOST_TIMES / max(len(times), 1))
                    for seconds in times:
                        pipeline.timing(name, max(seconds, 0) * 1000, rate=rate)
                elif isinstance(value, list):
                    raise TypeError(f"{metric.name} takes one value")
                elif metric.kind == "counter":
                    if value:
                        pipeline.incr(name, value)
                else:
                    pipeline.gauge(name, value)
    except Exception:
        # Metrics tell of the work; the work goes on without them.
        log.warning("metrics could not be sent", exc_info=True)


def _label(value: str) -> str:
    """Return a label's value as a part of a name: what StatsD would take for a sign is replaced."""
    return _NO_LABEL.sub("_", value)[:_LONGEST_LABEL] or "_"
