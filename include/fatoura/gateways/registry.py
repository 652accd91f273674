"""Which providers there are: the one place that a new adapter is added to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.errors import BadInput
from fatoura.gateways.kannel import KannelGateway

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fatoura.gateways.interface import Gateway, GatewayConfig, Receipt

    ReceiptReader = Callable[[Mapping[str, str], bytes, Mapping[str, str]], Receipt]

GATEWAYS: dict[str, type[Gateway]] = {KannelGateway.name: KannelGateway}


def create_gateway(name: str, config: GatewayConfig) -> Gateway:
    """Return the adapter of a provider.

    :raises BadInput: for an unknown name, with the known ones, or for a configuration that it refuses.
    """
    try:
        make = GATEWAYS[name]
    except KeyError:
        raise BadInput(
            f"there is no SMS provider named {name!r}; known are {', '.join(sorted(GATEWAYS))}"
        ) from None
    return make(config)


def receipt_reader(name: str) -> ReceiptReader | None:
    """Return what reads a provider's receipts, or nothing for an unknown name."""
    gateway = GATEWAYS.get(name)
    return gateway.read_receipt if gateway else None
