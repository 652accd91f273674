"""The connection to the SMS provider. Turns an Airflow connection into a provider's adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

from fatoura.errors import BadInput
from fatoura.gateways import GatewayConfig, create_gateway
from fatoura.settings import get_settings
from operations.connections import extra_of, http_address

if TYPE_CHECKING:
    from fatoura.gateways import Gateway


class SmsGatewayHook(BaseHook):
    """Makes the adapter of the SMS provider that a connection describes.

    The connection's extra names the provider (``{"provider": "kannel"}``); everything else in it goes to
    that provider's adapter.

    :param sms_conn_id: the :ref:`HTTP connection <howto/connection:http>` with address, login and password;
        by default the first one that the setting ``FATOURA_SMS_CONN_IDS`` names.
    """

    conn_name_attr = "sms_conn_id"
    default_conn_name = "fatoura_sms"
    hook_name = "SMS gateway"

    def __init__(self, sms_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sms_conn_id = sms_conn_id or get_settings().gateways[0]

    def get_conn(self) -> Gateway:
        """Return the provider's adapter.

        :raises BadInput: when the connection names no provider or an unknown one, or lacks what it needs.
        """
        connection = self.get_connection(self.sms_conn_id)
        extra = extra_of(connection)
        provider = extra.pop("provider", None)
        if not provider or not isinstance(provider, str):
            raise BadInput(
                f"the connection {self.sms_conn_id!r} names no provider: put "
                '{"provider": "kannel"} into its extra'
            )
        address = http_address(connection)
        if urlsplit(address).path:
            raise BadInput(
                f"the host of the connection {self.sms_conn_id!r} holds a path: it belongs into the extra, "
                'as {"path": "…"}'
            )
        return create_gateway(
            provider,
            GatewayConfig(
                name=self.sms_conn_id,
                base_url=address,
                username=connection.login or "",
                password=connection.password or "",
                extra=extra,
            ),
        )


def open_gateway(name: str) -> Gateway:
    """Return the adapter of the connection by that name: also of one that is no longer in use.

    :raises BadInput: see `SmsGatewayHook.get_conn`.
    """
    return SmsGatewayHook(name).get_conn()
