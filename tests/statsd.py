"""A StatsD server for tests: keeps what comes in by UDP."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE = re.compile(r"([^:]+):(-?[0-9.]+)\|(c|g|ms)(?:\|@([0-9.]+))?")


class Sample(NamedTuple):
    name: str
    value: float
    kind: str
    rate: float


class StatsdListener:
    """Listens on a port of its own from `with` on."""

    def __enter__(self) -> StatsdListener:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port: int = self._socket.getsockname()[1]
        self.samples: list[Sample] = []
        self.packets: list[bytes] = []
        self._stopped = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._stopped:
            try:
                packet = self._socket.recv(65536)
            except TimeoutError:
                continue
            self.packets.append(packet)
            for line in packet.decode("ascii").splitlines():
                found = _LINE.fullmatch(line)
                assert found is not None, line
                name, value, kind, rate = found.groups()
                self.samples.append(Sample(name, float(value), kind, float(rate or 1)))

    @property
    def counts(self) -> dict[str, float]:
        """The sums of counters."""
        sums: dict[str, float] = defaultdict(float)
        for sample in self.samples:
            if sample.kind == "c":
                sums[sample.name] += sample.value / sample.rate
        return dict(sums)

    @property
    def gauges(self) -> dict[str, float]:
        """The last value of each gauge."""
        return {sample.name: sample.value for sample in self.samples if sample.kind == "g"}

    def times(self, name: str) -> list[float]:
        """Single lengths of time, in milliseconds."""
        return [sample.value for sample in self.samples if sample.kind == "ms" and sample.name == name]

    def until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, sorted({sample.name for sample in self.samples})
            time.sleep(0.02)
