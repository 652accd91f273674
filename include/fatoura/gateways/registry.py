"""Which providers there are: the one place that a new adapter is added to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.errors import BadInput
from fatoura.gateways.kannel import KannelGateway
from fatoura.gateways.orange import OrangeGateway
from fatoura.gateways.query_string import QueryStringGateway

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fatoura.gateways.interface import Gateway, GatewayConfig, Receipt

    ReceiptReader = Callable[[Mapping[str, str], bytes, Mapping[str, str]], Receipt]

ADAPTERS: dict[str, type[Gateway]] = {
    adapter.adapter: adapter for adapter in (KannelGateway, OrangeGateway, QueryStringGateway)
}


def create_gateway(adapter: str, config: GatewayConfig) -> Gateway:
    """Return a connection to a provider, spoken to by the adapter of that name.

    :raises BadInput: for an unknown name, with the known ones, or for a configuration that it refuses.
    """
    try:
        make = ADAPTERS[adapter]
    except KeyError:
        raise BadInput(
            f"there is no adapter for SMS providers named {adapter!r}; known are "
            f"{', '.join(sorted(ADAPTERS))}"
        ) from None
    return make(config)


def receipt_reader(adapter: str) -> ReceiptReader | None:
    """Return what reads the receipts of providers of a kind, or nothing for an unknown one."""
    gateway = ADAPTERS.get(adapter)
    return gateway.read_receipt if gateway else None
