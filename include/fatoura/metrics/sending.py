"""What a sender's outcomes come to, as metrics. Called by a gateway's line, after it has written them."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from fatoura.metrics import names
from fatoura.metrics.statsd import Point

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fatoura.gateways.interface import Message, Outcome

_NAMED = {"rejected": "rejected", "in_doubt": "in_doubt"}
# Of what providers say, and of what our own transport says when there was no provider to speak to.
_WORDS = {
    "no_token": re.compile("no token"),
    "no_balance": re.compile(r"\b(balance|credit|solde|quota)\b", re.IGNORECASE),
    "busy": re.compile("try again|throttl|busy|queue full", re.IGNORECASE),
    "unreachable": re.compile("^(no connection|connection refused|no trusted TLS|the provider's name)"),
}
_STATUS = re.compile(r"\bstatus ([1-5]\d\d)(?:, (?:code )?([A-Z]{0,3}\d{1,4})\b)?", re.ASCII)


def outcome_points(gateway: str, outcomes: Sequence[tuple[Message, Outcome]]) -> Iterable[Point]:
    """Give the points of outcomes that were written."""
    segments = sum(message.segments for message, outcome in outcomes if outcome.kind == "accepted")
    yield Point(names.SEGMENTS, segments, (gateway,))
    for kind, count in Counter(outcome.kind for _, outcome in outcomes).items():
        yield Point(names.MESSAGES, count, (gateway, kind))
    reasons = Counter(reason_of(outcome) for _, outcome in outcomes if outcome.kind != "accepted")
    for reason, count in reasons.items():
        yield Point(names.REFUSALS, count, (gateway, reason))


def unwritten_points(gateway: str, outcomes: Sequence[tuple[Message, Outcome]]) -> Iterable[Point]:
    """Give the point of outcomes that could not be written."""
    yield Point(names.UNWRITTEN, len(outcomes), (gateway,))


def reason_of(outcome: Outcome) -> str:
    """Return why a message was not accepted, as one of a few words: providers' own are without number."""
    if outcome.kind in _NAMED:
        return _NAMED[outcome.kind]
    for reason, words in _WORDS.items():
        if words.search(outcome.answer):
            return reason
    said = _STATUS.search(outcome.answer)
    if said is None:
        return "stopped" if outcome.kind == "stop" else "refused"
    return f"code_{said[2]}" if said[2] else f"status_{said[1]}"
