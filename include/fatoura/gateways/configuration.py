"""What every adapter checks of the connection that it is made from. Knows no provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fatoura.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fatoura.gateways.interface import GatewayConfig

_MOST_SEGMENTS = 255


def base_address(config: GatewayConfig) -> str:
    """Return the provider's address without a slash at its end.

    :raises BadInput: when it is none.
    """
    parts = urlsplit(config.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput("the connection's address must be http(s)://host:port")
    return config.base_url.rstrip("/")


def refuse_unknown(extra: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse a connection whose extra holds what its adapter does not know: a slip would go unseen.

    :raises BadInput: names what is unknown, and what is known.
    """
    unknown = sorted(set(extra) - set(known))
    if unknown:
        raise BadInput(
            f"the connection's extra has unknown names: {', '.join(unknown)}; known are "
            f"{', '.join(sorted(known))}"
        )


def longest_segments(extra: Mapping[str, Any]) -> int:
    """Return how many segments a message may take: 1, unless the extra says that the contract allows more.

    A connection that is written as an address has text where others have numbers.

    :raises BadInput: when it is no number from 1 to 255.
    """
    told = extra.get("longest_segments", 1)
    if isinstance(told, str) and told.isascii() and told.isdigit():
        told = int(told)
    if isinstance(told, bool) or not isinstance(told, int) or not 1 <= told <= _MOST_SEGMENTS:
        raise BadInput(
            f"the connection's extra: longest_segments must be a number from 1 to {_MOST_SEGMENTS}"
        )
    return told
