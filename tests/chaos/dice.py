"""What is drawn: the faults that there are, and who gets which, from the seed alone.

A draw depends on the seed, the round, our id and the attempt, never on the order in which things happen: the
same seed puts the same faults on the same messages. When a kill lands is drawn too, as a share of the round's
requests; what is under way at that instant is the machine's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

REQUEST_FAULTS = {
    "time-out after accept": "handed to the gateway, and never answered",
    "silence": "kept from the gateway, and never answered",
    "late answer": "handed to the gateway; the answer comes when nobody waits for it any more",
    "reset before body": "the connection is reset once the headers are in; kept from the gateway",
    "reset after body": "the connection is reset once the whole request is in; kept from the gateway",
    "reset before answer": "handed to the gateway, then the connection is reset",
    "half an answer": "handed to the gateway, then the connection closes in the middle of the answer",
    "429": "too many requests; kept from the gateway",
    "503": "temporary failure; kept from the gateway",
    "HTML": "a page with status 200 instead of an answer; kept from the gateway",
    "HTML after accept": "handed to the gateway, then a page with status 502 instead of its answer",
    "early receipts": "handed to the gateway; the answer is held until the receipts are in",
}
"""Between sender and gateway, by name, and what each does."""

HANDED_OVER = frozenset(
    {
        *("time-out after accept", "late answer", "reset before answer", "half an answer"),
        *("HTML after accept", "early receipts"),
    }
)

RECEIPT_FAULTS = {
    "twice": "each receipt comes twice",
    "reordered": "the intermediate receipt comes after the final one",
    "late": "each receipt comes after the horizon of doubt",
    "contradictory": "after the final receipt one that says the opposite",
    "per part": "the final receipt comes for each of three parts, with an id of its own",
}
"""Between gateway and receiver, by name, and what each does."""

NOISE = {
    "unknown id": "a receipt for a notice that there is not",
    "garbage": "a receipt that says nothing readable",
    "wrong secret": "a receipt without the secret, from elsewhere, that says the opposite",
}
"""What comes to the receiver besides, by name."""


@dataclass(frozen=True)
class Dice:
    """Draws of one round."""

    seed: int
    round: int

    def share(self, salt: str, *key: object) -> float:
        """Return a number in [0, 1) that depends on the seed, the round, the salt and the key alone."""
        told = f"{self.seed}/{self.round}/{salt}/{'/'.join(map(str, key))}"
        return int.from_bytes(blake2b(told.encode(), digest_size=8).digest()) / 2**64

    def pick(self, shares: Mapping[str, float], salt: str, *key: object) -> str | None:
        """Return one of several names, each with its share, or nothing."""
        draw = self.share(salt, *key)
        for name, share in shares.items():
            if draw < share:
                return name
            draw -= share
        return None

    def random(self, salt: str) -> Random:
        """Return a generator of its own for what is drawn once a round."""
        return Random(f"{self.seed}/{self.round}/{salt}")

    def notice_id(self, number: int) -> UUID:
        """Return the id of a planned notice: like PostgreSQL's version 7, in order, its end random."""
        from uuid import UUID

        rest = blake2b(f"{self.seed}/{self.round}/id/{number}".encode(), digest_size=10).digest()
        moment = 1_779_264_000_000 + self.round * 1_000_000 + number
        value = (moment << 80) | int.from_bytes(rest)
        value = value & ~(0xF << 76) | 7 << 76
        return UUID(int=value & ~(3 << 62) | 2 << 62)
