"""A connection to a provider, made into the provider's adapter: the one place.

Called by the hook, with Airflow's connections, and by processes that know nothing of Airflow. Errors name the
connection, never its secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fatoura.connections import extra_of, http_address, written_connection
from fatoura.errors import BadInput
from fatoura.gateways.interface import GatewayConfig
from fatoura.gateways.registry import create_gateway
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from fatoura.connections import Connection
    from fatoura.gateways.interface import Gateway


def gateway_of(connection: Connection) -> Gateway:
    """Return the adapter of the provider that a connection leads to.

    :raises BadInput: when the connection names no provider or an unknown one, or lacks what it needs.
    """
    extra = extra_of(connection)
    provider = extra.pop("provider", None)
    if not provider or not isinstance(provider, str):
        raise BadInput(
            f"the connection {connection.conn_id!r} names no provider: put "
            '{"provider": "kannel"} into its extra'
        )
    address = http_address(connection)
    if urlsplit(address).path:
        raise BadInput(
            f"the host of the connection {connection.conn_id!r} holds a path: it belongs into the extra, "
            'as {"path": "…"}'
        )
    return create_gateway(
        provider,
        GatewayConfig(
            name=connection.conn_id,
            base_url=address,
            username=connection.login or "",
            password=connection.password or "",
            extra=extra,
        ),
    )


def open_gateways() -> list[Gateway]:
    """Return the adapters of the providers in use, in the order of fall-back, without Airflow.

    Their connections come from the file of ``FATOURA_SMS_CONNECTIONS_FILE``; where that is not set, from
    variables ``AIRFLOW_CONN_<ID>``, as the local stack sets them.

    :raises BadInput: when a connection is not there, cannot be read, or does not do.
    """
    settings = get_settings()
    return [gateway_of(written_connection(name, settings.sms_connections_file)) for name in settings.gateways]
