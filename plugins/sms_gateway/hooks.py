"""The connection to the SMS provider. Turns an Airflow connection into a provider's adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from fatoura.gateways.connections import gateway_of
from fatoura.settings import get_settings

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
        return gateway_of(self.get_connection(self.sms_conn_id))


def open_gateway(name: str) -> Gateway:
    """Return the adapter of the connection by that name: also of one that is no longer in use.

    :raises BadInput: see `SmsGatewayHook.get_conn`.
    """
    return SmsGatewayHook(name).get_conn()
