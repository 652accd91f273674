"""What keeps a message from any provider: each would take it, and spoil or lose it. Called by the adapters.

What only one provider spoils is checked by its adapter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fatoura.gateways.interface import MessageUnfit
from fatoura.notices.encoding import measure

if TYPE_CHECKING:
    from fatoura.gateways.interface import Message

_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_SENDER = re.compile(r"\+?[0-9]{3,15}|[!-~](?:[ -~]{0,9}[!-~])?")

# They would come out as other characters; a raw escape would swallow the one after it.
_CONTROL = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def check_fit(message: Message, longest_segments: int) -> None:
    """Check a message before it is handed over.

    :param longest_segments: as the connection allows.
    :raises MessageUnfit: names the rule, never the number or the text.
    """
    problem = _problem(message, longest_segments)
    if problem is not None:
        raise MessageUnfit(f"message {message.id} must not be handed over: {problem}")


def _problem(message: Message, longest_segments: int) -> str | None:
    if not _PHONE.fullmatch(message.phone):
        return "its number is not a plus sign and 7 to 15 digits"
    if not message.text:
        return "it has no text; the customer would get an empty message"
    if _CONTROL.search(message.text):
        return "its text holds control characters or half characters"
    if not _SENDER.fullmatch(message.sender):
        return "its sender is not 1 to 11 ASCII characters or 3 to 15 digits"
    measured = measure(message.text)
    if (message.encoding, message.segments) != (measured.encoding, measured.segments):
        # In the wrong encoding letters turn into question marks; more segments cost more, or are cut.
        return (
            f"it was planned as {message.segments} segments of {message.encoding}, and its text takes "
            f"{measured.segments} of {measured.encoding}"
        )
    if message.segments > longest_segments:
        return (
            f"it takes {message.segments} segments, and the connection allows {longest_segments}: set "
            "longest_segments in its extra to what the provider allows"
        )
    return None
