"""What the sandbox does with each message: chosen by shares and a seed, so that a run can be repeated.

Called by the sandbox's server. The choice depends on the seed, our id and our attempt only, never on the
order in which requests come in. No input or output.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from fatoura.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FAULTS = {
    "timeout": "accepted, and never answered",
    "silence": "neither accepted nor answered",
    "reset-before": "the connection is reset, nothing is accepted",
    "reset-after": "accepted, then the connection is reset before the answer",
    "half-answer": "accepted, and the connection closes in the middle of the answer",
    "html": "not accepted; a proxy's HTML page with status 200",
    "503": "not accepted; temporary failure",
    "429": "not accepted; too many requests",
    "duplicate-receipts": "every receipt comes twice",
    "early-receipts": "the receipts come before the answer",
    "reordered-receipts": "the final receipt comes before the intermediate one",
}
"""Faults by name, and what each does."""

NOT_ACCEPTED = frozenset({"silence", "reset-before", "html", "503", "429"})

# SMPP's word and error code, and Kannel's receipt type, for what becomes of an accepted message.
OUTCOMES = {
    "delivered": ("DELIVRD", "000", 1),
    "undeliverable": ("UNDELIV", "011", 2),
    "expired": ("EXPIRED", "027", 2),
    "rejected": ("REJECTD", "069", 2),
    "unknown": ("UNKNOWN", "255", 2),
    "refused": ("", "", 16),  # by the SMS centre, at once
}

# The same digits as the SMS centre of the tests with real Kannel. 5 and 6 are tried again by Kannel itself,
# of two final receipts (8) it passes on one.
_BY_LAST_DIGIT = {"1": "undeliverable", "2": "expired", "3": "rejected", "4": "refused", "9": "unknown"}


@dataclass(frozen=True)
class SandboxOptions:
    """How the sandbox behaves. Shares are between 0 and 1.

    :param port: 0 for any free one.
    :param delay: seconds before each answer.
    :param reject: share of requests refused at once, as those with a bad number are.
    :param acknowledgements: share of accepted messages with an intermediate receipt.
    :param receipts: share of accepted messages with a final receipt.
    :param receipt_delay: seconds from the answer to the final receipt.
    :param outcomes: shares of `OUTCOMES` among accepted messages; the rest is delivered.
    :param by_last_digit: the last digit of the number chooses the outcome instead: 1 undeliverable,
        2 expired, 3 rejected, 4 refused by the SMS centre, 7 no final receipt, 9 unknown, others delivered.
    :param faults: shares of `FAULTS` among requests.
    :param log: where to write a line for each request; no number and no text is in it.
    :raises BadInput: names the option that is wrong.
    """

    host: str = "127.0.0.1"
    port: int = 13013
    username: str = "fatoura"
    password: str = field(default="sandbox", repr=False)
    max_messages: int = 10
    delay: float = 0
    reject: float = 0
    acknowledgements: float = 1
    receipts: float = 1
    receipt_delay: float = 0
    outcomes: Mapping[str, float] = field(default_factory=dict)
    by_last_digit: bool = False
    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int = 1
    log: Path | None = None

    def __post_init__(self) -> None:
        for name in ("reject", "acknowledgements", "receipts"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} is a share between 0 and 1")
        for name in ("delay", "receipt_delay"):
            if getattr(self, name) < 0:
                raise BadInput(f"{name} must not be negative")
        for name, known in (("outcomes", OUTCOMES), ("faults", FAULTS)):
            shares: Mapping[str, float] = getattr(self, name)
            unknown = sorted(set(shares) - set(known))
            if unknown:
                raise BadInput(f"{name}: unknown {', '.join(unknown)}; known are {', '.join(known)}")
            if any(share < 0 for share in shares.values()) or sum(shares.values()) > 1 + 1e-9:
                raise BadInput(f"{name}: shares are at least 0 and sum to at most 1")


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to one message.

    :param fault: one of `FAULTS`, or nothing.
    :param rejected: refused at once, with Kannel's words for a bad number.
    :param outcome: one of `OUTCOMES`, if it is accepted.
    :param acknowledged: an intermediate receipt is given.
    :param reported: a final receipt is given.
    """

    fault: str | None
    rejected: bool
    outcome: str
    acknowledged: bool
    reported: bool

    @property
    def accepted(self) -> bool:
        """Whether the gateway takes the message, whatever the client is told."""
        return not self.rejected and self.fault not in NOT_ACCEPTED


def plan(options: SandboxOptions, key: str, phone: str) -> Plan:
    """Decide what happens to a message.

    :param key: our id and attempt.
    :param phone: only its last digit counts, and only with `by_last_digit`.
    """
    draws = _draws(options.seed, key)
    outcome = _pick(options.outcomes, draws[2]) or "delivered"
    reported = draws[3] < options.receipts
    if options.by_last_digit:
        outcome = _BY_LAST_DIGIT.get(phone[-1:], "delivered")
        reported = reported and phone[-1:] != "7"
    return Plan(
        fault=_pick(options.faults, draws[0]),
        rejected=draws[1] < options.reject,
        outcome=outcome,
        acknowledged=draws[4] < options.acknowledgements,
        reported=reported,
    )


def _draws(seed: int, key: str) -> list[float]:
    """Return five independent numbers in [0, 1) that depend on the seed and the key alone."""
    digest = blake2b(f"{seed}/{key}".encode(), digest_size=40).digest()
    return [int.from_bytes(digest[at : at + 8]) / 2**64 for at in range(0, 40, 8)]


def _pick(shares: Mapping[str, float], draw: float) -> str | None:
    for name, share in shares.items():
        if draw < share:
            return name
        draw -= share
    return None
