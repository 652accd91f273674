"""Limits guesses at a secret, by address. For whatever faces other networks; it knows no secret itself."""

from __future__ import annotations

import time
from collections import Counter

_ADDRESSES_REMEMBERED = 10_000


class WrongGuesses:
    """Counts wrong guesses at a secret. Who knows it is never limited, whoever else has his address.

    :param most: wrong requests of one address in a minute; further ones are told to stop.
    """

    def __init__(self, most: int = 20) -> None:
        self._most = most
        self._minute = 0
        self._counts: Counter[str] = Counter()

    def count(self, address: str) -> None:
        """Note a wrong request. Forgets all at the turn of a minute, so it never grows for long."""
        self._turn()
        if len(self._counts) < _ADDRESSES_REMEMBERED:
            self._counts[address] += 1

    def too_many(self, address: str) -> bool:
        """Tell whether an address has used up its guesses of this minute."""
        self._turn()
        return self._counts[address] >= self._most

    def _turn(self) -> None:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
